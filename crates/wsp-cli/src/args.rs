//! The arguments, as clap reads them.

mod course;
mod steering;
mod tools;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand, ValueEnum};
use oracle_store::{Hex64, SealStatus};
use sandbox::Dialect;
use wsp::profile::{AbortCondition, Condition, OnReject, OrderMode, StreamSource};

pub use self::course::CourseArgs;
#[cfg(feature = "console")]
pub use self::steering::ConsoleArgs;
pub use self::steering::{ControlAct, ControlArgs};
#[cfg(feature = "console")]
pub use self::tools::HtmlArgs;
pub use self::tools::{
    CompletionsArgs, ManArgs, MergeArgs, ProfileArgs, ProfileCommand, ReportArgs, ReportCommand,
    SchemaArgs,
};
use crate::face::ColorChoice;

/// The version and the commit, as `--version` says them.
static VERSION: LazyLock<String> = LazyLock::new(|| wsp::BUILD.to_string());

/// Replays a recorded world into an ingestion gate: verified, ordered, on
/// schedule, and never losing its place.
#[derive(Debug, Parser)]
#[command(name = "wsp-cli", version = VERSION.as_str(), propagate_version = true)]
pub struct Cli {
    /// How logs are written to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Log more: -v for information, -vv for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Whether standard error has colours.
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Show neither progress nor summary, only warnings and errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stream a world into the ingestion gate, from where it stopped last.
    Stream(Box<StreamArgs>),
    /// Show what would be streamed, without sending or writing anything.
    Plan(Box<PlanArgs>),
    /// Push the events of a quarantine file again, each once.
    Redrive(RedriveArgs),
    /// Look at your world, your cursors and your gate: what works, and what to do.
    Doctor(Box<DoctorArgs>),
    /// Check all evidence of a world, listing every fault.
    Verify(VerifyArgs),
    /// Write contents index, manifest and seal of a world, once.
    Pack(PackArgs),
    /// Look at cursors, or give one up.
    Checkpoint(CheckpointArgs),
    /// Check a profile, or explain it, without a world.
    Profile(ProfileArgs),
    /// Print a contract as JSON, or list them all.
    Schema(SchemaArgs),
    /// Make a page of a report, or one report of those of all shards.
    Report(ReportArgs),
    /// Print what a shell completes commands by.
    Completions(CompletionsArgs),
    /// Write a manual page of each command.
    Man(ManArgs),
    /// Look at the sort cache, or clear it.
    Cache(CacheArgs),
    /// Steer a running stream: pause, resume, step, another pace.
    Control(ControlArgs),
    /// Show the streams of this machine: metrics, health and a live page, and steer them from there.
    #[cfg(feature = "console")]
    Console(ConsoleArgs),
    /// Run the stand-in ingestion gate.
    Gate(GateArgs),
    /// Make a sample world, stream it, kill the stream half-way, resume, and prove that nothing was lost.
    Demo(DemoArgs),
}

/// Which world, and what wins over the profile.
#[derive(Debug, Args)]
pub struct WorldArgs {
    /// The profile.
    #[arg(long, env = "WSP_PROFILE", value_name = "FILE")]
    pub profile: PathBuf,
    /// The engine run root: a folder, or s3://bucket/prefix.
    #[arg(long, value_name = "ROOT")]
    pub engine_run_root: Option<String>,
    /// The pack must have this id.
    #[arg(long, value_name = "HEX64")]
    pub oracle_pack_id: Option<String>,
    /// The scenario of the world.
    #[arg(long, value_name = "ID")]
    pub scenario_id: Option<String>,
    /// Only these of the policy's outputs.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub output_ids: Option<Vec<String>>,
    /// What rows are read from: outputs, view (the platform's stream views), or auto (the view where there is one).
    #[arg(long, value_name = "SOURCE", value_parser = parse_source)]
    pub stream_source: Option<StreamSource>,
    /// Which shard of the stream: K of N, counted from 0, like 2/8.
    #[arg(long, value_name = "K/N")]
    pub shard: Option<String>,
    /// The engine's output catalogue.
    #[arg(long, value_name = "FILE")]
    pub catalogue: Option<String>,
    /// The engine's gate map.
    #[arg(long, value_name = "FILE")]
    pub gate_map: Option<String>,
    /// The platform run the events belong to.
    #[arg(long, value_name = "ID")]
    pub platform_run_id: Option<String>,
}

