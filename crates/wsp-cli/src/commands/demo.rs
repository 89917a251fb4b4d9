//! `wsp-cli demo`: the promise, shown on one machine in half a minute.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use sandbox::{GateOptions, GateStats, ProfileOptions, StandInGate, WorldOptions};
use serde::Serialize;
use serde_json::Value;

use super::complain;
use crate::args::DemoArgs;
use crate::output;

/// Events between saves; what a kill may repeat is this plus the lanes.
const FLUSH_EVERY: u64 = 500;
const LANES: u64 = 32;
/// How many event seconds pass in a wall second.
const SPEEDUP: &str = "600";
const PARTS: usize = 2;
/// Longer than any demo takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(5);

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

/// Makes a world, streams it, kills the stream half-way, resumes, and counts.
pub async fn run(args: DemoArgs) -> ExitCode {
    // Children are waited for, and files built: not on the async threads.
    match tokio::task::spawn_blocking(move || demo(&args)).await {
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

fn demo(args: &DemoArgs) -> Result<Proof, Box<dyn Error + Send + Sync>> {
    let folder = tempfile::Builder::new().prefix("wsp-demo-").tempdir()?;
    say(
        "1",
        "making a sealed sample world, with gate bundles and a contents index",
    );
    let options = WorldOptions::sample();
    let per_part = (args.events / (options.outputs.len() as u64 * PARTS as u64)).max(1);
    let options = options.with_shape(PARTS, per_part);
    let rows = options.rows();
    let world = options.build(&folder.path().join("world"))?;
    output::tell(format_args!(
        "     {rows} rows in {}\n",
        world.engine_run_root().display()
    ));

    let gate = StandInGate::start(GateOptions {
        keep: Some(folder.path().join("gate.ndjson")),
        ..GateOptions::default()
    })?;
    say(
        "2",
        &format!("a stand-in ingestion gate listens at {}", gate.url()),
    );
    let profile = ProfileOptions::local(&world, &gate.url())
        .set("policy.stream_speedup", SPEEDUP)
        .set(
            "wiring.wsp_checkpoint.flush_every",
            &FLUSH_EVERY.to_string(),
        )
        .set("wiring.wsp_push.lanes", &LANES.to_string())
        .write()?;

    say(
        "3",
        "streaming an hour of events at 600 times their speed, and killing it half-way",
    );
    let mut first = stream(&profile)?;
    wait_for(&gate, rows / 2, &mut first)?;
    first.kill()?;
    first.wait()?;
    let before = gate.stats();
    output::tell(format_args!(
        "     SIGKILL after {} events\n",
        before.unique
    ));

    say("4", "streaming again: it resumes behind its cursors");
    let second = stream(&profile)?.wait_with_output()?;
    let report: Value = serde_json::from_slice(&second.stdout)?;
    let proof = proof(rows, &before, &gate.stats(), report);
    say("5", &verdict(&proof));
    if args.keep {
        output::tell(format_args!("     kept in {}\n", folder.keep().display()));
    }
    Ok(proof)
}

/// This program, streaming, as a process of its own: a kill must be a real one.
fn stream(profile: &Path) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("stream")
        .arg("--profile")
        .arg(profile)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
}

fn wait_for(
    gate: &StandInGate,
    events: u64,
    stream: &mut Child,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let began = Instant::now();
    while gate.stats().unique < events {
        if let Some(status) = stream.try_wait()? {
            return Err(format!("the stream ended too early ({status})").into());
        }
        if began.elapsed() > PATIENCE {
            stream.kill()?;
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
        proof.rows_in_the_world,
        proof.unique_events_at_the_gate,
        proof.missing,
        proof.repeated,
        proof.repeats_allowed,
    )
}

fn say(step: &str, what: &str) {
    output::tell(format_args!("[{step}/5] {what}\n"));
}
