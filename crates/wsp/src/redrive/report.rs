//! What a redrive tells of itself.

use envelope::PlatformRunId;
use oracle_store::Hex64;
use push::Retries;
use replay::Decisions;
use serde::Serialize;

use super::source::Source;
use crate::Error;
use crate::run::report_text::or_no_fields;

/// How a redrive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RedriveStatus {
    /// Nothing of the file waits any more.
    Redriven,
    /// Nothing was pushed: this is what would be.
    Planned,
    /// Events were refused again, or it could not go on.
    Failed,
    /// Stopped by a signal or the caller.
    Stopped,
}

/// An event that was refused again.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RefusedEvent {
    /// The event id.
    pub event_id: Hex64,
    /// The output that the event is of.
    pub output_id: String,
    /// The part that holds the event's row.
    pub file: String,
    /// The index of the row in its part, from 0.
    pub row: u64,
    /// The HTTP status of the last answer; 0 where none came.
    pub status: u16,
    /// How the answer's body begins.
    pub body_excerpt: String,
    /// The reason codes that the answer gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reason_codes: Vec<String>,
}

/// The report of a redrive.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RedriveReport {
    /// How the redrive ended.
    pub status: RedriveStatus,
    /// The reason code, unless all went well.
    pub reason: Option<&'static str>,
    /// The reason in words.
    pub detail: Option<String>,
    /// The path of the quarantine file, of several the first; `None` where it could not be named.
    pub file: Option<String>,
    /// The platform run that its events belong to.
    pub platform_run_id: Option<String>,
    /// The number of lines in the file, and in those of all shards.
    pub lines: u64,
    /// The number of different events on those lines.
    pub events: u64,
    /// The number of events that earlier redrives closed.
    pub redriven_before: u64,
    /// The number of events that this redrive delivered and recorded durably.
    pub redriven: u64,
    /// The number of events that this redrive closed without a push, since the caller gave them up.
    pub given_up: u64,
    /// The events that the gate refused again.
    pub refused: Vec<RefusedEvent>,
    /// The number of events that still wait.
    pub waiting: u64,
    /// The number of events by the ingestion gate's decision.
    pub decisions: Decisions,
    /// The number of posts that were made again, by cause; `None`, written `{}`, where none was
    /// made.
    #[serde(serialize_with = "or_no_fields")]
    pub retries: Option<Retries>,
}

impl RedriveReport {
    pub(super) fn empty() -> Self {
        Self {
            status: RedriveStatus::Failed,
            reason: None,
            detail: None,
            file: None,
            platform_run_id: None,
            lines: 0,
            events: 0,
            redriven_before: 0,
            redriven: 0,
            given_up: 0,
            refused: Vec::new(),
            waiting: 0,
            decisions: Decisions::default(),
            retries: None,
        }
    }

    /// Adds what a quarantine holds.
    pub(super) fn tell_of(&mut self, place: String, quarantine: &dyn Source) {
        self.file.get_or_insert(place);
        self.lines += quarantine.lines();
        self.events += quarantine.events();
        self.waiting += quarantine.waiting();
        self.redriven_before += quarantine.events() - quarantine.waiting();
        let run = quarantine.run().map(PlatformRunId::to_string);
        self.platform_run_id = self.platform_run_id.take().or(run);
    }

    pub(super) fn failed(mut self, error: &Error) -> Self {
        self.status = RedriveStatus::Failed;
        self.reason = Some(error.code());
        self.detail = Some(error.detail());
        self
    }

    /// The process's exit status: 0 nothing waits, 1 failed or refused again, 2 unusable
    /// arguments or profile, 3 stopped.
    pub fn exit_status(&self) -> u8 {
        match self.status {
            RedriveStatus::Redriven | RedriveStatus::Planned => 0,
            RedriveStatus::Failed
                if self.reason.is_some_and(|code| code.starts_with("PROFILE_")) =>
            {
                2
            }
            RedriveStatus::Failed => 1,
            RedriveStatus::Stopped => 3,
        }
    }
}
