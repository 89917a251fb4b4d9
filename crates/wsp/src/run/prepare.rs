//! From a plan to a stream that may begin: platform run, audit, leases, resume.
//!
//! The order of the checks is that of the reason codes. Whatever is read before
//! the leases are held is read again under them: another producer may have moved
//! the cursors in between.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use checkpoint::{CheckpointStore, CursorKey, Holder, LeaseRequest, OrderMode, Record};
use envelope::{PinValues, Pins, PlatformRunId, Provenance};
use model::{OutputId, Shard};
use oracle_store::{Location, Posture};
use serde_json::{Value, json};

use crate::Error;
use crate::blocking::blocking;
use crate::clock::{Clock as _, SharedRandom, Surroundings};
use crate::plan::{Plan, plan};
use crate::profile::request::StreamRequest;
use crate::profile::{CheckpointScope, control_root};
use crate::run::audit::{AuditLog, EventKind};
use crate::run::clock_skew::{self, ClockSkew};
use crate::run::cursor_places::{TakeOver, scoped_key, shard_key};
use crate::run::places::{RunPlaces, places_of};
use crate::run::platform_run::{self, PlatformRunSource};
use crate::run::reading::index_folder;
use crate::run::refusal;
use crate::run::report::{OutputLists, SourceReport, StreamReport};
use crate::run::resume::{self, OutputStart, ResumeTerms};
use crate::run::shards::{self, ShardPlace, check_schedule, frozen_records, shard_report};
use crate::run::shown::GatesReport;
use crate::run::view_order;
use crate::run::written_places::{refuse_cursors_in_world, refuse_run_in_world};
use replay::{
    CursorPlace, DoneBefore, Ending, GateBook, HeldLease, Receipts, SetAside, TimeWindow,
    open_quarantine, stopped,
};

/// The order where neither profile nor cursors name one.
const DEFAULT_ORDER: OrderMode = OrderMode::EventTime;
/// How long the audit may keep a run back that was stopped and is overdue.
const GRACE: Duration = Duration::from_secs(1);

/// A stream that may begin.
pub(crate) struct Prepared {
    /// The plan: what is proven of the world.
    pub plan: Plan,
    /// The constant part of every envelope.
    pub pins: Pins,
    /// The platform run.
    pub run: PlatformRunId,
    /// The order of the events.
    pub order: OrderMode,
    /// Where cursors are kept.
    pub store: Arc<dyn CheckpointStore>,
    /// The leases of the cursors, renewed until they are given back.
    pub held: HeldLease,
    /// The shard that is streamed.
    pub shard: Shard,
    /// How far the clock is from the store's; `None` where that is not known.
    pub clock_skew: Option<ClockSkew>,
    /// What was done while the stream was divided into other shards; `None` if it never was.
    pub done_before: Option<DoneBefore>,
    /// The cursors' keys, in list order.
    pub keys: Vec<CursorKey>,
    /// The position that each output goes on from.
    pub starts: Vec<OutputStart>,
    /// Where rejected events are set aside, if they are.
    pub quarantine: Option<SetAside>,
    /// What the gate quarantined in the platform run.
    pub gate_book: GateBook,
    /// Where receipts are written, if they are.
    pub receipts: Option<Receipts>,
    /// Where the records of platform runs lie.
    pub places: Arc<dyn RunPlaces>,
    /// The folder of this machine that the run's control socket is made in.
    pub control_folder: PathBuf,
}

/// What a run would start from, without taking or writing anything.
pub(crate) struct Outlook {
    /// The plan: what is proven of the world.
    pub plan: Plan,
    /// The shard, and where its stream's layout is.
    pub shard: ShardPlace,
    /// The cursors' keys, in list order.
    pub keys: Vec<CursorKey>,
    /// The platform run, and where its id came from.
    pub run: (PlatformRunId, PlatformRunSource),
    /// The order of the events.
    pub order: OrderMode,
    /// What is stored for each output; an error where it cannot be read.
    pub records: Result<Vec<Option<Record>>, Error>,
}

