//! Cursors in an object store: one object a key, written only by conditional put.
//!
//! ```text
//! <prefix>/<pack_key>/output_id=<id>/cursor.json    sequence, lease, record, the last saves
//! <prefix>/<pack_key>/take-over.json                the last take-over, see `claim`
//! ```
//!
//! A lease is taken by writing its fence into the key's object, and every later write demands the
//! ETag of the one before it: so the store itself refuses a producer whose object another has
//! changed, in the same step as the write. Nobody can tell a dead holder here; a lease is over when
//! its object was observed unchanged for a whole period.
//!
//! **A write whose answer is lost or a refusal** (timeout, 409, 412, a broken connection) is
//! settled by reading back. Each write carries an id of its own:
//!
//! | the object then holds | the write |
//! |---|---|
//! | this write's id | was made |
//! | another write, this lease still in it | is made again on top of that (an earlier write of this producer arrived late) |
//! | what it held before | is made again, demanding the same ETag: if the first one arrives after all, only one of the two is taken |
//! | another's lease | is lost: `LEASE_LOST`; if it is of a take-over that is not finished, that one's end decides |

mod claim;
mod object;
mod taking;
#[cfg(test)]
pub(crate) mod tests;
mod yielding;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt as _};
use futures::{StreamExt as _, stream};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::{Mutex, OnceCell};

use self::object::{Found, Objects, StoredObject, TRIES, pause_after};
use crate::clock::{Clock, SystemClock, utc_text};
use crate::cursor::Cursor;
use crate::error::Error;
use crate::key::{CursorKey, PackKey};
use crate::lease::{Lease, LeaseRequest, LeaseState, Observations, check_shown, lost};
use crate::record::{HistoryEntry, Record, Wire, reset_line};
use crate::store::CheckpointStore;

/// Requests of one operation in flight at once.
const CONCURRENCY: usize = 16;

/// Cursors in an object store that honours conditional puts (S3, or one like it).
#[derive(Clone, Debug)]
pub struct BucketStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    objects: Objects,
    clock: Arc<dyn Clock>,
    observed: SyncMutex<Observations>,
    /// Set once the store was seen to refuse what it must refuse.
    proven: OnceCell<()>,
}

/// What a lease of this store proves.
struct Proof {
    /// The state that each key's object was left in.
    known: BTreeMap<CursorKey, Mutex<Found>>,
    /// When the claim object of each pack was last read, by the store's clock.
    claims_read: BTreeMap<PackKey, Mutex<Duration>>,
}

/// A write under a lease.
#[derive(Clone, Copy, Debug)]
struct Change {
    operation: &'static str,
    /// Whether it waits for the end of a take-over that has written the object.
    waits: bool,
}

impl BucketStore {
    /// The store under a prefix. Reads and writes nothing yet.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self::with_clock(store, prefix, Arc::new(SystemClock::default()))
    }

    /// The same, by another clock.
    pub fn with_clock(store: Arc<dyn ObjectStore>, prefix: Path, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::new(Inner {
                objects: Objects::new(store, prefix),
                clock,
                observed: SyncMutex::default(),
                proven: OnceCell::new(),
            }),
        }
    }
}

#[async_trait]
impl CheckpointStore for BucketStore {
    fn place(&self) -> String {
        self.inner.objects.place()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        let found = self.inner.objects.get(key).await?;
        let place = self.inner.objects.place_of(key);
        found.map_or(Ok(None), |found| found.object.parse_record(key, &place))
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        let found = self.inner.objects.get(key).await?;
        let row = found.and_then(|found| found.object.lease);
        Ok(row.and_then(|row| row.to_state(None)))
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let Some(found) = self.inner.objects.get(key).await? else {
            return Ok(Vec::new());
        };
        let lines = found.object.history.iter().rev();
        let entries = lines.filter_map(|line| HistoryEntry::parse(line, key));
        Ok(entries.take(limit).collect())
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        self.inner.acquire(request).await
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let inner = &*self.inner;
        inner.heed_claims(lease).await?;
        let renew = |object: &mut StoredObject| {
            if let Some(row) = &mut object.lease {
                row.renew(inner.now_text());
            }
            Ok(true)
        };
        let keys = lease.keys();
        all(keys.map(|key| inner.change(lease, key, "renew the lease", renew).boxed())).await
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        let saves = cursors
            .iter()
            .map(|(key, cursor)| self.inner.save(lease, key, cursor).boxed());
        all(saves).await
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        self.inner
            .change(lease, key, "reset the cursor", |object| {
                Ok(object.reset(|record| reset_line(self.inner.now_text(), record)))
            })
            .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        all(lease
            .keys()
            .map(|key| self.inner.release(lease, key).boxed()))
        .await
    }
}

