//! Where each output starts: behind its cursor, or at its beginning.

use checkpoint::{
    Adoption, Cursor, CursorKey, OrderMode, OrderPosition, PackKey, Record, ResumePlan,
    StoredCursor, part_under, position_check, resume_check,
};
use envelope::EventTime;
use model::OutputId;
use oracle_store::{
    EngineRunRoot, Location, Part, STREAM_VIEW_BASE, TIME_COLUMN, WorldKey, WorldStore, footer,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::blocking::blocking_as;
use crate::plan::{Plan, PlannedOutput};
use crate::profile::Overrides;
use replay::{DoneThrough, PartId, Position, TimeWindow};

/// The keys of a plan's cursors, in list order.
///
/// # Errors
/// The output id does not fit a key.
pub(crate) fn cursor_keys(
    pack_key: &PackKey,
    outputs: &[PlannedOutput],
) -> Result<Vec<CursorKey>, Error> {
    outputs
        .iter()
        .map(|output| CursorKey::new(pack_key.clone(), output.id().clone()).map_err(Error::from))
        .collect()
}

/// What a later run must find unchanged to go on from a cursor: sha256 over the
/// world key, the output's part names and sizes, its primary key, the order and the
/// window's start.
///
/// Every item is preceded by its length, so that no two plans share a text.
pub(crate) fn plan_digest(
    world: &WorldKey,
    output: &PlannedOutput,
    order: OrderMode,
    window: TimeWindow,
) -> String {
    let mut hasher = Sha256::new();
    let mut item = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    item("wsp-plan-v1");
    item(world.manifest_fingerprint.as_str());
    item(world.parameter_hash.as_str());
    item(world.scenario_id.as_str());
    item(&world.seed.to_string());
    item(output.id().as_str());
    item(&output.locator.parts.len().to_string());
    for part in &output.locator.parts {
        item(part.path());
        item(&part.pin().size.to_string());
    }
    item(&output.primary_key.len().to_string());
    output.primary_key.iter().for_each(|column| item(column));
    item(order.as_str());
    // Absent for the usual one, so that plans from before columns could be named stay the same.
    let column = output.locator.parts.first().map(Part::time_column);
    if let Some(column) = column.filter(|column| *column != TIME_COLUMN) {
        item("time_column");
        item(column);
    }
    // Only the start: a later end goes on from the same cursors.
    item(
        &window
            .from
            .map_or_else(String::new, |from| from.nanos().to_string()),
    );
    oracle_store::Hex64::of_digest(hasher.finalize().into()).to_string()
}

/// Where one output goes on.
#[derive(Debug, Clone)]
pub(crate) struct OutputStart {
    /// The output's plan, as cursors are bound to it.
    pub plan_digest: String,
    /// The cursor to go on from.
    pub cursor: Option<Cursor>,
    /// What was accepted on the way, for the audit.
    pub adopted: Vec<Value>,
}

/// What a resume is checked against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResumeTerms<'a> {
    /// The stream's order.
    pub order: OrderMode,
    /// The platform run.
    pub platform_run_id: &'a str,
    /// The deliberate exceptions.
    pub overrides: &'a Overrides,
}

