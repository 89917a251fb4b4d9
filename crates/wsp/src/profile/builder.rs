//! A stream without a profile: what a program asks for, checked as a profile is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use envelope::{EventTime, PlatformRunId};
use gates::AttestedWorld;
use replay::{Bounds, LaneCount, LaneOrdering, OnReject, Pace, TimeWindow};

use super::environment::Environment;
use super::overrides::Overrides;
use super::producer::Producer;
use super::request::{GivenWorld, StreamRequest};
use super::settings::OrderMode;
use super::{Profile, RetrySettings};
use crate::{Error, ReasonCode};

/// A request of a program: an attested world, and how it is streamed. What is not asked for is as
/// in a local profile without keys.
///
/// ```no_run
/// use gates::{AttestRequest, attest};
/// use wsp::profile::Producer;
/// use wsp::{Stream, StreamRequest};
///
/// # async fn example(
/// #     request: AttestRequest,
/// #     store: std::sync::Arc<dyn checkpoint::CheckpointStore>,
/// #     client: push::DirectClient,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let world = attest(&request).await?;
/// let request = StreamRequest::builder(world)
///     .producer(Producer::trusted("svc:backfill")?)
///     .runs_root("/var/lib/backfill/runs")
///     .rate("500".parse()?)
///     .flush_every(50)
///     .build()?;
/// let report = Stream::new(request).run_with(store, client, "http://gate:8081").await?;
/// println!("{:?}: {} events", report.status, report.emitted);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct StreamRequestBuilder {
    world: AttestedWorld,
    producer: Option<Producer>,
    runs_root: Option<PathBuf>,
    overrides: Overrides,
    lanes: usize,
    lane_ordering: LaneOrdering,
    flush_every: u64,
    lease: Duration,
    retry: Option<RetrySettings>,
    time_columns: BTreeMap<String, String>,
}

impl StreamRequest {
    /// A request without a profile, for programs: it streams a world that they attested.
    pub fn builder(world: AttestedWorld) -> StreamRequestBuilder {
        StreamRequestBuilder {
            world,
            producer: None,
            runs_root: None,
            overrides: Overrides::default(),
            lanes: 32,
            lane_ordering: LaneOrdering::Key,
            flush_every: 1,
            lease: checkpoint::DEFAULT_PERIOD,
            retry: None,
            time_columns: BTreeMap::new(),
        }
    }
}

impl StreamRequestBuilder {
    /// Names who the events come from; needed.
    pub fn producer(mut self, producer: Producer) -> Self {
        self.producer = Some(producer);
        self
    }

    /// Keeps audit, quarantine and time index under this folder, an absolute path outside the
    /// world; needed.
    pub fn runs_root(mut self, folder: impl Into<PathBuf>) -> Self {
        self.runs_root = Some(folder.into());
        self
    }

    /// Streams these of the world's outputs, in the world's order; all by default.
    pub fn outputs(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.overrides.output_ids = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Takes the event times of an output's rows from this column; from `ts_utc` by default.
    pub fn time_column(mut self, output: impl Into<String>, column: impl Into<String>) -> Self {
        self.time_columns.insert(output.into(), column.into());
        self
    }

    /// Streams nothing before this event time, in event-time order only.
    pub fn from(mut self, time: EventTime) -> Self {
        self.overrides.window.from = Some(time);
        self
    }

    /// Streams nothing at or after this event time, in event-time order only.
    pub fn to(mut self, time: EventTime) -> Self {
        self.overrides.window.to = Some(time);
        self
    }

    /// Streams what lies in a stretch of event time, in event-time order only; all by default.
    pub fn window(mut self, window: TimeWindow) -> Self {
        self.overrides.window = window;
        self
    }

    /// Streams no more than this; all by default.
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.overrides.bounds = bounds;
        self
    }

    /// Orders events so; by default as the cursors being resumed, else by event time.
    pub fn order(mut self, order: OrderMode) -> Self {
        self.overrides.order = Some(order);
        self
    }

    /// Makes events due by this pace; as fast as events happened by default.
    pub fn pace(mut self, pace: impl Into<Pace>) -> Self {
        self.overrides.pace = Some(pace.into());
        self
    }

    /// Makes events due at a rate, whatever their times.
    pub fn rate(self, rate: replay::RateSteps) -> Self {
        self.pace(rate)
    }

