//! The production client, pusher and gate watch over simulated streams, in simulated time, on one
//! thread, without a runtime: a timer or a socket of tokio's would panic here.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use model::{Clock, Random};
use push::{
    Answer, ClientOptions, ConcurrencyLimit, Connector, Decision, DirectClient, FaultKind,
    GateWatch, PushClient, PushEndpoint, PushFault, PushLane, PushOutcome, Pusher, RetryCause,
    RetryPolicy, Stop,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
/// What a simulated connection takes to be made.
const CONNECTING: Duration = MS;

/// Time that passes when there is nothing else to do.
#[derive(Clone)]
struct SimClock(Arc<Mutex<Time>>);

struct Time {
    origin: Instant,
    passed: Duration,
    sleepers: Vec<(Duration, Waker)>,
}

impl SimClock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Time {
            origin: Instant::now(),
            passed: Duration::ZERO,
            sleepers: Vec::new(),
        })))
    }

    fn passed(&self) -> Duration {
        self.0.lock().unwrap().passed
    }

    /// Goes on to the next moment that somebody sleeps until.
    fn advance(&self) {
        let mut time = self.0.lock().unwrap();
        let next = time.sleepers.iter().map(|(due, _)| *due).min();
        time.passed = next.expect("somebody waits for what will never happen");
        let now = time.passed;
        let due = time.sleepers.extract_if(.., |(due, _)| *due <= now);
        due.for_each(|(_, waker)| waker.wake());
    }

    /// Drives a future to its end.
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
                return done;
            }
            while !woken.0.swap(false, SeqCst) {
                self.advance();
            }
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        let time = self.0.lock().unwrap();
        time.origin + time.passed
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.passed()
    }

    async fn sleep(&self, delay: Duration) {
        let due = self.passed() + delay;
        poll_fn(|cx| {
            let mut time = self.0.lock().unwrap();
            if time.passed >= due {
                return Poll::Ready(());
            }
            time.sleepers.push((due, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// What the gate does on one connection, one act after the other; silence behind the last.
#[derive(Clone)]
enum Act {
    /// Waits until one more whole request has come.
    Request,
    Wait(Duration),
    Say(&'static str),
    Close,
}

use Act::{Close, Request, Say, Wait};

const ADMIT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"decision\":\"ADMIT\"}";

/// Requests as they came, each with the number of its connection.
type Requests = Arc<Mutex<Vec<(usize, Vec<u8>)>>>;

/// A gate: one script a connection; none listens when they are used up.
struct Gate {
    clock: SimClock,
    scripts: Arc<Mutex<VecDeque<Vec<Act>>>>,
    requests: Requests,
    connections: Arc<Mutex<usize>>,
}

impl Connector for Gate {
    type Stream = Stream;

    async fn connect(&self) -> Result<Stream, PushFault> {
        self.clock.sleep(CONNECTING).await;
        let script = self.scripts.lock().unwrap().pop_front();
        let script = script.ok_or(FaultKind::ConnectRefused)?;
        let mut connections = self.connections.lock().unwrap();
        *connections += 1;
        Ok(Stream {
            clock: self.clock.clone(),
            number: *connections,
            script: script.into(),
            pause: None,
            unread: Vec::new(),
            requests: Arc::clone(&self.requests),
        })
    }
}

struct Stream {
    clock: SimClock,
    number: usize,
    script: VecDeque<Act>,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What was written and is no whole request yet.
    unread: Vec<u8>,
    requests: Requests,
}

impl Stream {
    /// The next whole request out of what was written.
    fn take_request(&mut self) -> bool {
        let text = String::from_utf8(self.unread.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head.split_once("content-length: ").unwrap().1;
        if body.len() < length.parse().unwrap() {
            return false;
        }
        let request = std::mem::take(&mut self.unread);
        self.requests.lock().unwrap().push((self.number, request));
        true
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.script.front().cloned() {
                Some(Wait(delay)) => {
                    let clock = self.clock.clone();
                    let pause = self
                        .pause
                        .get_or_insert_with(|| Box::pin(async move { clock.sleep(delay).await }));
                    std::task::ready!(pause.as_mut().poll(cx));
                    self.pause = None;
                }
                Some(Request) if self.take_request() => {}
                Some(Say(text)) => {
                    self.script.pop_front();
                    buffer.put_slice(text.as_bytes());
                    return Poll::Ready(Ok(()));
                }
                Some(Close) => return Poll::Ready(Ok(())),
                // A write comes from the same task, which reads again after it.
                Some(Request) | None => return Poll::Pending,
            }
            self.script.pop_front();
        }
    }
}

impl AsyncWrite for Stream {
    /// Takes a few bytes at a time, so that a request is many writes.
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let some = bytes.len().min(7);
        self.unread.extend_from_slice(&bytes[..some]);
        Poll::Ready(Ok(some))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Jitter that is always the whole delay.
struct Longest;

impl Random for Longest {
    fn bits(&mut self) -> u64 {
        u64::MAX
    }
}

struct Simulation {
    clock: SimClock,
    watch: Arc<GateWatch<SimClock>>,
    client: DirectClient<Gate, SimClock>,
    requests: Requests,
}

impl Simulation {
    fn new(scripts: impl IntoIterator<Item = Vec<Act>>) -> Self {
        let clock = SimClock::new();
        let requests = Arc::default();
        let gate = Gate {
            clock: clock.clone(),
            scripts: Arc::new(Mutex::new(scripts.into_iter().collect())),
            requests: Arc::clone(&requests),
            connections: Arc::default(),
        };
        let endpoint = PushEndpoint::parse("http://gate:8080").unwrap();
        let options = ClientOptions {
            timeout: 30 * S,
            token: None,
        };
        let client = DirectClient::over(gate, clock.clone(), &endpoint, options).unwrap();
        let policy = RetryPolicy {
            max_attempts: 3,
            base_delay: 100 * MS,
            max_delay: S,
            give_up_after: 900 * S,
            single_out: false,
        };
        let limit = ConcurrencyLimit::fixed();
        let watch = Arc::new(GateWatch::with_clock(policy, limit, clock.clone()));
        Self {
            clock,
            watch,
            client,
            requests,
        }
    }

    fn pusher(&self) -> impl FnMut(&'static str) -> PushOutcome {
        let watch = Arc::clone(&self.watch);
        let mut pusher = Pusher::new(self.client.lane(), watch, &Stop::new()).with_random(Longest);
        let clock = self.clock.clone();
        move |body| clock.run(pusher.push(Bytes::from_static(body.as_bytes())))
    }

    /// The bodies that came, each with the number of its connection.
    fn bodies(&self) -> Vec<(usize, String)> {
        let requests = self.requests.lock().unwrap();
        let bodies = requests.iter().map(|(connection, request)| {
            let request = String::from_utf8(request.clone()).unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("POST /v1/ingest/push HTTP/1.1\r\nhost: gate:8080\r\n"));
            (*connection, body.to_owned())
        });
        bodies.collect()
    }
}

/// Posts and time of an acknowledgement.
#[track_caller]
fn acknowledged(outcome: PushOutcome) -> (u32, Duration) {
    match outcome {
        PushOutcome::Acknowledged {
            decision: Decision::Admit,
            attempts,
            sent_at,
            acked_at,
            ..
        } => (attempts, acked_at - sent_at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_exchange_takes_the_time_that_its_gate_takes_and_keeps_its_connection() {
    let simulation = Simulation::new([vec![
        Request,
        Wait(5 * MS),
        Say("HTTP/1.1 200 OK\r\ntransfer-enc"),
        Wait(2 * MS),
        Say("oding: chunked\r\n\r\n14\r\n{\"decision\":"),
        Wait(3 * MS),
        Say("\"ADMIT\"}\r\n0\r\n\r\n"),
        Request,
        Say(ADMIT),
    ]]);
    let mut push = simulation.pusher();
    let first = acknowledged(push("the first body"));
    // A post begins once its lane is connected.
    assert_eq!(first, (1, 10 * MS));
    assert_eq!(acknowledged(push("the second")), (1, Duration::ZERO));
    let bodies = [
        (1, "the first body".to_owned()),
        (1, "the second".to_owned()),
    ];
    assert_eq!(simulation.bodies(), bodies);
}

#[test]
fn a_kept_connection_that_closes_under_a_request_is_replaced_at_once() {
    let simulation = Simulation::new([
        vec![Request, Say(ADMIT), Request, Wait(4 * MS), Close],
        vec![Request, Say(ADMIT)],
    ]);
    let mut push = simulation.pusher();
    acknowledged(push("a"));
    assert_eq!(acknowledged(push("b")), (2, 4 * MS + CONNECTING));
    let lost = simulation.watch.retries().get(RetryCause::ConnectionLost);
    assert_eq!(lost, 1);
    let bodies = [(1, "a"), (1, "b"), (2, "b")].map(|(at, body)| (at, body.to_owned()));
    assert_eq!(simulation.bodies(), bodies);
    assert_eq!(simulation.watch.away_for(), None);
}

#[test]
fn a_kept_connection_that_closed_before_a_request_carries_none() {
    let simulation = Simulation::new([vec![Request, Say(ADMIT), Close], vec![Request, Say(ADMIT)]]);
    let mut push = simulation.pusher();
    acknowledged(push("a"));
    assert_eq!(acknowledged(push("b")).0, 1);
    let bodies = [(1, "a"), (2, "b")].map(|(at, body)| (at, body.to_owned()));
    assert_eq!(simulation.bodies(), bodies);
}

#[test]
fn a_gate_that_is_silent_times_out_and_is_tried_again_after_a_pause() {
    let simulation = Simulation::new([vec![Request], vec![Request, Say(ADMIT)]]);
    let (attempts, took) = acknowledged(simulation.pusher()("a"));
    assert_eq!(attempts, 2);
    assert!(
        took >= 30 * S && took <= 30 * S + 100 * MS + CONNECTING,
        "{took:?}"
    );
    assert_eq!(simulation.watch.retries().get(RetryCause::Timeout), 1);
}

#[test]
fn each_post_has_its_whole_timeout_whatever_the_posts_before_it_took() {
    let simulation = Simulation::new([vec![
        Request,
        Wait(20 * S),
        Say(ADMIT),
        Request,
        Wait(25 * S),
        Say(ADMIT),
        Request,
    ]]);
    let mut lane = simulation.client.lane();
    let mut post = || {
        let began = simulation.clock.now();
        let answer = simulation.clock.run(lane.post(Bytes::from_static(b"a")));
        (
            answer.map_err(|fault| fault.kind()),
            simulation.clock.now() - began,
        )
    };
    let is_admitted = |answer: Result<Answer, _>| answer.is_ok_and(|answer| answer.status == 200);
    let (answer, took) = post();
    assert!(is_admitted(answer) && took == CONNECTING + 20 * S);
    let (answer, took) = post();
    assert!(is_admitted(answer) && took == 25 * S);
    assert_eq!(post(), (Err(FaultKind::Timeout), 30 * S));
}

#[test]
fn a_gate_that_asks_for_quiet_gets_it() {
    const SLOW_DOWN: &str =
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n";
    let simulation = Simulation::new([vec![Request, Say(SLOW_DOWN), Request, Say(ADMIT)]]);
    let (attempts, took) = acknowledged(simulation.pusher()("a"));
    assert_eq!(attempts, 2);
    assert!(took >= 5 * S && took < 7 * S, "{took:?}");
    assert_eq!(simulation.watch.retries().get(RetryCause::Http429), 1);
}

#[test]
fn a_gate_that_nobody_listens_for_is_away_until_the_pusher_gives_up() {
    let simulation = Simulation::new([]);
    let outcome = simulation.pusher()("a");
    assert!(matches!(outcome, PushOutcome::GaveUp { failing, .. } if failing >= 900 * S));
    assert!(simulation.clock.passed() < 910 * S);
    assert_eq!(simulation.bodies(), []);
}
