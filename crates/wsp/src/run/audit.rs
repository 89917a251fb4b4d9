//! The audit: what a run did, one JSON object a line, append-only.
//!
//! `<runs root>/<platform_run_id>/session.jsonl`, fields `platform_run_id`,
//! `component` (`wsp`), `event_kind`, `ts_utc`, `details`. Never per event:
//! periodic saves give at most one line a second and output. The log of a strict
//! run must be writable before it starts; in local posture a log that fails is
//! warned of once and the run goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use envelope::PlatformRunId;
use oracle_store::Posture;
use replay::tell::journal::{Happening, Journal};
use serde::Serialize;
use serde_json::Value;

use crate::Error;

/// The kinds of audit records; a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The world, with its evidence, was chosen.
    EngineWorldSelected,
    /// The stream starts.
    StreamStart,
    /// A cursor was saved.
    CheckpointSaved,
    /// Somebody steered the stream, or tried to.
    StreamSteered,
    /// The schedule moved, since the next event was further away than `max_gap`.
    GapCut,
    /// The ingestion gate or the checkpoint store is away.
    OutageBegan,
    /// It is back.
    OutageEnded,
    /// Events were set aside; at most one line a second.
    EventQuarantined,
    /// Every row of every output was delivered.
    EngineWorldStreamed,
    /// The run reached its end or its bound.
    StreamComplete,
    /// The run failed.
    StreamFailed,
    /// The run was stopped.
    StreamStopped,
    /// Quarantined events were pushed again.
    EventsRedriven,
    /// Quarantined events were given up: they wait no more.
    EventsGivenUp,
}

#[derive(Serialize)]
struct Record<'a> {
    platform_run_id: &'a str,
    component: &'static str,
    event_kind: EventKind,
    ts_utc: String,
    details: Value,
}

/// The open audit log of one run.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    platform_run_id: String,
    posture: Posture,
    /// Absent once writing failed in local posture.
    file: Option<File>,
}

impl AuditLog {
    /// Opens, or starts, the log of a platform run.
    ///
    /// # Errors
    /// `AUDIT_UNWRITABLE` in strict posture.
    pub fn open(runs_root: &Path, run: &PlatformRunId, posture: Posture) -> Result<Self, Error> {
        let path = log_of_run(runs_root, run);
        let folder = runs_root.join(run.as_str());
        let opened = std::fs::create_dir_all(folder).and_then(|()| open_whole(&path));
        let mut log = Self {
            path,
            platform_run_id: run.to_string(),
            posture,
            file: None,
        };
        match opened {
            Ok(file) => log.file = Some(file),
            Err(error) => log.failed(error)?,
        }
        Ok(log)
    }

    /// Another handle on the same open log; `None` if it cannot be had, or is not written any
    /// more.
    pub(crate) fn another(&self) -> Option<Self> {
        let file = self.file.as_ref()?.try_clone().ok()?;
        Some(Self {
            path: self.path.clone(),
            platform_run_id: self.platform_run_id.clone(),
            posture: self.posture,
            file: Some(file),
        })
    }

    /// Appends one record.
    ///
    /// # Errors
    /// `AUDIT_UNWRITABLE` in strict posture.
    pub fn append(&mut self, event_kind: EventKind, details: Value) -> Result<(), Error> {
        Ok(self.write(event_kind, details)?)
    }

    fn write(&mut self, event_kind: EventKind, details: Value) -> Result<(), replay::Error> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        // What is written to a deleted file nobody will read.
        let is_there = file.metadata().and_then(|file| match file.nlink() {
            0 => Err(io::Error::new(io::ErrorKind::NotFound, "it was deleted")),
            _ => Ok(()),
        });
        if let Err(error) = is_there {
            return self.failed(error);
        }
        let record = Record {
            platform_run_id: &self.platform_run_id,
            component: "wsp",
            event_kind,
            ts_utc: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            details,
        };
        let written = serde_json::to_vec(&record)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                // One write a line: an append is whole or absent, even beside another writer.
                file.write_all(&line)
            });
        written.or_else(|error| self.failed(error))
    }

    fn failed(&mut self, error: io::Error) -> Result<(), replay::Error> {
        self.file = None;
        match self.posture {
            Posture::Strict => Err(replay::Error::caused(
                replay::ReasonCode::AuditUnwritable,
                format!("The audit log {} cannot be written.", self.path.display()),
                "Make `wiring.wsp_audit.root` a writable local folder.",
                error,
            )),
            Posture::Local => {
                tracing::warn!(path = %self.path.display(), %error, "the audit log cannot be written; the run goes on without it");
                Ok(())
            }
        }
    }
}

