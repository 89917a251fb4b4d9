//! One run: plan, take the leases, resume, stream, report.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use checkpoint::{CheckpointStore, Cursor, OrderMode};
use model::DoneTally;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::Error;
use crate::clock::{Clock, Surroundings, TokioClock};
use crate::plan::Plan;
use crate::profile::request::StreamRequest;
use crate::profile::{CheckpointBackend, OnReject, Profile};
use crate::run::audit::{AuditLog, EventKind, flush_regularly};
use crate::run::backends::{ProfileClient, open_checkpoint_store, push_client};
use crate::run::clock_skew::look_regularly;
use crate::run::conclude::{LAST_TRY, conclude, flush_in_time};
use crate::run::control::ControlSocket;
use crate::run::failure::StreamFailure;
use crate::run::judge::{Judge, judge_report};
use crate::run::kept_report::ReportKeeping;
use crate::run::places::new_session;
use crate::run::prepare::{Prepared, prepare};
use crate::run::reading::{cleared_parts, event_time_source, sort_cache};
use crate::run::refusal::{self, failure};
use crate::run::report::{OutputReport, ScheduleReport, SourceReport, Status, StreamReport};
use crate::run::report_text::in_milliseconds;
use crate::run::resume;
use crate::run::schedule::schedule_of;
use push::{Away, PushClient, RetryPolicy, Trouble};
use replay::{
    AsWritten, Asker, Cause, Course, CursorPlace, Cursors, Decisions, Ending, Engine, EventOrder,
    EventTimeOrder, FeedPool, FooterSurvey, Gateway, Helm, KeptOutput, Outcome, PartId, PartOpener,
    PatientStore, Progress, ProgressSink, Ran, Reading, Start, StateChanges, StateChangesSender,
    Steering, TellOpenRows, decoding_threads, tell_until_the_end, watch_lease,
};

/// One run of a request: plan it, stream it, report it.
///
/// ```no_run
/// # async fn example(request: wsp::StreamRequest) -> Result<(), wsp::StreamFailure> {
/// let stream = wsp::Stream::new(request);
/// let ending = stream.ending();           // stop it from elsewhere
/// let steering = stream.steering();       // pause it, or change its pace
/// let progress = stream.progress();       // watch it
/// let report = stream.run().await?;
/// println!("{}", serde_json::to_string(&report).unwrap());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stream<K = TokioClock> {
    request: StreamRequest,
    clock: K,
    surroundings: Surroundings,
    ending: Ending,
    steering: Steering,
    helm: Helm,
    progress: watch::Sender<Progress>,
    changes: Vec<StateChangesSender>,
    has_control_socket: bool,
    store_trouble: Trouble,
    judge: Judge,
}

impl Stream {
    /// A run that has not begun, by the machine's clock.
    pub fn new(request: StreamRequest) -> Self {
        Self::with_clock(request, TokioClock)
    }
}

impl<K: Clock> Stream<K> {
    /// A run that has not begun, whose schedule goes by a clock of the caller's own. All else goes
    /// by the machine's.
    pub fn with_clock(request: StreamRequest, clock: K) -> Self {
        Self::within(Surroundings::default(), request, clock)
    }

    /// The same, and all else goes by the time and the chance given too.
    pub fn within(surroundings: Surroundings, request: StreamRequest, clock: K) -> Self {
        let ending = Ending::by(surroundings.clock.clone());
        let (steering, helm) = Steering::new(ending.clone());
        let progress = watch::Sender::new(Progress::default());
        Self {
            judge: Judge::new(&request.profile.thresholds),
            request,
            clock,
            surroundings,
            ending,
            steering,
            helm,
            progress,
            changes: Vec::new(),
            has_control_socket: false,
            store_trouble: Trouble::of_store(),
        }
    }

    /// The switch that ends this run.
    pub fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// The longest that this run may take to end once it is asked to: for the answers under way,
    /// then for the last save.
    pub fn stop_timeout(&self) -> Duration {
        stop_timeout(&self.request.profile)
    }

