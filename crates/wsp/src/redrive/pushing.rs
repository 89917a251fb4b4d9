//! A redrive under way: one event after the other, what is acknowledged recorded in batches.

use std::time::{Duration, Instant};

use model::Clock as _;
use tokio::sync::mpsc;

use super::source::Closings;
use super::{RedriveReport, RedriveStatus, RefusedEvent};
use crate::Error;
use crate::blocking::blocking_as;
use push::{Decision, GateRefusal, PushLane, PushOutcome, Pusher};
use replay::{Closed, Closing, Ending, QuarantinedEvent, Waiting, what_to_do};

/// Acknowledged events that are recorded by one sync.
const BATCH: usize = 64;
/// The longest that acknowledged events stay unrecorded while others are pushed.
const RECORD_WITHIN: Duration = Duration::from_millis(500);
/// Events that the gate may fail on one after the other before it is taken to be broken.
const FAILING_IN_A_ROW: u32 = 5;

/// Events that passed by, which are held in memory to be tried once more at the end.
const TRIED_AGAIN: usize = 64;

/// The two ways in which one event is pushed, over the same knowledge of the gate.
pub(super) struct Pushers<L> {
    /// Gives an event up after its fast attempts, so that others tell whose fault it is.
    pub(super) probing: Pusher<L>,
    /// Waits for a gate that is away.
    pub(super) patient: Pusher<L>,
}

/// What follows from one event.
enum Ended {
    /// Something final is known of it: the next one.
    Settled,
    /// It was not taken, and whether that is its own fault or the gate's is not known.
    Unclear(GateRefusal),
    /// The redrive was stopped.
    Stopped,
}

/// Pushes what waits.
pub(super) struct Pushing<'a, L> {
    pushers: Pushers<L>,
    ending: &'a Ending,
    endpoint: &'a str,
    /// Absent once recording failed.
    redriven: Option<Box<dyn Closings>>,
    /// Acknowledged, and not recorded yet.
    delivered: Vec<(Closed, Decision)>,
    recorded_at: Instant,
    failing_in_a_row: u32,
    /// Events that were not taken one after the other, with no answer for another between them.
    unclear: Vec<(Waiting, GateRefusal)>,
    /// Events that were not taken while others were.
    passed_by: Vec<(Waiting, GateRefusal)>,
    /// Whether the gate took an event, or refused one for good.
    is_gate_there: bool,
    report: &'a mut RedriveReport,
}

impl<'a, L: PushLane> Pushing<'a, L> {
    pub(super) fn new(
        pushers: Pushers<L>,
        ending: &'a Ending,
        endpoint: &'a str,
        redriven: Box<dyn Closings>,
        report: &'a mut RedriveReport,
    ) -> Self {
        Self {
            pushers,
            ending,
            endpoint,
            redriven: Some(redriven),
            delivered: Vec::with_capacity(BATCH),
            recorded_at: ending.clock().now(),
            failing_in_a_row: 0,
            unclear: Vec::new(),
            passed_by: Vec::new(),
            is_gate_there: false,
            report,
        }
    }

    /// Pushes every event once; what was acknowledged is recorded, however it ends. What was refused
    /// again is in the report.
    ///
    /// # Errors
    /// `IG_PUSH_REJECTED`, `IG_RESPONSE_UNKNOWN`, `IG_PUSH_RETRY_EXHAUSTED`,
    /// `QUARANTINE_UNWRITABLE`, `QUARANTINE_UNREADABLE`.
    pub(super) async fn push_all(
        mut self,
        mut feed: mpsc::Receiver<Result<Waiting, replay::Error>>,
    ) -> Result<RedriveStatus, Error> {
        let ended = self.push_each(&mut feed).await;
        self.record().await?;
        ended
    }

    /// Pushes what waits, in file order. Of events that are not taken, the ones around them tell
    /// whose fault it is: those that others pass are left for a second try at the end; where
    /// [`FAILING_IN_A_ROW`] fail, the gate is away, and the first of them is waited with.
    async fn push_each(
        &mut self,
        feed: &mut mpsc::Receiver<Result<Waiting, replay::Error>>,
    ) -> Result<RedriveStatus, Error> {
        loop {
            if self.ending.is_winding_down() {
                return Ok(RedriveStatus::Stopped);
            }
            let Some(waiting) = feed.recv().await else {
                break;
            };
            if !self.probe(waiting?).await? {
                return Ok(RedriveStatus::Stopped);
            }
        }
        if !self.is_gate_there && !self.wait_for_gate().await? {
            return Ok(RedriveStatus::Stopped);
        }
        self.pass_by();
        for (waiting, refusal) in std::mem::take(&mut self.passed_by) {
            if self.ending.is_winding_down() {
                return Ok(RedriveStatus::Stopped);
            }
            let event = waiting.event.clone();
            let body = event.envelope.clone();
            let outcome = self.pushers.probing.push(body).await;
            match self.ended(outcome, waiting.event, waiting.line)? {
                Ended::Settled => {}
                Ended::Unclear(_) => self.refused(event, refusal),
                Ended::Stopped => return Ok(RedriveStatus::Stopped),
            }
        }
        Ok(RedriveStatus::Redriven)
    }

    /// Pushes one event without patience; `false` once the redrive is stopped.
    async fn probe(&mut self, waiting: Waiting) -> Result<bool, Error> {
        let Waiting { event, line } = waiting;
        let body = event.envelope.clone();
        let outcome = self.pushers.probing.push(body).await;
        match self.ended(outcome, event.clone(), line)? {
            Ended::Settled => self.pass_by(),
            Ended::Stopped => return Ok(false),
            Ended::Unclear(refusal) => {
                self.unclear.push((Waiting { event, line }, refusal));
                let is_away = self.unclear.len() >= FAILING_IN_A_ROW as usize;
                if is_away && !self.wait_for_gate().await? {
                    return Ok(false);
                }
            }
        }
        let is_due = self.ending.clock().since(self.recorded_at) >= RECORD_WITHIN;
        if self.delivered.len() >= BATCH || is_due {
            self.record().await?;
        }
        Ok(true)
    }