/// Plans a request and looks at its cursors. A platform run that nobody names would be one of the
/// present second.
///
/// # Errors
/// Those of [`plan`]; `PROFILE_INVALID` for what is no platform run id;
/// `CHECKPOINT_*` where the cursors must name the run and cannot be read.
pub(crate) async fn look_ahead(
    request: &StreamRequest,
    store: &dyn CheckpointStore,
    surroundings: &Surroundings,
    report: &mut StreamReport,
) -> Result<Outlook, Error> {
    let plan = plan(request).await?;
    report.engine_run_root = Some(plan.store.root().as_str().to_owned());
    report.scenario_id = Some(plan.world_key.scenario_id.clone());
    report.output_ids = plan
        .outputs
        .iter()
        .map(|output| output.id().clone())
        .collect();
    report.gates = Some(GatesReport::of(&plan));
    report.data_verified = plan.data.verified();
    let profile = &request.profile;
    let naming = request.clone();
    let named = blocking(move || platform_run::named(&naming)).await?;
    let named = match named {
        // Cursors of a run's own cannot name the run that they are looked up by.
        None if profile.checkpoint.scope != CheckpointScope::Pack => Some(new_run(surroundings)?),
        named => named,
    };
    let engine_run_id = plan.receipt.run_id.to_string();
    // What looks at all shards looks at the cursors of the first.
    let settings = &profile.shard;
    let shard = settings.shard_of(settings.index.unwrap_or(0))?;
    let (pack_key, unsharded) = match &named {
        Some((run, _)) => (
            shard_key(request, &plan.pack_key, (run, &engine_run_id), shard),
            scoped_key(request, &plan.pack_key, run, &engine_run_id),
        ),
        None => (plan.pack_key.scoped_to_shard(shard), plan.pack_key.clone()),
    };
    let shard = ShardPlace::new(request, shard, unsharded);
    report.pack_key = Some(pack_key.clone());
    let keys = resume::cursor_keys(&pack_key, &plan.outputs)?;
    let run = named.as_ref().map(|(run, _)| run);
    let take_over = TakeOver::new(request, run, &plan.pack_key, &engine_run_id);
    let records = take_over.load(store, &keys).await;
    // Behind a new division into shards, no shard has a cursor yet that names run and order.
    let (layout, records) = match (shard.layout(store).await, records) {
        (Err(error), Ok(_)) => (None, Err(error)),
        (layout, records) => (layout.ok().flatten(), records),
    };
    let frozen: Vec<&Record> = layout.iter().flat_map(frozen_records).collect();
    let run = match (named, &records) {
        (Some(named), _) => named,
        (None, Ok(records)) => {
            match run_of(records.iter().flatten().chain(frozen.iter().copied()))? {
                Some(run) => (run, PlatformRunSource::Cursor),
                None => new_run(surroundings)?,
            }
        }
        (None, Err(_)) => new_run(surroundings)?,
    };
    report.platform_run_id = Some(run.0.clone());
    let of_cursors = || {
        let records = plan.outputs.iter().zip(records.as_ref().ok()?);
        let mut cursors = records.filter_map(|(output, record)| {
            let cursor = &record.as_ref()?.cursor;
            // A platform producer's cursor in a view means the same in both orders.
            let is_any = output.view.is_some() && cursor.is_foreign();
            (!is_any).then(|| cursor.order().mode())
        });
        let of_frozen = || frozen.first().map(|record| record.cursor.order().mode());
        cursors.next().or_else(of_frozen)
    };
    let order = profile.order.or_else(of_cursors).unwrap_or(DEFAULT_ORDER);
    report.order = Some(order.as_str());
    if order == OrderMode::AsWritten && request.overrides.window != TimeWindow::default() {
        return Err(Error::new(
            crate::ReasonCode::ProfileInvalid,
            "--from and --to cut event time, and the order is as_written",
            "Stream in event_time, or without them.",
        ));
    }
    Ok(Outlook {
        plan,
        shard,
        keys,
        run,
        order,
        records,
    })
}

