//! Which platform run a stream belongs to.
//!
//! The ingestion gate dedupes per platform run, so resuming under another run
//! would push what it already has as if it were new. The id is the first of: the
//! flag, `PLATFORM_RUN_ID`, the runs root's `ACTIVE_RUN_ID` file, that of the
//! cursors being resumed, and else a new one, which only `stream` makes and
//! writes.

use std::io::{ErrorKind, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use envelope::PlatformRunId;

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

/// The named platform run: flag, then environment, then the runs root's file.
///
/// # Errors
/// `PROFILE_INVALID` if what is named is not a platform run id, naming where it
/// stands.
pub fn named(
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
    match std::fs::read_to_string(&file) {
        Ok(text) => parse(text.trim(), &file.display().to_string())
            .map(|id| Some((id, PlatformRunSource::ActiveRunFile))),
        // Where the runs root is no folder, the audit says so.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::caused(
            ReasonCode::ProfileInvalid,
            format!("The active run file {} cannot be read.", file.display()),
            "Mend it, or give --platform-run-id.",
            error,
        )),
    }
}

/// A new id, stamped with the second it is made in.
///
/// # Errors
/// `PROFILE_INVALID` if the clock stands outside the years 0 to 9999.
pub fn make(now: DateTime<Utc>) -> Result<PlatformRunId, Error> {
    parse(
        &now.format("platform_%Y%m%dT%H%M%SZ").to_string(),
        "the clock",
    )
}

/// Writes the runs root's `ACTIVE_RUN_ID`, unless one stands there by now.
///
/// # Errors
/// The file system's; the caller's posture decides what they mean.
pub fn remember(runs_root: &Path, id: &PlatformRunId) -> std::io::Result<()> {
    std::fs::create_dir_all(runs_root)?;
    match std::fs::File::create_new(runs_root.join(ACTIVE_RUN_FILE)) {
        Ok(mut file) => {
            writeln!(file, "{id}")?;
            file.sync_all()
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn parse(id: &str, place: &str) -> Result<PlatformRunId, Error> {
    id.parse().map_err(|_| {
        Error::new(
            ReasonCode::ProfileInvalid,
            format!(
                "{place} gives `{}`, which is not a platform run id.",
                id.escape_debug()
            ),
            "It looks like platform_20260128T090000Z.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_file() {
        let root = tempfile::tempdir().unwrap();
        let id = "platform_20260101T000000Z";
        assert!(named(None, None, root.path()).unwrap().is_none());
        remember(root.path(), &id.parse().unwrap()).unwrap();
        let source = |flag, env| named(flag, env, root.path()).unwrap().unwrap().1;
        assert_eq!(source(None, None), PlatformRunSource::ActiveRunFile);
        assert_eq!(source(None, Some(id)), PlatformRunSource::Environment);
        assert_eq!(source(Some(id), Some("")), PlatformRunSource::Flag);
    }

    #[test]
    fn an_active_run_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let first = "platform_20260101T000000Z";
        for id in [first, "platform_20260202T000000Z"] {
            remember(root.path(), &id.parse().unwrap()).unwrap();
        }
        let (kept, _) = named(None, None, root.path()).unwrap().unwrap();
        assert_eq!(kept.to_string(), first);
    }

    #[test]
    fn what_is_named_and_is_no_id_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = named(Some("run 1"), None, root.path()).unwrap_err();
        assert_eq!(error.code(), "PROFILE_INVALID");
    }
}
