//! The pilot: waits, pauses, steps and stops.

#![allow(
    clippy::disallowed_methods,
    reason = "the test goes by the machine's clock"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use envelope::{FrameSpec, Framer, PinValues, Pins};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::watch;

use super::*;
use crate::ending::Ending;
use crate::lanes::{Concurrency, LaneCount, LaneOrdering, LaneQueue, LaneSettings};
use crate::lead::schedule::WhenLate;
use crate::pace::Speedup;
use crate::place::Position;
use crate::tell::progress::Progress;
use crate::time::Start;
use crate::window::Window;

/// Goes on only while the pilot sleeps, and wakes it early again and again.
#[derive(Clone)]
struct Restless {
    began: Instant,
    passed_ns: Arc<AtomicU64>,
}

impl Clock for Restless {
    fn now(&self) -> Instant {
        self.began + Duration::from_nanos(self.passed_ns.load(Relaxed))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    async fn sleep(&self, _: Duration) {
        unreachable!("a pilot parks");
    }

    fn park(&self, delay: Duration) {
        let part = delay.as_nanos().div_ceil(3) as u64;
        self.passed_ns.fetch_add(part, Relaxed);
    }
}

/// A pilot, and its one lane's end.
fn pilot(speedup: f64) -> (Pilot<Restless>, Vec<LaneQueue>) {
    let lanes = Lanes::new(&LaneSettings {
        count: LaneCount::ONE,
        ordering: LaneOrdering::Strict,
        concurrency: Concurrency::Fixed,
        drain_timeout: Duration::ZERO,
        in_flight_bytes: 1 << 20,
        transient_errors: Vec::new(),
        max_event_bytes: 1 << 20,
        stamps_emission: false,
    });
    let clock = Restless {
        began: Instant::now(),
        passed_ns: Arc::default(),
    };
    let window = Arc::new(Window::new(1_000, 8));
    let progress = watch::Sender::new(Progress::default());
    let run = Run::new(Start::by(&clock), Ending::default(), window, 1, progress);
    let schedule = Schedule::new(Speedup::new(speedup).unwrap(), WhenLate::CatchUp);
    let (pilot, _) = Pilot::new(run, clock, schedule, lanes.0, Helm::unmanned());
    (pilot, lanes.1)
}

fn event(time: EventTime) -> Event {
    let pins = Pins::new(PinValues {
        manifest_fingerprint: "a".repeat(64),
        parameter_hash: "b".repeat(64),
        scenario_id: "baseline".into(),
        run_id: "c".repeat(32),
        platform_run_id: "platform_20260128T090000Z".into(),
        producer: "svc:test".into(),
        ..PinValues::default()
    });
    let spec = FrameSpec::new("events", ["seq"], pins.unwrap());
    let row = br#"{"seq":1,"ts_utc":"2026-01-28T08:00:00Z"}"#;
    let mut framer = Framer::new(&spec).unwrap();
    let framed = framer.frame_json_lines("part", 0, [&row[..]]).unwrap();
    let (part, row) = (0, 0);
    Event {
        output: 0,
        position: Position { part, row, time },
        id: framed.event_id(0),
        ordering_key: 0,
        body: framed.body(0),
        anchors: false,
    }
}

/// Parks until an event at `time` may leave, and hands it over.
fn depart(pilot: &mut Pilot<Restless>, time: EventTime) -> HandOver {
    loop {
        let rest = match pilot.leave(time) {
            Leave::Now(departure) => return departure.hand_over(event(time)),
            Leave::After(rest) => rest,
            Leave::Never => panic!("it winds down"),
        };
        pilot.rest(rest);
    }
}

#[test]
fn an_event_is_counted_when_a_lane_has_it_and_not_before() {
    let (mut pilot, lanes) = pilot(0.0);
    let time = EventTime::from_nanos(0).unwrap();
    assert!(matches!(pilot.leave(time), Leave::Now(_)));
    let meters = Arc::clone(pilot.run.meters());
    assert_eq!((pilot.handed_over(), meters.reading(0).in_flight), (0, 0));
    for sequence in 0..3 {
        meters.read(0, 1);
        assert!(matches!(depart(&mut pilot, time), HandOver::Left(_)));
        assert_eq!(lanes[0].try_recv().unwrap().sequence, sequence);
    }
    assert_eq!((pilot.handed_over(), meters.reading(0).in_flight), (3, 3));
    drop(lanes);
    meters.read(0, 1);
    assert!(matches!(depart(&mut pilot, time), HandOver::Gone));
    let reading = meters.reading(0);
    assert_eq!(pilot.handed_over(), 3);
    assert_eq!((reading.buffered, reading.in_flight), (1, 3));
}

#[test]
fn an_event_without_a_place_comes_back_whole_and_leaves_once_there_is_one() {
    let (mut pilot, lanes) = pilot(0.0);
    let time = EventTime::from_nanos(0).unwrap();
    let meters = Arc::clone(pilot.run.meters());
    meters.read(0, 1_000);
    let back = loop {
        match depart(&mut pilot, time) {
            HandOver::Left(_) => {}
            HandOver::HeldBack(event, _) => break event,
            HandOver::Gone => panic!("the lane is there"),
        }
    };
    assert_eq!(back.body, event(time).body);
    let queued = pilot.handed_over();
    assert_eq!(meters.reading(0).in_flight, queued);
    lanes[0].try_recv().unwrap();
    assert!(matches!(depart(&mut pilot, time), HandOver::Left(_)));
    assert_eq!(meters.reading(0).in_flight, queued + 1);
}

proptest! {
    #[test]
    fn an_event_leaves_at_its_nanosecond_however_often_the_thread_wakes(
        gaps in vec(0..2_000_000_000_i64, 1..40),
        speedup in prop_oneof![Just(1), Just(3), Just(1_000)],
    ) {
        let (mut pilot, _lanes) = pilot(f64::from(speedup));
        let mut time = 0;
        for (index, gap) in gaps.into_iter().enumerate() {
            // The first one is due at once.
            time += if index == 0 { 0 } else { gap };
            let at = EventTime::from_nanos(time.into()).unwrap();
            let HandOver::Left(Left { at: left, .. }) = depart(&mut pilot, at) else {
                panic!("a lane has room")
            };
            let exact = time as f64 / f64::from(speedup);
            prop_assert!(left as f64 >= exact, "{left} for {exact}");
            prop_assert!(left as f64 - exact <= 1.0, "{left} for {exact}");
        }
    }
}
