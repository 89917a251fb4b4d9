//! Logs, on standard error.

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;
use crate::face::Face;
use crate::output::Stderr;

/// The target of the lines that say how far a stream is.
pub const PROGRESS: &str = "wsp_progress";

/// Starts logging: warnings only, unless asked for more or `RUST_LOG` says so; and how far a stream
/// is, where no terminal shows it.
pub fn start(format: LogFormat, verbose: u8, face: Face) {
    let level = match verbose {
        0 => "warn",
        1 => "warn,wsp=info,wsp_cli=info,gates=info,oracle_store=info,checkpoint=info,sandbox=info",
        _ => "debug",
    };
    let progress = if face.logs_progress {
        format!(",{PROGRESS}=info")
    } else {
        String::new()
    };
    let level = level.to_owned() + &progress;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Stderr);
    match format {
        LogFormat::Text => builder.with_ansi(face.colours).with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