/// `plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wsp-cli plan --profile config/platform/profiles/local.yaml --engine-run-root runs/local_full_run-5/7510240d --speedup 600"
)]
pub struct PlanArgs {
    /// Which world.
    #[command(flatten)]
    pub world: WorldArgs,
    /// What would be streamed, and when.
    #[command(flatten)]
    pub course: CourseArgs,
    /// Count all events and the sums of their ids, for `report merge`: reads the key columns of
    /// every part.
    #[arg(long)]
    pub ids: bool,
}

/// `stream`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wsp-cli stream --profile config/platform/profiles/local.yaml \\\n      --engine-run-root runs/local_full_run-5/7510240d --max-events 1000 --speedup 0"
)]
pub struct StreamArgs {
    /// Which world.
    #[command(flatten)]
    pub world: WorldArgs,
    /// What is streamed, and when.
    #[command(flatten)]
    pub course: CourseArgs,
    /// The ingestion gate.
    #[arg(long, value_name = "URL")]
    pub ig_url: Option<String>,
    /// What becomes of an event that the ingestion gate will not have: stop or quarantine.
    #[arg(long, value_name = "WHAT", value_parser = parse_on_reject)]
    pub on_reject: Option<OnReject>,
    /// The run has failed (exit status 4) if this is true of it once all is streamed, like
    /// 'lateness_send_p99_ms > 50' or 'retries > 0'; may be given several times.
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Condition>,
    /// End the run (exit status 4) as soon as this is true of its last stretch, like
    /// 'lateness_send_p99_ms > 50 for 10s after 30s', which are the defaults; may be given several times.
    #[arg(long, value_name = "CONDITION")]
    pub abort_if: Vec<AbortCondition>,
    /// Write the report as one HTML file too.
    #[cfg(feature = "console")]
    #[arg(long, value_name = "FILE")]
    pub report_html: Option<PathBuf>,
    /// Append a line of each acknowledged event, with its receipt, to this file.
    #[arg(long, value_name = "FILE")]
    pub receipts: Option<PathBuf>,
    /// The scenario run, 32 hex digits; else the engine run's id.
    #[arg(long, value_name = "HEX32")]
    pub scenario_run_id: Option<String>,
    /// Show what would be streamed, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Go on from the earliest cursor of so many lanes of the platform's newest producer (`scope: scenario_run`).
    #[arg(long, value_name = "N")]
    pub adopt_lanes: Option<NonZeroU32>,
    /// Resume although the plan differs from the one the cursors were saved under.
    #[arg(long)]
    pub allow_plan_change: bool,
    /// Resume under another platform run: the ingestion gate will not know what it has.
    #[arg(long)]
    pub allow_run_change: bool,
    /// Take the leases from a producer that still holds them.
    #[arg(long)]
    pub take_over: bool,
}

/// `redrive`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wsp-cli redrive --profile config/platform/profiles/prod.yaml --platform-run-id platform_20260128T090000Z"
)]
pub struct RedriveArgs {
    /// The profile: its gate, token, retry policy and runs root.
    #[arg(long, env = "WSP_PROFILE", value_name = "FILE")]
    pub profile: PathBuf,
    /// The platform run whose quarantine is redriven.
    #[arg(long, value_name = "ID")]
    pub platform_run_id: Option<String>,
    /// The quarantine file itself.
    #[arg(long, value_name = "FILE", conflicts_with = "platform_run_id")]
    pub file: Option<PathBuf>,
    /// The ingestion gate.
    #[arg(long, value_name = "URL")]
    pub ig_url: Option<String>,
    /// Say what would be pushed, and push nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Push nothing, and have the event with this id wait no more; may be repeated.
    #[arg(long, value_name = "EVENT_ID", value_parser = parse_event_id, conflicts_with = "dry_run")]
    pub give_up: Vec<Hex64>,
}

