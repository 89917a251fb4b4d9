//! The values of one run, which take precedence over the profile.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use envelope::EventTime;
use replay::{Bounds, OnReject, Pace, RateSteps, TimeWindow};

use super::blocks::StreamSource;
use super::settings::OrderMode;
use super::thresholds::Thresholds;

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
    /// How many events to stream at most, over all outputs and of each; all by default.
    pub bounds: Bounds,
    /// The most events a second that leave, whatever the pace; `None` bounds nothing.
    pub max_rate: Option<RateSteps>,
    /// The wall time that the offsets of `max_rate` count from, which may have passed; `None`
    /// counts from where the schedule begins.
    pub max_rate_from: Option<EventTime>,
    /// The pace, which makes events due.
    pub pace: Option<Pace>,
    /// The wall time at which the schedule begins; `None` begins when the first event is ready.
    pub start_at: Option<EventTime>,
    /// The wall time before which no event leaves; one that has passed means nothing, where
    /// `start_at` makes a stream late. `None` begins when the first event is ready.
    pub not_before: Option<EventTime>,
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
    /// The file that a line of each acknowledged event is appended to; `None` writes none.
    pub receipts: Option<PathBuf>,
    /// Conditions under which the run has failed, or is ended, beside those of the profile.
    pub thresholds: Thresholds,
    /// The id of the platform run.
    pub platform_run_id: Option<String>,
    /// The scenario run, 32 lowercase hex digits; `None` takes the engine run's id.
    pub scenario_run_id: Option<String>,
    /// The lanes of a fleet of the platform's newest producer whose cursors are taken over,
    /// under `scope: scenario_run`: the earliest of all counts. `None` takes over no fleet's.
    pub adopt_lanes: Option<NonZeroU32>,
    /// The shard to stream, as a text `K/N`; `None` leaves the profile's.
    pub shard: Option<String>,
    /// Whether to resume although the plan differs from the one that the cursors were saved under.
    pub allow_plan_change: bool,
    /// Whether to resume under another platform run than the cursors'.
    pub allow_run_change: bool,
    /// Whether to take the leases from a holder that is still alive.
    pub take_over: bool,
}
