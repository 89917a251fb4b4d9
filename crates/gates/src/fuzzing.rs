//! The parsers of gate evidence for the fuzz targets, which are outside of this crate. No API.

use oracle_store::Hex64;

use crate::flag::parse_flag;
use crate::index::parse_index;
use crate::item_path;

/// One entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexItem {
    /// The path as it is in the index.
    pub path: String,
    /// The digest that the item states for its own object.
    pub digest: Option<String>,
    /// The digest in the gate's own digest field.
    pub member_digest: Option<String>,
}

/// The digest in a flag.
///
/// # Errors
/// In words, why it states none.
pub fn flag(bytes: &[u8], digest_field: &str) -> Result<Hex64, String> {
    parse_flag(bytes, digest_field)
}

/// The items of an index.
///
/// # Errors
/// In words, why there are none.
pub fn index(bytes: &[u8], digest_field: &str) -> Result<Vec<IndexItem>, String> {
    let text = |digest: Hex64| digest.to_string();
    let items = parse_index(bytes, digest_field)?.into_iter();
    Ok(items
        .map(|item| IndexItem {
            path: item.path,
            digest: item.digest.map(text),
            member_digest: item.member_digest.map(text),
        })
        .collect())
}

/// The key that a path leads to below `base`, and whether it may name several objects.
///
/// # Errors
/// In words, why the path is refused.
pub fn resolve(base: &str, path: &str) -> Result<(String, bool), String> {
    item_path::resolve(base, path).map(|path| (path.key, path.may_name_several))
}