/// `doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wsp-cli doctor --profile config/platform/profiles/dev.yaml --engine-run-root s3://oracle/run-5 \\\n      --push --platform-run-id platform_20260128T090000Z"
)]
pub struct DoctorArgs {
    /// Which world.
    #[command(flatten)]
    pub world: WorldArgs,
    /// The order of the events: event_time or as_written.
    #[arg(long, value_name = "ORDER", value_parser = parse_order)]
    pub order: Option<OrderMode>,
    /// The ingestion gate.
    #[arg(long, value_name = "URL")]
    pub ig_url: Option<String>,
    /// Push the first events of each output, go on behind them, and push them again; needs
    /// --platform-run-id, and touches no stored cursor.
    #[arg(long)]
    pub push: bool,
    /// How many events of each output are pushed.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..), requires = "push")]
    pub events: u64,
}

/// `verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wsp-cli verify --profile config/platform/profiles/prod.yaml --engine-run-root s3://oracle/run-5 --data"
)]
pub struct VerifyArgs {
    /// Which world.
    #[command(flatten)]
    pub world: WorldArgs,
    /// Read the time column of every part, to say for certain whether it is in order.
    #[arg(long)]
    pub order: bool,
    /// Hash every object of the pack against its contents index.
    #[arg(long)]
    pub data: bool,
}

/// `pack`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wsp-cli pack --profile config/platform/profiles/local.yaml --engine-run-root runs/local_full_run-5/7510240d --engine-release engine-1.4.0 --dry-run"
)]
pub struct PackArgs {
    /// Which world.
    #[command(flatten)]
    pub world: WorldArgs,
    /// The release of the engine that made the world.
    #[arg(long, value_name = "NAME")]
    pub engine_release: String,
    /// SEALED_FAILED for a world that is kept for post-mortem.
    #[arg(long, value_name = "STATUS", default_value = "SEALED_OK", value_parser = parse_seal_status)]
    pub seal_status: SealStatus,
    /// Leave the contents index out: nothing will prove the data itself.
    #[arg(long)]
    pub no_contents: bool,
    /// Show what would be written, and stop.
    #[arg(long)]
    pub dry_run: bool,
}

/// `checkpoint`.
#[derive(Debug, Args)]
pub struct CheckpointArgs {
    /// What to do with the cursors.
    #[command(subcommand)]
    pub command: CheckpointCommand,
}

/// `checkpoint show|reset`.
#[derive(Debug, Subcommand)]
pub enum CheckpointCommand {
    /// Show each output's cursor: position, event time, age, holder.
    #[command(
        after_help = "Example:\n  wsp-cli checkpoint show --profile config/platform/profiles/local.yaml --engine-run-root runs/local_full_run-5/7510240d"
    )]
    Show(WorldArgs),
    /// Give cursors up, so that the next run starts at the beginning; the old ones stay in history.
    #[command(
        after_help = "Example:\n  wsp-cli checkpoint reset --profile config/platform/profiles/local.yaml --engine-run-root runs/local_full_run-5/7510240d --output-ids s3_event_stream_with_fraud_6B --yes"
    )]
    Reset(ResetArgs),
    /// Divide the stream into another number of shards; what is done stays done, and nothing is repeated.
    #[command(
        after_help = "Example:\n  wsp-cli checkpoint reshard --profile config/platform/profiles/local.yaml --engine-run-root runs/local_full_run-5/7510240d --to 16"
    )]
    Reshard(ReshardArgs),
}

/// `checkpoint reshard`.
#[derive(Debug, Args)]
pub struct ReshardArgs {
    /// Which world.
    #[command(flatten)]
    pub world: WorldArgs,
    /// How many shards there shall be; 1 is one piece.
    #[arg(long, value_name = "M")]
    pub to: u32,
    /// Take the leases from a producer that still holds them.
    #[arg(long)]
    pub take_over: bool,
}

