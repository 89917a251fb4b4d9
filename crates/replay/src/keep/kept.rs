//! What a stream's keeper kept: the figures of its report.

use checkpoint::Cursor;
use push::Away;

use crate::Error;
use crate::decisions::Decisions;
use crate::gate_book::GateQuarantineReport;
use crate::keep::hdr_log::LatenessLogs;
use crate::keep::lateness::LatenessReport;
use crate::quarantine::aside::QuarantineReport;
use crate::tell::counters::{CheckpointCounts, OutagesReport};
use crate::tell::timeline_report::TimelineReport;

/// What a stream came to, as its keeper counted it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Kept<J> {
    /// Events by the gate's decision.
    pub decisions: Decisions,
    /// Events by the gate's decision, output by output.
    pub decisions_of: Vec<Decisions>,
    /// Events that the gate would not have: those that were set aside, and the one that ended the
    /// stream.
    pub refused: u64,
    /// What the gate quarantined; `None` if that is nothing.
    pub gate_quarantined: Option<GateQuarantineReport>,
    /// Why a stream that reached its end has failed all the same; `None` if it has not.
    pub verdict: Option<Error>,
    /// Lateness at send and at acknowledgement.
    pub lateness: LatenessReport,
    /// The same of all events, for merging with that of others.
    pub lateness_logs: LatenessLogs,
    /// The run over time.
    pub timeline: TimelineReport,
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
