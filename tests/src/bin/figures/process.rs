//! A process, measured while it runs: its time, its memory, its processor time.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::Rig;

/// How often a running process is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// What `/proc` counts processor time in, on every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// What a process used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// From start to end, in seconds.
    pub seconds: f64,
    /// On processors, in user and kernel mode together, in seconds.
    pub cpu_seconds: f64,
    /// The largest resident set, in MiB.
    pub peak_mib: f64,
}

/// Looks at a child until it has ended.
pub fn watch(child: &mut Child) -> Used {
    let began = Instant::now();
    let process = child.id().to_string();
    let mut used = Used::default();
    loop {
        // The last looks are at a process that has ended, which still knows its times.
        used.cpu_seconds = cpu_seconds(&process).unwrap_or(0.0).max(used.cpu_seconds);
        used.peak_mib = peak_mib(&process).unwrap_or(0.0).max(used.peak_mib);
        if child
            .try_wait()
            .expect("a child can be waited for")
            .is_some()
        {
            used.seconds = began.elapsed().as_secs_f64();
            return used;
        }
        thread::sleep(LOOK);
    }
}

/// Processor time that a process (a number, or `self`) has used.
pub fn cpu_seconds(process: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // A name in brackets may hold anything; behind it the state is the first field.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_A_SECOND)
}

fn peak_mib(process: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}

/// What a stream came to.
pub struct Streamed {
    /// Its report.
    pub report: Value,
    /// What it used.
    pub used: Used,
}

impl Streamed {
    /// Streams with a rig's profile, to a good end.
    pub fn run(rig: &Rig, more: &[&str]) -> Self {
        let mut child = rig.start_stream(more);
        let used = watch(&mut child);
        let ran = Rig::finish(child);
        assert_eq!(ran.status, 0, "{}\n{}", ran.report, ran.stderr);
        Self {
            report: ran.report,
            used,
        }
    }

    /// Events a second, from the first event to the last save.
    pub fn rate(&self) -> f64 {
        self.report["events_per_second"].as_f64().expect("a rate")
    }

    /// Events acknowledged.
    pub fn events(&self) -> f64 {
        self.report["emitted"].as_f64().expect("a count")
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
