//! What a caller asks for: a profile, and what wins over it.

use std::path::PathBuf;

use envelope::EventTime;

use crate::Error;
use crate::order::TimeWindow;
use crate::pace::Pace;
use crate::profile::{OnReject, OrderMode, Profile};

/// What the command line (or a calling service) sets for one run.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The engine run root.
    pub engine_run_root: Option<String>,
    /// The pack must have this id.
    pub oracle_pack_id: Option<String>,
    /// The scenario.
    pub scenario_id: Option<String>,
    /// Only these of the policy's outputs.
    pub output_ids: Option<Vec<String>>,
    /// The catalogue's path.
    pub catalogue: Option<String>,
    /// The gate map's path.
    pub gate_map: Option<String>,
    /// What of event time is streamed; in event-time order only.
    pub window: TimeWindow,
    /// At most so many events, over all outputs.
    pub max_events: Option<u64>,
    /// What makes events due.
    pub pace: Option<Pace>,
    /// The wall time at which the schedule begins; that of the first event, if absent.
    pub start_at: Option<EventTime>,
    /// The event time that is due when it begins; that of the first event, if absent. It
    /// has no meaning at a rate.
    pub time_origin: Option<EventTime>,
    /// The order.
    pub order: Option<OrderMode>,
    /// The ingestion gate.
    pub ig_url: Option<String>,
    /// What becomes of events that it will not have.
    pub on_reject: Option<OnReject>,
    /// The platform run.
    pub platform_run_id: Option<String>,
    /// The scenario run, hex32; else the engine run's id.
    pub scenario_run_id: Option<String>,
    /// Resume although the plan differs from the one the cursors were saved under.
    pub allow_plan_change: bool,
    /// Resume under another platform run than the cursors'.
    pub allow_run_change: bool,
    /// Take the leases from a living holder.
    pub take_over: bool,
}

/// A run to plan, verify or stream.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// The settings, flags applied.
    pub profile: Profile,
    /// What else the caller set.
    pub overrides: Overrides,
    /// Relative paths start here.
    pub working_dir: PathBuf,
    /// `PLATFORM_RUN_ID`, if it is set.
    pub environment_run_id: Option<String>,
}

impl StreamRequest {
    /// Applies what was set over the profile; relative paths start at the
    /// process's working directory.
    ///
    /// # Errors
    /// `PROFILE_INVALID` if there is no working directory, or for a time origin at a rate.
    pub fn new(mut profile: Profile, overrides: Overrides) -> Result<Self, Error> {
        let working_dir = std::env::current_dir().map_err(|source| {
            Error::caused(
                crate::ReasonCode::ProfileInvalid,
                "There is no working directory to resolve relative paths from.",
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
        profile.pace = overrides.pace.clone().unwrap_or(profile.pace);
        if overrides.time_origin.is_some() && !matches!(profile.pace, Pace::Speedup(_)) {
            return Err(Error::new(
                crate::ReasonCode::ProfileInvalid,
                "--time-origin says which event time is due at the start, and a rate counts events.",
                "Leave it out, or pace by a speedup.",
            ));
        }
        profile.order = overrides.order.or(profile.order);
        profile.rejects.on_reject = overrides.on_reject.unwrap_or(profile.rejects.on_reject);
        let environment_run_id = std::env::var("PLATFORM_RUN_ID").ok();
        Ok(Self {
            profile,
            overrides,
            working_dir,
            environment_run_id,
        })
    }
}
