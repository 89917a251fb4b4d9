//! What would be streamed: a plan for people and programs, nothing sent or written.

use std::path::PathBuf;

use envelope::FrameSpec;
use gates::DataVerified;
use model::{OutputId, PackKey, PlatformRunId};
use oracle_store::{
    Hex64, PackEvidence, Part, PartFooter, PartFormat, Posture, WorldKey, WorldStore, footer,
};
use serde::Serialize;

use crate::Error;
use crate::blocking::blocking_as;
use crate::clock::Surroundings;
use crate::plan::selection::Role;
use crate::plan::{Plan, PlannedOutput};
use crate::profile::request::StreamRequest;
use crate::profile::{OrderMode, Setting};
use crate::run::backends::open_checkpoint_store;
use crate::run::platform_run::PlatformRunSource;
use crate::run::prepare::{Outlook, look_ahead};
use crate::run::reading::{event_time_source, sort_cache};
use crate::run::report::{SourceReport, StreamReport};
use crate::run::resume;
use crate::run::shown::{GatesReport, StoredCursorReport};
use replay::{Ending, Overlap, Pace, check_time_column, decoding_threads};

/// What a run of a request would do.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Outline {
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
    /// How many parts are open at once, from the beginning, and the memory that takes.
    pub overlap: Option<Overlap>,
    /// What is not in time order and would be sorted before the first event; `None` where nothing
    /// is, or the order is that of the files.
    pub sorting: Option<SortOutline>,
    /// The rows of all outputs; `None` where only reading would tell.
    pub rows: Option<u64>,
    /// The outputs without a cursor where others have one: a run would stream them from their
    /// first row.
    pub begin_anew: Vec<OutputId>,
    /// Where each value of the request comes from: flag, environment, profile or default.
    pub settings: Vec<Setting>,
    /// What is known of each output.
    pub outputs: Vec<OutputOutline>,
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
    /// The columns that identify a row.
    pub primary_key: Vec<String>,
    /// The cursor that a run would start behind; `None` where it would start at the beginning.
    pub cursor: Option<StoredCursorReport>,
}

/// Plans a request, and looks at the parts' footers and at the cursors.
///
/// # Errors
/// What a run would be refused for.
pub async fn outline(
    request: &StreamRequest,
    surroundings: &Surroundings,
) -> Result<Outline, Error> {
    let store = open_checkpoint_store(request)?;
    let mut report = StreamReport::empty(request.profile.posture);
    let outlook = look_ahead(request, &*store, surroundings, &mut report).await?;
    let Outlook {
        plan,
        run,
        order,
        records,
        ..
    } = outlook;
    let mut outputs = Vec::with_capacity(plan.outputs.len());
    let mut read_bytes = Vec::new();
    for (output, record) in plan.outputs.iter().zip(records?) {
        let footers = footers_of(plan.store.clone(), output.clone()).await?;
        read_bytes.extend(footers.iter().map(|footer| footer.read_bytes));
        outputs.push(OutputOutline {
            output_id: output.id().clone(),
            role: output.role,
            source: SourceReport::of(output.view.as_ref()),
            path: output.locator.path.clone(),
            parts: output.locator.parts.len(),
            bytes: output.locator.bytes(),
            rows: footers.iter().map(|footer| footer.rows).sum(),
            primary_key: output.primary_key.clone(),
            cursor: record.as_ref().map(StoredCursorReport::from),
        });
    }
    let (overlap, sorting) = match order {
        OrderMode::EventTime => {
            let (overlap, unsorted) = overlap(request, &plan).await?;
            (Some(overlap), sorting(request, unsorted).await?)
        }
        OrderMode::AsWritten => (Some(Overlap::in_turn(&read_bytes)), None),
    };
    Ok(Outline {
        overlap,
        sorting,
        status: "PLANNED",
        engine_run_root: plan.store.root().as_str().to_owned(),
        posture: request.profile.posture,
        gates: report.gates,
        data_verified: report.data_verified,
        producer_id: plan.producer.as_str().to_owned(),
        platform_run_id: run.0,
        platform_run_id_from: run.1,
        order: order.as_str(),
        pace: request.profile.pace.clone(),
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

/// How many parts overlap in event time: reads the time columns that are not known.
async fn overlap(request: &StreamRequest, plan: &Plan) -> Result<(Overlap, Vec<Unsorted>), Error> {
    let done = vec![None; plan.outputs.len()];
    let source = event_time_source(request, plan, done, request.overrides.window);
    let mut source = source.without_keeping();
    let what = "The thread that reads time columns ended too early";
    let surveyed = blocking_as(what, move || {
        let survey = source.survey(&Ending::default())?;
        source.check(&survey)?;
        Ok::<_, replay::Error>(survey)
    });
    let survey = surveyed.await?;
    let identities = plan.outputs.iter().map(|output| {
        let (id, key) = (output.id(), &output.primary_key);
        FrameSpec::identity_digest_of(id, key, &plan.world_key)
    });
    let identities: Vec<_> = identities.collect();
    let unsorted = survey.unsorted().map(|(id, rows)| Unsorted {
        part: plan.outputs[id.output].locator.parts[id.part as usize].clone(),
        location: plan.store.root().as_str().to_owned(),
        identity: identities[id.output].clone(),
        rows,
    });
    Ok((*survey.overlap(), unsorted.collect()))
}

/// A part that is not in time order.
struct Unsorted {
    part: Part,
    location: String,
    identity: Hex64,
    rows: u64,
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