    /// The handle that this run is steered by.
    pub fn steering(&self) -> Steering {
        self.steering.clone()
    }

    /// What this run is at, told about a few times a second.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Every change of the state of this run, in order and none left out: what the sampled
    /// [`Stream::progress`] may miss. It ends with the run.
    pub fn state_changes(&mut self) -> StateChanges {
        let (sender, changes) = StateChanges::channel();
        self.changes.push(sender);
        changes
    }

    /// Has this run be paused before its first event, until it is resumed or stepped through
    /// [`Stream::steering`]. `by` is who asks, for the audit.
    #[must_use]
    pub fn start_paused(mut self, by: impl Into<Asker>) -> Self {
        self.helm.start_paused(by);
        self
    }

    /// Has a sink told of the progress, on a task that ends with this run and gives the sink back.
    ///
    /// # Panics
    /// If it is called outside of a tokio runtime and the system gives no thread for one.
    pub fn tell<S: ProgressSink>(&self, sink: S) -> JoinHandle<S> {
        let runtime = durable::runtime().expect("the system gives a thread for a runtime");
        runtime.spawn(tell_until_the_end(self.progress(), sink))
    }

    /// Has other processes of this machine steer the run too, through a
    /// [control socket](crate::run::control).
    #[must_use]
    pub fn with_control_socket(mut self) -> Self {
        self.has_control_socket = true;
        self
    }

    /// Runs with the checkpoint store and the push client that the profile names.
    ///
    /// To drop the future before its end is a crash of the stream: what is in flight is given
    /// up, its threads end, and the next run repeats what no cursor covers. To end it in good
    /// order, [`Steering::act`] with [`Stop`](replay::Act::Stop).
    ///
    /// A run that was stopped has done what was asked: its report says `STOPPED`.
    ///
    /// # Errors
    /// [`StreamFailure`] with any code of [`all_reason_codes`](crate::all_reason_codes), and the
    /// report up to then.
    pub async fn run(self) -> Result<StreamReport, StreamFailure> {
        let profile = &self.request.profile;
        let opened = open_checkpoint_store(&self.request)
            .and_then(|store| Ok((self.patient_with(store), push_client(profile)?)));
        // On the heap: there is a future for each kind of client.
        match opened {
            Ok((store, (ProfileClient::Direct(client), endpoint))) => {
                Box::pin(self.run_over(store, client, endpoint.as_str())).await
            }
            #[cfg(feature = "reqwest")]
            Ok((store, (ProfileClient::Reqwest(client), endpoint))) => {
                Box::pin(self.run_over(store, client, endpoint.as_str())).await
            }
            Err(error) => {
                let mut report = self.begun_report();
                self.end_report(&mut report);
                let session = new_session(&self.surroundings);
                let by = (session.as_str(), self.ending.clock());
                refusal::tell_of(&self.request, &error, &report, by).await;
                let keeping =
                    ReportKeeping::new(&self.request, session, &self.surroundings, &self.ending);
                let failure = StreamFailure::new(report, error);
                Box::pin(keeping.keep(Err(failure))).await
            }
        }
    }

    /// A store over the network may come back, at the start as in the middle of a run. One on this
    /// machine's disk is not on its way: what hinders it at the start is for the operator to mend.
    fn patient_with(&self, store: Arc<dyn CheckpointStore>) -> Arc<dyn CheckpointStore> {
        let profile = &self.request.profile;
        match profile.checkpoint.backend {
            CheckpointBackend::File | CheckpointBackend::Sqlite => store,
            CheckpointBackend::Postgres | CheckpointBackend::Object => {
                Arc::new(self.patient(store))
            }
        }
    }

    fn patient(&self, store: Arc<dyn CheckpointStore>) -> PatientStore {
        PatientStore::new(
            store,
            self.ending.clock().clone(),
            self.request.profile.retry.give_up_after,
            self.store_trouble.clone(),
        )
    }

