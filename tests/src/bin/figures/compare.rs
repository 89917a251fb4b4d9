//! `compare`: this build beside another one, alternating in one run.
//!
//! The other binary is named by `WSP_CLI_BEFORE`. Both stream the same world into the same
//! gate with the same profile, so what differs is the build.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sandbox::{GateOptions, WorldOptions};
use system_tests::Rig;

use crate::process::{Streamed, Used, median, watch};
use crate::starts::first_post_of;
use crate::world::{FLUSH_EVERY, rig, stream_of};

const ROUNDS: usize = 5;

/// This build, and the one before.
struct Builds {
    before: PathBuf,
}

impl Builds {
    fn start(&self, rig: &Rig, is_before: bool, more: &[&str]) -> Child {
        let stream = rig.command(&["stream"], more);
        let program = if is_before {
            self.before.as_os_str()
        } else {
            stream.get_program()
        };
        let mut command = Command::new(program);
        command
            .args(stream.get_args())
            .current_dir(rig.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("the build starts")
    }

    fn stream(&self, rig: &Rig, is_before: bool, more: &[&str]) -> Streamed {
        let mut child = self.start(rig, is_before, more);
        let used = watch(&mut child);
        let ran = Rig::finish(child);
        assert_eq!(ran.status, 0, "{}\n{}", ran.report, ran.stderr);
        Streamed {
            report: ran.report,
            used,
        }
    }
}

pub fn compare() {
    let before = std::env::var_os("WSP_CLI_BEFORE").expect("WSP_CLI_BEFORE names a binary");
    let before = Path::new(&before).canonicalize().expect("it is there");
    let builds = Builds { before };
    throughput(&builds);
    first_posts(&builds);
    resumes(&builds);
    wide(&builds);
    flushes(&builds);
    pace(&builds);
}

fn throughput(builds: &Builds) {
    println!("compare: before, after, ratio; medians of {ROUNDS} alternating runs");
    println!("  lanes   events/s                 processor µs an event    peak MiB");
    let mut rig = rig(&stream_of(2, 200_000));
    for lanes in [1, 8, 32, 64] {
        let most = if lanes == 1 { "60000" } else { "400000" };
        let mut sides: [Vec<(f64, f64, f64)>; 2] = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            // Who comes first alternates too.
            for side in [round % 2, 1 - round % 2] {
                rig.set(&[
                    ("wiring.wsp_push.lanes", &lanes.to_string()),
                    FLUSH_EVERY,
                    (
                        "wiring.wsp_checkpoint.root",
                        &format!("cursors-{lanes}-{round}-{side}"),
                    ),
                ]);
                let run = builds.stream(&rig, side == 0, &["--max-events", most]);
                let Used {
                    cpu_seconds,
                    peak_mib,
                    ..
                } = run.used;
                sides[side].push((run.rate(), cpu_seconds / run.events() * 1e6, peak_mib));
            }
        }
        let middle = |side: usize, figure: fn(&(f64, f64, f64)) -> f64| {
            median(sides[side].iter().map(figure).collect())
        };
        let figure = |figure| (middle(0, figure), middle(1, figure));
        let (rate, cpu, peak) = (figure(|f| f.0), figure(|f| f.1), figure(|f| f.2));
        println!(
            "  {lanes:>5} {:>9.0} {:>9.0} {:.2}   {:>6.2} {:>6.2} {:.2}   {:>5.0} {:>5.0}",
            rate.0,
            rate.1,
            rate.1 / rate.0,
            cpu.0,
            cpu.1,
            cpu.1 / cpu.0,
            peak.0,
            peak.1
        );
    }
}

fn first_posts(builds: &Builds) {
    let mut rig = rig(&WorldOptions::sample().with_shape(2, 10_000));
    let mut sides = [Vec::new(), Vec::new()];
    for round in 0..22 {
        let side = round % 2;
        // An older build refuses cursors of a newer one.
        let root = format!("cursors-{side}");
        rig.set(&[("wiring.wsp_checkpoint.root", &root)]);
        sides[side].push(first_post_of(&rig, || {
            builds.start(&rig, side == 0, &["--max-events", "1"])
        }));
    }
    let [before, after] = sides.map(median);
    println!("  first post after exec: {before:.1} and {after:.1} ms (medians of 11)");
}

