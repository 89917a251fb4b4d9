//! Pushing the events of a quarantine file again: `redrive`.
//!
//! ```text
//! quarantine.ndjson ─► waiting events, in file order ─► one lane ─► gate
//!                                                                    │ acknowledged
//! quarantine.redriven.ndjson ◄─── a synced batch at a time ──────────┘
//! ```
//!
//! One lane: events go out one after the other in the order in which they were set aside, which
//! for the events of one key is their own. It is the same client, retry policy and judgement as
//! a stream's. Each event goes once, whatever the number of its lines; one that is acknowledged
//! is recorded, so a redrive that was killed goes on where it was, and a file that is done
//! is left alone. What is acknowledged and not yet recorded when a crash comes is pushed again,
//! and the gate knows it by its id.
//!
//! An event that is refused again stays, and the next one is tried. So does an event that meets a
//! fault, or is asked to slow down, while others pass: it is tried once more at the end. A refusal
//! that judges the sender, and a gate that is away for all events, end the redrive. A stream may append to the file
//! meanwhile: what it holds when the redrive begins is what is pushed.
//!
//! A quarantine in a bucket is numbered objects, and so is what is recorded of it. There a lease
//! keeps a second redrive out, in place of the lock of a file.

mod pushing;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use envelope::PlatformRunId;
use oracle_store::Hex64;
use serde::Serialize;
use serde_json::{Value, json};

use crate::blocking::{blocking, blocking_as};
use crate::clock::{SharedClock, Surroundings};
use crate::profile::request::StreamRequest;
use crate::run::audit::{AuditLog, EventKind};
use crate::run::backends::{ProfileClient, push_client};
use crate::run::places::{new_session, places_of};
use crate::run::platform_run;
use crate::run::prepare::unless_stopped;
use crate::run::report_text::or_no_fields;
use crate::{Error, ReasonCode};
use push::{ConcurrencyLimit, GateWatch, PushClient, Pusher, Retries};
use pushing::{Pushers, Pushing};
use replay::{
    Cause, Closed, Closing, Crew, Decisions, Ending, Waiting, Window, cut_after, watch_lease,
};
use source::{Asked, Closings, Source};

