//! The quarantine file: batches, locks, crashes, and a disk that fails.

use std::os::unix::fs::PermissionsExt as _;

use durable::simulated::{Careless, CrashDisk, FailingDisk};
use tempfile::TempDir;

use super::super::record::tests::rejected;
use super::super::redriven::{Closed, Closing, RedrivenFile};
use std::path::Path;

use super::*;
use push::Decision;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/wsp/quarantine.ndjson");
    (folder, path)
}

/// Opens the file on a disk whose notes begin with what comes next.
fn on(disk: &FailingDisk, path: &Path) -> QuarantineFile {
    let file = QuarantineFile::open_on(Arc::new(disk.clone()), path.to_owned()).unwrap();
    disk.asked.lock().unwrap().clear();
    file
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_batch_is_appended_and_synced_before_it_counts() {
    let (_folder, path) = folder();
    let disk = FailingDisk::default();
    let mut file = on(&disk, &path);
    file.set_aside(&[rejected('a'), rejected('b')]).unwrap();
    assert_eq!(*disk.asked.lock().unwrap(), ["append", "sync"]);
    assert_eq!(file.waiting(), 2);
    assert_eq!(text(&path).lines().count(), 2);
}

#[test]
fn only_its_owner_may_read_it_even_if_somebody_else_made_it() {
    let (_folder, path) = folder();
    let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
    QuarantineFile::open(&path).unwrap();
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    QuarantineFile::open(&path).unwrap();
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_batch_that_was_not_written_whole_is_cut_off_again_and_does_not_count() {
    let (_folder, path) = folder();
    let disk = FailingDisk::default();
    let mut file = on(&disk, &path);
    file.set_aside(&[rejected('a')]).unwrap();
    let before = text(&path);
    for taken in [0, 1, before.len() + 40] {
        *disk.torn_after.lock().unwrap() = Some(taken);
        let error = file.set_aside(&[rejected('b'), rejected('c')]).unwrap_err();
        assert_eq!(error.code(), "QUARANTINE_UNWRITABLE");
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert_eq!((text(&path), file.waiting()), (before.clone(), 1));
    }
    file.set_aside(&[rejected('b')]).unwrap();
    assert_eq!(file.waiting(), 2);
}

#[test]
fn a_batch_that_was_not_synced_does_not_count() {
    let (_folder, path) = folder();
    let disk = FailingDisk::default();
    let mut file = on(&disk, &path);
    *disk.failing_syncs.lock().unwrap() = 1;
    let error = file.set_aside(&[rejected('a')]).unwrap_err();
    assert_eq!(error.code(), "QUARANTINE_UNWRITABLE");
    assert_eq!((text(&path).as_str(), file.waiting()), ("", 0));
}

#[test]
fn what_a_crash_left_of_a_last_line_is_cut_whoever_comes_next() {
    let (_folder, path) = folder();
    let mut open_before = QuarantineFile::open(&path).unwrap();
    open_before.set_aside(&[rejected('a')]).unwrap();
    let whole = text(&path);
    for torn in [&whole[..1], &whole[..whole.len() - 1]] {
        std::fs::write(&path, format!("{whole}{torn}")).unwrap();
        assert_eq!(QuarantineFile::open(&path).unwrap().waiting(), 1);
        assert_eq!(text(&path), whole);
    }
    std::fs::write(&path, format!("{whole}{{\"torn")).unwrap();
    open_before.set_aside(&[rejected('b')]).unwrap();
    assert_eq!(text(&path).lines().count(), 2);
    assert_eq!(QuarantineFile::open(&path).unwrap().waiting(), 2);
}

#[test]
fn an_event_that_waits_is_not_written_twice_but_is_synced_again() {
    let (_folder, path) = folder();
    let disk = FailingDisk::default();
    on(&disk, &path).set_aside(&[rejected('a')]).unwrap();
    // After a crash the line may stand in the page cache alone.
    let mut rerun = on(&disk, &path);
    disk.asked.lock().unwrap().clear();
    rerun.set_aside(&[rejected('a'), rejected('a')]).unwrap();
    assert!(disk.asked.lock().unwrap().contains(&"sync"));
    assert_eq!((text(&path).lines().count(), rerun.waiting()), (1, 1));
}

#[test]
fn producers_of_one_run_see_each_others_lines() {
    let (_folder, path) = folder();
    let mut one = QuarantineFile::open(&path).unwrap();
    let mut other = QuarantineFile::open(&path).unwrap();
    one.set_aside(&[rejected('a')]).unwrap();
    other.set_aside(&[rejected('a'), rejected('b')]).unwrap();
    assert_eq!((one.waiting(), other.waiting()), (1, 2));
    one.set_aside(&[rejected('c')]).unwrap();
    assert_eq!(one.waiting(), 3);
    assert_eq!(text(&path).lines().count(), 3);
}

#[test]
fn two_rows_of_one_event_id_are_both_set_aside_and_both_redriven() {
    let (_folder, path) = folder();
    let mut file = QuarantineFile::open(&path).unwrap();
    let twin = RejectedEvent {
        row: 8,
        ..rejected('a')
    };
    file.set_aside(&[rejected('a'), twin.clone()]).unwrap();
    assert_eq!((file.waiting(), text(&path).lines().count()), (2, 2));
    file.set_aside(&[twin, rejected('a')]).unwrap();
    assert_eq!((file.waiting(), text(&path).lines().count()), (2, 2));

    let mut redriven = RedrivenFile::open(&path, &mut OpenEvents::default()).unwrap();
    for (line, waiting) in [(2, 1), (1, 0)] {
        let delivered = Closed {
            event_id: Hex64::parse(&"a".repeat(64)).unwrap(),
            line,
            why: Closing::Delivered(Decision::Admit),
        };
        redriven.record(&[delivered]).unwrap();
        assert_eq!(QuarantineFile::open(&path).unwrap().waiting(), waiting);
    }
}

#[test]
fn what_a_redrive_delivered_makes_room_and_may_be_rejected_again() {
    let (_folder, path) = folder();
    let mut file = QuarantineFile::open(&path).unwrap();
    file.set_aside(&[rejected('a'), rejected('b')]).unwrap();
    let mut redriven = RedrivenFile::open(&path, &mut OpenEvents::default()).unwrap();
    let delivered = Closed {
        event_id: Hex64::parse(&"a".repeat(64)).unwrap(),
        line: 1,
        why: Closing::Delivered(Decision::Admit),
    };
    redriven.record(&[delivered]).unwrap();
    file.set_aside(&[rejected('c')]).unwrap();
    assert_eq!(file.waiting(), 2);
    file.set_aside(&[rejected('a')]).unwrap();
    assert_eq!(file.waiting(), 3);
    assert_eq!(QuarantineFile::open(&path).unwrap().waiting(), 3);
}

#[test]
fn a_file_that_was_moved_away_is_not_written_on() {
    let (_folder, path) = folder();
    let mut file = QuarantineFile::open(&path).unwrap();
    file.set_aside(&[rejected('a')]).unwrap();
    let moved = path.with_extension("old");
    std::fs::rename(&path, &moved).unwrap();
    let error = file.set_aside(&[rejected('b')]).unwrap_err();
    assert_eq!(error.code(), "QUARANTINE_UNWRITABLE");
    assert_eq!(text(&moved).lines().count(), 1);
    std::fs::write(&path, "").unwrap();
    assert!(file.set_aside(&[rejected('b')]).is_err(), "another file");
}

#[test]
fn a_damaged_file_is_refused_with_its_line() {
    let (_folder, path) = folder();
    QuarantineFile::open(&path)
        .unwrap()
        .set_aside(&[rejected('a'), rejected('b')])
        .unwrap();
    std::fs::write(&path, text(&path).replacen("422", "423x", 2)).unwrap();
    let error = QuarantineFile::open(&path).err().unwrap();
    assert_eq!(error.code(), "QUARANTINE_UNREADABLE");
    assert!(error.to_string().starts_with("Line 1 of "), "{error}");
}

/// Three batches, the last two of which share an event; then the first event is redriven.
fn life(careless: Careless) -> Arc<CrashDisk> {
    let disk = Arc::new(CrashDisk::new(careless));
    let path = Path::new("/runs/one/wsp/quarantine.ndjson");
    let mut file = QuarantineFile::open_on(disk.clone(), path.into()).unwrap();
    for (batch, ids) in ["a", "bc", "cd"].into_iter().enumerate() {
        let events: Vec<_> = ids.chars().map(rejected).collect();
        file.set_aside(&events).unwrap();
        disk.promise(batch + 1);
    }
    let mut events = OpenEvents::default();
    let mut redriven = RedrivenFile::open_on(disk.clone(), path, &mut events).unwrap();
    let delivered = Closed {
        event_id: Hex64::parse(&"a".repeat(64)).unwrap(),
        line: 1,
        why: Closing::Delivered(Decision::Admit),
    };
    redriven.record(&[delivered]).unwrap();
    disk.promise(4);
    disk
}

/// How many crashes there are, and the first that loses an event or does not let a rerun go on.
fn crashes(disk: &CrashDisk) -> (usize, Option<String>) {
    /// How many events wait at the least and at the most after each promise.
    const WAITING: [(u64, u64); 5] = [(0, 1), (1, 3), (3, 4), (3, 4), (3, 3)];
    let (mut count, mut wrong) = (0, None);
    disk.each_crash(|promised, crashed| {
        count += 1;
        let disk = Arc::new(crashed);
        let path = PathBuf::from("/runs/one/wsp/quarantine.ndjson");
        let rerun = QuarantineFile::open_on(disk, path).and_then(|mut file| {
            let found = file.waiting();
            // The cursor has passed none that was not promised: they all come again.
            file.set_aside(&['a', 'b', 'c', 'd'].map(rejected))?;
            Ok((found, file.waiting()))
        });
        let (least, most) = WAITING[promised];
        wrong = match rerun {
            Ok((found, 4)) if (least..=most).contains(&found) => None,
            outcome => Some(format!(
                "crash {count} after promise {promised}: {outcome:?}"
            )),
        };
        wrong.is_none()
    });
    (count, wrong)
}

#[test]
fn no_crash_loses_an_event_that_was_set_aside() {
    let (count, wrong) = crashes(&life(Careless::Not));
    println!("crash states, quarantine: {count}");
    assert_eq!(wrong, None);
    assert!(count > 20, "{count}");
}

#[test]
fn a_quarantine_that_left_out_a_sync_would_be_found_out() {
    for careless in [Careless::AboutBytes, Careless::AboutNames] {
        assert!(crashes(&life(careless)).1.is_some(), "{careless:?}");
    }
}

#[test]
fn a_file_is_made_again_with_its_home_and_not_where_it_alone_was_moved_away() {
    let (folder, path) = folder();
    let home = folder.path().join("run");
    let open = || {
        let file = QuarantineFile::open(&path).unwrap();
        file.made_again_with(durable::Home::of(&home).unwrap())
    };
    let mut file = open();
    std::fs::remove_dir_all(&home).unwrap();
    file.set_aside(&[rejected('a')]).unwrap();
    assert_eq!(text(&path).lines().count(), 1);

    std::fs::remove_file(&path).unwrap();
    let mut file = open();
    std::fs::rename(&path, path.with_extension("moved")).unwrap();
    let error = file.set_aside(&[rejected('b')]).unwrap_err();
    assert_eq!(error.code(), "QUARANTINE_UNWRITABLE");
    assert!(!path.exists(), "no other file took its place");
}