fn resumes(builds: &Builds) {
    let mut rig = rig(&stream_of(1, 2_000_000));
    for order in ["as_written", "event_time"] {
        let mut sides = [Vec::new(), Vec::new()];
        for round in 0..14 {
            let side = round % 2;
            let root = format!("cursors-{order}-{side}");
            rig.set(&[
                ("wiring.wsp_checkpoint.root", &root),
                ("policy.stream_order", order),
                FLUSH_EVERY,
            ]);
            if round < 2 {
                builds.stream(&rig, side == 0, &["--max-events", "1900000"]);
            }
            sides[side].push(first_post_of(&rig, || {
                builds.start(&rig, side == 0, &["--max-events", "1"])
            }));
        }
        let [before, after] = sides.map(median);
        println!(
            "  resume behind row 1,900,000 ({order}): first post after {before:.1} and {after:.1} ms (medians of 7)"
        );
    }
}

fn wide(builds: &Builds) {
    let mut world = WorldOptions::sample().with_shape(100, 10_000);
    for output in &mut world.outputs {
        output.row_group_rows = 8_192;
        output.overlap = 12;
    }
    let mut rig = rig(&world);
    for round in 0..4 {
        let side = round % 2;
        let root = format!("cursors-{round}");
        rig.set(&[("wiring.wsp_checkpoint.root", &root), FLUSH_EVERY]);
        let run = builds.stream(&rig, side == 0, &[]);
        let who = ["before", "after"][side];
        println!(
            "  wide, 5,000,000 rows in 500 parts, {who}: {:.0} MiB peak, {:.0} events/s, {:.2} µs an event",
            run.used.peak_mib,
            run.rate(),
            run.used.cpu_seconds / run.events() * 1e6
        );
    }
}

fn flushes(builds: &Builds) {
    let mut rig = rig(&stream_of(1, 200_000));
    for (backend, every, most) in [
        ("file", "1", "10000"),
        ("file", "100", "100000"),
        ("sqlite", "1", "10000"),
        ("sqlite", "100", "100000"),
    ] {
        let mut sides = [Vec::new(), Vec::new()];
        for round in 0..6 {
            let side = round % 2;
            let root = format!("cursors-{backend}-{every}-{round}");
            rig.set(&[
                ("wiring.wsp_checkpoint.backend", backend),
                ("wiring.wsp_checkpoint.root", &root),
                ("wiring.wsp_checkpoint.flush_every", every),
            ]);
            let run = builds.stream(&rig, side == 0, &["--max-events", most]);
            sides[side].push(run.rate());
        }
        let [before, after] = sides.map(median);
        println!(
            "  {backend}, flush_every {every}: {before:.0} and {after:.0} events/s, ratio {:.2} (medians of 3)",
            after / before
        );
    }
}

fn pace(builds: &Builds) {
    for (rate, seconds) in [(5_000_u64, 20_u64), (20_000, 20)] {
        let mut world = stream_of(2, rate * seconds / 2);
        world.span = Duration::from_secs(seconds);
        let keys = [("policy.stream_speedup", "1"), FLUSH_EVERY];
        let mut rig = Rig::new(&world, GateOptions::bench(), &keys);
        for round in 0..4 {
            let side = round % 2;
            let root = format!("cursors-{round}");
            rig.set(&[keys[0], keys[1], ("wiring.wsp_checkpoint.root", &root)]);
            let run = builds.stream(&rig, side == 0, &[]);
            let who = ["before", "after"][side];
            println!(
                "  pace {rate}/s, {who}: lateness at send {} ms; {:.0} % of a core",
                run.report["lateness_ms"]["send"],
                100.0 * run.used.cpu_seconds / run.used.seconds
            );
        }
    }
}
