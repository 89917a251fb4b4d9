//! The one protocol of leases and records: every [`Slots`] is a [`CheckpointStore`].
//!
//! What an act does to a slot is decided by functions of one slot without effects; the table and
//! the invariants are those of [`slots`](crate::slots).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::count::next_count;
use crate::cursor::Cursor;
use crate::error::{Error, ReasonCode};
use crate::key::CursorKey;
use crate::lease::{
    Evidence, Lease, LeaseRecord, LeaseRequest, LeaseState, SHORTEST_PERIOD, SessionId, check_free,
    check_shown,
};
use crate::observer::Observer;
use crate::record::{HistoryEntry, Record, Wire, check_not_foreign, reset_line};
use crate::slots::{Act, Change, Life, Needs, NewRecord, RecordChange, Slot, Slots};
use crate::store::CheckpointStore;

/// What a lease of the protocol proves.
struct Granted<P> {
    proof: Arc<P>,
    /// Each key's record as the lease found it, if the existing producer wrote it.
    adopted: BTreeMap<CursorKey, Record>,
}

fn granted<P: 'static>(lease: &Lease) -> Result<&Granted<P>, Error> {
    lease.proof()
}

/// A lease that was taken.
struct Taken {
    key: CursorKey,
    fence: u64,
    /// The record, if the existing producer wrote it.
    foreign: Option<Record>,
}

/// Decides whether the lease of a slot may be taken, and with what fence.
fn take(
    key: &CursorKey,
    slot: Slot,
    request: &LeaseRequest,
    session: &SessionId,
    observer: &Observer,
) -> Result<(Change, Taken), Error> {
    let stored = match slot.lease {
        // Nobody can be named, so only a deliberate take-over goes on.
        Err(error) if request.take_over && error.code() == ReasonCode::Corrupt => None,
        lease => lease?,
    };
    // Taken before by this very call, whose answer was lost.
    let is_own = stored
        .as_ref()
        .is_some_and(|lease| lease.session == *session);
    let (life, may_expire) = (slot.life, slot.may_expire);
    check_free(key, stored.as_ref(), request.take_over || is_own, |lease| {
        // Noted whatever else is known of the holder: a period counts from the first look.
        let stands_still = observer.stands_still(key, lease, slot.stamp);
        match life {
            Life::Ended => Evidence::Dead,
            _ if stands_still && may_expire => Evidence::Expired,
            _ => Evidence::Current,
        }
    })?;
    let record = match slot.record.map(|stored| stored.record) {
        Some(Err(error)) if error.code() == ReasonCode::KeyMismatch => return Err(error),
        // Damaged or newer: `load` will refuse it, and `reset` may give it up.
        Some(Err(_)) | None => None,
        Some(Ok(record)) => Some(record),
    };
    let saved_under = record.as_ref().and_then(|record| record.fence);
    let taken_under = stored.map(|lease| lease.fence);
    let fence = next_count(saved_under.max(taken_under).unwrap_or(0), key)?;
    let lease = LeaseRecord::taken(request, session, fence, observer.now_utc());
    let taken = Taken {
        key: key.clone(),
        fence,
        foreign: record.filter(Record::is_foreign),
    };
    Ok((Change::of_lease(lease), taken))
}

/// Decides on a save: the cursor must follow the record, under the lease shown.
fn save(
    key: &CursorKey,
    slot: Slot,
    cursor: &Cursor,
    lease: &Lease,
    adopted: &BTreeMap<CursorKey, Record>,
    now_utc: impl FnOnce() -> String,
) -> Result<Change, Error> {
    check_shown(key, slot.lease?, lease)?;
    let stored = slot.record.map(|stored| stored.record).transpose()?;
    check_not_foreign(key, stored.as_ref(), adopted)?;
    let next = Wire::following(stored.as_ref(), key, cursor, lease, now_utc)?;
    Ok(next.map_or_else(Change::default, |wire| {
        Change::of_record(RecordChange::Save(NewRecord(Box::new(wire))))
    }))
}

/// Decides on a reset: the record goes to history as it is, under the lease shown.
fn reset(
    key: &CursorKey,
    slot: Slot,
    lease: &Lease,
    now_utc: impl FnOnce() -> String,
) -> Result<Change, Error> {
    check_shown(key, slot.lease?, lease)?;
    Ok(slot.record.map_or_else(Change::default, |stored| {
        let line = reset_line(now_utc(), stored.text.as_bytes());
        Change::of_record(RecordChange::Remove(line))
    }))
}

/// Takes leases one by one, in the order of the keys, or none.
async fn take_one_by_one<S: Slots, T: Send + 'static>(
    store: &S,
    session: &SessionId,
    proof: &Arc<S::Proof>,
    keys: Vec<CursorKey>,
    decide: impl Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static,
) -> Result<Vec<T>, Error> {
    let decide = Arc::new(decide);
    // All are looked at before any is taken: a silent holder is outlasted on all of its keys at
    // once, not on one after the other.
    let looks = Arc::clone(&decide);
    let look = move |key: &CursorKey, slot| {
        looks(key, slot)?;
        Ok((Change::default(), ()))
    };
    store.edit(Act::Take, proof, keys.clone(), look).await?;
    let mut taken = Vec::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        let decide = Arc::clone(&decide);
        let take = move |key: &CursorKey, slot| decide(key, slot);
        match store.edit(Act::Take, proof, vec![key.clone()], take).await {
            Ok(this) => taken.extend(this),
            Err(error) => {
                // Of a store that gave no clear answer, the last one may be taken too.
                let end = at + usize::from(error.is_retryable());
                // What cannot be given back now is free after a period.
                let _ = give_back(store, session, proof, keys[..end].to_vec()).await;
                return Err(error);
            }
        }
    }
    Ok(taken)
}

