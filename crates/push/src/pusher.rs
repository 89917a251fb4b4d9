//! One event, pushed until something final is known about it.

use std::error::Error as StdError;
use std::fmt;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use durable::{SystemRandom, TokioClock};
use model::{Clock, Random, with_causes};

use super::answer::{self, Decision, NO_ANSWER, Refusal, Verdict};
use super::client::PushLane;
use super::concurrency::Permit;
use super::fault::{FaultKind, PushFault};
use super::gate_watch::{GateWatch, RetryCause};
use super::leave::{ASK_AGAIN, Leave, PostLeave, always};
use super::retry::Next;
use super::retry_after::RetryAfter;
use super::stop::{Ear, Stop};
use super::suspects::{Before, Suspicion};

/// How long an event must have been asked to slow down before it can be singled out for that.
const SLOWED_FOR: Duration = Duration::from_secs(30);
/// How long an event must have been in doubt before it is given up.
const DOUBTED_FOR: Duration = Duration::from_secs(30);
/// How long other events rest so that a suspected one is tried alone.
const OTHERS_REST: Duration = Duration::from_secs(2);

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
    Rejected {
        /// The answer.
        refusal: Refusal,
        /// Posts made.
        attempts: u32,
    },
    /// The gate said 2xx but not what it decided: `IG_RESPONSE_UNKNOWN`.
    Unknown(Refusal),
    /// Only with [`RetryPolicy::single_out`](super::RetryPolicy::single_out): the gate failed on
    /// this event alone. [`retry`](super::retry) says what that takes.
    ///
    /// With one lane, or while nothing else is sent, no event can be told to fail alone: the gate is
    /// then taken to be away.
    SingledOut {
        /// The last answer.
        refusal: Refusal,
        /// Posts made.
        attempts: u32,
    },
    /// After `max_attempts` answers and 30 s the gate still does not know whether the event is on
    /// its bus: `IG_PUBLISH_AMBIGUOUS`.
    InDoubt {
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
    /// The [`Stop`] was thrown first, or there was no [`Leave`] to post any more.
    Cancelled {
        /// Whether the gate may have the event all the same.
        maybe_sent: bool,
    },
}

/// How a try failed. Its text is whole, causes included.
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
            Self::Fault(fault) => f.write_str(&with_causes(fault)),
            Self::Answer(refusal) => write!(f, "the ingestion gate answered {refusal}"),
        }
    }
}

impl StdError for Failure {}

impl Failure {
    /// The failure as what an event is refused for.
    fn into_refusal(self) -> Refusal {
        match self {
            Self::Answer(refusal) => refusal,
            Self::Fault(fault) => Refusal {
                status: NO_ANSWER,
                excerpt: with_causes(&fault),
                reason_codes: Vec::new(),
            },
        }
    }
}

/// Drives one lane by the retry policy. What it shares with the other lanes is the [`GateWatch`].
pub struct Pusher<L, C = TokioClock> {
    lane: L,
    watch: Arc<GateWatch<C>>,
    ear: Ear,
    random: Box<dyn Random>,
    one_by_one: bool,
    leave: Arc<dyn PostLeave>,
}

impl<L: fmt::Debug, C: fmt::Debug> fmt::Debug for Pusher<L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher")
            .field("lane", &self.lane)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

impl<L: PushLane, C: Clock> Pusher<L, C> {
    /// A pusher over `lane` that ends when `stop` is thrown.
    pub fn new(lane: L, watch: Arc<GateWatch<C>>, stop: &Stop) -> Self {
        Self {
            lane,
            watch,
            ear: stop.ear(),
            random: Box::new(SystemRandom::default()),
            one_by_one: false,
            leave: always(),
        }
    }

    /// Takes jitter from a source of the caller's own, in place of the system's.
    #[must_use]
    pub fn with_random(mut self, random: impl Random + 'static) -> Self {
        self.random = Box::new(random);
        self
    }

    /// Asks `leave` immediately before each post whether it may be made.
    #[must_use]
    pub fn asking(mut self, leave: Arc<dyn PostLeave>) -> Self {
        self.leave = leave;
        self
    }

