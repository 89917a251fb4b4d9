//! `_SEALED.json`.
#![no_main]

use oracle_store::{PackSeal, SealStatus};
use wsp_fuzz::is_refusal;
use wsp_fuzz::json::Tree;

const FIELDS: [&str; 4] = ["version", "oracle_pack_id", "seal_status", "sealed_at_utc"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let expected = Tree::parse_unique(bytes).and_then(|tree| status_of(&tree));
    match PackSeal::parse(bytes) {
        Ok(seal) => {
            assert_eq!(
                Some(seal.seal_status),
                expected,
                "it is accepted, and no such seal"
            );
            let again = serde_json::to_vec(&seal).expect("JSON");
            assert_eq!(PackSeal::parse(&again).expect("written again"), seal);
        }
        Err(error) => {
            is_refusal(&error, &["PACK_SEAL_INVALID"]);
            assert!(expected.is_none(), "a seal is refused: {error}");
        }
    }
});

/// The status that a seal states; `None` for what is no seal.
fn status_of(tree: &Tree) -> Option<SealStatus> {
    let text = |name| tree.get(name)?.text();
    tree.hex("oracle_pack_id", 64)?;
    let is_seal = tree.has_exactly(&FIELDS)
        && text("version")? == "v0"
        && chrono::DateTime::parse_from_rfc3339(text("sealed_at_utc")?).is_ok();
    let status = match text("seal_status")? {
        "SEALED_OK" => SealStatus::SealedOk,
        "SEALED_FAILED" => SealStatus::SealedFailed,
        _ => return None,
    };
    is_seal.then_some(status)
}
