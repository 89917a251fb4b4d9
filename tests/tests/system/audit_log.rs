//! An audit that can no longer be written: a strict run ends and says so, a local one warns once
//! and goes on.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sandbox::{GateOptions, WorldOptions};
use serde_json::Value;
use system_tests::checkpoints::{Backend, Checkpoints};
use system_tests::{Ran, Rig, signal};

const RUN: [&str; 2] = ["--platform-run-id", "platform_20260128T090000Z"];
const FLUSH_EVERY: u64 = 40;
const LANES: u64 = 16;

/// 5,000 events in ten seconds, cursors elsewhere than the audit.
fn rig(checkpoints: &Checkpoints, posture: &str) -> Rig {
    let (flush_every, lanes) = (FLUSH_EVERY.to_string(), LANES.to_string());
    let keys = [
        ("policy.posture", posture),
        ("policy.stream_speedup", "360"),
        ("wiring.wsp_checkpoint.flush_every", &flush_every),
        ("wiring.wsp_push.lanes", &lanes),
    ];
    Rig::keeping(checkpoints, &WorldOptions::sample(), &keys)
}

fn log(rig: &Rig) -> PathBuf {
    rig.world.runs_root().join(RUN[1]).join("session.jsonl")
}

/// It ended where the audit did, and a rerun with an audit goes on from there.
#[track_caller]
fn assert_ends_and_resumes(rig: &Rig, ran: &Ran) {
    ran.expect(1, "AUDIT_UNWRITABLE");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains("session.jsonl"), "{detail}");
    let sent = rig.gate.stats().unique;
    assert!(sent < rig.rows(), "it did not go on");
    assert_eq!(ran.report["emitted"], sent);
    let flags = [&RUN[..], &["--speedup", "0"]].concat();
    rig.stream_the_rest(ran, FLUSH_EVERY + LANES, &flags);
}

#[test]
fn a_full_disk_under_the_audit_stops_a_strict_run_before_it_starts_and_no_local_one() {
    for posture in ["strict", "local"] {
        let keys = [("policy.posture", posture)];
        let rig = Rig::new(&WorldOptions::sample(), GateOptions::default(), &keys);
        let log = log(&rig);
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/dev/full", &log).unwrap();
        let ran = rig.stream(&RUN);
        if posture == "strict" {
            ran.expect(1, "AUDIT_UNWRITABLE");
            assert_eq!(rig.gate.stats().posts, 0);
            fs::remove_file(&log).unwrap();
            rig.stream(&RUN).expect(0, "");
        } else {
            ran.expect(0, "");
            assert!(ran.stderr.contains("audit log"), "{}", ran.stderr);
        }
        assert_eq!(rig.gate.stats().unique, rig.rows());
    }
}

#[test]
fn an_audit_that_breaks_in_mid_run_ends_a_strict_run_and_no_local_one() {
    for posture in ["strict", "local"] {
        let checkpoints = Checkpoints::on(Backend::File);
        let rig = rig(&checkpoints, posture);
        let log = log(&rig);
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        // A pipe takes lines until its reader leaves.
        let made = Command::new("mkfifo").arg(&log).status().unwrap();
        assert!(made.success());
        let child = rig.start_stream(&RUN);
        let reader = File::open(&log).unwrap();
        rig.wait_for_unique(300);
        drop(reader);
        let ran = Rig::finish(child);
        if posture == "strict" {
            fs::remove_file(&log).unwrap();
            assert_ends_and_resumes(&rig, &ran);
        } else {
            ran.expect(0, "");
            assert!(ran.stderr.contains("audit log"), "{}", ran.stderr);
            assert_eq!(rig.gate.stats().unique, rig.rows());
        }
    }
}

#[test]
fn a_stop_is_answered_while_the_audit_is_a_pipe_that_nobody_reads() {
    let rig = Rig::new(&WorldOptions::sample(), GateOptions::default(), &[]);
    let log = log(&rig);
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    let child = rig.start_stream(&RUN);
    // It waits for a reader by now, or has yet to look: the stop is answered either way.
    std::thread::sleep(Duration::from_secs(1));
    signal(&child, "TERM");
    Rig::finish(child).expect(3, "STOPPED");
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn a_stop_ends_the_process_although_the_audit_takes_no_line_any_more() {
    let keys = [
        ("policy.stream_speedup", "360"),
        ("wiring.wsp_push.drain_timeout_s", "1"),
        ("wiring.wsp_checkpoint.save_timeout_s", "1"),
    ];
    let checkpoints = Checkpoints::on(Backend::File);
    let rig = Rig::keeping(&checkpoints, &WorldOptions::sample(), &keys);
    let log = log(&rig);
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    let unread = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&log)
        .unwrap();
    let child = rig.start_stream(&RUN);
    rig.wait_for_unique(300);
    // Filled, it blocks whoever writes to it next.
    let filling = std::thread::spawn(move || {
        let mut unread = unread;
        let _ = unread.write_all("x".repeat(1 << 17).as_bytes());
    });
    std::thread::sleep(Duration::from_secs(2));
    signal(&child, "TERM");
    let ran = Rig::finish(child);
    ran.expect(1, "STOP_OVERDUE");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains("does not answer"), "{detail}");
    assert!(!filling.is_finished(), "the pipe was full");
}

