//! What all lanes know of the gate together: whether it is away, whether it asked for quiet,
//! and what was retried. Atomics only; an event that goes well reads two of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use durable::TokioClock;
use model::Clock;

use super::concurrency::ConcurrencyLimit;
use super::retries::RetryCounts;
use super::retry::RetryPolicy;
use super::suspects::Suspects;
use super::trouble::Trouble;

/// The most bytes of an envelope that a pusher sends by default: 16 MiB.
pub const MAX_EVENT_BYTES: usize = 16 << 20;

/// What all pushers of a run know of their gate together: settings, whether the gate is away or
/// asked for quiet, and counts of retries.
#[derive(Debug)]
pub struct GateWatch<C = TokioClock> {
    pub(crate) policy: RetryPolicy,
    pub(crate) limit: ConcurrencyLimit,
    pub(crate) clock: C,
    /// Names of `error` by which this gate says that it is away, beside the known ones.
    pub(crate) transient_errors: Vec<String>,
    /// An envelope with more bytes is refused before it is sent.
    pub(crate) max_event_bytes: usize,
    retries: RetryCounts,
    pub(crate) suspects: Suspects,
    trouble: Trouble,
    origin: Instant,
    /// Nanoseconds since `origin`, plus one; 0 while the gate is there.
    failing_since: AtomicU64,
    /// Nanoseconds since `origin` up to which no lane sends; 0 for none.
    held_until: AtomicU64,
}

impl GateWatch {
    /// The watch of a gate that nothing is known of yet, by the machine's clock.
    pub fn new(policy: RetryPolicy, limit: ConcurrencyLimit) -> Self {
        Self::with_clock(policy, limit, TokioClock)
    }
}

impl<C: Clock> GateWatch<C> {
    /// The watch of a gate that nothing is known of yet, by the caller's clock.
    pub fn with_clock(policy: RetryPolicy, limit: ConcurrencyLimit, clock: C) -> Self {
        Self {
            policy,
            limit,
            transient_errors: Vec::new(),
            max_event_bytes: MAX_EVENT_BYTES,
            retries: RetryCounts::default(),
            suspects: Suspects::default(),
            trouble: Trouble::of_gate(),
            origin: clock.now(),
            clock,
            failing_since: AtomicU64::new(0),
            held_until: AtomicU64::new(0),
        }
    }

    /// Takes more values of the field `error` of 4xx and 5xx answers by which the gate says that it
    /// is away; none by default.
    #[must_use]
    pub fn with_transient_errors(mut self, names: Vec<String>) -> Self {
        self.transient_errors = names;
        self
    }

    /// Refuses envelopes of more than `bytes` before they are sent; [`MAX_EVENT_BYTES`] by default.
    #[must_use]
    pub fn with_max_event_bytes(mut self, bytes: usize) -> Self {
        self.max_event_bytes = bytes;
        self
    }

    /// How long the gate has been failing (faults, 408, 5xx) without any other answer to any lane;
    /// `None` while it is there.
    pub fn away_for(&self) -> Option<Duration> {
        let since = self.failing_since.load(Relaxed).checked_sub(1)?;
        Some(
            self.since_origin(self.clock.now())
                .saturating_sub(Duration::from_nanos(since)),
        )
    }

    /// How much longer no lane sends because the gate asked for quiet; `None` if it did not.
    pub fn held_for(&self) -> Option<Duration> {
        let until = self.held_until.load(Relaxed);
        if until == 0 {
            return None;
        }
        let left = Duration::from_nanos(until).checked_sub(self.since_origin(self.clock.now()));
        let left = left.filter(|left| !left.is_zero());
        if left.is_none() {
            // Over; a longer hold that came meanwhile stays.
            let _ = self.held_until.compare_exchange(until, 0, Relaxed, Relaxed);
        }
        left
    }

    /// How often pushes were repeated, by cause.
    pub fn retries(&self) -> &RetryCounts {
        &self.retries
    }

    /// The most requests that may be in flight now; `None` for a fixed limit of one a lane.
    pub fn concurrency(&self) -> Option<u32> {
        self.limit.current()
    }

    pub(crate) fn since_origin(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.origin)
    }

    /// The gate failed at `now`. How long it has been failing.
    pub(crate) fn failed(&self, now: Instant) -> Duration {
        let now = self.since_origin(now);
        let mark = now.as_nanos() as u64 + 1;
        match self
            .failing_since
            .compare_exchange(0, mark, Relaxed, Relaxed)
        {
            Ok(_) => Duration::ZERO,
            Err(since) => now.saturating_sub(Duration::from_nanos(since - 1)),
        }
    }

    /// The gate gave an answer that is no failure.
    pub(crate) fn answered(&self) {
        // Read first: while all is well no lane writes here.
        if self.failing_since.load(Relaxed) != 0 && self.failing_since.swap(0, Relaxed) != 0 {
            self.trouble.is_over();
        }
    }

    /// What is wrong with the gate, for progress and reports.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// The gate asked at `now` for quiet.
    pub(crate) fn hold(&self, now: Instant, wait: Duration) {
        let until = self.since_origin(now) + wait;
        self.held_until.fetch_max(until.as_nanos() as u64, Relaxed);
    }
}
