//! Leases under stress: kept on a saturated machine, and lost to one who takes them over.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::scope;
use std::time::Duration;

use sandbox::WorldOptions;
use serde_json::Value;
use system_tests::checkpoints::{Backend, Checkpoints, assert_one_writer_at_a_time};
use system_tests::{Rig, signal};

const FLUSH_EVERY: u64 = 20;
const LANES: u64 = 8;

fn rig(checkpoints: &Checkpoints, lease_s: &str) -> Rig {
    let (flush_every, lanes) = (FLUSH_EVERY.to_string(), LANES.to_string());
    let keys = [
        ("wiring.wsp_checkpoint.flush_every", flush_every.as_str()),
        ("wiring.wsp_checkpoint.lease_s", lease_s),
        ("wiring.wsp_push.lanes", &lanes),
        ("policy.stream_speedup", "60"),
    ];
    Rig::keeping(checkpoints, &WorldOptions::sample(), &keys)
}

/// Every core of this machine has more to do than it can.
fn saturated<T>(work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    scope(|scope| {
        for _ in 0..2 * cores {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let done = work();
        is_over.store(true, Relaxed);
        done
    })
}

#[test]
fn a_lease_is_renewed_on_a_saturated_machine() {
    for backend in [Backend::File, Backend::Postgres] {
        let checkpoints = Checkpoints::on(backend);
        let rig = rig(&checkpoints, "3");
        let child = rig.start_stream(&[]);
        rig.wait_for_unique(20);
        // The second one looks on for a whole period, and sees the first renew.
        let second = saturated(|| rig.stream(&[]));
        second.expect(1, "LEASE_HELD");
        signal(&child, "TERM");
        let first = Rig::finish(child);
        first.expect(3, "STOPPED");
        let stats = rig.gate.stats();
        assert_eq!(first.report["emitted"], stats.unique, "{backend:?}");
        assert_eq!(stats.duplicates, 0, "{backend:?}");
    }
}

#[test]
fn a_producer_that_is_taken_over_ends_and_never_two_advance() {
    for backend in [Backend::File, Backend::Sqlite, Backend::Postgres] {
        let checkpoints = Checkpoints::on(backend);
        let rig = rig(&checkpoints, "30");
        let child = rig.start_stream(&[]);
        rig.wait_for_unique(60);
        let second = rig.stream(&["--take-over", "--speedup", "0"]);
        second.expect(0, "");
        let first = Rig::finish(child);
        first.expect(1, "LEASE_LOST");
        let lost = |line: &Value| {
            line["event_kind"] == "stream_failed" && line["details"]["reason"] == "LEASE_LOST"
        };
        assert!(rig.audit().iter().any(lost), "the audit says so");

        let stats = rig.gate.stats();
        assert_eq!(stats.unique, rig.rows(), "{backend:?}");
        assert!(stats.duplicates <= FLUSH_EVERY + LANES, "{stats:?}");
        let pack_key = second.report["pack_key"].as_str().unwrap();
        let outputs = rig.world.streamable_output_ids();
        let histories = checkpoints.histories(pack_key, &outputs);
        let writers = histories
            .iter()
            .map(|(output, history)| assert_one_writer_at_a_time(output, history));
        assert_eq!(writers.max(), Some(2), "{backend:?}: both saved, in turn");
        let again = rig.stream(&[]);
        again.expect(0, "");
        assert_eq!(again.report["emitted"], 0);
    }
}

#[test]
fn a_producer_that_wakes_after_its_lease_was_taken_sends_nothing_of_its_backlog() {
    for backend in [Backend::File, Backend::Postgres] {
        let checkpoints = Checkpoints::on(backend);
        let keys = [
            ("wiring.wsp_checkpoint.flush_every", "100000"),
            ("wiring.wsp_checkpoint.lease_s", "2"),
            ("wiring.wsp_push.lanes", "4"),
        ];
        let world = WorldOptions::sample().with_shape(2, 10_000);
        let rig = Rig::keeping(&checkpoints, &world, &keys);
        let child = rig.start_stream(&[]);
        rig.wait_for_unique(40);
        let second = loop {
            signal(&child, "STOP");
            // It waits for the lease of the one that is stopped to end.
            let second = rig.stream(&["--max-events", "1"]);
            if second.reason() != "CHECKPOINT_UNAVAILABLE" {
                break second;
            }
            // The first one was stopped in the middle of a save, with its cursor locked.
            signal(&child, "CONT");
            std::thread::sleep(Duration::from_millis(50));
        };
        second.expect(0, "MAX_EVENTS");
        let before = rig.gate.stats().posts;
        signal(&child, "CONT");
        Rig::finish(child).expect(1, "LEASE_LOST");
        let since = rig.gate.stats().posts - before;
        assert!(since <= 4, "{backend:?}: {since} posts after it woke");
    }
}

/// The lock files of all cursors in a folder.
fn cursor_locks(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(cursor_locks(&path));
        } else if path.ends_with("cursor.lock") {
            found.push(path);
        }
    }
    found
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_keeps_a_cursor_locked_is_named_with_what_to_do() {
    let checkpoints = Checkpoints::on(Backend::File);
    let rig = rig(&checkpoints, "1");
    let bounded = ["--max-events", "10", "--speedup", "0"];
    rig.stream(&bounded).expect(0, "MAX_EVENTS");
    // As a producer that was stopped in the middle of a save does.
    let lock = cursor_locks(&checkpoints.root()).swap_remove(0);
    let held = std::fs::File::open(lock).unwrap();
    held.lock().unwrap();
    let ran = rig.stream(&["--take-over", "--max-events", "10", "--speedup", "0"]);
    ran.expect(1, "CHECKPOINT_UNAVAILABLE");
    let detail = ran.report["detail"].as_str().unwrap();
    let own = format!("Process {} keeps it locked", std::process::id());
    assert!(
        detail.contains(&own) && detail.contains("end it"),
        "{detail}"
    );
    drop(held);
    rig.stream(&bounded).expect(0, "MAX_EVENTS");
    assert_eq!(rig.gate.stats().unique, 20);
}
