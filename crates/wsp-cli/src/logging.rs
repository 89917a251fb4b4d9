//! Logs, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Starts logging: warnings only, unless asked for more or `RUST_LOG` says so.
pub fn start(format: LogFormat, verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "warn,wsp=info,wsp_cli=info,gates=info,oracle_store=info,checkpoint=info,sandbox=info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
