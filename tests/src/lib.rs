//! The rig of the whole-system tests: a world, a stand-in gate, a profile, and the
//! real binary.
//!
//! It reads like the operator's day: make a rig, run a command, look at the report
//! and at what the gate got. Every folder is temporary, every process is ended by
//! its own handle.

pub mod docs;

mod bucket;
pub mod checkpoints;
pub mod postgres;
pub mod releases;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant, UNIX_EPOCH};

use sandbox::{GateOptions, ProfileOptions, StandInGate, World, WorldOptions};
use serde_json::Value;
use tempfile::TempDir;
use wsp::EventTime;

use crate::checkpoints::Checkpoints;
pub use bucket::{BUCKET, Bucket, Mishap, S3Request, Weather};

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
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        Self::from(command.output().expect("wsp-cli runs"))
    }

    fn from(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).expect("standard output is UTF-8");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "a panic:\n{stderr}");
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("standard output is no JSON object ({error}):\n{stdout}\n{stderr}")
        });
        if report.get("stream_digest").is_some() {
            check_report(&report);
        }
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

/// Holds the report of a stream against its schema, and against the type that reads it.
fn check_report(report: &Value) {
    static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let schema: Value =
            serde_yaml::from_str(wsp::schema::STREAM_REPORT_SCHEMA).expect("the schema is YAML");
        jsonschema::draft202012::new(&schema).expect("the schema is one")
    });
    if let Err(error) = SCHEMA.validate(report) {
        panic!("{error} at {}: {report}", error.instance_path());
    }
    let read = wsp::StreamReport::read(report.to_string().as_bytes());
    let read = read.unwrap_or_else(|error| panic!("{error}: {report}"));
    let again = serde_json::to_value(&read).expect("a report is written");
    assert_eq!(&again, report, "what is read is written the same");
}

/// Runs `wsp-cli` with arguments in a folder.
pub fn run_in(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(&mut command(folder, args))
}

/// `wsp-cli` with arguments, to be run in a folder.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(wsp_cli());
    command
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // What the machine's owner set for runs of his own is nothing to the tests.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OF_RUNS.iter().any(|family| text.starts_with(family)) {
            command.env_remove(&name);
        }
    }
    command
}

/// What the names of variables begin with that set up a run.
const OF_RUNS: [&str; 4] = ["WSP_", "IG_", "ORACLE_", "PLATFORM_RUN_ID"];

/// Where a rig's world lies for the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// In a local folder.
    Disk,
    /// In a bucket of a real S3 server.
    S3,
}

