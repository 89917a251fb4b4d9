//! One event, pushed until something final is known about it.

use std::error::Error as StdError;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::answer::{self, Decision, Refusal, Verdict};
use super::client::PushLane;
use super::clock::{Clock, TokioClock};
use super::concurrency::Permit;
use super::fault::{FaultKind, PushFault};
use super::gate_watch::{GateWatch, RetryCause};
use super::retry::Next;
use super::retry_after::RetryAfter;
use super::stop::{Ear, Stop};

/// What became of an event.
#[derive(Debug)]
pub enum PushOutcome {
    /// The gate has it.
    Acknowledged {
        /// What the gate decided.
        decision: Decision,
        /// Posts it took.
        attempts: u32,
        /// When its first post began.
        sent_at: Instant,
        /// When the acknowledgement was whole.
        acked_at: Instant,
    },
    /// The gate will not have it: `IG_PUSH_REJECTED`.
    Rejected(Refusal),
    /// The gate said 2xx but not what it decided: `IG_RESPONSE_UNKNOWN`.
    Unknown(Refusal),
    /// Only with [`RetryPolicy::single_out`](super::RetryPolicy::single_out): the gate answered this event with 5xx
    /// `max_attempts` times and took others meanwhile.
    ///
    /// With one lane, or while nothing else is sent, no event can be told to fail alone: the gate is
    /// then taken to be away.
    SingledOut {
        /// The last answer.
        refusal: Refusal,
        /// Posts made.
        attempts: u32,
    },
    /// The gate, or this event, kept failing: `IG_PUSH_RETRY_EXHAUSTED`.
    GaveUp {
        /// Posts made.
        attempts: u32,
        /// How long it had been failing.
        failing: Duration,
        /// The last failure.
        last: Failure,
    },
    /// The [`Stop`] was thrown first.
    Cancelled {
        /// Whether the gate may have the event all the same.
        maybe_sent: bool,
    },
}

/// How a try failed.
#[derive(Debug)]
pub enum Failure {
    /// No whole answer came.
    Fault(PushFault),
    /// The gate answered that it failed (408, 5xx).
    Answer(Refusal),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Answer(refusal) => write!(f, "the ingestion gate answered {refusal}"),
        }
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Fault(fault) => fault.source(),
            Self::Answer(_) => None,
        }
    }
}

/// Drives one lane by the retry policy. What it shares with the other lanes is the [`GateWatch`].
#[derive(Debug)]
pub struct Pusher<L, C = TokioClock> {
    lane: L,
    watch: Arc<GateWatch<C>>,
    ear: Ear,
    rng: SmallRng,
}

impl<L: PushLane, C: Clock> Pusher<L, C> {
    /// A pusher over `lane` that ends when `stop` is thrown.
    pub fn new(lane: L, watch: Arc<GateWatch<C>>, stop: &Stop) -> Self {
        Self {
            lane,
            watch,
            ear: stop.ear(),
            rng: rand::make_rng(),
        }
    }

    /// Pushes one envelope until something final is known.
    ///
    /// Dropping the future is like throwing the [`Stop`], without an outcome.
    pub async fn push(&mut self, body: Bytes) -> PushOutcome {
        let mut trial = Trial::default();
        let drive = Drive {
            lane: &mut self.lane,
            watch: &self.watch,
            rng: &mut self.rng,
            trial: &mut trial,
        };
        let outcome = self.ear.unless_stopped(drive.run(body)).await;
        outcome.unwrap_or(PushOutcome::Cancelled {
            maybe_sent: trial.maybe_sent,
        })
    }
}

/// What is known of one event so far.
#[derive(Debug, Default)]
struct Trial {
    attempts: u32,
    failures: u32,
    backpressure: u32,
    sent_at: Option<Instant>,
    /// Since when it has been failing, and how often the gate had come back by then.
    failing: Option<(Instant, u64)>,
    last_cause: Option<RetryCause>,
    maybe_sent: bool,
}

struct Drive<'a, L, C> {
    lane: &'a mut L,
    watch: &'a GateWatch<C>,
    rng: &'a mut SmallRng,
    trial: &'a mut Trial,
}

/// What follows from one try.
enum Step {
    Done(PushOutcome),
    Again(Duration),
}

