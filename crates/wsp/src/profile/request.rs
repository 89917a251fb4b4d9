//! What a caller asks for: a profile, with the environment and overrides applied to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use gates::AttestedWorld;
use oracle_store::{EngineRunRoot, Location, lies_in_world, resolve_engine_run_root};

use crate::Error;
use crate::profile::environment::Environment;
use crate::profile::origins::{Origins, Setting, settings_of};
use crate::profile::overrides::Overrides;
use crate::profile::producer::Producer;
use crate::profile::runs_root::{cache_root, in_bucket};
use crate::profile::{CheckpointBackend, Profile};
use replay::{Pace, TimeWindow};

/// A world that a program attested itself, and the producer that it vouches for.
#[derive(Debug)]
pub(crate) struct GivenWorld {
    pub(crate) world: AttestedWorld,
    pub(crate) producer: Producer,
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
    /// The environment whose variables were applied; that names the platform run, too.
    pub environment: Environment,
    /// The world and the producer that a program brings; `None` where the profile names them.
    pub(crate) world: Option<Arc<GivenWorld>>,
    /// Where each value comes from.
    pub settings: Vec<Setting>,
    /// What the environment holds in vain, a sentence each, for the log.
    pub warnings: Vec<String>,
}

impl StreamRequest {
    /// The request of this process: its environment wins over the profile, and relative paths
    /// start at its working directory.
    ///
    /// # Errors
    /// `PROFILE_INVALID` if there is no working directory; else as [`StreamRequest::new`].
    pub fn of_process(profile: Profile, overrides: Overrides) -> Result<Self, Error> {
        let working_dir = std::env::current_dir().map_err(|source| {
            Error::caused(
                crate::ReasonCode::ProfileInvalid,
                "There is no working directory to resolve relative paths from",
                "Start from a folder that exists.",
                source,
            )
        })?;
        Self::new(profile, overrides, working_dir, Environment::of_process())
    }

    /// Applies the environment, then the overrides, to the profile; relative paths start at
    /// `working_dir`. Reads nothing of the process.
    ///
    /// # Errors
    /// `PROFILE_INVALID` for a variable whose value is unusable, for a time origin or a longest
    /// gap at a rate, for both of them together, for a flag that names no path, for a window
    /// that ends before it begins, and for a threshold on a figure that the run cannot have;
    /// `SHARD_INVALID` for a shard or a lane that is not.
    pub fn new(
        mut profile: Profile,
        mut overrides: Overrides,
        working_dir: PathBuf,
        environment: Environment,
    ) -> Result<Self, Error> {
        let flags = overrides.clone();
        let variables = environment.apply(&mut profile, &mut overrides)?;
        let set = |slot: &mut Option<String>, flag: &Option<String>| {
            if flag.is_some() {
                slot.clone_from(flag);
            }
        };
        set(&mut profile.engine_run_root, &overrides.engine_run_root);
        set(&mut profile.catalogue_path, &overrides.catalogue);
        set(&mut profile.gate_map_path, &overrides.gate_map);
        set(&mut profile.ig_ingest_url, &overrides.ig_url);
        if let Some(shard) = &overrides.shard {
            profile.shard = profile.shard.named(shard)?;
        }
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
        profile.max_rate = overrides.max_rate.clone().or(profile.max_rate);
        divide_rates(&mut profile, &flags, &variables);
        profile.order = overrides.order.or(profile.order);
        profile.stream_source = overrides.stream_source.unwrap_or(profile.stream_source);
        profile.rejects.on_reject = overrides.on_reject.unwrap_or(profile.rejects.on_reject);
        let thresholds = &mut profile.thresholds;
        thresholds.fail_if.extend(&overrides.thresholds.fail_if);
        thresholds.abort_if.extend(&overrides.thresholds.abort_if);
        check_thresholds(&profile)?;
        Ok(Self {
            settings: settings_of(&profile, &overrides, &Origins { flags, variables }),
            warnings: environment.unknown(&profile.variables),
            profile,
            overrides,
            working_dir,
            environment,
            world: None,
        })
    }

    /// Where the records of platform runs lie: a folder, or a bucket.
    ///
    /// # Errors
    /// `ENGINE_ROOT_MISSING` for what is no location.
    pub(crate) fn runs_location(&self) -> Result<Location, oracle_store::Error> {
        let runs_root = &self.profile.runs_root;
        match in_bucket(runs_root) {
            Some(text) => Location::parse(text, &self.working_dir),
            None => Ok(Location::Local(self.working_dir.join(runs_root))),
        }
    }

    /// The folder of what may be read again instead of computing it; always on this machine.
    fn cache_root(&self) -> PathBuf {
        self.working_dir.join(cache_root(&self.profile.runs_root))
    }

    /// The folder of the time indexes of all packs.
    pub(crate) fn time_index_root(&self) -> PathBuf {
        let profile = &self.profile;
        match &profile.time_index {
            Some(named) => self.working_dir.join(named),
            None => self.cache_root().join("time_index"),
        }
    }

    /// The file that receipts are appended to; `None` where nobody asks for them.
    pub(crate) fn receipts(&self) -> Option<PathBuf> {
        let receipts = self.overrides.receipts.as_ref();
        receipts.map(|path| self.working_dir.join(path))
    }

    /// The folder of the sort cache of all packs.
    pub(crate) fn sort_cache_root(&self) -> PathBuf {
        let profile = &self.profile;
        match &profile.sort_cache {
            Some(named) => self.working_dir.join(named),
            None => self.cache_root().join("sort_cache"),
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
        let sorted = Some(Location::Local(self.sort_cache_root()));
        for (key, place) in [
            ("wiring.wsp_checkpoint.root", cursors),
            ("wiring.wsp_order.time_index", index),
            ("wiring.wsp_order.sort_cache", sorted),
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

impl StreamRequest {
    /// The request as one of all shards together: its rates are those of the whole stream.
    pub(crate) fn of_all_shards(&self) -> Self {
        let mut whole = self.clone();
        let parts = whole.profile.shard.count;
        if let Pace::Rate(steps) = &whole.profile.pace {
            whole.profile.pace = steps.multiplied_by(parts).into();
        }
        let max_rate = whole.profile.max_rate.as_ref();
        whole.profile.max_rate = max_rate.map(|rate| rate.multiplied_by(parts));
        whole
    }
}

/// Gives a shard its part of the rates, which are the whole stream's. Rates from the environment
/// are this process's own.
fn divide_rates(
    profile: &mut Profile,
    flags: &Overrides,
    variables: &BTreeMap<&'static str, &'static str>,
) {
    let parts = profile.shard.count;
    let is_own = |key: &str, has_flag: bool| !has_flag && variables.contains_key(key);
    if let Pace::Rate(steps) = &profile.pace
        && !is_own("policy.stream_rate", flags.pace.is_some())
    {
        profile.pace = steps.divided_by(parts).into();
    }
    if let Some(rate) = &profile.max_rate
        && !is_own("policy.max_rate", flags.max_rate.is_some())
    {
        profile.max_rate = Some(rate.divided_by(parts));
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

/// Refuses a threshold on a figure that the run cannot have.
fn check_thresholds(profile: &Profile) -> Result<(), Error> {
    let impossible = profile
        .thresholds
        .impossible(&profile.pace, profile.rejects.on_reject);
    impossible.map_or(Ok(()), |why| {
        Err(Error::new(
            crate::ReasonCode::ProfileInvalid,
            format!("The run cannot have the figure of a threshold: {why}"),
            "Mend --fail-if, --abort-if or `wiring.wsp_thresholds`, or the run.",
        ))
    })
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

    use envelope::EventTime;

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
