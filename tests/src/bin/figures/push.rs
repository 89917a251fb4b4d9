//! `push`: events a second of the whole job, decode to checkpoint, beside bare posts by `wrk`.
//!
//! Both post bodies of one size to the same gate by as many connections, in turn. A busy
//! machine distorts rates more than ratios, and processor time least of all: so what a
//! post costs the client and the gate is printed too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sandbox::GateOptions;
use system_tests::Rig;

use crate::process::{self, Streamed, Used, median};
use crate::world::stream_of;

const ROUNDS: usize = 3;
const SECONDS: u32 = 4;

pub fn push() {
    let mut rig = Rig::new(&stream_of(2, 200_000), GateOptions::bench(), &[]);
    let wrk = Wrk::new(rig.folder.path(), body_size(), &rig.gate.url());
    println!("push: the whole job beside wrk, medians of {ROUNDS} alternating runs");
    println!(
        "  lanes   wrk posts/s  wsp-cli events/s  ratio   processor µs a post: wrk + gate, wsp-cli + gate"
    );
    for lanes in [1, 8, 32, 64] {
        let threads = wrk.best_threads(lanes);
        let (mut posts, mut events) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            posts.push(Side::of(|| wrk.run(lanes, threads, SECONDS)));
            rig.set(&[
                ("wiring.wsp_push.lanes", &lanes.to_string()),
                ("wiring.wsp_checkpoint.flush_every", "10000"),
                (
                    "wiring.wsp_checkpoint.root",
                    &format!("cursors-{lanes}-{round}"),
                ),
            ]);
            let most = if lanes == 1 { "60000" } else { "400000" };
            events.push(Side::of(|| {
                let streamed = Streamed::run(&rig, &["--max-events", most]);
                (streamed.rate(), streamed.events(), streamed.used)
            }));
        }
        let ratios = posts.iter().zip(&events);
        let ratio = median(
            ratios
                .map(|(posts, events)| events.rate / posts.rate)
                .collect(),
        );
        let middle =
            |sides: &[Side], figure: fn(&Side) -> f64| median(sides.iter().map(figure).collect());
        println!(
            "  {lanes:>5} {:>13.0} {:>17.0} {ratio:>6.2}   {:.1} + {:.1}, {:.1} + {:.1}",
            middle(&posts, |side| side.rate),
            middle(&events, |side| side.rate),
            middle(&posts, |side| side.client_us),
            middle(&posts, |side| side.gate_us),
            middle(&events, |side| side.client_us),
            middle(&events, |side| side.gate_us),
        );
    }
}

/// One side of a round.
struct Side {
    /// Posts a second.
    rate: f64,
    /// Processor time of a post, in microseconds: the client's.
    client_us: f64,
    /// And the gate's, which runs in this process.
    gate_us: f64,
}

impl Side {
    /// Of a client that gives its rate, how many posts it made and what it used.
    fn of(client: impl FnOnce() -> (f64, f64, Used)) -> Self {
        let mine = || process::cpu_seconds("self").unwrap_or(0.0);
        let before = mine();
        let (rate, posts, used) = client();
        Self {
            rate,
            client_us: used.cpu_seconds / posts * 1e6,
            gate_us: (mine() - before) / posts * 1e6,
        }
    }
}

/// How long the envelopes are, on average.
fn body_size() -> usize {
    let kept = tempfile::tempdir().expect("a temporary folder");
    let kept = kept.path().join("kept.ndjson");
    let gate = GateOptions {
        keep: Some(kept.clone()),
        ..GateOptions::default()
    };
    let rig = Rig::new(&stream_of(1, 1_000), gate, &[]);
    Streamed::run(&rig, &[]);
    let bytes = fs::metadata(&kept).expect("a file of envelopes").len();
    bytes as usize / 1_000
}

struct Wrk {
    script: PathBuf,
    url: String,
}

impl Wrk {
    fn new(folder: &Path, body_size: usize, gate: &str) -> Self {
        let script = folder.join("post.lua");
        let body = format!("{:<body_size$}", r#"{"event_id":"0"}"#);
        let text = format!(
            "wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['content-type'] = 'application/json'\n"
        );
        fs::write(&script, text).expect("the script is written");
        println!("push: wrk posts bodies of {body_size} bytes, as long as the envelopes are");
        Self {
            script,
            url: format!("{gate}/v1/ingest/push"),
        }
    }

    /// The thread count that makes the most of so many connections.
    fn best_threads(&self, connections: u32) -> u32 {
        if connections == 1 {
            return 1;
        }
        let rate = |threads| self.run(connections, threads, 2).0;
        if rate(1) > rate(2) { 1 } else { 2 }
    }

    /// Posts a second, posts, and what wrk used.
    fn run(&self, connections: u32, threads: u32, seconds: u32) -> (f64, f64, Used) {
        let [connections, threads, seconds] =
            [connections, threads, seconds].map(|n| n.to_string());
        let mut child = Command::new("wrk")
            .args(["-c", &connections, "-t", &threads, "-d", &seconds, "-s"])
            .arg(&self.script)
            .arg(&self.url)
            .stdout(Stdio::piped())
            .spawn()
            .expect("wrk is installed (Debian package wrk)");
        let used = process::watch(&mut child);
        let output = child.wait_with_output().expect("wrk ends");
        let text = String::from_utf8_lossy(&output.stdout);
        let number = |line: &str| -> f64 {
            line.split_whitespace()
                .find_map(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("wrk printed no number:\n{text}"))
        };
        let line = |wanted: &str| {
            text.lines()
                .find(|line| line.contains(wanted))
                .map_or(f64::NAN, number)
        };
        (line("Requests/sec:"), line("requests in"), used)
    }
}