    /// Runs with a checkpoint store and a push client of the caller's own;
    /// `endpoint` names where the client pushes to, for errors. To drop the future is as in
    /// [`Stream::run`].
    ///
    /// # Errors
    /// As [`Stream::run`].
    pub async fn run_with<C: PushClient>(
        self,
        store: Arc<dyn CheckpointStore>,
        client: C,
        endpoint: &str,
    ) -> Result<StreamReport, StreamFailure> {
        let store = Arc::new(self.patient(store));
        Box::pin(self.run_over(store, client, endpoint)).await
    }

    async fn run_over<C: PushClient>(
        self,
        store: Arc<dyn CheckpointStore>,
        client: C,
        endpoint: &str,
    ) -> Result<StreamReport, StreamFailure> {
        durable::in_runtime(self.ran_over(store, client, endpoint)).await
    }

    async fn ran_over<C: PushClient>(
        self,
        store: Arc<dyn CheckpointStore>,
        client: C,
        endpoint: &str,
    ) -> Result<StreamReport, StreamFailure> {
        let began = self.ending.clock().now();
        let clock = self.ending.clock().clone();
        let mut report = self.begun_report();
        let (judge, thresholds) = (self.judge.clone(), self.request.profile.thresholds.clone());
        let session = new_session(&self.surroundings);
        let preparing = prepare(
            &self.request,
            store,
            (&self.surroundings, &session),
            &self.ending,
            &mut report,
        );
        let preparing = Box::pin(preparing).await;
        let mut keeping =
            ReportKeeping::new(&self.request, session, &self.surroundings, &self.ending);
        let ended = match preparing {
            Ok((prepared, audit)) => {
                keeping.has_begun(&prepared);
                let gate = (client, endpoint);
                self.stream(prepared, audit, gate, &mut report).await
            }
            Err(error) => Err(error),
        };
        report.wall_seconds = clock.since(began).as_secs_f64();
        report.ended_at_utc = Some(in_milliseconds(clock.wall()));
        let failed = match ended {
            Ok(()) => None,
            Err(error) if error.code() == replay::ReasonCode::Stopped.as_str() => {
                report.status = Status::Stopped;
                report.reason = Some(replay::ReasonCode::Stopped.as_str());
                report.detail = Some(error.detail());
                None
            }
            Err(error) => {
                // The audit may have failed behind a stream that was whole.
                report.status = Status::Failed;
                Some(error)
            }
        };
        report.thresholds = judge_report(&thresholds, &judge, &report);
        report.tell_of_failed_thresholds();
        let ended = match failed {
            None => Ok(report),
            Some(error) => Err(StreamFailure::new(report, error)),
        };
        Box::pin(keeping.keep(ended)).await
    }

    /// The report of this run, which begins now.
    fn begun_report(&self) -> StreamReport {
        let profile = &self.request.profile;
        let mut report = StreamReport::empty(profile.posture);
        report.profile_digest.clone_from(&profile.digest);
        report.started_at_utc = Some(in_milliseconds(self.ending.clock().wall()));
        report
    }

    /// Ends the report of a run that was refused.
    fn end_report(&self, report: &mut StreamReport) {
        report.ended_at_utc = Some(in_milliseconds(self.ending.clock().wall()));
        report.thresholds = judge_report(&self.request.profile.thresholds, &self.judge, report);
    }

