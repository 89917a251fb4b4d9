//! A root that somebody deleted under a session, made again from what the session remembers.
//!
//! Only where the store was told that its root may be made again, and the folder above is the same
//! as when the session began. Each lease is created with a fence above the one that was deleted,
//! and never replaced: what stands there by then was written by another producer, and the session
//! has lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use durable::{FileId, Home};

use super::place::Place;
use super::{Guard, Inner};
use crate::error::{Error, lost, unavailable};
use crate::key::CursorKey;
use crate::lease::LeaseRecord;
use crate::path_fault;
use crate::sessions::SessionLock;
use crate::slots::{Act, Change, RecordChange};

/// What a lease of a [`FileStore`](super::FileStore) proves.
#[derive(Debug)]
pub struct Session {
    pub(super) lock: SessionLock,
    /// Where the root lies, if it may be made again.
    home: Option<Home>,
    /// By how much the fences are above those that were granted.
    raised: Arc<AtomicU64>,
    known: Mutex<Known>,
    /// When the edit began that took or renewed the leases last.
    renewed: Mutex<Instant>,
    /// Held by the one that makes the root again.
    remaking: Mutex<()>,
}

/// What a session knows of the root.
#[derive(Debug, Default)]
struct Known {
    root: Option<FileId>,
    keys: BTreeMap<CursorKey, Kept>,
}

/// What stands in the folder of a key, as the session left it.
#[derive(Debug, Clone)]
struct Kept {
    lease: LeaseRecord,
    record: Option<String>,
}

/// What an edit leaves in the folder of a key.
pub(super) struct Left {
    key: CursorKey,
    lease: Option<LeaseRecord>,
    record: RecordLeft,
}

/// What an edit leaves of a record.
enum RecordLeft {
    /// The record as it was.
    AsItWas,
    /// This text; `None` where there is no record any more.
    Text(Option<String>),
}

impl Left {
    /// `found` is the record as a take or a save finds it.
    pub(super) fn by(act: Act, key: &CursorKey, change: &Change, found: Option<String>) -> Self {
        let record = match &change.record {
            RecordChange::Save(record) => RecordLeft::Text(Some(record.to_json())),
            RecordChange::Remove(_) => RecordLeft::Text(None),
            RecordChange::Keep if matches!(act, Act::Take | Act::Save) => RecordLeft::Text(found),
            RecordChange::Keep => RecordLeft::AsItWas,
        };
        Self {
            key: key.clone(),
            lease: change.lease.clone(),
            record,
        }
    }
}

impl Session {
    pub(super) fn new(
        lock: SessionLock,
        home: Option<Home>,
        root: Option<FileId>,
        now: Instant,
    ) -> Self {
        let known = Known {
            root,
            ..Known::default()
        };
        Self {
            lock,
            home,
            raised: Arc::default(),
            known: Mutex::new(known),
            renewed: Mutex::new(now),
            remaking: Mutex::default(),
        }
    }

    /// Whether the root may be made again if it is deleted.
    pub(super) fn has_home(&self) -> bool {
        self.home.is_some()
    }

