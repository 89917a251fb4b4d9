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
//!
//! A root that somebody deletes under a live lease is gone, and the store away; where the caller
//! said that it may be made again, the session does that (`remake`).

mod remake;
mod place;
#[cfg(test)]
pub(crate) mod tests;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use durable::{Disk, FileId, OsDisk, make_folders};
use model::Clock as _;

use self::place::Place;
use self::remake::{Left, Session};
use crate::blocking::blocking;
use crate::error::{Error, key_mismatch};
use crate::key::CursorKey;
use crate::lease::{LeaseRequest, SessionId};
use crate::path_fault;
use crate::sessions::Sessions;
use crate::slots::{Act, Change, Life, Needs, Observer, RecordChange, Slot, Slots, decide_all};

/// The folder of the sessions' locks, under the root.
const SESSIONS: &str = ".sessions";

/// How long to wait for another process's read-compare-write to end.
const GUARD_WAIT: Duration = Duration::from_secs(5);

/// Keys whose files are synced at the same time.
const SYNCS_AT_ONCE: usize = 8;

/// A store of cursors in a folder of this machine. Clones share what was seen of leases.
#[derive(Clone, Debug)]
pub struct FileStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    sessions: Sessions,
    observer: Observer,
    guard_wait: Duration,
    /// The folder around the root with which it may be made again after it was deleted; `None`
    /// leaves it deleted.
    made_again_with: Option<PathBuf>,
    times_remade: AtomicU64,
}

impl FileStore {
    /// The store in a folder, which is made when the first lease is taken.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with_observer(root, Observer::default())
    }

    /// The store in a folder, by another clock and chance than the machine's.
    pub fn with_observer(root: impl Into<PathBuf>, observer: Observer) -> Self {
        let root = root.into();
        let sessions = Sessions::new(root.join(SESSIONS));
        Self::on_disk(root, observer, Arc::new(OsDisk), sessions)
    }

    /// Has the root made again where `folder`, which holds it, is deleted while a lease is held:
    /// with the cursors of that lease, and only where the folder above `folder` is the same.
    /// Without it, a store whose root was deleted is away. To be said before the store is cloned.
    #[must_use]
    pub fn made_again_with(mut self, folder: impl Into<PathBuf>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.made_again_with = Some(folder.into());
        }
        self
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

    fn on_disk(root: PathBuf, observer: Observer, disk: Arc<dyn Disk>, sessions: Sessions) -> Self {
        Self {
            inner: Arc::new(Inner {
                root,
                disk,
                sessions,
                observer,
                guard_wait: GUARD_WAIT,
                made_again_with: None,
                times_remade: AtomicU64::new(0),
            }),
        }
    }
}

#[async_trait]
impl Slots for FileStore {
    type Proof = Session;

    fn location(&self) -> String {
        self.inner.root.display().to_string()
    }

    fn observer(&self) -> &Observer {
        &self.inner.observer
    }

    async fn read(&self, key: &CursorKey, needs: Needs) -> Result<Slot, Error> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        blocking(move || inner.slot(&inner.place(&key), needs)).await
    }

    async fn lines(&self, key: &CursorKey, _limit: usize) -> Result<Vec<String>, Error> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        blocking(move || inner.place(&key).lines(&*inner.disk)).await
    }

    async fn begin(&self, session: &SessionId, request: &LeaseRequest) -> Result<Session, Error> {
        let (inner, session, keys) = (
            Arc::clone(&self.inner),
            session.clone(),
            request.keys.clone(),
        );
        blocking(move || {
            let places: Vec<Place<'_>> = keys.iter().map(|key| inner.place(key)).collect();
            check_distinct(&places)?;
            inner.ensure_folders(&places)?;
            let now = inner.observer.clock().wall();
            let lock = inner.sessions.start(&session, now).map_err(|error| {
                path_fault::at_path("lock the session", inner.sessions.folder(), error)
            })?;
            let root = FileId::of(&inner.root).unwrap_or_default();
            let began = inner.observer.clock().now();
            Ok(Session::new(lock, inner.home()?, root, began))
        })
        .await
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
        let inner = &self.inner;
        let decide = Arc::new(decide);
        let raised = proof.raised().load(Ordering::Acquire);
        let outcome = inner.edit(act, proof, keys.clone(), &decide).await;
        let is_held = matches!(act, Act::Save | Act::Renew) && proof.has_home();
        if !is_held || outcome.is_ok() {
            return outcome;
        }
        let (remaking, session) = (Arc::clone(inner), Arc::clone(proof));
        let is_remade = blocking(move || remaking.remake_if_deleted(&session)).await?;
        if is_remade || proof.raised().load(Ordering::Acquire) != raised {
            return inner.edit(act, proof, keys, &decide).await;
        }
        outcome
    }

    fn set_named(&self, proof: &Session, is_named: bool) {
        proof.lock.set_named(is_named);
    }

    fn renewed(&self, proof: &Session) {
        proof.lock.keep();
    }

    fn remakes(&self) -> u64 {
        self.inner.times_remade.load(Ordering::Relaxed)
    }

    fn fences_raised(&self, proof: &Session) -> Option<Arc<AtomicU64>> {
        proof.has_home().then(|| Arc::clone(proof.raised()))
    }
}

