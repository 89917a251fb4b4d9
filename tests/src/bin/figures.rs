//! The figures of `docs/benchmarks.md`: `figures <name>…`, release builds, real processes.
//!
//! | name | what it gives |
//! |---|---|
//! | `push` | events a second of the whole job beside bare posts by `wrk`, alternating, at 1, 8, 32 and 64 lanes |
//! | `start` | time from starting the process to its first post |
//! | `resume` | the same, resuming at row 0 and at row 4,900,000 of one part, alternating |
//! | `memory` | peak resident memory over 5 million rows |
//! | `wide` | the same over 20 million rows in 500 parts of 5 outputs, 64 of them overlapping; and a resume at 99 % |
//! | `scale` | time for 10 million rows over time for 1 million |
//! | `flush` | share of throughput that `flush_every` costs |
//! | `pace` | lateness at send, and drift over a minute |
//!
//! Everything is built in a temporary folder and removed. Timings on a shared machine
//! are noisy: what is compared alternates in one run, and the ratio is what counts.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool for the terminal"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::{GateOptions, OutputOptions, SampleOutput, WorldOptions};
use serde_json::Value;
use system_tests::Rig;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    for name in &names {
        match name.as_str() {
            "push" => push(),
            "start" => start(),
            "resume" => resume(),
            "memory" => memory(),
            "wide" => wide(),
            "scale" => scale(),
            "flush" => flush(),
            "pace" => pace(),
            other => eprintln!("no figure is called {other}"),
        }
    }
}

/// One output of event-stream rows.
fn stream_of(parts: usize, rows_per_part: u64) -> WorldOptions {
    let output = OutputOptions {
        parts,
        rows_per_part,
        ..OutputOptions::of(SampleOutput::EventStreamBaseline)
    };
    WorldOptions::sample().with_outputs([output])
}

fn rig(world: &WorldOptions, keys: &[(&str, &str)]) -> Rig {
    Rig::new(world, GateOptions::bench(), keys)
}

/// What a process came to.
struct Measured {
    report: Value,
    seconds: f64,
    /// The largest resident set seen, in MiB.
    peak_mib: f64,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.report["events_per_second"].as_f64().unwrap()
    }
}

