//! Looking at a world's cursors, and giving them up: `checkpoint show|reset`.
//!
//! Neither asks whether the world may be read: a cursor can be looked at while a
//! gate fails. The cursors' keys come from the pack's id, else from the engine run
//! root's name, as they do for a stream; and both places are looked at that a stream would go on
//! from.

mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use checkpoint::{
    CheckpointStore, CursorKey, FileStore, Holder, LeaseRequest, ShardLayout, StoredCursor,
    forget_frozen, keys_of_all_shards, shard_layout,
};
use envelope::{EventTime, PlatformRunId};
use model::{OutputId, PackKey, Shard};
use oracle_store::{CatalogueEntry, PackManifest, locate};

use crate::blocking::blocking;
use crate::clock::{Clock as _, SharedClock, Surroundings};
use crate::plan::selection::check_key;
use crate::plan::{LocatedWorld, locate_world, pack_key};
use crate::profile::CheckpointScope;
use crate::profile::request::StreamRequest;
use crate::run::backends::open_checkpoint_store;
use crate::run::cursor_places::{TakeOver, is_platform_lane, load_of_two, scoped_key, shard_key};
use crate::run::done_share::percent;
use crate::run::places::{places_of, places_of_shard, shard_of, unlisted};
use crate::run::platform_run;
use crate::run::reading::index_folder;
use crate::run::shown::{CursorFault, HolderReport, StoredCursorReport};
use crate::run::written_places::refuse_cursors_in_world;
use crate::{Error, ReasonCode};
use replay::{Ending, HeldLease, TimeIndexCache};

pub use self::report::{CursorReport, CursorsReport, ReshardReport, ShardsReport};

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
    let layout = readable_layout(&*store, &named.unsharded).await?;
    let outputs = named.output_ids();
    let is_of_some = request.overrides.output_ids.is_some();
    let (keys, forget) = match &layout {
        // What is not known is given up with the cursors of the division that the request names.
        Err(_) if !is_of_some => {
            let named_count = Some(request.profile.shard.count);
            let all = keys_of_all_shards(&named.unsharded, &outputs, None, named_count)?;
            (all, None)
        }
        // One shard alone: what was done before it was divided so stays done.
        Ok(Some(_)) if request.profile.shard.index.is_some() && !named.shard.is_whole() => {
            (keys.clone(), None)
        }
        Ok(Some(layout)) => {
            let mut all = keys_of_all_shards(&named.unsharded, &outputs, Some(layout), None)?;
            // Of some outputs alone the layout stands, and forgets what was done of them.
            if is_of_some {
                all.retain(|key| outputs.contains(key.output_id()) || key.is_of_layout());
            }
            (all, is_of_some.then_some((&named.unsharded, &outputs[..])))
        }
        Ok(None) | Err(_) => (keys.clone(), None),
    };
    for store in &stores {
        give_up(request, store, (&keys, forget), surroundings).await?;
    }
    forget_verdict(request).await?;
    named.report(&*store, true, &surroundings.clock).await
}

/// Divides a stream anew into `to` shards: takes the leases of all cursors, the old and the new
/// ones, freezes how far each shard was, and has the new shards pass over that. Nothing is repeated,
/// and a crash leaves the old division or the new one.
///
/// # Errors
/// As [`show`]; `SHARD_INVALID`; `LEASE_HELD` while a shard streams; `CHECKPOINT_SHARDS_MISMATCH`
/// for a cursor of a platform producer, and for the platform's lanes.
pub async fn reshard(
    request: &StreamRequest,
    to: u32,
    surroundings: &Surroundings,
) -> Result<ReshardReport, Error> {
    let by = request.profile.shard.by;
    let first = Shard::new(0, to, by).map_err(|fault| {
        let what = format!("--to is unusable: {fault}");
        Error::new(
            ReasonCode::ShardInvalid,
            what,
            "Name how many shards there shall be.",
        )
    })?;
    if is_platform_lane(request, first) {
        return Err(Error::new(
            ReasonCode::ShardInvalid,
            "The platform's lanes (by event_id, scope scenario_run) have no layout to change",
            "Start that many lanes under another attempt id, or shard by key.",
        ));
    }
    if request.overrides.output_ids.is_some() {
        return Err(Error::new(
            ReasonCode::ProfileInvalid,
            "A stream is divided with all of its outputs, and --output-ids names some",
            "Leave it out.",
        ));
    }
    let store = open_checkpoint_store(request)?;
    let named = Named::find(request).await?;
    refuse_cursors_in_world(
        request,
        named.world.identified.store().root(),
        &named.keys,
        &named.index_folder,
    )?;
    let (pack_key, outputs) = (&named.unsharded, named.output_ids());
    let layout = shard_layout(&*store, pack_key).await?;
    let keys = keys_of_all_shards(pack_key, &outputs, layout.as_ref(), Some(to))?;
    let patience = request.profile.checkpoint.save_timeout;
    let wanted = leases(request, keys, "wsp-cli checkpoint reshard");
    let held = take_leases(&store, &wanted, patience, surroundings).await?;
    let lease = held.lease();
    let done = checkpoint::reshard(&*store, lease, (pack_key, &outputs), (to, by)).await;
    held.give_back(patience).await;
    let done = done?;
    let last = done.frozen.last();
    Ok(ReshardReport {
        status: "OK",
        engine_run_root: named.world.identified.store().root().as_str().to_owned(),
        checkpoint_store: store.place(),
        pack_key: pack_key.clone(),
        was_changed: layout.is_none_or(|before| before.generation != done.generation),
        frozen_cursors: last.map_or(0, |frozen| frozen.records.len()),
        shards: ShardsReport::from(&done),
    })
}