/// Decides where each output of a plan starts.
///
/// # Errors
/// `CHECKPOINT_*` where a cursor does not fit the plan; `ORACLE_READ_FAILED`.
pub(crate) async fn starts(
    plan: &Plan,
    keys: &[CursorKey],
    records: &[Option<Record>],
    terms: &ResumeTerms<'_>,
) -> Result<Vec<OutputStart>, Error> {
    let roots = root_spellings(&plan.store);
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let bases = view_base_spellings(&plan.store);
    let bases: Vec<&str> = bases.iter().map(String::as_str).collect();
    let mut starts = Vec::with_capacity(plan.outputs.len());
    for (output, (key, record)) in plan.outputs.iter().zip(keys.iter().zip(records)) {
        let digest = plan_digest(&plan.world_key, output, terms.order, terms.overrides.window);
        let (mut cursor, mut adopted) = (None, Vec::new());
        if let Some(record) = record {
            let resume_plan = ResumePlan {
                order: terms.order,
                source: output.row_source(),
                view_bases: &bases,
                view_time_ns: view_time(plan, output, &record.cursor, &bases, terms.order).await?,
                plan_digest: &digest,
                platform_run_id: terms.platform_run_id,
                roots: &roots,
                allow_plan_change: terms.overrides.allow_plan_change,
                allow_run_change: terms.overrides.allow_run_change,
            };
            let resume = resume_check(key, &record.cursor, &resume_plan)?;
            check_position(&plan.store, key, output, &resume.cursor).await?;
            let accepted = resume.adopted.iter();
            adopted = accepted
                .map(|adoption| adoption_json(output.id(), adoption))
                .collect();
            cursor = Some(resume.cursor);
        }
        starts.push(OutputStart {
            plan_digest: digest,
            cursor,
            adopted,
        });
    }
    Ok(starts)
}

/// The outputs without a cursor where others have one, by `has_cursor` in list order: they begin
/// at their first row while the others go on, as a context output does that was added to a run.
pub(crate) fn begin_anew(
    outputs: &[PlannedOutput],
    has_cursor: impl Iterator<Item = bool>,
) -> Vec<OutputId> {
    let (going_on, anew): (Vec<_>, Vec<_>) =
        outputs.iter().zip(has_cursor).partition(|(_, has)| *has);
    if going_on.is_empty() {
        return Vec::new();
    }
    anew.into_iter()
        .map(|(output, _)| output.id().clone())
        .collect()
}

fn adoption_json(output_id: &OutputId, adoption: &Adoption) -> Value {
    match adoption {
        Adoption::ExistingProducer => {
            json!({"output_id": output_id, "adopted": "existing_producer"})
        }
        Adoption::ViewProducer => {
            json!({"output_id": output_id, "adopted": "view_producer"})
        }
        Adoption::PlanChanged { stored } => {
            json!({"output_id": output_id, "adopted": "plan_changed", "stored": stored})
        }
        Adoption::RunChanged { stored } => {
            json!({"output_id": output_id, "adopted": "run_changed", "stored": stored})
        }
    }
}

async fn check_position(
    store: &WorldStore,
    key: &CursorKey,
    output: &PlannedOutput,
    cursor: &Cursor,
) -> Result<(), Error> {
    let part = output
        .locator
        .parts
        .iter()
        .find(|part| part.name() == cursor.last_part);
    let rows = match part.cloned() {
        // Where only reading would tell, the reader says whether the row is there.
        Some(part) => Some(row_count(store.clone(), part).await?.unwrap_or(u64::MAX)),
        None => None,
    };
    position_check(key, cursor, rows).map_err(Error::from)
}

/// The rows of a part; unknown where only reading them would tell.
pub(crate) async fn row_count(store: WorldStore, part: Part) -> Result<Option<u64>, Error> {
    let what = "The thread that reads a footer ended too early";
    let footer = blocking_as(what, move || footer(&store, &part)).await?;
    Ok(footer.rows)
}

/// The time by which the row of a platform producer's view cursor is ordered, read from the view
/// itself; `None` where no such time is needed, or there is no such part.
async fn view_time(
    plan: &Plan,
    output: &PlannedOutput,
    cursor: &StoredCursor,
    bases: &[&str],
    order: OrderMode,
) -> Result<Option<i128>, Error> {
    if output.view.is_none() || !cursor.is_foreign() || order == OrderMode::AsWritten {
        return Ok(None);
    }
    let name = part_under(cursor.last_file(), bases);
    let mut parts = output.locator.parts.iter();
    let Some(part) = parts.find(|part| name == Some(part.name())).cloned() else {
        return Ok(None);
    };
    let (store, row) = (plan.store.clone(), cursor.last_row_index());
    let what = "The thread that reads an event time ended too early";
    let time = blocking_as(what, move || replay::time_of_row(&store, &part, row)).await?;
    // Of a row past the end any time will do: the position is refused.
    Ok(Some(time.map_or(0, EventTime::nanos)))
}

