//! The quarantine file: batches, locks, crashes, and a disk that fails.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::super::record::tests::rejected;
use super::super::redriven::{Closed, Closing, RedrivenFile};
use super::*;
use push::Decision;

/// A disk that notes what is asked of it, and fails where it is told to.
#[derive(Clone, Default)]
struct FaultyDisk {
    asked: Arc<Mutex<Vec<&'static str>>>,
    /// The next append takes so many bytes, then fails.
    torn_after: Arc<Mutex<Option<usize>>>,
    fails_to_sync: Arc<Mutex<bool>>,
}

impl Disk for FaultyDisk {
    fn append(&mut self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        self.asked.lock().unwrap().push("append");
        match self.torn_after.lock().unwrap().take() {
            Some(taken) => {
                file.write_all(&bytes[..taken])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            None => file.write_all(bytes),
        }
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.asked.lock().unwrap().push("sync");
        if std::mem::take(&mut *self.fails_to_sync.lock().unwrap()) {
            return Err(io::Error::other("the disk is gone"));
        }
        file.sync_data()
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/wsp/quarantine.ndjson");
    (folder, path)
}

fn on(disk: &FaultyDisk, path: &Path) -> QuarantineFile {
    QuarantineFile {
        disk: Box::new(disk.clone()),
        ..QuarantineFile::open(path).unwrap()
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_batch_is_appended_and_synced_before_it_counts() {
    let (_folder, path) = folder();
    let disk = FaultyDisk::default();
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
    let disk = FaultyDisk::default();
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
    let disk = FaultyDisk::default();
    let mut file = on(&disk, &path);
    *disk.fails_to_sync.lock().unwrap() = true;
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
    let disk = FaultyDisk::default();
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

#[test]
fn a_lock_that_is_never_given_back_is_an_error() {
    let (_folder, path) = folder();
    QuarantineFile::open(&path).unwrap();
    let holder = File::open(&path).unwrap();
    holder.lock().unwrap();
    let file = File::open(&path).unwrap();
    let error = lock(&file, Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(holder);
    lock(&file, Duration::from_millis(20)).unwrap();
}
