//! `wsp-cli demo`: the promise, shown on one machine in half a minute.

use std::error::Error;
use std::fmt;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sandbox::{GateOptions, GateStats, ProfileOptions, StandInGate, World, WorldOptions};
use serde::Serialize;
use serde_json::{Value, json};

use super::complain;
use crate::args::DemoArgs;
use crate::{output, quantities, signals};

/// Events between saves; what a kill may repeat is this plus the lanes.
const FLUSH_EVERY: u64 = 500;
const LANES: u64 = 32;
/// How many event seconds pass in a wall second.
const SPEEDUP: &str = "600";
const PARTS: usize = 2;
/// Longer than any demo takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(5);

type Anything = Box<dyn Error + Send + Sync>;

/// What the demo proved.
#[derive(Debug, Serialize)]
struct Proof {
    status: &'static str,
    rows_in_the_world: u64,
    acknowledged_before_the_kill: u64,
    unique_events_at_the_gate: u64,
    missing: u64,
    repeated: u64,
    repeats_allowed: u64,
    second_run: Value,
}

/// Where the profile of a world alone pushes to, unless the environment says otherwise.
const GATE_OF_A_WORLD_ALONE: &str = "${IG_INGEST_URL:-http://127.0.0.1:8081}";

/// A world to try commands on.
#[derive(Debug, Serialize)]
struct Made {
    status: &'static str,
    rows: u64,
    engine_run_root: PathBuf,
    profile: PathBuf,
}

