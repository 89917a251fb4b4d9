//! The first page of each crate lists its cargo features, and which are on by default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The features of a manifest, each with whether it is on by default.
fn of_manifest(manifest: &str) -> BTreeMap<String, bool> {
    let section = manifest.split("\n[features]\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let features = lines.filter_map(|line| line.split_once(" = "));
    let features: Vec<(&str, &str)> = features
        .filter(|(name, _)| !name.starts_with('#'))
        .collect();
    let default = features.iter().find(|(name, _)| *name == "default");
    let default = default.map_or("", |(_, list)| list);
    let named = features.iter().filter(|(name, _)| *name != "default");
    named
        .map(|(name, _)| ((*name).to_owned(), default.contains(&format!("\"{name}\""))))
        .collect()
}

/// The features of the table on a first page.
fn of_page(source: &str) -> BTreeMap<String, bool> {
    let page = source.lines().take_while(|line| line.starts_with("//!"));
    let table = page
        .skip_while(|line| *line != "//! # Cargo features")
        .skip(1)
        .take_while(|line| line.starts_with("//! |"));
    let rows = table.filter_map(|line| line.strip_prefix("//! | `")?.split_once("` | "));
    rows.map(|(name, rest)| {
        let (default, gives) = rest.split_once(" | ").unwrap();
        assert!(["on", "off"].contains(&default), "{name}: {default}");
        assert!(gives.len() > 10, "{name} is not explained");
        (name.to_owned(), default == "on")
    })
    .collect()
}

fn crates() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn each_first_page_lists_the_features_of_its_manifest() {
    let mut counted = 0;
    for folder in crates() {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let page = ["src/lib.rs", "src/main.rs"].map(|name| folder.join(name));
        let page = page.into_iter().find(|page| page.is_file()).unwrap();
        let source = std::fs::read_to_string(&page).unwrap();
        let features = of_manifest(&manifest);
        counted += features.len();
        assert_eq!(of_page(&source), features, "{}", page.display());
    }
    assert!(counted > 15, "{counted} features were compared");
}

#[test]
fn each_library_has_a_compiled_example_on_its_first_page() {
    for folder in crates() {
        let Ok(source) = std::fs::read_to_string(folder.join("src/lib.rs")) else {
            continue;
        };
        let page: Vec<&str> = source
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        // Fences open and close by turns.
        let fences = page.iter().filter(|line| line.starts_with("//! ```"));
        let mut opening = fences.step_by(2).map(|line| &line["//! ```".len()..]);
        let is_compiled = |kind: &str| kind.is_empty() || kind.starts_with("no_run");
        let refused = |kind: &str| kind.starts_with("compile_fail");
        let has_one = opening.any(|kind| is_compiled(kind) || refused(kind));
        assert!(has_one, "{}", folder.display());
        let first: Vec<&str> = page
            .iter()
            .take_while(|line| **line != "//!")
            .copied()
            .collect();
        let is_sentence = first.last().is_some_and(|line| line.ends_with('.'));
        assert!(
            is_sentence,
            "{} does not begin with a sentence",
            folder.display()
        );
    }
}
