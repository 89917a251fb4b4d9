//! What a stream is at, about once a second, for whoever watches.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use envelope::EventTime;
use model::OutputId;
use tokio::sync::watch;

use crate::gate_book::GateQuarantineReport;
use crate::pace::Pace;
use crate::tell::borders::BorderTimes;
use crate::tell::counters::Counters;
use crate::tell::meters::Reading;
use crate::tell::state::State;
use push::Away;

/// A snapshot of a running stream.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The state of the stream.
    pub state: State,
    /// What makes the next event due.
    pub pace: Pace,
    /// The meters of all outputs together.
    pub meters: Reading,
    /// The number of events that the run stops after; `None` without a bound.
    pub max_events: Option<u64>,
    /// Estimate of the events that this run will acknowledge in all; `None` before it is known.
    pub total: Option<u64>,
    /// Rows that were sorted, and all that must be before the first event; `None` unless parts are
    /// sorted.
    pub sorting: Option<(u64, u64)>,
    /// The event time of the last acknowledged event; `None` before the first.
    pub event_time: Option<EventTime>,
    /// The event times of the borders: handed over, acknowledged, durable.
    pub event_times: BorderTimes,
    /// How late the last acknowledged event was sent, in milliseconds.
    pub lateness_ms: f64,
    /// Events that saved cursors cover.
    pub durable: u64,
    /// The wall time at which the next event is due; `None` unless the stream waits for it for
    /// longer than a second.
    pub next_due: Option<SystemTime>,
    /// The event time at which the stream is to pause; `None` unless somebody asked for that.
    pub pause_at: Option<EventTime>,
    /// The wall time at which a paused stream is to go on; `None` unless somebody asked for that.
    pub resume_at: Option<EventTime>,
    /// What is wrong with the ingestion gate; `None` while it answers.
    pub gate_away: Option<Away>,
    /// What is wrong with the checkpoint store; `None` while it answers.
    pub store_away: Option<Away>,
    /// How long due events have waited for cursors to be saved, since a crash must not repeat more
    /// than `flush_every` and one a lane; `None` while they do not.
    pub waiting_for_store: Option<Duration>,
    /// The last failed post or save with its causes, also when a retry has succeeded since; `None`
    /// before the first. Of the gate, where both failed.
    pub last_failure: Option<String>,
    /// What the gate quarantined; `None` as long as that is nothing.
    pub gate_quarantined: Option<GateQuarantineReport>,
    /// How far each output is, in the order of the list; empty before the first event.
    pub outputs: Vec<OutputProgress>,
    /// What the stream has come to so far, for metrics; all at zero before the first snapshot.
    pub counters: Counters,
}

/// How far one output of a running stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputProgress {
    /// The id of the output.
    pub output_id: OutputId,
    /// The events of the output that the gate acknowledged in this run.
    pub emitted: u64,
    /// The last row of the part that is done with all before it; `None` before the first.
    pub reached: Option<ReachedRow>,
}

/// A row that is done, with all before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReachedRow {
    /// The place of the row's part, as the platform's producers spell it.
    pub file: String,
    /// The row in its part, counted from 0.
    pub row: u64,
    /// The event time of the row.
    pub time: EventTime,
}

/// Takes snapshots of a stream: a few times a second, and once more at its end. Callers who watch a
/// stream implement it. It runs on a task of its own, so a slow sink misses snapshots and never
/// holds the stream back. It should not block for long.
pub trait ProgressSink: Send + 'static {
    /// Takes the latest snapshot.
    fn tell(&mut self, progress: &Progress);
}

/// Gives a sink every snapshot that it has time for, until the stream is gone; returns the sink.
pub async fn tell_until_the_end<S: ProgressSink>(
    mut progress: watch::Receiver<Progress>,
    mut sink: S,
) -> S {
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        sink.tell(&now);
    }
    sink
}

impl Progress {
    /// What the stream is at, for people: a stream that waits for a gate or a store that is away
    /// says so.
    pub fn shown(&self, state: State) -> State {
        state.while_away(self.gate_away.is_some(), self.store_away.is_some())
    }

    /// How long the ingestion gate has taken no event; `None` while it answers.
    pub fn gate_away_for(&self) -> Option<Duration> {
        let away = self.gate_away.as_ref()?;
        Some(Duration::from_secs(away.seconds))
    }

    /// When the next event is due, as text in UTC to the second.
    pub fn next_due_text(&self) -> Option<String> {
        let due = DateTime::<Utc>::from(self.next_due?);
        Some(due.to_rfc3339_opts(SecondsFormat::Secs, true))
    }

    /// Sets the number of events expected: the open rows, or the bound of the run if that is less.
    pub fn expect(&mut self, open_rows: u64) {
        self.total = Some(self.max_events.unwrap_or(u64::MAX).min(open_rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ProgressSink for Vec<u64> {
        fn tell(&mut self, progress: &Progress) {
            self.push(progress.durable);
        }
    }

    #[tokio::test]
    async fn a_sink_is_told_of_the_last_snapshot_whatever_it_missed() {
        let progress = watch::Sender::new(Progress::default());
        let telling = tokio::spawn(tell_until_the_end(progress.subscribe(), Vec::new()));
        for durable in 1..=100 {
            progress.send_modify(|progress| progress.durable = durable);
        }
        drop(progress);
        assert_eq!(telling.await.unwrap().last(), Some(&100));
    }
}
