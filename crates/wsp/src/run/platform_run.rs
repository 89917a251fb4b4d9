//! Which platform run a stream belongs to.
//!
//! The ingestion gate dedupes per platform run, so resuming under another run
//! would push what it already has as if it were new. The id is the first of: the
//! flag, `PLATFORM_RUN_ID`, the runs root's `ACTIVE_RUN_ID` file, that of the
//! cursors being resumed, and else a new one, which only `stream` makes and
//! writes.

use std::sync::Arc;
use std::time::SystemTime;

use envelope::{EventTime, PlatformRunId};

use crate::profile::request::StreamRequest;
use crate::run::places::{RunPlaces, places_of};
use crate::{Error, ReasonCode};

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
        || places_of(request),
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
    places: impl FnOnce() -> Result<Arc<dyn RunPlaces>, Error>,
) -> Result<Option<(PlatformRunId, PlatformRunSource)>, Error> {
    if let Some(id) = flag {
        return parse(id, "--platform-run-id").map(|id| Some((id, PlatformRunSource::Flag)));
    }
    if let Some(id) = environment.filter(|id| !id.is_empty()) {
        return parse(id, "PLATFORM_RUN_ID").map(|id| Some((id, PlatformRunSource::Environment)));
    }
    let places = places()?;
    match places.active_run() {
        // What a crash of an earlier release left before it wrote the id.
        Ok(Some(text)) if text.trim().is_empty() => Ok(None),
        Ok(Some(text)) => parse(text.trim(), &places.active_run_place())
            .map(|id| Some((id, PlatformRunSource::ActiveRunFile))),
        Ok(None) => Ok(None),
        Err(error) => Err(Error::caused(
            ReasonCode::ProfileInvalid,
            format!(
                "The active run file {} cannot be read",
                places.active_run_place()
            ),
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
    use model::SharedRandom;

    use super::*;
    use crate::run::places::folder_places;

    #[test]
    fn a_new_id_bears_the_second_it_is_made_in() {
        let after = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let id = make(after(1_769_590_800)).unwrap();
        assert_eq!(id.as_str(), "platform_20260128T090000Z");
        let error = make(after(300_000_000_000)).unwrap_err();
        assert_eq!(error.code(), "PROFILE_INVALID");
    }

    #[test]
    fn what_is_named_and_is_no_id_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error =
            first_named(Some("run 1"), None, || Ok(folder_places(root.path()))).unwrap_err();
        assert_eq!(error.code(), "PROFILE_INVALID");
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_file() {
        let root = tempfile::tempdir().unwrap();
        let id = "platform_20260101T000000Z";
        let places = || folder_places(root.path());
        assert!(first_named(None, None, || Ok(places())).unwrap().is_none());
        let random = SharedRandom::new(durable::SystemRandom::default());
        let run = id.parse().unwrap();
        assert!(places().claim_active_run(&run, &random).unwrap());
        let source = |flag, env| {
            let named = first_named(flag, env, || Ok(places()));
            named.unwrap().unwrap().1
        };
        assert_eq!(source(None, None), PlatformRunSource::ActiveRunFile);
        assert_eq!(source(None, Some(id)), PlatformRunSource::Environment);
        assert_eq!(source(Some(id), Some("")), PlatformRunSource::Flag);
    }
}
