//! The arguments of `control` and `console`.

#[cfg(feature = "console")]
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use wsp::control::WatchInterval;
use wsp::replay::OnBehalfOf;
use wsp::{EventTime, RateSteps, Speedup};

/// `control`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wsp-cli control --profile config/platform/profiles/local.yaml pause\n  wsp-cli control --profile config/platform/profiles/local.yaml rate 0:100,60:500\n  wsp-cli control --profile config/platform/profiles/local.yaml --all pause --at 2026-01-28T12:00:00Z\n  wsp-cli control --profile config/platform/profiles/local.yaml tap 10"
)]
pub struct ControlArgs {
    /// The profile that the stream runs by.
    #[arg(
        long,
        env = "WSP_PROFILE",
        value_name = "FILE",
        required_unless_present = "socket"
    )]
    pub profile: Option<PathBuf>,
    /// Only a stream of this platform run.
    #[arg(long, value_name = "ID")]
    pub platform_run_id: Option<String>,
    /// Only the stream of this process.
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// The stream's control socket itself.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["platform_run_id", "pid", "all"])]
    pub socket: Option<PathBuf>,
    /// All streams that are found, one after the other, where several run.
    #[arg(long, conflicts_with = "pid")]
    pub all: bool,
    /// For whom this is asked, for the audit: a name of at most 128 characters, which proves nothing.
    #[arg(long, value_name = "NAME", value_parser = parse_on_behalf_of)]
    pub on_behalf_of: Option<OnBehalfOf>,
    /// What to do.
    #[command(subcommand)]
    pub act: ControlAct,
}

/// What may be asked of a running stream.
#[derive(Debug, Clone, Subcommand)]
pub enum ControlAct {
    /// Show what the stream is at.
    Status,
    /// Show what the stream is at again and again, one object a line, until it ends.
    Watch {
        /// How often, in milliseconds: 100 to 60000.
        #[arg(long, value_name = "MS", default_value = "1000", value_parser = parse_watch_interval)]
        every_ms: WatchInterval,
        /// End after so many objects.
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Let no event leave until `resume`; what the lanes hold is finished.
    Pause {
        /// Not now, but before the first event of this event time or later (RFC 3339).
        #[arg(long, value_name = "EVENT_TIME")]
        at: Option<EventTime>,
    },
    /// Go on; the schedule moves by the pause.
    Resume {
        /// Not now, but at this wall time (RFC 3339): streams that are told the same go on together.
        #[arg(long, value_name = "WALL_TIME")]
        at: Option<EventTime>,
    },
    /// Let so many events leave now, while paused.
    Step {
        /// How many.
        events: u64,
    },
    /// Pause once so many more events were handed to the lanes; what they hold is finished.
    PauseAfter {
        /// How many.
        events: u64,
    },
    /// Go on at so many event seconds per wall second; 0 is as fast as possible.
    Speedup {
        /// The factor.
        factor: Speedup,
    },
    /// Go on at so many events per wall second: 500, or steps like 0:100,60:500 or ramps like 0:100..500,60:500 from now.
    Rate {
        /// The rate.
        rate: RateSteps,
    },
    /// Show ids, times and decisions of the next events, one object a line.
    Tap {
        /// How many: 1 to 100000.
        events: u64,
        /// Show the envelopes too, of those up to 64 KiB.
        #[arg(long)]
        payload: bool,
    },
    /// Wind the stream down, as on SIGTERM.
    Stop,
}

/// `console`.
#[cfg(feature = "console")]
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wsp-cli console --profile config/platform/profiles/local.yaml\n  WSP_CONSOLE_TOKEN=$(openssl rand -hex 16) wsp-cli console --profile config/platform/profiles/local.yaml --allow-control\n\nIt runs beside the streams until it gets SIGTERM or SIGINT, and prints one JSON object then."
)]
pub struct ConsoleArgs {
    /// A profile that streams run by: those under its runs root are shown.
    #[arg(
        long,
        env = "WSP_PROFILE",
        value_name = "FILE",
        required_unless_present_any = ["runs_root", "socket"]
    )]
    pub profile: Option<PathBuf>,
    /// A runs root whose streams are shown; may be repeated.
    #[arg(long, value_name = "FOLDER")]
    pub runs_root: Vec<PathBuf>,
    /// The control socket of a stream that is shown; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub socket: Vec<PathBuf>,
    /// The address to listen at. Others than loopback show what streams do to whoever reaches them.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,
    /// A host name that browsers may call the console by, beside its address and localhost; may be repeated.
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Streams may be steered from the page, by whoever knows the token.
    #[arg(long)]
    pub allow_control: bool,
    /// A file that holds the token; else WSP_CONSOLE_TOKEN.
    #[arg(long, value_name = "FILE", requires = "allow_control")]
    pub token_file: Option<PathBuf>,
}

fn parse_on_behalf_of(text: &str) -> Result<OnBehalfOf, String> {
    OnBehalfOf::new(text)
}

fn parse_watch_interval(text: &str) -> Result<WatchInterval, String> {
    let millis = text
        .parse()
        .map_err(|_| format!("`{text}` is no number of milliseconds"))?;
    WatchInterval::of_millis(millis)
}