    /// Names the platform run that events belong to; by default the one of the runs root, else of
    /// the cursors being resumed, else a new one.
    pub fn platform_run_id(mut self, run: &PlatformRunId) -> Self {
        self.overrides.platform_run_id = Some(run.to_string());
        self
    }

    /// Names the scenario run, 32 lowercase hex digits; the engine run's id by default.
    pub fn scenario_run_id(mut self, id: impl Into<String>) -> Self {
        self.overrides.scenario_run_id = Some(id.into());
        self
    }

    /// Has this many requests in flight at once, 1 to [`LaneCount::MAX`]; 32 by default.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Keeps the order of these events on the way to the gate; of those with one key by default.
    pub fn lane_ordering(mut self, ordering: LaneOrdering) -> Self {
        self.lane_ordering = ordering;
        self
    }

    /// Saves cursors after this many events, at least 1; 1 by default. A crash repeats at most
    /// this many and one a lane.
    pub fn flush_every(mut self, events: u64) -> Self {
        self.flush_every = events;
        self
    }

    /// Has leases last so long without a renewal, at least
    /// [`SHORTEST_PERIOD`](checkpoint::SHORTEST_PERIOD); 30 s by default.
    pub fn lease(mut self, period: Duration) -> Self {
        self.lease = period;
        self
    }

    /// Does this with an event that the gate refuses for good; stops by default.
    pub fn on_reject(mut self, on_reject: OnReject) -> Self {
        self.overrides.on_reject = Some(on_reject);
        self
    }

    /// Retries failed pushes so; as a profile without keys by default.
    pub fn retry(mut self, retry: RetrySettings) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Takes the leases from a holder that is still alive; off by default.
    pub fn take_over(mut self) -> Self {
        self.overrides.take_over = true;
        self
    }

    /// Checks all values. Reads neither the environment nor the working directory.
    ///
    /// # Errors
    /// `REQUEST_INVALID` for a value that is missing or out of its range; else as
    /// [`StreamRequest::new`].
    pub fn build(self) -> Result<StreamRequest, Error> {
        let runs_root = self.runs_root.ok_or_else(|| missing("runs_root"))?;
        let producer = self.producer.ok_or_else(|| missing("producer"))?;
        if !runs_root.is_absolute() {
            let problem = format!("is {}, no absolute path", runs_root.display());
            return Err(invalid("runs_root", &problem));
        }
        let lanes = LaneCount::new(self.lanes).ok_or_else(|| {
            let problem = format!("is {}, not 1 to {}", self.lanes, LaneCount::MAX);
            invalid("lanes", &problem)
        })?;
        if self.flush_every == 0 {
            return Err(invalid("flush_every", "is 0, and 1 is the least"));
        }
        if self.lease < checkpoint::SHORTEST_PERIOD {
            let problem = format!("is {:?}, and 10 ms is the least", self.lease);
            return Err(invalid("lease", &problem));
        }
        let bounds = self.overrides.bounds;
        if bounds.events_per_output == Some(0) {
            return Err(invalid("bounds", "streams no event of any output"));
        }
        let mut profile = Profile::parse("profile_id: local", Path::new("(program)"), &|_| None)?;
        // There is no file that it would be the digest of.
        profile.digest = None;
        profile.push.lanes.ordering = self.lane_ordering;
        profile.push.lanes.count = match self.lane_ordering {
            LaneOrdering::Strict => LaneCount::ONE,
            _ => lanes,
        };
        profile.checkpoint.root = runs_root.join("wsp_checkpoints").display().to_string();
        profile.checkpoint.flush_every = self.flush_every;
        profile.checkpoint.lease = self.lease;
        profile.retry = self.retry.unwrap_or(profile.retry);
        profile.runs_root.clone_from(&runs_root);
        profile.time_columns = self.time_columns;
        let nothing = Environment::default();
        let mut request = StreamRequest::new(profile, self.overrides, runs_root, nothing)?;
        request.world = Some(Arc::new(GivenWorld {
            world: self.world,
            producer,
        }));
        Ok(request)
    }
}

fn missing(value: &str) -> Error {
    invalid(value, "is missing")
}

fn invalid(value: &str, problem: &str) -> Error {
    Error::new(
        ReasonCode::RequestInvalid,
        format!("The request's `{value}` {problem}"),
        "Mend the call of that name on the builder.",
    )
}
