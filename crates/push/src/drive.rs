//! One event on its way: tries and pauses until something final is known.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Bug, Clock, Random};

use super::answer::{self, AnswerDetails, Decision, GateRefusal, Verdict};
use super::client::PushLane;
use super::concurrency::Permit;
use super::fault::{FaultKind, PushFault};
use super::gate_watch::GateWatch;
use super::leave::{ASK_AGAIN, Leave, PostLeave, Posted};
use super::outcome::{Failure, PushOutcome};
use super::retries::RetryCause;
use super::retry::Next;
use super::retry_after::RetryAfter;
use super::suspects::{Before, Suspicion};

/// How long an event must have been asked to slow down before it can be singled out for that.
pub(crate) const SLOWED_FOR: Duration = Duration::from_secs(30);
/// How long an event must have been in doubt before it is given up.
const DOUBTED_FOR: Duration = Duration::from_secs(30);
/// How long other events rest so that a suspected one is tried alone.
const OTHERS_REST: Duration = Duration::from_secs(2);

/// What is known of one event so far.
#[derive(Debug, Default)]
pub(crate) struct Trial<'a> {
    attempts: u32,
    /// Whether leave was given for a post of the event.
    was_let: bool,
    failures: u32,
    backpressure: u32,
    sent_at: Option<Instant>,
    /// What had become of others when it was first posted.
    before: Before,
    /// Since when it has been failing.
    failing: Option<Instant>,
    /// What became of others since it was not taken for the first time.
    suspicion: Option<Suspicion<'a>>,
    /// Since when it has been asked to slow down, and whether others rest for its next try.
    slowed: Option<Instant>,
    is_alone: bool,
    /// Whether the lane was connected for the last try.
    was_ready: bool,
    /// How often the gate did not know whether it has the event, and since when.
    doubts: u32,
    doubted: Option<Instant>,
    last_cause: Option<RetryCause>,
    /// Whether the gate may have the event.
    pub(crate) maybe_sent: bool,
}

/// Drives a lane until something final is known of one event.
pub(crate) struct Drive<'a, 'w, L, C> {
    pub(crate) lane: &'a mut L,
    pub(crate) watch: &'w GateWatch<C>,
    pub(crate) random: &'a mut dyn Random,
    /// Whether an event that fails alone is given up without waiting for others to pass.
    pub(crate) one_by_one: bool,
    pub(crate) leave: &'a dyn PostLeave,
    /// Whether what every answer says is kept, beside its decision.
    pub(crate) keeps_answers: bool,
    pub(crate) trial: &'a mut Trial<'w>,
}

impl Trial<'_> {
    fn posted(&self) -> Posted {
        match (self.maybe_sent, self.was_let) {
            (true, _) => Posted::MaybeSent,
            (false, true) => Posted::NotSent,
            (false, false) => Posted::Never,
        }
    }
}

/// What follows from one try.
enum Step {
    Done(PushOutcome),
    Again(Duration),
}

