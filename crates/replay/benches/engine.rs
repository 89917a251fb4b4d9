//! The engine alone: events from memory, a client that answers at once, cursors in memory. Events a
//! second, and processor time an event.
//!
//! `cargo bench -p replay --bench engine [-- LANES…]`
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use checkpoint::{
    CheckpointStore, CursorKey, Holder, LeaseRequest, MemoryStore, OrderMode, PackKey,
};
use durable::TokioClock;
use envelope::{FrameSpec, FramedBatch, Framer, PinValues, Pins};
use push::{Answer, MAX_EVENT_BYTES, PushClient, PushFault, PushLane, RetryPolicy};
use replay::{
    Concurrency, Course, Cursors, Engine, Event, EventOrder, Gateway, Happening, Journal,
    KeptOutput, LaneCount, LaneOrdering, LaneSettings, NamePosition, Position, Schedule, Speedup,
    Start, WhenLate,
};

const RUN: &str = "platform_20260128T090000Z";
/// Events that are framed once and pushed again and again.
const FRAMED: usize = 4_096;
/// Events a run.
const EVENTS: u64 = 1_000_000;
/// Runs a number of lanes; the best counts.
const RUNS: usize = 5;

fn main() {
    let named = std::env::args()
        .skip(1)
        .filter_map(|lanes| lanes.parse().ok());
    let mut lanes: Vec<usize> = named.collect();
    if lanes.is_empty() {
        lanes = vec![1, 8, 32, 64];
    }
    let framed = Arc::new(framed());
    for lanes in lanes {
        let runs = (0..RUNS).map(|_| run(lanes, &framed));
        let best = runs.min_by_key(|(wall, _)| *wall).unwrap();
        let (wall, processor) = best;
        println!(
            "{lanes:3} lanes: {:6.0} thousand events/s, {:.2} µs of processor time an event",
            EVENTS as f64 / wall.as_secs_f64() / 1e3,
            processor.as_secs_f64() * 1e6 / EVENTS as f64,
        );
    }
}

/// The time and the processor time that a run takes.
fn run(lanes: usize, framed: &Arc<FramedBatch>) -> (Duration, Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::default());
        let key = CursorKey::new(PackKey::of_root("world"), "events").unwrap();
        let request = LeaseRequest::new([key.clone()], Holder::this_process("bench"));
        let lease = Arc::new(store.acquire(&request).await.unwrap());
        let order = Again {
            framed: Arc::clone(framed),
            next: 0,
        };
        let schedule = Schedule::new(Speedup::UNPACED, WhenLate::CatchUp);
        let start = Start::by(&TokioClock);
        let course = Course::new(Box::new(order), Arc::new(Nameless), schedule, start);
        let output = KeptOutput::new(key, ["part".to_owned()], "d".repeat(64));
        let (outputs, order) = (vec![output], OrderMode::AsWritten);
        let cursors = Cursors::new(store, lease, outputs, order, RUN).unwrap();
        let gateway = Gateway::new(AtOnce, "http://gate", settings(lanes), retry());
        let engine = Engine::new(course, gateway, cursors.flushed_every(100_000), TokioClock);
        let (began, used) = (Instant::now(), processor_time());
        let ran = engine.run(NoJournal).await.unwrap();
        let took = (began.elapsed(), processor_time().saturating_sub(used));
        assert_eq!(ran.meters.read_all().acknowledged, EVENTS);
        took
    })
}

/// User and system time of the process, from `/proc`; zero where there is none.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // Linux counts hundredths of a second here.
    Duration::from_millis(ticks * 10)
}

fn settings(count: usize) -> LaneSettings {
    LaneSettings {
        count: LaneCount::new(count).expect("a number of lanes"),
        ordering: LaneOrdering::Key,
        concurrency: Concurrency::Adaptive,
        drain_timeout: Duration::from_secs(5),
        in_flight_bytes: 64 << 20,
        transient_errors: Vec::new(),
        max_event_bytes: MAX_EVENT_BYTES,
        stamps_emission: false,
    }
}

fn retry() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 3,
        base_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(5),
        give_up_after: Duration::from_secs(1),
        single_out: false,
    }
}

/// Events of a few thousand keys.
fn framed() -> FramedBatch {
    let pins = PinValues {
        manifest_fingerprint: "0".repeat(64),
        parameter_hash: "1".repeat(64),
        seed: 7,
        scenario_id: "s".to_owned(),
        run_id: "2".repeat(32),
        platform_run_id: RUN.to_owned(),
        producer: "p".to_owned(),
        ..PinValues::default()
    };
    let spec = FrameSpec::new("events", ["flow_id"], Pins::new(pins).unwrap());
    let rows: Vec<String> = (0..FRAMED)
        .map(|row| format!(r#"{{"flow_id":{row},"ts_utc":"2026-01-28T08:00:00Z"}}"#))
        .collect();
    let lines = rows.iter().map(String::as_bytes);
    let mut framer = Framer::new(&spec).unwrap();
    framer
        .frame_json_lines("part", 0, lines)
        .expect("the rows are whole")
}

/// The same events, again and again.
struct Again {
    framed: Arc<FramedBatch>,
    next: u64,
}

impl EventOrder for Again {
    fn poll(&mut self) -> Poll<Result<Option<Event>, replay::Error>> {
        if self.next == EVENTS {
            return Poll::Ready(Ok(None));
        }
        let row = self.next as usize % FRAMED;
        let position = Position {
            part: 0,
            row: self.next,
            time: self.framed.time(row),
        };
        self.next += 1;
        Poll::Ready(Ok(Some(Event {
            output: 0,
            position,
            id: self.framed.event_id(row),
            ordering_key: self.framed.ordering_key(row),
            body: self.framed.body(row),
            anchors: false,
        })))
    }

    fn leave_out(&mut self, _: usize) {}
}

/// Answers at once.
#[derive(Clone)]
struct AtOnce;

impl PushClient for AtOnce {
    type Lane = Self;

    fn lane(&self) -> Self {
        self.clone()
    }
}

impl PushLane for AtOnce {
    async fn post(&mut self, _: Bytes) -> Result<Answer, PushFault> {
        Ok(Answer::new(200, &br#"{"decision":"ADMIT"}"#[..]))
    }
}

struct NoJournal;

impl Journal for NoJournal {
    fn note(&mut self, _: &Happening) -> Result<(), replay::Error> {
        Ok(())
    }
}

struct Nameless;

impl NamePosition for Nameless {
    fn name(&self, _: usize, _: &Position) -> String {
        String::new()
    }
}