    pub(super) fn raised(&self) -> &Arc<AtomicU64> {
        &self.raised
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what an edit left that began at `began`.
    pub(super) fn remember(&self, act: Act, left: Vec<Left>, began: Instant) {
        if matches!(act, Act::Take | Act::Renew) {
            *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = began;
        }
        let mut known = self.known();
        for Left { key, lease, record } in left {
            if act == Act::Release {
                known.keys.remove(&key);
                continue;
            }
            if let Some(kept) = known.keys.get_mut(&key) {
                // An edit from before the root was made again knows a lower fence.
                if let Some(lease) = lease
                    && lease.fence >= kept.lease.fence
                {
                    kept.lease = lease;
                }
                if let RecordLeft::Text(text) = record {
                    kept.record = text;
                }
            } else if let Some(lease) = lease {
                let record = match record {
                    RecordLeft::Text(text) => text,
                    RecordLeft::AsItWas => None,
                };
                known.keys.insert(key, Kept { lease, record });
            }
        }
    }
}

impl Inner {
    /// Makes the root again, if it was deleted under the session; whether it was.
    ///
    /// # Errors
    /// `LEASE_LOST` where another producer took a key since; `CHECKPOINT_UNAVAILABLE` while it is
    /// being deleted.
    pub(super) fn remake_if_deleted(&self, session: &Session) -> Result<bool, Error> {
        let alone = session.remaking.lock();
        let _alone = alone.unwrap_or_else(PoisonError::into_inner);
        let Some(home) = session
            .home
            .as_ref()
            .filter(|home| home.may_be_made_again())
        else {
            return Ok(false);
        };
        let (root, kept) = {
            let known = session.known();
            (known.root, known.keys.clone())
        };
        let places: Vec<Place<'_>> = kept.keys().map(|key| self.place(key)).collect();
        let is_same = FileId::of(&self.root).is_ok_and(|id| id == root);
        if is_same {
            return self.check_whole(&places);
        }
        self.check_still_held(session, &kept)?;
        self.ensure_folders(&places)?;
        session.lock.keep();
        let guards: Vec<Guard> = places
            .iter()
            .map(|place| self.guard(place))
            .collect::<Result<_, _>>()?;
        for place in &places {
            let Some(own) = kept.get(place.key) else {
                continue;
            };
            let lease = place.lease(&*self.disk)?;
            if let Some(taken) = lease.filter(|lease| lease.session != own.lease.session) {
                let taker = taken.holder;
                return Err(lost(
                    place.key,
                    format!("the root was deleted, and {taker} took it"),
                ));
            }
            // Its own it may find: of a try that came half-way.
            let record = place.record(&*self.disk)?.map(|record| record.text);
            if record.is_some() && record != own.record {
                return Err(lost(
                    place.key,
                    "the root was deleted, and another wrote a cursor there",
                ));
            }
        }
        let mut made = kept.clone();
        for place in &places {
            let Some(kept) = made.get_mut(place.key) else {
                continue;
            };
            // The record first: a crash in between leaves a position, and never a lease without.
            if let Some(record) = &kept.record {
                place.write_record(&*self.disk, record)?;
            }
            kept.lease.fence += 1;
            if place.lease(&*self.disk)?.is_some() {
                place.write_lease(&*self.disk, &kept.lease)?;
            } else if !place.create_lease(&*self.disk, &kept.lease)? {
                return Err(lost(place.key, "the root was deleted, and another took it"));
            }
        }
        let mut known = session.known();
        (known.root, known.keys) = (FileId::of(&self.root).unwrap_or_default(), made);
        session.raised.fetch_add(1, Ordering::AcqRel);
        self.times_remade.fetch_add(1, Ordering::Relaxed);
        drop(guards);
        tracing::warn!(
            runs_root = %home.folder().display(),
            "the runs root was deleted; the cursors of this run were written there again"
        );
        Ok(true)
    }

    /// Refuses a session whose leases have run out: another may have taken them, and moved the
    /// cursors on, before the root was deleted.
    fn check_still_held(
        &self,
        session: &Session,
        kept: &BTreeMap<CursorKey, Kept>,
    ) -> Result<(), Error> {
        let renewed = *session
            .renewed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let age = self.observer.clock().since(renewed);
        let mut overdue = kept.iter();
        match overdue.find(|(_, kept)| age >= Duration::from_millis(kept.lease.period_ms)) {
            Some((key, _)) => Err(lost(
                key,
                "the root was deleted after the lease had run out",
            )),
            None => Ok(()),
        }
    }

    /// A root whose leases are not all there is being deleted: whoever does that needs a moment.
    fn check_whole(&self, places: &[Place<'_>]) -> Result<bool, Error> {
        for place in places {
            if place.lease(&*self.disk)?.is_none() {
                let advice = "Its files are deleted just now: bring them back, or wait";
                let folder = place.folder.display().to_string();
                return Err(unavailable("find the lease", folder, advice));
            }
        }
        Ok(false)
    }

    /// The home of the root, if it may be made again.
    pub(super) fn home(&self) -> Result<Option<Home>, Error> {
        let Some(folder) = &self.made_again_with else {
            return Ok(None);
        };
        Home::of(folder)
            .map_err(|error| path_fault::at_path("look at the runs root", folder, error))
    }
}
