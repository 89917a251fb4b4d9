//! Cursors in a folder, shared with the existing producer.
//!
//! ```text
//! <root>/.sessions/<session>.lock            OS lock, held while its lease lives
//! <root>/<pack_key>/output_id=<id>/
//!     cursor.json      the record
//!     cursor.jsonl     one line a save, rotated to cursor.jsonl.1
//!     lease.json       fence, holder and session of the last taker
//!     cursor.lock      OS lock around every read-compare-write; never renamed
//! ```
//!
//! A record or lease is written to a temporary file, synced, renamed over the old one, and the
//! folder synced: after any crash the old one or the new one is there. The fence is compared and
//! the record renamed under one hold of `cursor.lock`, so a producer that wakes up late finds the
//! other's fence before it can write.
//!
//! The existing producer takes no lock and shows no fence. It cannot be kept out of a folder, but
//! it is noticed: the next save finds its record and ends with `LEASE_LOST` instead of
//! overwriting it.

mod place;
#[cfg(test)]
pub(crate) mod tests;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use durable::{Disk, OsDisk, make_folders};

use self::place::Place;
use crate::blocking::blocking;
use crate::clock::{Clock, SystemClock, utc_text};
use crate::cursor::Cursor;
use crate::error::Error;
use crate::key::CursorKey;
use crate::lease::{
    Evidence, Lease, LeaseRecord, LeaseRequest, LeaseState, Observations, SessionId, check_free,
    check_not_foreign, check_shown,
};
use crate::record::{HistoryEntry, Record, Wire, reset_line};
use crate::sessions::{Life, SessionLock, Sessions};
use crate::store::CheckpointStore;
use crate::unavailable;

/// The folder of the sessions' locks, under the root.
const SESSIONS: &str = ".sessions";

/// How long to wait for another process's read-compare-write to end.
const GUARD_WAIT: Duration = Duration::from_secs(5);

/// Keys whose files are synced at the same time.
const SYNCS_AT_ONCE: usize = 8;

/// Cursors in a folder.
#[derive(Clone, Debug)]
pub struct FileStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    sessions: Sessions,
    observed: Mutex<Observations>,
    guard_wait: Duration,
}

/// What a lease of this store proves.
struct Proof {
    session: SessionLock,
    /// Each key's record as the lease found it, if the existing producer wrote it.
    adopted: BTreeMap<CursorKey, Record>,
}

impl FileStore {
    /// The store in a folder, which is made when the first lease is taken.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with_clock(root, Arc::new(SystemClock::default()))
    }

    /// The same, by another clock.
    pub fn with_clock(root: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let root = root.into();
        let sessions = Sessions::new(root.join(SESSIONS));
        Self::on_disk(root, clock, Arc::new(OsDisk), sessions)
    }

    /// Every folder and file that the store writes for some keys, so that a caller can look
    /// where symlinks lead them.
    pub fn places(&self, keys: &[CursorKey]) -> Vec<PathBuf> {
        let root = &self.inner.root;
        let of_keys = keys.iter().flat_map(|key| {
            let place = self.inner.place(key);
            [vec![place.folder.clone()], place.files().to_vec()].concat()
        });
        [root.clone(), root.join(SESSIONS)]
            .into_iter()
            .chain(of_keys)
            .collect()
    }

    fn on_disk(
        root: PathBuf,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
        sessions: Sessions,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                root,
                disk,
                clock,
                sessions,
                observed: Mutex::default(),
                guard_wait: GUARD_WAIT,
            }),
        }
    }
}

#[async_trait]
impl CheckpointStore for FileStore {
    fn place(&self) -> String {
        self.inner.root.display().to_string()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        blocking(move || inner.place(&key).record(&*inner.disk)).await
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        blocking(move || {
            let Some(row) = inner.place(&key).lease(&*inner.disk)? else {
                return Ok(None);
            };
            let life = inner.life_of(&row.session)?;
            Ok(row.to_state(life.is_alive()))
        })
        .await
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        blocking(move || inner.place(&key).history(&*inner.disk, limit)).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        let (inner, request) = (Arc::clone(&self.inner), request.clone());
        blocking(move || inner.acquire(&request)).await
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        self.inner.with_lease(lease, Inner::renew).await
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        let cursors = cursors.clone();
        self.inner
            .with_lease(lease, move |inner, lease| {
                let saves: Vec<_> = cursors.iter().collect();
                each(&saves, |(key, cursor)| inner.save(lease, key, cursor))
            })
            .await
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        let key = key.clone();
        self.inner
            .with_lease(lease, move |inner, lease| inner.reset(lease, &key))
            .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.inner.with_lease(lease, Inner::release).await
    }
}