/// Does all, several at once; the first error once all are done, so that one key's trouble leaves
/// no other half-way.
async fn all<'f>(
    work: impl Iterator<Item = BoxFuture<'f, Result<(), Error>>>,
) -> Result<(), Error> {
    let work: Vec<_> = work.collect();
    let done = stream::iter(work).buffer_unordered(CONCURRENCY);
    let outcomes: Vec<Result<(), Error>> = done.collect().await;
    outcomes.into_iter().collect()
}

impl Inner {
    fn now_text(&self) -> String {
        utc_text(self.clock.utc_now())
    }

    async fn save(&self, lease: &Lease, key: &CursorKey, cursor: &Cursor) -> Result<(), Error> {
        self.change(lease, key, "save the cursor", |object| {
            let stored = object.parse_record(key, &self.objects.place_of(key))?;
            let next = Wire::following(stored.as_ref(), key, cursor, lease, || self.now_text())?;
            Ok(next.is_some_and(|wire| object.save(&wire)))
        })
        .await
    }

    async fn release(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        // A take-over under way gets what it wants: nothing is waited for.
        let release = Change {
            operation: "release the lease",
            waits: false,
        };
        let released = self.write(lease, key, release, |object| {
            Ok(object.lease.as_mut().is_some_and(|row| row.release(lease)))
        });
        match released.await {
            Err(Error::LeaseLost { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Changes the object of a key under the lease shown, after a take-over that is under way.
    /// `edit` says whether there is anything to write; it may be asked again about a newer state.
    async fn change(
        &self,
        lease: &Lease,
        key: &CursorKey,
        operation: &'static str,
        edit: impl Fn(&mut StoredObject) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.heed_claim(lease, key.pack_key()).await?;
        let change = Change {
            operation,
            waits: true,
        };
        self.write(lease, key, change, edit).await
    }

    async fn write(
        &self,
        lease: &Lease,
        key: &CursorKey,
        change: Change,
        edit: impl Fn(&mut StoredObject) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let operation = change.operation;
        lease.fence_to_show(key)?;
        let Some(known) = lease.proof::<Proof>()?.known.get(key) else {
            return Err(lost(key, "it was never taken"));
        };
        let mut known = known.lock().await;
        for attempt in 0..TRIES {
            let mut next = known.object.clone();
            let own = check_shown(key, next.lease.clone(), lease)?;
            if !edit(&mut next)? {
                return Ok(());
            }
            let write = next.count_on();
            let refusal = match self.objects.put(key, &next, Some(&known)).await {
                Ok(version) => {
                    *known = Found {
                        object: next,
                        version,
                    };
                    return Ok(());
                }
                Err(refusal) => refusal,
            };
            let found = self.objects.get(key).await?;
            let mut found = found.ok_or_else(|| self.objects.gone(operation, key))?;
            if found.object.write == write {
                *known = found;
                return Ok(());
            }
            if change.waits {
                found = self.unless_unfinished(lease, key, found, &own).await?;
            }
            *known = found;
            pause_after(refusal, attempt).await?;
        }
        Err(self.objects.unsettled(operation, key))
    }

    fn observed(&self) -> std::sync::MutexGuard<'_, Observations> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
