//! Logs, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;
use crate::output::Stderr;

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
        .with_writer(|| Stderr);
    match format {
        LogFormat::Text => builder
            .with_ansi(
                std::io::stderr().is_terminal()
                    && are_colours_wanted(&|name| std::env::var(name).ok()),
            )
            .with_target(false)
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// Says whether the environment allows colours: a non-empty `NO_COLOR` and `TERM=dumb` do not.
fn are_colours_wanted(env: &dyn Fn(&str) -> Option<String>) -> bool {
    env("NO_COLOR").is_none_or(|value| value.is_empty())
        && env("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_and_a_dumb_terminal_take_the_colours_away() {
        let wanted = |name: &str, value: &str| {
            are_colours_wanted(&|asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(wanted("TERM", "xterm") && wanted("NO_COLOR", ""));
        assert!(!wanted("TERM", "dumb") && !wanted("NO_COLOR", "1"));
    }
}
