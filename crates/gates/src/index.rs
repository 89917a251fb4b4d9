//! The index of a bundle: which files a gate speaks of, in which order.
//!
//! JSON: a bare array of items, or an object with exactly one of the lists
//! `items`, `members`, `entries`, `files`. Each item is an object with a `path`
//! and perhaps its own digest, in the gate's digest field, else `sha256_hex`,
//! else `sha256`. Other fields are not evidence and are passed over.

use std::collections::BTreeMap;

use oracle_store::{Hex64, from_json};
use serde_json::Value;
use serde_json::value::RawValue;

const LISTS: [&str; 4] = ["items", "members", "entries", "files"];

/// The fields of one item, as they stand.
type Item = BTreeMap<String, Value>;

/// One entry of an index.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IndexItem {
    /// As it stands in the index: relative to the method's path base.
    pub(crate) path: String,
    /// The digest that the item states for its own object.
    pub(crate) digest: Option<Hex64>,
    /// The same, but by the gate's own digest field only.
    pub(crate) member_digest: Option<Hex64>,
}

/// The items of `index` in the order in which they stand, or in a sentence why
/// there are none.
pub(crate) fn parse_index(index: &[u8], digest_field: &str) -> Result<Vec<IndexItem>, String> {
    let invalid = |error: serde_json::Error| format!("its JSON is invalid ({error})");
    let document: &RawValue = from_json(index).map_err(invalid)?;
    let list = if document.get().starts_with('[') {
        document
    } else {
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(document.get()).map_err(invalid)?;
        let mut lists = LISTS.iter().filter_map(|name| fields.get(*name).copied());
        match (lists.next(), lists.next()) {
            (Some(list), None) => list,
            (None, _) => return Err(format!("it has none of the lists {}", LISTS.join(", "))),
            (Some(_), Some(_)) => {
                return Err(format!(
                    "it has more than one of the lists {}",
                    LISTS.join(", ")
                ));
            }
        }
    };
    let items: Vec<Item> = serde_json::from_str(list.get()).map_err(invalid)?;
    let parse = |(place, item)| {
        parse_item(item, digest_field).map_err(|why| format!("item {place} (from 0) {why}"))
    };
    items.iter().enumerate().map(parse).collect()
}

fn parse_item(item: &Item, digest_field: &str) -> Result<IndexItem, String> {
    let path = item.get("path").and_then(Value::as_str);
    let path = path.ok_or("has no `path` string")?.to_owned();
    let stated = |field: &str| match item.get(field) {
        None => Ok(None),
        Some(value) => match value.as_str().and_then(Hex64::parse) {
            Some(digest) => Ok(Some(digest)),
            None => Err(format!(
                "(`{path}`): `{field}` is not 64 lowercase hex digits"
            )),
        },
    };
    let member_digest = stated(digest_field)?;
    let digest = match &member_digest {
        Some(digest) => Some(digest.clone()),
        None => match stated("sha256_hex")? {
            Some(digest) => Some(digest),
            None => stated("sha256")?,
        },
    };
    Ok(IndexItem {
        path,
        digest,
        member_digest,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_digest_is_taken_from_the_first_field_that_is_there() {
        let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(64));
        let hex = |digits: &str| Hex64::parse(digits);
        for (fields, digest, member) in [
            (
                format!(r#""own": "{a}", "sha256_hex": "{b}", "sha256": "{c}""#),
                hex(&a),
                hex(&a),
            ),
            (
                format!(r#""sha256_hex": "{b}", "sha256": "{c}""#),
                hex(&b),
                None,
            ),
            (format!(r#""sha256": "{c}""#), hex(&c), None),
            (r#""md5": "0""#.to_owned(), None, None),
        ] {
            let index = format!(r#" {{"role": 1, "files": [{{"path": "p", {fields}}}]}} "#);
            let items = parse_index(index.as_bytes(), "own").unwrap();
            assert_eq!(
                (&items[0].digest, &items[0].member_digest),
                (&digest, &member),
                "{index}"
            );
        }
    }

    #[test]
    fn a_bare_array_and_each_named_list_are_one_index() {
        let list = r#"[{"path": "b"}, {"path": "a"}]"#;
        let bare = parse_index(list.as_bytes(), "own").unwrap();
        assert_eq!(
            bare.iter()
                .map(|item| item.path.as_str())
                .collect::<Vec<_>>(),
            ["b", "a"]
        );
        for name in LISTS {
            let index = format!(r#"{{"{name}": {list}}}"#);
            assert_eq!(parse_index(index.as_bytes(), "own").unwrap(), bare);
        }
    }

    #[test]
    fn an_index_in_which_a_field_occurs_twice_at_any_depth_is_refused() {
        for index in [
            r#"{"files": [], "files": []}"#,
            r#"[{"path": "p", "path": "q"}]"#,
            r#"{"files": [{"path": "p", "more": {"a": 1, "a": 2}}]}"#,
            r#"{"files": [], "about": [{"a": 1, "a": 1}]}"#,
        ] {
            let error = parse_index(index.as_bytes(), "own").unwrap_err();
            assert!(error.contains("occurs twice"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_be_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let empty = parse_index(&bytes, "own").is_ok_and(|items| items.is_empty());
            prop_assert!(empty || parse_index(&bytes, "own").is_err());
        }
    }
}
