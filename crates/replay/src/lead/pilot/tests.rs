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
use proptest::sample::Index;
use tokio::sync::watch;

use super::*;
use crate::ending::Ending;
use crate::lanes::{Concurrency, LaneCount, LaneOrdering, LaneQueue, LaneSettings};
use crate::lead::schedule::WhenLate;
use crate::pace::Speedup;
use crate::place::Position;
use crate::tell::acts::{Act, Refused};
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

/// Has an act done now, which must not be refused.
#[track_caller]
fn obey(pilot: &mut Pilot<Restless>, act: &Act) {
    let now = pilot.now();
    pilot.apply(act, &Asker::from("me"), now).unwrap();
}

/// Hands events over until a pause keeps one back; gives how many left.
fn leave_until_paused(pilot: &mut Pilot<Restless>, times: &[EventTime]) -> usize {
    for (left, &time) in times.iter().enumerate() {
        loop {
            let rest = match pilot.leave(time) {
                Leave::Now(departure) => {
                    assert!(matches!(
                        departure.hand_over(event(time)),
                        HandOver::Left(_)
                    ));
                    break;
                }
                Leave::After(rest) => rest,
                Leave::Never => panic!("it winds down"),
            };
            if pilot.pause.is_some() {
                return left;
            }
            pilot.rest(rest);
        }
    }
    times.len()
}

fn at(nanos: i64) -> EventTime {
    EventTime::from_nanos(nanos.into()).unwrap()
}

#[test]
fn streams_that_pause_at_one_event_time_and_resume_at_one_wall_time_go_on_together() {
    // Their last events before the pause, and their next ones, are their own.
    for (before, after) in [(1_000, 9_000), (4_999, 5_000), (1, 5_001)] {
        let (mut pilot, _lanes) = pilot(2.0);
        pilot.run.meters().read(0, 3);
        obey(&mut pilot, &Act::PauseAt(at(5_000)));
        let times = [at(0), at(before), at(after)];
        assert_eq!(leave_until_paused(&mut pilot, &times), 2);
        // Paused where the schedule came to the event time, whenever the thread woke.
        assert_eq!(pilot.pause.map(|pause| pause.since), Some(2_500));
        obey(&mut pilot, &Act::ResumeAt(at(1_000_000)));
        let HandOver::Left(left) = depart(&mut pilot, times[2]) else {
            panic!("a lane has room")
        };
        // Half nanoseconds are rounded up: no event is early.
        assert_eq!(left.due, 1_000_000 + (after - 5_000 + 1) / 2);
        assert!(left.at >= left.due);
    }
}

#[test]
fn a_time_that_has_passed_is_refused_and_so_is_a_resume_of_what_is_not_paused() {
    let (mut pilot, _lanes) = pilot(1.0);
    depart(&mut pilot, at(0));
    depart(&mut pilot, at(700));
    let now = pilot.now();
    let mut ask = |act: &Act| pilot.apply(act, &Asker::default(), now).map(drop);
    assert_eq!(ask(&Act::PauseAt(at(700))), Err(Refused::EventTimePassed));
    assert_eq!(ask(&Act::ResumeAt(at(9_000))), Err(Refused::NotPaused));
    assert_eq!(ask(&Act::Pause), Ok(()));
    assert_eq!(ask(&Act::ResumeAt(at(now))), Err(Refused::WallTimePassed));
    assert_eq!(ask(&Act::ResumeAt(at(now + 1))), Ok(()));
    assert_eq!(ask(&Act::PauseAt(at(701))), Ok(()));
}

#[test]
fn another_pause_takes_a_resume_back_and_a_stream_that_is_late_stays_late() {
    let (mut pilot, _lanes) = pilot(1.0);
    pilot.run.meters().read(0, 3);
    depart(&mut pilot, at(0));
    // Nothing leaves for a while: the stream is 50 late when it comes to 100.
    pilot.clock.passed_ns.store(150, Relaxed);
    obey(&mut pilot, &Act::PauseAt(at(101)));
    depart(&mut pilot, at(100));
    assert_eq!(leave_until_paused(&mut pilot, &[at(102)]), 0);
    assert_eq!(pilot.pause.map(|pause| pause.since), Some(150));
    obey(&mut pilot, &Act::ResumeAt(at(1_000)));
    obey(&mut pilot, &Act::Pause);
    pilot.clock.passed_ns.store(5_000, Relaxed);
    assert_eq!(leave_until_paused(&mut pilot, &[at(102)]), 0);
    obey(&mut pilot, &Act::Resume);
    let HandOver::Left(left) = depart(&mut pilot, at(102)) else {
        panic!("a lane has room")
    };
    assert_eq!((left.due, left.at), (5_000 - 150 + 102, 5_000));
}

proptest! {
    #[test]
    fn a_pause_at_an_event_time_lets_every_event_before_it_leave_and_no_other(
        gaps in vec(prop_oneof![Just(0), 1..2_000_000_000_i64], 1..40),
        pause_at in 0..20_000_000_000_i64,
        on_an_event in any::<Option<Index>>(),
        speedup in prop_oneof![Just(0), Just(1), Just(1_000)],
    ) {
        let (mut pilot, lanes) = pilot(f64::from(speedup));
        pilot.run.meters().read(0, gaps.len() as u64);
        let mut time = 0;
        let times: Vec<EventTime> = gaps.iter().map(|gap| {
            time += gap;
            at(time)
        }).collect();
        let pause_at = on_an_event.map_or(at(pause_at), |index| *index.get(&times));
        obey(&mut pilot, &Act::PauseAt(pause_at));
        let left = leave_until_paused(&mut pilot, &times);
        let before = times.iter().filter(|time| **time < pause_at).count();
        prop_assert_eq!(left, before);
        prop_assert_eq!(lanes[0].len(), before);
        // Lanes may begin what was handed over, and nothing else.
        let begun = (0..times.len()).filter(|_| pilot.run.sending().begins()).count();
        prop_assert!(begun == before || before == times.len());
        obey(&mut pilot, &Act::Resume);
        prop_assert_eq!(leave_until_paused(&mut pilot, &times[left..]), times.len() - left);
    }

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
