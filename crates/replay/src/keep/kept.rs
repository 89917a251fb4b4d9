//! What a stream's keeper kept: the figures of its report.

use checkpoint::Cursor;
use push::{Away, Outages};

use crate::keep::lateness::LatenessReport;
use crate::quarantine::aside::QuarantineReport;

/// The counts of decisions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Decisions {
    /// `ADMIT`.
    pub admit: u64,
    /// `DUPLICATE`.
    pub duplicate: u64,
    /// `QUARANTINE`: the gate took it aside.
    pub quarantine: u64,
}

/// What the saves came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CheckpointCounts {
    /// Saves that succeeded, each of all outputs that moved.
    pub saves: u64,
    /// Tries that failed and were made again.
    pub retried: u64,
}

/// What the keeper kept.
#[derive(Debug)]
pub struct Kept<J> {
    /// What the gate decided.
    pub decisions: Decisions,
    /// Lateness at send and at acknowledgement.
    pub lateness: LatenessReport,
    /// Saves made.
    pub checkpoints: CheckpointCounts,
    /// Events whose answer never came before the drain was over.
    pub abandoned: u64,
    /// The last durable cursor of each output, if this run saved one.
    pub cursors: Vec<Option<Cursor>>,
    /// Whether a save failed for good.
    pub save_failed: bool,
    /// What was set aside, if anything was.
    pub quarantine: Option<QuarantineReport>,
    /// The journal, to be closed by the run.
    pub journal: J,
    /// How often gate and store were away.
    pub outages: OutagesReport,
    /// What was wrong with the gate at the end, if anything was.
    pub gate_away: Option<Away>,
}

/// How often what a stream needs was away, faults of less than a second left out.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct OutagesReport {
    /// The ingestion gate.
    pub ingestion_gate: Outages,
    /// The checkpoint store.
    pub checkpoint_store: Outages,
}