/// The layout of a stream; an error of its own where it is gone or damaged, and can be given up all
/// the same.
///
/// # Errors
/// The store's.
async fn readable_layout(
    store: &dyn CheckpointStore,
    pack_key: &PackKey,
) -> Result<Result<Option<ShardLayout>, checkpoint::Error>, Error> {
    use checkpoint::ReasonCode::{Corrupt, TableMissing};
    match shard_layout(store, pack_key).await {
        Err(error) if matches!(error.code(), Corrupt | TableMissing) => Ok(Err(error)),
        layout => Ok(Ok(layout?)),
    }
}

/// A request for the leases of some keys, by an act of `checkpoint`.
fn leases(request: &StreamRequest, keys: Vec<CursorKey>, act: &str) -> LeaseRequest {
    let mut wanted = LeaseRequest::new(keys, Holder::this_process(act));
    wanted.period = request.profile.checkpoint.lease;
    wanted.take_over = request.overrides.take_over;
    wanted
}

async fn take_leases(
    store: &Arc<dyn CheckpointStore>,
    wanted: &LeaseRequest,
    patience: Duration,
    surroundings: &Surroundings,
) -> Result<HeldLease, Error> {
    let ending = Ending::by(surroundings.clock.clone());
    let (clock, crew) = (&surroundings.lease_clock, &surroundings.crew);
    let taken = HeldLease::take(store, wanted, clock, &ending, patience, crew).await;
    taken.map_err(Error::from)
}

/// Gives the cursors in one store up, under its leases.
async fn give_up(
    request: &StreamRequest,
    store: &Arc<dyn CheckpointStore>,
    (keys, forget): (&[CursorKey], Option<(&PackKey, &[OutputId])>),
    surroundings: &Surroundings,
) -> Result<(), Error> {
    let mut wanted = leases(request, keys.to_vec(), "wsp-cli checkpoint reset");
    // Cursors that were deleted are given up like those that stand.
    wanted.gives_up_deleted = true;
    let patience = request.profile.checkpoint.save_timeout;
    let held = take_leases(store, &wanted, patience, surroundings).await?;
    let mut done = match forget {
        Some((pack_key, outputs)) => {
            let forgotten = forget_frozen(&**store, held.lease(), pack_key, outputs).await;
            forgotten.map_err(Error::from)
        }
        None => Ok(()),
    };
    let given_up = keys
        .iter()
        .filter(|key| forget.is_none() || !key.is_of_layout());
    for key in given_up {
        let reset = store.reset(held.lease(), key).await;
        done = done.and(reset.map_err(Error::from));
    }
    held.give_back(patience).await;
    done
}

/// The outputs of a request, and what their cursors are called.
struct Named {
    world: LocatedWorld,
    /// The shard whose cursors these are.
    shard: Shard,
    pack_key: PackKey,
    /// The key of the whole stream's cursors.
    unsharded: PackKey,
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
        let settings = &request.profile.shard;
        let shard = settings.shard_of(settings.index.unwrap_or(0))?;
        let (pack_key, unsharded) = if request.profile.checkpoint.scope == CheckpointScope::Pack {
            (pack_key.scoped_to_shard(shard), pack_key)
        } else {
            let run = named_run(request)?;
            (
                shard_key(request, &pack_key, (&run, &engine_run_id), shard),
                scoped_key(request, &pack_key, &run, &engine_run_id),
            )
        };
        let keys = world.outputs.iter().map(|output| {
            CursorKey::new(pack_key.clone(), output.entry.output_id.clone()).map_err(Error::from)
        });
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
            shard,
            pack_key,
            unsharded,
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
        let layout = match readable_layout(store, &self.unsharded).await? {
            Ok(layout) => layout,
            // That is told of each cursor.
            Err(error) if error.code() == checkpoint::ReasonCode::TableMissing => None,
            Err(error) => return Err(error.into()),
        };
        let is_damaged = cursors.iter().any(|cursor| cursor.error.is_some());
        Ok(CursorsReport {
            status: if is_damaged { "FAILED" } else { "OK" },
            engine_run_root: self.world.identified.store().root().as_str().to_owned(),
            checkpoint_store: store.place(),
            pack_key: self.pack_key.clone(),
            shards: layout.as_ref().map(ShardsReport::from),
            cursors,
        })
    }

    fn output_ids(&self) -> Vec<OutputId> {
        let outputs = self.world.outputs.iter();
        outputs
            .map(|output| output.entry.output_id.clone())
            .collect()
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
        let places = places_of(&request)?;
        places.clear_verdict(&run)?;
        if !shard_of(&request).is_whole() {
            return Ok(());
        }
        // Given up are the cursors of all shards.
        for shard in places.shards(&run).map_err(unlisted)? {
            places_of_shard(&request, shard)?.clear_verdict(&run)?;
        }
        Ok(())
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
