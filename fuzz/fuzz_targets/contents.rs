//! `_oracle_pack_contents.json`.
#![no_main]

use std::collections::BTreeMap;

use oracle_store::{ContentsIndex, KnownDigests as _};
use serde_json::json;
use wsp_fuzz::is_refusal;
use wsp_fuzz::json::Tree;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let expected = Tree::parse_unique(bytes).and_then(|tree| objects_of(&tree));
    match ContentsIndex::parse(bytes) {
        Ok(index) => {
            let expected = expected.expect("it is accepted, and no contents index");
            let objects: BTreeMap<_, _> = index
                .objects()
                .map(|entry| (entry.path.clone(), (entry.bytes, entry.sha256.to_string())))
                .collect();
            assert_eq!(objects, expected);
            assert!(objects.keys().all(|path| is_content(path)));
            for (path, (_, sha256)) in &objects {
                assert_eq!(
                    index.sha256_of(path).map(|digest| digest.as_str()),
                    Some(&**sha256)
                );
            }
            let total: u128 = objects.values().map(|(bytes, _)| u128::from(*bytes)).sum();
            assert_eq!(u128::from(index.bytes()), total);
            let again = json!({
                "version": "v0", "oracle_pack_id": index.oracle_pack_id(),
                "objects": index.objects().collect::<Vec<_>>(),
            });
            let again = ContentsIndex::parse(again.to_string().as_bytes());
            assert_eq!(again.expect("written again"), index);
        }
        Err(error) => {
            is_refusal(&error, &["PACK_CONTENTS_INVALID"]);
            let is_index = expected.is_some_and(|objects| {
                let total: u128 = objects.values().map(|(bytes, _)| u128::from(*bytes)).sum();
                total <= u128::from(u64::MAX) && objects.keys().all(|path| is_content(path))
            });
            assert!(!is_index, "an index is refused: {error}");
        }
    }
});

/// What the packer begins the names of its unfinished files by.
const STAGING: &str = "._oracle_pack_staging_";

/// Whether a path names an object below the engine run root that is none of the packer's own.
fn is_content(path: &str) -> bool {
    const OWN: [&str; 4] = [
        "_oracle_pack_contents.json",
        "_oracle_pack_manifest.json",
        "_SEALED.json",
        "_SEALED.flag",
    ];
    !path.chars().any(|c| c.is_ascii_control())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !OWN.contains(&path)
        && !path.starts_with(STAGING)
}

/// The objects that an index lists by its form; `None` for what is no index.
fn objects_of(tree: &Tree) -> Option<BTreeMap<String, (u64, String)>> {
    let is_index = tree.has_exactly(&["version", "oracle_pack_id", "objects"])
        && tree.get("version")?.text()? == "v0"
        && tree.hex("oracle_pack_id", 64).is_some();
    let items = tree.get("objects")?.items()?.iter();
    let objects: Option<Vec<_>> = items
        .map(|item| {
            let path = item.get("path")?.text()?.to_owned();
            let bytes = item.get("bytes")?.unsigned()?;
            let digest = item.hex("sha256", 64)?.to_owned();
            item.has_exactly(&["path", "bytes", "sha256"])
                .then_some((path, (bytes, digest)))
        })
        .collect();
    let objects = objects?;
    let listed = objects.len();
    let objects: BTreeMap<_, _> = objects.into_iter().collect();
    (is_index && objects.len() == listed).then_some(objects)
}
