//! Where the cursors of a run are: under which pack key, and in which folders.
//!
//! The platform rewrites a checkpoint root under its runs root to
//! `<runs root>/<platform run>/wsp/checkpoints`. Its producers save there, ours in the root that
//! is named, but for `scope: scenario_run`, whose cursors are the newest producer's too. So a
//! cursor to take over may lie in either folder, and where both hold one, it must be plain which
//! counts.

use std::path::{Path, PathBuf};

use checkpoint::{CheckpointStore, CursorKey, FileStore, PackKey, Record, StoredCursor, ambiguous};
use envelope::EventTime;
use model::{PlatformRunId, ScenarioRunKey, Shard, ShardBy};

use crate::profile::request::StreamRequest;
use crate::profile::{CheckpointBackend, CheckpointScope};
use crate::run::platform_run;
use crate::{Error, ReasonCode};

/// What the platform appends to the folder of a run for its checkpoints.
const IN_RUN: &str = "wsp/checkpoints";
/// What the folders of platform runs begin with.
const RUN_PREFIX: &str = "platform_";

/// The pack key under a scope of the cursors of one platform run; `scenario_run_id` is the
/// engine run's where none is named.
pub(crate) fn scoped_key(
    request: &StreamRequest,
    pack_key: &PackKey,
    run: &PlatformRunId,
    engine_run_id: &str,
) -> PackKey {
    match request.profile.checkpoint.scope {
        CheckpointScope::Pack => pack_key.clone(),
        CheckpointScope::PlatformRun => pack_key.scoped_to_run(run),
        CheckpointScope::ScenarioRun => {
            pack_key.scoped_to_scenario_run(&scenario_run(request, run, engine_run_id))
        }
    }
}

/// The pack key under a scope of a shard's cursors. A shard by event id under `scope: scenario_run`
/// is one of the platform's lanes, and has that lane's key.
pub(crate) fn shard_key(
    request: &StreamRequest,
    pack_key: &PackKey,
    (run, engine_run_id): (&PlatformRunId, &str),
    shard: Shard,
) -> PackKey {
    if !is_platform_lane(request, shard) {
        return scoped_key(request, pack_key, run, engine_run_id).scoped_to_shard(shard);
    }
    pack_key.scoped_to_scenario_run(&ScenarioRunKey {
        lane_count: shard.count(),
        lane_index: shard.index(),
        ..scenario_run(request, run, engine_run_id)
    })
}

/// Whether a shard is one of the platform's lanes, which know no layout of shards.
pub(crate) fn is_platform_lane(request: &StreamRequest, shard: Shard) -> bool {
    let scope = request.profile.checkpoint.scope;
    !shard.is_whole() && shard.by() == ShardBy::EventId && scope == CheckpointScope::ScenarioRun
}

fn scenario_run<'a>(
    request: &'a StreamRequest,
    platform_run_id: &'a PlatformRunId,
    engine_run_id: &'a str,
) -> ScenarioRunKey<'a> {
    let named = request.overrides.scenario_run_id.as_deref();
    ScenarioRunKey {
        platform_run_id,
        scenario_run_id: named.unwrap_or(engine_run_id),
        lane_count: 1,
        lane_index: 0,
        attempt_id: &request.profile.checkpoint.attempt_id,
    }
}

/// The platform run that flag, environment or runs root name.
///
/// # Errors
/// `PROFILE_INVALID` for what is no run's id.
pub(crate) fn named_run(request: &StreamRequest) -> Result<Option<PlatformRunId>, Error> {
    let named = platform_run::named(request)?;
    Ok(named.map(|(run, _)| run))
}

/// The folder that the file backend saves in.
///
/// # Errors
/// `PROFILE_VALUE_MISSING` under `scope: scenario_run` if no platform run is named.
pub(crate) fn saved_in(request: &StreamRequest) -> Result<PathBuf, Error> {
    let root = request.working_dir.join(&request.profile.checkpoint.root);
    if request.profile.checkpoint.scope != CheckpointScope::ScenarioRun {
        return Ok(root);
    }
    let Some(run) = named_run(request)? else {
        return Err(Error::new(
            ReasonCode::ProfileValueMissing,
            "`wsp_checkpoint.scope: scenario_run` keeps cursors by platform run, and none is named",
            "Give --platform-run-id or PLATFORM_RUN_ID.",
        ));
    };
    Ok(in_run(request, &run).unwrap_or(root))
}

/// The folder that the platform's producers use in place of the root that is named; `None` where
/// they use that one, or another backend.
fn in_run(request: &StreamRequest, run: &PlatformRunId) -> Option<PathBuf> {
    let profile = &request.profile;
    if profile.checkpoint.backend != CheckpointBackend::File {
        return None;
    }
    let rest = Path::new(&profile.checkpoint.root).strip_prefix(&profile.runs_root);
    let first = rest.ok()?.components().next();
    let is_of_run = first.is_some_and(|first| {
        let name = first.as_os_str().to_string_lossy();
        name.starts_with(RUN_PREFIX)
    });
    let runs_root = request.working_dir.join(&profile.runs_root);
    (!is_of_run).then(|| runs_root.join(run.as_str()).join(IN_RUN))
}

