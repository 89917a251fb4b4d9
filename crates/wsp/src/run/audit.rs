//! The audit: what a run did, one JSON object a line, append-only.
//!
//! `<runs root>/<platform_run_id>/session.jsonl`, fields `platform_run_id`,
//! `component` (`wsp`), `event_kind`, `ts_utc`, `details`. Never per event:
//! periodic saves give at most one line a second and output. The log of a strict
//! run must be writable before it starts; in local posture a log that fails is
//! warned of once and the run goes on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::{Access, Disk, OsDisk, RunLog};
use envelope::{EventTime, PlatformRunId};
use model::{Clock as _, SharedClock};
use oracle_store::Posture;
use replay::{Happening, Journal};
use serde::Serialize;
use serde_json::Value;

use crate::Error;

/// The kinds of audit records; a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventKind {
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
    /// The checkpoint store was deleted, and made again with the cursors of this run.
    CheckpointStoreRemade,
    /// Events were set aside; at most one line a second.
    EventQuarantined,
    /// The gate quarantined events; at most one line a second and reason.
    GateQuarantined,
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

impl EventKind {
    /// Whether its records are synced: those of a run's beginning and end, and of a redrive. The
    /// others come as often as once a second and output.
    fn is_synced(self) -> bool {
        match self {
            Self::EngineWorldSelected
            | Self::CheckpointSaved
            | Self::StreamSteered
            | Self::GapCut
            | Self::OutageBegan
            | Self::OutageEnded
            | Self::EventQuarantined
            | Self::GateQuarantined => false,
            Self::StreamStart
            | Self::EngineWorldStreamed
            | Self::StreamComplete
            | Self::StreamFailed
            | Self::StreamStopped
            | Self::CheckpointStoreRemade
            | Self::EventsRedriven
            | Self::EventsGivenUp => true,
        }
    }
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
pub(crate) struct AuditLog {
    path: PathBuf,
    platform_run_id: String,
    posture: Posture,
    clock: SharedClock,
    /// Absent once writing failed in local posture.
    log: Option<RunLog>,
}

impl AuditLog {
    /// Opens, or starts, the log of a platform run; its records bear the wall time of `clock`.
    ///
    /// # Errors
    /// `AUDIT_UNWRITABLE` in strict posture.
    pub(crate) fn open(
        runs_root: &Path,
        run: &PlatformRunId,
        posture: Posture,
        clock: &SharedClock,
    ) -> Result<Self, Error> {
        Self::open_on(Arc::new(OsDisk), runs_root, run, posture, clock)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        runs_root: &Path,
        run: &PlatformRunId,
        posture: Posture,
        clock: &SharedClock,
    ) -> Result<Self, Error> {
        let path = log_of_run(runs_root, run);
        let opened = RunLog::open(disk, path.clone(), Access::Default).and_then(|log| {
            // Others append to the file without its lock, so nothing of it is cut off.
            log.end_torn_line()?;
            Ok(log)
        });
        let mut audit = Self {
            path,
            platform_run_id: run.to_string(),
            posture,
            clock: clock.clone(),
            log: None,
        };
        match opened {
            Ok(log) => audit.log = Some(log),
            Err(error) => audit.failed(error)?,
        }
        Ok(audit)
    }

    /// Another handle on the same open log; `None` if it cannot be had, or is not written any
    /// more.
    pub(crate) fn another(&self) -> Option<Self> {
        let log = self.log.as_ref()?.another().ok()?;
        Some(Self {
            path: self.path.clone(),
            platform_run_id: self.platform_run_id.clone(),
            posture: self.posture,
            clock: self.clock.clone(),
            log: Some(log),
        })
    }

    /// Appends one record; durably, with all records before it, if it says how a run begins or
    /// ends, or what became of quarantined events.
    ///
    /// # Errors
    /// `AUDIT_UNWRITABLE` in strict posture.
    pub(crate) fn append(&mut self, event_kind: EventKind, details: Value) -> Result<(), Error> {
        Ok(self.write(event_kind, details)?)
    }

