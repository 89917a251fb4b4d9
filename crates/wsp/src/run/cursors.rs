//! Looking at a world's cursors, and giving them up: `checkpoint show|reset`.
//!
//! Neither asks whether the world may be read: a cursor can be looked at while a
//! gate fails. The cursors' keys come from the pack's id, else from the engine run
//! root's name, as they do for a stream; and both places are looked at that a stream would go on
//! from.

use std::path::PathBuf;
use std::sync::Arc;

use checkpoint::{CheckpointStore, CursorKey, FileStore, Holder, LeaseRequest, StoredCursor};
use envelope::{EventTime, PlatformRunId};
use model::{OutputId, PackKey};
use oracle_store::{CatalogueEntry, PackManifest, locate};
use serde::Serialize;

use crate::blocking::blocking;
use crate::clock::{Clock as _, SharedClock, Surroundings};
use crate::plan::selection::check_key;
use crate::plan::{LocatedWorld, locate_world, pack_key};
use crate::profile::CheckpointScope;
use crate::profile::request::StreamRequest;
use crate::run::backends::open_checkpoint_store;
use crate::run::cursor_places::{TakeOver, load_of_two, scoped_key};
use crate::run::done_share::percent;
use crate::run::places::places_of;
use crate::run::platform_run;
use crate::run::reading::index_folder;
use crate::run::shown::{CursorFault, HolderReport, StoredCursorReport};
use crate::run::written_places::refuse_cursors_in_world;
use crate::{Error, ReasonCode};
use replay::{Ending, HeldLease, TimeIndexCache};

/// The cursors of a world.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CursorsReport {
    /// `OK`; `FAILED` if any cursor cannot be read.
    pub status: &'static str,
    /// The engine run root of the world.
    pub engine_run_root: String,
    /// The place of the store that holds the cursors.
    pub checkpoint_store: String,
    /// The pack key that the cursors are kept under.
    pub pack_key: PackKey,
    /// The cursor of each output, in the order of the list.
    pub cursors: Vec<CursorReport>,
}

/// One output's cursor.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CursorReport {
    /// The id of the output.
    pub output_id: OutputId,
    /// The cursor; `None` where none is saved, or it cannot be read.
    pub cursor: Option<StoredCursorReport>,
    /// The share of the output's rows that it covers, from 0 to 100; absent where neither footers
    /// nor the time index tell.
    pub percent: Option<f64>,
    /// Whole seconds since the cursor was saved; `None` where its time says no past moment.
    pub age_s: Option<u64>,
    /// The place where the cursor was found, if that is the platform's and not the store that this
    /// profile saves in; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_in: Option<String>,
    /// Why the cursor cannot be read; `None` where it can.
    pub error: Option<CursorFault>,
    /// The holder of the lease; `None` where nobody holds it.
    pub holder: Option<HolderReport>,
    /// Whether a reset gave this cursor up just now.
    pub was_reset: bool,
}

/// Shows the cursors of a request's outputs in the store that its profile names; their age is that
/// of the present wall time. Of a stream under [`Stream::run_with`](crate::Stream::run_with), ask
/// its own store ([`CheckpointStore::load`]).
///
/// # Errors
/// The world cannot be located, or the store not be opened.
pub async fn show(
    request: &StreamRequest,
    surroundings: &Surroundings,
) -> Result<CursorsReport, Error> {
    let store = open_checkpoint_store(request)?;
    let named = Named::find(request).await?;
    named.report(&*store, false, &surroundings.clock).await
}

/// Gives the cursors of a request's outputs up; the old ones stay in history.
///
/// # Errors
/// As [`show`]; `LEASE_HELD` while a producer streams.
pub async fn reset(
    request: &StreamRequest,
    surroundings: &Surroundings,
) -> Result<CursorsReport, Error> {
    let store = open_checkpoint_store(request)?;
    let named = Named::find(request).await?;
    let keys = &named.keys;
    refuse_cursors_in_world(
        request,
        named.world.identified.store().root(),
        keys,
        &named.index_folder,
    )?;
    let mut stores = vec![Arc::clone(&store)];
    // A stream would go on from a cursor there.
    if let Some(other) = &named.other {
        let mut holds_any = false;
        for key in keys {
            holds_any |= !matches!(other.load(key).await, Ok(None));
        }
        if holds_any {
            stores.push(Arc::new(other.clone()));
        }
    }
    for store in &stores {
        give_up(request, store, keys, surroundings).await?;
    }
    forget_verdict(request).await?;
    named.report(&*store, true, &surroundings.clock).await
}

/// Gives the cursors in one store up, under its leases.
async fn give_up(
    request: &StreamRequest,
    store: &Arc<dyn CheckpointStore>,
    keys: &[CursorKey],
    surroundings: &Surroundings,
) -> Result<(), Error> {
    let mut wanted = LeaseRequest::new(
        keys.iter().cloned(),
        Holder::this_process("wsp-cli checkpoint reset"),
    );
    wanted.period = request.profile.checkpoint.lease;
    wanted.take_over = request.overrides.take_over;
    // Cursors that were deleted are given up like those that stand.
    wanted.gives_up_deleted = true;
    let patience = request.profile.checkpoint.save_timeout;
    let held = HeldLease::take(
        store,
        &wanted,
        &surroundings.lease_clock,
        &Ending::by(surroundings.clock.clone()),
        patience,
        &surroundings.crew,
    )
    .await?;
    let mut done = Ok(());
    for key in keys {
        let reset = store.reset(held.lease(), key).await;
        done = done.and(reset.map_err(Error::from));
    }
    held.give_back(patience).await;
    done
}

