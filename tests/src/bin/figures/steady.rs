//! `flush` and `pace`: what durability costs, and how well the schedule is kept.

use std::time::Duration;

use sandbox::GateOptions;
use serde_json::Value;
use system_tests::Rig;

use crate::process::{Streamed, median};
use crate::world::{FLUSH_EVERY, rig, stream_of};

pub fn flush() {
    println!("flush: events a second by flush_every, medians of 3 alternating runs");
    let mut rig = rig(&stream_of(1, 200_000));
    for (backend, root) in [("file", "cursors"), ("sqlite", "cursors.sqlite")] {
        let every = ["1", "100", "1000", "10000"];
        let mut rates = vec![Vec::new(); every.len()];
        for round in 0..3 {
            for (flush_every, rates) in every.iter().zip(&mut rates) {
                rig.set(&[
                    ("wiring.wsp_checkpoint.backend", backend),
                    (
                        "wiring.wsp_checkpoint.root",
                        &format!("{round}-{flush_every}-{root}"),
                    ),
                    ("wiring.wsp_checkpoint.flush_every", flush_every),
                ]);
                let most = if *flush_every == "1" {
                    "10000"
                } else {
                    "200000"
                };
                rates.push(Streamed::run(&rig, &["--max-events", most]).rate());
            }
        }
        let rates: Vec<f64> = rates.into_iter().map(median).collect();
        let best = rates.iter().copied().fold(0.0, f64::max);
        for (flush_every, rate) in every.iter().zip(&rates) {
            println!(
                "  {backend:<8} {flush_every:>6}: {rate:>8.0}/s, costs {:.0} %",
                100.0 * (1.0 - rate / best)
            );
        }
    }
}

pub fn pace() {
    for (rate, seconds) in [(5_000u64, 62u64), (20_000, 20)] {
        let mut world = stream_of(2, rate * seconds / 2);
        world.span = Duration::from_secs(seconds);
        let keys = [("policy.stream_speedup", "1"), FLUSH_EVERY];
        let gate = GateOptions {
            validate: false,
            record_arrivals: true,
            ..GateOptions::default()
        };
        let rig = Rig::new(&world, gate, &keys);
        let run = Streamed::run(&rig, &[]);
        let lateness = &run.report["lateness_ms"]["send"];
        println!(
            "pace: {rate}/s over {seconds} s: lateness at send {lateness} ms, as stamped by the gate {}, {}; {:.0} % of a core",
            quantiles_ms(rig.lateness_at_the_gate(&run.report)),
            drift(&run.report),
            100.0 * run.used.cpu_seconds / run.used.seconds
        );
    }
}

/// p50, p99, p99.9 and the largest, in milliseconds.
fn quantiles_ms(mut ns: Vec<i128>) -> String {
    ns.sort_unstable();
    let at = |share: f64| ns[((ns.len() - 1) as f64 * share) as usize] as f64 / 1e6;
    format!(
        "p50 {:.3}, p99 {:.3}, p99.9 {:.3}, max {:.3} ms",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}

/// How far the last event was from its due time, as a share of the schedule.
fn drift(report: &Value) -> String {
    let schedule = &report["schedule"];
    let due = schedule["last_due_s"].as_f64().unwrap_or(0.0);
    let handed = schedule["last_handed_over_s"].as_f64().unwrap_or(0.0);
    format!(
        "last event due after {due:.3} s, handed over after {handed:.6} s, drift {:.5} %",
        100.0 * (handed - due) / due
    )
}