    /// Streams what is prepared, and gives the leases back.
    async fn stream<C: PushClient>(
        self,
        mut prepared: Prepared,
        audit: AuditLog,
        (client, endpoint): (C, &str),
        report: &mut StreamReport,
    ) -> Result<(), Error> {
        let ending = self.ending.clone();
        let socket = self.has_control_socket.then(|| {
            let progress = self.progress.subscribe();
            ControlSocket::open(
                (&prepared.control_folder, prepared.shard),
                self.steering.clone(),
                progress,
                ending.clock().clone(),
            )
        });
        let stop_timeout = stop_timeout(&self.request.profile);
        let judge = self.judge.clone();
        let places = Arc::clone(&prepared.places);
        // An engine that cannot start does not give the audit back.
        let spare_audit = audit.another();
        let ran = self
            .run_engine(&mut prepared, audit, client, endpoint)
            .await;
        drop(socket);
        let is_store_away = ran.as_ref().is_ok_and(|ran| ran.kept.save_failed);
        let patience = if is_store_away {
            LAST_TRY
        } else {
            ending.left_of(stop_timeout).max(LAST_TRY)
        };
        prepared.held.give_back(patience).await;
        if let (Err(error), Some(mut audit)) = (&ran, spare_audit) {
            // The failure is the one to report, whatever the audit says.
            let _ = audit.append(EventKind::StreamFailed, failure(error, report));
            let _ = ending
                .unless_overdue(stop_timeout, LAST_TRY, audit.flush())
                .await;
        }
        let Ran {
            dispatched,
            kept,
            meters,
            retries,
            elapsed,
        } = ran?;
        let mut audit = kept.journal;
        report.emitted = meters.read_all().acknowledged;
        report.unanswered = kept.abandoned;
        report.quarantine = kept.quarantine;
        let gate_away = kept.gate_away;
        report.decisions = kept.decisions;
        report.refused = kept.refused;
        report.gate_quarantined = kept.gate_quarantined;
        report.all_duplicates =
            kept.decisions.duplicate > 0 && kept.decisions.admit + kept.decisions.quarantine == 0;
        report.retries = Some(retries);
        report.first_ts_utc = dispatched.first_time;
        report.last_ts_utc = dispatched.last_time;
        report.events_per_second = report.emitted as f64 / elapsed.as_secs_f64().max(1e-9);
        report.schedule = dispatched.schedule.as_ref().map(ScheduleReport::new);
        report.lateness_ms = kept.lateness;
        report.lateness_logs = kept.lateness_logs;
        report.timeline = Some(kept.timeline);
        report.checkpoints = kept.checkpoints;
        report.outages = kept.outages;
        report.stream_digest = dispatched.digest;
        report.per_output = output_reports(
            (&prepared.plan, &prepared.starts),
            |output| meters.reading(output),
            kept.cursors.into_iter().zip(kept.decisions_of),
        );
        let outcome = Outcome::of(ending.take_cause(), dispatched.end, kept.verdict);
        let concluded = conclude(report, (outcome, judge.verdict()), &mut audit);
        let flushed = flush_in_time(&audit, &places, &ending, stop_timeout).await;
        // The first failure is the one to report, whatever the audit says.
        concluded.and(flushed)?;
        if report.all_duplicates && report.status == Status::Streamed {
            report.detail = Some(format!(
                "All {} answers were DUPLICATE: the ingestion gate had every event already.",
                report.decisions.duplicate
            ));
        }
        if let (Status::Stopped, Some(Away { seconds, cause })) = (report.status, gate_away) {
            report.detail = Some(format!(
                "The ingestion gate had taken no event for {seconds} s when the run was stopped: \
                 {cause}."
            ));
        }
        Ok(())
    }
}