/// Makes a world, streams it, kills the stream half-way, resumes, and counts.
pub async fn run(args: DemoArgs) -> ExitCode {
    if args.world_only {
        return world_only(args).await;
    }
    let stop = Stop::default();
    let is_stopped = stop.clone();
    tokio::spawn(async move {
        if signals::first_signal().await.is_ok() {
            is_stopped.0.store(true, Ordering::Release);
        }
    });
    // Children are waited for, and files built: not on the async threads.
    match tokio::task::spawn_blocking(move || demo(&args, &stop)).await {
        Ok(Err(error)) if error.is::<Stopped>() => {
            output::print(
                &json!({"status": "STOPPED", "reason": "STOPPED", "detail": error.to_string()}),
            );
            ExitCode::from(3)
        }
        Ok(Ok(proof)) => {
            output::print(&proof);
            ExitCode::from(u8::from(proof.status != "NOTHING_LOST"))
        }
        Ok(Err(error)) => {
            complain("DEMO_FAILED", &error.to_string());
            ExitCode::FAILURE
        }
        Err(error) => {
            complain("DEMO_FAILED", &error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Makes the world and its profile, and streams nothing.
async fn world_only(args: DemoArgs) -> ExitCode {
    let made = tokio::task::spawn_blocking(move || make_world(&args)).await;
    match made.map_err(Anything::from).flatten() {
        Ok(made) => {
            output::print(&made);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain("DEMO_FAILED", &error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn make_world(args: &DemoArgs) -> Result<Made, Anything> {
    let folder = Folder::make(args)?;
    let options = world_of(args.events);
    let rows = options.rows();
    let world = options.build(folder.path())?;
    let profile = profile_of(&world, GATE_OF_A_WORLD_ALONE).write()?;
    Ok(Made {
        status: "MADE",
        rows,
        engine_run_root: from_here(world.engine_run_root()),
        profile: from_here(&profile),
    })
}

/// The sample world, of so many events or a few less.
fn world_of(events: u64) -> WorldOptions {
    let options = WorldOptions::sample();
    let per_part = (events / (options.outputs.len() as u64 * PARTS as u64)).max(1);
    options.with_shape(PARTS, per_part)
}

fn profile_of(world: &World, gate: &str) -> ProfileOptions {
    ProfileOptions::local(world, gate)
        .set("policy.stream_speedup", SPEEDUP)
        .set(
            "wiring.wsp_checkpoint.flush_every",
            &FLUSH_EVERY.to_string(),
        )
        .set("wiring.wsp_push.lanes", &LANES.to_string())
}

/// Whether a signal asked the demo to end.
#[derive(Debug, Clone, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn check(&self) -> Result<(), Stopped> {
        if self.0.load(Ordering::Acquire) {
            return Err(Stopped);
        }
        Ok(())
    }
}

/// The demo was asked to end.
#[derive(Debug)]
struct Stopped;

impl Error for Stopped {}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The demo was stopped; its stream is ended and its files are removed.")
    }
}

/// A stream of the demo; it is killed if the demo ends before it.
struct Streaming(Child);

impl Drop for Streaming {
    fn drop(&mut self) {
        // It has ended already, or there is nobody left to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn demo(args: &DemoArgs, stop: &Stop) -> Result<Proof, Anything> {
    let folder = Folder::make(args)?;
    output::tell(format_args!(
        "A world of {} events is streamed into a stand-in gate by a process that is killed half-way \
         and started again. It takes about a minute.\n\n",
        quantities::count(args.events)
    ));
    say(
        "1",
        "making a sealed sample world, with gate bundles and a contents index",
    );
    let options = world_of(args.events);
    let rows = options.rows();
    let world = options.build(&folder.path().join("world"))?;
    stop.check()?;
    output::tell(format_args!(
        "     {} rows in {}\n",
        quantities::count(rows),
        from_here(world.engine_run_root()).display()
    ));

    let gate = StandInGate::start(GateOptions {
        keep: Some(folder.path().join("gate.ndjson")),
        ..GateOptions::default()
    })?;
    say(
        "2",
        &format!("a stand-in ingestion gate listens at {}", gate.url()),
    );
    let profile = profile_of(&world, &gate.url()).write()?;

    say(
        "3",
        "streaming an hour of events at 600 times their speed, to be killed half-way",
    );
    let mut first = stream(&profile)?;
    wait_for(&gate, rows / 2, &mut first.0, stop)?;
    drop(first);
    let before = gate.stats();
    output::tell(format_args!(
        "     SIGKILL after {} events\n",
        quantities::count(before.unique)
    ));

    say("4", "streaming again: it resumes behind its cursors");
    let report: Value = serde_json::from_slice(&report_of(stream(&profile)?, stop)?)?;
    let proof = proof(rows, &before, &gate.stats(), report);
    say("5", &verdict(&proof));
    if let Some(kept) = folder.keep() {
        output::tell(format_args!(
            "     kept in {}\n",
            from_here(&kept).display()
        ));
        output::tell(format_args!("{}", next_steps(&profile)));
    }
    Ok(proof)
}

/// Where the demo's files are.
enum Folder {
    /// Removed with the value, unless it is to be kept.
    Temporary(tempfile::TempDir, bool),
    Named(PathBuf),
}

impl Folder {
    fn make(args: &DemoArgs) -> std::io::Result<Self> {
        let Some(named) = &args.folder else {
            let folder = tempfile::Builder::new().prefix("wsp-demo-").tempdir()?;
            return Ok(Self::Temporary(folder, args.keep));
        };
        if let Some(parent) = named.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::create_dir(named)?;
        Ok(Self::Named(std::path::absolute(named)?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder, _) => folder.path(),
            Self::Named(path) => path,
        }
    }

    /// Its path, if it stays.
    fn keep(self) -> Option<PathBuf> {
        match self {
            Self::Temporary(folder, true) => Some(folder.keep()),
            Self::Temporary(_, false) => None,
            Self::Named(path) => Some(path),
        }
    }
}

/// A path as it is typed from the working directory.
fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    let short = here
        .as_deref()
        .and_then(|here| path.strip_prefix(here).ok());
    short.unwrap_or(path).to_path_buf()
}

/// Three commands that a newcomer may go on with, as they are typed from here.
fn next_steps(profile: &Path) -> String {
    let program = std::env::current_exe().map_or_else(|_| "wsp-cli".into(), |exe| from_here(&exe));
    let (program, profile) = (program.display(), from_here(profile));
    let profile = profile.display();
    format!(
        "\nTo go on:\n  \
         {program} verify --profile {profile} --data      # all evidence of the world, every byte hashed\n  \
         {program} checkpoint show --profile {profile}    # where the stream stands\n  \
         {program} stream --help                          # a world of your own, a gate of your own\n"
    )
}

/// This program, streaming, as a process of its own: a kill must be a real one.
fn stream(profile: &Path) -> std::io::Result<Streaming> {
    let mut stream = Command::new(std::env::current_exe()?);
    stream
        .args(["stream", "--profile"])
        .arg(profile)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // Where no terminal shows a line that moves, the story would drown in lines that do not.
    if !std::io::stderr().is_terminal() && std::env::var_os("RUST_LOG").is_none() {
        stream.env("RUST_LOG", "warn");
    }
    Ok(Streaming(stream.spawn()?))
}

/// Waits for a stream to end, and answers what it printed.
fn report_of(mut stream: Streaming, stop: &Stop) -> Result<Vec<u8>, Anything> {
    let mut printed = stream
        .0
        .stdout
        .take()
        .ok_or("the stream has no standard output")?;
    // Read beside the wait: a report that fills the pipe would keep the stream from ending.
    let reading = std::thread::spawn(move || {
        let mut report = Vec::new();
        printed.read_to_end(&mut report).map(|_| report)
    });
    while stream.0.try_wait()?.is_none() {
        stop.check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    let report = reading.join().map_err(|_| "the report could not be read")?;
    Ok(report?)
}

fn wait_for(
    gate: &StandInGate,
    events: u64,
    stream: &mut Child,
    stop: &Stop,
) -> Result<(), Anything> {
    let began = Instant::now();
    while gate.stats().unique < events {
        stop.check()?;
        if let Some(status) = stream.try_wait()? {
            return Err(format!("the stream ended too early ({status})").into());
        }
        if began.elapsed() > PATIENCE {
            return Err("the stream took too long".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn proof(rows: u64, before: &GateStats, after: &GateStats, second_run: Value) -> Proof {
    let missing = rows.saturating_sub(after.unique);
    let repeats_allowed = FLUSH_EVERY + LANES;
    let complete = second_run["status"] == "STREAMED" && missing == 0 && after.unique == rows;
    Proof {
        status: if complete && after.duplicates <= repeats_allowed {
            "NOTHING_LOST"
        } else {
            "FAILED"
        },
        rows_in_the_world: rows,
        acknowledged_before_the_kill: before.unique,
        unique_events_at_the_gate: after.unique,
        missing,
        repeated: after.duplicates,
        repeats_allowed,
        second_run,
    }
}

fn verdict(proof: &Proof) -> String {
    format!(
        "{}: {} rows, {} unique events at the gate, {} missing, {} repeated ({} allowed for one kill)",
        proof.status.replace('_', " ").to_lowercase(),
        quantities::count(proof.rows_in_the_world),
        quantities::count(proof.unique_events_at_the_gate),
        quantities::count(proof.missing),
        quantities::count(proof.repeated),
        quantities::count(proof.repeats_allowed),
    )
}

fn say(step: &str, what: &str) {
    output::tell(format_args!("[{step}/5] {what}\n"));
}
