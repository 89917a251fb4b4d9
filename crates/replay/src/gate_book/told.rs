//! What is told of the events that the gate quarantined: in reports, in progress and in the audit.

use model::OutputId;
use serde::{Deserialize, Serialize};

/// What the gate quarantined in one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateQuarantineReport {
    /// Events that the gate quarantined in this run.
    pub events: u64,
    /// The file that lists such events of the platform run; `None` where it cannot be written.
    pub place: Option<String>,
    /// The events by output and reason code. An event with several codes counts for each.
    pub by_reason: Vec<QuarantinedFor>,
}

/// Events of one output that the gate quarantined for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantinedFor {
    /// The output of the events.
    pub output_id: OutputId,
    /// The type of the events, which is the output's id.
    pub event_type: OutputId,
    /// The reason code; `NONE` where the gate gives none.
    pub reason_code: String,
    /// The number of the events.
    pub events: u64,
    /// The first of the events.
    pub first: Vec<QuarantinedOne>,
}

/// One event that the gate quarantined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantinedOne {
    /// The id of the event.
    pub event_id: String,
    /// The place of the gate's receipt; `None` if it names none.
    pub receipt_ref: Option<String>,
    /// The part of the event's row, relative to the engine run root.
    pub file: String,
    /// The event's row in its part, counted from 0.
    pub row: u64,
}

/// Events that the ingestion gate quarantined for one reason.
#[derive(Debug, Clone, Serialize)]
pub struct GateQuarantinedNote {
    /// The output of the events, which is their event type too.
    pub output_id: OutputId,
    /// The reason code; `NONE` where the gate gives none.
    pub reason_code: String,
    /// Events quarantined for this reason since the last note.
    pub events: u64,
    /// Events quarantined for this reason in this run.
    pub in_all: u64,
    /// The first of the events that the note is about.
    pub example: QuarantinedOne,
}
