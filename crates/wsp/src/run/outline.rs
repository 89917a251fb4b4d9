//! What would be streamed: a plan for people and programs, nothing sent or written.

use std::path::PathBuf;
use std::time::Duration;

use checkpoint::Record;
use envelope::EventTime;
use gates::DataVerified;
use model::{OutputId, PackKey, PlatformRunId, ShardBy};
use oracle_store::{PackEvidence, PartFooter, PartFormat, Posture, WorldKey, WorldStore, footer};
use serde::Serialize;

use crate::Error;
use crate::blocking::blocking_as;
use crate::clock::{Clock as _, Surroundings};
use crate::plan::selection::Role;
use crate::plan::{Plan, PlannedOutput};
use crate::profile::request::StreamRequest;
use crate::profile::{OrderMode, Setting};
use crate::run::backends::open_checkpoint_store;
use crate::run::foresight::{Ahead, Foresight, Unsorted};
use crate::run::id_outline::{self, IdOutline, PLAN_FORMAT};
use crate::run::platform_run::PlatformRunSource;
use crate::run::prepare::{Outlook, look_ahead, pins};
use crate::run::reading::{frame_spec, sort_cache};
use crate::run::report::{SourceReport, StreamReport};
use crate::run::resume::{self, ResumeTerms};
use crate::run::schedule::schedule_of;
use crate::run::shards::ShardPlace;
use crate::run::shown::{GatesReport, StoredCursorReport};
use replay::{Forecast, Overlap, Pace, Start, check_time_column, decoding_threads};

/// What a run of a request would do.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Outline {
    /// The version of the plan's format: 1, of which are also those that do not say it.
    pub format_version: u32,
    /// `PLANNED`.
    pub status: &'static str,
    /// The engine run root of the world.
    pub engine_run_root: String,
    /// The world key: what tells this world from every other.
    pub world_key: WorldKey,
    /// What the pack's manifest and seal say.
    pub pack: PackEvidence,
    /// The posture: how much evidence was needed.
    pub posture: Posture,
    /// The verdicts of the gates.
    pub gates: Option<GatesReport>,
    /// How the data itself, beside the gates' bundles, is proven.
    pub data_verified: DataVerified,
    /// The producer id that events would bear.
    pub producer_id: String,
    /// The platform run, as a run started now would have it.
    pub platform_run_id: PlatformRunId,
    /// Where the platform run's id comes from.
    pub platform_run_id_from: PlatformRunSource,
    /// The order that events would be sent in.
    pub order: &'static str,
    /// The pace that would make events due.
    pub pace: Pace,
    /// The pack key that the cursors are kept under.
    pub pack_key: Option<PackKey>,
    /// The place of the store that the cursors are kept in.
    pub checkpoint_store: String,
    /// What a run started now would hand over, and how long that takes if nothing makes it late;
    /// `None` where nobody asked for it.
    pub forecast: Option<ForecastOutline>,
    /// What a run started now takes of the machine, about.
    pub resources: ResourcesOutline,
    /// How many parts a run started now would have open at once, and the memory that takes.
    pub overlap: Option<Overlap>,
    /// What is not in time order and would be sorted before the first event; `None` where nothing
    /// is, or the order is that of the files.
    pub sorting: Option<SortOutline>,
    /// The rows of all outputs; `None` where only reading would tell.
    pub rows: Option<u64>,
    /// How the stream is divided into shards; absent for one in one piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardsOutline>,
    /// Events and the sums of their ids, by output and by shard; absent unless they were asked for,
    /// or the stream is divided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<IdOutline>,
    /// The outputs without a cursor where others have one: a run would stream them from their
    /// first row.
    pub begin_anew: Vec<OutputId>,
    /// Where each value of the request comes from: flag, environment, profile or default.
    pub settings: Vec<Setting>,
    /// What is known of each output.
    pub outputs: Vec<OutputOutline>,
}

/// How a stream is divided into shards, and the schedule that they would have in common.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ShardsOutline {
    /// The number of shards.
    pub count: u32,
    /// What decides which shard an event is of.
    pub by: ShardBy,
    /// What each shard holds in memory, about, in bytes: all open the same parts.
    pub memory_bytes_each: u64,
    /// A `--start-at` for all shards, in UTC: in two minutes.
    pub start_at_utc: Option<EventTime>,
    /// A `--time-origin` for all shards: the earliest event time of the whole world; `None` in
    /// `as_written` order, which shards are not paced in, and without a forecast.
    pub time_origin_utc: Option<EventTime>,
}

