//! The answers on a control socket.

use std::time::SystemTime;

use envelope::EventTime;
use push::Away;
use replay::{Counters, GateQuarantineReport, Pace, Progress, Reading, State, TappedEvent};
use serde::Serialize;
use serde_json::value::RawValue;

use super::protocol::VERSION;

/// What a stream is doing at one moment, for a client.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The id of the process that streams.
    pub pid: u32,
    /// The state of the stream.
    pub state: State,
    /// The pace that makes the next event due.
    pub pace: Pace,
    /// The meters of all outputs together.
    #[serde(flatten)]
    pub meters: Reading,
    /// The number of events that saved cursors cover.
    pub durable: u64,
    /// About how many events the run will come to; `None` until that is known.
    pub total: Option<u64>,
    /// Rows that were sorted, and all that must be before the first event; absent unless parts are
    /// sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sorting: Option<(u64, u64)>,
    /// The event time of the last acknowledgement.
    pub event_time: Option<String>,
    /// How late the last acknowledged event was sent, in milliseconds; absent if unpaced.
    pub lateness_ms: Option<f64>,
    /// When the next event is due, by the wall clock; absent where it is not waited for
    /// longer than a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due: Option<String>,
    /// The event time at which the stream is to pause; absent unless somebody asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_at: Option<String>,
    /// The wall time at which the paused stream is to go on; absent unless somebody asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_at: Option<String>,
    /// What is wrong with the ingestion gate; absent while it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate_away: Option<Away>,
    /// What is wrong with the checkpoint store; absent while it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_away: Option<Away>,
    /// For how many seconds due events have waited for saves; absent while they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for_store_s: Option<f64>,
    /// The last failed post or save with its causes; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// What the ingestion gate quarantined; absent as long as that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate_quarantined: Option<GateQuarantineReport>,
    /// How far each output is, in the order of the list; empty before the first event.
    pub outputs: Vec<OutputSnapshot>,
    /// The event times up to which events crossed each border.
    pub event_times: BorderTimesSnapshot,
    /// What the stream has come to so far; histograms by their bins.
    pub counters: Counters,
}

/// The event times of the borders, for a client; each is `None` before the first event.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct BorderTimesSnapshot {
    /// The event time of the last event that was handed to a lane.
    pub handed_over: Option<String>,
    /// The event time up to which all events are done.
    pub acknowledged: Option<String>,
    /// The event time up to which saved cursors cover all events.
    pub durable: Option<String>,
}

/// How far one output is, for a client.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct OutputSnapshot {
    /// The id of the output.
    pub output_id: String,
    /// The events of the output that the gate acknowledged in this run.
    pub acknowledged: u64,
    /// The event time up to which all events are done; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
}

impl Snapshot {
    pub(super) fn of(progress: &Progress, state: State) -> Self {
        let outputs = progress.outputs.iter().map(|output| OutputSnapshot {
            output_id: output.output_id.to_string(),
            acknowledged: output.emitted,
            event_time: output.reached.as_ref().map(|row| row.time.to_string()),
        });
        let text = |time: EventTime| time.to_string();
        Self {
            pid: std::process::id(),
            state: progress.shown(state),
            pace: progress.pace.clone(),
            meters: progress.meters,
            durable: progress.durable,
            total: progress.total,
            sorting: progress.sorting,
            event_time: progress.event_time.map(|time| time.to_string()),
            lateness_ms: (!progress.pace.is_unpaced()).then_some(progress.lateness_ms),
            next_due: progress.next_due_text(),
            pause_at: progress.pause_at.map(|time| time.to_string()),
            resume_at: progress.resume_at.map(|time| time.to_string()),
            gate_away: progress.gate_away.clone(),
            store_away: progress.store_away.clone(),
            waiting_for_store_s: progress.waiting_for_store.map(|wait| wait.as_secs_f64()),
            last_failure: progress.last_failure.clone(),
            gate_quarantined: progress.gate_quarantined.clone(),
            outputs: outputs.collect(),
            event_times: BorderTimesSnapshot {
                handed_over: progress.event_times.handed_over.map(text),
                acknowledged: progress.event_times.acknowledged.map(text),
                durable: progress.event_times.durable.map(text),
            },
            counters: progress.counters.clone(),
        }
    }
}

/// The answer of a stream to one request.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    version: u32,
    /// Whether the request was carried out.
    pub applied: bool,
    /// Why the request was refused; `None` where it was carried out.
    pub refused: Option<String>,
    /// What the stream is doing after the request.
    pub stream: Snapshot,
}

impl Answer {
    pub(super) fn new(refused: Option<String>, stream: Snapshot) -> Self {
        Self {
            version: VERSION,
            applied: refused.is_none(),
            refused,
            stream,
        }
    }
}

/// One of the snapshots that a watcher gets.
#[derive(Debug, Clone, Serialize)]
pub struct Watched {
    version: u32,
    /// The number of the snapshot on this connection, from 1.
    pub watched: u64,
    /// Snapshots that were left out up to now since the watcher was slow.
    pub dropped: u64,
    /// What the stream is doing.
    pub stream: Snapshot,
}

impl Watched {
    pub(super) fn new(watched: u64, dropped: u64, stream: Snapshot) -> Self {
        Self {
            version: VERSION,
            watched,
            dropped,
            stream,
        }
    }
}

/// A copy of what became of one event.
#[derive(Debug, Serialize)]
pub struct TapCopy {
    version: u32,
    tapped: CopiedEvent,
}

/// The last line of a tap.
#[derive(Debug, Serialize)]
pub struct TapEnd {
    version: u32,
    /// Whether the tap is over: always.
    pub tap_ended: bool,
    /// Copies that were sent.
    pub copies: u64,
    /// Copies that were lost since the reader was slow.
    pub dropped: u64,
}

#[derive(Debug, Serialize)]
struct CopiedEvent {
    event_id: String,
    output_id: Option<String>,
    place: String,
    event_time: String,
    due: Option<String>,
    sent: Option<String>,
    answered: Option<String>,
    lateness_ms: Option<f64>,
    decision: &'static str,
    envelope_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<Box<RawValue>>,
}

impl TapCopy {
    /// `progress` knows the output's id, but for the first fraction of a second.
    pub(super) fn new(event: TappedEvent, progress: &Progress) -> Self {
        let output = progress.outputs.get(event.output);
        let text = |time: SystemTime| EventTime::of_wall(time).map(|time| time.to_string());
        let envelope = event.envelope.and_then(|bytes| {
            let text = String::from_utf8(bytes.into()).ok()?;
            RawValue::from_string(text).ok()
        });
        let late = |(due, sent): (SystemTime, SystemTime)| {
            let late = sent.duration_since(due).unwrap_or_default();
            late.as_secs_f64() * 1e3
        };
        Self {
            version: VERSION,
            tapped: CopiedEvent {
                event_id: event.event_id,
                output_id: output.map(|output| output.output_id.to_string()),
                place: event.place,
                event_time: event.event_time.to_string(),
                lateness_ms: event.due.zip(event.sent).map(late),
                due: event.due.and_then(text),
                sent: event.sent.and_then(text),
                answered: event.answered.and_then(text),
                decision: event.outcome,
                envelope_bytes: event.envelope_bytes,
                envelope,
            },
        }
    }
}

impl TapEnd {
    pub(super) fn new(copies: u64, dropped: u64) -> Self {
        Self {
            version: VERSION,
            tap_ended: true,
            copies,
            dropped,
        }
    }
}
