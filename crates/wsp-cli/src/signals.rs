//! SIGINT and SIGTERM: the first drains, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use wsp::ending::{Cause, Ending};

/// Winds the stream down on the first signal, and ends the process with status
/// 130 on the second.
pub fn wind_down_on_signal(ending: Ending) {
    tokio::spawn(async move {
        let listening = signal(SignalKind::interrupt())
            .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
        let (mut interrupt, mut terminate) = match listening {
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
            }
            if first {
                tracing::warn!(
                    "stopping: waiting for answers, then saving; a second signal ends at once"
                );
                ending.wind_down(Cause::Asked);
            } else {
                std::process::exit(130);
            }
        }
    });
}
