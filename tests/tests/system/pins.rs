//! What happens to a world's files while it is streamed: what leaves their bytes alone does
//! not end the run, what changes them does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sandbox::{GateOptions, OutputOptions, SampleOutput, WorldOptions};
use system_tests::{Ran, Rig};

const OUTPUT: SampleOutput = SampleOutput::EventLabels;
const ROWS: u64 = 6_000;

/// What happens to a file.
type Change = fn(&Path);

/// Two parts of JSON lines, each several times as long as what is read at once.
fn rig(order: &str, verification: &str) -> Rig {
    let output = OutputOptions {
        parts: 2,
        rows_per_part: ROWS,
        ..OutputOptions::of(OUTPUT)
    };
    let world = WorldOptions::sample().with_outputs([output]);
    let keys = [
        ("policy.stream_order", order),
        ("policy.data_verification", verification),
    ];
    Rig::new(&world, GateOptions::default(), &keys)
}

fn parts(rig: &Rig) -> Vec<PathBuf> {
    rig.world.parts(OUTPUT.id()).to_vec()
}

fn chmod(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode ^ 0o044)).unwrap();
}

fn back_up_by_link(path: &Path) {
    // Outside the output's folder, where it would be a part.
    let name = path.file_name().unwrap().to_str().unwrap();
    let backup = path
        .ancestors()
        .nth(4)
        .unwrap()
        .join(format!("backup-{name}"));
    fs::hard_link(path, backup).unwrap();
}

fn keep_times(path: &Path, of: &fs::Metadata) {
    let times = fs::FileTimes::new()
        .set_accessed(of.accessed().unwrap())
        .set_modified(of.modified().unwrap());
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_times(times).unwrap();
}

fn copy_in_its_place(path: &Path) {
    let copy = path.ancestors().nth(4).unwrap().join("copy");
    fs::write(&copy, fs::read(path).unwrap()).unwrap();
    keep_times(&copy, &fs::metadata(path).unwrap());
    fs::rename(copy, path).unwrap();
}

/// Changes the last digit of the last row's event time, in place, and sets the file's times
/// back.
fn rewrite(path: &Path) {
    let before = fs::metadata(path).unwrap();
    let mut text = fs::read_to_string(path).unwrap();
    let at = text.rfind("\"ts_utc\":\"").unwrap() + "\"ts_utc\":\"2026-01-28T09:00:0".len();
    let digit = if &text[at..=at] == "9" { "8" } else { "9" };
    text.replace_range(at..=at, digit);
    fs::write(path, text).unwrap();
    keep_times(path, &before);
}

/// Streams, and does something to the parts while the first is being read.
fn stream_and(rig: &Rig, meanwhile: impl Fn(&[PathBuf])) -> Ran {
    let stream = rig.start_stream(&["--rate", "4000"]);
    rig.wait_for_unique(500);
    meanwhile(&parts(rig));
    Rig::finish(stream)
}

#[test]
fn what_leaves_the_bytes_alone_does_not_end_a_run() {
    let changes: [(&str, Change); 3] = [
        ("chmod", chmod),
        ("hard link", back_up_by_link),
        ("a copy in its place", copy_in_its_place),
    ];
    for order in ["as_written", "event_time"] {
        for verification in ["none", "sha256"] {
            for (name, change) in changes {
                let rig = rig(order, verification);
                let ran = stream_and(&rig, |parts| parts.iter().for_each(|part| change(part)));
                let what = format!("{name}, {order}, {verification}");
                assert_eq!(ran.status, 0, "{what}: {}\n{}", ran.report, ran.stderr);
                assert_eq!(rig.gate.stats().unique, 2 * ROWS, "{what}");
                assert_eq!(ran.report["data_verified"], verification, "{what}");
                // Said once for each part, however often it was read.
                let told = ran
                    .stderr
                    .matches("inode or change time is another")
                    .count();
                assert!(
                    (1..=2).contains(&told),
                    "{what}: {told} times\n{}",
                    ran.stderr
                );
            }
        }
    }
}

#[test]
fn a_part_that_is_rewritten_in_place_with_its_times_set_back_ends_the_run() {
    for order in ["as_written", "event_time"] {
        for verification in ["none", "sha256"] {
            let rig = rig(order, verification);
            let ran = stream_and(&rig, |parts| rewrite(&parts[0]));
            let what = format!("{order}, {verification}: {}", ran.report);
            assert_eq!(ran.status, 1, "{what}");
            assert_eq!(ran.reason(), "ORACLE_READ_FAILED", "{what}");
            let name = parts(&rig)[0].display().to_string();
            assert!(
                ran.report["detail"].as_str().unwrap().contains(&name),
                "{what}"
            );
            assert!(rig.gate.stats().unique < ROWS, "{what}");
        }
    }
}

#[test]
fn a_part_that_is_rewritten_while_another_is_read_ends_the_run_too() {
    let rig = rig("as_written", "sha256");
    let ran = stream_and(&rig, |parts| rewrite(&parts[1]));
    assert_eq!(ran.status, 1);
    let reasons = ["ORACLE_READ_FAILED", "DATA_MISMATCH"];
    assert!(reasons.contains(&ran.reason()), "{}", ran.report);
    // It was opened ahead: what had been read of it is what was proven.
    let unique = rig.gate.stats().unique;
    assert!((ROWS..2 * ROWS).contains(&unique), "{unique}");
}
