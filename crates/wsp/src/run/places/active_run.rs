//! The file of a runs root that names the active run.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use durable::{Disk, OsDisk, create_once, make_folders};
use envelope::PlatformRunId;
use model::{Random as _, SharedRandom};
use oracle_store::refuse_special_file;

/// The name of the file, or of the object.
pub(super) const ACTIVE_RUN_FILE: &str = "ACTIVE_RUN_ID";

/// The file of a runs root.
pub(super) fn active_run_file(runs_root: &Path) -> PathBuf {
    runs_root.join(ACTIVE_RUN_FILE)
}

/// What the file holds; `None` where there is none.
///
/// # Errors
/// The file system's.
pub(super) fn active_run_in(runs_root: &Path) -> std::io::Result<Option<String>> {
    let file = active_run_file(runs_root);
    match refuse_special_file(&file).and_then(|()| std::fs::read_to_string(&file)) {
        Ok(text) => Ok(Some(text)),
        // Where the runs root is no folder, the audit says so.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Writes the runs root's `ACTIVE_RUN_ID` unless one stands there by now: whole and synced
/// under another name, then linked, so that a crash leaves it absent or whole. Says whether the
/// file holds this id now; `false` means that another producer was faster. `random` gives the
/// other name.
///
/// # Errors
/// The file system's; the caller's posture decides what they mean.
pub(super) fn claim(
    runs_root: &Path,
    id: &PlatformRunId,
    random: &SharedRandom,
) -> std::io::Result<bool> {
    claim_on(&OsDisk, runs_root, id, random)
}

fn claim_on(
    disk: &dyn Disk,
    runs_root: &Path,
    id: &PlatformRunId,
    random: &SharedRandom,
) -> std::io::Result<bool> {
    let own = runs_root.join(format!(".{ACTIVE_RUN_FILE}.{:016x}", random.clone().bits()));
    claim_by(disk, runs_root, id, &own)
}

/// The same by way of a name that nobody else uses.
///
/// # Errors
/// The file system's.
pub(super) fn claim_by(
    disk: &dyn Disk,
    runs_root: &Path,
    id: &PlatformRunId,
    own: &Path,
) -> std::io::Result<bool> {
    make_folders(disk, runs_root, 1)?;
    let active = active_run_file(runs_root);
    let text = format!("{id}\n");
    if !create_once(disk, &active, text.as_bytes(), own)? && is_blank(disk, &active)? {
        disk.create_synced(own, text.as_bytes())?;
        disk.rename(own, &active)?;
        disk.sync_dir(runs_root)?;
    }
    let text = disk.read(&active)?;
    Ok(text.trim_ascii() == id.as_str().as_bytes())
}

/// Whether a file holds no id, as a crash of an earlier release left it.
fn is_blank(disk: &dyn Disk, file: &Path) -> std::io::Result<bool> {
    Ok(disk.read(file)?.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use durable::simulated::{Careless, CrashDisk};

    use super::*;

    fn random() -> SharedRandom {
        SharedRandom::new(durable::SystemRandom::default())
    }

    #[test]
    fn an_active_run_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let first = "platform_20260101T000000Z";
        for id in [first, "platform_20260202T000000Z"] {
            let is_own = claim(root.path(), &id.parse().unwrap(), &random()).unwrap();
            assert_eq!(is_own, id == first);
        }
        let kept = active_run_in(root.path()).unwrap().unwrap();
        assert_eq!(kept.trim(), first);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_many_producers_at_once_one_wins_and_all_know_it() {
        for _ in 0..50 {
            let root = tempfile::tempdir().unwrap();
            let claim_of = &|second: usize| {
                let id = format!("platform_20260101T0000{second:02}Z");
                claim(root.path(), &id.parse().unwrap(), &random()).unwrap()
            };
            let won = std::thread::scope(|scope| {
                let rivals: Vec<_> = (0..4).map(|n| scope.spawn(move || claim_of(n))).collect();
                let join = |rival: std::thread::ScopedJoinHandle<'_, bool>| rival.join().unwrap();
                rivals.into_iter().map(join).collect::<Vec<_>>()
            });
            assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        }
    }

    #[test]
    fn an_empty_file_that_a_crash_left_is_replaced() {
        for left in ["", "\n"] {
            let root = tempfile::tempdir().unwrap();
            std::fs::write(root.path().join(ACTIVE_RUN_FILE), left).unwrap();
            let id: PlatformRunId = "platform_20260101T000000Z".parse().unwrap();
            assert!(claim(root.path(), &id, &random()).unwrap());
            assert_eq!(
                active_run_in(root.path()).unwrap().unwrap().trim(),
                id.as_str()
            );
        }
    }

    /// The first crash after which the file is torn, or not there though it was promised.
    fn fault(careless: Careless) -> Option<String> {
        let id = "platform_20260101T000000Z";
        let (root, disk) = (Path::new("/platform/runs"), CrashDisk::new(careless));
        assert!(claim_on(&disk, root, &id.parse().unwrap(), &random()).unwrap());
        disk.promise(1);
        let (mut count, mut fault) = (0, None);
        disk.each_crash(|promised, crashed| {
            count += 1;
            let found = crashed.read(&root.join(ACTIVE_RUN_FILE)).ok();
            let found = found.map(|bytes| String::from_utf8(bytes).unwrap());
            let is_right = found
                .as_ref()
                .map_or(promised == 0, |text| text.trim() == id);
            // Another producer goes on from there.
            let next = claim_on(
                &crashed,
                root,
                &"platform_20260202T000000Z".parse().unwrap(),
                &random(),
            );
            let is_taken = next.is_ok_and(|is_own| is_own == found.is_none());
            fault = (!is_right || !is_taken).then(|| format!("crash {count}: {found:?}"));
            fault.is_none()
        });
        fault
    }

    #[test]
    fn every_crash_leaves_the_active_run_whole_or_absent() {
        assert_eq!(fault(Careless::Not), None);
        for careless in [Careless::AboutBytes, Careless::AboutNames] {
            assert!(fault(careless).is_some(), "{careless:?} would be found out");
        }
    }
}