/// What a run started now would hand over.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ForecastOutline {
    /// The number of events that the run would hand over, of all outputs.
    pub events: u64,
    /// The event time of the first event; `None` where there is none.
    pub first_ts_utc: Option<EventTime>,
    /// The event time of the last event; `None` where there is none.
    pub last_ts_utc: Option<EventTime>,
    /// Seconds from the start until the first event is due; `None` for an unpaced stream.
    pub starts_in_s: Option<f64>,
    /// Seconds from the first event to the last; `None` for an unpaced stream, which takes as long
    /// as the ingestion gate does.
    pub duration_s: Option<f64>,
    /// Events a second over that duration; `None` for an unpaced stream and a duration of 0.
    pub mean_events_per_second: Option<f64>,
    /// The most events that are due within one second; `None` for an unpaced stream.
    pub peak_events_per_second: Option<u64>,
    /// The number of events that are due before the start: they leave as fast as the gate takes
    /// them.
    pub overdue: u64,
    /// `MAX_EVENTS` where a bound ends the run before its outputs do; `None` otherwise.
    pub reason: Option<&'static str>,
    /// `time_columns` where every event time was read; `estimate` where some were spread evenly over
    /// the time of a part that is not in time order.
    pub basis: &'static str,
}

impl From<&Forecast> for ForecastOutline {
    fn from(forecast: &Forecast) -> Self {
        let max_events = replay::ReasonCode::MaxEvents.as_str();
        Self {
            events: forecast.events,
            first_ts_utc: forecast.first_time,
            last_ts_utc: forecast.last_time,
            starts_in_s: forecast.starts_in_s,
            duration_s: forecast.duration_s,
            mean_events_per_second: forecast.mean_events_per_second,
            peak_events_per_second: forecast.peak_events_per_second,
            overdue: forecast.overdue,
            reason: forecast.is_bounded.then_some(max_events),
            basis: if forecast.is_exact {
                "time_columns"
            } else {
                "estimate"
            },
        }
    }
}

/// What a run takes of the machine, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ResourcesOutline {
    /// The process's memory at its largest, in bytes.
    pub memory_bytes: u64,
    /// The memory that the profile's `wsp_order.memory_budget_mib` allows, in bytes.
    pub memory_budget_bytes: u64,
    /// The files and sockets that are open at once.
    pub file_handles: u64,
    /// The bytes of all parts with open rows: the most that is read of them, once.
    pub read_bytes: u64,
}

/// What a run would sort before its first event.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SortOutline {
    /// The parts that are not in time order and not in the sort cache.
    pub parts: usize,
    /// The rows of these parts.
    pub rows: u64,
    /// The parts that are not in time order and were sorted by an earlier run.
    pub sorted_already: usize,
    /// The folder of the sort cache.
    pub folder: PathBuf,
    /// What sorting takes of the folder's disk, about, in bytes.
    pub disk_bytes: u64,
    /// What the sort cache may take, in bytes.
    pub limit_bytes: u64,
    /// How long sorting takes, about, at [`SORT_ROWS_A_SECOND`] rows a second and core.
    pub seconds: f64,
}

/// How many rows a core reads, frames, sorts and merges in a second: an assumption, for an estimate
/// that is of the right order; no measurement stands behind it yet.
pub const SORT_ROWS_A_SECOND: f64 = 100_000.0;
/// What a row takes in the sort cache beside its payload.
const STORED_ROW_BYTES: u64 = 68;
/// What the JSON of a row of Parquet takes, to what its file takes of it: an assumption, too.
const JSON_FACTOR: u64 = 5;

/// One output of an outline.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct OutputOutline {
    /// The id of the output.
    pub output_id: OutputId,
    /// What the output is to the platform.
    pub role: Role,
    /// What its rows are read from.
    #[serde(flatten)]
    pub source: SourceReport,
    /// The path of the parts that are read, under the engine run root.
    pub path: String,
    /// The number of parts.
    pub parts: usize,
    /// The bytes of all parts together.
    pub bytes: u64,
    /// The rows of all parts together; `None` where only reading would tell.
    pub rows: Option<u64>,
    /// The rows that are done by the cursor, and that a run skips; `None` where only reading would
    /// tell.
    pub skipped: Option<u64>,
    /// The rows that a run started now would hand over; `None` without a forecast.
    pub to_send: Option<u64>,
    /// The rows that a run started now would leave out, behind or before the window or behind
    /// `--max-events`; `None` where one of the other numbers is not known.
    pub left_out: Option<u64>,
    /// The earliest event time that a run started now would hand over; `None` without one.
    pub first_ts_utc: Option<EventTime>,
    /// The latest event time that a run started now would hand over; `None` without one.
    pub last_ts_utc: Option<EventTime>,
    /// The columns that identify a row.
    pub primary_key: Vec<String>,
    /// The cursor that a run would start behind; `None` where it would start at the beginning.
    pub cursor: Option<StoredCursorReport>,
}

