//! Signals to the commands beside `stream` and `redrive`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use system_tests::{signal, wsp_cli};

const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn start(folder: &Path, args: &[&str]) -> Child {
    Command::new(wsp_cli())
        .args(args)
        .current_dir(folder)
        .env("TMPDIR", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_gate_ends_in_order_on_each_of_the_three_signals() {
    for name in ["TERM", "INT", "HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let gate = start(folder.path(), &["gate", "--listen", "127.0.0.1:0"]);
        wait_until("it hears signals", || {
            let status = fs::read_to_string(format!("/proc/{}/status", gate.id()));
            let status = status.unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            // SIGHUP is 1, SIGINT 2 and SIGTERM 15.
            caught.is_some_and(|mask| mask & 0x4003 == 0x4003)
        });
        signal(&gate, name);
        let ended = gate.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{name}");
        let stats: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(stats["posts"], 0, "{name}");
    }
}
