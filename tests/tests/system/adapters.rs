//! What a simulation runs goes by injected time, chance, network and threads: the files that reach
//! the machine's own, beside the crate `durable`, are listed here, and a lint (each crate's `clippy.toml`) refuses the rest.

use std::path::Path;

use crate::layering::{crates, sources};

/// The crates that a simulation runs.
const SIMULATED: [&str; 6] = [
    "checkpoint",
    "gates",
    "oracle-store",
    "push",
    "replay",
    "wsp",
];

/// What may reach the machine's time, chance, network or threads, with why.
const ADAPTERS: [(&str, &str); 4] = [
    (
        "checkpoint/src/keeper/thread.rs",
        "the thread that renews a lease",
    ),
    (
        "checkpoint/src/postgres/link.rs",
        "the runtime of the connections",
    ),
    ("push/src/wire.rs", "TCP and TLS"),
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

/// Whether a file is compiled for tests only.
fn is_of_tests(path: &Path) -> bool {
    path.iter().any(|part| {
        ["conformance", "soak", "tests", "tests.rs"]
            .iter()
            .any(|name| part == *name)
    })
}

#[test]
fn only_adapters_reach_the_machines_time_chance_network_and_threads() {
    let mut found = Vec::new();
    for name in SIMULATED {
        assert!(
            crates().join(name).join("clippy.toml").exists(),
            "the lint of {name}"
        );
        for path in sources(&crates().join(name).join("src")) {
            let in_crates = path.strip_prefix(crates()).unwrap();
            if !is_of_tests(in_crates) && lifts_the_lint(&path) {
                found.push(in_crates.display().to_string());
            }
        }
    }
    found.sort();
    assert_eq!(found, ADAPTERS.map(|(path, _)| path));
}