/// Plans a request, looks at the parts' footers and at the cursors, and runs the schedule through
/// the times of all rows that would be handed over. Of a divided stream that is about all shards,
/// from the beginning, with the key columns of every part read for what each shard has.
///
/// # Errors
/// What a run would be refused for.
pub async fn outline(
    request: &StreamRequest,
    surroundings: &Surroundings,
) -> Result<Outline, Error> {
    Box::pin(outlined(request, surroundings, Depth::Forecast)).await
}

/// The same, with the sums of all ids: reads the key columns of every part.
///
/// # Errors
/// As [`outline`]; `PRIMARY_KEY_*`, `ORACLE_READ_FAILED`.
pub async fn outline_with_ids(
    request: &StreamRequest,
    surroundings: &Surroundings,
) -> Result<Outline, Error> {
    Box::pin(outlined(request, surroundings, Depth::Ids)).await
}

/// The same without a forecast, which reads the most.
pub(crate) async fn sketch(
    request: &StreamRequest,
    surroundings: &Surroundings,
) -> Result<Outline, Error> {
    Box::pin(outlined(request, surroundings, Depth::Sketch)).await
}

/// How much an outline reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// What a run begins with.
    Sketch,
    /// The time columns too; the key columns of a divided stream.
    Forecast,
    /// The key columns too.
    Ids,
}

async fn outlined(
    request: &StreamRequest,
    surroundings: &Surroundings,
    depth: Depth,
) -> Result<Outline, Error> {
    let store = open_checkpoint_store(request)?;
    let mut report = StreamReport::empty(request.profile.posture);
    let outlook = look_ahead(request, &*store, surroundings, &mut report).await?;
    let Outlook {
        plan,
        shard,
        keys,
        run,
        order,
        records,
    } = outlook;
    let records = records?;
    let terms = ResumeTerms {
        order,
        platform_run_id: run.0.as_str(),
        overrides: &request.overrides,
    };
    let is_divided = request.profile.shard.count > 1;
    // A sketch looks at a world whatever cursors there are: it says what a run would begin with. So
    // does the plan of all shards, whose cursors are many.
    let none = vec![None; records.len()];
    let mut starts = resume::starts(&plan, &keys, &none, &terms).await?;
    if depth != Depth::Sketch {
        let behind = resume::starts(&plan, &keys, &records, &terms).await?;
        if !is_divided {
            starts = behind;
        }
    }
    let mut footers = Vec::with_capacity(plan.outputs.len());
    for output in &plan.outputs {
        footers.push(footers_of(plan.store.clone(), output.clone()).await?);
    }
    let whole = request.of_all_shards();
    let schedule = || schedule_of(&whole, Start::by(&surroundings.clock));
    let ahead = Ahead {
        request: &whole,
        plan: &plan,
        order,
        starts: &starts,
        footers: &footers,
        schedule: (depth != Depth::Sketch).then(schedule),
    };
    let foresight = ahead.look().await?;
    let ids = if depth == Depth::Ids || (is_divided && depth == Depth::Forecast) {
        Some(ids_of(request, &plan, &shard, &run.0).await?)
    } else {
        None
    };
    let outputs = output_outlines(&plan.outputs, &records, &foresight);
    let sorting = sorting(request, foresight.unsorted).await?;
    let forecast = foresight.forecast.as_ref().map(ForecastOutline::from);
    let first = forecast.as_ref().and_then(|ahead| ahead.first_ts_utc);
    let shards = is_divided.then(|| ShardsOutline {
        count: request.profile.shard.count,
        by: request.profile.shard.by,
        memory_bytes_each: foresight.overlap.memory_bytes,
        start_at_utc: soon(surroundings),
        time_origin_utc: first.filter(|_| order == OrderMode::EventTime),
    });
    let profile = &request.profile;
    Ok(Outline {
        format_version: PLAN_FORMAT,
        forecast,
        resources: ResourcesOutline {
            memory_bytes: foresight.overlap.memory_bytes,
            memory_budget_bytes: profile.ordering.memory_budget,
            file_handles: foresight
                .overlap
                .file_handles(profile.push.lanes.count.get()),
            read_bytes: foresight.read_bytes,
        },
        overlap: Some(foresight.overlap),
        sorting,
        shards,
        ids,
        status: "PLANNED",
        engine_run_root: plan.store.root().as_str().to_owned(),
        posture: profile.posture,
        gates: report.gates,
        data_verified: report.data_verified,
        producer_id: plan.producer.as_str().to_owned(),
        platform_run_id: run.0,
        platform_run_id_from: run.1,
        order: order.as_str(),
        pace: whole.profile.pace.clone(),
        pack_key: report.pack_key,
        checkpoint_store: store.place(),
        begin_anew: resume::begin_anew(
            &plan.outputs,
            outputs.iter().map(|output| output.cursor.is_some()),
        ),
        settings: request.settings.clone(),
        rows: outputs.iter().map(|output| output.rows).sum(),
        outputs,
        world_key: plan.world_key,
        pack: plan.pack,
    })
}