    fn write(&mut self, event_kind: EventKind, details: Value) -> Result<(), replay::Error> {
        let Some(log) = &self.log else {
            return Ok(());
        };
        let record = Record {
            platform_run_id: &self.platform_run_id,
            component: "wsp",
            event_kind,
            ts_utc: EventTime::of_wall(self.clock.wall())
                .unwrap_or(EventTime::EPOCH)
                .to_string(),
            details,
        };
        let written = serde_json::to_vec(&record)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                log.append_shared(&line, event_kind.is_synced())
            });
        written.or_else(|error| self.failed(error))
    }

    fn failed(&mut self, error: io::Error) -> Result<(), replay::Error> {
        self.log = None;
        match self.posture {
            Posture::Strict => Err(replay::Error::caused(
                replay::ReasonCode::AuditUnwritable,
                format!("The audit log {} cannot be written", self.path.display()),
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
            Happening::GateQuarantined(_) => EventKind::GateQuarantined,
            Happening::StoreRemade(_) => EventKind::CheckpointStoreRemade,
        };
        let details = serde_json::to_value(happening).unwrap_or_default();
        self.write(kind, details)
    }
}

/// The log of a platform run.
pub(crate) fn log_of_run(runs_root: &Path, run: &PlatformRunId) -> PathBuf {
    runs_root.join(run.as_str()).join("session.jsonl")
}

#[cfg(test)]
mod tests {
    use durable::simulated::{Careless, CrashDisk};

    use super::*;

    fn clock() -> SharedClock {
        SharedClock::new(durable::TokioClock)
    }

    fn run() -> PlatformRunId {
        "platform_20260101T000000Z".parse().unwrap()
    }

    #[test]
    fn records_are_appended_one_a_line() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut log = AuditLog::open(root.path(), &run(), Posture::Strict, &clock()).unwrap();
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
            let mut log = AuditLog::open(root.path(), &run(), Posture::Strict, &clock()).unwrap();
            log.append(EventKind::StreamStart, serde_json::json!({"cut": cut}))
                .unwrap();
            whole = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        }
        AuditLog::open(root.path(), &run(), Posture::Strict, &clock()).unwrap();
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
            let mut log = AuditLog::open(&runs, &run(), posture, &clock()).unwrap();
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
        let strict =
            AuditLog::open(&file_in_the_way, &run(), Posture::Strict, &clock()).unwrap_err();
        assert_eq!(strict.code(), "AUDIT_UNWRITABLE");
        let mut local = AuditLog::open(&file_in_the_way, &run(), Posture::Local, &clock()).unwrap();
        local.append(EventKind::StreamStart, Value::Null).unwrap();
    }

    /// The first crash that loses a record of a run's beginning or end, or after which the next
    /// run's first record cannot be read.
    fn fault(careless: Careless) -> Option<String> {
        const KINDS: [EventKind; 4] = [
            EventKind::StreamStart,
            EventKind::CheckpointSaved,
            EventKind::CheckpointSaved,
            EventKind::StreamComplete,
        ];
        let root = Path::new("/platform/runs");
        let open = |disk| AuditLog::open_on(disk, root, &run(), Posture::Strict, &clock()).unwrap();
        let disk = Arc::new(CrashDisk::new(careless));
        let mut log = open(disk.clone());
        for (at, kind) in KINDS.into_iter().enumerate() {
            log.append(kind, Value::Null).unwrap();
            if kind.is_synced() {
                disk.promise(at + 1);
            }
        }
        let (mut count, mut fault) = (0, None);
        disk.each_crash(|promised, crashed| {
            count += 1;
            let disk = Arc::new(crashed);
            open(disk.clone())
                .append(EventKind::StreamStopped, Value::Null)
                .unwrap();
            let path = root.join(run().as_str()).join("session.jsonl");
            let text = String::from_utf8(disk.read(&path).unwrap()).unwrap();
            let records = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let kinds: Vec<Value> = records
                .map(|record: Value| record["event_kind"].clone())
                .collect();
            let is_whole = kinds.len() > promised && kinds.last().unwrap() == "stream_stopped";
            fault = (!is_whole).then(|| format!("crash {count} after {promised}: {text}"));
            fault.is_none()
        });
        fault
    }

    #[test]
    fn no_crash_loses_how_a_run_began_or_ended_nor_the_next_record() {
        assert_eq!(fault(Careless::Not), None);
        for careless in [Careless::AboutBytes, Careless::AboutNames] {
            assert!(fault(careless).is_some(), "{careless:?} would be found out");
        }
    }
}
