//! `wsp-cli demo`: what a newcomer sees first.

use std::fs;
use std::path::Path;

use serde_json::Value;
use system_tests::{command, signal, wsp_cli};

use crate::signals::{start, wait_until};

/// Processes whose arguments name something in this folder.
fn processes_of(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&arguments).contains(folder)
        })
        .count()
}

#[test]
fn a_demo_that_is_stopped_leaves_neither_a_stream_nor_a_file() {
    for name in ["TERM", "INT", "HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let demo = start(folder.path(), &["demo", "--events", "60000"]);
        // The stream names its profile, which is in that folder.
        wait_until("it streams", || processes_of(folder.path()) > 0);
        signal(&demo, name);
        let ended = demo.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(3), "{name}");
        let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(report["status"], "STOPPED", "{name}");
        assert_eq!(processes_of(folder.path()), 0, "{name}");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

#[test]
fn a_demo_tells_a_short_story_proves_it_and_ends_with_commands_that_work() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["demo", "--events", "5000", "--folder", "demo"];
    let ran = command(folder.path(), &args).output().unwrap();
    let story = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{story}");
    let proof: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(
        (&proof["status"], &proof["missing"]),
        (&"NOTHING_LOST".into(), &0.into())
    );
    assert!(story.lines().count() <= 20, "{story}");
    for step in 1..=5 {
        assert!(story.contains(&format!("[{step}/5] ")), "{story}");
    }
    assert!(story.contains("5,000 rows, 5,000 unique events at the gate, 0 missing"));
    let (_, next) = story.split_once("To go on:\n").expect("commands to try");
    let commands: Vec<&str> = next.lines().collect();
    assert_eq!(commands.len(), 3, "{next}");
    for line in commands {
        let words = line.split('#').next().unwrap().split_whitespace();
        let words: Vec<&str> = words.collect();
        assert_eq!(Path::new(words[0]), wsp_cli());
        let ran = command(folder.path(), &words[1..]).output().unwrap();
        assert!(ran.status.success(), "{line}: {ran:?}");
    }
}
