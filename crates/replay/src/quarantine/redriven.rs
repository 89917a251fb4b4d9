//! What waits no more: `quarantine.redriven.ndjson`, beside the quarantine file, of what redrives
//! delivered and operators gave up.
//!
//! One JSON object a line, `contracts/redriven_record.schema.yaml`. The OS lock of the file is
//! held for as long as a redrive works; readers need none, since they take whole lines only.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use oracle_store::Hex64;
use serde::{Deserialize, Serialize};

use super::file::{open_synced, open_to_read, still_named, unwritable};
use super::lines::{LinesRead, redriven_beside};
use super::open_events::OpenEvents;
use super::record::FORMAT_VERSION;
use crate::{Error, ReasonCode};
use push::Decision;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format_version: u32,
    event_id: Hex64,
    line: u64,
    decision: String,
    redriven_at_utc: String,
}

/// Reads what the file has more than was read before, if it is there.
pub(super) fn read_into(
    path: &Path,
    read: &mut LinesRead,
    events: &mut OpenEvents,
) -> Result<(), Error> {
    if let Some(file) = open_to_read(path)? {
        read.catch_up(&file, path, see(events))?;
    }
    Ok(())
}

fn see(events: &mut OpenEvents) -> impl FnMut(u64, &[u8]) -> Result<(), String> {
    |_, line| {
        let line: Record = serde_json::from_slice(line)
            .map_err(|error| format!("it is not one whole record: {error}"))?;
        if line.format_version != FORMAT_VERSION {
            return Err(format!("its format version is {}", line.format_version));
        }
        events.redriven(line.line);
        Ok(())
    }
}

/// Why an event waits no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The gate acknowledged it.
    Delivered(Decision),
    /// An operator gave it up.
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

/// An event that waits no more.
#[derive(Debug, Clone)]
pub struct Closed {
    /// Which event.
    pub event_id: Hex64,
    /// The number of its last line in the quarantine file, counted from 1.
    pub line: u64,
    /// Why it waits no more.
    pub why: Closing,
}

/// The file, locked by the one redrive that works on it.
#[derive(Debug)]
pub struct RedrivenFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl RedrivenFile {
    /// Opens or makes the file beside a quarantine file, and reads it.
    ///
    /// # Errors
    /// `REDRIVE_HELD` while another redrive works; `QUARANTINE_UNWRITABLE`,
    /// `QUARANTINE_UNREADABLE`.
    pub fn open(quarantine: &Path, events: &mut OpenEvents) -> Result<Self, Error> {
        let path = redriven_beside(quarantine);
        let file = open_synced(&path).map_err(|error| unwritable(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    ReasonCode::RedriveHeld,
                    format!("Another redrive works on {}.", quarantine.display()),
                    "Wait for it, or end it; what it delivered is not pushed again.",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(&path, error)),
        }
        let mut read = LinesRead::default();
        let torn = read.catch_up(&file, &path, see(events))?;
        if torn > 0 {
            // Acknowledged and not recorded: the gate knows the event when it comes again.
            let cut = file.set_len(read.bytes).and_then(|()| file.sync_data());
            cut.map_err(|error| unwritable(&path, error))?;
        }
        Ok(Self {
            path,
            file,
            bytes: read.bytes,
        })
    }

    /// Reads the file beside a quarantine file, where there is one, and leaves it alone.
    ///
    /// # Errors
    /// `QUARANTINE_UNREADABLE`
    pub fn look(quarantine: &Path, events: &mut OpenEvents) -> Result<(), Error> {
        let path = redriven_beside(quarantine);
        read_into(&path, &mut LinesRead::default(), events)
    }

    /// Records durably that events wait no more.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE`
    pub fn record(&mut self, closed: &[Closed]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        for event in closed {
            let line = Record {
                format_version: FORMAT_VERSION,
                event_id: event.event_id.clone(),
                line: event.line,
                decision: event.why.as_str().to_owned(),
                redriven_at_utc: now.clone(),
            };
            serde_json::to_writer(&mut bytes, &line)
                .map_err(|error| unwritable(&self.path, error.into()))?;
            bytes.push(b'\n');
        }
        let written = (&self.file).write_all(&bytes);
        let written = written
            .and_then(|()| self.file.sync_data())
            .and_then(|()| still_named(&self.file, &self.path));
        if let Err(error) = written {
            let _ = self.file.set_len(self.bytes);
            return Err(unwritable(&self.path, error));
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