impl Inner {
    fn place<'a>(&self, key: &'a CursorKey) -> Place<'a> {
        Place::new(&self.root, key)
    }

    fn now_text(&self) -> String {
        utc_text(self.clock.utc_now())
    }

    fn life_of(&self, session: &SessionId) -> Result<Life, Error> {
        self.sessions.life(session).map_err(|error| {
            unavailable::at_path("look at the holder's lock", self.sessions.folder(), error)
        })
    }

    /// Runs `work` with the lease on a blocking thread.
    async fn with_lease(
        self: &Arc<Self>,
        lease: &Lease,
        work: impl FnOnce(&Self, &Lease) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (inner, lease) = (Arc::clone(self), lease.share());
        blocking(move || work(&inner, &lease)).await
    }

    /// Holds `cursor.lock`. Whoever else holds it is between a read and a rename, so the wait is
    /// short, unless that process was stopped just there.
    fn guard(&self, place: &Place<'_>) -> Result<Box<dyn Any + Send + Sync>, Error> {
        let path = place.lock();
        let failed = |error| unavailable::at_path("lock the cursor", &path, error);
        let mut waited = Duration::ZERO;
        let mut pause = Duration::from_micros(100);
        while waited < self.guard_wait {
            if let Some(guard) = self.disk.try_lock(&path).map_err(failed)? {
                return Ok(guard);
            }
            std::thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Err(unavailable::locked("lock the cursor", &path, &[&path]))
    }

    /// Makes the folders of all keys, each one's name synced. What an earlier process made and did
    /// not live to sync is synced too.
    fn ensure_folders(&self, places: &[Place<'_>]) -> Result<(), Error> {
        make_folders(&*self.disk, &self.root, 0).map_err(|error| {
            unavailable::at_path("make the checkpoint folder", &self.root, error)
        })?;
        let packs: BTreeSet<&Path> = places.iter().filter_map(|p| p.folder.parent()).collect();
        let places = places.iter().map(|place| place.folder.as_path());
        for folder in packs.iter().copied().chain(places) {
            self.create(folder)?;
        }
        for folder in packs.into_iter().chain([self.root.as_path()]) {
            self.sync(folder)?;
        }
        Ok(())
    }

    fn create(&self, folder: &Path) -> Result<(), Error> {
        self.disk
            .create_dir(folder)
            .map_err(|error| unavailable::at_path("make the checkpoint folder", folder, error))
    }

    fn sync(&self, folder: &Path) -> Result<(), Error> {
        self.disk
            .sync_dir(folder)
            .map_err(|error| unavailable::at_path("sync the checkpoint folder", folder, error))
    }

    fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        let places: Vec<Place<'_>> = request.keys.iter().map(|key| self.place(key)).collect();
        check_distinct(&places)?;
        self.ensure_folders(&places)?;
        let session = SessionId::new();
        let session_lock = self.sessions.start(&session).map_err(|error| {
            unavailable::at_path("lock the session", self.sessions.folder(), error)
        })?;
        let _guards = places
            .iter()
            .map(|place| self.guard(place))
            .collect::<Result<Vec<_>, _>>()?;

        // Every lease is looked at before one in the way is told of: all are watched for
        // their expiry from the first try on.
        let takes: Vec<_> = places
            .iter()
            .map(|place| self.check_take(place, request))
            .collect();
        let takes = takes.into_iter().collect::<Result<Vec<_>, _>>()?;
        session_lock.will_be_named();
        let mut fences = BTreeMap::new();
        let mut adopted = BTreeMap::new();
        for (place, take) in places.iter().zip(takes) {
            let row = LeaseRecord::taken(request, &session, take.fence, self.now_text());
            place.write_lease(&*self.disk, &row)?;
            fences.insert(place.key.clone(), take.fence);
            adopted.extend(take.foreign.map(|record| (place.key.clone(), record)));
            self.observed().forget(place.key);
        }
        let proof = Proof {
            session: session_lock,
            adopted,
        };
        Ok(Lease::granted(session, fences, request.period, proof))
    }

    fn observed(&self) -> std::sync::MutexGuard<'_, Observations> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the lease of a place may be taken, and with what fence. Its guard must be held.
    fn check_take(&self, place: &Place<'_>, request: &LeaseRequest) -> Result<Take, Error> {
        let row = match place.lease(&*self.disk) {
            // Nobody can be named, so only a deliberate take-over goes on.
            Err(Error::Corrupt { .. }) if request.take_over => None,
            row => row?,
        };
        check_free(place.key, row.as_ref(), request.take_over, |row| {
            if self.life_of(&row.session)? == Life::Ended {
                return Ok(Evidence::Dead);
            }
            let now = self.clock.monotonic();
            let is_expired = self
                .observed()
                .is_expired(place.key, row, row.renewals, now);
            Ok(if is_expired {
                Evidence::Expired
            } else {
                Evidence::Current
            })
        })?;
        let bytes = place.record_bytes(&*self.disk)?;
        let stored = match bytes.as_deref().map(|bytes| place.parse(bytes)) {
            Some(Err(Error::KeyMismatch { place, key, found })) => {
                return Err(Error::KeyMismatch { place, key, found });
            }
            // Damaged or newer: `load` will refuse it, and `reset` may give it up.
            Some(Err(_)) | None => None,
            Some(Ok(record)) => Some(record),
        };
        let saved_under = stored.as_ref().and_then(|record| record.fence);
        let taken_under = row.map(|row| row.fence);
        Ok(Take {
            fence: saved_under.max(taken_under).unwrap_or(0) + 1,
            foreign: stored.filter(Record::is_foreign),
        })
    }

    fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let keys: Vec<_> = lease.keys().collect();
        each(&keys, |key| {
            let place = self.place(key);
            let _guard = self.guard(&place)?;
            let mut row = self.shown(&place, lease)?;
            row.renew(self.now_text());
            place.write_lease(&*self.disk, &row)
        })?;
        lease.proof::<Proof>()?.session.keep();
        Ok(())
    }

    /// The stored lease, which is the one shown. The guard must be held.
    fn shown(&self, place: &Place<'_>, lease: &Lease) -> Result<LeaseRecord, Error> {
        let row = place.lease(&*self.disk)?;
        check_shown(place.key, row, lease)
    }

    fn save(&self, lease: &Lease, key: &CursorKey, cursor: &Cursor) -> Result<(), Error> {
        lease.fence_to_show(key)?;
        let place = self.place(key);
        let _guard = self.guard(&place)?;
        self.shown(&place, lease)?;
        let bytes = place.record_bytes(&*self.disk)?;
        let stored = bytes
            .as_deref()
            .map(|bytes| place.parse(bytes))
            .transpose()?;
        check_not_foreign(key, stored.as_ref(), &lease.proof::<Proof>()?.adopted)?;
        let Some(wire) = Wire::following(stored.as_ref(), key, cursor, lease, || self.now_text())?
        else {
            // The record of a save whose last step failed may be there and not be durable yet.
            return place.sync(&*self.disk);
        };
        let record = wire.to_json();
        place.write_record(&*self.disk, &record)?;
        if let Err(error) = place.remember(&*self.disk, &record, false) {
            tracing::warn!(%error, "the cursor is saved, but not its line of history");
        }
        Ok(())
    }

    fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        lease.fence_to_show(key)?;
        let place = self.place(key);
        let _guard = self.guard(&place)?;
        self.shown(&place, lease)?;
        let Some(bytes) = place.record_bytes(&*self.disk)? else {
            return Ok(());
        };
        // History first: a crash in between leaves the position, never nothing.
        let line = reset_line(self.now_text(), &bytes);
        place.remember(&*self.disk, &line, true)?;
        place.remove_record(&*self.disk)
    }

    fn release(&self, lease: &Lease) -> Result<(), Error> {
        let keys: Vec<_> = lease.keys().collect();
        each(&keys, |key| {
            let place = self.place(key);
            let _guard = self.guard(&place)?;
            if let Some(mut row) = place.lease(&*self.disk)?
                && row.release(lease)
            {
                place.write_lease(&*self.disk, &row)?;
            }
            Ok(())
        })?;
        lease.proof::<Proof>()?.session.will_be_named_no_more();
        Ok(())
    }
}

/// Does all keys, several at once: their syncs together take little longer than one alone. Gives
/// the first error once all are done.
fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), Error> + Sync) -> Result<(), Error> {
    if let [item] = items {
        return work(item);
    }
    let share = items.len().div_ceil(SYNCS_AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = items
            .chunks(share)
            .map(|items| scope.spawn(|| items.iter().try_for_each(&work)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .fold(Ok(()), Result::and)
    })
}

/// How a lease may be taken.
struct Take {
    fence: u64,
    /// The record, if the existing producer wrote it.
    foreign: Option<Record>,
}

/// Two ids may share a folder (`a/b` and `a_b`): they cannot be streamed into one root.
fn check_distinct(places: &[Place<'_>]) -> Result<(), Error> {
    let mut seen: BTreeMap<&Path, &CursorKey> = BTreeMap::new();
    for place in places {
        if let Some(other) = seen.insert(&place.folder, place.key) {
            return Err(Error::KeyMismatch {
                place: place.folder.display().to_string(),
                key: place.key.clone(),
                found: other.to_string(),
            });
        }
    }
    Ok(())
}
