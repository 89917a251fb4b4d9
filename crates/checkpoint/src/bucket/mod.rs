//! Cursors in an object store: one object a key, written only by conditional put.
//!
//! ```text
//! <prefix>/<pack_key>/output_id=<id>/cursor.json    sequence, lease, record, the last saves
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
//! | another's lease | is lost: `LEASE_LOST` |

mod object;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt as _};
use futures::{StreamExt as _, stream};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::{Mutex, OnceCell};

use self::object::{Found, Objects, Refusal, StoredObject};
use crate::clock::{Clock, SystemClock, utc_text};
use crate::cursor::Cursor;
use crate::error::Error;
use crate::key::CursorKey;
use crate::lease::{
    Evidence, Lease, LeaseRecord, LeaseRequest, LeaseState, Observations, SessionId, check_free,
    check_shown, lost,
};
use crate::record::{HistoryEntry, Record, Wire, reset_line};
use crate::store::CheckpointStore;

/// Requests of one operation in flight at once.
const CONCURRENCY: usize = 16;
/// Tries of one write before the store counts as away.
const TRIES: u32 = 5;
/// Tries to take a lease from a holder that goes on saving, whose every save is a conflict.
const TAKING_TRIES: u32 = 30;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

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

/// What a lease of this store proves: the state each key's object was left in.
struct Proof {
    known: BTreeMap<CursorKey, Mutex<Found>>,
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
        let inner = &*self.inner;
        inner
            .proven
            .get_or_try_init(|| inner.objects.prove_conditional_puts())
            .await?;
        // All are looked at before any is taken: a silent holder is outlasted on all of its
        // keys at once, not on one after the other.
        let looks = request.keys.iter();
        all(looks.map(|key| inner.look(key, request).boxed())).await?;
        let session = SessionId::new();
        let mut known = BTreeMap::new();
        let mut failure = None;
        for key in &request.keys {
            match inner.take(key, request, &session).await {
                Ok(found) => known.insert(key.clone(), Mutex::new(found)),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            };
        }
        let fences = known.iter_mut().filter_map(|(key, found)| {
            Some((key.clone(), found.get_mut().object.lease.as_ref()?.fence))
        });
        let fences = fences.collect();
        let lease = Lease::granted(session, fences, request.period, Proof { known });
        match failure {
            None => Ok(lease),
            Some(error) => {
                // What cannot be given back now is free after a period.
                let _ = self.release(&lease).await;
                Err(error)
            }
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let inner = &*self.inner;
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
        let released = self.change(lease, key, "release the lease", |object| {
            Ok(object.lease.as_mut().is_some_and(|row| row.release(lease)))
        });
        match released.await {
            Err(Error::LeaseLost { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Notes the lease of one key, and that it may be taken.
    async fn look(&self, key: &CursorKey, request: &LeaseRequest) -> Result<(), Error> {
        let found = self.objects.get_even_damaged(key).await?;
        self.check_free(key, found.as_ref(), request)
    }

    fn check_free(
        &self,
        key: &CursorKey,
        found: Option<&Found>,
        request: &LeaseRequest,
    ) -> Result<(), Error> {
        let row = found.and_then(|found| found.object.lease.as_ref());
        let sequence = found.map_or(0, |found| found.object.sequence);
        check_free(key, row, request.take_over, |row| {
            let now = self.clock.monotonic();
            let is_expired = self.observed().is_expired(key, row, sequence, now);
            Ok(if is_expired {
                Evidence::Expired
            } else {
                Evidence::Current
            })
        })
    }

    /// Takes the lease of one key, by writing its fence into the key's object.
    async fn take(
        &self,
        key: &CursorKey,
        request: &LeaseRequest,
        session: &SessionId,
    ) -> Result<Found, Error> {
        let mut failures = 0;
        for _ in 0..TAKING_TRIES {
            let found = self.objects.get_even_damaged(key).await?;
            let row = found.as_ref().and_then(|found| found.object.lease.as_ref());
            if let (Some(found), Some(row)) = (&found, row)
                && row.session == *session
            {
                // One of the writes below arrived, whichever it was.
                self.observed().forget(key);
                return Ok(found.clone());
            }
            self.check_free(key, found.as_ref(), request)?;
            let fence = row.map_or(0, |row| row.fence) + 1;
            let mut next = found
                .as_ref()
                .map_or_else(StoredObject::default, |f| f.object.clone());
            next.lease = Some(LeaseRecord::taken(request, session, fence, self.now_text()));
            next.count_on();
            // Whatever came of it, the next round reads it back.
            if let Err(refusal) = self.objects.put(key, &next, found.as_ref()).await {
                failures += u32::from(matches!(refusal, Refusal::Failed(_)));
                self.pause_after(refusal, failures).await?;
            }
            if failures == TRIES {
                break;
            }
        }
        Err(self.objects.unsettled("take the lease", key))
    }

    /// Changes the object of a key under the lease shown. `edit` says whether there is anything to
    /// write; it may be asked again about a newer state.
    async fn change(
        &self,
        lease: &Lease,
        key: &CursorKey,
        operation: &'static str,
        edit: impl Fn(&mut StoredObject) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        lease.fence_to_show(key)?;
        let Some(known) = lease.proof::<Proof>()?.known.get(key) else {
            return Err(lost(key, "it was never taken"));
        };
        let mut known = known.lock().await;
        for attempt in 0..TRIES {
            let mut next = known.object.clone();
            check_shown(key, next.lease.clone(), lease)?;
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
            *known = self
                .objects
                .get(key)
                .await?
                .ok_or_else(|| self.objects.gone(operation, key))?;
            if known.object.write == write {
                return Ok(());
            }
            self.pause_after(refusal, attempt).await?;
        }
        Err(self.objects.unsettled(operation, key))
    }

    /// Waits a little before a write that was not made is made again; a fault that waiting does
    /// not help is given back.
    async fn pause_after(&self, refusal: Refusal, attempt: u32) -> Result<(), Error> {
        match refusal {
            Refusal::Conflict => {}
            Refusal::Failed(error) if !error.is_retryable() => return Err(error),
            Refusal::Failed(_) => tokio::time::sleep(FIRST_BACKOFF * 2_u32.pow(attempt)).await,
        }
        Ok(())
    }

    fn observed(&self) -> std::sync::MutexGuard<'_, Observations> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
