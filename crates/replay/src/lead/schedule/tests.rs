//! Schedules: when events are due, however a stream is steered.

use proptest::prelude::*;

use super::*;

const SECOND: WallNs = 1_000_000_000;

fn at(ns: i128) -> EventTime {
    EventTime::from_nanos(ns).unwrap()
}

fn speedup(factor: f64) -> Pace {
    Speedup::new(factor).unwrap().into()
}

fn rate(text: &str) -> Pace {
    text.parse::<RateSteps>().unwrap().into()
}

fn paced(factor: f64) -> Schedule {
    Schedule::new(speedup(factor), WhenLate::CatchUp)
}

fn rated(text: &str) -> Schedule {
    Schedule::new(rate(text), WhenLate::CatchUp)
}

/// Asks for an event's due time, and lets it leave then.
fn leave(schedule: &mut Schedule, time: i128, now: WallNs) -> WallNs {
    let due = schedule.due(at(time), now);
    schedule.left(due, due.max(now));
    due
}

#[test]
fn the_first_event_is_due_at_once_and_the_rest_at_absolute_times() {
    let mut schedule = paced(600.0);
    assert_eq!(leave(&mut schedule, 1_000_000, 50), 50);
    assert_eq!(leave(&mut schedule, 1_600_000, 900_000), 1_050);
    assert_eq!(leave(&mut schedule, 2_200_000, 0), 2_050);
}

#[test]
fn a_cap_and_the_pace_must_both_allow_an_event() {
    let cap = "10".parse::<RateSteps>().ok();
    let mut schedule = paced(1.0).capped(cap);
    // A crowd: one every tenth of a second; then the pace is the slower of the two.
    let crowd: Vec<_> = (0..4).map(|_| leave(&mut schedule, 0, 0)).collect();
    let tenth = SECOND / 10;
    assert_eq!(crowd, [0, tenth, 2 * tenth, 3 * tenth]);
    let later = leave(&mut schedule, (5 * SECOND).into(), 0);
    assert_eq!(later, 5 * SECOND);
    // What was not used meanwhile is gone.
    let next = leave(&mut schedule, (5 * SECOND).into(), later);
    assert!(next >= later + tenth - SLACK, "{next}");
}

#[test]
fn a_cap_makes_no_burst_after_a_stall_nor_at_the_edge_of_a_step() {
    let cap = "0:100,2:10,4:50,5:50..90,6:50".parse::<RateSteps>().ok();
    let mut schedule = Schedule::new(Pace::UNPACED, WhenLate::CatchUp).capped(cap);
    let mut left = Vec::new();
    let mut now = 0;
    for event in 0..400 {
        // A stall of half a second in the middle of the first step.
        now = if event == 50 { now + SECOND / 2 } else { now };
        now = schedule.due(at(0), now).max(now);
        schedule.left(now, now);
        left.push(now);
    }
    for (from, rate) in left.iter().map(|from| (*from, 100.0)) {
        let within = |at: &&WallNs| (from..from + SECOND / 4).contains(*at);
        let count = left.iter().filter(within).count() as f64;
        assert!(count <= rate * 0.25 * 1.1 + 1.0, "{count} from {from}");
    }
    let between =
        |from: WallNs, to: WallNs| left.iter().filter(|at| (from..to).contains(*at)).count();
    assert!((19..=21).contains(&between(2 * SECOND, 4 * SECOND)));
    assert!((49..=51).contains(&between(4 * SECOND, 5 * SECOND)));
    assert!((69..=71).contains(&between(5 * SECOND, 6 * SECOND)));
    assert!((49..=51).contains(&between(6 * SECOND, 7 * SECOND)));
}

#[test]
fn an_event_earlier_than_its_predecessor_is_due_with_it() {
    let mut schedule = paced(1.0);
    leave(&mut schedule, 100, 0);
    assert_eq!(leave(&mut schedule, 600, 0), 500);
    assert_eq!(leave(&mut schedule, 300, 0), 500);
    assert_eq!(leave(&mut schedule, 700, 0), 600);
}