fn measure(rig: &Rig, more: &[&str]) -> Measured {
    let began = Instant::now();
    let mut child = rig.start_stream(more);
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0.0f64;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak_kib = peak_kib.max(kib.unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let seconds = began.elapsed().as_secs_f64();
    let ran = Rig::finish(child);
    assert_eq!(ran.status, 0, "{}\n{}", ran.report, ran.stderr);
    Measured {
        report: ran.report,
        seconds,
        peak_mib: peak_kib / 1024.0,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

// --- push ---------------------------------------------------------------------

fn push() {
    let world = stream_of(2, 400_000);
    let lanes_to_try = [1, 8, 32, 64];
    println!("push: whole job beside wrk, events a second, medians of 3 alternating runs");
    for lanes in lanes_to_try {
        let mut rig = rig(&world, &[]);
        let events = if lanes == 1 { "150000" } else { "800000" };
        let lane_count = lanes.to_string();
        let script = rig.folder.path().join("post.lua");
        write_wrk_script(&script);
        let (mut posts, mut streamed) = (Vec::new(), Vec::new());
        for round in 0..3 {
            posts.push(wrk(&rig, &script, lanes));
            let cursors = format!("cursors-{round}");
            rig.set(&[
                ("wiring.wsp_push.lanes", &lane_count),
                ("wiring.wsp_checkpoint.flush_every", "10000"),
                ("wiring.wsp_checkpoint.root", &cursors),
            ]);
            streamed.push(measure(&rig, &["--max-events", events]).rate());
        }
        let (posts, streamed) = (median(posts), median(streamed));
        println!(
            "  {lanes:>2} lanes: wrk {posts:>8.0}/s, wsp-cli {streamed:>8.0}/s, ratio {:.2}",
            streamed / posts
        );
    }
}

/// Posts bodies of the size of the world's envelopes.
fn write_wrk_script(script: &Path) {
    let row = r#"{"event_id":"0"}"#;
    let body = format!("{row:<1000}").replace('\'', " ");
    let text = format!(
        "wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['content-type'] = 'application/json'\n"
    );
    std::fs::File::create(script)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

fn wrk(rig: &Rig, script: &Path, connections: u32) -> f64 {
    let url = format!("{}/v1/ingest/push", rig.gate.url());
    let rate = |threads: u32| {
        let output = Command::new("wrk")
            .args([
                "-d",
                "4",
                "-t",
                &threads.to_string(),
                "-c",
                &connections.to_string(),
                "-s",
            ])
            .arg(script)
            .arg(&url)
            .output()
            .expect("wrk is installed (Debian package wrk)");
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("Requests/sec:"));
        line.unwrap_or_else(|| panic!("{text}"))
            .trim()
            .parse::<f64>()
            .unwrap()
    };
    // Its best thread count.
    if connections == 1 {
        rate(1)
    } else {
        rate(1).max(rate(2))
    }
}

// --- start and resume ---------------------------------------------------------

/// Milliseconds from starting a stream of one event to the gate's first post.
fn to_first_post(rig: &Rig) -> f64 {
    let before = rig.gate.stats().posts;
    let began = Instant::now();
    let child = rig.start_stream(&["--max-events", "1"]);
    while rig.gate.stats().posts == before {
        assert!(began.elapsed() < Duration::from_mins(2), "no post");
        std::thread::sleep(Duration::from_micros(200));
    }
    let elapsed = began.elapsed();
    Rig::finish(child);
    elapsed.as_secs_f64() * 1e3
}

fn start() {
    let rig = rig(&WorldOptions::sample().with_shape(2, 10_000), &[]);
    let times = (0..11).map(|_| to_first_post(&rig)).collect();
    println!(
        "start: {:.0} ms from exec to the first post (median of 11)",
        median(times)
    );
}

fn resume() {
    for order in ["as_written", "event_time"] {
        let world = stream_of(1, 5_000_000);
        let mut rig = rig(&world, &[]);
        let keys = |root: &'static str| {
            [
                ("wiring.wsp_checkpoint.root", root),
                ("wiring.wsp_checkpoint.flush_every", "10000"),
                ("policy.stream_order", order),
            ]
        };
        rig.set(&keys("deep"));
        measure(&rig, &["--max-events", "4900000"]);
        let (mut shallow, mut deep) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            rig.set(&keys("fresh"));
            shallow.push(to_first_post(&rig));
            rig.set(&keys("deep"));
            deep.push(to_first_post(&rig));
        }
        let (shallow, deep) = (median(shallow), median(deep));
        println!(
            "resume ({order}): first post after {shallow:.0} ms at row 0, {deep:.0} ms at row 4,900,000: {:+.0} ms",
            deep - shallow
        );
    }
}

// --- memory and scale ----------------------------------------------------------

fn memory() {
    let rig = rig(
        &stream_of(2, 2_500_000),
        &[("wiring.wsp_checkpoint.flush_every", "10000")],
    );
    let run = measure(&rig, &[]);
    println!(
        "memory: {:.0} MiB peak over 5,000,000 rows, {:.0} events/s",
        run.peak_mib,
        run.rate()
    );
}

fn wide() {
    let mut world = WorldOptions::sample().with_shape(100, 40_000);
    for output in &mut world.outputs {
        output.row_group_rows = 8_192;
        output.overlap = 12;
    }
    let mut rig = rig(&world, &[("wiring.wsp_checkpoint.flush_every", "10000")]);
    let rows = rig.rows();
    let overlap = rig.run(&["plan"], &[]).report["overlap"].clone();
    let most = (rows / 100 * 99).to_string();
    let run = measure(&rig, &["--max-events", &most]);
    println!(
        "wide: {:.0} MiB peak over {most} of {rows} rows, {:.0} events/s, {overlap}",
        run.peak_mib,
        run.rate()
    );
    rig.set(&[("wiring.wsp_checkpoint.flush_every", "10000")]);
    let times = (0..5).map(|_| to_first_post(&rig)).collect();
    println!(
        "wide: resume at 99 % reaches its first post in {:.0} ms (median of 5)",
        median(times)
    );
}

fn scale() {
    let time = |rows: u64| {
        let rig = rig(
            &stream_of(10, rows / 10),
            &[("wiring.wsp_checkpoint.flush_every", "10000")],
        );
        measure(&rig, &[]).seconds
    };
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        small.push(time(1_000_000));
        large.push(time(10_000_000));
    }
    let (small, large) = (median(small), median(large));
    println!(
        "scale: 10 million rows in {large:.1} s, 1 million in {small:.1} s: ratio {:.2}",
        large / small
    );
}

// --- flush and pace --------------------------------------------------------------

fn flush() {
    println!("flush: events a second by flush_every, medians of 3 alternating runs");
    let backends = [("file", "cursors"), ("sqlite", "cursors.sqlite")];
    for (backend, root) in backends {
        let every = ["1", "100", "1000", "10000"];
        let mut rates = vec![Vec::new(); every.len()];
        let world = stream_of(1, 400_000);
        let mut rig = rig(&world, &[]);
        for round in 0..3 {
            for (index, flush_every) in every.iter().enumerate() {
                let root = format!("{round}-{flush_every}-{root}");
                rig.set(&[
                    ("wiring.wsp_checkpoint.backend", backend),
                    ("wiring.wsp_checkpoint.root", &root),
                    ("wiring.wsp_checkpoint.flush_every", flush_every),
                ]);
                let events = if *flush_every == "1" {
                    "20000"
                } else {
                    "400000"
                };
                rates[index].push(measure(&rig, &["--max-events", events]).rate());
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

fn pace() {
    for (rate, seconds) in [(5_000u64, 62u64), (20_000, 20)] {
        let mut world = stream_of(2, rate * seconds / 2);
        world.span = Duration::from_secs(seconds);
        let rig = rig(
            &world,
            &[
                ("policy.stream_speedup", "1"),
                ("wiring.wsp_checkpoint.flush_every", "10000"),
            ],
        );
        let run = measure(&rig, &[]);
        let lateness = &run.report["lateness_ms"]["send"];
        println!(
            "pace: {rate}/s over {seconds} s: lateness at send {lateness} ms, {}",
            drift(&run.report)
        );
    }
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