/// What to redrive.
#[derive(Debug, Clone, Default)]
pub struct RedriveOptions {
    /// The quarantine file; `None` takes that of the platform run.
    pub file: Option<PathBuf>,
    /// Whether the redrive only looks, and pushes nothing.
    pub dry_run: bool,
    /// Push nothing, and have these events wait no more: the caller knows what became of them,
    /// or that they are not wanted. Empty pushes.
    pub give_up: Vec<Hex64>,
}

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
    /// The path of the quarantine file; `None` where it could not be named.
    pub file: Option<String>,
    /// The platform run that its events belong to.
    pub platform_run_id: Option<String>,
    /// The number of lines in the file.
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
    fn empty() -> Self {
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

    fn failed(mut self, error: &Error) -> Self {
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

/// One redrive of a quarantine file.
///
/// ```no_run
/// # async fn example(request: wsp::StreamRequest) {
/// use wsp::redrive::{Redrive, RedriveOptions};
///
/// let report = Redrive::new(request, RedriveOptions::default()).run().await;
/// println!("{} delivered, {} still wait", report.redriven, report.waiting);
/// # }
/// ```
#[derive(Debug)]
pub struct Redrive {
    request: StreamRequest,
    options: RedriveOptions,
    ending: Ending,
    /// The time that its lease expires by.
    lease_clock: SharedClock,
    /// Who renews it.
    crew: Crew,
    /// The name that what it records bears.
    session: String,
}

impl Redrive {
    /// A redrive that has not begun. Of the request it uses the profile's gate, token, retry
    /// policy and runs root, and the platform run that is named.
    pub fn new(request: StreamRequest, options: RedriveOptions) -> Self {
        Self::within(Surroundings::default(), request, options)
    }

    /// The same, by another time and chance than the machine's.
    pub fn within(
        surroundings: Surroundings,
        request: StreamRequest,
        options: RedriveOptions,
    ) -> Self {
        Self {
            request,
            options,
            session: new_session(&surroundings),
            lease_clock: surroundings.lease_clock,
            crew: surroundings.crew,
            ending: Ending::by(surroundings.clock),
        }
    }

    /// The longest that it may take to end once it is asked to.
    pub fn stop_timeout(&self) -> Duration {
        let profile = &self.request.profile;
        profile.push.lanes.drain_timeout + profile.checkpoint.save_timeout
    }

    /// The switch that ends it.
    pub fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// Redrives with the push client that the profile names.
    pub async fn run(self) -> RedriveReport {
        match push_client(&self.request.profile) {
            Ok((ProfileClient::Direct(client), endpoint)) => {
                Box::pin(self.run_with(client, endpoint.as_str())).await
            }
            #[cfg(feature = "reqwest")]
            Ok((ProfileClient::Reqwest(client), endpoint)) => {
                Box::pin(self.run_with(client, endpoint.as_str())).await
            }
            Err(error) => RedriveReport::empty().failed(&error),
        }
    }

    /// Redrives with a push client of the caller's own; `endpoint` names where it pushes to.
    pub async fn run_with<C: PushClient>(self, client: C, endpoint: &str) -> RedriveReport {
        let mut report = RedriveReport::empty();
        let redriving = self.redrive(client, endpoint, &mut report);
        match durable::in_runtime(redriving).await {
            Ok(()) => report,
            Err(error) => report.failed(&error),
        }
    }

    async fn redrive<C: PushClient>(
        self,
        client: C,
        endpoint: &str,
        report: &mut RedriveReport,
    ) -> Result<(), Error> {
        let asked = self.asked()?;
        let patience = self.request.profile.checkpoint.save_timeout;
        let mut held = None;
        if let (Asked::Objects(_, run), false) = (&asked, self.options.dry_run) {
            let (request, ending) = (&self.request, &self.ending);
            let taking = source::take_lease(
                request,
                run,
                (&self.lease_clock, &self.crew),
                ending,
                patience,
            );
            held = match taking.await {
                Err(error) if error.code() == replay::ReasonCode::Stopped.as_str() => {
                    stopped_before(report);
                    return Ok(());
                }
                taken => Some(taken?),
            };
        }
        let watching = held.as_ref().map(|held| {
            let window = Arc::new(Window::new(1, 1));
            tokio::spawn(watch_lease(held.watch(), window, self.ending.clone()))
        });
        let ending = self.ending.clone();
        let redriven = Box::pin(self.redrive_of(asked, client, endpoint, report)).await;
        if let Some(watching) = watching {
            watching.abort();
        }
        if let Some(held) = held {
            held.give_back(patience).await;
        }
        // A lease that was lost ended it.
        match ending.take_cause() {
            Some(Cause::Failed(error)) => redriven.and(Err(error.into())),
            _ => redriven,
        }
    }

    /// Redrives what was asked for, once nobody else does.
    async fn redrive_of<C: PushClient>(
        self,
        asked: Asked,
        client: C,
        endpoint: &str,
        report: &mut RedriveReport,
    ) -> Result<(), Error> {
        if let Asked::File(path) = &asked {
            report.file = Some(path.display().to_string());
            if self.options.file.is_none() && !path.exists() {
                // Nothing of this platform run was ever set aside.
                report.status = RedriveStatus::Redriven;
                return Ok(());
            }
        }
        let (request, is_dry_run) = (self.request.clone(), self.options.dry_run);
        let session = self.session.clone();
        let opening = blocking(move || match asked {
            Asked::File(path) => Ok((None, source::open_file(&request, &path, is_dry_run)?)),
            Asked::Objects(bucket, run) => {
                let (place, opened) = source::open_objects(&bucket, &run, &session, is_dry_run)?;
                Ok((Some(place), opened))
            }
        });
        let (place, (prefix, redriven)) = match unless_stopped(&self.ending, opening).await {
            Err(error) if error.code() == replay::ReasonCode::Stopped.as_str() => {
                stopped_before(report);
                return Ok(());
            }
            opened => opened?,
        };
        report.file = place.or_else(|| report.file.take());
        report.lines = prefix.lines();
        report.events = prefix.events();
        report.waiting = prefix.waiting();
        report.redriven_before = report.events - report.waiting;
        report.platform_run_id = prefix.run().map(PlatformRunId::to_string);
        let Some(redriven) = redriven else {
            report.status = RedriveStatus::Planned;
            return Ok(());
        };
        let run = prefix.run().cloned();
        let mut audit = self.audit(run.as_ref()).await?;
        if !self.options.give_up.is_empty() {
            let closed = give_up(prefix, redriven, &self.options.give_up).await?;
            report.given_up = closed.len() as u64;
            report.waiting -= report.given_up;
            report.status = RedriveStatus::Redriven;
            if let Some(audit) = &mut audit {
                audit.append(EventKind::EventsGivenUp, given_up(report, &closed))?;
                audit.flush().await?;
            }
            return Ok(());
        }
        let profile = &self.request.profile;
        let watch = GateWatch::new(profile.retry.policy(), ConcurrencyLimit::fixed())
            .with_transient_errors(profile.push.lanes.transient_errors.clone())
            .with_max_event_bytes(profile.push.lanes.max_event_bytes);
        let watch = Arc::new(watch);
        let drain = tokio::spawn(cut_after(
            self.ending.clone(),
            profile.push.lanes.drain_timeout,
        ));
        let pusher = || Pusher::new(client.lane(), Arc::clone(&watch), self.ending.cut());
        let pushers = Pushers {
            probing: pusher().one_by_one(),
            patient: pusher(),
        };
        let pushing = Pushing::new(pushers, &self.ending, endpoint, redriven, report);
        let ended = pushing.push_all(prefix.feed()?).await;
        drain.abort();
        report.retries = Some(watch.retries().read());
        if let Ok(status) = ended {
            report.status = status;
            let stopped = status == RedriveStatus::Stopped;
            report.reason = stopped.then_some(replay::ReasonCode::Stopped.as_str());
        }
        if let Some(audit) = &mut audit {
            audit.append(EventKind::EventsRedriven, told(report, &ended))?;
            audit.flush().await?;
        }
        ended.map(drop)
    }

    fn asked(&self) -> Result<Asked, Error> {
        let request = &self.request;
        if let Some(file) = &self.options.file {
            return Ok(Asked::File(request.working_dir.join(file)));
        }
        let named = platform_run::named(request)?;
        let Some((run, _)) = named else {
            return Err(Error::new(
                ReasonCode::ProfileValueMissing,
                format!(
                    "No platform run is named, and {} has no active one",
                    request.profile.runs_root.display()
                ),
                "Give --platform-run-id, or the file itself with --file.",
            ));
        };
        Asked::of_run(request, run)
    }

    /// The audit of the run that the events belong to, where they name one.
    async fn audit(&self, run: Option<&PlatformRunId>) -> Result<Option<AuditLog>, Error> {
        let Some(run) = run.cloned() else {
            return Ok(None);
        };
        let (places, posture) = (places_of(&self.request)?, self.request.profile.posture);
        let (session, clock) = (self.session.clone(), self.ending.clock().clone());
        blocking(move || AuditLog::open(&*places, (&run, &session), posture, &clock).map(Some))
            .await
    }
}

/// The report of a redrive that was stopped before its first event.
fn stopped_before(report: &mut RedriveReport) {
    report.status = RedriveStatus::Stopped;
    report.reason = Some(replay::ReasonCode::Stopped.as_str());
}

/// Records that events wait no more, every line of an id that waits.
///
/// # Errors
/// `QUARANTINE_EVENT_UNKNOWN` if one of them does not wait: then none is closed.
async fn give_up(
    prefix: Box<dyn Source>,
    mut redriven: Box<dyn Closings>,
    ids: &[Hex64],
) -> Result<Vec<Closed>, Error> {
    let mut closed = Vec::new();
    let mut feed = prefix.feed()?;
    while let Some(waiting) = feed.recv().await {
        let Waiting { event, line } = waiting?;
        if ids.contains(&event.event_id) {
            closed.push(Closed {
                event_id: event.event_id,
                line,
                why: Closing::GivenUp,
            });
        }
    }
    let waits = |id: &&Hex64| !closed.iter().any(|event| event.event_id == **id);
    if let Some(id) = ids.iter().find(waits) {
        return Err(Error::new(
            ReasonCode::QuarantineEventUnknown,
            format!("No event {id} waits in the quarantine, so that none was given up"),
            "Name events by the `event_id` of their lines; `--dry-run` says how many wait.",
        ));
    }
    let what = "Recording what was given up ended too early";
    let writing = blocking_as(what, move || {
        redriven.record(&closed)?;
        Ok::<_, replay::Error>(closed)
    });
    writing.await
}

fn given_up(report: &RedriveReport, closed: &[Closed]) -> Value {
    let ids = closed.iter().map(|event| event.event_id.as_str());
    json!({
        "file": report.file,
        "event_ids": ids.collect::<Vec<_>>(),
        "waiting": report.waiting,
    })
}

fn told(report: &RedriveReport, ended: &Result<RedriveStatus, Error>) -> Value {
    json!({
        "file": report.file,
        "status": ended.as_ref().unwrap_or(&RedriveStatus::Failed),
        "reason": ended.as_ref().err().map(Error::code),
        "redriven": report.redriven,
        "refused": report.refused.len(),
        "waiting": report.waiting,
    })
}
