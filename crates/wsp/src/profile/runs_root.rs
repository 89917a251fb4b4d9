//! The runs root: a folder of this machine, or a bucket; and what is local even then.

use std::path::{Path, PathBuf};

use model::Hex64;

/// The beginning of a runs root in a bucket.
const BUCKET: &str = "s3://";

/// The text of a runs root that lies in a bucket; `None` for a folder of this machine.
pub(crate) fn in_bucket(runs_root: &Path) -> Option<&str> {
    runs_root.to_str().filter(|text| text.starts_with(BUCKET))
}

/// The folder that control sockets of the streams under a runs root lie in, by platform run. For a
/// bucket it is in `$XDG_RUNTIME_DIR`, else in the folder for temporary files.
pub fn control_root(runs_root: &Path) -> PathBuf {
    match in_bucket(runs_root) {
        None => runs_root.to_owned(),
        Some(text) => {
            let base = named_by("XDG_RUNTIME_DIR").unwrap_or_else(std::env::temp_dir);
            base.join("wsp").join(short_name(text))
        }
    }
}

/// The folder of what a run may read again instead of computing it. For a bucket it is in
/// `$XDG_CACHE_HOME`, else in `~/.cache`.
pub(crate) fn cache_root(runs_root: &Path) -> PathBuf {
    match in_bucket(runs_root) {
        None => runs_root.join("wsp"),
        Some(text) => {
            let home = || named_by("HOME").map(|home| home.join(".cache"));
            let base = named_by("XDG_CACHE_HOME").or_else(home);
            let base = base.unwrap_or_else(std::env::temp_dir);
            base.join("wsp").join(short_name(text))
        }
    }
}

/// An absolute path that a variable holds.
fn named_by(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    // The specification of these variables has relative paths ignored.
    path.is_absolute().then_some(path)
}

/// A folder name that no other runs root has.
fn short_name(text: &str) -> String {
    let digest = Hex64::sha256_of(text.trim_end_matches('/'));
    digest.as_str()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_runs_root_in_a_bucket_lies_on_this_machine_and_apart() {
        let [one, slash, other] = ["s3://b/runs", "s3://b/runs/", "s3://b/other"].map(Path::new);
        for root in [control_root, cache_root] {
            assert!(root(one).is_absolute());
            assert_eq!(root(one), root(slash));
            assert_ne!(root(one), root(other));
        }
        assert_eq!(control_root(Path::new("runs")), Path::new("runs"));
        assert_eq!(cache_root(Path::new("runs")), Path::new("runs/wsp"));
    }
}
