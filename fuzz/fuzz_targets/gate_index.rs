//! The index of a validation bundle, and where its paths lead.
#![no_main]

use gates::fuzzing::{IndexItem, index, resolve};
use wsp_fuzz::json::Tree;

const FIELD: &str = "bundle_digest";
const LISTS: [&str; 4] = ["items", "members", "entries", "files"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let expected = Tree::parse_unique(bytes).and_then(|tree| items_of(&tree));
    match index(bytes, FIELD) {
        Ok(items) => {
            assert_eq!(
                Some(&items),
                expected.as_ref(),
                "accepted, and no such index"
            );
            items.iter().for_each(|item| stays_below(&item.path));
            let again: Vec<_> = items.iter().map(written).collect();
            for text in [
                serde_json::json!(again).to_string(),
                serde_json::json!({ "members": again, "role": "any" }).to_string(),
            ] {
                assert_eq!(index(text.as_bytes(), FIELD).as_ref(), Ok(&items), "{text}");
            }
        }
        Err(why) => {
            assert!(!why.is_empty());
            assert_eq!(expected, None, "an index is refused: {why}");
        }
    }
});

/// No path of an index leads out of its base, and none is changed on the way.
fn stays_below(path: &str) {
    for base in ["", "validation/segment=1/"] {
        match resolve(base, path) {
            Ok((key, _)) => {
                let below = key.strip_prefix(base).expect("it is below the base");
                assert_eq!(below, path);
                let below = below.strip_suffix('/').unwrap_or(below);
                assert!(
                    below
                        .split('/')
                        .all(|part| !matches!(part, "" | "." | "..")),
                    "{path:?}"
                );
            }
            Err(why) => assert!(!why.is_empty()),
        }
    }
}

fn written(item: &IndexItem) -> serde_json::Value {
    let mut fields = serde_json::Map::from_iter([("path".to_owned(), item.path.clone().into())]);
    let digests = [(FIELD, &item.member_digest), ("sha256", &item.digest)];
    for (name, digest) in digests {
        if let Some(digest) = digest {
            fields.insert(name.to_owned(), digest.as_str().into());
        }
    }
    fields.into()
}

/// The items of an index by its form; `None` for what is no index.
fn items_of(tree: &Tree) -> Option<Vec<IndexItem>> {
    let list = match tree {
        Tree::Array(_) => tree,
        _ => {
            let mut lists = LISTS.iter().filter_map(|name| tree.get(name));
            let list = lists.next()?;
            if lists.next().is_some() {
                return None;
            }
            list
        }
    };
    list.items()?.iter().map(item_of).collect()
}

fn item_of(item: &Tree) -> Option<IndexItem> {
    // A field that is there must hold a digest; those behind the first that is there are not
    // looked at.
    let stated = |name| match item.get(name) {
        None => Some(None),
        Some(_) => item.hex(name, 64).map(|digest| Some(digest.to_owned())),
    };
    let member_digest = stated(FIELD)?;
    let digest = match &member_digest {
        Some(digest) => Some(digest.clone()),
        None => match stated("sha256_hex")? {
            Some(digest) => Some(digest),
            None => stated("sha256")?,
        },
    };
    let path = item.get("path")?.text()?.to_owned();
    Some(IndexItem {
        path,
        digest,
        member_digest,
    })
}