/// Makes a request ready to stream: opens the audit, takes the leases, resumes. The audit
/// is what the run goes on to write; it says of a run that is refused why.
///
/// # Errors
/// Those of [`look_ahead`]; `AUDIT_UNWRITABLE`, `QUARANTINE_*`, `CHECKPOINT_*`,
/// `LEASE_HELD`; `PROFILE_INVALID` if a symlink leads what the run writes into the world;
/// `STOPPED` once the stream is asked to end.
pub(crate) async fn prepare(
    request: &StreamRequest,
    store: Arc<dyn CheckpointStore>,
    (surroundings, session): (&Surroundings, &str),
    ending: &Ending,
    report: &mut StreamReport,
) -> Result<(Prepared, AuditLog), Error> {
    let mut open_audit = None;
    let going = Going {
        surroundings,
        session,
        ending,
    };
    let prepared = Box::pin(begin(request, store, going, report, &mut open_audit)).await;
    if let Err(error) = &prepared {
        if let Some(mut audit) = open_audit {
            refusal::tell(&mut audit, error, report)?;
            let profile = &request.profile;
            let limit = profile.push.lanes.drain_timeout + profile.checkpoint.save_timeout;
            let flushed = ending.unless_overdue(limit, GRACE, audit.flush()).await;
            flushed.unwrap_or_else(|| audit.overdue())?;
        } else {
            let by = (session, &surroundings.clock);
            refusal::tell_of(request, error, report, by).await;
        }
    }
    prepared
}

/// What a run that is being prepared goes by, and what ends it.
#[derive(Clone, Copy)]
struct Going<'a> {
    surroundings: &'a Surroundings,
    session: &'a str,
    ending: &'a Ending,
}

/// The work of [`prepare`]; `open_audit` is another handle on the audit, once it is open.
async fn begin(
    request: &StreamRequest,
    store: Arc<dyn CheckpointStore>,
    going: Going<'_>,
    report: &mut StreamReport,
    open_audit: &mut Option<AuditLog>,
) -> Result<(Prepared, AuditLog), Error> {
    let Going {
        surroundings,
        session,
        ending,
    } = going;
    let profile = &request.profile;
    // Which one is needed now.
    profile.shard.shard()?;
    let places = places_of(request)?;
    let Outlook {
        plan,
        shard,
        keys,
        run: (run, source),
        order,
        records,
    } = agreed_outlook(request, &*store, &places, going, report).await?;
    let views_base = request.named_views_base()?;
    for place in [plan.store.root()].into_iter().chain(&views_base) {
        refuse_run_in_world(request, place, &run)?;
        let index = index_folder(request, &plan.pack_key);
        refuse_cursors_in_world(request, place, &keys, &index)?;
    }
    let opening = {
        let (places, run, session) = (Arc::clone(&places), run.clone(), session.to_owned());
        let (posture, clock) = (profile.posture, surroundings.clock.clone());
        blocking(move || AuditLog::open(&*places, (&run, &session), posture, &clock))
    };
    let mut audit = unless_stopped(ending, opening).await?;
    *open_audit = audit.another();
    let opening = {
        let (places, run, session) = (Arc::clone(&places), run.clone(), session.to_owned());
        let open = move || places.open_quarantine(&run, &session);
        open_quarantine(profile.rejects, open)
    };
    let quarantine = unless_stopped(ending, opening).await?;
    let opening = open_books(request, &places, (&run, session));
    let (gate_book, receipts) = unless_stopped(ending, opening).await?;
    records?;
    check_schedule(request, shard.shard, order)?;
    let joining = join_shards(request, &*store, (&plan, &shard), going, report);
    let clock_skew = joining.await?;
    audit.append(
        EventKind::EngineWorldSelected,
        world_selected(&plan, &run, source),
    )?;
    let patience = profile.checkpoint.save_timeout;
    let wanted = lease_request(request, &keys, &plan);
    let beginning = Beginning {
        request,
        plan: &plan,
        shard: &shard,
        keys: &keys,
        run: &run,
        order,
    };
    let begun = async {
        let (clock, crew) = (&surroundings.lease_clock, &surroundings.crew);
        let held = HeldLease::take(&store, &wanted, clock, ending, patience, crew).await?;
        match beginning.under(&held, ending, &mut audit).await {
            Ok(begun) => Ok((held, begun)),
            Err(error) => {
                held.give_back(patience).await;
                Err(error)
            }
        }
    };
    let (held, begun) = begun.await?;
    let Begun {
        pins,
        starts,
        done_before,
    } = begun;
    let prepared = Prepared {
        plan,
        pins,
        order,
        store,
        held,
        shard: shard.shard,
        clock_skew,
        done_before,
        keys,
        starts,
        quarantine,
        gate_book,
        receipts,
        places,
        control_folder: request
            .working_dir
            .join(control_root(&profile.runs_root))
            .join(run.as_str()),
        run,
    };
    Ok((prepared, audit))
}

