//! A redrive under way: one event after the other, what is acknowledged recorded in batches.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{RedriveReport, RedriveStatus, RefusedEvent};
use crate::Error;
use push::{Decision, PushLane, PushOutcome, Pusher, Refusal};
use replay::ending::Ending;
use replay::lanes::lane::what_to_do;
use replay::quarantine::QuarantinedEvent;
use replay::quarantine::prefix::Waiting;
use replay::quarantine::redriven::{Closed, Closing, RedrivenFile};

/// Acknowledged events that are recorded by one sync.
const BATCH: usize = 64;
/// The longest that acknowledged events stay unrecorded while others are pushed.
const RECORD_WITHIN: Duration = Duration::from_millis(500);
/// Events that the gate may fail on one after the other before it is taken to be broken.
const FAILING_IN_A_ROW: u32 = 5;

/// What follows from one event.
enum Ended {
    /// Something final is known of it: the next one.
    Settled,
    /// The redrive was stopped.
    Stopped,
}

/// Pushes what waits.
pub(super) struct Pushing<'a, L> {
    pusher: Pusher<L>,
    ending: &'a Ending,
    endpoint: &'a str,
    /// Absent once recording failed.
    redriven: Option<RedrivenFile>,
    /// Acknowledged, and not recorded yet.
    delivered: Vec<(Closed, Decision)>,
    recorded_at: Instant,
    failing_in_a_row: u32,
    report: &'a mut RedriveReport,
}

impl<'a, L: PushLane> Pushing<'a, L> {
    pub(super) fn new(
        pusher: Pusher<L>,
        ending: &'a Ending,
        endpoint: &'a str,
        redriven: RedrivenFile,
        report: &'a mut RedriveReport,
    ) -> Self {
        Self {
            pusher,
            ending,
            endpoint,
            redriven: Some(redriven),
            delivered: Vec::with_capacity(BATCH),
            recorded_at: Instant::now(),
            failing_in_a_row: 0,
            report,
        }
    }

    /// Pushes every event once; what was acknowledged is recorded, however it ends.
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
        match ended? {
            RedriveStatus::Redriven if !self.report.refused.is_empty() => Err(Error::new(
                replay::ReasonCode::IgPushRejected,
                format!(
                    "The ingestion gate {} did not take {} events; the report lists them.",
                    self.endpoint,
                    self.report.refused.len()
                ),
                "They stay in the quarantine: mend what it names, and redrive again.",
            )),
            status => Ok(status),
        }
    }

    async fn push_each(
        &mut self,
        feed: &mut mpsc::Receiver<Result<Waiting, replay::Error>>,
    ) -> Result<RedriveStatus, Error> {
        while let Some(waiting) = feed.recv().await {
            if self.ending.is_winding_down() {
                return Ok(RedriveStatus::Stopped);
            }
            let Waiting { event, line } = waiting?;
            let outcome = self.pusher.push(event.envelope.clone()).await;
            if let Ended::Stopped = self.ended(outcome, event, line)? {
                return Ok(RedriveStatus::Stopped);
            }
            let is_due = self.recorded_at.elapsed() >= RECORD_WITHIN;
            if self.delivered.len() >= BATCH || is_due {
                self.record().await?;
            }
        }
        Ok(RedriveStatus::Redriven)
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
                self.refused(event, refusal);
                Ok(Ended::Settled)
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
            "The ingestion gate {gate} {said} for row {} of {} (output {}).",
            place.row, place.file, event.output_id
        );
        Error::new(code, what, fix)
    }

    fn refused(&mut self, event: QuarantinedEvent, refusal: Refusal) {
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
        self.recorded_at = Instant::now();
        if self.delivered.is_empty() {
            return Ok(());
        }
        let Some(mut file) = self.redriven.take() else {
            return Ok(());
        };
        let delivered = std::mem::take(&mut self.delivered);
        let writing = tokio::task::spawn_blocking(move || {
            let closed: Vec<_> = delivered.iter().map(|(closed, _)| closed.clone()).collect();
            file.record(&closed)?;
            Ok::<_, Error>((file, delivered))
        });
        let (file, delivered) = writing.await.map_err(|panic| {
            let fix = "Look for a panic above this line and report it; redrive again.";
            let what = "Recording what was redriven ended too early.";
            Error::caused(replay::ReasonCode::StreamInternal, what, fix, panic)
        })??;
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