    /// Gives an event up as [`PushOutcome::SingledOut`] once its fast attempts are over, without
    /// waiting for others to pass meanwhile, and after 30 s of being asked to slow down: for who
    /// pushes one event after the other, would never hear of any, and compares them itself. A
    /// connection that is never made is the gate's fault all the same.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.one_by_one = true;
        self
    }

    /// Pushes one envelope until something final is known.
    ///
    /// Dropping the future is like throwing the [`Stop`], without an outcome.
    pub async fn push(&mut self, body: Bytes) -> PushOutcome {
        if body.len() > self.watch.max_event_bytes {
            return self.too_large(body.len());
        }
        let mut trial = Trial::default();
        let drive = Drive {
            lane: &mut self.lane,
            watch: &self.watch,
            random: &mut *self.random,
            one_by_one: self.one_by_one,
            leave: &*self.leave,
            trial: &mut trial,
        };
        let outcome = {
            let driven = pin!(drive.run(body));
            self.ear.unless_stopped(driven).await
        };
        outcome.unwrap_or(PushOutcome::Cancelled {
            maybe_sent: trial.maybe_sent,
        })
    }
}

impl<L, C> Pusher<L, C> {
    #[cold]
    fn too_large(&self, bytes: usize) -> PushOutcome {
        let most = self.watch.max_event_bytes;
        PushOutcome::Rejected {
            refusal: Refusal {
                status: NO_ANSWER,
                excerpt: format!(
                    "not sent: the envelope has {bytes} bytes, and `wsp_push.max_event_bytes` is {most}"
                ),
                reason_codes: Vec::new(),
            },
            attempts: 0,
        }
    }
}

/// What is known of one event so far.
#[derive(Debug, Default)]
struct Trial<'a> {
    attempts: u32,
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
    /// How often the gate did not know whether it has the event, and since when.
    doubts: u32,
    doubted: Option<Instant>,
    last_cause: Option<RetryCause>,
    maybe_sent: bool,
}

struct Drive<'a, 'w, L, C> {
    lane: &'a mut L,
    watch: &'w GateWatch<C>,
    random: &'a mut dyn Random,
    one_by_one: bool,
    leave: &'a dyn PostLeave,
    trial: &'a mut Trial<'w>,
}

/// What follows from one try.
enum Step {
    Done(PushOutcome),
    Again(Duration),
}

