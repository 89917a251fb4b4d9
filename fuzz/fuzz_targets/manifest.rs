//! `_oracle_pack_manifest.json`.
#![no_main]

use oracle_store::PackManifest;
use wsp_fuzz::json::Tree;
use wsp_fuzz::{is_refusal, sha256_hex};

const FIELDS: [&str; 7] = [
    "version",
    "oracle_pack_id",
    "world_key",
    "engine_release",
    "catalogue_digest",
    "gate_map_digest",
    "created_at_utc",
];
const WORLD_KEY: [&str; 4] = [
    "manifest_fingerprint",
    "parameter_hash",
    "scenario_id",
    "seed",
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let expected = Tree::parse_unique(bytes).and_then(|tree| facts_of(&tree));
    match PackManifest::parse(bytes) {
        Ok(manifest) => {
            let facts = expected.expect("it is accepted, and no manifest");
            assert_eq!(manifest.facts().pack_id().as_str(), sha256_hex(facts));
            let again = serde_json::to_vec(&manifest).expect("JSON");
            assert_eq!(
                PackManifest::parse(&again).expect("written again"),
                manifest
            );
        }
        Err(error) => {
            is_refusal(&error, &["PACK_MANIFEST_INVALID"]);
            assert!(expected.is_none(), "a manifest is refused: {error}");
        }
    }
});

/// The text that a manifest's pack id is the digest of; `None` for what is no manifest.
fn facts_of(tree: &Tree) -> Option<String> {
    let text = |name| tree.get(name)?.text();
    let key = tree.get("world_key")?;
    let is_whole = tree.has_exactly(&FIELDS) && key.has_exactly(&WORLD_KEY);
    let time = text("created_at_utc")?;
    let scenario = key.get("scenario_id")?.text()?;
    let fits = (1..=256).contains(&scenario.chars().count())
        && !scenario.contains(|c: char| c == '/' || c.is_control());
    tree.hex("oracle_pack_id", 64)?;
    let release = text("engine_release").filter(|release| !release.is_empty())?;
    let is_manifest = is_whole
        && fits
        && text("version")? == "v0"
        && chrono::DateTime::parse_from_rfc3339(time).is_ok();
    let facts = format!(
        "{}|{}|{scenario}|{}|{release}|{}|{}",
        key.hex("manifest_fingerprint", 64)?,
        key.hex("parameter_hash", 64)?,
        key.get("seed")?.unsigned()?,
        tree.hex("catalogue_digest", 64)?,
        tree.hex("gate_map_digest", 64)?,
    );
    is_manifest.then_some(facts)
}
