//! What a stream's keeper kept: the figures of its report.

use checkpoint::Cursor;
use push::{Away, Outages};

use crate::Error;
use crate::decisions::Decisions;
use crate::gate_book::GateQuarantineReport;
use crate::keep::lateness::LatenessReport;
use crate::quarantine::aside::QuarantineReport;

/// Saves of cursors, and retries of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CheckpointCounts {
    /// Saves that succeeded, each of all outputs that moved.
    pub saves: u64,
    /// Saves that failed and were retried.
    pub retried: u64,
}

/// What a stream came to, as its keeper counted it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Kept<J> {
    /// Events by the gate's decision.
    pub decisions: Decisions,
    /// Events by the gate's decision, output by output.
    pub decisions_of: Vec<Decisions>,
    /// What the gate quarantined; `None` if that is nothing.
    pub gate_quarantined: Option<GateQuarantineReport>,
    /// Why a stream that reached its end has failed all the same; `None` if it has not.
    pub verdict: Option<Error>,
    /// Lateness at send and at acknowledgement.
    pub lateness: LatenessReport,
    /// Saves of cursors, and retries of them.
    pub checkpoints: CheckpointCounts,
    /// Events whose answer never came before the drain was over.
    pub abandoned: u64,
    /// The last durable cursor of each output, if this run saved one.
    pub cursors: Vec<Option<Cursor>>,
    /// Whether a save failed for good.
    pub save_failed: bool,
    /// What was set aside; `None` where rejected events end the stream.
    pub quarantine: Option<QuarantineReport>,
    /// The journal, to be closed by the run.
    pub journal: J,
    /// How often the ingestion gate and the checkpoint store were away.
    pub outages: OutagesReport,
    /// What was wrong with the ingestion gate at the end; `None` if it answered.
    pub gate_away: Option<Away>,
}

/// How often what a stream needs was away, faults of less than a second left out.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct OutagesReport {
    /// Outages of the ingestion gate.
    pub ingestion_gate: Outages,
    /// Outages of the checkpoint store.
    pub checkpoint_store: Outages,
}