impl<'w, L: PushLane, C: Clock> Drive<'_, 'w, L, C> {
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
        let permit = if self.trial.is_alone {
            watch.limit.acquire().await
        } else {
            quiet_and_permit(watch).await
        };
        match self.leave.ask(self.trial.maybe_sent) {
            Leave::Now => {}
            Leave::Later => {
                // By then the others rest no longer.
                self.trial.is_alone = false;
                return Step::Again(ASK_AGAIN);
            }
            Leave::Never => {
                return Step::Done(PushOutcome::Cancelled {
                    maybe_sent: self.trial.maybe_sent,
                });
            }
        }
        if let Some(cause) = self.trial.last_cause {
            watch.retries().count(cause);
        }
        let unsent_before = !mem::replace(&mut self.trial.maybe_sent, true);
        self.trial.attempts += 1;
        let began_at = watch.clock.now();
        let sent_at = *self.trial.sent_at.get_or_insert_with(|| {
            self.trial.before = watch.suspects.now();
            began_at
        });
        let posted = self.lane.post(body.clone()).await;
        let now = watch.clock.now();
        let answer = match posted {
            Ok(answer) => answer,
            Err(fault) => {
                let kind = fault.kind();
                if fault.is_stale() {
                    // An idle connection that closed says nothing about gate or event.
                    self.trial.last_cause = Some(RetryCause::of_fault(kind));
                    return Step::Again(Duration::ZERO);
                }
                if kind == FaultKind::Timeout {
                    permit.congested();
                }
                self.trial.maybe_sent = !(unsent_before && kind.never_sent());
                return self.failed(now, RetryCause::of_fault(kind), Failure::Fault(fault));
            }
        };
        let outcome = match answer::judge(&answer, &watch.transient_errors) {
            Verdict::Acknowledged(decision) => PushOutcome::Acknowledged {
                decision,
                attempts: self.trial.attempts,
                sent_at,
                acked_at: now,
            },
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
    fn away(&mut self, now: Instant, refusal: Refusal) -> Step {
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
    fn in_doubt(&mut self, now: Instant, refusal: Refusal) -> Step {
        let watch = self.watch;
        watch.answered();
        self.trial.failing = None;
        self.trial.is_alone = false;
        self.trial.doubts += 1;
        self.trial.last_cause = Some(RetryCause::InDoubt);
        let since = *self.trial.doubted.get_or_insert(now);
        let left = DOUBTED_FOR.saturating_sub(now - since);
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
        refusal: Refusal,
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
            Failure::Fault(fault) if fault.kind().never_sent() => false,
            _ if self.one_by_one => true,
            _ => self.watch.policy.single_out && self.suspicion().others_passed(),
        }
    }

    /// What follows if the gate asks this event to slow down and no other: after
    /// `max_attempts` such answers and [`SLOWED_FOR`], one more try while all others rest, and
    /// then the event is singled out.
    fn slowed_alone(&mut self, now: Instant, refusal: &Refusal) -> Option<Step> {
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

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "a leaping clock begins at the machine's, and a push lives on a task"
    )]

    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    use std::time::SystemTime;

    use futures::FutureExt;

    use super::*;
    use crate::client::Answer;
    use crate::concurrency::ConcurrencyLimit;
    use crate::retry::RetryPolicy;

    const S: Duration = Duration::from_secs(1);

    /// Time that passes only by sleeping, and then at once.
    #[derive(Debug, Clone)]
    struct LeapClock {
        origin: Instant,
        slept: Arc<Mutex<Duration>>,
        /// No sleep ends.
        frozen: Arc<AtomicBool>,
    }

    impl LeapClock {
        fn new() -> Self {
            Self {
                origin: Instant::now(),
                slept: Arc::default(),
                frozen: Arc::default(),
            }
        }

        fn elapsed(&self) -> Duration {
            *self.slept.lock().unwrap()
        }
    }

    impl Clock for LeapClock {
        fn now(&self) -> Instant {
            self.origin + self.elapsed()
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + self.elapsed()
        }

        async fn sleep(&self, delay: Duration) {
            if self.frozen.load(SeqCst) {
                std::future::pending::<()>().await;
            }
            *self.slept.lock().unwrap() += delay;
            tokio::task::yield_now().await;
        }
    }

    /// Answers by a script; its last line for ever. Each post takes no time.
    struct ScriptedLane {
        script: VecDeque<Reply>,
        posts: Arc<AtomicUsize>,
        /// What happens elsewhere while a post is under way.
        meanwhile: Box<dyn FnMut() + Send>,
    }

    #[derive(Clone)]
    enum Reply {
        Status(u16, Option<RetryAfter>),
        Says(u16, &'static str),
        Fault(FaultKind),
        Stale,
        Never,
    }

    const ADMIT: Reply = Reply::Status(200, None);
    const UNHEALTHY: &str = r#"{"error":"IG_UNHEALTHY"}"#;
    const IN_FLIGHT: &str = r#"{"error":"PUBLISH_IN_FLIGHT_RETRY"}"#;
    const AMBIGUOUS: &str =
        r#"{"decision":"QUARANTINE","receipt":{"reason_codes":["PUBLISH_AMBIGUOUS"]}}"#;

    impl PushLane for ScriptedLane {
        async fn post(&mut self, _: Bytes) -> Result<Answer, PushFault> {
            self.posts.fetch_add(1, SeqCst);
            (self.meanwhile)();
            let reply = match self.script.len() {
                1 => self.script[0].clone(),
                _ => self.script.pop_front().unwrap(),
            };
            let body = match reply {
                Reply::Status(200, _) => br#"{"decision":"ADMIT"}"#,
                Reply::Says(_, text) => text.as_bytes(),
                _ => &b"no"[..],
            };
            let body = Bytes::from_static(body);
            let (reply, body) = match reply {
                Reply::Says(status, _) => (Reply::Status(status, None), body),
                reply => (reply, body),
            };
            match reply {
                Reply::Status(status, retry_after) => Ok(Answer {
                    status,
                    retry_after,
                    body,
                    overlong: false,
                    location: None,
                }),
                Reply::Fault(kind) => Err(kind.into()),
                Reply::Stale => {
                    Err(PushFault::from(FaultKind::ClosedEarly).before_any_answer(true))
                }
                Reply::Never | Reply::Says(..) => std::future::pending().await,
            }
        }
    }

    struct Bench {
        watch: Arc<GateWatch<LeapClock>>,
        clock: LeapClock,
        stop: Stop,
        posts: Arc<AtomicUsize>,
    }

    impl Bench {
        fn new(policy: RetryPolicy) -> Self {
            let clock = LeapClock::new();
            let limit = ConcurrencyLimit::adaptive(4);
            let watch = Arc::new(GateWatch::with_clock(policy, limit, clock.clone()));
            Self {
                watch,
                clock,
                stop: Stop::new(),
                posts: Arc::default(),
            }
        }

        fn pusher(
            &self,
            script: impl IntoIterator<Item = Reply>,
        ) -> Pusher<ScriptedLane, LeapClock> {
            self.pusher_with(script, || ())
        }

        /// So many others pass while a post is under way.
        fn others(&self, count: usize) -> impl Fn() + Send + 'static {
            let watch = Arc::clone(&self.watch);
            move || {
                watch.answered();
                (0..count).for_each(|_| watch.suspects.passed());
            }
        }

        fn pusher_with(
            &self,
            script: impl IntoIterator<Item = Reply>,
            meanwhile: impl FnMut() + Send + 'static,
        ) -> Pusher<ScriptedLane, LeapClock> {
            let lane = ScriptedLane {
                script: script.into_iter().collect(),
                posts: Arc::clone(&self.posts),
                meanwhile: Box::new(meanwhile),
            };
            Pusher::new(lane, Arc::clone(&self.watch), &self.stop)
        }

        async fn push(&self, script: impl IntoIterator<Item = Reply>) -> PushOutcome {
            self.pusher(script).push(Bytes::new()).await
        }

        fn retried(&self, cause: RetryCause) -> u64 {
            self.watch.retries().get(cause)
        }
    }

    fn attempts(outcome: &PushOutcome) -> u32 {
        match outcome {
            PushOutcome::Acknowledged { attempts, .. }
            | PushOutcome::GaveUp { attempts, .. }
            | PushOutcome::SingledOut { attempts, .. }
            | PushOutcome::InDoubt { attempts, .. }
            | PushOutcome::Rejected { attempts, .. } => *attempts,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn every_failure_is_retried_until_the_acknowledgement_and_counted_by_its_cause() {
        let bench = Bench::new(RetryPolicy::default());
        let script = [
            Reply::Fault(FaultKind::ConnectRefused),
            Reply::Fault(FaultKind::BodyTruncated),
            Reply::Fault(FaultKind::Timeout),
            Reply::Status(408, None),
            Reply::Status(429, None),
            Reply::Status(503, None),
            Reply::Status(502, None),
            Reply::Says(400, UNHEALTHY),
            Reply::Says(400, IN_FLIGHT),
            ADMIT,
        ];
        let outcome = bench.push(script).await;
        let PushOutcome::Acknowledged {
            decision,
            attempts,
            sent_at,
            acked_at,
        } = outcome
        else {
            panic!("{outcome:?}")
        };
        assert_eq!((decision, attempts), (Decision::Admit, 10));
        assert_eq!(
            acked_at - sent_at,
            bench.clock.elapsed(),
            "sent when first sent"
        );
        for cause in RetryCause::ALL {
            assert_eq!(bench.retried(cause), 1, "{}", cause.as_str());
        }
        assert_eq!(bench.watch.retries().total(), 9);
    }

    /// Gives leave by a script, its last line for ever, and remembers what it was asked.
    #[derive(Debug)]
    struct ScriptedLeave {
        script: Mutex<VecDeque<Leave>>,
        asked: Mutex<Vec<bool>>,
    }

    impl ScriptedLeave {
        fn new(script: impl IntoIterator<Item = Leave>) -> Arc<Self> {
            Arc::new(Self {
                script: Mutex::new(script.into_iter().collect()),
                asked: Mutex::default(),
            })
        }
    }

    impl PostLeave for ScriptedLeave {
        fn ask(&self, was_posted: bool) -> Leave {
            self.asked.lock().unwrap().push(was_posted);
            let mut script = self.script.lock().unwrap();
            match script.len() {
                1 => script[0],
                _ => script.pop_front().unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn leave_is_asked_before_every_post_and_waited_for() {
        let bench = Bench::new(RetryPolicy::default());
        let leave = ScriptedLeave::new([Leave::Later, Leave::Later, Leave::Now]);
        let script = [Reply::Status(503, None), Reply::Stale, ADMIT];
        let mut pusher = bench.pusher(script).asking(leave.clone());
        let outcome = pusher.push(Bytes::new()).await;
        assert_eq!(attempts(&outcome), 3, "no wait for leave is an attempt");
        let asked = leave.asked.lock().unwrap();
        assert_eq!(*asked, [false, false, false, true, true]);
        assert_eq!(bench.watch.retries().total(), 2);
    }

    #[tokio::test]
    async fn without_leave_nothing_is_posted_nor_posted_again() {
        for (script, maybe_sent) in [
            (vec![Leave::Never], false),
            (vec![Leave::Later, Leave::Never], false),
            (vec![Leave::Now, Leave::Never], true),
            (vec![Leave::Now, Leave::Later, Leave::Never], true),
        ] {
            let bench = Bench::new(RetryPolicy::default());
            let leave = ScriptedLeave::new(script);
            let mut pusher = bench.pusher([Reply::Status(503, None)]).asking(leave);
            let outcome = pusher.push(Bytes::new()).await;
            assert!(
                matches!(outcome, PushOutcome::Cancelled { maybe_sent: maybe } if maybe == maybe_sent),
                "{outcome:?}"
            );
            assert_eq!(bench.posts.load(SeqCst), usize::from(maybe_sent));
        }
    }

    #[tokio::test]
    async fn a_gate_that_stays_away_is_given_up_when_the_patience_ends() {
        let bench = Bench::new(RetryPolicy::default());
        let outcome = bench.push([Reply::Fault(FaultKind::ConnectRefused)]).await;
        let PushOutcome::GaveUp {
            attempts,
            failing,
            last,
        } = outcome
        else {
            panic!("{outcome:?}")
        };
        assert_eq!((failing, bench.clock.elapsed()), (900 * S, 900 * S));
        // Fast ones first, then one in five seconds, then one at the end.
        assert!((180..=186).contains(&attempts), "{attempts}");
        assert!(last.to_string().contains("refused"), "{last}");
        assert_eq!(bench.watch.away_for(), Some(900 * S));
    }

    #[tokio::test]
    async fn an_event_in_doubt_is_asked_for_30_s_and_then_given_up_by_itself() {
        let policy = RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::default()
        };
        for single_out in [true, false] {
            let bench = Bench::new(RetryPolicy {
                single_out,
                ..policy
            });
            let later = Reply::Says(400, r#"{"error":"PUBLISH_AMBIGUOUS_RETRY"}"#);
            let script = [Reply::Says(200, AMBIGUOUS), later];
            let outcome = bench.push(script).await;
            let PushOutcome::InDoubt { refusal, attempts } = &outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(refusal.status, 400);
            assert!(
                *attempts >= 3 && bench.clock.elapsed() == 30 * S,
                "{outcome:?}"
            );
            assert_eq!(bench.retried(RetryCause::InDoubt), u64::from(*attempts) - 1);
            assert_eq!(bench.watch.away_for(), None, "the gate is there");
        }
        // Few fast tries are not enough where their waits are long.
        let bench = Bench::new(RetryPolicy {
            max_attempts: 40,
            ..policy
        });
        let outcome = bench.push([Reply::Says(400, IN_FLIGHT)]).await;
        assert_eq!(attempts(&outcome), 40);
        assert!(bench.clock.elapsed() >= 30 * S);
    }

    #[tokio::test]
    async fn an_event_in_doubt_that_the_gate_finds_is_acknowledged() {
        let bench = Bench::new(RetryPolicy::default());
        let duplicate = Reply::Says(200, r#"{"decision":"DUPLICATE"}"#);
        let script = [Reply::Says(503, r#"{"error":"retry_required"}"#), duplicate];
        let outcome = bench.push(script).await;
        assert!(
            matches!(
                outcome,
                PushOutcome::Acknowledged {
                    decision: Decision::Duplicate,
                    attempts: 2,
                    ..
                }
            ),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn a_gate_that_says_it_is_unwell_is_away_and_no_event_is_to_blame() {
        let bench = Bench::new(RetryPolicy {
            single_out: true,
            ..RetryPolicy::default()
        });
        // Others pass meanwhile, as they do when the gate gets well.
        let mut pusher = bench.pusher_with([Reply::Says(400, UNHEALTHY)], bench.others(50));
        let outcome = pusher.push(Bytes::new()).await;
        assert!(matches!(outcome, PushOutcome::GaveUp { .. }), "{outcome:?}");
        assert!(bench.clock.elapsed() >= 900 * S);
    }

    #[tokio::test]
    async fn a_name_that_the_profile_adds_is_transient_and_any_other_is_final() {
        let clock = LeapClock::new();
        let limit = ConcurrencyLimit::adaptive(4);
        let watch = GateWatch::with_clock(RetryPolicy::default(), limit, clock)
            .with_transient_errors(vec!["WARMING_UP".to_owned()]);
        let mut bench = Bench::new(RetryPolicy::default());
        bench.watch = Arc::new(watch);
        let script = [Reply::Says(400, r#"{"error":"WARMING_UP"}"#), ADMIT];
        let outcome = bench.push(script).await;
        assert!(
            matches!(outcome, PushOutcome::Acknowledged { .. }),
            "{outcome:?}"
        );
        assert_eq!(bench.retried(RetryCause::GateUnhealthy), 1);
        let outcome = bench.push([Reply::Says(400, r#"{"error":"COLD"}"#)]).await;
        assert!(
            matches!(outcome, PushOutcome::Rejected { .. }),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn an_envelope_above_the_limit_is_refused_before_it_is_sent() {
        let mut bench = Bench::new(RetryPolicy::default());
        let limit = ConcurrencyLimit::adaptive(4);
        let watch = GateWatch::with_clock(RetryPolicy::default(), limit, LeapClock::new())
            .with_max_event_bytes(10);
        bench.watch = Arc::new(watch);
        let mut pusher = bench.pusher([ADMIT]);
        let fits = pusher.push(Bytes::from_static(&[b'x'; 10])).await;
        assert!(matches!(fits, PushOutcome::Acknowledged { .. }));
        let outcome = pusher.push(Bytes::from_static(&[b'x'; 11])).await;
        let PushOutcome::Rejected {
            refusal,
            attempts: 0,
        } = &outcome
        else {
            panic!("{outcome:?}")
        };
        assert!(refusal.to_string().contains("max_event_bytes"), "{refusal}");
        assert_eq!(bench.posts.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn the_patience_is_that_of_all_lanes_together() {
        let bench = Bench::new(RetryPolicy::default());
        bench.push([Reply::Status(500, None)]).await;
        let outcome = bench.push([Reply::Status(500, None)]).await;
        assert_eq!(
            attempts(&outcome),
            5,
            "known to be away: the fast attempts are all"
        );
        assert!(bench.clock.elapsed() < 905 * S);
    }

    #[tokio::test]
    async fn an_answer_to_any_lane_ends_the_absence() {
        let bench = Bench::new(RetryPolicy::default());
        bench.push([Reply::Status(500, None)]).await;
        bench.clock.frozen.store(true, SeqCst);
        for status in [400, 200, 429] {
            assert!(bench.watch.away_for().is_some());
            // A 429 goes on to wait.
            let _ = bench.push([Reply::Status(status, None)]).now_or_never();
            assert_eq!(bench.watch.away_for(), None, "{status}");
            bench.watch.failed(bench.clock.now());
        }
    }

    #[tokio::test]
    async fn an_event_held_back_by_429_starts_its_patience_anew() {
        let bench = Bench::new(RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        });
        let minutes = Some(RetryAfter::Delay(300 * S));
        let mut script = vec![Reply::Status(500, None)];
        script.extend(vec![Reply::Status(429, minutes); 4]);
        script.extend([Reply::Status(500, None), ADMIT]);
        assert_eq!(attempts(&bench.push(script).await), 7);
    }

    #[tokio::test]
    async fn an_event_that_fails_alone_is_singled_out_if_that_is_wanted() {
        for single_out in [true, false] {
            let bench = Bench::new(RetryPolicy {
                single_out,
                ..RetryPolicy::default()
            });
            // Other lanes get their answers all the while.
            let others_pass = bench.others(10);
            let script = [Reply::Status(500, None)];
            let outcome = bench
                .pusher_with(script, others_pass)
                .push(Bytes::new())
                .await;
            match outcome {
                PushOutcome::SingledOut { refusal, attempts } => {
                    assert!(single_out);
                    assert_eq!((refusal.status, attempts), (500, 5));
                }
                PushOutcome::GaveUp { failing, .. } => {
                    assert!(!single_out);
                    assert_eq!(failing, 900 * S);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_event_that_fails_with_all_others_is_not_singled_out() {
        let policy = RetryPolicy {
            single_out: true,
            ..RetryPolicy::default()
        };
        let bench = Bench::new(policy);
        let outcome = bench.push([Reply::Status(500, None)]).await;
        assert!(matches!(outcome, PushOutcome::GaveUp { .. }), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_fault_of_the_connection_is_the_events_own_if_twenty_others_passed() {
        use FaultKind as Kind;
        for (kind, others, is_own) in [
            (Kind::Reset, 10, true),
            (Kind::ClosedEarly, 10, true),
            (Kind::Timeout, 10, true),
            (Kind::BodyTruncated, 10, true),
            // Five tries: 15 others.
            (Kind::Reset, 3, false),
            // The gate never saw the event.
            (Kind::ConnectRefused, 10, false),
        ] {
            let bench = Bench::new(RetryPolicy {
                single_out: true,
                give_up_after: Duration::ZERO,
                ..RetryPolicy::default()
            });
            let pushed = bench.pusher_with([Reply::Fault(kind)], bench.others(others));
            let outcome = { pushed }.push(Bytes::new()).await;
            let is_singled_out = match &outcome {
                PushOutcome::SingledOut { refusal, attempts } => {
                    assert_eq!((refusal.status, *attempts), (NO_ANSWER, 5));
                    true
                }
                PushOutcome::GaveUp { .. } => false,
                other => panic!("{other:?}"),
            };
            assert_eq!(is_singled_out, is_own, "{kind:?}, {others}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn an_event_that_alone_is_asked_to_slow_down_is_singled_out_after_a_try_alone() {
        for status in [408, 429, 503] {
            let bench = Bench::new(RetryPolicy {
                single_out: true,
                ..RetryPolicy::default()
            });
            let script = [Reply::Status(status, None)];
            let outcome = bench.pusher_with(script, bench.others(200));
            let outcome = { outcome }.push(Bytes::new()).await;
            let PushOutcome::SingledOut { refusal, attempts } = outcome else {
                panic!("{status}: {outcome:?}")
            };
            assert_eq!(refusal.status, status);
            assert!(
                attempts > 5 && bench.clock.elapsed() >= SLOWED_FOR,
                "{status}"
            );
        }
    }

    #[tokio::test]
    async fn one_event_that_is_slowed_down_for_ever_ends_a_stream_that_sets_nothing_aside() {
        for status in [429, 503] {
            let bench = Bench::new(RetryPolicy::default());
            let script = [Reply::Status(status, None)];
            let mut pusher = bench.pusher_with(script, bench.others(200));
            let outcome = pusher.push(Bytes::new()).await;
            assert!(matches!(outcome, PushOutcome::GaveUp { .. }), "{outcome:?}");
            assert!(bench.clock.elapsed() >= 900 * S, "{status}");
        }
    }

    #[tokio::test]
    async fn a_rate_limit_that_meets_others_too_singles_nothing_out() {
        let bench = Bench::new(RetryPolicy {
            single_out: true,
            ..RetryPolicy::default()
        });
        let (pass, watch) = (bench.others(50), Arc::clone(&bench.watch));
        let meanwhile = move || {
            pass();
            watch.suspects.suspect(watch.suspects.now()).slowed();
        };
        let mut script = vec![Reply::Status(429, None); 200];
        script.push(ADMIT);
        let outcome = bench
            .pusher_with(script, meanwhile)
            .push(Bytes::new())
            .await;
        assert_eq!(attempts(&outcome), 201);
        assert!(bench.clock.elapsed() > SLOWED_FOR);
        assert!(
            matches!(outcome, PushOutcome::Acknowledged { .. }),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_accepted_ends_the_stream_after_the_fast_attempts() {
        let bench = Bench::new(RetryPolicy::default());
        let outcome = bench.push([Reply::Fault(FaultKind::Certificate)]).await;
        let PushOutcome::GaveUp { attempts, last, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(attempts, 5);
        assert!(last.to_string().contains("certificate"), "{last}");
    }

    #[tokio::test]
    async fn an_idle_connection_that_closed_is_no_failure_and_costs_no_wait() {
        let bench = Bench::new(RetryPolicy {
            give_up_after: Duration::ZERO,
            max_attempts: 1,
            ..RetryPolicy::default()
        });
        let outcome = bench.push([Reply::Stale, ADMIT]).await;
        assert_eq!(attempts(&outcome), 2);
        assert_eq!(bench.clock.elapsed(), Duration::ZERO);
        assert_eq!(bench.retried(RetryCause::ConnectionLost), 1);
        assert_eq!(bench.watch.away_for(), None);
    }

    #[tokio::test]
    async fn backpressure_is_no_failure_however_often() {
        let policy = RetryPolicy {
            give_up_after: Duration::ZERO,
            ..RetryPolicy::default()
        };
        let bench = Bench::new(policy);
        let mut script = vec![Reply::Status(429, None); 1000];
        script.push(Reply::Status(500, None));
        script.push(ADMIT);
        let outcome = bench.push(script).await;
        assert_eq!(attempts(&outcome), 1002);
        assert_eq!(bench.retried(RetryCause::Http429), 1000);
    }

    #[tokio::test]
    async fn a_gate_that_only_says_503_is_away_and_one_that_says_429_is_not() {
        let bench = Bench::new(RetryPolicy::default());
        let minute = Some(RetryAfter::Delay(60 * S));
        let outcome = bench.push([Reply::Status(503, minute)]).await;
        assert_eq!(attempts(&outcome), 16);
        assert_eq!(bench.clock.elapsed(), 900 * S);

        let bench = Bench::new(RetryPolicy::default());
        let mut script = vec![Reply::Status(429, minute); 100];
        script.push(ADMIT);
        bench.push(script).await;
        assert_eq!(bench.clock.elapsed(), 6000 * S);
    }

    #[tokio::test]
    async fn a_retry_after_heard_by_one_lane_holds_all() {
        for (status, after) in [
            (503, RetryAfter::Delay(7 * S)),
            (429, RetryAfter::At(SystemTime::UNIX_EPOCH + 7 * S)),
        ] {
            let bench = Bench::new(RetryPolicy::default());
            bench.clock.frozen.store(true, SeqCst);
            assert!(
                bench
                    .push([Reply::Status(status, Some(after))])
                    .now_or_never()
                    .is_none()
            );
            assert_eq!(bench.watch.held_for(), Some(7 * S));
            assert!(bench.push([ADMIT]).now_or_never().is_none());
            assert_eq!(bench.posts.load(SeqCst), 1, "the other lane sent nothing");
            bench.clock.frozen.store(false, SeqCst);
            bench.push([ADMIT]).await;
            assert_eq!(bench.clock.elapsed(), 7 * S);
            assert_eq!(bench.watch.held_for(), None);
        }
    }

    #[tokio::test]
    async fn what_is_final_is_not_retried() {
        for status in [301, 400, 401, 404, 409, 413, 422] {
            let bench = Bench::new(RetryPolicy::default());
            let outcome = bench.push([Reply::Status(status, None)]).await;
            assert!(
                matches!(&outcome, PushOutcome::Rejected { refusal, attempts: 1 } if refusal.status == status),
                "{outcome:?}"
            );
            assert_eq!(bench.posts.load(SeqCst), 1);
        }
    }

    #[tokio::test]
    async fn a_stop_ends_a_push_and_says_whether_the_gate_may_have_it() {
        let refused = Reply::Fault(FaultKind::ConnectRefused);
        let lost = Reply::Fault(FaultKind::Reset);
        for (script, maybe) in [
            (vec![refused.clone()], false),
            (vec![Reply::Never], true),
            (vec![refused.clone(), Reply::Never], true),
            (vec![lost, refused], true),
        ] {
            let bench = Bench::new(RetryPolicy::default());
            let (stop, posts) = (bench.stop.clone(), Arc::clone(&bench.posts));
            let enough = script.len();
            let mut pusher = bench.pusher_with(script, || ());
            let push = tokio::spawn(async move { pusher.push(Bytes::new()).await });
            while posts.load(SeqCst) < enough {
                tokio::task::yield_now().await;
            }
            stop.throw();
            let outcome = push.await.unwrap();
            assert!(
                matches!(outcome, PushOutcome::Cancelled { maybe_sent } if maybe_sent == maybe),
                "{outcome:?}, not {maybe}"
            );
        }
    }

    #[tokio::test]
    async fn after_a_stop_nothing_is_sent() {
        let bench = Bench::new(RetryPolicy::default());
        bench.stop.throw();
        let outcome = bench.push([ADMIT]).await;
        assert!(
            matches!(outcome, PushOutcome::Cancelled { maybe_sent: false }),
            "{outcome:?}"
        );
        assert_eq!(bench.posts.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn congestion_narrows_the_concurrency_and_good_answers_widen_it() {
        let bench = Bench::new(RetryPolicy::default());
        let script = vec![
            Reply::Status(429, None),
            Reply::Fault(FaultKind::Timeout),
            ADMIT,
        ];
        let mut pusher = bench.pusher(script);
        pusher.push(Bytes::new()).await;
        assert_eq!(
            bench.watch.concurrency(),
            Some(2),
            "cut to 1, and one good answer"
        );
        for _ in 0..20 {
            pusher.push(Bytes::new()).await;
        }
        assert_eq!(bench.watch.concurrency(), Some(4));
    }
}
