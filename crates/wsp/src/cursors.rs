//! Looking at a world's cursors, and giving them up: `checkpoint show|reset`.
//!
//! Neither asks whether the world may be read: a cursor can be looked at while a
//! gate fails. The cursors' keys come from the pack's id, else from the engine run
//! root's name, as they do for a stream.

use checkpoint::{CheckpointStore, CursorKey, Holder, LeaseRequest, SystemClock, acquire_or_wait};
use oracle_store::PackManifest;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Error;
use crate::backends::open_checkpoint_store;
use crate::plan::{LocatedWorld, locate_world, pack_key};
use crate::platform_run;
use crate::prepare::release;
use crate::profile::CheckpointScope;
use crate::report::stored_cursor_json;
use crate::request::StreamRequest;

/// The cursors of a world.
#[derive(Debug, Clone, Serialize)]
pub struct CursorsReport {
    /// `OK`; `FAILED` if any cursor cannot be read.
    pub status: &'static str,
    /// Where the world is.
    pub engine_run_root: String,
    /// Where the cursors are.
    pub checkpoint_store: String,
    /// What they are kept under.
    pub pack_key: String,
    /// Each output's.
    pub cursors: Vec<CursorReport>,
}

/// One output's cursor.
#[derive(Debug, Clone, Serialize)]
pub struct CursorReport {
    /// The output.
    pub output_id: String,
    /// The cursor; absent if there is none.
    pub cursor: Option<Value>,
    /// Why it cannot be read.
    pub error: Option<Value>,
    /// Who holds the lease.
    pub holder: Option<Value>,
    /// Whether a reset gave this cursor up just now.
    pub was_reset: bool,
}

/// Shows the cursors of a request's outputs.
///
/// # Errors
/// The world cannot be located, or the store not be opened.
pub async fn show(request: &StreamRequest) -> Result<CursorsReport, Error> {
    let store = open_checkpoint_store(&request.profile, &request.working_dir)?;
    let (world, keys) = keys(request).await?;
    report(&world, &*store, &keys, false).await
}

/// Gives the cursors of a request's outputs up; the old ones stay in history.
///
/// # Errors
/// As [`show`]; `LEASE_HELD` while a producer streams.
pub async fn reset(request: &StreamRequest) -> Result<CursorsReport, Error> {
    let store = open_checkpoint_store(&request.profile, &request.working_dir)?;
    let (world, keys) = keys(request).await?;
    let mut wanted = LeaseRequest::new(
        keys.iter().cloned(),
        Holder::this_process("wsp-cli checkpoint reset"),
    );
    wanted.period = request.profile.checkpoint.lease;
    wanted.take_over = request.overrides.take_over;
    let lease = acquire_or_wait(&*store, &wanted, &SystemClock::default(), |_, _| {})
        .await
        .map_err(Error::Checkpoint)?;
    let mut done = Ok(());
    for key in &keys {
        done = done.and(store.reset(&lease, key).await.map_err(Error::Checkpoint));
    }
    release(&*store, &lease).await;
    done?;
    report(&world, &*store, &keys, true).await
}

async fn keys(request: &StreamRequest) -> Result<(LocatedWorld, Vec<CursorKey>), Error> {
    let world = locate_world(request).await?;
    let manifest = PackManifest::load(&world.store)
        .await
        .map_err(Error::Oracle)?;
    let pack_id = manifest.map(|manifest| manifest.oracle_pack_id);
    let mut pack_key = pack_key(pack_id.as_ref(), &world.store)?;
    if request.profile.checkpoint.scope == CheckpointScope::PlatformRun {
        let named = platform_run::named(
            request.overrides.platform_run_id.as_deref(),
            request.environment_run_id.as_deref(),
            &request.working_dir.join(&request.profile.runs_root),
        )?;
        let Some((run, _)) = named else {
            return Err(Error::new(
                crate::ReasonCode::ProfileValueMissing,
                "The cursors belong to a platform run (scope: platform_run), and none is named.",
                "Give --platform-run-id.",
            ));
        };
        pack_key = pack_key.scoped_to_run(run.as_str());
    }
    let keys = world.outputs.iter().map(|output| {
        CursorKey::new(pack_key.clone(), output.entry.output_id.as_str()).map_err(Error::Checkpoint)
    });
    let keys = keys.collect::<Result<_, _>>()?;
    Ok((world, keys))
}

async fn report(
    world: &LocatedWorld,
    store: &dyn CheckpointStore,
    keys: &[CursorKey],
    was_reset: bool,
) -> Result<CursorsReport, Error> {
    let mut cursors = Vec::with_capacity(keys.len());
    for key in keys {
        let (cursor, error) = match store.load(key).await {
            Ok(record) => (record.as_ref().map(stored_cursor_json), None),
            Err(error) => {
                let error = Error::Checkpoint(error);
                (
                    None,
                    Some(json!({"reason": error.code(), "detail": error.detail()})),
                )
            }
        };
        let lease = store.lease_state(key).await.map_err(Error::Checkpoint)?;
        cursors.push(CursorReport {
            output_id: key.output_id().to_owned(),
            cursor,
            error,
            holder: lease.map(|lease| {
                json!({"holder": lease.holder, "renewed_at_utc": lease.renewed_at_utc, "alive": lease.alive})
            }),
            was_reset,
        });
    }
    let damaged = cursors.iter().any(|cursor| cursor.error.is_some());
    Ok(CursorsReport {
        status: if damaged { "FAILED" } else { "OK" },
        engine_run_root: world.store.root().as_str().to_owned(),
        checkpoint_store: store.place(),
        pack_key: keys
            .first()
            .map(|key| key.pack_key().as_str().to_owned())
            .unwrap_or_default(),
        cursors,
    })
}