    /// Waits with the unclear events, in their order, for a gate that is away; `false` once the
    /// redrive is stopped. None of them is passed by another.
    async fn wait_for_gate(&mut self) -> Result<bool, Error> {
        for (waiting, _) in std::mem::take(&mut self.unclear) {
            let Waiting { event, line } = waiting;
            let body = event.envelope.clone();
            let outcome = self.pushers.patient.push(body).await;
            match self.ended(outcome, event.clone(), line)? {
                Ended::Settled => {}
                Ended::Unclear(refusal) => self.refused(event, refusal),
                Ended::Stopped => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Others were answered: the unclear events failed alone.
    fn pass_by(&mut self) {
        for (waiting, refusal) in std::mem::take(&mut self.unclear) {
            if self.passed_by.len() < TRIED_AGAIN {
                self.passed_by.push((waiting, refusal));
            } else {
                self.refused(waiting.event, refusal);
            }
        }
    }

    /// Takes down what became of an event; an error, where no other can be pushed.
    fn ended(
        &mut self,
        outcome: PushOutcome,
        event: QuarantinedEvent,
        line: u64,
    ) -> Result<Ended, Error> {
        let failed = |code, said: String, fix| Err(self.failed(code, &said, &event, fix));
        match outcome {
            PushOutcome::Acknowledged { decision, .. } => {
                self.failing_in_a_row = 0;
                self.is_gate_there = true;
                let event_id = event.event_id;
                let closed = Closed {
                    event_id,
                    line,
                    why: Closing::Delivered(decision),
                };
                self.delivered.push((closed, decision));
                Ok(Ended::Settled)
            }
            PushOutcome::Rejected { refusal, .. } if refusal.judges_the_sender() => failed(
                replay::ReasonCode::IgPushRejected,
                format!("answered {refusal}"),
                what_to_do(&refusal),
            ),
            PushOutcome::Rejected { refusal, .. } | PushOutcome::InDoubt { refusal, .. } => {
                self.failing_in_a_row = 0;
                self.is_gate_there = true;
                self.refused(event, refusal);
                Ok(Ended::Settled)
            }
            // No answer at all, or one that says nothing of the event.
            PushOutcome::SingledOut { refusal, .. } if matches!(refusal.status, 0 | 429 | 503) => {
                Ok(Ended::Unclear(refusal))
            }
            PushOutcome::SingledOut { refusal, attempts } => {
                self.failing_in_a_row += 1;
                if self.failing_in_a_row < FAILING_IN_A_ROW {
                    self.refused(event, refusal);
                    return Ok(Ended::Settled);
                }
                let said = format!(
                    "fails on one event after the other ({attempts} tries, the last: {refusal})"
                );
                let fix = "Look at its log; redrive again once it is well.";
                Err(self.failed(replay::ReasonCode::IgPushRetryExhausted, &said, &event, fix))
            }
            PushOutcome::Unknown(refusal) => failed(
                replay::ReasonCode::IgResponseUnknown,
                format!("answered without a decision ({refusal})"),
                "Look whether `ig_ingest_url` names an ingestion gate; redrive again.",
            ),
            PushOutcome::GaveUp { attempts, last, .. } => failed(
                replay::ReasonCode::IgPushRetryExhausted,
                format!("did not take an event in {attempts} tries (the last: {last})"),
                "Bring it back; redrive again, and it goes on here.",
            ),
            PushOutcome::Cancelled { .. } => Ok(Ended::Stopped),
        }
    }

    fn failed(
        &self,
        code: replay::ReasonCode,
        said: &str,
        event: &QuarantinedEvent,
        fix: &str,
    ) -> Error {
        let (gate, place) = (self.endpoint, &event.position);
        let what = format!(
            "The ingestion gate {gate} {said} for row {} of {} (output {})",
            place.row, place.file, event.output_id
        );
        Error::new(code, what, fix)
    }

    fn refused(&mut self, event: QuarantinedEvent, refusal: GateRefusal) {
        self.report.refused.push(RefusedEvent {
            event_id: event.event_id,
            output_id: event.output_id,
            file: event.position.file,
            row: event.position.row,
            status: refusal.status,
            body_excerpt: refusal.excerpt,
            reason_codes: refusal.reason_codes,
        });
    }

    /// Makes what was acknowledged durable, then counts it.
    async fn record(&mut self) -> Result<(), Error> {
        self.recorded_at = self.ending.clock().now();
        if self.delivered.is_empty() {
            return Ok(());
        }
        let Some(mut file) = self.redriven.take() else {
            return Ok(());
        };
        let delivered = std::mem::take(&mut self.delivered);
        let what = "Recording what was redriven ended too early";
        let writing = blocking_as(what, move || {
            let closed: Vec<_> = delivered.iter().map(|(closed, _)| closed.clone()).collect();
            file.record(&closed)?;
            Ok::<_, replay::Error>((file, delivered))
        });
        let (file, delivered) = writing.await?;
        self.redriven = Some(file);
        for (_, decision) in &delivered {
            let decisions = &mut self.report.decisions;
            *match decision {
                Decision::Admit => &mut decisions.admit,
                Decision::Duplicate => &mut decisions.duplicate,
                Decision::Quarantine => &mut decisions.quarantine,
            } += 1;
        }
        self.report.redriven += delivered.len() as u64;
        self.report.waiting -= delivered.len() as u64;
        Ok(())
    }
}
