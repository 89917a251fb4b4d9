//! What a run did, told to whoever keeps the record of it.
//!
//! Told when it is done, and of a cursor when it is durable; never for each event.

use checkpoint::{Cursor, CursorKey};
use envelope::EventTime;
use model::{DoneTally, OutputId, PackKey};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::gate_book::GateQuarantinedNote;
use crate::pace::Pace;
use crate::quarantine::QuarantinedNote;
use crate::tell::acts::{Act, CutGap, Steered};
use crate::tell::state::State;

/// Keeps the record of what a run did: an audit log.
pub trait Journal: Send {
    /// Records one happening.
    ///
    /// # Errors
    /// `AUDIT_UNWRITABLE` where a record must be kept and cannot be: it ends the stream.
    fn note(&mut self, happening: &Happening) -> Result<(), Error>;
}

/// One thing that happened. Its serialized form is that of the thing alone.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Happening {
    /// A cursor was saved.
    CursorSaved(CursorSaved),
    /// Somebody steered the stream, or tried to.
    Steered(SteeredNote),
    /// The schedule moved, since the next event was further away than `max_gap`.
    GapCut(GapCutNote),
    /// The ingestion gate or the checkpoint store is away.
    OutageBegan(OutageNote),
    /// The ingestion gate or the checkpoint store is back.
    OutageEnded(OutageNote),
    /// Rejected events were set aside; told at most once a second.
    EventsQuarantined(QuarantinedNote),
    /// The gate quarantined events; told at most once a second and reason.
    GateQuarantined(GateQuarantinedNote),
    /// The checkpoint store was deleted, and made again with the cursors of this run.
    StoreRemade(StoreRemadeNote),
}

/// Why a cursor was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SaveReason {
    /// `flush_every` events were done, or a second had passed.
    PeriodicFlush,
    /// The bound of the run was reached.
    MaxEvents,
    /// Every row of the outputs is done.
    OutputComplete,
    /// The run ends early.
    Stopped,
}

/// A cursor that is durable now.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CursorSaved {
    /// The pack of the output's world.
    pub pack_key: PackKey,
    /// The output of the cursor.
    pub output_id: OutputId,
    /// Where the cursor stands.
    pub cursor: CursorPlace,
    /// Why the cursor was saved.
    pub reason: SaveReason,
}

/// Where a cursor stands, as reports and audit lines show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CursorPlace {
    /// The place of the last done event's part, as the platform's producers compare it.
    pub last_file: String,
    /// The part's name, relative to the engine run root or to the base of stream views.
    pub last_part: String,
    /// The row of the last done event, counted from 0.
    pub last_row_index: u64,
    /// The event time of the last done event.
    pub last_ts_utc: Option<String>,
    /// What became of all events up to here; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<DoneTally>,
}

impl CursorSaved {
    /// The saved cursor of a key.
    pub(crate) fn new(key: &CursorKey, cursor: &Cursor, reason: SaveReason) -> Self {
        Self {
            pack_key: key.pack_key().clone(),
            output_id: key.output_id().clone(),
            cursor: cursor.into(),
            reason,
        }
    }
}

impl From<&Cursor> for CursorPlace {
    fn from(cursor: &Cursor) -> Self {
        Self {
            last_file: cursor.last_file.clone(),
            last_part: cursor.last_part.clone(),
            last_row_index: cursor.last_row_index,
            last_ts_utc: cursor.last_ts_utc.clone(),
            done: cursor.done,
        }
    }
}

/// An act that was asked for.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SteeredNote {
    /// The name of the act that was asked for.
    pub act: &'static str,
    /// The number of events of a step, a tap, or until a pause; `None` for other acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// The event time at which the stream is to pause; `None` for other acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_at: Option<String>,
    /// The wall time at which the stream is to go on; `None` for other acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_at: Option<String>,
    /// Whether a tap copies envelopes; `None` for other acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_envelopes: Option<bool>,
    /// Who asked for the act.
    pub by: String,
    /// Whom that one said to ask for; `None` where nobody was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// Whether the act was done.
    pub applied: bool,
    /// Why it was not done; `None` if it was.
    pub refused: Option<String>,
    /// What the stream was at afterwards.
    pub state: State,
    /// The pace before.
    pub pace_before: Pace,
    /// The pace afterwards.
    pub pace: Pace,
    /// Events handed over until then.
    pub handed_over: u64,
    /// The event time of the last acknowledgement.
    pub event_time: Option<String>,
}

impl SteeredNote {
    /// `event_time` is that of the last acknowledgement.
    pub(crate) fn new(steered: &Steered, event_time: Option<EventTime>) -> Self {
        Self {
            act: steered.act.as_str(),
            events: match steered.act {
                Act::Step(events) | Act::PauseAfter(events) => Some(events),
                Act::Tap(tap) => Some(tap.events),
                _ => None,
            },
            pause_at: match steered.act {
                Act::PauseAt(time) => Some(time.to_string()),
                _ => None,
            },
            resume_at: match steered.act {
                Act::ResumeAt(time) => Some(time.to_string()),
                _ => None,
            },
            with_envelopes: match steered.act {
                Act::Tap(tap) => Some(tap.with_envelopes),
                _ => None,
            },
            by: steered.by.by.clone(),
            on_behalf_of: steered.by.on_behalf_of.as_ref().map(ToString::to_string),
            applied: steered.refused.is_none(),
            refused: steered.refused.map(|refused| refused.to_string()),
            state: steered.state,
            pace_before: steered.pace_before.clone(),
            pace: steered.pace.clone(),
            handed_over: steered.handed_over,
            event_time: event_time.map(|time| time.to_string()),
        }
    }
}

/// A wait for the next event that `max_gap` made shorter.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct GapCutNote {
    /// The event time of the event that is waited for.
    pub next_event_time: String,
    /// By how many seconds that event and all after it are due earlier.
    pub earlier_s: f64,
    /// Events handed over until then.
    pub handed_over: u64,
    /// The event time of the last acknowledgement.
    pub event_time: Option<String>,
}

impl GapCutNote {
    /// `event_time` is that of the last acknowledgement.
    pub(crate) fn new(cut: &CutGap, event_time: Option<EventTime>) -> Self {
        Self {
            next_event_time: cut.next.to_string(),
            earlier_s: cut.earlier.as_secs_f64(),
            handed_over: cut.handed_over,
            event_time: event_time.map(|time| time.to_string()),
        }
    }
}

/// A checkpoint store that was made again.
#[derive(Debug, Clone, Serialize)]
pub struct StoreRemadeNote {
    /// The place of the store; never a secret.
    pub checkpoint_store: String,
    /// How often the store was made again in this run.
    pub times: u64,
    /// The last cursors that this run saved, which stand in the store again, as do those that it
    /// found and did not move.
    pub cursors: Vec<RemadeCursor>,
}

/// A cursor in a store that was made again.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RemadeCursor {
    /// The output of the cursor.
    pub output_id: OutputId,
    /// Where the cursor stands.
    pub cursor: CursorPlace,
}

/// What was away.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct OutageNote {
    /// `ingestion_gate` or `checkpoint_store`.
    pub what: &'static str,
    /// What was wrong; `None` once it is back.
    pub cause: Option<String>,
}