impl<'w, L: PushLane, C: Clock> Drive<'_, 'w, L, C> {
    pub(crate) async fn run(mut self, body: Bytes) -> PushOutcome {
        loop {
            match self.attempt(&body).await {
                Step::Done(outcome) => return outcome,
                Step::Again(wait) => self.watch.clock.sleep(wait).await,
            }
        }
    }

    async fn attempt(&mut self, body: &Bytes) -> Step {
        let watch = self.watch;
        let permit = if self.trial.is_alone {
            watch.limit.acquire().await
        } else {
            quiet_and_permit(watch).await
        };
        if self.leave.is_over(self.trial.posted()) {
            return self.cancelled();
        }
        // Before leave is asked for: to connect may take longer than a lease lasts.
        let ready = self.lane.ready().await;
        let leave = match &ready {
            Ok(()) => self.leave.ask(self.trial.posted()),
            Err(_) => Leave::Now,
        };
        match leave {
            Leave::Now => {}
            Leave::Later => {
                // By then the others rest no longer.
                self.trial.is_alone = false;
                return Step::Again(ASK_AGAIN);
            }
            Leave::Never => return self.cancelled(),
        }
        self.trial.was_let |= ready.is_ok();
        if let Some(cause) = self.trial.last_cause {
            watch.retries().count(cause);
        }
        let unsent_before = !mem::replace(&mut self.trial.maybe_sent, true);
        self.trial.was_ready = ready.is_ok();
        let is_unsent = unsent_before && ready.is_err();
        self.trial.attempts += 1;
        let began_at = watch.clock.now();
        let sent_at = *self.trial.sent_at.get_or_insert_with(|| {
            self.trial.before = watch.suspects.now();
            began_at
        });
        let posted = match ready {
            Ok(()) => self.lane.post(body.clone()).await,
            Err(fault) => Err(fault),
        };
        let now = watch.clock.now();
        let answer = match posted {
            Ok(answer) => answer,
            Err(fault) => {
                if fault.kind() == FaultKind::Timeout && !fault.is_stale() {
                    permit.congested();
                }
                let is_unsent = is_unsent || unsent_before && fault.kind().never_sent();
                return self.faulted(fault, is_unsent, (sent_at, now));
            }
        };
        let outcome = match answer::judge(&answer, &watch.transient_errors) {
            Verdict::Acknowledged(decision) => PushOutcome::Acknowledged {
                decision,
                attempts: self.trial.attempts,
                sent_at,
                acked_at: now,
                details: (self.keeps_answers || decision == Decision::Quarantine)
                    .then(|| Box::new(AnswerDetails::of(&answer))),
            },
            Verdict::Rejected(_)
                if Bug::FinalAnswerIsRetried.is_planted() && self.trial.attempts == 1 =>
            {
                return Step::Again(Duration::ZERO);
            }
            Verdict::Rejected(refusal) => PushOutcome::Rejected {
                refusal,
                attempts: self.trial.attempts,
            },
            Verdict::Unknown(refusal) => PushOutcome::Unknown(refusal),
            Verdict::Backpressure {
                retry_after,
                refusal,
            } => {
                permit.congested();
                if Bug::SlowingDownIsAFault.is_planted() {
                    let cause = RetryCause::of_status(refusal.status);
                    return self.failed(now, cause, Failure::Answer(refusal));
                }
                return self.held_back(now, retry_after, refusal);
            }
            Verdict::Away(refusal) => return self.away(now, refusal),
            Verdict::InDoubt(refusal) => return self.in_doubt(now, refusal),
            Verdict::Retry(refusal) => {
                let cause = RetryCause::of_status(refusal.status);
                return self.failed(now, cause, Failure::Answer(refusal));
            }
        };
        permit.answered(watch.since_origin(now), now - began_at);
        watch.answered();
        if let PushOutcome::Acknowledged { .. } = outcome {
            watch.suspects.passed();
        }
        Step::Done(outcome)
    }

    /// No whole answer came to a post; `is_unsent` says that no byte of the event ever left.
    fn faulted(
        &mut self,
        fault: PushFault,
        is_unsent: bool,
        (sent_at, now): (Instant, Instant),
    ) -> Step {
        let cause = RetryCause::of_fault(fault.kind());
        if Bug::CutIsAcknowledged.is_planted() && fault.kind() == FaultKind::Reset {
            return Step::Done(PushOutcome::Acknowledged {
                decision: Decision::Admit,
                attempts: self.trial.attempts,
                sent_at,
                acked_at: now,
                details: None,
            });
        }
        if fault.is_stale() {
            // An idle connection that closed says nothing about gate or event.
            self.trial.last_cause = Some(cause);
            return Step::Again(Duration::ZERO);
        }
        self.trial.maybe_sent = !is_unsent;
        self.failed(now, cause, Failure::Fault(fault))
    }

    fn cancelled(&self) -> Step {
        Step::Done(PushOutcome::Cancelled {
            maybe_sent: self.trial.maybe_sent,
        })
    }

    fn failed(&mut self, now: Instant, cause: RetryCause, failure: Failure) -> Step {
        let policy = self.watch.policy;
        let failing = self.failing(now);
        self.watch
            .trouble()
            .failed(self.watch.failed(now), failure.to_string());
        self.trial.failures += 1;
        self.trial.last_cause = Some(cause);
        let is_exhausted = policy.is_exhausted(self.trial.failures);
        match &failure {
            Failure::Answer(refusal) if refusal.status == 408 => {
                if let Some(step) = self.slowed_alone(now, refusal) {
                    return step;
                }
            }
            _ => {
                self.trial.is_alone = false;
                if is_exhausted && self.fails_alone(&failure) {
                    return self.singled_out(failure);
                }
            }
        }
        let is_final =
            matches!(&failure, Failure::Fault(fault) if fault.kind() == FaultKind::Certificate);
        let next = if is_exhausted && is_final {
            Next::GiveUp
        } else {
            policy.after_failure(self.trial.failures, failing, self.random.unit())
        };
        self.next(next, failing, failure)
    }

    /// What follows if the gate says that it takes no event at all: no event is to blame.
    fn away(&mut self, now: Instant, refusal: GateRefusal) -> Step {
        let failure = Failure::Answer(refusal);
        let failing = self.failing(now);
        let watch = self.watch;
        watch
            .trouble()
            .failed(watch.failed(now), failure.to_string());
        self.trial.failures += 1;
        self.trial.last_cause = Some(RetryCause::GateUnhealthy);
        self.trial.is_alone = false;
        let random = self.random.unit();
        let next = watch
            .policy
            .after_failure(self.trial.failures, failing, random);
        self.next(next, failing, failure)
    }

    /// What follows if the gate does not know whether it has the event: the same id again, since
    /// it may find out, and after `max_attempts` tries and [`DOUBTED_FOR`] no more.
    fn in_doubt(&mut self, now: Instant, refusal: GateRefusal) -> Step {
        let watch = self.watch;
        watch.answered();
        self.trial.failing = None;
        self.trial.is_alone = false;
        self.trial.doubts += 1;
        self.trial.last_cause = Some(RetryCause::InDoubt);
        let since = *self.trial.doubted.get_or_insert(now);
        let mut left = DOUBTED_FOR.saturating_sub(now - since);
        if Bug::DoubtIsGivenUpAtOnce.is_planted() {
            left = Duration::ZERO;
        }
        if left.is_zero() && watch.policy.is_exhausted(self.trial.doubts) {
            let attempts = self.trial.attempts;
            return Step::Done(PushOutcome::InDoubt { refusal, attempts });
        }
        let wait = watch.policy.jitter(self.trial.doubts, self.random.unit());
        // One more try just when the time is over.
        Step::Again(if left.is_zero() { wait } else { wait.min(left) })
    }

    fn held_back(
        &mut self,
        now: Instant,
        retry_after: Option<RetryAfter>,
        refusal: GateRefusal,
    ) -> Step {
        let watch = self.watch;
        let failing = if refusal.status == 503 {
            let failing = self.failing(now);
            let said = format!("the ingestion gate answered {refusal}");
            watch.trouble().failed(watch.failed(now), said);
            Some(failing)
        } else {
            watch.answered();
            self.trial.failing = None;
            None
        };
        self.trial.backpressure += 1;
        self.trial.last_cause = Some(RetryCause::of_status(refusal.status));
        if let Some(step) = self.slowed_alone(now, &refusal) {
            return step;
        }
        let asked = retry_after.map(|after| after.delay_from(watch.clock.wall()));
        let times = self.trial.backpressure;
        let next = watch
            .policy
            .after_backpressure(times, asked, failing, self.random.unit());
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
        let since = *self.trial.failing.get_or_insert(now);
        self.suspicion();
        gate.max(now - since)
    }

    fn suspicion(&mut self) -> &mut Suspicion<'w> {
        let suspects = &self.watch.suspects;
        let suspicion = &mut self.trial.suspicion;
        let before = self.trial.before;
        suspicion.get_or_insert_with(|| suspects.suspect(before))
    }

    /// Whether a fault, or an answer that says the gate failed, is this event's own.
    fn fails_alone(&mut self, failure: &Failure) -> bool {
        match failure {
            // No event can be blamed for a connection that was never made.
            Failure::Fault(_) if !self.trial.was_ready => false,
            Failure::Fault(fault) if fault.kind().never_sent() => false,
            _ if self.one_by_one => true,
            _ => self.watch.policy.single_out && self.suspicion().others_passed(),
        }
    }

    /// What follows if the gate asks this event to slow down and no other: after
    /// `max_attempts` such answers and [`SLOWED_FOR`], one more try while all others rest, and
    /// then the event is singled out.
    fn slowed_alone(&mut self, now: Instant, refusal: &GateRefusal) -> Option<Step> {
        let policy = self.watch.policy;
        let suspicion = self.suspicion();
        suspicion.slowed();
        let (passed, unslowed) = (suspicion.others_passed(), suspicion.others_unslowed());
        let since = *self.trial.slowed.get_or_insert(now);
        let times = self.trial.backpressure + self.trial.failures;
        if self.one_by_one {
            let is_over = policy.is_exhausted(times) && now - since >= SLOWED_FOR;
            return is_over.then(|| self.singled_out(Failure::Answer(refusal.clone())));
        }
        if mem::take(&mut self.trial.is_alone) {
            return Some(self.singled_out(Failure::Answer(refusal.clone())));
        }
        let is_suspect = policy.single_out
            && policy.is_exhausted(times)
            && now - since >= SLOWED_FOR
            && passed
            && unslowed;
        if !is_suspect {
            // A gate that asks all to slow down may do so for ever; one event it may not.
            let is_given_up = now - since >= policy.give_up_after && passed && unslowed;
            return (is_given_up && !policy.single_out).then(|| {
                let last = Failure::Answer(refusal.clone());
                self.next(Next::GiveUp, now - since, last)
            });
        }
        self.trial.is_alone = true;
        self.watch.hold(now, OTHERS_REST);
        // What others have in flight is answered by then.
        Some(Step::Again(OTHERS_REST / 2))
    }

    fn singled_out(&self, failure: Failure) -> Step {
        let attempts = self.trial.attempts;
        let refusal = failure.into_refusal();
        Step::Done(PushOutcome::SingledOut { refusal, attempts })
    }
}

/// Waits until the gate is not asking for quiet, and for a permit to send.
async fn quiet_and_permit<C: Clock>(watch: &GateWatch<C>) -> Permit<'_> {
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
