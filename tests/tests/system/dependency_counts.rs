//! How many crates a dependent pulls in, by crate and feature: the table of
//! `docs/dependencies.md` is counted again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The crates that one crate with some features pulls in, itself among them. Compiles nothing.
fn pulled_in(name: &str, features: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root)
        .args([
            "tree",
            "--offline",
            "--locked",
            "-e",
            "normal",
            "--prefix",
            "none",
        ])
        // Others have crates of their own.
        .args(["--no-dedupe", "--target", "x86_64-unknown-linux-gnu"])
        .args(["--no-default-features", "--features", features, "-p", name]);
    let ran = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{name} [{features}]: {said}");
    let listed = String::from_utf8(ran.stdout).unwrap();
    let crates: BTreeSet<&str> = listed.lines().filter(|line| !line.is_empty()).collect();
    crates.len()
}

#[test]
fn the_table_of_crates_pulled_in_is_what_cargo_counts() {
    let page = include_str!("../../../docs/dependencies.md");
    let section = page.split("## What a dependent pulls in").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, features, crates, aim] = cells[..] else {
            panic!("{row}")
        };
        let features = match features {
            "none" => String::new(),
            features => features.replace(['`', ' '], ""),
        };
        let found = pulled_in(name.trim_matches('`'), &features);
        let is_within = |aim: &str| aim.is_empty() || found <= aim.parse().unwrap();
        // An aim that is missed stands in brackets, so that it cannot be missed in silence.
        let holds_aim = aim.starts_with('(') || is_within(aim);
        if crates.parse() != Ok(found) || !holds_aim {
            wrong.push(format!("{row} counted {found}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count >= 10, "the table has {count} rows");
}
