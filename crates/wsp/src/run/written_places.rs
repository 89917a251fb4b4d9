//! Where a run's own files lead: none of them may lie in an engine run root.
//!
//! The roots that a profile names are looked at by themselves, before the evidence is. What is
//! looked at here is the rest of each path: a symlink in the name of a platform run, of a pack or
//! of one file would lead what is written there into a world all the same.

use std::path::{Path, PathBuf};

#[cfg(feature = "sqlite")]
use checkpoint::SqliteStore;
use checkpoint::{CursorKey, FileStore};
use envelope::PlatformRunId;
use model::Shard;
use oracle_store::{EngineRunRoot, Location, lies_in_world, world_around};

use crate::profile::CheckpointBackend;
use crate::profile::request::StreamRequest;
use crate::run::cursor_places::saved_in;
use crate::run::places::{log_of_run, own_folder, reports_of_run, shard_of};
use crate::{Error, ReasonCode};
use replay::{gate_book_places, quarantine_in, redriven_of};

/// Refuses to write anything for a platform run and its cursors into the engine run root.
///
/// # Errors
/// `PROFILE_INVALID` with the path.
pub(crate) fn refuse_run_in_world(
    request: &StreamRequest,
    world: &EngineRunRoot,
    run: &PlatformRunId,
) -> Result<(), Error> {
    let mut places: Vec<PathBuf> = request.receipts().into_iter().collect();
    let runs_root = match request.runs_location()? {
        Location::Local(runs_root) => runs_root,
        // Nothing leads elsewhere there: the root alone decides, and the plan looked at it.
        Location::S3 { .. } => return refuse(world, &places),
    };
    let shard = shard_of(request);
    let own = own_folder(&runs_root, run, shard);
    let quarantine = quarantine_in(&own);
    places.extend([
        log_of_run(&runs_root, run, shard),
        redriven_of(&quarantine),
        quarantine,
    ]);
    places.extend(gate_book_places(&own));
    places.extend(reports_of_run(&runs_root, run, shard));
    refuse(world, &places)
}

/// Refuses to write cursors, or the time index of their pack, into the engine run root.
///
/// # Errors
/// `PROFILE_INVALID` with the path.
pub(crate) fn refuse_cursors_in_world(
    request: &StreamRequest,
    world: &EngineRunRoot,
    keys: &[CursorKey],
    time_index: &Path,
) -> Result<(), Error> {
    let checkpoint = &request.profile.checkpoint;
    let root = request.working_dir.join(&checkpoint.root);
    let mut places = match checkpoint.backend {
        CheckpointBackend::File => FileStore::new(saved_in(request)?).places(keys),
        #[cfg(feature = "sqlite")]
        CheckpointBackend::Sqlite => SqliteStore::new(root).places(),
        // Such a store is not opened.
        #[cfg(not(feature = "sqlite"))]
        CheckpointBackend::Sqlite => vec![root],
        CheckpointBackend::Postgres | CheckpointBackend::Object => Vec::new(),
    };
    places.push(time_index.to_owned());
    refuse(world, &places)
}

fn refuse(world: &EngineRunRoot, places: &[PathBuf]) -> Result<(), Error> {
    let is_inside = |place: &&PathBuf| lies_in_world(world, &Location::Local((*place).clone()));
    match places.iter().find(is_inside) {
        Some(place) => Err(leads_into(place, world.as_str())),
        None => Ok(()),
    }
}

/// Refuses to write beside a quarantine file, or into the audit of its run, where that lies in
/// a world: whatever the profile names, a redrive may be given any file.
///
/// # Errors
/// `PROFILE_INVALID` with the path.
pub(crate) fn refuse_redrive_in_world(
    request: &StreamRequest,
    quarantine: &Path,
    run: Option<&PlatformRunId>,
) -> Result<(), Error> {
    let audit = match request.runs_location()? {
        Location::Local(runs_root) => run.map(|run| log_of_run(&runs_root, run, Shard::WHOLE)),
        Location::S3 { .. } => None,
    };
    let places = [Some(redriven_of(quarantine)), audit];
    for place in places.into_iter().flatten() {
        if let Some(world) = world_around(&place) {
            return Err(leads_into(&place, &world.display().to_string()));
        }
        for world in request.read_only_places() {
            refuse(&world, std::slice::from_ref(&place))?;
        }
    }
    Ok(())
}

fn leads_into(place: &Path, world: &str) -> Error {
    Error::new(
        ReasonCode::ProfileInvalid,
        format!(
            "{} would be written, and it lies in {world}, an engine run root or the base of its views, where nothing may be written",
            place.display()
        ),
        "Name a place outside of it, and look for a symlink on the way there.",
    )
}
