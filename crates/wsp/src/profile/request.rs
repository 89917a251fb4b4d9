//! What a caller asks for: a profile, and values that take precedence over it.

use std::path::PathBuf;
use std::time::Duration;

use envelope::EventTime;
use oracle_store::{EngineRunRoot, Location, lies_in_world, resolve_engine_run_root};

use crate::Error;
use crate::profile::{CheckpointBackend, OnReject, OrderMode, Profile, StreamSource};
use replay::{Pace, TimeWindow};

/// The values that a command line, or a calling service, sets for one run; each takes precedence
/// over the profile, and `None` leaves the profile's.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The engine run root to read.
    pub engine_run_root: Option<String>,
    /// The id that the pack must have; `None` accepts any.
    pub oracle_pack_id: Option<String>,
    /// The scenario of the world.
    pub scenario_id: Option<String>,
    /// The outputs to stream, of those that the policy names; `None` streams them all.
    pub output_ids: Option<Vec<String>>,
    /// The path of the catalogue.
    pub catalogue: Option<String>,
    /// The path of the gate map.
    pub gate_map: Option<String>,
    /// The event times to stream, in event-time order only; all by default.
    pub window: TimeWindow,
    /// Stop after this many events, over all outputs; `None` streams the whole world.
    pub max_events: Option<u64>,
    /// The pace, which makes events due.
    pub pace: Option<Pace>,
    /// The wall time at which the schedule begins; `None` begins when the first event is ready.
    pub start_at: Option<EventTime>,
    /// The event time that is due when the schedule begins; `None` takes the first event's. It is
    /// refused at a rate.
    pub time_origin: Option<EventTime>,
    /// Wait at most this long, by the wall clock, from when one event is due until the next
    /// is; a longer gap is cut and the rest of the schedule moves with it. It has no meaning
    /// at a rate. `None` cuts nothing.
    pub max_gap: Option<Duration>,
    /// The order of events.
    pub order: Option<OrderMode>,
    /// What the rows of outputs are read from.
    pub stream_source: Option<StreamSource>,
    /// The ingestion gate's URL.
    pub ig_url: Option<String>,
    /// What becomes of events that the gate refuses for good.
    pub on_reject: Option<OnReject>,
    /// The id of the platform run.
    pub platform_run_id: Option<String>,
    /// The scenario run, 32 lowercase hex digits; `None` takes the engine run's id.
    pub scenario_run_id: Option<String>,
    /// Whether to resume although the plan differs from the one that the cursors were saved under.
    pub allow_plan_change: bool,
    /// Whether to resume under another platform run than the cursors'.
    pub allow_run_change: bool,
    /// Whether to take the leases from a holder that is still alive.
    pub take_over: bool,
}

/// A run to plan, verify or stream.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// The profile, with the overrides applied.
    pub profile: Profile,
    /// The overrides that are no settings of a profile.
    pub overrides: Overrides,
    /// The folder that relative paths start at.
    pub working_dir: PathBuf,
    /// The environment variable `PLATFORM_RUN_ID`; `None` if it is not set.
    pub environment_run_id: Option<String>,
}

impl StreamRequest {
    /// Applies the overrides to the profile; relative paths start at the process's working
    /// directory.
    ///
    /// # Errors
    /// `PROFILE_INVALID` if there is no working directory, for a time origin or a longest gap
    /// at a rate, for both of them together, for a flag that names no path, and for a window that ends before it begins.
    pub fn new(mut profile: Profile, overrides: Overrides) -> Result<Self, Error> {
        let working_dir = std::env::current_dir().map_err(|source| {
            Error::caused(
                crate::ReasonCode::ProfileInvalid,
                "There is no working directory to resolve relative paths from",
                "Start from a folder that exists.",
                source,
            )
        })?;
        let set = |slot: &mut Option<String>, flag: &Option<String>| {
            if flag.is_some() {
                slot.clone_from(flag);
            }
        };
        set(&mut profile.engine_run_root, &overrides.engine_run_root);
        set(&mut profile.catalogue_path, &overrides.catalogue);
        set(&mut profile.gate_map_path, &overrides.gate_map);
        set(&mut profile.ig_ingest_url, &overrides.ig_url);
        profile.check_places()?;
        check_window(overrides.window)?;
        profile.pace = overrides.pace.clone().unwrap_or(profile.pace);
        if overrides.time_origin.is_some() && !matches!(profile.pace, Pace::Speedup(_)) {
            return Err(Error::new(
                crate::ReasonCode::ProfileInvalid,
                "--time-origin says which event time is due at the start, and a rate counts events",
                "Leave it out, or pace by a speedup.",
            ));
        }
        check_max_gap(&overrides, &profile.pace)?;
        profile.order = overrides.order.or(profile.order);
        profile.stream_source = overrides.stream_source.unwrap_or(profile.stream_source);
        profile.rejects.on_reject = overrides.on_reject.unwrap_or(profile.rejects.on_reject);
        let environment_run_id = std::env::var("PLATFORM_RUN_ID").ok();
        Ok(Self {
            profile,
            overrides,
            working_dir,
            environment_run_id,
        })
    }

