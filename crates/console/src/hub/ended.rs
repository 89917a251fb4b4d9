//! How a stream ended, from what its audit says after its socket is gone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::audit::records_from;

/// How long the end of an audit is waited for: a last save may take as long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for.
const BEAT: Duration = Duration::from_millis(200);

/// The reason of a stream whose audit says that it streamed all it was asked to.
pub(crate) const STREAMED: &str = "STREAMED";
/// The reason of a stream that was asked to stop.
pub(crate) const STOPPED: &str = "STOPPED";
/// The reason of a stream whose process is gone without a word.
pub(crate) const KILLED: &str = "KILLED";
/// The reason of a stream of which nobody knows.
pub(crate) const UNKNOWN: &str = "UNKNOWN";

/// Finds out how a stream of process `pid` ended, whose audit was `from` bytes long when it was
/// first seen: `STREAMED`, `STOPPED`, a reason code, `KILLED` or `UNKNOWN`.
pub(super) async fn reason(audit: Option<PathBuf>, from: u64, pid: u32) -> String {
    let Some(audit) = audit else {
        return UNKNOWN.to_owned();
    };
    let began = Instant::now();
    loop {
        // Before the look: what the process wrote as its last is seen by it.
        let is_gone = !is_alive(pid);
        let looked_at = audit.clone();
        let found = tokio::task::spawn_blocking(move || last_end(&looked_at, from)).await;
        if let Ok(Some(reason)) = found {
            return reason;
        }
        if is_gone {
            let reason = if audit.exists() { KILLED } else { UNKNOWN };
            return reason.to_owned();
        }
        if began.elapsed() > PATIENCE {
            return UNKNOWN.to_owned();
        }
        sleep(BEAT).await;
    }
}

/// Whether a process of this number is there, as far as the system tells.
fn is_alive(pid: u32) -> bool {
    let folder = Path::new("/proc").join(pid.to_string());
    // A process that has ended and whose parent has not asked for it yet is there in name only.
    match std::fs::read_to_string(folder.join("stat")) {
        Ok(stat) => {
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            !matches!(state, Some('Z' | 'X'))
        }
        // Where there is no such file system, nobody knows.
        Err(_) => !Path::new("/proc/self/stat").exists(),
    }
}

/// A reason code that there is: others would be labels without end.
fn known(reason: &str) -> String {
    let codes = wsp::all_reason_codes();
    let is_known = codes.into_iter().any(|code| code == reason);
    if is_known { reason } else { UNKNOWN }.to_owned()
}

fn last_end(audit: &Path, from: u64) -> Option<String> {
    let records = records_from(audit, from).ok()?;
    records.iter().rev().find_map(|record| {
        let reason = record["details"]["reason"].as_str();
        match record["event_kind"].as_str()? {
            "stream_complete" => Some(STREAMED.to_owned()),
            "stream_stopped" => Some(STOPPED.to_owned()),
            "stream_failed" => Some(known(reason.unwrap_or_default())),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_what_the_audit_says_of_this_stream_or_that_it_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("session.jsonl");
        let line = |kind: &str, reason: &str| {
            format!(
                r#"{{"component":"wsp","event_kind":"{kind}","details":{{"reason":"{reason}"}}}}"#
            ) + "\n"
        };
        let before = line("stream_failed", "OUTPUT_EMPTY");
        std::fs::write(&audit, &before).unwrap();
        let from = before.len() as u64;
        // Process 0 is nobody's.
        assert_eq!(reason(Some(audit.clone()), from, 0).await, KILLED);
        for (kind, said, expected) in [
            ("stream_complete", "", STREAMED),
            ("stream_stopped", "", STOPPED),
            ("stream_failed", "LEASE_LOST", "LEASE_LOST"),
            ("stream_failed", "a label of its own", UNKNOWN),
        ] {
            std::fs::write(&audit, before.clone() + &line(kind, said)).unwrap();
            assert_eq!(reason(Some(audit.clone()), from, 0).await, expected);
        }
        assert_eq!(reason(None, 0, 0).await, UNKNOWN);
        assert!(is_alive(std::process::id()));
    }
}
