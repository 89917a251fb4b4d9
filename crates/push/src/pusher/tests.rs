//! Pushes by a scripted lane and a clock that leaps: what every answer and fault comes to.

#![allow(
    clippy::disallowed_methods,
    reason = "a leaping clock begins at the machine's, and a push lives on a task"
)]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;

use super::*;
use crate::answer::Decision;
use crate::client::Answer;
use crate::concurrency::ConcurrencyLimit;
use crate::drive::SLOWED_FOR;
use crate::fault::{FaultKind, PushFault};
use crate::leave::Leave;
use crate::leave::Posted;
use crate::retries::RetryCause;
use crate::retry::RetryPolicy;
use crate::retry_after::RetryAfter;

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
            Reply::Stale => Err(PushFault::from(FaultKind::ClosedEarly).before_any_answer(true)),
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

    fn pusher(&self, script: impl IntoIterator<Item = Reply>) -> Pusher<ScriptedLane, LeapClock> {
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
        ..
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
    asked: Mutex<Vec<Posted>>,
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
    fn ask(&self, posted: Posted) -> Leave {
        self.asked.lock().unwrap().push(posted);
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
    let (never, maybe) = (Posted::Never, Posted::MaybeSent);
    assert_eq!(*asked, [never, never, never, maybe, maybe]);
    assert_eq!(bench.watch.retries().total(), 2);
}

#[tokio::test]
async fn leave_is_told_whether_an_earlier_post_may_have_reached_the_gate() {
    let bench = Bench::new(RetryPolicy::default());
    let leave = ScriptedLeave::new([Leave::Now]);
    let refused = Reply::Fault(FaultKind::ConnectRefused);
    let mut pusher = bench
        .pusher([refused, Reply::Status(503, None), ADMIT])
        .asking(leave.clone());
    pusher.push(Bytes::new()).await.into_decision().unwrap();
    let asked = leave.asked.lock().unwrap();
    let wanted = [Posted::Never, Posted::NotSent, Posted::MaybeSent];
    assert_eq!(*asked, wanted);
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