    /// The folder of the time indexes of all packs.
    pub(crate) fn time_index_root(&self) -> PathBuf {
        let profile = &self.profile;
        match &profile.time_index {
            Some(named) => self.working_dir.join(named),
            None => self
                .working_dir
                .join(&profile.runs_root)
                .join("wsp/time_index"),
        }
    }

    /// The engine run root that profile or flag names; `None` where it names none, or what
    /// cannot be one.
    pub(crate) fn named_world(&self) -> Option<EngineRunRoot> {
        let profile = &self.profile;
        let named = profile.engine_run_root.as_deref()?;
        resolve_engine_run_root(named, profile.oracle_root.as_deref(), &self.working_dir).ok()
    }

    /// The base of the stream views that the profile names; `None` where it names none: they lie
    /// under the engine run root.
    ///
    /// # Errors
    /// `ENGINE_ROOT_MISSING` for what is no location.
    pub(crate) fn named_views_base(&self) -> Result<Option<EngineRunRoot>, oracle_store::Error> {
        let named = self.profile.stream_view_root.as_deref();
        named
            .map(|named| EngineRunRoot::named(named, &self.working_dir))
            .transpose()
    }

    /// The places that profile or flag names and nothing may be written to: the engine run root,
    /// and the base of stream views.
    pub(crate) fn read_only_places(&self) -> Vec<EngineRunRoot> {
        let views_base = self.named_views_base().ok().flatten();
        self.named_world().into_iter().chain(views_base).collect()
    }

    /// Refuses cursors and time indexes in the engine run root, or in the base of stream views, where nothing may be written;
    /// of the runs root, [`oracle_store::refuse_platform_runs`] says the same.
    ///
    /// # Errors
    /// `PROFILE_INVALID` with the key.
    pub(crate) fn refuse_writes_to_world(&self, world: &EngineRunRoot) -> Result<(), Error> {
        let checkpoint = &self.profile.checkpoint;
        let cursors = match checkpoint.backend {
            CheckpointBackend::Postgres => None,
            CheckpointBackend::File | CheckpointBackend::Sqlite => {
                Some(Location::Local(self.working_dir.join(&checkpoint.root)))
            }
            CheckpointBackend::Object => {
                Some(Location::parse(&checkpoint.root, &self.working_dir)?)
            }
        };
        let index = Some(Location::Local(self.time_index_root()));
        for (key, place) in [
            ("wiring.wsp_checkpoint.root", cursors),
            ("wiring.wsp_order.time_index", index),
        ] {
            if let Some(place) = place
                && lies_in_world(world, &place)
            {
                return Err(Error::new(
                    crate::ReasonCode::ProfileInvalid,
                    format!(
                        "The profile's `{key}` names {}, which lies in {world}, an engine run root or the base of its views, where nothing may be written",
                        place.full_name("").trim_end_matches('/')
                    ),
                    "Name a place outside of it.",
                ));
            }
        }
        Ok(())
    }
}

/// Refuses a longest gap where there is no gap to cut, or where others count on the schedule.
fn check_max_gap(overrides: &Overrides, pace: &Pace) -> Result<(), Error> {
    let refuse = |what, advice| Err(Error::new(crate::ReasonCode::ProfileInvalid, what, advice));
    match (overrides.max_gap, pace) {
        (Some(_), Pace::Rate(_)) => refuse(
            "--max-gap cuts gaps between event times, and a rate counts events",
            "Leave it out, or pace by a speedup.",
        ),
        (Some(_), Pace::Speedup(_)) if overrides.time_origin.is_some() => refuse(
            "--max-gap moves the schedule, and --time-origin fixes it for several producers",
            "Leave one of them out.",
        ),
        _ => Ok(()),
    }
}

/// Refuses a window that can hold no event; `to` is the first time after it.
fn check_window(window: TimeWindow) -> Result<(), Error> {
    let TimeWindow {
        from: Some(from),
        to: Some(to),
    } = window
    else {
        return Ok(());
    };
    if from < to {
        return Ok(());
    }
    Err(Error::new(
        crate::ReasonCode::ProfileInvalid,
        format!("The window from {from} to {to} holds no event time, so nothing would be streamed"),
        "Name a --from that is earlier than --to.",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn time(text: &str) -> EventTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_that_ends_before_it_begins_is_refused() {
        let (early, late) = (
            time("2026-01-01T00:00:10.000000Z"),
            time("2026-01-01T00:00:50.000000Z"),
        );
        let check = |from, to| check_window(TimeWindow { from, to });
        let refused = check(Some(late), Some(early)).unwrap_err();
        assert_eq!(refused.code(), "PROFILE_INVALID");
        assert!(
            check(Some(early), Some(early)).is_err(),
            "its end is not in it"
        );
        assert!(check(Some(early), Some(late)).is_ok());
        assert!(check(Some(late), None).is_ok());
        assert!(check(None, Some(early)).is_ok());
    }
}
