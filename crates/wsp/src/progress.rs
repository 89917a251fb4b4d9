//! What a stream is at, about once a second, for whoever watches.

use envelope::EventTime;

use crate::meters::Reading;

/// A snapshot of a running stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// The meters of all outputs together.
    pub meters: Reading,
    /// The event time of the last acknowledgement.
    pub event_time: Option<EventTime>,
    /// How late the last acknowledged event was sent, in milliseconds.
    pub lateness_ms: f64,
    /// Events that saved cursors cover.
    pub durable: u64,
}
