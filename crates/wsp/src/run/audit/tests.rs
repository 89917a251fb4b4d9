//! The audit: its lines, where they lie, and what a torn line does.

use std::path::Path;

use durable::Disk as _;
use durable::simulated::{Careless, CrashDisk};

use model::Shard;

use super::*;
use crate::run::places::{folder_places, log_of_run, open_lines};

fn clock() -> SharedClock {
    SharedClock::new(durable::TokioClock)
}

fn open(root: &Path, posture: Posture) -> Result<AuditLog, Error> {
    AuditLog::open(&*folder_places(root), (&run(), "s"), posture, &clock())
}

fn run() -> PlatformRunId {
    "platform_20260101T000000Z".parse().unwrap()
}

#[test]
fn records_are_appended_one_a_line() {
    let root = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut log = open(root.path(), Posture::Strict).unwrap();
        log.append(EventKind::StreamStart, serde_json::json!({"a": 1}))
            .unwrap();
    }
    let text =
        std::fs::read_to_string(root.path().join(run().as_str()).join("session.jsonl")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["event_kind"], "stream_start");
    assert_eq!(lines[1]["component"], "wsp");
}

#[test]
fn a_line_that_a_crash_cut_short_takes_no_other_line_with_it() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(run().as_str()).join("session.jsonl");
    let mut whole = String::new();
    for cut in [0, 1, 30] {
        let mut log = open(root.path(), Posture::Strict).unwrap();
        log.append(EventKind::StreamStart, serde_json::json!({"cut": cut}))
            .unwrap();
        whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
    }
    open(root.path(), Posture::Strict).unwrap();
    let readable = |line: &&str| serde_json::from_str::<Value>(line).is_ok();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().filter(readable).count(), 2, "{text}\n{whole}");
    assert!(text.ends_with('\n'));
}

#[test]
fn a_log_that_was_deleted_is_not_written_on_into_nowhere() {
    for posture in [Posture::Strict, Posture::Local] {
        let root = tempfile::tempdir().unwrap();
        let runs = root.path().join("runs");
        let mut log = open(&runs, posture).unwrap();
        log.append(EventKind::StreamStart, Value::Null).unwrap();
        std::fs::remove_dir_all(&runs).unwrap();
        let outcome = log.append(EventKind::CheckpointSaved, Value::Null);
        let code = outcome.map_err(|error| error.code());
        let is_strict = posture == Posture::Strict;
        assert_eq!(code.err(), is_strict.then_some("AUDIT_UNWRITABLE"));
        assert!(!runs.exists(), "nobody made it again");
    }
}

#[test]
fn an_unwritable_log_stops_a_strict_run_and_only_warns_a_local_one() {
    let root = tempfile::tempdir().unwrap();
    let file_in_the_way = root.path().join("runs");
    std::fs::write(&file_in_the_way, "").unwrap();
    let strict = open(&file_in_the_way, Posture::Strict).unwrap_err();
    assert_eq!(strict.code(), "AUDIT_UNWRITABLE");
    let mut local = open(&file_in_the_way, Posture::Local).unwrap();
    local.append(EventKind::StreamStart, Value::Null).unwrap();
}

/// The first crash that loses a record of a run's beginning or end, or after which the next
/// run's first record cannot be read.
fn fault(careless: Careless) -> Option<String> {
    const KINDS: [EventKind; 4] = [
        EventKind::StreamStart,
        EventKind::CheckpointSaved,
        EventKind::CheckpointSaved,
        EventKind::StreamComplete,
    ];
    let root = Path::new("/platform/runs");
    let open = |disk| {
        let lines = open_lines(disk, &log_of_run(root, &run(), Shard::WHOLE));
        AuditLog::over(lines, String::new(), &run(), Posture::Strict, &clock()).unwrap()
    };
    let disk = Arc::new(CrashDisk::new(careless));
    let mut log = open(disk.clone());
    for (at, kind) in KINDS.into_iter().enumerate() {
        log.append(kind, Value::Null).unwrap();
        if kind.is_synced() {
            disk.promise(at + 1);
        }
    }
    let (mut count, mut fault) = (0, None);
    disk.each_crash(|promised, crashed| {
        count += 1;
        let disk = Arc::new(crashed);
        open(disk.clone())
            .append(EventKind::StreamStopped, Value::Null)
            .unwrap();
        let path = root.join(run().as_str()).join("session.jsonl");
        let text = String::from_utf8(disk.read(&path).unwrap()).unwrap();
        let records = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let kinds: Vec<Value> = records
            .map(|record: Value| record["event_kind"].clone())
            .collect();
        let is_whole = kinds.len() > promised && kinds.last().unwrap() == "stream_stopped";
        fault = (!is_whole).then(|| format!("crash {count} after {promised}: {text}"));
        fault.is_none()
    });
    fault
}

#[test]
fn no_crash_loses_how_a_run_began_or_ended_nor_the_next_record() {
    assert_eq!(fault(Careless::Not), None);
    for careless in [Careless::AboutBytes, Careless::AboutNames] {
        assert!(fault(careless).is_some(), "{careless:?} would be found out");
    }
}
