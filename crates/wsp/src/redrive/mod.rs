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
//! Each shard of a platform run has a quarantine of its own. They are redriven one after the other:
//! the one of the stream in one piece, then those of shards by their numbers. An event of a key that
//! was set aside before the stream was divided anew may so come after one that was set aside later.
//!
//! A quarantine in a bucket is numbered objects, and so is what is recorded of it. There a lease
//! keeps a second redrive out, in place of the lock of a file.

mod pushing;
mod report;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use envelope::PlatformRunId;
use oracle_store::Hex64;
use serde_json::{Value, json};

use crate::blocking::{blocking, blocking_as};
use crate::clock::{SharedClock, Surroundings};
use crate::profile::request::StreamRequest;
use crate::profile::runs_root::in_bucket;
use crate::run::audit::{AuditLog, EventKind};
use crate::run::backends::{ProfileClient, push_client};
use crate::run::places::{new_session, places_of};
use crate::run::platform_run;
use crate::run::prepare::unless_stopped;
use crate::{Error, ReasonCode};
use push::{ConcurrencyLimit, GateWatch, PushClient, Pusher};
use pushing::{Pushers, Pushing};
use replay::{Cause, Closed, Closing, Crew, Ending, Waiting, Window, cut_after, watch_lease};
pub use report::{RedriveReport, RedriveStatus, RefusedEvent};
use source::{Asked, Closings, Opened, Source};