impl Inner {
    async fn edit<T, F>(
        self: &Arc<Self>,
        act: Act,
        session: &Arc<Session>,
        keys: Vec<CursorKey>,
        decide: &Arc<F>,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static,
    {
        let began = self.observer.clock().now();
        let (deciding, decide) = (Arc::clone(self), Arc::clone(decide));
        let mut decided = blocking(move || deciding.decide(act, keys, &*decide)).await?;
        let left = std::mem::take(&mut decided.left);
        let told = self.write_all(act, decided).await?;
        session.remember(act, left, began);
        Ok(told)
    }

    fn place<'a>(&self, key: &'a CursorKey) -> Place<'a> {
        Place::new(&self.root, key)
    }

    /// What the folder of a key holds.
    fn slot(&self, place: &Place<'_>, needs: Needs) -> Result<Slot, Error> {
        let lease = match needs.lease.then(|| place.lease(&*self.disk)) {
            None => Ok(None),
            // A lease that is not one is for the protocol to judge.
            Some(Err(error)) if error.is_retryable() => return Err(error),
            Some(lease) => lease,
        };
        let life = match &lease {
            Ok(Some(lease)) if needs.life => self.life_of(&lease.session)?,
            _ => Life::Unknown,
        };
        let record = if needs.record {
            place.record(&*self.disk)?
        } else {
            None
        };
        Ok(Slot {
            stamp: lease
                .as_ref()
                .ok()
                .and_then(Option::as_ref)
                .map_or(0, |lease| lease.renewals),
            lease,
            record,
            life,
            may_expire: true,
        })
    }

    fn life_of(&self, session: &SessionId) -> Result<Life, Error> {
        self.sessions.life(session).map_err(|error| {
            path_fault::at_path("look at the holder's lock", self.sessions.folder(), error)
        })
    }

    /// Takes the locks of all keys, in their order, which are held to the last write, and decides.
    /// A change of one key alone is written at once.
    fn decide<T>(
        &self,
        act: Act,
        keys: Vec<CursorKey>,
        decide: &impl Fn(&CursorKey, Slot) -> Result<(Change, T), Error>,
    ) -> Result<Decided<T>, Error> {
        let (mut guards, mut slots) = (Vec::new(), Vec::new());
        for key in keys {
            let place = self.place(&key);
            guards.push(self.guard(&place)?);
            let slot = self.slot(&place, act.needs())?;
            slots.push((key, slot));
        }
        let text = |slot: &Slot| slot.record.as_ref().map(|record| record.text.clone());
        let found: Vec<Option<String>> = match act {
            Act::Take | Act::Save => slots.iter().map(|(_, slot)| text(slot)).collect(),
            _ => slots.iter().map(|_| None).collect(),
        };
        let (mut changes, mut told, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for ((key, change, said), found) in decide_all(slots, decide)?.into_iter().zip(found) {
            left.push(Left::by(act, &key, &change, found));
            changes.push((key, change));
            told.push(said);
        }
        if let [(key, change)] = &changes[..] {
            self.write(act, &self.place(key), change)?;
            changes.clear();
        }
        Ok(Decided {
            guards: Arc::new(guards),
            changes,
            told,
            left,
        })
    }

    /// Writes what was decided, several keys at once: their syncs together take little longer than
    /// one alone. Gives the first error once all are done.
    async fn write_all<T>(
        self: &Arc<Self>,
        act: Act,
        decided: Decided<T>,
    ) -> Result<Vec<T>, Error> {
        let Decided {
            guards,
            mut changes,
            told,
            left: _,
        } = decided;
        let share = changes.len().div_ceil(SYNCS_AT_ONCE).max(1);
        let mut writing = Vec::new();
        while !changes.is_empty() {
            let rest = changes.split_off(share.min(changes.len()));
            let share = std::mem::replace(&mut changes, rest);
            let (inner, guards) = (Arc::clone(self), Arc::clone(&guards));
            writing.push(blocking(move || {
                let written = share
                    .iter()
                    .try_for_each(|(key, change)| inner.write(act, &inner.place(key), change));
                // The last share to be written frees the locks, also where the caller has left.
                drop(guards);
                written
            }));
        }
        drop(guards);
        let mut written = Ok(());
        for share in writing {
            written = written.and(share.await);
        }
        written.map(|()| told)
    }

    /// Writes what becomes of a key. Its guard must be held.
    fn write(&self, act: Act, place: &Place<'_>, change: &Change) -> Result<(), Error> {
        let disk = &*self.disk;
        if let Some(lease) = &change.lease {
            place.write_lease(disk, lease)?;
        }
        match &change.record {
            // The record of a save whose last step failed may be there and not be durable yet.
            RecordChange::Keep if act == Act::Save => place.sync(disk)?,
            RecordChange::Keep => {}
            RecordChange::Save(record) => {
                let record = record.to_json();
                place.write_record(disk, &record)?;
                if let Err(error) = place.remember(disk, &record, false) {
                    tracing::warn!(%error, "the cursor is saved, but not its line of history");
                }
            }
            RecordChange::Remove(line) => {
                // History first: a crash in between leaves the position, never nothing.
                place.remember(disk, line, true)?;
                place.remove_record(disk)?;
            }
        }
        Ok(())
    }

    /// Holds `cursor.lock`. Whoever else holds it is between a read and a rename, so the wait is
    /// short, unless that process was stopped just there.
    fn guard(&self, place: &Place<'_>) -> Result<Guard, Error> {
        let path = place.lock();
        let failed = |error| path_fault::at_path("lock the cursor", &path, error);
        let mut waited = Duration::ZERO;
        let mut pause = Duration::from_micros(100);
        while waited < self.guard_wait {
            if let Some(guard) = self.disk.try_lock(&path).map_err(failed)? {
                return Ok(guard);
            }
            self.observer.clock().park(pause);
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Err(path_fault::locked("lock the cursor", &path, &[&path]))
    }

    /// Makes the folders of all keys, each one's name synced. What an earlier process made and did
    /// not live to sync is synced too.
    fn ensure_folders(&self, places: &[Place<'_>]) -> Result<(), Error> {
        make_folders(&*self.disk, &self.root, 0).map_err(|error| {
            path_fault::at_path("make the checkpoint folder", &self.root, error)
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
            .map_err(|error| path_fault::at_path("make the checkpoint folder", folder, error))
    }

    fn sync(&self, folder: &Path) -> Result<(), Error> {
        self.disk
            .sync_dir(folder)
            .map_err(|error| path_fault::at_path("sync the checkpoint folder", folder, error))
    }
}

/// What an edit does, and the locks under which it was decided.
struct Decided<T> {
    guards: Arc<Vec<Guard>>,
    /// What is still to be written.
    changes: Vec<(CursorKey, Change)>,
    /// What was decided beside each change.
    told: Vec<T>,
    /// What it leaves, for the session to remember.
    left: Vec<Left>,
}

/// The lock of a key, held.
type Guard = Box<dyn Any + Send + Sync>;

/// Two ids may share a folder (`a/b` and `a_b`): they cannot be streamed into one root.
fn check_distinct(places: &[Place<'_>]) -> Result<(), Error> {
    let mut seen: BTreeMap<&Path, &CursorKey> = BTreeMap::new();
    for place in places {
        if let Some(other) = seen.insert(&place.folder, place.key) {
            return Err(key_mismatch(
                place.folder.display().to_string(),
                place.key,
                other,
            ));
        }
    }
    Ok(())
}
