//! What a stream has come to so far, counted from its start: what metrics are made of.

use std::sync::Arc;
use std::time::Duration;

use model::OutputId;
use push::{Outages, Retries};
use serde::{Deserialize, Serialize};

use crate::decisions::Decisions;
use crate::tell::lateness_histogram::LatenessHistogram;

/// The counts of a stream from its start to one moment. They only grow, but for permits and what
/// is buffered, which are as they are at that moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Counters {
    /// How long the stream has been running, in nanoseconds of its clock.
    pub elapsed_ns: u64,
    /// The time of that in which events might leave, in nanoseconds: neither before the first was
    /// due, nor while the stream was paused or ending.
    pub active_ns: u64,
    /// Events that the gate acknowledged, by its decision.
    pub acknowledged: Decisions,
    /// Events that the gate would not have: those that were set aside, and the one that ended the
    /// stream.
    pub refused: u64,
    /// Posts that were made again, by cause.
    pub retries: Retries,
    /// Lanes that are busy with an event, at most as many as are allowed.
    pub permits_in_use: u64,
    /// Requests that may be in flight: one a lane, or fewer by `wsp_push.concurrency: adaptive`.
    pub permits_allowed: u64,
    /// Events that were read and not yet handed to a lane.
    pub buffered: u64,
    /// Saves of cursors, and retries of them.
    pub checkpoints: CheckpointCounts,
    /// How often the ingestion gate and the checkpoint store were away.
    pub outages: OutagesReport,
    /// The counts of each output, in the order of the list.
    pub outputs: Vec<OutputCounters>,
    /// The lateness of acknowledged events; empty for an unpaced stream. Shared, not copied.
    #[serde(with = "shared")]
    pub lateness: Arc<LatenessHistograms>,
}

impl Counters {
    /// Events that the gate acknowledged, whatever it decided.
    pub fn all_acknowledged(&self) -> u64 {
        self.acknowledged.total()
    }

    /// Events that were durably set aside here.
    pub fn quarantined(&self) -> u64 {
        self.outputs.iter().map(|output| output.quarantined).sum()
    }

    /// The time in which events might leave.
    pub fn active(&self) -> Duration {
        Duration::from_nanos(self.active_ns)
    }
}

/// The counts of one output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputCounters {
    /// The id of the output.
    pub output_id: OutputId,
    /// Events of the output that the gate acknowledged.
    pub acknowledged: u64,
    /// Events of the output that were durably set aside here.
    pub quarantined: u64,
}

/// How late events were, at both ends of their posts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatenessHistograms {
    /// From the due time to the first post.
    pub send: LatenessHistogram,
    /// From the due time to the whole acknowledgement.
    pub ack: LatenessHistogram,
}

impl LatenessHistograms {
    /// Counts the events of others too.
    pub fn add(&mut self, others: &Self) {
        self.send.add(&others.send);
        self.ack.add(&others.ack);
    }

    /// The bytes of memory that the histograms take beside their own structs.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.send.heap_bytes() + self.ack.heap_bytes()
    }
}

/// What is shared, written and read as what it holds.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Arc<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(from).map(Arc::new)
    }
}

/// Saves of cursors, and retries of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointCounts {
    /// Saves that succeeded, each of all outputs that moved.
    pub saves: u64,
    /// Saves that failed and were retried.
    pub retried: u64,
}

/// How often what a stream needs was away, faults of less than a second left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutagesReport {
    /// Outages of the ingestion gate.
    pub ingestion_gate: Outages,
    /// Outages of the checkpoint store.
    pub checkpoint_store: Outages,
}

impl OutagesReport {
    /// The number of all outages.
    pub fn times(&self) -> u64 {
        self.ingestion_gate.times + self.checkpoint_store.times
    }

    /// Whole seconds of all outages together.
    pub fn seconds(&self) -> u64 {
        self.ingestion_gate.seconds + self.checkpoint_store.seconds
    }
}
