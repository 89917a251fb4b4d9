//! The rig of the whole-system tests: a world, a stand-in gate, a profile, and the
//! real binary.
//!
//! It reads like the operator's day: make a rig, run a command, look at the report
//! and at what the gate got. Every folder is temporary, every process is ended by
//! its own handle.

pub mod checkpoints;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sandbox::{GateOptions, ProfileOptions, StandInGate, World, WorldOptions};
use serde_json::Value;
use tempfile::TempDir;

use crate::checkpoints::Checkpoints;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The binary that `cargo test --workspace` built beside this test.
pub fn wsp_cli() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let built = test
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>")
        .join("wsp-cli");
    assert!(
        built.exists(),
        "{} is not built: cargo build -p wsp-cli",
        built.display()
    );
    built
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Exit status.
    pub status: i32,
    /// The object on standard output.
    pub report: Value,
    /// Everything on standard error.
    pub stderr: String,
}

impl Ran {
    fn from(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).expect("standard output is UTF-8");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "a panic:\n{stderr}");
        let report = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("standard output is no JSON object ({error}):\n{stdout}\n{stderr}")
        });
        Self {
            status: output.status.code().unwrap_or(-1),
            report,
            stderr,
        }
    }

    /// The reason code, or an empty text.
    pub fn reason(&self) -> &str {
        self.report["reason"].as_str().unwrap_or_default()
    }

    /// Panics unless the command ended so.
    #[track_caller]
    pub fn expect(&self, status: i32, reason: &str) {
        assert_eq!(
            (self.status, self.reason()),
            (status, reason),
            "{}\n{}",
            self.report,
            self.stderr
        );
    }
}

/// Runs `wsp-cli` with arguments in a folder.
pub fn run_in(folder: &Path, args: &[&str]) -> Ran {
    Ran::from(command(folder, args).output().expect("wsp-cli runs"))
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(wsp_cli());
    command
        .args(args)
        .current_dir(folder)
        .env_remove("PLATFORM_RUN_ID")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Sends a signal, by its name, to a process that a test started.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()
        .expect("kill runs");
    assert!(sent.success(), "SIG{name} was not sent");
    // It takes a moment to reach every thread.
    std::thread::sleep(Duration::from_millis(5));
}

/// How many rounds a loop has: `variable` if it is set, else the long form in a soak
/// (`WSP_SOAK`), else the short one.
pub fn rounds(variable: &str, short: u32, long: u32) -> u32 {
    let named = std::env::var(variable).ok();
    let is_soak = std::env::var_os("WSP_SOAK").is_some_and(|soak| !soak.is_empty());
    let otherwise = if is_soak { long } else { short };
    named.map_or(otherwise, |rounds| {
        rounds.parse().expect("a number of rounds")
    })
}

/// Numbers without a pattern, the same in every run.
#[derive(Debug)]
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A world, a gate, and a profile that joins them.
pub struct Rig {
    /// The folder that all is in; the commands' working directory.
    pub folder: TempDir,
    /// The world.
    pub world: World,
    /// The gate.
    pub gate: StandInGate,
    /// The profile's path.
    pub profile: PathBuf,
}

impl Rig {
    /// The sample world and a validating gate.
    pub fn sample() -> Self {
        Self::new(&WorldOptions::sample(), GateOptions::default(), &[])
    }

    /// A world, a gate, and profile keys to set (dotted path, YAML).
    pub fn new(world: &WorldOptions, gate: GateOptions, keys: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let world = world
            .build(&folder.path().join("world"))
            .expect("the world is built");
        let gate = StandInGate::start(gate).expect("the gate starts");
        let profile = write_profile(&world, &gate.url(), keys);
        Self {
            folder,
            world,
            gate,
            profile,
        }
    }

    /// The same with cursors in a home of their own.
    pub fn keeping(checkpoints: &Checkpoints, world: &WorldOptions, keys: &[(&str, &str)]) -> Self {
        let kept = checkpoints.keys();
        let kept = kept.iter().map(|(key, value)| (*key, value.as_str()));
        let keys: Vec<_> = kept.chain(keys.iter().copied()).collect();
        Self::new(world, GateOptions::default(), &keys)
    }

    /// Writes the profile anew with other keys.
    pub fn set(&mut self, keys: &[(&str, &str)]) {
        self.profile = write_profile(&self.world, &self.gate.url(), keys);
    }

    /// Runs a command with this rig's profile.
    pub fn run(&self, command: &[&str], more: &[&str]) -> Ran {
        run_in(self.folder.path(), &self.args(command, more))
    }

    /// Streams.
    pub fn stream(&self, more: &[&str]) -> Ran {
        self.run(&["stream"], more)
    }

    /// Starts to stream, as a process of its own.
    pub fn start_stream(&self, more: &[&str]) -> Child {
        command(self.folder.path(), &self.args(&["stream"], more))
            .spawn()
            .expect("wsp-cli starts")
    }

    /// Waits for a started command.
    pub fn finish(child: Child) -> Ran {
        Ran::from(child.wait_with_output().expect("wsp-cli ends"))
    }

    /// Waits until the gate holds so many unique events.
    pub fn wait_for_unique(&self, events: u64) {
        let began = Instant::now();
        while self.gate.stats().unique < events {
            assert!(
                began.elapsed() < PATIENCE,
                "the gate has {:?}",
                self.gate.stats()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Every line of the audit, of all platform runs.
    pub fn audit(&self) -> Vec<Value> {
        let runs = std::fs::read_dir(self.world.runs_root()).expect("a runs root");
        let logs = runs.filter_map(|run| {
            std::fs::read_to_string(run.expect("a run").path().join("session.jsonl")).ok()
        });
        let lines: Vec<String> = logs
            .flat_map(|log| log.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let line = |line: &String| serde_json::from_str(line).expect("a line of JSON");
        lines.iter().map(line).collect()
    }

    /// Rows over the outputs that the profile streams.
    pub fn rows(&self) -> u64 {
        self.world.options().rows()
    }

    fn args<'a>(&'a self, command: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        let profile = self.profile.to_str().expect("a UTF-8 path");
        [command, &["--profile", profile], more].concat()
    }
}

fn write_profile(world: &World, gate: &str, keys: &[(&str, &str)]) -> PathBuf {
    let options = keys.iter().fold(
        ProfileOptions::local(world, gate),
        |options, (key, value)| options.set(key, value),
    );
    options.write().expect("the profile is written")
}
