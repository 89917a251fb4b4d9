//! `run_receipt.json`.
#![no_main]

use oracle_store::RunReceipt;
use serde_json::json;
use wsp_fuzz::is_refusal;
use wsp_fuzz::json::Tree;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let expected = Tree::parse_unique(bytes).filter(is_receipt);
    match RunReceipt::parse(bytes) {
        Ok(receipt) => {
            let tree = expected.expect("it is accepted, and no receipt");
            assert_eq!(Some(receipt.run_id.as_str()), tree.hex("run_id", 32));
            assert_eq!(
                Some(receipt.seed),
                tree.get("seed").and_then(Tree::unsigned)
            );
            let again = json!({
                "run_id": receipt.run_id, "manifest_fingerprint": receipt.manifest_fingerprint,
                "parameter_hash": receipt.parameter_hash, "seed": receipt.seed, "more": [{}],
            });
            let again = RunReceipt::parse(again.to_string().as_bytes());
            assert_eq!(again.expect("written again"), receipt);
        }
        Err(error) => {
            is_refusal(&error, &["RUN_RECEIPT_UNREADABLE", "WORLD_KEY_MISSING"]);
            assert!(expected.is_none(), "a receipt is refused: {error}");
        }
    }
});

fn is_receipt(tree: &Tree) -> bool {
    tree.hex("run_id", 32).is_some()
        && tree.hex("manifest_fingerprint", 64).is_some()
        && tree.hex("parameter_hash", 64).is_some()
        && tree.get("seed").and_then(Tree::unsigned).is_some()
}