#[test]
fn asking_again_changes_nothing() {
    for mut schedule in [paced(1.0), rated("10")] {
        leave(&mut schedule, 0, 0);
        let due = schedule.due(at(SECOND.into()), 5);
        assert_eq!(schedule.due(at(SECOND.into()), 77), due);
    }
}

#[test]
fn a_pause_shifts_the_rest_and_makes_no_burst() {
    let mut schedule = paced(1.0);
    leave(&mut schedule, 0, 0);
    schedule.resume(1, 10_001);
    assert_eq!(schedule.due(at(5), 10_001), 10_005);
    let mut schedule = rated("1000");
    leave(&mut schedule, 0, 0);
    schedule.resume(SECOND, 61 * SECOND);
    assert_eq!(schedule.due(at(0), 61 * SECOND), 60 * SECOND + 1_000_000);
}

#[test]
fn a_gap_longer_than_its_bound_is_cut_to_it_and_the_rest_follows() {
    let hour = 3_600 * SECOND;
    let mut schedule = paced(1.0).with_max_gap(Some(Duration::from_secs(10)));
    leave(&mut schedule, 0, 5);
    assert_eq!(leave(&mut schedule, (9 * SECOND).into(), 5), 5 + 9 * SECOND);
    let due = schedule.due(at((9 * hour).into()), 6);
    assert_eq!(schedule.cap_gap(due), Some(9 * hour - 19 * SECOND));
    let due = schedule.due(at((9 * hour).into()), 7);
    assert_eq!(due, 5 + 19 * SECOND);
    assert_eq!(schedule.cap_gap(due), None, "it is cut once");
    schedule.left(due, due);
    let after = schedule.due(at((9 * hour + SECOND).into()), due);
    assert_eq!(after, due + SECOND);
}

#[test]
fn a_gap_is_counted_without_pauses_and_anew_from_a_change_of_pace() {
    let hour = 3_600 * SECOND;
    let mut schedule = paced(1.0).with_max_gap(Some(Duration::from_secs(10)));
    leave(&mut schedule, 0, 0);
    schedule.resume(2 * SECOND, 7 * SECOND);
    let due = schedule.due(at(hour.into()), 7 * SECOND);
    schedule.cap_gap(due);
    assert_eq!(schedule.due(at(hour.into()), 0), 15 * SECOND);
    schedule.set_pace(speedup(0.001), 9 * SECOND);
    let due = schedule.due(at(hour.into()), 9 * SECOND);
    schedule.cap_gap(due);
    assert_eq!(schedule.due(at(hour.into()), 0), 19 * SECOND);
}

#[test]
fn no_gap_is_cut_before_the_first_event_nor_at_a_rate() {
    let bound = Some(Duration::from_secs(1));
    let origin = Origin {
        start_at: Some(900 * SECOND),
        time: None,
    };
    let mut late = paced(1.0).from_origin(origin).with_max_gap(bound);
    let due = late.due(at(0), 0);
    assert_eq!((due, late.cap_gap(due)), (900 * SECOND, None));
    let mut rated = rated("0:1,1:0,60:1").with_max_gap(bound);
    leave(&mut rated, 0, 0);
    leave(&mut rated, 0, 0);
    let due = rated.due(at(0), 0);
    assert!(due >= 60 * SECOND, "{due}");
    assert_eq!(rated.cap_gap(due), None);
}

#[test]
fn a_pause_before_the_beginning_moves_nothing() {
    let origin = Origin {
        start_at: Some(100),
        time: None,
    };
    let mut schedule = paced(1.0).from_origin(origin);
    assert_eq!(schedule.due(at(7), 0), 100);
    assert!(schedule.begins_after(50));
    schedule.resume(10, 90);
    assert_eq!(schedule.due(at(7), 90), 100);
    schedule.resume(90, 150);
    assert_eq!(schedule.due(at(7), 150), 150);
}

