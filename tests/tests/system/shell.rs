//! What the command line tells shells, editors and `man` of itself, and of profiles.

use std::process::Command;

use serde_json::Value;
use system_tests::{Rig, run_in, wsp_cli};

fn said(args: &[&str]) -> String {
    let ran = Command::new(wsp_cli()).args(args).output().unwrap();
    assert!(
        ran.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn the_version_names_the_commit_or_says_that_it_is_unknown() {
    let version = said(&["--version"]);
    assert_eq!(version.trim_end(), format!("wsp-cli {}", wsp::BUILD));
    assert!(version.contains('('), "{version}");
}

#[test]
fn completions_of_each_shell_know_commands_and_flags() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        for word in ["stream", "max-events", "report", "explain"] {
            assert!(script.contains(word), "{word} of {shell}");
        }
    }
    let script = said(&["completions", "bash"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wsp-cli.bash");
    std::fs::write(&file, script).unwrap();
    let ask = format!(
        "source '{}'; COMP_WORDS=(wsp-cli str); COMP_CWORD=1; _wsp__cli wsp-cli str wsp-cli; echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let ran = Command::new("bash")
        .args(["--norc", "-c", &ask])
        .output()
        .unwrap();
    let reply = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(
        reply.trim(),
        "stream",
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn every_command_has_a_manual_page_with_its_flags() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_in(folder.path(), &["man", "--folder", "man1"]);
    ran.expect(0, "");
    let pages = ran.report["pages"].as_array().unwrap();
    let named = |name: &str| pages.iter().any(|page| page == name);
    for page in [
        "wsp-cli.1",
        "wsp-cli-stream.1",
        "wsp-cli-checkpoint-show.1",
        "wsp-cli-profile-check.1",
    ] {
        assert!(named(page), "{page} of {pages:?}");
    }
    let page = std::fs::read_to_string(folder.path().join("man1/wsp-cli-stream.1")).unwrap();
    assert!(
        page.contains(r"max\-events") && page.contains(".TH"),
        "{page}"
    );
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    run_in(folder.path(), &["man", "--folder", "file"]).expect(1, "MAN_UNWRITABLE");
}

#[test]
fn each_contract_is_printed_as_json_and_all_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let listed = run_in(folder.path(), &["schema"]);
    listed.expect(0, "");
    let contracts = listed.report["contracts"].as_array().unwrap();
    assert!(contracts.len() >= 15);
    for contract in contracts {
        let name = contract["name"].as_str().unwrap();
        let schema = run_in(folder.path(), &["schema", name]);
        schema.expect(0, "");
        jsonschema::draft202012::new(&schema.report).unwrap();
    }
    let unknown = run_in(folder.path(), &["schema", "fly"]);
    unknown.expect(2, "SCHEMA_UNKNOWN");
    assert!(
        unknown.report["detail"]
            .as_str()
            .unwrap()
            .contains("wsp_profile")
    );
}

#[test]
fn a_profile_is_checked_and_explained_without_a_world() {
    let rig = Rig::sample();
    std::fs::remove_dir_all(rig.world.engine_run_root()).unwrap();
    let checked = rig.run(&["profile", "check"], &[]);
    checked.expect(0, "");
    assert_eq!(checked.report["status"], "VALID");
    assert_eq!(checked.report.get("settings"), None);
    let explained = rig.run(&["profile", "explain"], &[]);
    explained.expect(0, "");
    let settings = explained.report["settings"].as_array().unwrap().iter();
    let mut lanes = settings.filter(|setting| setting["key"] == "wiring.wsp_push.lanes");
    let lanes = lanes.next().unwrap();
    assert!(
        explained.stderr.contains("wiring.wsp_push.lanes"),
        "{}",
        explained.stderr
    );
    assert!(["profile", "default"].contains(&lanes["from"].as_str().unwrap()));
}

#[test]
fn what_is_wrong_with_a_profile_is_said_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        std::fs::write(folder.path().join("p.yaml"), text).unwrap();
        run_in(folder.path(), &["profile", "check", "--profile", "p.yaml"])
    };
    let unknown = check("wiring: {wsp_push: {lane: 3}}\n");
    unknown.expect(2, "PROFILE_KEY_UNKNOWN");
    assert!(unknown.report["detail"].as_str().unwrap().contains("lane"));
    let conflict = check("policy: {stream_speedup: 5, stream_rate: 5}\n");
    conflict.expect(2, "PROFILE_INVALID");
    let unset = check("profile_id: local\nwiring: {oracle_root: \"${SURELY_UNSET_HERE}\"}\n");
    unset.expect(0, "");
    let named: Vec<&Value> = unset.report["unset_variables"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(named, ["SURELY_UNSET_HERE"]);
    assert!(
        unset.stderr.contains("unset  SURELY_UNSET_HERE"),
        "{}",
        unset.stderr
    );
}

#[test]
fn the_stand_in_gate_has_metrics_that_agree_with_its_counts() {
    use std::io::{Read as _, Write as _};
    let rig = Rig::sample();
    rig.stream(&["--max-events", "100", "--speedup", "0"])
        .expect(0, "MAX_EVENTS");
    let mut gate = std::net::TcpStream::connect(rig.gate.address()).unwrap();
    gate.write_all(b"GET /metrics HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    gate.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("version=0.0.4"),
        "{answer}"
    );
    assert!(
        answer.contains("stand_in_gate_results_total{result=\"admitted\"} 100\n"),
        "{answer}"
    );
    let body = answer.split("\r\n\r\n").nth(1).unwrap().to_owned();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("promtool: scripts/ensure-promtool installs it");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(body.as_bytes())
        .unwrap();
    let judged = promtool.wait_with_output().unwrap();
    assert!(
        judged.status.success(),
        "{}",
        String::from_utf8_lossy(&judged.stderr)
    );
}
