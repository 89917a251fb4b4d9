//! No future leakage: the gate, holding the producer's own schedule, finds no event
//! before its due time.

use std::time::Duration;

use sandbox::{GateOptions, WorldOptions};
use system_tests::{Ran, Rig};

/// The two processes read the wall clock apart: what that may differ by.
const CLOCK_READING: i128 = 200_000;

fn recording() -> GateOptions {
    GateOptions {
        record_arrivals: true,
        ..GateOptions::default()
    }
}

/// Panics if any arrival from number `first` on was early by the run's schedule.
fn assert_none_early(rig: &Rig, ran: &Ran, first: usize) {
    let lateness = rig.lateness_at_the_gate(&ran.report);
    assert!(lateness.len() > first, "nothing arrived");
    for late in &lateness[first..] {
        assert!(
            late + CLOCK_READING >= 0,
            "an event came {} µs before it was due: {}",
            -late / 1_000,
            ran.report["schedule"]
        );
    }
}

#[test]
fn no_event_is_early_at_any_speed() {
    for speedup in ["600", "1800", "36000", "1000000"] {
        let keys = [
            ("policy.stream_speedup", speedup),
            ("wiring.wsp_checkpoint.flush_every", "50"),
        ];
        let rig = Rig::new(
            &WorldOptions::sample().with_shape(2, 100),
            recording(),
            &keys,
        );
        let ran = rig.stream(&[]);
        ran.expect(0, "");
        assert_none_early(&rig, &ran, 0);
        let lateness = &ran.report["lateness_ms"]["send"];
        assert!(lateness["p50"].as_f64().is_some(), "{}", ran.report);
    }
}

#[test]
fn no_event_is_early_in_slow_motion() {
    let mut world = WorldOptions::sample().with_shape(1, 20);
    world.span = Duration::from_millis(20);
    let rig = Rig::new(&world, recording(), &[("policy.stream_speedup", "0.01")]);
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    assert_none_early(&rig, &ran, 0);
    assert!(
        ran.report["schedule"]["last_due_s"].as_f64().unwrap() > 1.0,
        "{}",
        ran.report
    );
}

#[test]
fn no_event_is_early_after_a_resume() {
    let keys = [("policy.stream_speedup", "3600")];
    let rig = Rig::new(
        &WorldOptions::sample().with_shape(2, 100),
        recording(),
        &keys,
    );
    let half = rig.rows() / 2;
    let first = rig.stream(&["--max-events", &half.to_string()]);
    first.expect(0, "MAX_EVENTS");
    assert_none_early(&rig, &first, 0);
    let second = rig.stream(&[]);
    second.expect(0, "");
    assert_none_early(&rig, &second, half as usize);
}

#[test]
fn a_paced_run_takes_the_time_of_its_schedule() {
    let keys = [("policy.stream_speedup", "1200")];
    let rig = Rig::new(
        &WorldOptions::sample().with_shape(1, 200),
        recording(),
        &keys,
    );
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    let schedule = &ran.report["schedule"];
    let (due, handed) = (&schedule["last_due_s"], &schedule["last_handed_over_s"]);
    let (due, handed) = (due.as_f64().unwrap(), handed.as_f64().unwrap());
    // Two-sided and generous: never early, and not long after on a busy machine.
    assert!(
        handed >= due && handed <= due + 20.0,
        "due after {due} s, handed over after {handed} s"
    );
    assert!(
        (2.5..=3.1).contains(&due),
        "an hour at 1200 times its speed: {due} s"
    );
}

#[test]
fn a_window_of_event_time_streams_what_lies_in_it() {
    let rig = Rig::new(&WorldOptions::sample().with_shape(2, 200), recording(), &[]);
    let cut = "2026-01-28T08:30:00.000000Z";
    let before = rig.stream(&["--to", cut]);
    before.expect(0, "");
    let last = before.report["last_ts_utc"].as_str().unwrap().to_owned();
    assert!(*last < *cut, "{last}");
    let emitted = before.report["emitted"].as_u64().unwrap();
    assert!(emitted > 0 && emitted < rig.rows());
    let rest = rig.stream(&[]);
    rest.expect(0, "");
    assert_eq!(
        rest.report["emitted"].as_u64().unwrap(),
        rig.rows() - emitted
    );
    assert!(rest.report["first_ts_utc"].as_str().unwrap() >= cut);
    rig.stream(&["--from", cut])
        .expect(1, "CHECKPOINT_PLAN_MISMATCH");
    rig.stream(&["--order", "as_written", "--from", cut])
        .expect(2, "PROFILE_INVALID");
}
