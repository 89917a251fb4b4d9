//! The platform's runs root, deleted in mid-run with the cursors in it: a local stream makes it
//! again and goes on; and where another producer was faster, exactly one of the two does.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::{FaultRule, GateOptions, WorldOptions};
use serde_json::Value;
use system_tests::{Ran, Rig, signal};

const RUN: [&str; 2] = ["--platform-run-id", "platform_20260128T090000Z"];
const FLUSH_EVERY: u64 = 40;
const LANES: u64 = 16;

/// About five seconds of stream, its cursors under the runs root.
fn rig(keys: &[(&str, &str)]) -> Rig {
    let (flush_every, lanes) = (FLUSH_EVERY.to_string(), LANES.to_string());
    let mut all = vec![
        ("policy.stream_speedup", "720"),
        ("wiring.wsp_checkpoint.flush_every", &flush_every),
        ("wiring.wsp_checkpoint.lease_s", "2"),
        ("wiring.wsp_push.lanes", &lanes),
        ("wiring.wsp_retry.give_up_after_s", "5"),
    ];
    all.extend(keys);
    Rig::new(&WorldOptions::sample(), GateOptions::default(), &all)
}

/// Deletes the runs root while a stream stands still.
fn delete_under(rig: &Rig, child: &Child) {
    signal(child, "STOP");
    fs::remove_dir_all(rig.world.runs_root()).unwrap();
}

fn files(rig: &Rig, name: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![rig.world.runs_root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|found| found == name) {
                found.push(path);
            }
        }
    }
    found
}

fn fences(rig: &Rig) -> Vec<u64> {
    let fence = |path: &PathBuf| {
        let lease: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        lease["lease"]["fence"].as_u64().unwrap()
    };
    files(rig, "lease.json").iter().map(fence).collect()
}

fn await_leases(rig: &Rig) {
    let began = Instant::now();
    while files(rig, "lease.json").len() < rig.world.streamable_output_ids().len() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "no lease was taken"
        );
        sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn assert_whole_and_durable(rig: &Rig, ran: &Ran, duplicates: u64) {
    ran.expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!(stats.unique, rig.rows());
    assert!(
        stats.duplicates <= duplicates,
        "{} came again",
        stats.duplicates
    );
    let again = rig.stream(&RUN);
    again.expect(0, "");
    assert_eq!(again.report["emitted"], 0, "what was sent is durable");
}

#[test]
fn a_stream_makes_its_cursors_again_and_nothing_comes_twice() {
    for named in [&RUN[..], &[]] {
        let rig = rig(&[]);
        let child = rig.start_stream(named);
        rig.wait_for_unique(rig.rows() / 4);
        let before = fences(&rig);
        let active = fs::read(rig.runs_root().join("ACTIVE_RUN_ID")).ok();
        delete_under(&rig, &child);
        signal(&child, "CONT");
        rig.wait_for_unique(rig.rows() / 2);
        let after = fences(&rig);
        let ran = Rig::finish(child);
        assert_eq!(after.len(), before.len(), "{after:?}");
        assert!(
            after.iter().min() > before.iter().max(),
            "{before:?} {after:?}"
        );
        assert_eq!(fs::read(rig.runs_root().join("ACTIVE_RUN_ID")).ok(), active);
        let audit = rig.audit();
        for kind in ["runs_root_remade", "checkpoint_store_remade"] {
            assert!(
                audit.iter().any(|line| line["event_kind"] == kind),
                "{kind}"
            );
        }
        assert_eq!(audit.last().unwrap()["event_kind"], "stream_complete");
        if named.is_empty() {
            ran.expect(0, "");
            assert_eq!(rig.gate.stats().duplicates, 0);
        } else {
            assert_whole_and_durable(&rig, &ran, 0);
        }
    }
}

#[test]
fn a_root_that_is_deleted_again_and_again_under_a_running_stream_costs_nothing() {
    let rig = rig(&[]);
    let child = rig.start_stream(&RUN);
    for share in [6, 3, 2] {
        rig.wait_for_unique(rig.rows() / share);
        // Not everything goes at once, and what the stream writes meanwhile is in the way.
        while fs::remove_dir_all(rig.world.runs_root()).is_err() {}
    }
    let ran = Rig::finish(child);
    assert_whole_and_durable(&rig, &ran, 0);
}

#[test]
fn of_two_producers_one_goes_on_and_the_one_that_was_late_sends_nothing_more() {
    let rig = rig(&[]);
    let first = rig.start_stream(&RUN);
    rig.wait_for_unique(rig.rows() / 4);
    delete_under(&rig, &first);
    let second = rig.start_stream(&RUN);
    await_leases(&rig);
    signal(&first, "CONT");
    Rig::finish(first).expect(1, "LEASE_LOST");
    let ran = Rig::finish(second);
    assert!(
        fences(&rig).iter().all(|fence| *fence == 1),
        "nobody wrote over its leases"
    );
    // The second knew of no cursor: all that the first had sent comes again, once.
    assert_whole_and_durable(&rig, &ran, rig.rows() / 2);
}

#[test]
fn a_producer_that_comes_after_waits_for_the_lease_and_goes_on_behind_the_cursor() {
    let rig = rig(&[]);
    let first = rig.start_stream(&RUN);
    rig.wait_for_unique(rig.rows() / 4);
    delete_under(&rig, &first);
    signal(&first, "CONT");
    await_leases(&rig);
    rig.stream(&RUN).expect(1, "LEASE_HELD");
    let ran = Rig::finish(first);
    assert_whole_and_durable(&rig, &ran, 0);
}

#[test]
fn what_lies_under_another_folder_by_then_is_left_alone() {
    let mut rig = rig(&[]);
    let above = rig.folder.path().join("platform");
    let root = above.join("runs-of-it");
    fs::create_dir_all(&above).unwrap();
    let cursors = root.join("cursors");
    rig.set(&[
        ("policy.stream_speedup", "720"),
        ("wiring.wsp_retry.give_up_after_s", "1"),
        ("wiring.wsp_audit.root", root.to_str().unwrap()),
        ("wiring.wsp_checkpoint.root", cursors.to_str().unwrap()),
    ]);
    let child = rig.start_stream(&RUN);
    rig.wait_for_unique(rig.rows() / 4);
    signal(&child, "STOP");
    fs::rename(&above, rig.folder.path().join("away")).unwrap();
    fs::create_dir(&above).unwrap();
    signal(&child, "CONT");
    let ran = Rig::finish(child);
    ran.expect(1, "CHECKPOINT_UNAVAILABLE");
    assert!(!root.exists(), "nobody made it again");
}

#[test]
fn events_that_were_set_aside_there_end_the_run() {
    let rig = rig(&[("wiring.wsp_push.on_reject", "quarantine")]);
    let rejected = "status:422".parse::<FaultRule>().unwrap().fault;
    let share = FaultRule::for_share(0.05, rejected);
    rig.gate.set_faults(vec![share]).unwrap();
    let child = rig.start_stream(&RUN);
    rig.wait_for_unique(rig.rows() / 4);
    rig.gate.set_faults(Vec::new()).unwrap();
    delete_under(&rig, &child);
    signal(&child, "CONT");
    let ran = Rig::finish(child);
    ran.expect(1, "QUARANTINE_UNWRITABLE");
    assert!(rig.gate.stats().unique < rig.rows(), "it did not go on");
}