/// What the run starts from, under the platform run that all producers agree on.
async fn agreed_outlook(
    request: &StreamRequest,
    store: &dyn CheckpointStore,
    places: &Arc<dyn RunPlaces>,
    going: Going<'_>,
    report: &mut StreamReport,
) -> Result<Outlook, Error> {
    let (ending, surroundings) = (going.ending, going.surroundings);
    let looking = look_ahead(request, store, surroundings, report);
    let outlook = unless_stopped(ending, looking).await?;
    let agreeing = is_run_agreed(&outlook, places, &surroundings.random);
    if unless_stopped(ending, agreeing).await? {
        return Ok(outlook);
    }
    // Another producer named the active run in the meantime, and its id is that of all.
    unless_stopped(ending, look_ahead(request, store, surroundings, report)).await
}

/// Has a shard agree with the others of its stream, in layout and clock, and tells the report. Gives
/// how far the clock is from the store's; `None` where that is not known.
async fn join_shards(
    request: &StreamRequest,
    store: &dyn CheckpointStore,
    (plan, shard): (&Plan, &ShardPlace),
    going: Going<'_>,
    report: &mut StreamReport,
) -> Result<Option<ClockSkew>, Error> {
    let ending = going.ending;
    let period = request.profile.checkpoint.lease;
    let agreeing = shard.agree(store, plan, (period, &going.surroundings.lease_clock));
    let layout = unless_stopped(ending, agreeing).await?;
    let comparing = clock_skew::check(request, store, (shard.shard, ending.clock()));
    let clock_skew = unless_stopped(ending, comparing).await?;
    if !shard.shard.is_whole() || layout.is_some() {
        report.shard = Some(shard_report(shard.shard, layout.as_ref(), clock_skew));
    }
    Ok(clock_skew)
}

/// Opens what is kept of the gate's answers.
async fn open_books(
    request: &StreamRequest,
    places: &Arc<dyn RunPlaces>,
    (run, session): (&PlatformRunId, &str),
) -> Result<(GateBook, Option<Receipts>), Error> {
    let (terms, run) = (request.profile.gate_quarantine, run.clone());
    let (places, session) = (Arc::clone(places), session.to_owned());
    let receipts = request.receipts();
    // A damaged verdict on this machine is for its operator to mend.
    let is_local = request.profile.posture == Posture::Local
        && matches!(request.runs_location(), Ok(Location::S3 { .. }));
    blocking(move || {
        let book = match places.open_gate_book(terms, &run, &session) {
            // As the audit, it is not what a local run ends for; a limit needs the list.
            Err(error)
                if is_local
                    && terms.at_most.is_none()
                    && error.code() == replay::ReasonCode::QuarantineUnreadable.as_str() =>
            {
                tracing::warn!(%error, "what the gate quarantined before is not known");
                GateBook::unkept(terms)
            }
            opened => opened?,
        };
        let receipts = receipts.as_deref().map(Receipts::open).transpose()?;
        Ok::<_, Error>((book, receipts))
    })
    .await
}

/// What comes between the leases and the first event.
struct Beginning<'a> {
    request: &'a StreamRequest,
    plan: &'a Plan,
    shard: &'a ShardPlace,
    keys: &'a [CursorKey],
    run: &'a PlatformRunId,
    order: OrderMode,
}

