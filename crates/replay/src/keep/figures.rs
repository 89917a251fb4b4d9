//! What a stream comes to, as its keeper counts it: told a few times a second, and recorded over
//! time. On the way of an event there are but a few additions here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Clock as _, SharedClock};
use push::Decision;

use crate::decisions::Decisions;
use crate::keep::cursors::KeptOutput;
use crate::keep::hdr_log::{HdrLog, LatenessLogs};
use crate::keep::lateness::{Lateness, LatenessReport};
use crate::lanes::gate_figures::ReadGate;
use crate::tell::counters::{
    CheckpointCounts, Counters, LatenessHistograms, OutagesReport, OutputCounters,
};
use crate::tell::meters::Meters;
use crate::tell::state::State;
use crate::tell::timeline::Timeline;
use crate::tell::timeline_report::TimelineReport;
use crate::time::WallNs;

/// The figures of one running stream.
pub(crate) struct Figures {
    clock: SharedClock,
    began: Instant,
    gate: ReadGate,
    active: ActiveTime,
    decisions: Decisions,
    decisions_of: Vec<Decisions>,
    refused: u64,
    lateness: Lateness,
    histograms: Arc<LatenessHistograms>,
    timeline: Timeline,
}

/// When an event was due, sent and answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) due: WallNs,
    pub(crate) sent: WallNs,
    pub(crate) answered: WallNs,
}

/// What is read beside the keeper's own counts.
pub(crate) struct Beside<'a> {
    pub(crate) meters: &'a Meters,
    pub(crate) outputs: &'a [KeptOutput],
    pub(crate) checkpoints: CheckpointCounts,
    pub(crate) outages: OutagesReport,
}

impl Figures {
    /// The figures of a stream over `outputs` outputs that begins now.
    pub(crate) fn new(clock: SharedClock, outputs: usize, gate: ReadGate) -> Self {
        Self {
            began: clock.now(),
            timeline: Timeline::new(clock.wall()),
            clock,
            gate,
            active: ActiveTime::default(),
            decisions: Decisions::default(),
            decisions_of: vec![Decisions::default(); outputs],
            refused: 0,
            lateness: Lateness::default(),
            histograms: Arc::default(),
        }
    }

    /// Counts an event of an output that the gate acknowledged; `moments` where it had a due time.
    pub(crate) fn acknowledged(
        &mut self,
        output: usize,
        decision: Decision,
        moments: Option<Moments>,
    ) {
        self.decisions.count(decision);
        self.decisions_of[output].count(decision);
        if let Some(Moments {
            due,
            sent,
            answered,
        }) = moments
        {
            self.lateness.record(due, sent, answered);
        }
    }

    /// Counts an event that the gate would not have.
    pub(crate) fn refused(&mut self) {
        self.refused += 1;
    }

    /// The stream is at another state.
    pub(crate) fn turned(&mut self, state: State) {
        let now = self.clock.now();
        self.active.turn(now, state.may_send());
    }

    /// Reads all counts, and records them in the timeline.
    pub(crate) fn tell(&mut self, beside: Beside<'_>) -> Counters {
        let now = self.clock.now();
        let new = self.lateness.take_new();
        if new != LatenessHistograms::default() {
            // Whoever was told last may still read it.
            let mut histograms = LatenessHistograms::clone(&self.histograms);
            histograms.add(&new);
            self.histograms = Arc::new(histograms);
        }
        let gate = (self.gate)();
        let outputs = beside.outputs.iter().enumerate();
        let outputs = outputs.map(|(index, output)| {
            let reading = beside.meters.reading(index);
            OutputCounters {
                output_id: output.key().output_id().clone(),
                acknowledged: self.decisions_of[index].total(),
                quarantined: reading.quarantined,
            }
        });
        let counters = Counters {
            elapsed_ns: nanos(now.saturating_duration_since(self.began)),
            active_ns: nanos(self.active.until(now)),
            acknowledged: self.decisions,
            refused: self.refused,
            retries: gate.retries,
            permits_in_use: gate.permits_in_use,
            permits_allowed: gate.permits_allowed,
            buffered: beside.meters.read_all().buffered,
            checkpoints: beside.checkpoints,
            outages: beside.outages,
            outputs: outputs.collect(),
            lateness: Arc::clone(&self.histograms),
        };
        self.timeline.record(&counters, &new);
        counters
    }

    /// How late the last event was sent, in milliseconds.
    pub(crate) fn latest_lateness_ms(&self) -> f64 {
        self.lateness.latest_ms()
    }

    /// Events by the gate's decision.
    pub(crate) fn decisions(&self) -> Decisions {
        self.decisions
    }

    /// What the counts came to.
    pub(crate) fn close(self, outputs: &[KeptOutput]) -> Closed {
        let ids = outputs.iter().map(|output| output.key().output_id());
        let (send, ack) = self.lateness.all();
        Closed {
            timeline: self.timeline.report(ids),
            lateness: self.lateness.report(),
            lateness_logs: LatenessLogs {
                send: HdrLog::of(send),
                ack: HdrLog::of(ack),
            },
            refused: self.refused,
            decisions_of: self.decisions_of,
        }
    }
}

/// What the counts of a stream came to.
pub(crate) struct Closed {
    pub(crate) decisions_of: Vec<Decisions>,
    pub(crate) refused: u64,
    pub(crate) lateness: LatenessReport,
    pub(crate) lateness_logs: LatenessLogs,
    pub(crate) timeline: TimelineReport,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The time in which events might leave.
#[derive(Debug, Default)]
struct ActiveTime {
    over: Duration,
    since: Option<Instant>,
}

impl ActiveTime {
    fn turn(&mut self, now: Instant, is_active: bool) {
        self.over = self.until(now);
        self.since = is_active.then_some(now);
    }

    fn until(&self, now: Instant) -> Duration {
        let current = self.since.map(|since| now.saturating_duration_since(since));
        self.over + current.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "any moment will do as the first one"
    )]

    use super::*;

    #[test]
    fn time_in_which_nothing_may_leave_is_not_active_time() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut active = ActiveTime::default();
        assert_eq!(active.until(at(5)), Duration::ZERO, "not yet running");
        active.turn(at(5), State::Running.may_send());
        assert_eq!(active.until(at(7)), Duration::from_secs(2));
        active.turn(at(8), State::Paused.may_send());
        assert_eq!(active.until(at(100)), Duration::from_secs(3));
        active.turn(at(100), State::HeldBack.may_send());
        active.turn(at(101), State::Running.may_send());
        assert_eq!(active.until(at(102)), Duration::from_secs(5));
    }
}
