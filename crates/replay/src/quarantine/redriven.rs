//! What waits no more: `quarantine.redriven.ndjson`, beside the quarantine file, of what redrives
//! delivered and operators gave up.
//!
//! One JSON object a line, `contracts/redriven_record.schema.yaml`. The OS lock of the file is
//! held for as long as a redrive works; readers need none, since they take whole lines only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use durable::{Access, Disk, LinesRead, OsDisk, RunLog};
use model::json_strictly;
use oracle_store::Hex64;
use serde::{Deserialize, Serialize};

use super::fault::{faulty, refuse_pipe, unreadable, unwritable};
use super::open_events::OpenEvents;
use super::record::{FORMAT_VERSION, check_version, not_whole};
use crate::{Error, ReasonCode};
use push::Decision;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format_version: u32,
    event_id: Hex64,
    line: u64,
    /// The object that the line stands in, where the quarantine lies in a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    decision: String,
    redriven_at_utc: String,
}

/// The line that records of an event that it no longer waits: that `line` of `object`, or of the
/// quarantine file, is closed.
pub(super) fn closed_line(event: &Closed, line: u64, object: Option<&str>) -> io::Result<Vec<u8>> {
    let record = Record {
        format_version: FORMAT_VERSION,
        event_id: event.event_id.clone(),
        line,
        object: object.map(str::to_owned),
        decision: event.why.as_str().to_owned(),
        redriven_at_utc: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
    };
    let mut bytes = serde_json::to_vec(&record)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn read_record(line: &[u8]) -> Result<Record, String> {
    check_version(line)?;
    json_strictly(line).map_err(not_whole)
}

/// The object and the line in it that a record closes.
pub(super) fn read_closed(line: &[u8]) -> Result<(String, u64), String> {
    let record = read_record(line)?;
    let object = record.object.ok_or("it names no object")?;
    Ok((object, record.line))
}

/// `quarantine.redriven.ndjson` for `quarantine.ndjson`: beside the file itself, whatever
/// symlink names it, so that there is one record of what was redriven.
pub(super) fn redriven_beside(quarantine: &Path) -> PathBuf {
    let real = quarantine.canonicalize();
    real.as_deref()
        .unwrap_or(quarantine)
        .with_extension("redriven.ndjson")
}

/// Reads what the file has more than was read before, if it is there.
pub(super) fn read_into(
    disk: &dyn Disk,
    path: &Path,
    read: &mut LinesRead,
    events: &mut OpenEvents,
) -> Result<(), Error> {
    let file = match refuse_pipe(path).and_then(|()| disk.open(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(path, error)),
    };
    let all = read.catch_up(&*file, see(events));
    all.map(drop).map_err(|fault| faulty(path, fault))
}

fn see(events: &mut OpenEvents) -> impl FnMut(u64, &[u8]) -> Result<(), String> {
    |_, line| {
        events.redriven(read_record(line)?.line);
        Ok(())
    }
}

/// Why an event no longer waits for a redrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The gate acknowledged the event.
    Delivered(Decision),
    /// An operator gave the event up.
    GivenUp,
}

impl Closing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered(decision) => decision.as_str(),
            Self::GivenUp => "GIVEN_UP",
        }
    }
}

/// An event that no longer waits for a redrive.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The event's id.
    pub event_id: Hex64,
    /// The number of the event's last line in the quarantine file, counted from 1.
    pub line: u64,
    /// Why the event no longer waits.
    pub why: Closing,
}

/// The redriven file of a quarantine file, locked by the one redrive that works on it.
#[derive(Debug)]
pub struct RedrivenFile {
    log: RunLog,
}

impl RedrivenFile {
    /// Opens or makes the redriven file beside a quarantine file, and reads it into `events`.
    ///
    /// # Errors
    /// `REDRIVE_HELD` while another redrive works; `QUARANTINE_UNWRITABLE`,
    /// `QUARANTINE_UNREADABLE`.
    pub fn open(quarantine: &Path, events: &mut OpenEvents) -> Result<Self, Error> {
        Self::open_on(Arc::new(OsDisk), quarantine, events)
    }

    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        quarantine: &Path,
        events: &mut OpenEvents,
    ) -> Result<Self, Error> {
        let path = redriven_beside(quarantine);
        let opened =
            refuse_pipe(&path).and_then(|()| RunLog::open(disk, path.clone(), Access::OwnerOnly));
        let opened = opened.and_then(|log| Ok((log.try_lock()?, log)));
        let (is_locked, mut log) = opened.map_err(|error| unwritable(&path, error))?;
        if !is_locked {
            return Err(Error::new(
                ReasonCode::RedriveHeld,
                format!("Another redrive works on {}", quarantine.display()),
                "Wait for it, or end it; what it delivered is not pushed again.",
            ));
        }
        let torn = log.catch_up(see(events));
        if torn.map_err(|fault| faulty(&path, fault))? > 0 {
            // Acknowledged and not recorded: the gate knows the event when it comes again.
            let cut = log.cut_torn();
            cut.map_err(|error| unwritable(&path, error))?;
        }
        Ok(Self { log })
    }

    /// Reads the redriven file beside a quarantine file into `events`, where there is one, without
    /// taking its lock.
    ///
    /// # Errors
    /// `QUARANTINE_UNREADABLE`
    pub fn look(quarantine: &Path, events: &mut OpenEvents) -> Result<(), Error> {
        let path = redriven_beside(quarantine);
        read_into(&OsDisk, &path, &mut LinesRead::default(), events)
    }

    /// Records durably that events no longer wait.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE`
    pub fn record(&mut self, closed: &[Closed]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for event in closed {
            let line = closed_line(event, event.line, None);
            bytes.extend(line.map_err(|error| unwritable(self.log.path(), error))?);
        }
        let written = self.log.append_synced(&bytes);
        written.map_err(|error| unwritable(self.log.path(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_to_a_quarantine_file_has_the_redriven_file_of_the_file_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("quarantine.ndjson");
        std::fs::write(&file, "").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("mine.ndjson");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(redriven_beside(&link), redriven_beside(&file));
    }
}