/// All events and the sums of their ids, by output and by shard.
async fn ids_of(
    request: &StreamRequest,
    plan: &Plan,
    shard: &ShardPlace,
    run: &PlatformRunId,
) -> Result<IdOutline, Error> {
    let pins = pins(request, plan, run)?;
    let specs = plan.outputs.iter().map(|output| frame_spec(output, &pins));
    let is_lane = shard.unsharded.is_none();
    let key = shard.unsharded.as_ref().unwrap_or(&plan.pack_key);
    let settings = &request.profile.shard;
    id_outline::count(plan, settings, (key.clone(), is_lane), specs.collect()).await
}

/// The second two minutes from now.
fn soon(surroundings: &Surroundings) -> Option<EventTime> {
    let soon = EventTime::of_wall(surroundings.clock.wall() + Duration::from_mins(2))?;
    let second = 1_000_000_000;
    EventTime::from_nanos(soon.nanos() / second * second)
}

fn output_outlines(
    planned: &[PlannedOutput],
    records: &[Option<Record>],
    foresight: &Foresight,
) -> Vec<OutputOutline> {
    let outputs = planned.iter().zip(records).enumerate();
    let outlines = outputs.map(|(index, (output, record))| {
        let forecast = foresight.forecast.as_ref();
        let forecast = forecast.map(|forecast| forecast.of_outputs[index]);
        let (rows, skipped) = (foresight.rows[index], foresight.skipped[index]);
        let to_send = forecast.map(|forecast| forecast.events);
        let behind = rows.zip(skipped).map(|(rows, done)| rows - done.min(rows));
        OutputOutline {
            output_id: output.id().clone(),
            role: output.role,
            source: SourceReport::of(output.view.as_ref()),
            path: output.locator.path.clone(),
            parts: output.locator.parts.len(),
            bytes: output.locator.bytes(),
            rows,
            skipped,
            to_send,
            left_out: behind
                .zip(to_send)
                .map(|(open, sent)| open - sent.min(open)),
            first_ts_utc: forecast.and_then(|forecast| forecast.first_time),
            last_ts_utc: forecast.and_then(|forecast| forecast.last_time),
            primary_key: output.primary_key.clone(),
            cursor: record.as_ref().map(StoredCursorReport::from),
        }
    });
    outlines.collect()
}

/// What sorting some parts takes, beside those that are sorted.
async fn sorting(
    request: &StreamRequest,
    parts: Vec<Unsorted>,
) -> Result<Option<SortOutline>, Error> {
    if parts.is_empty() {
        return Ok(None);
    }
    let cache = sort_cache(request);
    let what = "The thread that looks into the sort cache ended too early";
    blocking_as(what, move || {
        let (mut rows, mut to_sort, mut disk_bytes, mut largest) = (0, 0, 0, 0);
        let mut sorted_already = 0;
        for Unsorted {
            part,
            location,
            identity,
            rows: of_part,
        } in &parts
        {
            if cache.holds(location, part, identity, *of_part) {
                sorted_already += 1;
                continue;
            }
            let payload = match part.format() {
                PartFormat::Parquet => part.pin().size * JSON_FACTOR,
                PartFormat::Jsonl => part.pin().size,
            };
            let bytes = payload + of_part * STORED_ROW_BYTES;
            (rows, to_sort) = (rows + of_part, to_sort + 1);
            disk_bytes += bytes;
            largest = largest.max(bytes);
        }
        let at_once = decoding_threads().min(to_sort).max(1) as u64;
        let rate = SORT_ROWS_A_SECOND * at_once as f64;
        Ok::<_, Error>(Some(SortOutline {
            parts: to_sort,
            rows,
            sorted_already,
            folder: cache.folder().to_owned(),
            // While a part is merged it takes its size twice.
            disk_bytes: disk_bytes + largest * at_once,
            limit_bytes: cache.limit(),
            seconds: rows as f64 / rate,
        }))
    })
    .await
}

/// The footers of an output's parts, without their columns; off the async threads.
async fn footers_of(store: WorldStore, output: PlannedOutput) -> Result<Vec<PartFooter>, Error> {
    let what = "The thread that reads footers ended too early";
    blocking_as(what, move || {
        let footers = output.locator.parts.iter().map(|part| {
            let mut footer = footer(&store, part)?;
            check_time_column(&store, part, &footer)?;
            footer.schema = None;
            Ok(footer)
        });
        footers.collect::<Result<Vec<_>, Error>>()
    })
    .await
}
