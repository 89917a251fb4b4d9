//! What would be streamed: a plan for people and programs, nothing sent or written.

use gates::DataVerified;
use model::{OutputId, PackKey, PlatformRunId};
use oracle_store::{PackEvidence, PartFooter, Posture, WorldKey, WorldStore, footer};
use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::plan::selection::Role;
use crate::plan::{Plan, PlannedOutput};
use crate::profile::OrderMode;
use crate::profile::request::StreamRequest;
use crate::run::backends::open_checkpoint_store;
use crate::run::platform_run::PlatformRunSource;
use crate::run::prepare::{Outlook, look_ahead};
use crate::run::reading::event_time_source;
use crate::run::report::{StreamReport, stored_cursor_json};
use replay::ending::Ending;
use replay::order::Overlap;
use replay::pace::Pace;

/// What a run of a request would do.
#[derive(Debug, Clone, Serialize)]
pub struct Outline {
    /// `PLANNED`.
    pub status: &'static str,
    /// Where the world is.
    pub engine_run_root: String,
    /// Which world it is.
    pub world_key: WorldKey,
    /// What manifest and seal say.
    pub pack: PackEvidence,
    /// How much evidence was needed.
    pub posture: Posture,
    /// What the gates said.
    pub gates: Option<Value>,
    /// How the data is proven.
    pub data_verified: DataVerified,
    /// Who would produce.
    pub producer_id: String,
    /// The platform run, as a run started now would have it.
    pub platform_run_id: PlatformRunId,
    /// Where that id comes from.
    pub platform_run_id_from: PlatformRunSource,
    /// The order of the events.
    pub order: &'static str,
    /// What makes events due.
    pub pace: Pace,
    /// What the cursors are kept under.
    pub pack_key: Option<PackKey>,
    /// Where they are kept.
    pub checkpoint_store: String,
    /// How many parts are open at once, from the beginning, and the memory that takes.
    pub overlap: Option<Overlap>,
    /// Rows of all outputs, where the parts say so without being read.
    pub rows: Option<u64>,
    /// Each output.
    pub outputs: Vec<OutputOutline>,
}

/// One output of an outline.
#[derive(Debug, Clone, Serialize)]
pub struct OutputOutline {
    /// The output.
    pub output_id: OutputId,
    /// What it is to the platform.
    pub role: Role,
    /// Where its parts are.
    pub path: String,
    /// How many there are.
    pub parts: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows, where they say so without being read.
    pub rows: Option<u64>,
    /// What identifies a row.
    pub primary_key: Vec<String>,
    /// A run would start behind it; absent: at the beginning.
    pub cursor: Option<Value>,
}

/// Plans a request, and looks at the parts' footers and at the cursors.
///
/// # Errors
/// What a run would be refused for.
pub async fn outline(request: &StreamRequest) -> Result<Outline, Error> {
    let store = open_checkpoint_store(&request.profile, &request.working_dir)?;
    let mut report = StreamReport::empty(request.profile.posture);
    let outlook = look_ahead(request, &*store, &mut report).await?;
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
            path: output.locator.path.clone(),
            parts: output.locator.parts.len(),
            bytes: output.locator.bytes(),
            rows: footers.iter().map(|footer| footer.rows).sum(),
            primary_key: output.primary_key.clone(),
            cursor: record.map(|record| stored_cursor_json(&record)),
        });
    }
    let overlap = match order {
        OrderMode::EventTime => Some(overlap(request, &plan).await?),
        OrderMode::AsWritten => Some(Overlap::in_turn(&read_bytes)),
    };
    Ok(Outline {
        overlap,
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
        rows: outputs.iter().map(|output| output.rows).sum(),
        outputs,
        world_key: plan.world_key,
        pack: plan.pack,
    })
}

/// How many parts overlap in event time: reads the time columns that are not known.
async fn overlap(request: &StreamRequest, plan: &Plan) -> Result<Overlap, Error> {
    let done = vec![None; plan.outputs.len()];
    let mut source = event_time_source(request, plan, done, request.overrides.window);
    source.index = source.index.without_keeping();
    let surveyed = tokio::task::spawn_blocking(move || source.survey(&Ending::default()));
    match surveyed.await {
        Ok(survey) => Ok(*survey?.overlap()),
        Err(source) => {
            let what = "The thread that reads time columns ended too early";
            Err(Error::caused(
                replay::ReasonCode::StreamInternal,
                what,
                "Report this.",
                source,
            ))
        }
    }
}

/// The footers of an output's parts, without their columns; off the async threads.
async fn footers_of(store: WorldStore, output: PlannedOutput) -> Result<Vec<PartFooter>, Error> {
    let read = tokio::task::spawn_blocking(move || {
        let footers = output.locator.parts.iter().map(|part| {
            let mut footer = footer(&store, part)?;
            footer.schema = None;
            Ok(footer)
        });
        footers.collect::<Result<Vec<_>, oracle_store::Error>>()
    });
    match read.await {
        Ok(footers) => footers.map_err(Error::from),
        Err(source) => {
            let what = "The thread that reads footers ended too early";
            Err(Error::caused(
                replay::ReasonCode::StreamInternal,
                what,
                "Report this.",
                source,
            ))
        }
    }
}
