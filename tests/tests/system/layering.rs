//! What the architecture promises and a compiler cannot hold.

use std::path::{Path, PathBuf};

pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

pub(crate) fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")
}

#[test]
fn only_gates_and_oracle_store_depend_on_the_key_to_grants() {
    let mut dependents = Vec::new();
    let members = std::fs::read_dir(crates()).unwrap();
    let manifests = members.map(|member| member.unwrap().path().join("Cargo.toml"));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    for manifest in manifests.chain([tests]) {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let depends = |line: &str| line.starts_with("grant") || line.ends_with(".grant]");
        if text.lines().any(depends) {
            dependents.push(manifest.parent().unwrap().file_name().unwrap().to_owned());
        }
    }
    dependents.sort();
    assert_eq!(dependents, ["gates", "oracle-store"]);
}

/// Each crate's own crates, as ARCHITECTURE.md draws them.
const ALLOWED: [(&str, &[&str]); 14] = [
    ("model", &[]),
    ("durable", &["model"]),
    ("grant", &[]),
    ("push", &["model", "durable"]),
    ("oracle-store", &["model", "durable", "grant"]),
    ("envelope", &["model"]),
    ("checkpoint", &["model", "durable"]),
    ("gates", &["model", "grant", "oracle-store"]),
    ("sandbox", &["model", "oracle-store", "envelope", "gates"]),
    (
        "replay",
        &[
            "model",
            "durable",
            "push",
            "oracle-store",
            "envelope",
            "checkpoint",
        ],
    ),
    (
        "wsp",
        &[
            "oracle-store",
            "gates",
            "envelope",
            "checkpoint",
            "push",
            "replay",
            "model",
            "durable",
        ],
    ),
    (
        "simulation",
        &[
            "model",
            "durable",
            "push",
            "envelope",
            "checkpoint",
            "replay",
        ],
    ),
    ("console", &["wsp"]),
    (
        "wsp-cli",
        &[
            "console",
            "wsp",
            "gates",
            "checkpoint",
            "oracle-store",
            "sandbox",
        ],
    ),
];

#[test]
fn nothing_points_up() {
    for (name, allowed) in ALLOWED {
        let manifest = std::fs::read_to_string(crates().join(name).join("Cargo.toml")).unwrap();
        // Tests and examples may look at more: a world to stream, say.
        let shipped = manifest.split("[dev-dependencies]").next().unwrap();
        for (other, _) in ALLOWED {
            let depends = shipped.lines().any(|line| {
                let rest = line.strip_prefix(other);
                rest.is_some_and(|rest| rest.starts_with(".workspace") || rest.starts_with(" = "))
            });
            assert!(
                !depends || allowed.contains(&other),
                "{name} depends on {other}"
            );
        }
    }
}

/// What may open a connection: the push clients to the gate, and the stores to their servers.
const DIALLERS: [&str; 4] = [
    "push/src/wire.rs",
    "push/src/reqwest_client.rs",
    "oracle-store/src/store/s3.rs",
    "checkpoint/src/postgres",
];

#[test]
fn only_the_console_has_a_web_framework() {
    for (name, _) in ALLOWED {
        let manifest = std::fs::read_to_string(crates().join(name).join("Cargo.toml")).unwrap();
        let has_one = manifest.lines().any(|line| line.starts_with("axum"));
        assert_eq!(has_one, name == "console", "{name}");
    }
}

#[test]
fn events_leave_by_the_push_clients_and_in_no_other_way() {
    let ways_out = [
        "TcpStream",
        "UdpSocket",
        "reqwest::",
        "hyper::client",
        "hyper_util::client",
        "AmazonS3Builder",
        "tokio_postgres::connect",
    ];
    let mut diallers = Vec::new();
    for (name, _) in ALLOWED.iter().filter(|(name, _)| *name != "sandbox") {
        for path in sources(&crates().join(name).join("src")) {
            let text = std::fs::read_to_string(&path).unwrap();
            let tests = text.find("#[cfg(test)]").unwrap_or(text.len());
            if ways_out.iter().any(|way| text[..tests].contains(way)) {
                diallers.push(path.strip_prefix(crates()).unwrap().to_owned());
            }
        }
    }
    let unknown: Vec<_> = diallers
        .iter()
        .filter(|path| !DIALLERS.iter().any(|known| path.starts_with(known)))
        .filter(|path| {
            !path
                .iter()
                .any(|part| part == "tests" || part == "tests.rs")
        })
        .collect();
    assert!(unknown.is_empty(), "{unknown:?} can open connections");
    let wire = diallers
        .iter()
        .any(|path| path.ends_with("push/src/wire.rs"));
    assert!(wire, "the search finds the one that is known: {diallers:?}");
}

#[test]
fn no_source_holds_a_machine_path_or_an_unfinished_place() {
    for path in sources(&crates()) {
        let text = std::fs::read_to_string(&path).unwrap();
        for wrong in [
            concat!("\"/ro", "ot/"),
            concat!("\"/wo", "rk/"),
            concat!("to", "do!("),
            concat!("unimple", "mented!("),
        ] {
            assert!(!text.contains(wrong), "{} holds {wrong}", path.display());
        }
    }
}