/// What is known under the leases.
struct Begun {
    pins: Pins,
    starts: Vec<OutputStart>,
    done_before: Option<DoneBefore>,
}

impl Beginning<'_> {
    /// Reads the cursors again under the leases, and has the audit say that the stream starts.
    async fn under(
        &self,
        held: &HeldLease,
        ending: &Ending,
        audit: &mut AuditLog,
    ) -> Result<Begun, Error> {
        let resuming = async {
            let engine_run_id = self.plan.receipt.run_id.to_string();
            let pack_key = &self.plan.pack_key;
            let take_over = TakeOver::new(self.request, Some(self.run), pack_key, &engine_run_id);
            let records = take_over.load(held.store(), self.keys).await?;
            view_order::check(self.request, self.plan, self.order, ending).await?;
            let terms = ResumeTerms {
                order: self.order,
                platform_run_id: self.run.as_str(),
                overrides: &self.request.overrides,
            };
            let starts = resume::starts(self.plan, self.keys, &records, &terms).await?;
            // The stream may have been divided anew before the leases were taken.
            let layout = match (
                self.shard.layout(held.store()).await?,
                &self.shard.unsharded,
            ) {
                (Some(layout), Some(key)) => {
                    layout.check(key, self.shard.shard)?;
                    shards::done_before(self.plan, &layout, key, &terms).await?
                }
                _ => None,
            };
            Ok::<_, Error>((starts, layout))
        };
        let (starts, done_before) = unless_stopped(ending, resuming).await?;
        let pins = pins(self.request, self.plan, self.run)?;
        let started = stream_started(self.request, self.plan, self.keys, &starts, self.order);
        audit.append(EventKind::StreamStart, started)?;
        unless_stopped(ending, audit.flush()).await?;
        Ok(Begun {
            pins,
            starts,
            done_before,
        })
    }
}

/// Waits for a step that comes before the first event, or for a stop, whichever is first.
///
/// # Errors
/// The step's; `STOPPED`.
pub(crate) async fn unless_stopped<T, E: Into<Error>>(
    ending: &Ending,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        done = step => done.map_err(Into::into),
        () = ending.winding_down() => Err(stopped().into()),
    }
}

/// Writes a new platform run's id into the runs root; whether that id stands there now. A run
/// that was named stands, and one whose cursors cannot be read is not written: they may name
/// another.
async fn is_run_agreed(
    outlook: &Outlook,
    places: &Arc<dyn RunPlaces>,
    random: &SharedRandom,
) -> Result<bool, Error> {
    let (run, source) = &outlook.run;
    if *source != PlatformRunSource::New || outlook.records.is_err() {
        return Ok(true);
    }
    let (places, run, random) = (Arc::clone(places), run.clone(), random.clone());
    blocking(move || {
        Ok(places.claim_active_run(&run, &random).unwrap_or_else(|error| {
            tracing::warn!(%error, "the active run file cannot be written; name the run to resume under it");
            true
        }))
    })
    .await
}

fn lease_request(request: &StreamRequest, keys: &[CursorKey], plan: &Plan) -> LeaseRequest {
    let holder = Holder::this_process(plan.producer.as_str());
    let mut wanted = LeaseRequest::new(keys.iter().cloned(), holder);
    wanted.period = request.profile.checkpoint.lease;
    wanted.take_over = request.overrides.take_over;
    wanted
}

/// A platform run of the present second.
fn new_run(surroundings: &Surroundings) -> Result<(PlatformRunId, PlatformRunSource), Error> {
    let run = platform_run::make(surroundings.clock.wall())?;
    Ok((run, PlatformRunSource::New))
}

