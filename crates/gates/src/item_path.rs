//! Paths in gate evidence: where they lead, or why they are refused.
//!
//! Only plain relative paths are followed. `..`, `.`, empty components and a
//! leading `/` are refused whether or not they would stay inside: an object
//! store has no such keys, and evidence that needs them is not the engine's.
//! (Symlinks are the store's part: it refuses those that leave the root.)

/// An item's path, resolved to a key of the engine run root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ItemPath {
    pub(crate) key: String,
    /// Its form allows it to name no object, or many: a folder, a `key=value`
    /// partition, a glob or an unrendered template.
    pub(crate) may_name_several: bool,
}

/// Resolves `path` against `base` (empty, or ending in `/`), or says what is
/// wrong with it.
pub(crate) fn resolve(base: &str, path: &str) -> Result<ItemPath, String> {
    if path.starts_with('/') {
        return Err(format!("`{path}` is absolute"));
    }
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let mut components = trimmed.split('/');
    if let Some(refused) = components.find(|part| matches!(*part, "" | "." | "..")) {
        return Err(format!("`{path}` has the component `{refused}`"));
    }
    let last = trimmed.rsplit('/').next().unwrap_or(trimmed);
    let may_name_several =
        trimmed.len() < path.len() || path.contains(['*', '{']) || last.contains('=');
    Ok(ItemPath {
        key: format!("{base}{path}"),
        may_name_several,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_form_of_a_path_says_whether_it_may_name_several() {
        for (path, several) in [
            ("a/b.json", false),
            ("seed=7/b.json", false),
            ("a b%é", false),
            ("a/b/", true),
            ("a/part-*.parquet", true),
            ("a/{utc_day}/b", true),
            ("a/seed=7", true),
        ] {
            let resolved = resolve("base/", path).unwrap();
            assert_eq!(resolved.key, format!("base/{path}"));
            assert_eq!(resolved.may_name_several, several, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_out_of_its_base(path in "[a./]{0,8}") {
            if let Ok(resolved) = resolve("base/", &path) {
                let below = resolved.key.strip_prefix("base/").unwrap();
                let below = below.strip_suffix('/').unwrap_or(below);
                prop_assert!(below.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
