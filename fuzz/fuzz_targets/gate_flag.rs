//! `_passed.flag`.
#![no_main]

use gates::fuzzing::flag;
use wsp_fuzz::is_hex;
use wsp_fuzz::json::Tree;

/// The digest fields of the engine's gates, and one that is awkward.
const FIELDS: [&str; 3] = ["sha256_hex", "bundle_digest", "= "];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for field in FIELDS {
        let expected = expected(bytes, field);
        match flag(bytes, field) {
            Ok(digest) => {
                assert_eq!(
                    Some(digest.as_str()),
                    expected.as_deref(),
                    "accepted, and no flag"
                );
                for again in [
                    format!("{field} = {digest}"),
                    format!("{field} = {digest}\n"),
                    serde_json::json!({ field: digest, "more": 1 }).to_string(),
                ] {
                    assert_eq!(flag(again.as_bytes(), field), Ok(digest.clone()), "{again}");
                }
            }
            Err(why) => {
                assert!(!why.is_empty());
                assert_eq!(expected, None, "a flag is refused: {why}");
            }
        }
    }
});

/// The digest that a flag states, by its two forms.
fn expected(bytes: &[u8], field: &str) -> Option<String> {
    if let Some(tree) = Tree::parse_unique(bytes) {
        return tree.hex(field, 64).map(str::to_owned);
    }
    let head = format!("{field} = ");
    let digest = bytes.strip_prefix(head.as_bytes())?;
    let digest = digest.strip_suffix(b"\n").unwrap_or(digest);
    let digest = std::str::from_utf8(digest).ok()?;
    is_hex(digest, 64).then(|| digest.to_owned())
}
