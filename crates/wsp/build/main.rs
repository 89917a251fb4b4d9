//! Tells the crate which commit it is built of.
//!
//! A debug build is of a work tree between two commits, and is not built again for each commit: it
//! knows a commit only from `WSP_BUILD_COMMIT`.

#[path = "commit.rs"]
mod commit;

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed=WSP_BUILD_COMMIT");
    let given = std::env::var("WSP_BUILD_COMMIT").unwrap_or_default();
    let mut found = commit::parse(&given);
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if found.is_none() && is_release {
        let crate_root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        let root = Path::new(&crate_root).join("../..");
        found = commit::of_tree(&root, &Path::new(&crate_root).join("build/commit.txt"));
        for file in commit::watched_files(&root) {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    if let Some(commit) = found {
        println!("cargo::rustc-env=WSP_COMMIT={}", commit.hash);
        if let Some(date) = commit.date {
            println!("cargo::rustc-env=WSP_COMMIT_DATE={date}");
        }
    }
}
