//! The engine over fakes: events from memory, a gate in process, cursors in memory.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use checkpoint::{
    CheckpointStore, CursorKey, Holder, LeaseKeeper, LeaseRequest, LeaseWatch, MemoryStore,
    OrderMode, PackKey,
};
use durable::{BootClock, TokioClock};
use envelope::{FrameSpec, FramedBatch, Framer, PinValues, Pins};
use model::{Clock, SharedClock};
use push::{Answer, FaultKind, PushClient, PushFault, PushLane, RetryPolicy};
use replay::{
    Act, Bounds, Cause, Concurrency, Course, Cursors, DispatchEnd, Ending, Engine, Event,
    EventOrder, Gateway, Happening, Helm, Journal, KeptOutput, LaneCount, LaneOrdering,
    LaneSettings, NamePosition, Position, Progress, Quarantine, Ran, Refused, RejectedEvent,
    Schedule, SetAside, Speedup, Start, State, StateChanges, StateChangesSender, Steering,
    WhenLate,
};
use tokio::sync::watch;

/// Keeps no record.
#[derive(Debug)]
struct NoJournal;

impl Journal for NoJournal {
    fn note(&mut self, _: &Happening) -> Result<(), replay::Error> {
        Ok(())
    }
}

const RUN: &str = "platform_20260128T090000Z";
/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// `count` events a second of event time apart, over ten keys.
fn events(count: u64) -> FramedBatch {
    let pins = Pins::new(PinValues {
        manifest_fingerprint: "a".repeat(64),
        parameter_hash: "b".repeat(64),
        seed: 7,
        scenario_id: "baseline".into(),
        run_id: "c".repeat(32),
        platform_run_id: RUN.into(),
        producer: "svc:test".into(),
        ..PinValues::default()
    });
    let spec = FrameSpec::new("events", ["flow_id", "seq"], pins.unwrap());
    let rows: Vec<String> = (0..count)
        .map(|row| {
            let (minute, second) = (row / 60 % 60, row % 60);
            let key = row % 10;
            format!(r#"{{"flow_id":{key},"seq":{row},"ts_utc":"2026-01-28T08:{minute:02}:{second:02}Z"}}"#)
        })
        .collect();
    let lines = rows.iter().map(String::as_bytes);
    let framed = Framer::new(&spec)
        .unwrap()
        .frame_json_lines("part", 0, lines);
    framed.unwrap()
}

struct FromMemory {
    framed: FramedBatch,
    next: usize,
    /// Ends with an error here, as a bad row would.
    bad_row: Option<usize>,
    /// Panics here.
    panics_at_row: Option<usize>,
}

impl EventOrder for FromMemory {
    fn poll(&mut self) -> Poll<Result<Option<Event>, replay::Error>> {
        let row = self.next;
        assert_ne!(Some(row), self.panics_at_row, "as asked");
        if Some(row) == self.bad_row {
            let code = replay::ReasonCode::EventTimeDisorder;
            return Poll::Ready(Err(replay::Error::new(code, "bad row", "mend it")));
        }
        if row == self.framed.len() {
            return Poll::Ready(Ok(None));
        }
        self.next += 1;
        Poll::Ready(Ok(Some(Event {
            output: 0,
            position: Position {
                part: 0,
                row: row as u64,
                time: self.framed.time(row),
            },
            id: self.framed.event_id(row),
            ordering_key: self.framed.ordering_key(row),
            body: self.framed.body(row),
            anchors: false,
        })))
    }

    fn leave_out(&mut self, _: usize) {}
}

/// What the gate got, and how it answers.
#[derive(Default)]
struct Gate {
    got: Mutex<Vec<(u64, String)>>,
    posts: AtomicU64,
    /// The post with this number, and all after it, are answered so.
    from_post: Option<(u64, u16, &'static str)>,
    delay: Duration,
    /// Every post whose number is divisible by this is answered 429.
    busy_every: Option<u64>,
    /// Every post whose number is divisible by this finds nobody who listens.
    unreachable_every: Option<u64>,
    /// What the post with this number stops.
    stops: Mutex<Option<(u64, Ending)>>,
    /// Events that are refused whenever they come.
    rejects: BTreeSet<u64>,
    /// When the machine sleeps past the end of the lease.
    sleep: Option<Sleep>,
    /// The client panics at the post with this number.
    panics_at: Option<u64>,
    /// The client makes no lane.
    makes_no_lane: bool,
}

/// A machine that sleeps for an hour at a post.
struct Sleep {
    at_post: u64,
    clock: SleepingClock,
    lease: LeaseWatch,
    /// Posts while the lease was not held.
    overdue_posts: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct SleepingClock {
    slept_hours: Arc<AtomicU64>,
}

impl Clock for SleepingClock {
    fn now(&self) -> Instant {
        BootClock.now() + Duration::from_hours(self.slept_hours.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        BootClock.wall()
    }

    async fn sleep(&self, delay: Duration) {
        BootClock.sleep(delay).await;
    }
}

#[derive(Clone)]
struct Client(Arc<Gate>);

impl PushClient for Client {
    type Lane = Client;

    fn lane(&self) -> Client {
        assert!(!self.0.makes_no_lane, "no lane, as asked");
        self.clone()
    }
}

impl PushLane for Client {
    async fn post(&mut self, body: Bytes) -> Result<Answer, PushFault> {
        let number = self.0.posts.fetch_add(1, Ordering::SeqCst);
        if let Some((at, ending)) = &*self.0.stops.lock().unwrap()
            && number == *at
        {
            ending.wind_down(Cause::Asked);
        }
        assert_ne!(Some(number), self.0.panics_at, "as asked");
        if let Some(sleep) = &self.0.sleep {
            if !sleep.lease.is_held() {
                sleep.overdue_posts.fetch_add(1, Ordering::SeqCst);
            }
            if number == sleep.at_post {
                sleep.clock.slept_hours.fetch_add(1, Ordering::SeqCst);
            }
        }
        tokio::time::sleep(self.0.delay).await;
        let is_unreachable = |every| number.is_multiple_of(every);
        if self.0.unreachable_every.is_some_and(is_unreachable) {
            return Err(PushFault::new(FaultKind::ConnectRefused));
        }
        let answer = |status, body: &'static str| Answer::new(status, body);
        if let Some((from, status, body)) = self.0.from_post
            && number >= from
        {
            return Ok(answer(status, body));
        }
        if self.0.busy_every.is_some_and(|n| number.is_multiple_of(n)) {
            return Ok(answer(429, ""));
        }
        let envelope: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let payload = &envelope["payload"];
        let key = payload["flow_id"].to_string();
        if self.0.rejects.contains(&payload["seq"].as_u64().unwrap()) {
            return Ok(answer(422, "not this one"));
        }
        self.0
            .got
            .lock()
            .unwrap()
            .push((payload["seq"].as_u64().unwrap(), key));
        Ok(answer(200, r#"{"decision":"ADMIT"}"#))
    }
}

/// A quarantine in memory, which looks at the cursor while it is at work.
struct Aside {
    store: Arc<dyn CheckpointStore>,
    key: CursorKey,
    rows: Arc<Mutex<Vec<u64>>>,
    fails: bool,
}

impl Quarantine for Aside {
    fn set_aside(&mut self, events: &[RejectedEvent]) -> Result<(), replay::Error> {
        // Time for a cursor to pass, if it could.
        std::thread::sleep(Duration::from_millis(50));
        let record = tokio::runtime::Handle::current().block_on(self.store.load(&self.key));
        let passed = record.unwrap().map(|record| record.cursor.last_row_index());
        for event in events {
            assert!(passed.is_none_or(|row| row < event.row), "{passed:?}");
            assert_eq!((event.refusal.status, event.attempts), (422, 1));
        }
        if self.fails {
            let code = replay::ReasonCode::QuarantineUnwritable;
            return Err(replay::Error::new(code, "No room.", "Make some."));
        }
        let rows = events.iter().map(|event| event.row);
        self.rows.lock().unwrap().extend(rows);
        Ok(())
    }

    fn waiting(&self) -> u64 {
        self.rows.lock().unwrap().len() as u64
    }

    fn place(&self) -> String {
        "memory".into()
    }
}

/// How the quarantine of a run behaves.
#[derive(Clone, Copy)]
struct AsideAs {
    at_most: u64,
    fails: bool,
}

struct Places;

impl NamePosition for Places {
    fn name(&self, _output: usize, position: &Position) -> String {
        format!("row {}", position.row)
    }
}

struct Run {
    events: u64,
    bad_row: Option<usize>,
    panics_at_row: Option<usize>,
    max_events: Option<u64>,
    lanes: usize,
    flush_every: u64,
    speedup: f64,
    gate: Arc<Gate>,
    stop_at_post: Option<u64>,
    progress: watch::Sender<Progress>,
    quarantine: Option<AsideAs>,
    ending: Ending,
    helm: Helm,
    changes: Vec<StateChangesSender>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            events: 500,
            bad_row: None,
            panics_at_row: None,
            max_events: None,
            lanes: 8,
            flush_every: 10,
            speedup: 0.0,
            gate: Arc::default(),
            stop_at_post: None,
            progress: watch::Sender::new(Progress::default()),
            quarantine: None,
            ending: Ending::default(),
            helm: Helm::unmanned(),
            changes: Vec::new(),
        }
    }
}

struct Outcome {
    ran: Ran<NoJournal>,
    cause: Option<Cause>,
    /// The row of the stored cursor.
    cursor: Option<u64>,
    /// The rows that were set aside.
    aside: BTreeSet<u64>,
}

impl Run {
    async fn go(self) -> Outcome {
        self.try_go().await.unwrap()
    }

    async fn try_go(self) -> Result<Outcome, replay::Error> {
        let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::default());
        let key = CursorKey::new(PackKey::of_root("world"), "events").unwrap();
        let request = LeaseRequest::new([key.clone()], Holder::this_process("test"));
        let lease = Arc::new(store.acquire(&request).await.unwrap());
        let ending = self.ending;
        let aside = Arc::new(Mutex::new(Vec::new()));
        let quarantine = self.quarantine.map(|AsideAs { at_most, fails }| SetAside {
            quarantine: Box::new(Aside {
                store: Arc::clone(&store),
                key: key.clone(),
                rows: Arc::clone(&aside),
                fails,
            }),
            at_most,
        });
        let order = FromMemory {
            framed: events(self.events),
            next: 0,
            bad_row: self.bad_row,
            panics_at_row: self.panics_at_row,
        };
        let schedule = Schedule::new(Speedup::new(self.speedup).unwrap(), WhenLate::CatchUp);
        let start = Start::by(&TokioClock);
        let course = Course::new(Box::new(order), Arc::new(Places), schedule, start);
        let lanes = LaneSettings {
            count: LaneCount::new(self.lanes).unwrap(),
            ordering: LaneOrdering::Key,
            drain_timeout: Duration::from_secs(5),
            concurrency: Concurrency::Adaptive,
            in_flight_bytes: 64 << 20,
            transient_errors: Vec::new(),
            max_event_bytes: push::MAX_EVENT_BYTES,
            stamps_emission: false,
        };
        let retry = RetryPolicy {
            max_attempts: 3,
            base_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(5),
            give_up_after: Duration::from_millis(50),
            single_out: false,
        };
        let client = Client(Arc::clone(&self.gate));
        let gateway = Gateway::new(client, "http://gate", lanes, retry);
        let output = KeptOutput::new(key.clone(), ["part".to_owned()], "d".repeat(64));
        let (kept, order) = (Arc::clone(&store), OrderMode::AsWritten);
        let mut cursors = Cursors::new(kept, lease, vec![output], order, RUN)?
            .flushed_every(self.flush_every)
            .waiting_for_store(Duration::from_secs(1), push::Trouble::of_store())
            .stopped_within(Duration::from_secs(1));
        if let Some(sleep) = &self.gate.sleep {
            cursors = cursors.watched_by(sleep.lease.clone());
        }
        let course = course.within(Bounds {
            events: self.max_events,
            events_per_output: None,
        });
        let engine = Engine::new(course, gateway, cursors, TokioClock)
            .ended_by(ending.clone())
            .steered_by(self.helm)
            .telling(self.changes)
            .shown_to(self.progress)
            .with_quarantine(quarantine);
        let stops = self.stop_at_post.map(|post| (post, ending.clone()));
        *self.gate.stops.lock().unwrap() = stops;
        // Whatever dies, nothing waits for it.
        let ran = tokio::time::timeout(PATIENCE, engine.run(NoJournal));
        let ran = ran.await.expect("the stream hangs")?;
        let record = store.load(&key).await.unwrap();
        Ok(Outcome {
            ran,
            cause: ending.take_cause(),
            cursor: record.map(|record| record.cursor.last_row_index()),
            aside: aside.lock().unwrap().iter().copied().collect(),
        })
    }
}

fn sequences(gate: &Gate) -> Vec<u64> {
    let mut got: Vec<u64> = gate
        .got
        .lock()
        .unwrap()
        .iter()
        .map(|(sequence, _)| *sequence)
        .collect();
    got.sort_unstable();
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once_and_the_cursor_stands_at_the_end() {
    let gate = Arc::new(Gate::default());
    let outcome = Run {
        gate: Arc::clone(&gate),
        ..Run::default()
    }
    .go()
    .await;
    assert!(matches!(outcome.ran.dispatched.end, DispatchEnd::Complete));
    assert_eq!(sequences(&gate), (0..500).collect::<Vec<_>>());
    assert_eq!(outcome.cursor, Some(499));
    assert_eq!(outcome.ran.kept.decisions.admit, 500);
    let meters = outcome.ran.meters.read_all();
    assert_eq!(
        (meters.read, meters.acknowledged, meters.in_flight),
        (500, 500, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_threads_of_an_engine_that_is_dropped_end() {
    let gate = Arc::new(Gate {
        delay: Duration::from_hours(1),
        ..Gate::default()
    });
    let run = Run {
        gate: Arc::clone(&gate),
        ..Run::default()
    };
    let mut progress = run.progress.subscribe();
    let ran = tokio::time::timeout(Duration::from_millis(300), run.go()).await;
    assert!(ran.is_err(), "its events are still on their way");
    let ended = async {
        // The dispatching thread can tell of progress, and the lanes can reach the gate.
        while progress.changed().await.is_ok() {}
        while Arc::strong_count(&gate) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert!(ended.is_ok(), "threads go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_key_arrive_in_order_over_many_lanes() {
    let gate = Arc::new(Gate {
        delay: Duration::from_micros(200),
        ..Gate::default()
    });
    Run {
        gate: Arc::clone(&gate),
        ..Run::default()
    }
    .go()
    .await;
    let mut last: HashMap<String, u64> = HashMap::new();
    for (sequence, key) in gate.got.lock().unwrap().iter() {
        let before = last.insert(key.clone(), *sequence);
        assert!(before.is_none_or(|before| before < *sequence), "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_on_events_is_exact_and_saved() {
    let gate = Arc::new(Gate::default());
    let outcome = Run {
        gate: Arc::clone(&gate),
        max_events: Some(123),
        ..Run::default()
    }
    .go()
    .await;
    assert!(matches!(outcome.ran.dispatched.end, DispatchEnd::MaxEvents));
    assert_eq!(sequences(&gate), (0..123).collect::<Vec<_>>());
    assert_eq!(outcome.cursor, Some(122));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_before_a_bad_one_is_delivered() {
    let gate = Arc::new(Gate::default());
    let outcome = Run {
        gate: Arc::clone(&gate),
        bad_row: Some(77),
        ..Run::default()
    }
    .go()
    .await;
    assert!(matches!(outcome.ran.dispatched.end, DispatchEnd::Failed(_)));
    assert_eq!(sequences(&gate), (0..77).collect::<Vec<_>>());
    assert_eq!(outcome.cursor, Some(76));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_event_ends_the_stream_and_no_cursor_passes_it() {
    for (status, body, code) in [
        (400, "no", "IG_PUSH_REJECTED"),
        (302, "elsewhere", "IG_PUSH_REJECTED"),
        (200, "{}", "IG_RESPONSE_UNKNOWN"),
        (500, "broken", "IG_PUSH_RETRY_EXHAUSTED"),
    ] {
        let gate = Arc::new(Gate {
            from_post: Some((40, status, body)),
            ..Gate::default()
        });
        let outcome = Run {
            gate: Arc::clone(&gate),
            ..Run::default()
        }
        .go()
        .await;
        let Some(Cause::Failed(error)) = outcome.cause else {
            panic!("{status}: no cause")
        };
        assert_eq!(error.code(), code, "{error}");
        let got: BTreeSet<u64> = sequences(&gate).into_iter().collect();
        let prefix = (0..500)
            .take_while(|sequence| got.contains(sequence))
            .count() as u64;
        assert_eq!(outcome.cursor, prefix.checked_sub(1), "{status}");
        let meters = outcome.ran.meters.read_all();
        assert_eq!(
            meters.read,
            meters.buffered + meters.in_flight + meters.acknowledged + meters.quarantined
        );
    }
}

async fn rejecting(rejects: BTreeSet<u64>, quarantine: AsideAs) -> (Outcome, Arc<Gate>) {
    let gate = Arc::new(Gate {
        rejects,
        ..Gate::default()
    });
    let run = Run {
        gate: Arc::clone(&gate),
        quarantine: Some(quarantine),
        ..Run::default()
    };
    (run.go().await, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_passes_a_rejected_event_once_it_is_set_aside_and_not_before() {
    let rejects = BTreeSet::from([0, 40, 41, 250, 499]);
    let keeping = AsideAs {
        at_most: 100,
        fails: false,
    };
    let (outcome, gate) = rejecting(rejects.clone(), keeping).await;
    assert!(outcome.cause.is_none(), "{:?}", outcome.cause);
    assert_eq!(outcome.aside, rejects);
    assert_eq!(outcome.cursor, Some(499));
    assert_eq!(sequences(&gate).len(), 495);
    let meters = outcome.ran.meters.read_all();
    assert_eq!((meters.acknowledged, meters.quarantined), (495, 5));
    let report = outcome.ran.kept.quarantine.unwrap();
    assert_eq!((report.events, report.waiting), (5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_that_fails_ends_the_stream_before_its_event() {
    let failing = AsideAs {
        at_most: 100,
        fails: true,
    };
    let (outcome, _) = rejecting(BTreeSet::from([100]), failing).await;
    let Some(Cause::Failed(error)) = outcome.cause else {
        panic!("no cause")
    };
    assert_eq!(error.code(), "QUARANTINE_UNWRITABLE");
    assert_eq!(outcome.cursor, Some(99));
    assert_eq!(outcome.ran.meters.read_all().quarantined, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_quarantine_ends_the_stream_with_its_last_event_durable() {
    let small = AsideAs {
        at_most: 3,
        fails: false,
    };
    let (outcome, _) = rejecting((100..120).collect(), small).await;
    let Some(Cause::Failed(error)) = outcome.cause else {
        panic!("no cause")
    };
    assert_eq!(error.code(), "QUARANTINE_LIMIT");
    assert_eq!(outcome.aside.len(), 3, "not one more");
    assert_eq!(outcome.ran.meters.read_all().quarantined, 3);
    let open = (100..120).find(|row| !outcome.aside.contains(row));
    assert!(outcome.cursor < open, "{:?}", outcome.cursor);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_sends_nothing_that_is_not_in_flight_and_saves_the_whole_prefix() {
    let gate = Arc::new(Gate {
        delay: Duration::from_millis(2),
        ..Gate::default()
    });
    let run = Run {
        gate: Arc::clone(&gate),
        events: 3_000,
        // So that the lanes' queues are full when the stop comes.
        flush_every: 2_000,
        stop_at_post: Some(200),
        ..Run::default()
    };
    let lanes = run.lanes;
    let outcome = run.go().await;
    assert!(matches!(outcome.cause, Some(Cause::Asked)));
    let got = sequences(&gate);
    // The post at which the stop came, and at most one in flight on each lane.
    assert!((200..=200 + lanes).contains(&got.len()), "{}", got.len());
    let meters = outcome.ran.meters.read_all();
    assert_eq!(
        (meters.acknowledged, meters.in_flight),
        (got.len() as u64, 0)
    );
    assert_eq!(outcome.ran.kept.abandoned, 0);
    let whole = (0..).zip(&got).take_while(|(n, got)| n == *got).count() as u64;
    assert_eq!(outcome.cursor, Some(whole - 1), "the prefix without a gap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_wakes_under_an_overdue_lease_posts_nothing_until_it_is_renewed() {
    let clock = SleepingClock::default();
    let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::default());
    let key = CursorKey::new(PackKey::of_root("asleep"), "events").unwrap();
    let request = LeaseRequest::new([key], Holder::this_process("test"));
    let request = request.lasting(Duration::from_mins(30));
    let never = std::future::pending();
    let taking = LeaseKeeper::acquire(
        &store,
        &request,
        SharedClock::new(clock.clone()),
        |_, _| {},
        never,
    );
    let (_lease, keeper) = taking.await.unwrap();
    let gate = Arc::new(Gate {
        delay: Duration::from_millis(1),
        sleep: Some(Sleep {
            at_post: 200,
            clock,
            lease: keeper.watch(),
            overdue_posts: AtomicU64::new(0),
        }),
        ..Gate::default()
    });
    let run = Run {
        gate: Arc::clone(&gate),
        flush_every: 1_000,
        ..Run::default()
    };
    let lanes = run.lanes as u64;
    let outcome = run.go().await;
    assert_eq!(sequences(&gate), (0..500).collect::<Vec<_>>());
    assert_eq!(outcome.cursor, Some(499));
    // Each lane may have been about to post when the machine fell asleep.
    let overdue = gate
        .sleep
        .as_ref()
        .unwrap()
        .overdue_posts
        .load(Ordering::SeqCst);
    assert!(overdue <= lanes, "{overdue} posts under an overdue lease");
}

/// The code of the failure that ended a stream, and what it says.
fn failure(outcome: Outcome) -> (&'static str, String) {
    match outcome.cause {
        Some(Cause::Failed(error)) => (error.code(), error.detail()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_dies_ends_the_stream_and_what_was_acknowledged_is_saved() {
    for lanes in [1, 8] {
        let gate = Arc::new(Gate {
            panics_at: Some(40),
            ..Gate::default()
        });
        let run = Run {
            gate: Arc::clone(&gate),
            lanes,
            ..Run::default()
        };
        let outcome = run.go().await;
        let got = sequences(&gate);
        let whole = (0..).zip(&got).take_while(|(n, got)| n == *got).count() as u64;
        assert_eq!(outcome.cursor, whole.checked_sub(1), "{lanes} lanes");
        let (code, detail) = failure(outcome);
        assert_eq!(code, "STREAM_INTERNAL", "{detail}");
        assert!(detail.contains("as asked"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatching_thread_that_dies_ends_the_stream_and_what_was_acknowledged_is_saved() {
    let outcome = Run {
        panics_at_row: Some(77),
        ..Run::default()
    }
    .go()
    .await;
    assert!(outcome.cursor.is_some_and(|row| row < 77));
    let (code, detail) = failure(outcome);
    assert_eq!(code, "STREAM_INTERNAL", "{detail}");
    assert!(detail.contains("dispatching thread"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_makes_no_lane_is_an_error() {
    let gate = Arc::new(Gate {
        makes_no_lane: true,
        ..Gate::default()
    });
    let outcome = Run {
        gate,
        ..Run::default()
    }
    .try_go()
    .await;
    let Err(error) = outcome else {
        panic!("it streamed")
    };
    assert_eq!(error.code(), "STREAM_INTERNAL", "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_meters_add_up_at_every_snapshot() {
    let gate = Arc::new(Gate {
        delay: Duration::from_millis(4),
        busy_every: Some(5),
        ..Gate::default()
    });
    let run = Run {
        gate: Arc::clone(&gate),
        events: 1_500,
        ..Run::default()
    };
    let window = run.flush_every + run.lanes as u64;
    let mut progress = run.progress.subscribe();
    let watching = tokio::spawn(async move {
        let (mut snapshots, mut before) = (0, Progress::default().meters);
        while progress.changed().await.is_ok() {
            let meters = progress.borrow_and_update().meters;
            let done = meters.acknowledged + meters.quarantined;
            assert_eq!(meters.read, meters.buffered + meters.in_flight + done);
            assert!(meters.in_flight <= window, "{meters:?}");
            assert!(done <= gate.got.lock().unwrap().len() as u64, "{meters:?}");
            assert!(meters.read >= before.read && done >= before.acknowledged);
            (snapshots, before) = (snapshots + 1, meters);
        }
        (snapshots, before)
    });
    let outcome = run.go().await;
    let (snapshots, last) = watching.await.unwrap();
    assert!(snapshots >= 3, "{snapshots} snapshots");
    assert_eq!(last, outcome.ran.meters.read_all());
    assert_eq!((last.acknowledged, last.in_flight), (1_500, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_digest_depends_on_the_events_alone() {
    let digest = |lanes, flush_every| async move {
        Run {
            lanes,
            flush_every,
            ..Run::default()
        }
        .go()
        .await
        .ran
        .dispatched
        .digest
    };
    let one = digest(1, 1).await;
    assert_eq!(one, digest(16, 1_000).await);
    let fewer = Run {
        events: 499,
        ..Run::default()
    }
    .go()
    .await
    .ran
    .dispatched
    .digest;
    assert_ne!(one, fewer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_starts_paused_lets_exactly_so_many_events_leave_and_says_when_they_are_done()
{
    let gate = Arc::new(Gate {
        delay: Duration::from_millis(2),
        ..Gate::default()
    });
    let ending = Ending::default();
    let (steering, mut helm) = Steering::new(ending.clone());
    helm.start_paused("test");
    let (sender, mut changes) = StateChanges::channel();
    let progress = watch::Sender::new(Progress::default());
    let run = Run {
        gate: Arc::clone(&gate),
        ending,
        helm,
        changes: vec![sender],
        progress: progress.clone(),
        ..Run::default()
    };
    let running = tokio::spawn(run.go());
    let sent = || gate.posts.load(Ordering::SeqCst);

    let paused = steering.act_until_acknowledged(Act::Pause, "test").await;
    assert_eq!((paused.unwrap().state, sent()), (State::Paused, 0));
    let stepped = steering.step_until_acknowledged(5, "test").await.unwrap();
    assert_eq!(
        (stepped.meters.acknowledged, stepped.meters.in_flight),
        (5, 0)
    );
    assert_eq!(sequences(&gate), (0..5).collect::<Vec<_>>());

    let (behind, resumed) = tokio::join!(
        steering.act_until_acknowledged(Act::PauseAfter(100), "test"),
        steering.resume("test"),
    );
    assert!(resumed.is_ok());
    let behind = behind.unwrap();
    assert_eq!(
        (behind.state, behind.meters.acknowledged),
        (State::Paused, 105)
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(sent(), 105, "nothing leaves behind the pause");

    let beyond = steering.step_until_acknowledged(10_000, "test").await;
    assert_eq!(beyond.unwrap_err(), Refused::Ended, "395 were left");
    let outcome = running.await.unwrap();
    assert_eq!((outcome.cursor, sent()), (Some(499), 500));
    let mut told = Vec::new();
    while let Some(change) = changes.next().await {
        told.push((change.from, change.to, change.acknowledged));
    }
    let states: Vec<_> = told.iter().map(|&(from, to, _)| (from, to)).collect();
    assert_eq!(
        states,
        [
            (State::Starting, State::Paused),
            (State::Paused, State::Running),
            (State::Running, State::Paused),
            (State::Paused, State::Ending),
        ]
    );
    assert_eq!((told[0].2, told[1].2), (0, 5));
    let last = Some(events(500).time(499));
    let times = progress.borrow().event_times;
    assert_eq!(
        (times.handed_over, times.acknowledged, times.durable),
        (last, last, last)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_times_of_the_borders_follow_each_other() {
    let gate = Gate {
        delay: Duration::from_millis(20),
        ..Gate::default()
    };
    let progress = watch::Sender::new(Progress::default());
    let mut seen = progress.subscribe();
    let looking = tokio::spawn(async move {
        let mut snapshots = Vec::new();
        while seen.changed().await.is_ok() {
            snapshots.push(seen.borrow_and_update().event_times);
        }
        snapshots
    });
    Run {
        gate: Arc::new(gate),
        progress,
        ..Run::default()
    }
    .go()
    .await;
    let snapshots = looking.await.unwrap();
    assert!(snapshots.len() > 2, "{snapshots:?}");
    for times in snapshots {
        assert!(times.durable <= times.acknowledged, "{times:?}");
        assert!(times.acknowledged <= times.handed_over, "{times:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_failure_is_told_of_after_the_stream_gave_up_too() {
    let gate = Gate {
        from_post: Some((20, 500, "the bus is down")),
        ..Gate::default()
    };
    let progress = watch::Sender::new(Progress::default());
    let outcome = Run {
        gate: Arc::new(gate),
        progress: progress.clone(),
        ..Run::default()
    }
    .go()
    .await;
    assert_eq!(failure(outcome).0, "IG_PUSH_RETRY_EXHAUSTED");
    let last = progress.borrow().last_failure.clone().unwrap();
    assert!(last.contains("the bus is down"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_posts_reach_nobody_takes_one_step_and_is_waited_for() {
    let gate = Arc::new(Gate {
        unreachable_every: Some(2),
        ..Gate::default()
    });
    let ending = Ending::default();
    let (steering, mut helm) = Steering::new(ending.clone());
    helm.start_paused("test");
    let run = Run {
        gate: Arc::clone(&gate),
        ending,
        helm,
        ..Run::default()
    };
    let running = tokio::spawn(run.go());
    for steps in 1..=4 {
        let stepped = steering.step_until_acknowledged(5, "test");
        let stepped = tokio::time::timeout(PATIENCE, stepped).await.unwrap();
        assert_eq!(stepped.unwrap().meters.acknowledged, 5 * steps);
    }
    assert_eq!(sequences(&gate), (0..20).collect::<Vec<_>>());
    steering.resume("test").await.unwrap();
    let paused = steering.act_until_acknowledged(Act::Pause, "test");
    let paused = tokio::time::timeout(PATIENCE, paused).await.unwrap();
    let done = paused.unwrap().meters.acknowledged;
    assert_eq!(sequences(&gate).len() as u64, done, "nothing is on its way");
    steering.resume("test").await.unwrap();
    assert_eq!(running.await.unwrap().cursor, Some(499));
}