#[test]
fn an_event_let_through_in_a_pause_takes_the_schedule_with_it() {
    for mut schedule in [paced(1.0), rated("1")] {
        leave(&mut schedule, 0, 0);
        // Paused at 2 ns; the next event is due at a second and let through.
        let due = schedule.due(at(SECOND.into()), 2);
        assert_eq!(due, SECOND);
        schedule.advance(due, 2);
        schedule.left(2, 5_000);
        schedule.resume(2, 9_000);
        // Its successor, a second later, is due a second after the pause.
        let after = schedule.due(at((2 * SECOND).into()), 9_000);
        assert_eq!(after, 9_000 + SECOND);
    }
}

#[test]
fn a_change_of_speed_starts_from_where_the_schedule_stood() {
    let mut schedule = paced(2.0);
    leave(&mut schedule, 0, 0);
    assert_eq!(
        schedule.due(at(600), 100),
        300,
        "waited for before the change"
    );
    schedule.set_pace(speedup(4.0), 100);
    assert_eq!(schedule.due(at(200 + 400), 100), 200);
}

#[test]
fn a_change_of_rate_keeps_the_part_of_an_event_that_has_come() {
    let mut schedule = rated("1");
    leave(&mut schedule, 0, 0);
    // Three quarters of the way to the second event.
    schedule.set_pace(rate("0.5"), SECOND * 3 / 4);
    assert_eq!(leave(&mut schedule, 0, SECOND), SECOND * 5 / 4);
    assert_eq!(leave(&mut schedule, 0, SECOND), SECOND * 13 / 4);
}

#[test]
fn a_change_to_what_counts_otherwise_has_the_next_event_due_now() {
    let hour = 3_600 * i128::from(SECOND);
    let mut schedule = paced(1.0);
    leave(&mut schedule, 0, 0);
    schedule.set_pace(rate("10"), 5);
    assert_eq!(leave(&mut schedule, hour, 5), 5);
    assert_eq!(leave(&mut schedule, hour, 5), 5 + SECOND / 10);
    schedule.set_pace(speedup(1.0), SECOND);
    assert_eq!(leave(&mut schedule, 9 * hour, SECOND), SECOND);
    assert_eq!(leave(&mut schedule, 9 * hour + 5, SECOND), SECOND + 5);
    schedule.set_pace(Pace::UNPACED, SECOND);
    assert_eq!(leave(&mut schedule, 99 * hour, 7 * SECOND), 7 * SECOND);
}

#[test]
fn several_producers_share_one_clock() {
    let origin = Origin {
        start_at: Some(-SECOND),
        time: Some(at(1_000)),
    };
    let mut schedule = paced(2.0).from_origin(origin);
    // A second of wall time at twice the speed has passed before the run began.
    assert_eq!(leave(&mut schedule, 3_000, 40), -SECOND + 1_000);
    assert_eq!(
        leave(&mut schedule, 1_000 + 4 * i128::from(SECOND), 40),
        SECOND
    );
    schedule.restart();
    assert_eq!(
        leave(&mut schedule, 1_000 + 6 * i128::from(SECOND), 40),
        2 * SECOND
    );
}

#[test]
fn a_rate_whose_start_has_passed_counts_from_the_run_in_the_step_in_force() {
    let origin = Origin {
        start_at: Some(-10 * SECOND),
        time: None,
    };
    let mut schedule = rated("0:1000,10:5,20:1").from_origin(origin);
    assert_eq!(leave(&mut schedule, 0, 0), 0, "no burst of what was before");
    assert_eq!(leave(&mut schedule, 0, 0), SECOND / 5);
}

#[test]
fn an_unpaced_stream_waits_for_its_start_only() {
    let origin = Origin {
        start_at: Some(50),
        time: None,
    };
    let mut schedule = Schedule::new(Pace::UNPACED, WhenLate::CatchUp).from_origin(origin);
    assert_eq!(schedule.due(at(9), 3), 50);
    assert_eq!(schedule.due(at(99), 60), 60);
}

