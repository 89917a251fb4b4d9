//! The rig of the whole-system tests: a world, a stand-in gate, a profile, and the
//! real binary.
//!
//! It reads like the operator's day: make a rig, run a command, look at the report
//! and at what the gate got. Every folder is temporary, every process is ended by
//! its own handle.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sandbox::{GateOptions, ProfileOptions, StandInGate, World, WorldOptions};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The binary that cargo built beside this program: `target/<profile>/wsp-cli`.
pub fn wsp_cli() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    // A test stands in `deps/`, a tool beside it.
    let beside = program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("wsp-cli"));
    let built = beside.into_iter().find(|path| path.is_file());
    built.unwrap_or_else(|| {
        panic!(
            "no wsp-cli beside {}: cargo build -p wsp-cli",
            program.display()
        )
    })
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