impl<L: PushLane, C: Clock> Drive<'_, L, C> {
    async fn run(mut self, body: Bytes) -> PushOutcome {
        loop {
            match self.attempt(&body).await {
                Step::Done(outcome) => return outcome,
                Step::Again(wait) => self.watch.clock.sleep(wait).await,
            }
        }
    }

    async fn attempt(&mut self, body: &Bytes) -> Step {
        let watch = self.watch;
        let permit = leave(watch).await;
        if let Some(cause) = self.trial.last_cause {
            watch.retries().count(cause);
        }
        let unsent_before = !mem::replace(&mut self.trial.maybe_sent, true);
        self.trial.attempts += 1;
        let began_at = watch.clock.now();
        let sent_at = *self.trial.sent_at.get_or_insert(began_at);
        let posted = self.lane.post(body.clone()).await;
        let now = watch.clock.now();
        let answer = match posted {
            Ok(answer) => answer,
            Err(fault) => {
                let kind = fault.kind();
                if kind == FaultKind::Timeout {
                    permit.congested();
                }
                self.trial.maybe_sent = !(unsent_before && kind.never_sent());
                return self.failed(now, RetryCause::of_fault(kind), Failure::Fault(fault));
            }
        };
        let outcome = match answer::judge(&answer) {
            Verdict::Acknowledged(decision) => PushOutcome::Acknowledged {
                decision,
                attempts: self.trial.attempts,
                sent_at,
                acked_at: now,
            },
            Verdict::Rejected(refusal) => PushOutcome::Rejected(refusal),
            Verdict::Unknown(refusal) => PushOutcome::Unknown(refusal),
            Verdict::Backpressure {
                retry_after,
                refusal,
            } => {
                permit.congested();
                return self.held_back(now, retry_after, refusal);
            }
            Verdict::Retry(refusal) => {
                let cause = RetryCause::of_status(refusal.status);
                return self.failed(now, cause, Failure::Answer(refusal));
            }
        };
        permit.answered(watch.since_origin(now), now - began_at);
        watch.answered();
        Step::Done(outcome)
    }

    fn failed(&mut self, now: Instant, cause: RetryCause, failure: Failure) -> Step {
        let policy = self.watch.policy;
        let failing = self.failing(now);
        self.trial.failures += 1;
        self.trial.last_cause = Some(cause);
        let next = policy.after_failure(self.trial.failures, failing, self.rng.random());
        match (next, failure) {
            (_, Failure::Answer(refusal)) if policy.single_out && self.fails_alone(&refusal) => {
                let attempts = self.trial.attempts;
                Step::Done(PushOutcome::SingledOut { refusal, attempts })
            }
            (next, last) => self.next(next, failing, last),
        }
    }

    fn held_back(
        &mut self,
        now: Instant,
        retry_after: Option<RetryAfter>,
        refusal: Refusal,
    ) -> Step {
        let watch = self.watch;
        let failing = if refusal.status == 503 {
            Some(self.failing(now))
        } else {
            watch.answered();
            self.trial.failing = None;
            None
        };
        self.trial.backpressure += 1;
        self.trial.last_cause = Some(RetryCause::of_status(refusal.status));
        let asked = retry_after.map(|after| after.delay_from(watch.clock.wall()));
        let times = self.trial.backpressure;
        let next = watch
            .policy
            .after_backpressure(times, asked, failing, self.rng.random());
        if let (Next::Wait(wait), Some(_)) = (next, asked) {
            watch.hold(now, wait);
        }
        self.next(next, failing.unwrap_or_default(), Failure::Answer(refusal))
    }

    fn next(&self, next: Next, failing: Duration, last: Failure) -> Step {
        match next {
            Next::Wait(wait) => Step::Again(wait),
            Next::GiveUp => {
                let attempts = self.trial.attempts;
                Step::Done(PushOutcome::GaveUp {
                    attempts,
                    failing,
                    last,
                })
            }
        }
    }

    /// How long the gate, or else this event alone, has been failing.
    fn failing(&mut self, now: Instant) -> Duration {
        let gate = self.watch.failed(now);
        let returns = self.watch.returns();
        let (since, _) = *self.trial.failing.get_or_insert((now, returns));
        gate.max(now - since)
    }

    /// Whether the gate answers this event with 5xx again and again and took others meanwhile.
    fn fails_alone(&self, refusal: &Refusal) -> bool {
        refusal.status >= 500
            && self.watch.policy.is_exhausted(self.trial.failures)
            && self
                .trial
                .failing
                .is_some_and(|(_, returns)| self.watch.returns() > returns)
    }
}

/// Waits until the gate is not asking for quiet, and for leave to send.
async fn leave<C: Clock>(watch: &GateWatch<C>) -> Permit<'_> {
    loop {
        while let Some(left) = watch.held_for() {
            watch.clock.sleep(left).await;
        }
        let permit = watch.limit.acquire().await;
        if watch.held_for().is_none() {
            return permit;
        }
    }
}