/// The outputs of a request, and what their cursors are called.
struct Named {
    world: LocatedWorld,
    pack_key: PackKey,
    /// In the order of the outputs.
    keys: Vec<CursorKey>,
    /// The store in the platform's place of these cursors, if there is such a place and it is
    /// another.
    other: Option<FileStore>,
    index: TimeIndexCache,
    index_folder: PathBuf,
}

impl Named {
    async fn find(request: &StreamRequest) -> Result<Self, Error> {
        let world = locate_world(request).await?;
        world
            .outputs
            .iter()
            .try_for_each(|output| check_key(&output.entry))?;
        let store = world.identified.store();
        let manifest = PackManifest::load(store).await?;
        let pack_id = manifest.map(|manifest| manifest.oracle_pack_id);
        let pack_key = pack_key(pack_id.as_ref(), store);
        let index_folder = index_folder(request, &pack_key);
        let index = TimeIndexCache::load(&index_folder);
        let engine_run_id = world.identified.receipt().run_id.to_string();
        let run = platform_run::named(request)?.map(|(run, _)| run);
        let other = TakeOver::new(request, run.as_ref(), &pack_key, &engine_run_id).other_store();
        let pack_key = if request.profile.checkpoint.scope == CheckpointScope::Pack {
            pack_key
        } else {
            scoped_key(request, &pack_key, &named_run(request)?, &engine_run_id)
        };
        let keys = world.outputs.iter().map(|output| {
            CursorKey::new(pack_key.clone(), output.entry.output_id.clone()).map_err(Error::from)
        });
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
            pack_key,
            other,
            world,
            index,
            index_folder,
        })
    }

    async fn report(
        &self,
        store: &dyn CheckpointStore,
        was_reset: bool,
        clock: &SharedClock,
    ) -> Result<CursorsReport, Error> {
        let mut cursors = Vec::with_capacity(self.keys.len());
        for (key, output) in self.keys.iter().zip(&self.world.outputs) {
            let stored = load_of_two(store, self.other.as_ref(), key).await;
            let lease = store.lease_state(key).await?;
            let mut report = CursorReport {
                output_id: key.output_id().clone(),
                cursor: None,
                percent: None,
                age_s: None,
                found_in: None,
                error: None,
                holder: lease.map(HolderReport::from),
                was_reset,
            };
            match stored {
                Ok(Some(record)) => {
                    report.cursor = Some(StoredCursorReport::from(&record));
                    report.percent = self.percent(&output.entry, &record.cursor).await;
                    report.age_s = age_s(&record.updated_at_utc, EventTime::of_wall(clock.wall()));
                    if let (Ok(None), Some(other)) = (store.load(key).await, &self.other) {
                        report.found_in = Some(other.place());
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    report.error = Some(CursorFault::of(&error));
                }
            }
            cursors.push(report);
        }
        let is_damaged = cursors.iter().any(|cursor| cursor.error.is_some());
        Ok(CursorsReport {
            status: if is_damaged { "FAILED" } else { "OK" },
            engine_run_root: self.world.identified.store().root().as_str().to_owned(),
            checkpoint_store: store.place(),
            pack_key: self.pack_key.clone(),
            cursors,
        })
    }

    /// Unknown, too, where the output's parts cannot be found: that is for `verify` to say.
    async fn percent(&self, entry: &CatalogueEntry, cursor: &StoredCursor) -> Option<f64> {
        let world = &self.world.identified;
        let store = world.store();
        let located = locate(store, entry, world.tokens()).await.ok()?;
        percent(store, &located.parts, cursor, &self.index).await
    }
}

/// Forgets that the gate quarantined all events of the platform run, where one is named: after a
/// reset they come again.
async fn forget_verdict(request: &StreamRequest) -> Result<(), Error> {
    let request = request.clone();
    blocking(move || {
        let named = platform_run::named(&request)?;
        let Some((run, _)) = named else {
            return Ok(());
        };
        Ok(places_of(&request)?.clear_verdict(&run)?)
    })
    .await
}

/// The platform run that cursors of `scope: platform_run` belong to.
fn named_run(request: &StreamRequest) -> Result<PlatformRunId, Error> {
    let named = platform_run::named(request)?;
    let (run, _) = named.ok_or_else(|| {
        Error::new(
            ReasonCode::ProfileValueMissing,
            "The cursors belong to a platform run (by their scope), and none is named",
            "Give --platform-run-id.",
        )
    })?;
    Ok(run)
}

/// Whole seconds since a record was saved; none if its writer's spelling says no instant, or one
/// to come.
fn age_s(updated_at_utc: &str, now: Option<EventTime>) -> Option<u64> {
    let saved = EventTime::parse(updated_at_utc).ok()?;
    let age_ns = now?.nanos() - saved.nanos();
    (age_ns / 1_000_000_000).try_into().ok()
}