/// Marks the leases of keys released that are still the session's.
async fn give_back<S: Slots>(
    store: &S,
    session: &SessionId,
    proof: &Arc<S::Proof>,
    keys: Vec<CursorKey>,
) -> Result<(), Error> {
    let session = session.clone();
    let decide = move |_: &CursorKey, slot: Slot| {
        let stored = slot.lease?;
        let released = stored.and_then(|mut lease| lease.release(&session).then_some(lease));
        Ok((released.map_or_else(Change::default, Change::of_lease), ()))
    };
    store
        .edit(Act::Release, proof, keys, decide)
        .await
        .map(drop)
}

#[async_trait]
impl<S: Slots> CheckpointStore for S {
    fn place(&self) -> String {
        self.location()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        let needs = Needs {
            lease: false,
            life: false,
            record: true,
        };
        let slot = self.read(key, needs).await?;
        slot.record.map(|stored| stored.record).transpose()
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        let needs = Needs {
            lease: true,
            life: true,
            record: false,
        };
        let slot = self.read(key, needs).await?;
        let is_alive = slot.life.is_alive();
        Ok(slot.lease?.and_then(|lease| lease.to_state(is_alive)))
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let lines = self.lines(key, limit).await?;
        let entries = lines
            .iter()
            .filter_map(|line| HistoryEntry::parse(line, key));
        Ok(entries.take(limit).collect())
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        if request.period < SHORTEST_PERIOD {
            let what = format!(
                "A lease of {:?} ends before it can be renewed",
                request.period
            );
            let advice = "Ask for one of at least 10 ms; 30 s is the usual period.";
            return Err(Error::new(ReasonCode::ConfigInvalid, what).advise(advice));
        }
        let session = self.observer().new_session();
        let proof = Arc::new(self.begin(&session, request).await?);
        // Before its first lease is stored: from then on its end must be seen.
        self.set_named(&proof, true);
        let keys = request.keys.iter().cloned().collect();
        let (asked, taker) = (request.clone(), session.clone());
        let observer = self.observer().clone();
        let decide = move |key: &CursorKey, slot| take(key, slot, &asked, &taker, &observer);
        let taken = if self.all_or_none(&proof) {
            self.edit(Act::Take, &proof, keys, decide).await
        } else {
            take_one_by_one(self, &session, &proof, keys, decide).await
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                // What a store that is away wrote is not known.
                if !error.is_retryable() {
                    self.set_named(&proof, false);
                }
                return Err(error);
            }
        };
        let (mut fences, mut adopted) = (BTreeMap::new(), BTreeMap::new());
        for Taken {
            key,
            fence,
            foreign,
        } in taken
        {
            self.observer().forget(&key);
            adopted.extend(foreign.map(|record| (key.clone(), record)));
            fences.insert(key, fence);
        }
        let raised = self.fences_raised(&proof);
        let granted = Granted { proof, adopted };
        let lease = Lease::granted(session, fences, request.period, granted);
        Ok(lease.raised_by(raised.unwrap_or_default()))
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let proof = &granted::<S::Proof>(lease)?.proof;
        let keys = lease.keys().cloned().collect();
        let (shown, observer) = (lease.share(), self.observer().clone());
        let decide = move |key: &CursorKey, slot: Slot| {
            let mut renewed = check_shown(key, slot.lease?, &shown)?;
            renewed.renew(observer.now_utc());
            Ok((Change::of_lease(renewed), ()))
        };
        self.edit(Act::Renew, proof, keys, decide).await?;
        self.renewed(proof);
        Ok(())
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        let proof = &granted::<S::Proof>(lease)?.proof;
        for key in cursors.keys() {
            lease.fence_to_show(key)?;
        }
        let keys = cursors.keys().cloned().collect();
        let (shown, cursors) = (lease.share(), cursors.clone());
        let observer = self.observer().clone();
        let decide = move |key: &CursorKey, slot| {
            let adopted = &granted::<S::Proof>(&shown)?.adopted;
            let now = || observer.now_utc();
            let change = save(key, slot, &cursors[key], &shown, adopted, now)?;
            Ok((change, ()))
        };
        self.edit(Act::Save, proof, keys, decide).await.map(drop)
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        let proof = &granted::<S::Proof>(lease)?.proof;
        lease.fence_to_show(key)?;
        let (shown, observer) = (lease.share(), self.observer().clone());
        let decide = move |key: &CursorKey, slot| {
            let change = reset(key, slot, &shown, || observer.now_utc())?;
            Ok((change, ()))
        };
        let edited = self.edit(Act::Reset, proof, vec![key.clone()], decide);
        edited.await.map(drop)
    }

    async fn server_time(&self) -> Result<Option<SystemTime>, Error> {
        Slots::server_time(self).await
    }

    fn times_remade(&self) -> u64 {
        self.remakes()
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let proof = &granted::<S::Proof>(lease)?.proof;
        let keys = lease.keys().cloned().collect();
        give_back(self, lease.session(), proof, keys).await?;
        self.set_named(proof, false);
        Ok(())
    }
}
