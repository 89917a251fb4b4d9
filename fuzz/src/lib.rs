//! What the fuzz targets have in common: an independent reader of JSON, the law of refusals, and
//! streams that play a gate's bytes.
//!
//! docs/fuzzing.md says how to run the targets and how to add one.

pub mod gate;
pub mod json;
pub mod parts;
pub mod yaml;

use model::Refusal;

/// The law of refusals: a stable code, a sentence, and what to do about it.
///
/// # Panics
/// If the refusal breaks it.
pub fn is_refusal(refusal: &dyn Refusal, codes: &[&str]) {
    let code = refusal.code();
    assert!(codes.contains(&code), "{code} is no code of this reader");
    assert!(
        !refusal.to_string().trim().is_empty(),
        "{code} says nothing"
    );
    let advice = refusal.advice();
    assert!(advice.ends_with('.'), "{code} gives no advice: {advice:?}");
    assert!(!refusal.is_retryable(), "the same bytes are refused again");
}

/// Whether a text is as many lowercase hex digits.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The SHA-256 of some bytes, in lowercase hex.
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
