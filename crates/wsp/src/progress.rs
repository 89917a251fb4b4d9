//! What a stream is at, about once a second, for whoever watches.

use envelope::EventTime;

use crate::meters::Reading;

/// A snapshot of a running stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// The meters of all outputs together.
    pub meters: Reading,
    /// Events that this run will acknowledge in all, once that is known.
    pub total: Option<u64>,
    /// The event time of the last acknowledgement.
    pub event_time: Option<EventTime>,
    /// Whether events wait for their due times.
    pub is_paced: bool,
    /// How late the last acknowledged event was sent, in milliseconds.
    pub lateness_ms: f64,
    /// Events that saved cursors cover.
    pub durable: u64,
}