/// What stored cursors a run looks for.
pub(crate) struct TakeOver<'a> {
    request: &'a StreamRequest,
    run: Option<&'a PlatformRunId>,
    pack_key: &'a PackKey,
    engine_run_id: &'a str,
}

impl<'a> TakeOver<'a> {
    /// Looks for cursors of a platform run; `None` where none is known yet. `pack_key` has no
    /// scope.
    pub(crate) fn new(
        request: &'a StreamRequest,
        run: Option<&'a PlatformRunId>,
        pack_key: &'a PackKey,
        engine_run_id: &'a str,
    ) -> Self {
        Self {
            request,
            run,
            pack_key,
            engine_run_id,
        }
    }

    /// The stored records of some keys, in the store or in the other folder.
    ///
    /// # Errors
    /// `CHECKPOINT_AMBIGUOUS`; the stores'.
    pub(crate) async fn load(
        &self,
        store: &dyn CheckpointStore,
        keys: &[CursorKey],
    ) -> Result<Vec<Option<Record>>, Error> {
        let other = self.other_store();
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            let mut record = load_of_two(store, other.as_ref(), key).await?;
            if record.is_none() {
                record = self.load_of_lanes(store, other.as_ref(), key).await?;
            }
            records.push(record);
        }
        Ok(records)
    }

    /// The store in the folder that is not saved in.
    pub(crate) fn other_store(&self) -> Option<FileStore> {
        self.other_folder().map(FileStore::new)
    }

    fn other_folder(&self) -> Option<PathBuf> {
        let in_run = in_run(self.request, self.run?)?;
        let checkpoint = &self.request.profile.checkpoint;
        Some(match checkpoint.scope {
            CheckpointScope::ScenarioRun => self.request.working_dir.join(&checkpoint.root),
            _ => in_run,
        })
    }

    /// The earliest cursor of a fleet that is taken over: what every lane has done. One that is
    /// missing has done nothing.
    async fn load_of_lanes(
        &self,
        store: &dyn CheckpointStore,
        other: Option<&FileStore>,
        key: &CursorKey,
    ) -> Result<Option<Record>, Error> {
        let (Some(lanes), Some(run)) = (self.request.overrides.adopt_lanes, self.run) else {
            return Ok(None);
        };
        let mut earliest: Option<Record> = None;
        for lane_index in 0..lanes.get() {
            let lane = ScenarioRunKey {
                lane_count: lanes.get(),
                lane_index,
                ..scenario_run(self.request, run, self.engine_run_id)
            };
            let pack_key = self.pack_key.scoped_to_scenario_run(&lane);
            let lane = CursorKey::new(pack_key, key.output_id().clone())?;
            let Some(record) = load_of_two(store, other, &lane).await? else {
                return Ok(None);
            };
            let place = |record: &Record| {
                let cursor = &record.cursor;
                (cursor.last_file().to_owned(), cursor.last_row_index())
            };
            if earliest
                .as_ref()
                .is_none_or(|first| place(&record) < place(first))
            {
                earliest = Some(record);
            }
        }
        Ok(earliest)
    }
}

/// The record of a key in the store that is saved in or in the other one, whichever counts.
///
/// # Errors
/// `CHECKPOINT_AMBIGUOUS`; the stores'.
pub(crate) async fn load_of_two(
    store: &dyn CheckpointStore,
    other: Option<&FileStore>,
    key: &CursorKey,
) -> Result<Option<Record>, Error> {
    let here = store.load(key).await?;
    let there = match other {
        Some(other) => other.load(key).await?,
        None => None,
    };
    let (Some(here), Some(there)) = (&here, &there) else {
        return Ok(here.or(there));
    };
    if are_one(&here.cursor, &there.cursor) || goes_on_from(here, there) {
        return Ok(Some(here.clone()));
    }
    let other_place = other.map(CheckpointStore::place).unwrap_or_default();
    let (one, two) = (shown(here, &store.place()), shown(there, &other_place));
    Err(ambiguous(key, &one, &two).into())
}

fn are_one(one: &StoredCursor, other: &StoredCursor) -> bool {
    (one.last_file(), one.last_row_index()) == (other.last_file(), other.last_row_index())
}

/// Whether a record of ours was saved after the other one: it took that one over.
fn goes_on_from(ours: &Record, other: &Record) -> bool {
    let saved_at = |record: &Record| record.updated_at_utc.parse::<EventTime>().ok();
    !ours.is_foreign()
        && saved_at(ours)
            .zip(saved_at(other))
            .is_some_and(|(ours, other)| ours > other)
}

fn shown(record: &Record, place: &str) -> String {
    format!(
        "row {} of {} in {place}",
        record.cursor.last_row_index(),
        record.cursor.last_file()
    )
}