/// What to redrive.
#[derive(Debug, Clone, Default)]
pub struct RedriveOptions {
    /// The quarantine file; `None` takes those of the platform run: one, and one of each shard.
    pub file: Option<PathBuf>,
    /// Whether the redrive only looks, and pushes nothing.
    pub dry_run: bool,
    /// Push nothing, and have these events wait no more: the caller knows what became of them,
    /// or that they are not wanted. Empty pushes.
    pub give_up: Vec<Hex64>,
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
        let named = self.named_run()?;
        let patience = self.request.profile.checkpoint.save_timeout;
        let mut held = None;
        if let (Some(run), false) = (&named, self.options.dry_run)
            && in_bucket(&self.request.profile.runs_root).is_some()
        {
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
                    tell_of_stop(report);
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
        let redriven = Box::pin(self.redrive_all(named, (client, endpoint), report)).await;
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

    /// Redrives one quarantine after the other, once nobody else does.
    async fn redrive_all<C: PushClient>(
        self,
        named: Option<PlatformRunId>,
        (client, endpoint): (C, &str),
        report: &mut RedriveReport,
    ) -> Result<(), Error> {
        let (request, file) = (self.request.clone(), self.options.file.clone());
        let finding = blocking(move || match (file, named) {
            (Some(file), _) => Ok(vec![Asked::File(request.working_dir.join(file))]),
            (None, Some(run)) => source::quarantines_of(&request, &run),
            (None, None) => Ok(Vec::new()),
        });
        let quarantines = finding.await?;
        if !self.options.give_up.is_empty() {
            self.check_all_wait(&quarantines).await?;
        }
        let lanes = &self.request.profile.push.lanes;
        let watch = GateWatch::new(
            self.request.profile.retry.policy(),
            ConcurrencyLimit::fixed(),
        );
        let watch = watch
            .with_transient_errors(lanes.transient_errors.clone())
            .with_max_event_bytes(lanes.max_event_bytes);
        let gate = Gate {
            client,
            endpoint,
            watch: Arc::new(watch),
        };
        let drain = tokio::spawn(cut_after(self.ending.clone(), lanes.drain_timeout));
        report.status = RedriveStatus::Redriven;
        let mut ended = Ok(report.status);
        for asked in quarantines {
            ended = Box::pin(self.redrive_of(asked, &gate, report)).await;
            match ended {
                Ok(RedriveStatus::Stopped) | Err(_) => break,
                Ok(status) => report.status = status,
            }
        }
        drain.abort();
        if ended? == RedriveStatus::Stopped {
            tell_of_stop(report);
            return Ok(());
        }
        if report.refused.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            replay::ReasonCode::IgPushRejected,
            format!(
                "The ingestion gate {endpoint} did not take {} events; the report lists them",
                report.refused.len()
            ),
            "They stay in the quarantine: mend what it names, and redrive again.",
        ))
    }

    /// Opens a quarantine; without where to record what is closed, if it is only looked at. `None`
    /// where nothing of a platform run was ever set aside.
    async fn open(
        &self,
        asked: Asked,
        is_only_looked_at: bool,
    ) -> Result<Option<(String, Opened)>, Error> {
        if let Asked::File(path) = &asked
            && self.options.file.is_none()
            && !path.exists()
        {
            return Ok(None);
        }
        let (request, session) = (self.request.clone(), self.session.clone());
        let opening = blocking(move || match asked {
            Asked::File(path) => {
                let opened = source::open_file(&request, &path, is_only_looked_at)?;
                Ok((path.display().to_string(), opened))
            }
            Asked::Objects(bucket, folder) => {
                source::open_objects(&bucket, &folder, &session, is_only_looked_at)
            }
        });
        unless_stopped(&self.ending, opening).await.map(Some)
    }

    /// Redrives one quarantine, and adds to the report what it has.
    async fn redrive_of<C: PushClient>(
        &self,
        asked: Asked,
        gate: &Gate<'_, C>,
        report: &mut RedriveReport,
    ) -> Result<RedriveStatus, Error> {
        let is_dry_run = self.options.dry_run;
        if let Asked::File(path) = &asked {
            report.file.get_or_insert(path.display().to_string());
        }
        let (place, (prefix, redriven)) = match self.open(asked, is_dry_run).await {
            Err(error) if error.code() == replay::ReasonCode::Stopped.as_str() => {
                return Ok(RedriveStatus::Stopped);
            }
            Ok(None) => return Ok(report.status),
            opened => match opened? {
                Some(opened) => opened,
                None => return Ok(report.status),
            },
        };
        report.tell_of(place, &*prefix);
        let Some(redriven) = redriven else {
            return Ok(RedriveStatus::Planned);
        };
        let run = prefix.run().cloned();
        let mut audit = self.audit(run.as_ref()).await?;
        if !self.options.give_up.is_empty() {
            let closed = give_up(prefix, redriven, &self.options.give_up).await?;
            report.given_up += closed.len() as u64;
            report.waiting -= closed.len() as u64;
            if let Some(audit) = audit.as_mut().filter(|_| !closed.is_empty()) {
                audit.append(EventKind::EventsGivenUp, given_up(report, &closed))?;
                audit.flush().await?;
            }
            return Ok(RedriveStatus::Redriven);
        }
        let ended = self.push((prefix, redriven), gate, report).await;
        if let Some(audit) = &mut audit {
            audit.append(EventKind::EventsRedriven, told(report, &ended))?;
            audit.flush().await?;
        }
        ended
    }

    /// Pushes what waits in a quarantine.
    async fn push<C: PushClient>(
        &self,
        (prefix, redriven): (Box<dyn Source>, Box<dyn Closings>),
        gate: &Gate<'_, C>,
        report: &mut RedriveReport,
    ) -> Result<RedriveStatus, Error> {
        let watch = &gate.watch;
        let pusher = || Pusher::new(gate.client.lane(), Arc::clone(watch), self.ending.cut());
        let pushers = Pushers {
            probing: pusher().one_by_one(),
            patient: pusher(),
        };
        let pushing = Pushing::new(pushers, &self.ending, gate.endpoint, redriven, report);
        let ended = pushing.push_all(prefix.feed()?).await;
        report.retries = Some(watch.retries().read());
        ended
    }

    /// Checks that each event to give up waits in one of the quarantines.
    ///
    /// # Errors
    /// `QUARANTINE_EVENT_UNKNOWN` if one of them does not: then none is closed.
    async fn check_all_wait(&self, quarantines: &[Asked]) -> Result<(), Error> {
        let mut unknown: Vec<&Hex64> = self.options.give_up.iter().collect();
        for asked in quarantines {
            let Some((_, (prefix, _))) = self.open(asked.clone(), true).await? else {
                continue;
            };
            let mut feed = prefix.feed()?;
            while let Some(waiting) = feed.recv().await {
                let event_id = waiting?.event.event_id;
                unknown.retain(|id| **id != event_id);
            }
        }
        let Some(id) = unknown.first() else {
            return Ok(());
        };
        Err(Error::new(
            ReasonCode::QuarantineEventUnknown,
            format!("No event {id} waits in the quarantine, so that none was given up"),
            "Name events by the `event_id` of their lines; `--dry-run` says how many wait.",
        ))
    }

    /// The platform run to redrive; `None` where a file is named.
    fn named_run(&self) -> Result<Option<PlatformRunId>, Error> {
        let request = &self.request;
        if self.options.file.is_some() {
            return Ok(None);
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
        Ok(Some(run))
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

/// The ingestion gate of a redrive.
struct Gate<'a, C> {
    client: C,
    endpoint: &'a str,
    watch: Arc<GateWatch>,
}

/// The report of a redrive that was stopped.
fn tell_of_stop(report: &mut RedriveReport) {
    report.status = RedriveStatus::Stopped;
    report.reason = Some(replay::ReasonCode::Stopped.as_str());
}

/// Records that events wait no more, every line of an id that waits.
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
    if closed.is_empty() {
        return Ok(closed);
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