#[test]
fn slip_moves_the_schedule_and_catch_up_does_not() {
    let mut slipping = Schedule::new(Speedup::default(), WhenLate::Slip);
    let mut catching = paced(1.0);
    for schedule in [&mut slipping, &mut catching] {
        let due = schedule.due(at(0), 0);
        schedule.left(due, 30);
    }
    assert_eq!(slipping.due(at(10), 30), 40);
    assert_eq!(catching.due(at(10), 30), 10);
}

/// What an operator may do to a schedule.
#[derive(Debug, Clone)]
enum Steer {
    Wait(WallNs),
    Pause(WallNs),
    Step(WallNs),
    SetPace(Pace),
}

fn steers() -> impl Strategy<Value = Vec<Steer>> {
    let span = 0..3 * SECOND;
    let pace = prop_oneof![
        (0.5f64..2_000.0).prop_map(speedup),
        (0.5f64..2_000.0).prop_map(|r| RateSteps::fixed(r).unwrap().into()),
        Just(rate("0:50,1:0,2:400")),
        Just(rate("0:400..0,1:0..900,2:50")),
    ];
    let steer = prop_oneof![
        span.clone().prop_map(Steer::Wait),
        span.clone().prop_map(Steer::Pause),
        span.prop_map(Steer::Step),
        pace.prop_map(Steer::SetPace),
    ];
    proptest::collection::vec(steer, 1..30)
}

proptest! {
    /// Law: never before due. The wall time passed, run at the speedup, is at
    /// least the event time passed (to float precision).
    #[test]
    fn no_event_is_due_before_its_share_of_wall_time(
        factor in prop_oneof![Just(0.01), Just(1.0), Just(600.0), Just(1_000_000.0), 0.01f64..1e6],
        elapsed in 0i128..10_000_000_000_000_000,
    ) {
        let mut schedule = paced(factor);
        schedule.due(at(0), 7);
        let due = schedule.due(at(elapsed), 7) - 7;
        let replayed = due as f64 * factor;
        prop_assert!(replayed >= elapsed as f64 * (1.0 - 1e-12), "{replayed} < {elapsed}");
        prop_assert!(replayed <= (elapsed as f64 + factor) * (1.0 + 1e-12));
    }

    /// However a stream is steered: events an even event second apart never leave
    /// faster than the pace in force says, from one to the next.
    #[test]
    fn no_steering_makes_a_burst(first in steers(), seed in 1u64..1_000) {
        let mut schedule = paced(100.0);
        let (mut now, mut event) = (i64::try_from(seed).unwrap(), 0i128);
        let mut last: Option<WallNs> = None;
        let mut crossed = true;
        for steer in first {
            match steer {
                Steer::Wait(span) => {
                    let until = now + span;
                    loop {
                        let due = schedule.due(at(event), now);
                        if due > until { break; }
                        prop_assert!(due <= until && due + 2 >= now, "late without a reason");
                        now = due.max(now);
                        if let (Some(last), false, Pace::Speedup(speedup)) =
                            (last, crossed, schedule.pace())
                        {
                            let gap = SECOND as f64 / speedup.factor();
                            prop_assert!((now - last) as f64 >= gap - 3.0, "{} after {last}", now);
                        }
                        schedule.left(due, now);
                        last = Some(now);
                        crossed = false;
                        event += i128::from(SECOND);
                    }
                    now = until;
                }
                Steer::Pause(span) => {
                    schedule.resume(now, now + span);
                    now += span;
                }
                Steer::Step(span) => {
                    let due = schedule.due(at(event), now);
                    schedule.advance(due, now);
                    schedule.left(now, now);
                    event += i128::from(SECOND);
                    schedule.resume(now, now + span);
                    now += span;
                    last = Some(now);
                    crossed = false;
                }
                Steer::SetPace(pace) => {
                    schedule.set_pace(pace, now);
                    // Between two paces a gap belongs to both.
                    crossed = true;
                }
            }
        }
    }
}