/// `cache`.
#[derive(Debug, Args)]
pub struct CacheArgs {
    /// What to do with the sort cache.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// `cache show|clear`.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Show the sorted parts: where they are from, rows, bytes, when they were last used.
    #[command(
        after_help = "Example:\n  wsp-cli cache show --profile config/platform/profiles/local.yaml"
    )]
    Show(CacheOf),
    /// Remove the sorted parts that no run uses, and what killed runs left.
    #[command(
        after_help = "Example:\n  wsp-cli cache clear --profile config/platform/profiles/local.yaml"
    )]
    Clear(CacheOf),
}

/// Whose sort cache.
#[derive(Debug, Args)]
pub struct CacheOf {
    /// The profile.
    #[arg(long, env = "WSP_PROFILE", value_name = "FILE")]
    pub profile: PathBuf,
}

/// `checkpoint reset`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Which world.
    #[command(flatten)]
    pub world: WorldArgs,
    /// Really do it.
    #[arg(long)]
    pub yes: bool,
    /// Take the leases from a producer that still holds them.
    #[arg(long)]
    pub take_over: bool,
}

/// `gate`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wsp-cli gate --listen 127.0.0.1:8081 --keep runs/gate.ndjson")]
pub struct GateArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Append every admitted envelope to this file, and know its ids again after a restart.
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// Take anything: no schema, no deduplication.
    #[arg(long)]
    pub no_validate: bool,
    /// Answer like one of the platform's gates, with receipts and its states: local or managed.
    #[arg(long, value_name = "DIALECT")]
    pub dialect: Option<Dialect>,
    /// Quarantine payloads that break the schema which this file names for their event type.
    #[arg(long, value_name = "FILE", requires = "dialect")]
    pub schema_policy: Option<PathBuf>,
    /// Be unhealthy, until restarted, after so many failed publishes in a row; 0: never.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "dialect")]
    pub unhealthy_after: u64,
    /// Misbehave: `status:503,retry-after=1,next=10`, or a rule as JSON. May be given several times.
    #[arg(long, value_name = "RULE")]
    pub fault: Vec<String>,
}

/// `demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wsp-cli demo --events 20000\n  wsp-cli demo --world-only --folder demo"
)]
pub struct DemoArgs {
    /// Rows in the sample world.
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    pub events: u64,
    /// Keep the folder of the demo, to look around in.
    #[arg(long)]
    pub keep: bool,
    /// Keep everything in this folder, which must not be there yet.
    #[arg(long, value_name = "DIR", conflicts_with = "keep")]
    pub folder: Option<PathBuf>,
    /// Make the world and its profile, stream nothing. The profile's gate is IG_INGEST_URL, else
    /// http://127.0.0.1:8081.
    #[arg(long, requires = "folder")]
    pub world_only: bool,
}

fn parse_order(text: &str) -> Result<OrderMode, String> {
    text.parse()
        .map_err(|()| format!("`{text}` is neither event_time nor as_written"))
}

fn parse_source(text: &str) -> Result<StreamSource, String> {
    text.parse()
        .map_err(|()| format!("`{text}` is none of outputs, view and auto"))
}

fn parse_event_id(text: &str) -> Result<Hex64, String> {
    Hex64::parse(text).ok_or_else(|| format!("`{text}` is no event id: 64 lowercase hex digits"))
}

fn parse_on_reject(text: &str) -> Result<OnReject, String> {
    match text {
        "stop" => Ok(OnReject::Stop),
        "quarantine" => Ok(OnReject::Quarantine),
        _ => Err(format!("`{text}` is neither stop nor quarantine")),
    }
}

fn parse_seal_status(text: &str) -> Result<SealStatus, String> {
    match text {
        "SEALED_OK" => Ok(SealStatus::SealedOk),
        "SEALED_FAILED" => Ok(SealStatus::SealedFailed),
        _ => Err(format!("`{text}` is neither SEALED_OK nor SEALED_FAILED")),
    }
}
