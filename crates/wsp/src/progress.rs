//! What a stream is at, about once a second, for whoever watches.

use envelope::EventTime;

use crate::meters::Reading;
use crate::pace::Pace;
use crate::steering::State;

/// A snapshot of a running stream.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// What the stream is at.
    pub state: State,
    /// What makes the next event due.
    pub pace: Pace,
    /// The meters of all outputs together.
    pub meters: Reading,
    /// The bound of the run, if it has one.
    pub max_events: Option<u64>,
    /// Events that this run will acknowledge in all, about, once that is known.
    pub total: Option<u64>,
    /// The event time of the last acknowledgement.
    pub event_time: Option<EventTime>,
    /// How late the last acknowledged event was sent, in milliseconds.
    pub lateness_ms: f64,
    /// Events that saved cursors cover.
    pub durable: u64,
}

impl Progress {
    /// Learns how many rows are open: so many events are expected, or as many as the
    /// run is bounded to.
    pub fn expect(&mut self, open_rows: u64) {
        self.total = Some(self.max_events.unwrap_or(u64::MAX).min(open_rows));
    }
}