impl<K: Clock> Stream<K> {
    /// Runs the engine, and holds it to its lease.
    async fn run_engine<C: PushClient>(
        self,
        prepared: &mut Prepared,
        audit: AuditLog,
        client: C,
        endpoint: &str,
    ) -> Result<Ran<AuditLog>, Error> {
        let ending = self.ending.clone();
        let quarantine = prepared.quarantine.take();
        let gate_book = std::mem::take(&mut prepared.gate_book);
        let receipts = prepared.receipts.take();
        let give_up_after = self.request.profile.retry.give_up_after;
        let request = self.request.clone();
        let (judge, progress) = (self.judge.clone(), self.progress.subscribe());
        let engine = self.engine(prepared, client, endpoint)?;
        let engine = engine
            .with_quarantine(quarantine)
            .with_gate_book(gate_book)
            .with_receipts(receipts);
        let window = engine.window();
        // It ends with this future, wherever that ends.
        let mut watching = JoinSet::new();
        watching.spawn(watch_lease(prepared.held.watch(), window, ending.clone()));
        if prepared.clock_skew.is_some() {
            let store = Arc::clone(&prepared.store);
            watching.spawn(look_regularly(request, store, ending.clone()));
        }
        if judge.has_work() {
            watching.spawn(judge.watch(progress, ending.clone()));
        }
        if let Some(lines) = audit.another() {
            let places = Arc::clone(&prepared.places);
            watching.spawn(flush_regularly(
                lines,
                places,
                give_up_after,
                ending.clone(),
            ));
        }
        let mut running = pin!(engine.run(audit));
        let ran = loop {
            tokio::select! {
                biased;
                ran = &mut running => break ran,
                // The judge has nothing to do once the stream ends.
                Some(Err(source)) = watching.join_next() => {
                    let what = "Nothing looks after the lease any more";
                    ending.wind_down(Cause::Failed(replay::Error::died(what, source)));
                }
            }
        };
        // To give the leases back is no fault to be told of.
        watching.shutdown().await;
        Ok(ran?)
    }

    /// The engine over the parts of a plan.
    fn engine<C: PushClient>(
        self,
        prepared: &Prepared,
        client: C,
        endpoint: &str,
    ) -> Result<Engine<C, K>, Error> {
        let profile = &self.request.profile;
        let start = Start::by(&self.clock);
        let schedule = schedule_of(&self.request, start);
        self.progress.send_modify(|progress| {
            progress.pace = profile.pace.clone();
            progress.max_events = self.request.overrides.bounds.events;
        });
        let parts = cleared_parts(&prepared.plan, &prepared.pins)?.of_shard(prepared.shard);
        let parts = Arc::new(match prepared.order {
            OrderMode::AsWritten => parts.hashed(&self.ending),
            // Their time columns are known.
            OrderMode::EventTime => parts,
        });
        let crew = &self.surroundings.crew;
        let pool = FeedPool::of_crew(crew, decoding_threads(), &self.ending)?;
        let memory_budget = profile.ordering.memory_budget;
        let cache = sort_cache(&self.request);
        let opener = PartOpener::new(Arc::clone(&parts), pool, cache, memory_budget);
        let opener = opener.by_crew(crew.clone());
        let opener = opener.behind(prepared.done_before.clone());
        let shards = prepared.shard.count();
        let opener = Box::new(opener.telling(sorting(&self.progress)));
        let (plan, starts) = (&prepared.plan, &prepared.starts);
        let order: Box<dyn EventOrder> = match prepared.order {
            OrderMode::AsWritten => {
                let open_parts = resume::open_parts(plan, starts);
                let survey = self.footer_survey(plan, &open_parts, shards);
                Box::new(AsWritten::new(open_parts, opener).behind(survey))
            }
            OrderMode::EventTime => {
                let done = resume::done_through(plan, starts)?;
                let window = self.request.overrides.window;
                let source = event_time_source(&self.request, plan, done, window);
                let source = source.by_crew(crew.clone());
                let places = Arc::clone(&parts);
                Box::new(EventTimeOrder::new(
                    source,
                    opener,
                    places,
                    self.ending.clone(),
                    expecting(&self.progress, shards),
                ))
            }
        };
        let course =
            Course::new(order, parts, schedule, start).within(self.request.overrides.bounds);
        let retry = RetryPolicy {
            // Where the stream would end for it, waiting is the better half of the choice.
            single_out: profile.rejects.on_reject == OnReject::Quarantine,
            ..profile.retry.policy()
        };
        let lanes = profile.push.lanes.clone();
        let gateway = Gateway::new(client, endpoint, lanes, retry);
        let cursors = self.cursors(prepared)?;
        Ok(Engine::new(course, gateway, cursors, self.clock)
            .by_crew(self.surroundings.crew)
            .by_chance(self.surroundings.random)
            .ended_by(self.ending)
            .steered_by(self.helm)
            .shown_to(self.progress)
            .telling(self.changes))
    }