/// The platform run that the cursors agree on.
fn run_of<'a>(records: impl Iterator<Item = &'a Record>) -> Result<Option<PlatformRunId>, Error> {
    let mut runs = records.filter_map(|record| record.cursor.platform_run_id());
    let Some(first) = runs.next() else {
        return Ok(None);
    };
    if let Some(other) = runs.find(|run| *run != first) {
        return Err(Error::new(
            crate::ReasonCode::ProfileInvalid,
            format!("The cursors belong to several platform runs ({first}, {other})"),
            "Name one with --platform-run-id.",
        ));
    }
    let unusable = |invalid: model::InvalidId| {
        let what = format!("The cursors belong to the platform run {first:?}");
        let error = envelope::Error::new(envelope::ReasonCode::EnvelopeFieldInvalid, what);
        Error::from(error.field("platform_run_id").because(invalid))
    };
    first.parse().map(Some).map_err(unusable)
}

pub(crate) fn pins(
    request: &StreamRequest,
    plan: &Plan,
    run: &PlatformRunId,
) -> Result<Pins, Error> {
    let values = PinValues {
        manifest_fingerprint: plan.world_key.manifest_fingerprint.to_string(),
        parameter_hash: plan.world_key.parameter_hash.to_string(),
        seed: plan.world_key.seed,
        scenario_id: plan.world_key.scenario_id.to_string(),
        run_id: plan.receipt.run_id.to_string(),
        platform_run_id: run.to_string(),
        scenario_run_id: request.overrides.scenario_run_id.clone(),
        producer: plan.producer.as_str().to_owned(),
        trace_id: None,
        span_id: None,
    };
    let provenance = Provenance {
        trace_id: plan.pack_key.as_str().to_owned(),
        span_id: plan.pack.engine_release.clone(),
    };
    Pins::new(values)
        .and_then(|pins| pins.stamped(&provenance))
        .map_err(Error::from)
}

fn world_selected(plan: &Plan, run: &PlatformRunId, source: PlatformRunSource) -> Value {
    json!({
        "engine_run_root": plan.store.root().as_str(),
        "world_key": plan.world_key,
        "pack": plan.pack,
        "gates": GatesReport::of(plan),
        "data_verified": plan.data.verified(),
        "platform_run_id": run.as_str(),
        "platform_run_id_from": source,
    })
}

fn stream_started(
    request: &StreamRequest,
    plan: &Plan,
    keys: &[CursorKey],
    starts: &[OutputStart],
    order: OrderMode,
) -> Value {
    let lists = OutputLists::of(plan.outputs.iter().map(|output| (output.id(), output.role)));
    let outputs = plan.outputs.iter().zip(starts).map(|(output, start)| {
        json!({
            "output_id": output.id(),
            "role": output.role,
            "parts": output.locator.parts.len(),
            "source": SourceReport::of(output.view.as_ref()),
            "resumes_behind": start.cursor.as_ref().map(CursorPlace::from),
        })
    });
    let has_cursor = starts.iter().map(|start| start.cursor.is_some());
    let anew = resume::begin_anew(&plan.outputs, has_cursor);
    if !anew.is_empty() {
        let ids: Vec<&str> = anew.iter().map(OutputId::as_str).collect();
        tracing::warn!(
            "without a cursor beside others that have one, streamed from the first row: {}",
            ids.join(", ")
        );
    }
    let adopted: Vec<_> = starts.iter().flat_map(|start| &start.adopted).collect();
    json!({
        "engine_run_root": plan.store.root().as_str(),
        "scenario_id": plan.world_key.scenario_id,
        "output_ids": lists.all,
        "traffic_output_ids": lists.traffic,
        "context_output_ids": lists.context,
        "outputs": outputs.collect::<Vec<_>>(),
        "pack_key": keys.first().map(|key| key.pack_key().as_str()),
        "producer_id": plan.producer.as_str(),
        "policy_rev": request.profile.policy_rev,
        "posture": request.profile.posture,
        "order": order.as_str(),
        "pace": request.profile.pace,
        "start_at": request.overrides.start_at.map(|time| time.to_string()),
        "time_origin": request.overrides.time_origin.map(|time| time.to_string()),
        "max_gap_s": request.overrides.max_gap.map(|gap| gap.as_secs_f64()),
        "evidence": GatesReport::of(plan),
        "require_gate_pass": request.profile.require_gate_pass,
        "on_reject": request.profile.rejects.on_reject,
        "adopted": adopted,
        "begin_anew": anew,
    })
}