#[test]
fn a_runs_root_deleted_in_mid_run_ends_a_strict_run_and_no_local_one() {
    for posture in ["strict", "local"] {
        let checkpoints = Checkpoints::on(Backend::File);
        let rig = rig(&checkpoints, posture);
        let child = rig.start_stream(&RUN);
        rig.wait_for_unique(300);
        signal(&child, "STOP");
        fs::remove_dir_all(rig.world.runs_root()).unwrap();
        signal(&child, "CONT");
        let ran = Rig::finish(child);
        if posture == "strict" {
            assert!(!rig.world.runs_root().exists(), "nobody made it again");
            assert_ends_and_resumes(&rig, &ran);
        } else {
            ran.expect(0, "");
            assert!(ran.stderr.contains("it was made again"), "{}", ran.stderr);
            assert_eq!(rig.gate.stats().unique, rig.rows());
            let kinds: Vec<Value> = rig
                .audit()
                .iter()
                .map(|line| line["event_kind"].clone())
                .collect();
            assert!(kinds.contains(&"runs_root_remade".into()), "{kinds:?}");
            assert_eq!(kinds.last().unwrap(), "stream_complete");
        }
    }
}

#[test]
fn the_audit_says_why_a_run_of_a_named_platform_run_was_refused() {
    let rig = Rig::new(&WorldOptions::sample(), GateOptions::default(), &[]);
    let receipt = rig.world.engine_run_root().join("run_receipt.json");
    let whole = fs::read(&receipt).unwrap();
    fs::write(&receipt, "{").unwrap();
    rig.stream(&[]).expect(1, "RUN_RECEIPT_UNREADABLE");
    assert!(
        !rig.world.runs_root().exists(),
        "no run was named, and none was made"
    );

    rig.stream(&RUN).expect(1, "RUN_RECEIPT_UNREADABLE");
    fs::write(&receipt, whole).unwrap();
    rig.stream(&[&RUN[..], &["--output-ids", "none"]].concat())
        .expect(1, "OUTPUT_UNKNOWN");
    let wrong_gate = [&RUN[..], &["--ig-url", "ftp://gate"]].concat();
    rig.stream(&wrong_gate).expect(2, "PROFILE_INVALID");
    let told: Vec<_> = rig
        .audit()
        .iter()
        .map(|line| {
            assert_eq!(line["event_kind"], "stream_failed");
            assert_eq!(line["platform_run_id"], RUN[1]);
            line["details"]["reason"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        told,
        [
            "RUN_RECEIPT_UNREADABLE",
            "OUTPUT_UNKNOWN",
            "PROFILE_INVALID"
        ]
    );
}

#[test]
fn the_report_of_every_run_is_kept_and_the_latest_is_the_summary() {
    let rig = Rig::new(&WorldOptions::sample(), GateOptions::default(), &[]);
    let first = rig.stream(&["--max-events", "40"]);
    let second = rig.stream(&["--max-events", "60"]);
    let run = first.report["platform_run_id"].as_str().unwrap();
    let folder = rig.runs_root().join(run).join("wsp");
    let read =
        |path: PathBuf| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let summary = || read(folder.join("wsp_summary.json"));
    assert_eq!(summary(), second.report);
    // One that was refused is the latest, too.
    let refused = rig.stream(&["--output-ids", "nowhere"]);
    refused.expect(1, "OUTPUT_UNKNOWN");
    assert_eq!(summary(), refused.report);
    let reports = std::fs::read_dir(folder.join("reports")).unwrap();
    let mut kept: Vec<PathBuf> = reports.map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    assert_eq!(kept.len(), 3);
    let kept: Vec<Value> = kept.into_iter().map(read).collect();
    for report in [&first.report, &second.report, &refused.report] {
        assert!(kept.contains(report));
    }
}

#[test]
fn a_bounded_run_says_what_it_streamed_and_the_last_cursor_of_every_output() {
    let rig = Rig::new(&WorldOptions::sample(), GateOptions::default(), &[]);
    let ran = rig.stream(&["--max-events", "1500"]);
    ran.expect(0, "MAX_EVENTS");
    let audit = rig.audit();
    let of_kind = |kind: &str| {
        let line = audit.iter().rfind(|line| line["event_kind"] == kind);
        line.unwrap()["details"].clone()
    };
    let started = of_kind("stream_start");
    assert_eq!(started["output_ids"], ran.report["output_ids"]);
    let streamed = of_kind("engine_world_streamed");
    assert_eq!(streamed["output_ids"], ran.report["output_ids"]);
    assert_eq!(streamed["emitted"], 1500);
    assert_eq!(streamed["is_bounded"], true);
    assert_eq!(of_kind("stream_complete")["emitted"], 1500);
    let traffic = streamed["traffic_output_ids"].as_array().unwrap().len();
    let context = streamed["context_output_ids"].as_array().unwrap().len();
    assert_eq!(
        traffic + context,
        ran.report["output_ids"].as_array().unwrap().len()
    );
    for output in ran.report["per_output"].as_array().unwrap() {
        let saved = audit.iter().rfind(|line| {
            line["event_kind"] == "checkpoint_saved"
                && line["details"]["output_id"] == output["output_id"]
        });
        let saved = saved.map(|line| line["details"]["cursor"].clone());
        assert_eq!(saved.unwrap_or_default(), output["cursor"]);
    }
}