    /// Where the cursors of a plan's outputs are kept.
    fn cursors(&self, prepared: &Prepared) -> Result<Cursors, Error> {
        let profile = &self.request.profile;
        let keys = prepared.keys.iter().zip(&prepared.starts);
        let outputs = prepared.plan.outputs.iter().zip(keys);
        let outputs = outputs.map(|(output, (key, start))| {
            let parts = output.locator.parts.iter();
            let places = parts.clone();
            let places = places.map(|part| prepared.plan.store.platform_location(part.path()));
            let names = parts.map(|part| part.name().to_owned());
            KeptOutput::new(key.clone(), names, start.plan_digest.clone())
                .located_at(places)
                .read_from(output.row_source())
                .counting_from(match &start.cursor {
                    Some(cursor) => cursor.done,
                    None => Some(DoneTally::default()),
                })
        });
        let (store, held) = (Arc::clone(&prepared.store), &prepared.held);
        let (outputs, run) = (outputs.collect(), prepared.run.to_string());
        let lease = Arc::clone(held.lease());
        Ok(Cursors::new(store, lease, outputs, prepared.order, run)?
            .flushed_every(profile.checkpoint.flush_every)
            .waiting_for_store(profile.retry.give_up_after, self.store_trouble.clone())
            .stopped_within(stop_timeout(profile))
            .watched_by(held.watch()))
    }
}

impl<K: Clock> Stream<K> {
    /// What is looked at before the first part is opened.
    fn footer_survey(
        &self,
        plan: &Plan,
        open_parts: &[(PartId, u64)],
        shards: u32,
    ) -> FooterSurvey {
        let parts = open_parts.iter().map(|&(id, from_row)| {
            let part = &plan.outputs[id.output].locator.parts[id.part as usize];
            (part.clone(), from_row)
        });
        FooterSurvey::new(
            plan.store.clone(),
            parts.collect(),
            self.request.profile.ordering.memory_budget,
            self.ending.clone(),
            expecting(&self.progress, shards),
        )
        .by_crew(self.surroundings.crew.clone())
    }
}

/// What became of each output: its meters, and the cursor that this run saved, or else found.
fn output_reports(
    (plan, starts): (&Plan, &[resume::OutputStart]),
    reading: impl Fn(usize) -> Reading,
    kept: impl Iterator<Item = (Option<Cursor>, Decisions)>,
) -> Vec<OutputReport> {
    let outputs = plan.outputs.iter().zip(starts);
    let outputs = outputs.zip(kept).enumerate();
    let reports = outputs.map(
        |(index, ((output, start), (saved, decisions)))| OutputReport {
            output_id: output.id().clone(),
            role: output.role,
            source: SourceReport::of(output.view.as_ref()),
            meters: reading(index),
            decisions,
            cursor: saved
                .as_ref()
                .or(start.cursor.as_ref())
                .map(CursorPlace::from),
        },
    );
    reports.collect()
}

/// Has progress know how many events are expected: of a shard, an equal part of all.
fn expecting(progress: &watch::Sender<Progress>, shards: u32) -> TellOpenRows {
    let progress = progress.clone();
    Box::new(move |open_rows| {
        let of_shard = open_rows / u64::from(shards);
        progress.send_modify(|progress| progress.expect(of_shard));
    })
}

/// Has progress say how far parts are sorted.
fn sorting(progress: &watch::Sender<Progress>) -> impl Fn(u64, u64) + Send + Sync + 'static {
    let progress = progress.clone();
    move |rows, of| progress.send_modify(|progress| progress.sorting = Some((rows, of)))
}

/// How long a stop may take in all: answers are waited for, then cursors are saved.
fn stop_timeout(profile: &Profile) -> Duration {
    profile.push.lanes.drain_timeout + profile.checkpoint.save_timeout
}
