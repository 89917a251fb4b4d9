//! What several reports show: the verdicts of gates, and cursors that are stored.

use checkpoint::{Holder, LeaseState, OrderMode, Record};
use gates::{ClearanceStatus, GateId, GateStatus, VerificationMode};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::plan::Plan;

/// What the gates of a world said, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GatesReport {
    /// Whether the outputs may be read since their gates hold, or by a waiver.
    pub clearance: ClearanceStatus,
    /// The verdict of each gate that was looked at; empty under a waiver.
    pub receipts: Vec<GateVerdict>,
}

/// The verdict of one gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GateVerdict {
    /// The id of the gate.
    pub gate_id: GateId,
    /// Whether the gate's evidence holds.
    pub status: GateStatus,
    /// How the gate was verified.
    pub mode: VerificationMode,
}

impl GatesReport {
    /// What the gates of a planned world said.
    pub(crate) fn of(plan: &Plan) -> Self {
        let verdicts = plan.clearance.receipts().iter().map(|receipt| GateVerdict {
            gate_id: receipt.gate_id.clone(),
            status: receipt.status,
            mode: receipt.mode,
        });
        Self {
            clearance: plan.clearance.status(),
            receipts: verdicts.collect(),
        }
    }
}

/// A cursor as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoredCursorReport {
    /// The place of the last done event's part, as the platform's producers compare it.
    pub last_file: String,
    /// The row of the last done event, counted from 0.
    pub last_row_index: u64,
    /// The event time of the last done event; `None` where its writer did not say it.
    pub last_ts_utc: Option<String>,
    /// The part's name, relative to the engine run root or to the base of stream views.
    pub last_part: String,
    /// The order that rows are sent in, and so what the cursor means.
    pub order: OrderMode,
    /// The platform run that the cursor was saved under; `None` in the existing producer's records.
    pub platform_run_id: Option<String>,
    /// When the cursor was saved, as its writer spelled the time.
    pub updated_at_utc: String,
    /// The number of the record among those of its output, from 1; 0 for the existing producer's.
    pub sequence: u64,
}

impl From<&Record> for StoredCursorReport {
    fn from(record: &Record) -> Self {
        let cursor = &record.cursor;
        Self {
            last_file: cursor.last_file().to_owned(),
            last_row_index: cursor.last_row_index(),
            last_ts_utc: cursor.last_ts_utc().map(str::to_owned),
            last_part: cursor.part_text().to_owned(),
            order: cursor.order().mode(),
            platform_run_id: cursor.platform_run_id().map(str::to_owned),
            updated_at_utc: record.updated_at_utc.clone(),
            sequence: record.sequence,
        }
    }
}

/// Why a stored cursor cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CursorFault {
    /// The reason code.
    pub reason: &'static str,
    /// What is wrong, where, and what to do.
    pub detail: String,
}

impl CursorFault {
    pub(crate) fn of(error: &Error) -> Self {
        Self {
            reason: error.code(),
            detail: error.detail(),
        }
    }
}

/// Who holds the lease of a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HolderReport {
    /// The producer that took the lease last.
    pub holder: Holder,
    /// When the lease was taken or last renewed, by the holder's (Postgres: the server's) clock.
    pub renewed_at_utc: String,
    /// Whether the holder lives; `None` where the backend cannot tell.
    pub alive: Option<bool>,
}

impl From<LeaseState> for HolderReport {
    fn from(lease: LeaseState) -> Self {
        Self {
            holder: lease.holder,
            renewed_at_utc: lease.renewed_at_utc,
            alive: lease.alive,
        }
    }
}
