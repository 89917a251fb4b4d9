//! SIGINT, SIGTERM and SIGHUP: the first drains, the second ends at once.
//!
//! A SIGHUP that was ignored at the start, as under `nohup`, stays ignored.

use std::thread;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use wsp::replay::{Cause, Ending, ReasonCode};

use crate::commands::complain;
use crate::output;

/// The signal of a write beyond the limit of file sizes, on Linux and the BSDs.
const SIGXFSZ: i32 = 25;

/// What a run may need beyond its own time limits, to tell what happened.
const GRACE: Duration = Duration::from_secs(3);

/// Winds the stream down on the first signal, and ends the process with status
/// 130 on the second. Where the run does not end within `limit`, since a disk or a pipe does not
/// answer, the process ends with status 1.
pub fn wind_down_on_signal(ending: Ending, limit: Duration) {
    tokio::spawn(async move {
        let (mut interrupt, mut terminate, mut hangup) = match listen() {
            Ok(signals) => signals,
            Err(error) => {
                tracing::warn!(%error, "signals cannot be heard; a kill is survived all the same");
                return;
            }
        };
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = heard(hangup.as_mut()) => {}
            }
            if first {
                // First the stop: a log line may wait for whoever reads it.
                ending.wind_down(Cause::Asked);
                end_when_overdue(limit + GRACE);
                tracing::warn!(
                    "stopping: waiting for answers, then saving; a second signal ends at once"
                );
            } else {
                output::finish_messages();
                std::process::exit(130);
            }
        }
    });
}

/// Ends the process after this time, whatever its other threads wait for.
fn end_when_overdue(limit: Duration) {
    let waiting = move || {
        thread::sleep(limit);
        let detail = format!(
            "The run did not end within {} s of the stop: a disk or a pipe of this machine does \
             not answer. Look at those that audit, quarantine and cursors are on; a rerun resumes.",
            limit.as_secs()
        );
        complain(ReasonCode::StopOverdue.as_str(), &detail);
        output::print(&json!({
            "status": "FAILED",
            "reason": ReasonCode::StopOverdue.as_str(),
            "detail": detail,
        }));
        output::finish_messages();
        std::process::exit(1);
    };
    let thread = thread::Builder::new().name("wsp-overdue".to_owned());
    if let Err(error) = thread.spawn(waiting) {
        tracing::warn!(%error, "nothing looks after the time that the stop takes");
    }
}

/// Resolves at the first of the three signals.
///
/// # Errors
/// The system lets no signal be heard.
pub async fn first_signal() -> std::io::Result<()> {
    let (mut interrupt, mut terminate, mut hangup) = listen()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = heard(hangup.as_mut()) => {}
    }
    Ok(())
}

/// Has a write beyond the limit of file sizes (`ulimit -f`) fail with an error, where the
/// signal would end the process without a report.
pub fn outlive_file_size_limit() {
    if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
        tracing::debug!(%error, "a write beyond the limit of file sizes ends the process");
    }
}

/// Listens for the three signals; the last is `None` if it was ignored at the start.
fn listen() -> std::io::Result<(Signal, Signal, Option<Signal>)> {
    let interrupt = signal(SignalKind::interrupt())?;
    let terminate = signal(SignalKind::terminate())?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let hangup = if ignores_hangup(&status) {
        None
    } else {
        Some(signal(SignalKind::hangup())?)
    };
    Ok((interrupt, terminate, hangup))
}

/// Waits for a signal; without one, for ever.
async fn heard(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Says whether a process with this `/proc/self/status` ignores SIGHUP, which is signal 1.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_nohup_ignores_is_known_by_the_mask() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("Name:\tx\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