impl Journal for AuditLog {
    fn note(&mut self, happening: &Happening) -> Result<(), replay::Error> {
        let kind = match happening {
            Happening::CursorSaved(_) => EventKind::CheckpointSaved,
            Happening::Steered(_) => EventKind::StreamSteered,
            Happening::GapCut(_) => EventKind::GapCut,
            Happening::OutageBegan(_) => EventKind::OutageBegan,
            Happening::OutageEnded(_) => EventKind::OutageEnded,
            Happening::EventsQuarantined(_) => EventKind::EventQuarantined,
        };
        let details = serde_json::to_value(happening).unwrap_or_default();
        self.write(kind, details)
    }
}

/// The log of a platform run.
pub(crate) fn log_of_run(runs_root: &Path, run: &PlatformRunId) -> PathBuf {
    runs_root.join(run.as_str()).join("session.jsonl")
}

/// Opens a log to append to, behind whole lines only: the line that a crash cut short is ended,
/// so that the next record has a line of its own.
fn open_whole(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let found = file.metadata()?;
    // A pipe that is opened to read too would never say that its reader has left.
    if found.is_file() && found.len() > 0 {
        let mut last = [0];
        let mut written = File::open(path)?;
        written.seek(SeekFrom::End(-1))?;
        written.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> PlatformRunId {
        "platform_20260101T000000Z".parse().unwrap()
    }

    #[test]
    fn records_are_appended_one_a_line() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut log = AuditLog::open(root.path(), &run(), Posture::Strict).unwrap();
            log.append(EventKind::StreamStart, serde_json::json!({"a": 1}))
                .unwrap();
        }
        let text = std::fs::read_to_string(root.path().join(run().as_str()).join("session.jsonl"))
            .unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["event_kind"], "stream_start");
        assert_eq!(lines[1]["component"], "wsp");
    }

    #[test]
    fn a_line_that_a_crash_cut_short_takes_no_other_line_with_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(run().as_str()).join("session.jsonl");
        let mut whole = String::new();
        for cut in [0, 1, 30] {
            let mut log = AuditLog::open(root.path(), &run(), Posture::Strict).unwrap();
            log.append(EventKind::StreamStart, serde_json::json!({"cut": cut}))
                .unwrap();
            whole = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        }
        AuditLog::open(root.path(), &run(), Posture::Strict).unwrap();
        let readable = |line: &&str| serde_json::from_str::<Value>(line).is_ok();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(readable).count(), 2, "{text}\n{whole}");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn a_log_that_was_deleted_is_not_written_on_into_nowhere() {
        for posture in [Posture::Strict, Posture::Local] {
            let root = tempfile::tempdir().unwrap();
            let runs = root.path().join("runs");
            let mut log = AuditLog::open(&runs, &run(), posture).unwrap();
            log.append(EventKind::StreamStart, Value::Null).unwrap();
            std::fs::remove_dir_all(&runs).unwrap();
            let outcome = log.append(EventKind::CheckpointSaved, Value::Null);
            let code = outcome.map_err(|error| error.code());
            let is_strict = posture == Posture::Strict;
            assert_eq!(code.err(), is_strict.then_some("AUDIT_UNWRITABLE"));
            assert!(!runs.exists(), "nobody made it again");
        }
    }

    #[test]
    fn an_unwritable_log_stops_a_strict_run_and_only_warns_a_local_one() {
        let root = tempfile::tempdir().unwrap();
        let file_in_the_way = root.path().join("runs");
        std::fs::write(&file_in_the_way, "").unwrap();
        let strict = AuditLog::open(&file_in_the_way, &run(), Posture::Strict).unwrap_err();
        assert_eq!(strict.code(), "AUDIT_UNWRITABLE");
        let mut local = AuditLog::open(&file_in_the_way, &run(), Posture::Local).unwrap();
        local.append(EventKind::StreamStart, Value::Null).unwrap();
    }
}
