//! The audit: what a run did, one JSON object a line, append-only.
//!
//! `<runs root>/<platform_run_id>/session.jsonl`, or objects of a bucket (`places`); fields
//! `platform_run_id`, `component` (`wsp`), `event_kind`, `ts_utc`, `details`. Never per event:
//! periodic saves give at most one line a second and output. The log of a strict
//! run must be writable before it starts; in local posture a log that fails is
//! warned of once and the run goes on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use envelope::{EventTime, PlatformRunId};
use model::{Clock as _, SharedClock};
use oracle_store::Posture;
use replay::{Cause, Ending, Happening, Journal};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Error;
use crate::blocking::blocking_as;
use crate::run::places::{AuditLines, RunPlaces};

/// How often lines that wait in memory are made durable.
const FLUSH: Duration = Duration::from_secs(10);

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
    /// The runs root was deleted, and made again with the active run and this log.
    RunsRootRemade,
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
            | Self::RunsRootRemade
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
    /// The place of the log, for people.
    place: String,
    platform_run_id: String,
    posture: Posture,
    clock: SharedClock,
    /// Absent once writing failed in local posture.
    lines: Option<Box<dyn AuditLines>>,
    /// How often the log was made again, as far as it says so itself.
    remade_told: u64,
}

impl AuditLog {
    /// Opens, or starts, the log of a platform run for a session; its records bear the wall time of
    /// `clock`. On a thread that may block.
    ///
    /// # Errors
    /// `AUDIT_UNWRITABLE` in strict posture.
    pub(crate) fn open(
        places: &dyn RunPlaces,
        (run, session): (&PlatformRunId, &str),
        posture: Posture,
        clock: &SharedClock,
    ) -> Result<Self, Error> {
        let opened = places.open_audit(run, session);
        Self::over(opened, places.audit_place(run), run, posture, clock)
    }

    fn over(
        opened: io::Result<Box<dyn AuditLines>>,
        place: String,
        run: &PlatformRunId,
        posture: Posture,
        clock: &SharedClock,
    ) -> Result<Self, Error> {
        let mut audit = Self {
            place,
            platform_run_id: run.to_string(),
            posture,
            clock: clock.clone(),
            lines: None,
            remade_told: 0,
        };
        match opened {
            Ok(lines) => audit.lines = Some(lines),
            Err(error) => audit.failed(error)?,
        }
        Ok(audit)
    }

    /// Another handle on the same open log; `None` if it cannot be had, or is not written any
    /// more.
    pub(crate) fn another(&self) -> Option<Self> {
        let lines = self.lines.as_ref()?.another().ok()?;
        Some(Self {
            place: self.place.clone(),
            platform_run_id: self.platform_run_id.clone(),
            posture: self.posture,
            clock: self.clock.clone(),
            lines: Some(lines),
            remade_told: self.remade_told,
        })
    }

    /// Makes all records durable that were appended. In local posture a log that fails is warned
    /// of.
    ///
    /// # Errors
    /// `AUDIT_UNWRITABLE` in strict posture.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        match self.try_flush().await {
            Ok(()) => Ok(()),
            Err(error) => Ok(self.told(error)?),
        }
    }

    /// The lines that wait were not written in time.
    ///
    /// # Errors
    /// As [`AuditLog::flush`].
    pub(crate) fn overdue(&self) -> Result<(), Error> {
        Ok(self.told(io::ErrorKind::TimedOut.into())?)
    }

    async fn try_flush(&self) -> io::Result<()> {
        let Some(lines) = &self.lines else {
            return Ok(());
        };
        let lines = lines.another()?;
        let what = "Writing the audit ended too early";
        let flushing = blocking_as(what, move || Ok::<_, Error>(lines.flush()));
        flushing.await.map_err(io::Error::other)?
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
        self.write_one(event_kind, details)?;
        let times = self.lines.as_ref().map_or(0, |lines| lines.times_remade());
        if times > self.remade_told {
            self.remade_told = times;
            let details = json!({"audit_log": self.place, "times": times});
            return self.write_one(EventKind::RunsRootRemade, details);
        }
        Ok(())
    }

    fn write_one(&mut self, event_kind: EventKind, details: Value) -> Result<(), replay::Error> {
        let Some(lines) = &self.lines else {
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
                lines.append(&line, event_kind.is_synced())
            });
        written.or_else(|error| self.failed(error))
    }

    fn failed(&mut self, error: io::Error) -> Result<(), replay::Error> {
        self.lines = None;
        self.told(error)
    }

    fn told(&self, error: io::Error) -> Result<(), replay::Error> {
        match self.posture {
            Posture::Strict => Err(replay::Error::caused(
                replay::ReasonCode::AuditUnwritable,
                format!("The audit log {} cannot be written", self.place),
                "Make `wiring.wsp_audit.root` a folder or a bucket that can be written.",
                error,
            )),
            Posture::Local => {
                tracing::warn!(path = self.place, %error, "the audit log cannot be written; the run goes on without it");
                Ok(())
            }
        }
    }
}

/// Makes the lists durable that wait in memory beside the audit.
///
/// # Errors
/// What disk or bucket say.
pub(crate) async fn flush_lists(places: &Arc<dyn RunPlaces>) -> io::Result<()> {
    let places = Arc::clone(places);
    let what = "Writing the lists of the run ended too early";
    let flushing = blocking_as(what, move || Ok::<_, Error>(places.flush_lists()));
    flushing.await.map_err(io::Error::other)?
}

/// Makes lines that wait in memory durable every ten seconds, while a stream runs. A strict stream
/// ends once they could not be written for `give_up_after`.
pub(crate) async fn flush_regularly(
    audit: AuditLog,
    places: Arc<dyn RunPlaces>,
    give_up_after: Duration,
    ending: Ending,
) {
    let clock = ending.clock().clone();
    let mut away_since = None;
    loop {
        clock.sleep(FLUSH).await;
        let began = clock.now();
        if let Err(error) = flush_lists(&places).await {
            tracing::debug!(%error, "what the gate quarantined is listed later");
        }
        let Err(error) = audit.try_flush().await else {
            away_since = None;
            continue;
        };
        let is_news = away_since.is_none();
        let away_for = clock.since(*away_since.get_or_insert(began));
        if audit.posture == Posture::Strict && away_for < give_up_after {
            tracing::warn!(path = audit.place, %error, "the audit cannot be written; trying again");
        } else if (audit.posture == Posture::Strict || is_news)
            && let Err(error) = audit.told(error)
        {
            return ending.wind_down(Cause::Failed(error));
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

#[cfg(test)]
mod tests;