/// Makes two tests of each function that takes a [`Ground`]: `on_disk::<name>` and
/// `on_s3::<name>`.
#[macro_export]
macro_rules! on_each_ground {
    ($($test:ident),+ $(,)?) => {
        mod on_disk { $(#[test] fn $test() { super::$test($crate::Ground::Disk); })+ }
        mod on_s3 { $(#[test] fn $test() { super::$test($crate::Ground::S3); })+ }
    };
}

/// The key prefix of a rig's world in its bucket: as odd as keys may be.
const PREFIX: &str = "oracle/run=1 100%/é日本";

/// Sends a signal, by its name, to a process that a test started.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()
        .expect("kill runs");
    assert!(sent.success(), "SIG{name} was not sent");
    let began = Instant::now();
    while name == "STOP" && !is_stopped(child) {
        assert!(began.elapsed() < PATIENCE, "it does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether every thread of a process stands still: one inside a system call ends that first.
fn is_stopped(child: &Child) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", child.id())) else {
        // Where there is nothing to look at, a moment must do.
        std::thread::sleep(Duration::from_millis(50));
        return true;
    };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // `7 (name) T …`; a thread that has ended has none.
        let state = stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
        matches!(state, Some("T" | "Z" | "X") | None)
    })
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

/// A free port at a loopback address that no other rig has: while its gate is down, nobody else
/// gets the port.
pub(crate) fn own_address() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(1);
    let [high, low] = GIVEN.fetch_add(1, Relaxed).to_be_bytes();
    let process = (std::process::id() % 250) as u8;
    let own = if cfg!(target_os = "linux") {
        Ipv4Addr::new(127, 1 + process, high, low)
    } else {
        Ipv4Addr::LOCALHOST
    };
    SocketAddr::from((own, 0))
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
    /// The world, as it was built on disk.
    pub world: World,
    /// What holds the world for the commands, on [`Ground::S3`]: a copy of the built one.
    pub bucket: Option<Bucket>,
    /// The gate.
    pub gate: StandInGate,
    /// The profile's path.
    pub profile: PathBuf,
}

impl Rig {
    /// The sample world and a validating gate.
    pub fn sample() -> Self {
        Self::sample_on(Ground::Disk)
    }

    /// The same, the world on a ground.
    pub fn sample_on(ground: Ground) -> Self {
        Self::on(ground, &WorldOptions::sample(), GateOptions::default(), &[])
    }

    /// A world on disk, a gate, and profile keys to set (dotted path, YAML).
    pub fn new(world: &WorldOptions, gate: GateOptions, keys: &[(&str, &str)]) -> Self {
        Self::on(Ground::Disk, world, gate, keys)
    }

    /// The same, the world on a ground.
    pub fn on(
        ground: Ground,
        world: &WorldOptions,
        gate: GateOptions,
        keys: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let world = world
            .build(&folder.path().join("world"))
            .expect("the world is built");
        let gate = GateOptions {
            listen: own_address(),
            ..gate
        };
        let gate = StandInGate::start(gate).expect("the gate starts");
        let mut rig = Self {
            folder,
            world,
            bucket: (ground == Ground::S3).then(Bucket::start),
            gate,
            profile: PathBuf::new(),
        };
        rig.mirror();
        rig.set(keys);
        rig
    }

    /// Carries what was changed in the built world to the commands' world.
    pub fn mirror(&self) {
        if let Some(bucket) = &self.bucket {
            bucket.mirror(self.world.engine_run_root(), PREFIX);
        }
    }

    /// Makes the commands' world that of a folder; [`Ground::S3`] alone has one apart.
    ///
    /// # Panics
    /// If the world is on disk.
    pub fn mirror_folder(&self, folder: &Path) {
        let bucket = self.bucket.as_ref().expect("the world is in a bucket");
        bucket.mirror(folder, PREFIX);
    }

    /// The engine run root, as the commands know it.
    pub fn engine_run_root(&self) -> String {
        match &self.bucket {
            Some(_) => format!("s3://{BUCKET}/{PREFIX}"),
            None => self.world.engine_run_root().display().to_string(),
        }
    }

    /// The full name of an object of the world, by its key or by its path on disk.
    pub fn object_name(&self, object: impl AsRef<Path>) -> String {
        let root = self.world.engine_run_root();
        let object = object.as_ref();
        let key = object.strip_prefix(root).unwrap_or(object);
        format!("{}/{}", self.engine_run_root(), key.display())
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
        let mut options = ProfileOptions::local(&self.world, &self.gate.url());
        if let Some(bucket) = &self.bucket {
            options = options
                .set("wiring.object_store", &bucket.wiring())
                .set("wiring.oracle_root", "null")
                .set("wiring.oracle_engine_run_root", &self.engine_run_root());
        }
        for (key, value) in keys {
            options = options.set(key, value);
        }
        self.profile = options.write().expect("the profile is written");
    }

    /// Runs a command with this rig's profile.
    pub fn run(&self, command: &[&str], more: &[&str]) -> Ran {
        Ran::of(&mut self.command(command, more))
    }

    /// Streams.
    pub fn stream(&self, more: &[&str]) -> Ran {
        self.run(&["stream"], more)
    }

    /// Streams what a run that wound down has left, to the end. At most `bound` events come again:
    /// none where no lane had an event waiting; else one that came back from its lane unsent leaves
    /// those that other lanes sent meanwhile beyond the cursor, at most `flush_every + lanes`.
    #[track_caller]
    pub fn stream_the_rest(&self, ended: &Ran, bound: u64, more: &[&str]) {
        let rest = self.stream(more);
        rest.expect(0, "");
        let emitted = |ran: &Ran| ran.report["emitted"].as_u64().expect("a count");
        let stats = self.gate.stats();
        assert_eq!(stats.unique, self.rows(), "{}", rest.report);
        let again = emitted(ended) + emitted(&rest) - self.rows();
        assert_eq!(stats.duplicates, again, "{}", rest.report);
        assert!(again <= bound, "{again} came again: {}", rest.report);
    }

    /// Starts to stream, as a process of its own.
    pub fn start_stream(&self, more: &[&str]) -> Child {
        let mut stream = self.command(&["stream"], more);
        stream.spawn().expect("wsp-cli starts")
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

    /// The folder with the files of all platform runs.
    pub fn runs_root(&self) -> PathBuf {
        self.world.runs_root()
    }

    /// Every line of the audit, of all platform runs.
    pub fn audit(&self) -> Vec<Value> {
        let runs = std::fs::read_dir(self.runs_root()).expect("a runs root");
        let logs = runs.filter_map(|run| {
            std::fs::read_to_string(run.expect("a run").path().join("session.jsonl")).ok()
        });
        let lines: Vec<String> = logs
            .flat_map(|log| log.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let line = |line: &String| serde_json::from_str(line).expect("a line of JSON");
        lines.iter().map(line).collect()
    }

    /// How long after its due time each event arrived, in nanoseconds, as the gate's stamps and
    /// a report's schedule have it: in the order of arrival, negative if it was early.
    ///
    /// The two processes read the wall clock apart.
    pub fn lateness_at_the_gate(&self, report: &Value) -> Vec<i128> {
        let schedule = &report["schedule"];
        let time = |field: &str| {
            let text = schedule[field].as_str().expect("a time");
            text.parse::<EventTime>().expect("a time").nanos()
        };
        let speedup = schedule["speedup"].as_f64().expect("a speedup");
        let (wall_origin, time_origin) = (time("wall_origin_utc"), time("time_origin_utc"));
        let epoch = self.gate.epoch().1.duration_since(UNIX_EPOCH);
        let epoch = epoch.expect("it is after 1970").as_nanos() as i128;
        let arrivals = self.gate.arrivals().into_iter();
        arrivals
            .map(|arrival| {
                let elapsed = i128::from(arrival.event_time_ns) - time_origin;
                let due = wall_origin + (elapsed as f64 / speedup) as i128;
                epoch + i128::from(arrival.arrived_ns) - due
            })
            .collect()
    }

    /// Rows over the outputs that the profile streams.
    pub fn rows(&self) -> u64 {
        self.world.options().rows()
    }

    /// A command with this rig's profile, and what its world's store asks for.
    pub fn command(&self, words: &[&str], more: &[&str]) -> Command {
        let profile = self.profile.to_str().expect("a UTF-8 path");
        let args = [words, &["--profile", profile], more].concat();
        let mut command = command(self.folder.path(), &args);
        if self.bucket.is_some() {
            command.envs(Bucket::environment());
        }
        command
    }
}