/// The base of the stream views in the spellings of [`root_spellings`].
pub(crate) fn view_base_spellings(store: &WorldStore) -> Vec<String> {
    if let Some(base) = store.views_base() {
        return spellings_of(base);
    }
    let roots = root_spellings(store).into_iter();
    let bases = roots.map(|root| format!("{}/{STREAM_VIEW_BASE}", root.trim_end_matches('/')));
    // Under the root `.` the platform's spelling has no root.
    let spelled = store.platform_location(STREAM_VIEW_BASE);
    bases.chain([spelled]).collect()
}

/// The engine run root as named, as the platform's producers spell it and, for a local one,
/// absolute and resolved.
pub(crate) fn root_spellings(store: &WorldStore) -> Vec<String> {
    spellings_of(store.root())
}

fn spellings_of(root: &EngineRunRoot) -> Vec<String> {
    let mut spellings = vec![root.as_str().to_owned(), root.platform_location("")];
    if let Location::Local(path) = root.location() {
        let absolute = std::path::absolute(path).ok();
        let resolved = path.canonicalize().ok();
        let found = [absolute, resolved].into_iter().flatten();
        spellings.extend(found.map(|path| path.display().to_string()));
    }
    spellings
}

/// How far each output is done in `event_time` order.
///
/// # Errors
/// `STREAM_INTERNAL` for a sort time beyond the years that events can have.
pub(crate) fn done_through(plan: &Plan, starts: &[OutputStart]) -> Result<Vec<DoneThrough>, Error> {
    let outputs = plan.outputs.iter().zip(starts);
    outputs
        .map(|(output, start)| {
            let Some(cursor) = &start.cursor else {
                return Ok(None);
            };
            let OrderPosition::EventTime { sort_time_ns } = cursor.order else {
                return Ok(None);
            };
            let before = |part: &Part| part.name() < cursor.last_part.as_str();
            let part = output.locator.parts.partition_point(before) as u32;
            let time = EventTime::from_nanos(sort_time_ns).ok_or_else(|| {
                let what = format!("The cursor of {} is at no event's time", output.id());
                Error::new(
                    replay::ReasonCode::StreamInternal,
                    what,
                    "Reset it with `checkpoint reset`.",
                )
            })?;
            Ok(Some(Position {
                part,
                row: cursor.last_row_index,
                time,
            }))
        })
        .collect()
}

/// How far each output is done, in whichever order.
///
/// # Errors
/// As [`done_through`].
pub(crate) fn done_positions(
    plan: &Plan,
    starts: &[OutputStart],
) -> Result<Vec<DoneThrough>, Error> {
    let in_time = done_through(plan, starts)?;
    let outputs = plan.outputs.iter().zip(starts).zip(in_time);
    let done = outputs.map(|((output, start), in_time)| {
        let cursor = start.cursor.as_ref()?;
        let before = |part: &Part| part.name() < cursor.last_part.as_str();
        // Of a cursor in the order of the files the time is never looked at.
        in_time.or_else(|| {
            Some(Position {
                part: output.locator.parts.partition_point(before) as u32,
                row: cursor.last_row_index,
                time: EventTime::from_nanos(0)?,
            })
        })
    });
    Ok(done.collect())
}

/// The parts still to be read in `as_written` order, each with its first open row.
pub(crate) fn open_parts(plan: &Plan, starts: &[OutputStart]) -> Vec<(PartId, u64)> {
    let outputs = plan.outputs.iter().zip(starts).enumerate();
    outputs
        .flat_map(|(index, (output, start))| {
            output
                .locator
                .parts
                .iter()
                .enumerate()
                .filter_map(move |(number, part)| {
                    let from_row = match &start.cursor {
                        Some(cursor) => cursor.first_open_row(part.name())?,
                        None => 0,
                    };
                    Some((
                        PartId {
                            output: index,
                            part: number as u32,
                        },
                        from_row,
                    ))
                })
        })
        .collect()
}
