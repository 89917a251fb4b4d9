//! Paces and rates: their text, and when events of a rate are due.

use proptest::prelude::*;

use super::*;

#[test]
fn a_negative_or_endless_speedup_is_refused() {
    for text in ["-1", "NaN", "inf", "fast"] {
        assert!(text.parse::<Speedup>().is_err(), "{text}");
    }
    assert!("0".parse::<Speedup>().unwrap().is_unpaced());
}

#[test]
fn rates_that_never_end_or_make_no_sense_are_refused() {
    for text in [
        "0",
        "-5",
        "inf",
        "",
        "fast",
        "5:100",
        "0:100,0:200",
        "0:100,60:0",
        "0:1,x:2",
        "0:10,60:5,30:7",
        "0:-1,5:3",
        "0:1;2",
        "0:1..5",
        "0:5..0,9:0",
        "0:1..,9:5",
        "0:1..-3,9:5",
        "0:1..2..3,9:5",
    ] {
        assert!(text.parse::<RateSteps>().is_err(), "{text}");
    }
    assert_eq!("500".parse::<RateSteps>().unwrap().steps().len(), 1);
    assert_eq!("0:0, 60:500".parse::<RateSteps>().unwrap().steps().len(), 2);
}

#[test]
fn steps_add_up_and_a_rate_of_zero_holds_still() {
    let steps: RateSteps = "0:10,2:0,5:100".parse().unwrap();
    let due = [0.0, 1.0, 20.0, 21.0, 120.0].map(|count| steps.wall_ns(count) / 1_000_000);
    assert_eq!(due, [0, 100, 2_000, 5_010, 6_000]);
    let counts = [-1, 0, 1_000_000_000, 4_000_000_000, 6_000_000_000];
    let counts = counts.map(|ns| steps.count_at(ns) as u64);
    assert_eq!(counts, [0, 0, 10, 20, 120]);
    let held: RateSteps = "0:0,3:5".parse().unwrap();
    assert_eq!(
        [0.0, 5.0].map(|n| held.wall_ns(n)),
        [3_000_000_000, 4_000_000_000]
    );
}

#[test]
fn on_a_ramp_the_rate_goes_from_one_to_the_other_in_a_straight_line() {
    let ramp: RateSteps = "0:0..100,10:100..0,20:50".parse().unwrap();
    assert_eq!(ramp.to_string(), "0:0..100,10:100..0,20:50");
    // Half of the events of a rising ramp come in its last 29 %.
    let counts = [1, 5, 10, 15, 20, 21].map(|s| ramp.count_at(s * 1_000_000_000).round() as u64);
    assert_eq!(counts, [5, 125, 500, 875, 1_000, 1_050]);
    let due = [0.0, 5.0, 125.0, 500.0, 875.0, 1_000.0, 1_050.0];
    let due = due.map(|count| ramp.wall_ns(count) / 1_000_000);
    assert_eq!(due, [0, 1_000, 5_000, 10_000, 15_000, 20_000, 21_000]);
    let flat: RateSteps = "0:8..8,5:8".parse().unwrap();
    assert_eq!(flat.wall_ns(20.0), 2_500_000_000);
    let held: RateSteps = "0:0..0,5:8".parse().unwrap();
    assert_eq!(held.wall_ns(0.0), 5_000_000_000);
}

fn any_steps() -> impl Strategy<Value = RateSteps> {
    let rate = || prop_oneof![Just(0.0), 0.1f64..50_000.0];
    let step = (0.1f64..100.0, rate(), proptest::option::of(rate()));
    (proptest::collection::vec(step, 0..6), 0.1f64..50_000.0).prop_map(|(parts, last)| {
        let mut offset_s = 0.0;
        let mut steps: Vec<_> = parts
            .into_iter()
            .map(|(lasts, rate, ramp_to)| {
                let step = RateStep::new(offset_s, rate).ramping_to(ramp_to);
                offset_s += lasts;
                step
            })
            .collect();
        steps.push(RateStep::new(offset_s, last));
        RateSteps::new(steps).unwrap()
    })
}

proptest! {
    /// Law: never before due. When an event leaves, as many are due as came before it.
    #[test]
    fn no_event_is_due_before_the_rate_has_come_to_it(
        steps in any_steps(), number in 0u32..3_000_000,
    ) {
        let count = f64::from(number);
        let due = steps.wall_ns(count);
        let reached = steps.count_at(due);
        prop_assert!(reached >= count * (1.0 - 1e-12) - 1e-9, "{reached} < {count}");
        // Nor a moment later than need be: a nanosecond before, it was not reached, or
        // only just.
        let before = steps.count_at(due - 2);
        prop_assert!(due <= 2 || before <= count + 1e-3, "{before} > {count}");
    }

    #[test]
    fn due_times_never_go_back(steps in any_steps(), number in 0u32..3_000_000) {
        let count = f64::from(number);
        prop_assert!(steps.wall_ns(count) <= steps.wall_ns(count + 1.0));
    }
}
