//! Stores, leases and runs go by injected time, chance and threads: what reaches the machine's own
//! is listed here, and a lint (each crate's `clippy.toml`) refuses the rest.

use std::path::Path;

use crate::layering::{crates, sources};

/// What may start threads or read the machine's time, with why.
const ADAPTERS: [(&str, &str); 6] = [
    (
        "checkpoint/src/blocking.rs",
        "disk work on threads that may block",
    ),
    (
        "checkpoint/src/keeper/thread.rs",
        "the thread that renews a lease",
    ),
    (
        "checkpoint/src/postgres/link.rs",
        "the runtime of the connections",
    ),
    ("wsp/src/blocking.rs", "disk work on threads that may block"),
    (
        "wsp/src/plan/pack.rs",
        "a pack bears the time at which it is made",
    ),
    (
        "wsp/src/run/process_limits.rs",
        "asks the system for threads",
    ),
];

/// Whether a file's shipped text lifts the lint.
fn lifts_the_lint(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap();
    let shipped = text.replace(
        "#![cfg_attr(\n    test,\n    allow(\n        clippy::disallowed_methods",
        "",
    );
    let tests = shipped.find("#[cfg(test)]\nmod tests {");
    shipped[..tests.unwrap_or(shipped.len())].contains("clippy::disallowed_methods")
}

#[test]
fn only_adapters_of_stores_and_runs_reach_the_machines_time_and_threads() {
    let mut found = Vec::new();
    for name in ["checkpoint", "wsp"] {
        assert!(
            crates().join(name).join("clippy.toml").exists(),
            "the lint of {name}"
        );
        for path in sources(&crates().join(name).join("src")) {
            let path_in_crates = path.strip_prefix(crates()).unwrap();
            let is_of_tests = ["conformance", "soak", "tests"].iter().any(|folder| {
                path_in_crates
                    .components()
                    .any(|part| part.as_os_str() == *folder)
            });
            if !is_of_tests && lifts_the_lint(&path) {
                found.push(path_in_crates.display().to_string());
            }
        }
    }
    found.sort();
    assert_eq!(found, ADAPTERS.map(|(path, _)| path));
}
