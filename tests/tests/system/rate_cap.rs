//! What may leave in a moment: a cap over the pace, and a schedule that slips, make no burst.

use std::thread::sleep;
use std::time::Duration;

use sandbox::{FaultRule, GateOptions, WorldOptions};
use system_tests::Rig;

const QUARTER_NS: u64 = 250_000_000;

fn rig(keys: &[(&str, &str)]) -> Rig {
    let gate = GateOptions {
        record_arrivals: true,
        ..GateOptions::default()
    };
    Rig::new(&WorldOptions::sample().with_shape(1, 120), gate, keys)
}

/// The most events that arrived within any quarter of a second, from a moment on.
fn most_in_a_quarter(rig: &Rig, from_ns: u64) -> usize {
    let mut times: Vec<u64> = rig
        .gate
        .arrivals()
        .iter()
        .map(|event| event.arrived_ns)
        .collect();
    times.sort_unstable();
    let times: Vec<u64> = times.into_iter().filter(|at| *at >= from_ns).collect();
    let within = |from: &u64| {
        times
            .iter()
            .filter(|at| (*from..from + QUARTER_NS).contains(*at))
            .count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

#[test]
fn after_a_stall_a_schedule_that_slips_makes_no_burst() {
    for flush_every in ["1", "1000"] {
        let rig = rig(&[
            ("wiring.wsp_push.when_late", "slip"),
            ("wiring.wsp_checkpoint.flush_every", flush_every),
        ]);
        let child = rig.start_stream(&["--rate", "100", "--max-events", "450"]);
        rig.wait_for_unique(60);
        let stall: FaultRule = "delay:2000,for=300".parse().unwrap();
        rig.gate.set_faults(vec![stall]).unwrap();
        sleep(Duration::from_millis(1_900));
        let back_ns = u64::try_from(rig.gate.epoch().0.elapsed().as_nanos()).unwrap();
        Rig::finish(child).expect(0, "MAX_EVENTS");
        let most = most_in_a_quarter(&rig, back_ns);
        assert!(
            most <= 28,
            "{most} in a quarter of a second, flush_every {flush_every}"
        );
    }
}

#[test]
fn a_cap_bounds_a_stream_that_its_pace_would_let_go_at_once() {
    let rig = rig(&[]);
    let ran = rig.stream(&[
        "--speedup",
        "100000",
        "--max-rate",
        "200",
        "--max-events",
        "400",
    ]);
    ran.expect(0, "MAX_EVENTS");
    let most = most_in_a_quarter(&rig, 0);
    assert!((40..=56).contains(&most), "{most}");
    let slow = rig.stream(&[
        "--speedup",
        "0",
        "--max-rate",
        "0:50,1:100",
        "--max-events",
        "100",
    ]);
    slow.expect(0, "MAX_EVENTS");
    assert!(
        slow.report["wall_seconds"].as_f64().unwrap() >= 1.4,
        "{}",
        slow.report
    );
}
