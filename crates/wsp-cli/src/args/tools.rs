//! The arguments of `profile`, `schema`, `report`, `completions` and `man`: what needs no world.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

/// `profile`.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// What to do with the profile.
    #[command(subcommand)]
    pub command: ProfileCommand,
}

/// `profile check|explain`.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Check a profile without a world: unknown keys, wrong values, conflicts, unset variables.
    #[command(
        after_help = "Example:\n  wsp-cli profile check --profile config/platform/profiles/prod.yaml"
    )]
    Check(ProfileOf),
    /// Show what each setting of a profile is, where it comes from and what it is for.
    #[command(
        after_help = "Example:\n  wsp-cli profile explain --profile config/platform/profiles/prod.yaml"
    )]
    Explain(ProfileOf),
}

/// Which profile.
#[derive(Debug, Args)]
pub struct ProfileOf {
    /// The profile.
    #[arg(long, env = "WSP_PROFILE", value_name = "FILE")]
    pub profile: PathBuf,
}

/// `schema`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wsp-cli schema wsp_profile > wsp_profile.schema.json")]
pub struct SchemaArgs {
    /// The name of a contract; without one, all names are listed.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What to make of reports.
    #[command(subcommand)]
    pub command: ReportCommand,
}

/// `report merge|html`.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Merge the reports of all shards, several attempts of each, and compare them with the plan.
    #[command(
        after_help = "Example:\n  wsp-cli plan --ids --shard 0/2 --profile P > plan.json\n  wsp-cli report merge --against plan.json shard-0.json shard-1.json"
    )]
    Merge(MergeArgs),
    /// Make one HTML file of a report, which needs no network.
    #[cfg(feature = "console")]
    #[command(
        after_help = "Example:\n  wsp-cli report html runs/fraud-platform/wsp_summary.json --out report.html"
    )]
    Html(HtmlArgs),
}

/// `report merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// What `plan --ids` printed of the stream.
    #[arg(long, value_name = "PLAN.json")]
    pub against: PathBuf,
    /// The reports, as `stream` printed or kept them.
    #[arg(required = true, value_name = "REPORT.json")]
    pub reports: Vec<PathBuf>,
}

/// `report html`.
#[cfg(feature = "console")]
#[derive(Debug, Args)]
pub struct HtmlArgs {
    /// The report, as `stream` printed or kept it.
    #[arg(value_name = "REPORT.json")]
    pub report: PathBuf,
    /// The file to write; else it stands beside the report, with `.html` in the place of `.json`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wsp-cli completions bash > /etc/bash_completion.d/wsp-cli")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// `man`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wsp-cli man --folder /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The folder to write a page of each command to; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
}
