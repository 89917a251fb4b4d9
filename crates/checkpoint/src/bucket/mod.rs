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

#[cfg(test)]
pub(crate) mod tests;
mod taking;
mod yielding;
mod claim;
mod object;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt as _};
use futures::{StreamExt as _, stream};
use model::{Clock as _, SharedClock};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::{Mutex, OnceCell};

use self::object::{Found, Objects, TRIES};
use crate::error::{Error, lost};
use crate::key::{CursorKey, PackKey};
use crate::lease::{LeaseRequest, SessionId};
use crate::slots::{Act, Change, Needs, Observer, Slot, Slots};

/// Requests of one operation in flight at once.
const CONCURRENCY: usize = 16;

/// A store of cursors in a bucket that honours conditional puts (S3, or one like it). Clones share
/// what was seen of leases.
#[derive(Clone, Debug)]
pub struct BucketStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    objects: Objects,
    observer: Observer,
    /// Set once the store was seen to refuse what it must refuse.
    proven: OnceCell<()>,
}

/// What a lease of a [`BucketStore`] proves: the request, and each object as it was left.
pub struct Session {
    id: SessionId,
    request: LeaseRequest,
    /// The state that each key's object was left in, once its lease was taken.
    known: BTreeMap<CursorKey, Mutex<Option<Found>>>,
    /// When the claim object of each pack was last read, by the store's clock; at first when the
    /// leases were taken.
    claims_read: BTreeMap<PackKey, Mutex<Instant>>,
}

impl BucketStore {
    /// The store under a prefix. Reads and writes nothing yet.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self::with_observer(store, prefix, Observer::default())
    }

    /// The store under a prefix, by another clock and chance than the machine's.
    pub fn with_observer(store: Arc<dyn ObjectStore>, prefix: Path, observer: Observer) -> Self {
        let pace = observer.clock().clone();
        Self::paced_by(store, prefix, observer, pace)
    }

    /// The same, whose requests go by a clock of their own: that of leases may stand still.
    pub(crate) fn paced_by(
        store: Arc<dyn ObjectStore>,
        prefix: Path,
        observer: Observer,
        pace: SharedClock,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                objects: Objects::new(store, prefix, pace),
                observer,
                proven: OnceCell::new(),
            }),
        }
    }
}

#[async_trait]
impl Slots for BucketStore {
    type Proof = Session;

    fn location(&self) -> String {
        self.inner.objects.place()
    }

    fn observer(&self) -> &Observer {
        &self.inner.observer
    }

    async fn read(&self, key: &CursorKey, _needs: Needs) -> Result<Slot, Error> {
        let objects = &self.inner.objects;
        let found = objects.get(key).await?;
        Ok(objects.slot(key, found.as_ref()))
    }

    async fn lines(&self, key: &CursorKey, _limit: usize) -> Result<Vec<String>, Error> {
        let found = self.inner.objects.get(key).await?;
        let lines = found.map_or_else(Vec::new, |found| found.object.history);
        Ok(lines.into_iter().rev().collect())
    }

    async fn begin(&self, session: &SessionId, request: &LeaseRequest) -> Result<Session, Error> {
        let packs = request.keys.iter().map(CursorKey::pack_key);
        let now = self.inner.observer.clock().now();
        let keys = request.keys.iter().cloned();
        Ok(Session {
            id: session.clone(),
            known: keys.map(|key| (key, Mutex::default())).collect(),
            request: request.clone(),
            claims_read: packs.map(|pack| (pack.clone(), Mutex::new(now))).collect(),
        })
    }

    /// A take-over is, by its claim; all else goes key by key.
    fn all_or_none(&self, proof: &Session) -> bool {
        proof.request.take_over
    }

    async fn edit<T, F>(
        &self,
        act: Act,
        proof: &Arc<Session>,
        keys: Vec<CursorKey>,
        decide: F,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static,
    {
        let inner = &*self.inner;
        if act == Act::Take {
            return inner.take_all(proof, &keys, &decide).await;
        }
        if act == Act::Renew {
            inner.heed_claims(proof).await;
        }
        let edits = keys
            .iter()
            .map(|key| inner.edit(act, proof, key, &decide).boxed());
        all(edits).await
    }
}

/// Does all, several at once, and gives what each gave, in their order; the first error once all
/// are done, so that one key's trouble leaves no other half-way.
async fn all<'f, T: Send + 'f>(
    work: impl Iterator<Item = BoxFuture<'f, Result<T, Error>>>,
) -> Result<Vec<T>, Error> {
    let work: Vec<_> = work.collect();
    let done = stream::iter(work).buffered(CONCURRENCY);
    let outcomes: Vec<Result<T, Error>> = done.collect().await;
    outcomes.into_iter().collect()
}

impl Inner {
    /// Changes the object of a key under the session's lease, after a take-over that is under way;
    /// a release waits for none, since that gets what it wants.
    ///
    /// It is decided on the state that the session left the object in; a newer one is read only
    /// where the store refuses the write.
    async fn edit<T>(
        &self,
        act: Act,
        session: &Session,
        key: &CursorKey,
        decide: &(impl Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Sync),
    ) -> Result<T, Error> {
        let operation = act.operation();
        if matches!(act, Act::Save | Act::Reset) {
            self.heed_claim(session, key.pack_key()).await;
        }
        let known = session.known.get(key);
        let known = known.ok_or_else(|| lost(key, "it was never taken"))?;
        let mut known = known.lock().await;
        if known.is_none() {
            // Not taken to the end, and given back.
            *known = self.objects.get_even_damaged(key).await?;
        }
        let Some(known) = known.as_mut() else {
            return decide(key, Slot::default()).map(|(_, told)| told);
        };
        for failed in 1..=TRIES {
            let own = known.object.lease.clone();
            let slot = self.objects.slot(key, Some(known));
            let (change, told) = decide(key, slot)?;
            let mut next = known.object.clone();
            if !next.apply(change) {
                return Ok(told);
            }
            let write = self.observer.new_session();
            next.count_on(write.clone());
            let refusal = match self.objects.put(key, &next, Some(&*known)).await {
                Ok(version) => {
                    *known = Found {
                        object: next,
                        version,
                    };
                    return Ok(told);
                }
                Err(refusal) => refusal,
            };
            let found = self.objects.get(key).await?;
            let mut found = found.ok_or_else(|| self.objects.gone(operation, key))?;
            if found.object.write == write {
                *known = found;
                return Ok(told);
            }
            if act != Act::Release {
                found = self
                    .unless_unfinished(session, key, found, own.as_ref())
                    .await?;
            }
            *known = found;
            self.objects.pause_after(refusal, failed).await?;
        }
        Err(self.objects.unsettled(operation, key))
    }
}
