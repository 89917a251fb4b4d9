//! Which platform run a stream belongs to.
//!
//! The ingestion gate dedupes per platform run, so resuming under another run
//! would push what it already has as if it were new. The id is the first of: the
//! flag, `PLATFORM_RUN_ID`, the runs root's `ACTIVE_RUN_ID` file, that of the
//! cursors being resumed, and else a new one, which only `stream` makes and
//! writes.

use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use durable::{Disk, OsDisk, create_once, make_folders};
use envelope::{EventTime, PlatformRunId};
use model::{Random, SharedRandom};
use oracle_store::refuse_special_file;

use crate::profile::request::StreamRequest;
use crate::{Error, ReasonCode};

const ACTIVE_RUN_FILE: &str = "ACTIVE_RUN_ID";

/// Where a platform run id came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlatformRunSource {
    /// `--platform-run-id`.
    Flag,
    /// `PLATFORM_RUN_ID`.
    Environment,
    /// The runs root's `ACTIVE_RUN_ID` file.
    ActiveRunFile,
    /// The cursors being resumed.
    Cursor,
    /// Made for this run.
    New,
}

/// The platform run that a request names: by its flag, then its environment, then the runs root's
/// file; `None` if nothing names one.
///
/// # Errors
/// `PROFILE_INVALID` if what is named is not a platform run id, naming where it stands.
pub(crate) fn named(
    request: &StreamRequest,
) -> Result<Option<(PlatformRunId, PlatformRunSource)>, Error> {
    first_named(
        request.overrides.platform_run_id.as_deref(),
        request.environment.platform_run_id(),
        &request.working_dir.join(&request.profile.runs_root),
    )
}

/// The first platform run that is named: flag, then environment, then the runs root's file.
///
/// # Errors
/// `PROFILE_INVALID` if what is named is not a platform run id, naming where it
/// stands.
fn first_named(
    flag: Option<&str>,
    environment: Option<&str>,
    runs_root: &Path,
) -> Result<Option<(PlatformRunId, PlatformRunSource)>, Error> {
    if let Some(id) = flag {
        return parse(id, "--platform-run-id").map(|id| Some((id, PlatformRunSource::Flag)));
    }
    if let Some(id) = environment.filter(|id| !id.is_empty()) {
        return parse(id, "PLATFORM_RUN_ID").map(|id| Some((id, PlatformRunSource::Environment)));
    }
    let file = runs_root.join(ACTIVE_RUN_FILE);
    match refuse_special_file(&file).and_then(|()| std::fs::read_to_string(&file)) {
        // What a crash of an earlier release left before it wrote the id.
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => parse(text.trim(), &file.display().to_string())
            .map(|id| Some((id, PlatformRunSource::ActiveRunFile))),
        // Where the runs root is no folder, the audit says so.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::caused(
            ReasonCode::ProfileInvalid,
            format!("The active run file {} cannot be read", file.display()),
            "Mend it, or give --platform-run-id.",
            error,
        )),
    }
}

/// A new id, stamped with the second `now`.
///
/// # Errors
/// `PROFILE_INVALID` if `now` lies outside the years 0 to 9999.
pub(crate) fn make(now: SystemTime) -> Result<PlatformRunId, Error> {
    let text = EventTime::of_wall(now).map(|time| time.to_string());
    // Without its fraction and without marks: 2026-01-28T09:00:00 becomes 20260128T090000.
    let second = text.as_deref().and_then(|text| text.split('.').next());
    let second = second.unwrap_or_default().replace(['-', ':'], "");
    parse(&format!("platform_{second}Z"), "the clock")
}

/// Writes the runs root's `ACTIVE_RUN_ID` unless one stands there by now: whole and synced
/// under another name, then linked, so that a crash leaves it absent or whole. Says whether the
/// file holds this id now; `false` means that another producer was faster. `random` gives the
/// other name.
///
/// # Errors
/// The file system's; the caller's posture decides what they mean.
pub(crate) fn claim(
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
    make_folders(disk, runs_root, 1)?;
    let active = runs_root.join(ACTIVE_RUN_FILE);
    let own = runs_root.join(format!(".{ACTIVE_RUN_FILE}.{:016x}", random.clone().bits()));
    let text = format!("{id}\n");
    if !create_once(disk, &active, text.as_bytes(), &own)? && is_blank(disk, &active)? {
        disk.create_synced(&own, text.as_bytes())?;
        disk.rename(&own, &active)?;
        disk.sync_dir(runs_root)?;
    }
    let text = disk.read(&active)?;
    Ok(text.trim_ascii() == id.as_str().as_bytes())
}

/// Whether a file holds no id, as a crash of an earlier release left it.
fn is_blank(disk: &dyn Disk, file: &Path) -> std::io::Result<bool> {
    Ok(disk.read(file)?.trim_ascii().is_empty())
}

fn parse(id: &str, place: &str) -> Result<PlatformRunId, Error> {
    id.parse().map_err(|_| {
        Error::new(
            ReasonCode::ProfileInvalid,
            format!(
                "{place} gives `{}`, which is not a platform run id",
                id.escape_debug()
            ),
            "It looks like platform_20260128T090000Z.",
        )
    })
}

#[cfg(test)]
mod tests {
    use durable::simulated::{Careless, CrashDisk};

    use super::*;

    fn random() -> SharedRandom {
        SharedRandom::new(durable::SystemRandom::default())
    }

    #[test]
    fn a_new_id_bears_the_second_it_is_made_in() {
        let after = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let id = make(after(1_769_590_800)).unwrap();
        assert_eq!(id.as_str(), "platform_20260128T090000Z");
        let error = make(after(300_000_000_000)).unwrap_err();
        assert_eq!(error.code(), "PROFILE_INVALID");
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_file() {
        let root = tempfile::tempdir().unwrap();
        let id = "platform_20260101T000000Z";
        assert!(first_named(None, None, root.path()).unwrap().is_none());
        assert!(claim(root.path(), &id.parse().unwrap(), &random()).unwrap());
        let source = |flag, env| first_named(flag, env, root.path()).unwrap().unwrap().1;
        assert_eq!(source(None, None), PlatformRunSource::ActiveRunFile);
        assert_eq!(source(None, Some(id)), PlatformRunSource::Environment);
        assert_eq!(source(Some(id), Some("")), PlatformRunSource::Flag);
    }

    #[test]
    fn an_active_run_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let first = "platform_20260101T000000Z";
        for id in [first, "platform_20260202T000000Z"] {
            let is_own = claim(root.path(), &id.parse().unwrap(), &random()).unwrap();
            assert_eq!(is_own, id == first);
        }
        let (kept, _) = first_named(None, None, root.path()).unwrap().unwrap();
        assert_eq!(kept.to_string(), first);
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
    fn an_empty_file_that_a_crash_left_names_no_run_and_is_replaced() {
        for left in ["", "\n"] {
            let root = tempfile::tempdir().unwrap();
            std::fs::write(root.path().join(ACTIVE_RUN_FILE), left).unwrap();
            assert!(first_named(None, None, root.path()).unwrap().is_none());
            let id = "platform_20260101T000000Z".parse().unwrap();
            assert!(claim(root.path(), &id, &random()).unwrap());
            assert_eq!(first_named(None, None, root.path()).unwrap().unwrap().0, id);
        }
    }

    #[test]
    fn what_is_named_and_is_no_id_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = first_named(Some("run 1"), None, root.path()).unwrap_err();
        assert_eq!(error.code(), "PROFILE_INVALID");
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
