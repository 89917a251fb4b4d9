//! The contract that every backend keeps.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use model::Clock;

use crate::cursor::Cursor;
use crate::error::Error;
use crate::held::Held;
use crate::key::CursorKey;
use crate::lease::{Holder, Lease, LeaseRequest, LeaseState};
use crate::record::{HistoryEntry, Record};

/// A durable home of cursors. Implemented by the backends of this crate, called by `wsp` (a stream
/// over all its outputs) and by `wsp-cli checkpoint`.
///
/// # What every backend promises
///
/// - **Durable.** When [`save_many`](Self::save_many) returns `Ok`, the cursors survive a crash of
///   the process and of the machine (the server, for Postgres and the object store). When it
///   returns an error, each cursor is the old one or the new one, never neither: SQLite and
///   Postgres save all or none, the file backend none where one is refused and else key by key,
///   the object store key by key.
/// - **Monotonic.** A cursor never moves backwards (`CHECKPOINT_REGRESSION`) unless
///   [`reset`](Self::reset) gave its position up. Saving the same position again is no error, so a
///   save whose outcome is not known may simply be made again.
/// - **One writer.** A save, renewal or reset under a lease that another has taken is refused
///   with `LEASE_LOST`, in the same step as the write. An expired lease that nobody took is still
///   good. See [`Lease`](crate::Lease).
/// - **Never a lie.** A torn or edited record is `CHECKPOINT_CORRUPT`, one of a newer format
///   `CHECKPOINT_VERSION_UNSUPPORTED`, another key's `CHECKPOINT_KEY_MISMATCH`; none is read as
///   "no cursor". A damaged record can be reset, and its text stays in history.
/// - **Away is said so.** A backend that cannot be reached, is full, or lost its folder is
///   `CHECKPOINT_UNAVAILABLE`, the one retryable code. A write whose answer was lost is settled by
///   reading back, never by writing blindly again.
/// - **Reading needs no lease** and changes nothing: [`load`](Self::load),
///   [`lease_state`](Self::lease_state) and [`history`](Self::history) create no file, table or
///   object.
///
/// All methods may be called at once from many tasks and threads.
///
/// # A store of one's own
///
/// Over named blobs with a conditional write it is two methods, [`KeyedBlobs`](crate::KeyedBlobs).
/// Else it implements [`Slots`](crate::Slots): it reads and writes what is kept of a key, and the
/// protocol of leases and records, which all stores of this crate share ([`slots`](crate::slots)),
/// makes the promises above of it.
///
/// The feature `conformance` has the promises as tests (`every_promise!`);
/// `cargo run -p wsp --example own_checkpoint_store` is such a store, and passes them.
#[async_trait]
pub trait CheckpointStore: Debug + Send + Sync {
    /// Where this store is, for people: never a secret.
    fn place(&self) -> String;

    /// The record of a key, if there is one.
    ///
    /// # Errors
    /// `CHECKPOINT_CORRUPT`, `CHECKPOINT_VERSION_UNSUPPORTED`, `CHECKPOINT_KEY_MISMATCH`,
    /// `CHECKPOINT_UNAVAILABLE`, `CHECKPOINT_CONFIG_INVALID`.
    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error>;

    /// The lease of a key, if it is held.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error>;

    /// The newest `limit` saves and resets of a key, newest first. Every backend keeps a bounded
    /// number of them. A line that a crash cut short is left out.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error>;

    /// Takes the leases of all requested keys, or none, in one try. Makes what the store needs
    /// (folder, tables). A damaged record does not hinder it: it will be refused by `load`.
    ///
    /// # Errors
    /// `LEASE_HELD` naming the first key and holder in the way: of a take-over, another that takes
    /// over at the same time, or a holder that could not be made to let go. As
    /// [`load`](Self::load).
    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error>;

    /// Renews every lease of the set: the period starts anew.
    ///
    /// # Errors
    /// `LEASE_LOST` if any was taken or released; as [`load`](Self::load).
    async fn renew(&self, lease: &Lease) -> Result<(), Error>;

    /// Saves cursors under the lease shown.
    ///
    /// # Errors
    /// `LEASE_LOST`, `CHECKPOINT_REGRESSION`, `CHECKPOINT_ORDER_MISMATCH`; as
    /// [`load`](Self::load).
    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error>;

    /// Gives up the position of a key: its record goes to history, and the next save may be
    /// anywhere. No record, no change.
    ///
    /// # Errors
    /// `LEASE_LOST`; as [`load`](Self::load), except `CHECKPOINT_CORRUPT`.
    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error>;

    /// Gives the leases back, so that another may take them at once. Leases that were lost are
    /// left as they are.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    async fn release(&self, lease: &Lease) -> Result<(), Error>;

    /// The time by the store's own clock; `None` where it has none. All shards of a stream that is
    /// paced go by one schedule, and this is what they have in common to compare clocks with.
    ///
    /// # Errors
    /// `CHECKPOINT_UNAVAILABLE`.
    async fn server_time(&self) -> Result<Option<SystemTime>, Error> {
        Ok(None)
    }

    /// How often this store was made again, with the cursors of the leases that it granted, after
    /// somebody deleted it; always 0 where it cannot be.
    fn times_remade(&self) -> u64 {
        0
    }
}

/// Takes all leases, waiting up to one period for a living holder; `on_held` is told each new
/// holder that is in the way. A take-over is tried once.
///
/// # Errors
/// As [`CheckpointStore::acquire`]; `LEASE_HELD` once the period is over.
pub async fn acquire_or_wait(
    store: &dyn CheckpointStore,
    request: &LeaseRequest,
    clock: &impl Clock,
    on_held: impl FnMut(&CursorKey, &Holder) + Send,
) -> Result<Lease, Error> {
    let taken = acquire_until(store, request, clock, on_held, std::future::pending()).await;
    taken.map(|(lease, _)| lease)
}

/// The same, with the clock's time at which the try began that took the leases; `LEASE_HELD` also
/// once `give_up` resolves. A try that is under way then is brought to its end.
pub(crate) async fn acquire_until(
    store: &dyn CheckpointStore,
    request: &LeaseRequest,
    clock: &impl Clock,
    mut on_held: impl FnMut(&CursorKey, &Holder) + Send,
    give_up: impl Future<Output = ()> + Send,
) -> Result<(Lease, Instant), Error> {
    let mut give_up = pin!(give_up);
    let mut deadline = None;
    // A lease that is given back is taken within a second, however long its period.
    let pause = (request.period / 30).min(Duration::from_secs(1));
    let mut named: Option<Holder> = None;
    loop {
        // Read before the try, so that the last try comes when the whole period has passed.
        let now = clock.now();
        let held = match store.acquire(request).await {
            // To take over once more is to end whoever took over meanwhile.
            Err(error) if !request.take_over && deadline.is_none_or(|end| now < end) => error,
            outcome => return outcome.map(|lease| (lease, now)),
        };
        let Some(Held { key, holder }) = Held::of(&held) else {
            return Err(held);
        };
        if named.as_ref() != Some(holder) {
            on_held(key, holder);
            named = Some(holder.clone());
        }
        // From the end of the first try on: what it saw last is a whole period old at the last.
        let end = *deadline.get_or_insert_with(|| clock.now() + request.period);
        tokio::select! {
            biased;
            () = &mut give_up => return Err(held),
            () = clock.sleep(pause.min(end.saturating_duration_since(now))) => {}
        }
    }
}
