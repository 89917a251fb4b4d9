//! The one protocol of leases and records, over slots.
//!
//! A **slot** is what a store keeps of one key: a lease, a record, and lines of history. What a
//! lease and a record are, and which of them may follow which, is decided here, by functions of
//! one slot without effects; a store reads slots and writes what was decided. So every store
//! answers alike, and a store of one's own is its reads and writes: see [`Slots`].
//!
//! ```text
//! CheckpointStore          decides                             Slots
//! acquire ──► begin ──► take     (lease, record, life) ──┐
//! renew   ────────────► renewed  (lease)                 ├──► edit: lock, read, decide, write
//! save    ────────────► saved    (lease, record)         │
//! reset   ────────────► given up (lease, record)         │
//! release ────────────► released (lease)                 ┘
//! load, lease_state, history ────────────────────────────────► read, lines
//! ```
//!
//! Invariants:
//! - A slot is decided on as it is read under the lock, or in the transaction, that its write is
//!   made in; the evidence of the holder's life is of that moment too.
//! - A decision changes nothing and may be made again: a store that finds that the slot changed
//!   under it reads it anew and asks once more.
//! - All slots of an edit are decided on before one that refuses is told of: a taker watches all
//!   leases for their expiry from its first try on.
//! - All leases are taken, or none. A store that edits several slots together does that by one
//!   edit. Of another they are taken one by one, in the order of the keys, so that of several
//!   takers one has the first; where one refuses, those before it are given back.
//!
//! | act | may be done | writes | line of history |
//! |---|---|---|---|
//! | take | the table of [`lease`](crate::lease) | the lease with the next fence | |
//! | renew | lease shown is the one stored | the lease, one renewal more | |
//! | save | so, and the cursor follows the record | the record, if it is another | the record |
//! | reset | lease shown is the one stored | no record, if there is one | what was given up |
//! | release | | the lease as released, if it is the one shown | |

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::clock::{Clock, SystemClock, utc_text};
use crate::cursor::Cursor;
use crate::error::{Error, ReasonCode};
use crate::key::CursorKey;
use crate::lease::{
    Evidence, Lease, LeaseRecord, LeaseRequest, LeaseState, Observations, SessionId, check_free,
    check_shown,
};
use crate::record::{HistoryEntry, Record, Wire, check_not_foreign, reset_line};
use crate::store::CheckpointStore;

/// What a store does for the protocol: it keeps slots. Whoever implements it has a
/// [`CheckpointStore`].
///
/// # What a store promises
///
/// - **[`edit`](Self::edit) of a slot is one step.** Between the read of a slot and its write
///   nobody else writes it, whichever process: by a lock, a transaction, or a condition on the
///   write. What was written when it returns `Ok` survives a crash.
/// - **Several slots are edited together where it can be done.** A store that writes all slots of
///   an edit or none, whichever refuses, says so ([`all_or_none`](Self::all_or_none)). Of another
///   the protocol takes leases one by one, and gives back what it took where one refuses.
/// - **[`read`](Self::read) and [`lines`](Self::lines) make nothing**: no file, table or object.
/// - **A proof ends with its lease.** [`begin`](Self::begin) makes what shows that the session
///   lives; once the last share of it is dropped, as a crash does, [`Slot::life`] is
///   [`Life::Ended`], or [`Life::Unknown`] where the store cannot tell.
#[async_trait]
pub trait Slots: Debug + Send + Sync + 'static {
    /// What shows that a session lives: a lock, a connection, a counter.
    type Proof: Send + Sync + 'static;

    /// Where the store is, for people: never a secret.
    fn location(&self) -> String;

    /// Who watches leases for this store: one for all handles that share their leases' life.
    fn observer(&self) -> &Observer;

    /// The slot of a key, its default where there is none.
    ///
    /// # Errors
    /// `CHECKPOINT_UNAVAILABLE`, `CHECKPOINT_CONFIG_INVALID`.
    async fn read(&self, key: &CursorKey, needs: Needs) -> Result<Slot, Error>;

    /// The lines of history of a key, newest first, at least `limit` where there are so many.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    async fn lines(&self, key: &CursorKey, limit: usize) -> Result<Vec<String>, Error>;

    /// Starts a session that will take the leases of a request: makes what the store needs for
    /// them (folder, tables), and the session's proof.
    ///
    /// # Errors
    /// As [`read`](Self::read); `CHECKPOINT_KEY_MISMATCH` where two keys have one place.
    async fn begin(
        &self,
        session: &SessionId,
        request: &LeaseRequest,
    ) -> Result<Self::Proof, Error>;

    /// Whether an edit of several slots writes all or none; `proof` is that of the session that
    /// asks.
    fn all_or_none(&self, _proof: &Self::Proof) -> bool {
        true
    }

    /// Reads the slots of keys, asks `decide` about each ([`decide_all`]), and writes what it says.
    /// Gives what `decide` gave beside each change, in the order of the keys.
    ///
    /// A store may ask about the slot as it last wrote it, where its write is refused if the slot
    /// changed since; then it reads the slot and asks again.
    ///
    /// # Errors
    /// As [`read`](Self::read); what `decide` fails with.
    async fn edit<T, F>(
        &self,
        act: Act,
        proof: &Arc<Self::Proof>,
        keys: Vec<CursorKey>,
        decide: F,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static;

    /// Notes whether a stored lease may name the session of a proof from now on.
    fn set_named(&self, _proof: &Self::Proof, _is_named: bool) {}

    /// Notes that the leases of a session were renewed.
    fn renewed(&self, _proof: &Self::Proof) {}
}

/// What is done to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its lease is taken.
    Take,
    /// Its lease is renewed.
    Renew,
    /// Its record is saved.
    Save,
    /// Its record is given up.
    Reset,
    /// Its lease is given back.
    Release,
}

impl Act {
    /// What is attempted, for error messages: "save the cursor".
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Take => "take the lease",
            Self::Renew => "renew the lease",
            Self::Save => "save the cursor",
            Self::Reset => "reset the cursor",
            Self::Release => "release the lease",
        }
    }

    /// What a slot is decided on by.
    pub const fn needs(self) -> Needs {
        Needs {
            lease: true,
            life: matches!(self, Self::Take),
            record: matches!(self, Self::Take | Self::Save | Self::Reset),
        }
    }
}

/// What is needed of a slot; a store may leave the rest of it at its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Its lease.
    pub lease: bool,
    /// Whether the session that its lease names lives.
    pub life: bool,
    /// Its record.
    pub record: bool,
}

/// What is stored for a key.
#[derive(Debug)]
pub struct Slot {
    /// The lease, if it was ever taken; `CHECKPOINT_CORRUPT` where it cannot be read.
    pub lease: Result<Option<LeaseRecord>, Error>,
    /// The record, if there is one and it is needed.
    pub record: Option<StoredRecord>,
    /// What the store knows of the session that the lease names.
    pub life: Life,
    /// A number that changes with every renewal of the lease.
    pub stamp: u64,
    /// Whether the lease is over once it was seen unchanged for its period: `false` while the
    /// store's own clock says that the period is not over.
    pub may_expire: bool,
}

impl Slot {
    /// A slot with a lease that counts its own renewals.
    pub fn new(lease: Option<LeaseRecord>, life: Life, record: Option<StoredRecord>) -> Self {
        Self {
            stamp: lease.as_ref().map_or(0, |lease| lease.renewals),
            lease: Ok(lease),
            record,
            life,
            may_expire: true,
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new(None, Life::Unknown, None)
    }
}

/// What a store knows of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It lives.
    Living,
    /// It has ended.
    Ended,
    /// The store cannot tell.
    Unknown,
}

impl Life {
    /// Whether the session lives, as a [`LeaseState`] says it.
    pub const fn is_alive(self) -> Option<bool> {
        match self {
            Self::Living => Some(true),
            Self::Ended => Some(false),
            Self::Unknown => None,
        }
    }
}

/// A stored record: its text, and what it says or why it is refused.
#[derive(Debug)]
pub struct StoredRecord {
    /// The text as it is stored, whole or damaged: what a reset keeps in history.
    pub text: String,
    /// `CHECKPOINT_CORRUPT`, `CHECKPOINT_VERSION_UNSUPPORTED` or `CHECKPOINT_KEY_MISMATCH` where
    /// it is refused.
    pub record: Result<Record, Error>,
}

impl StoredRecord {
    /// Reads the JSON of a record. `place` is where it is stored, for error messages.
    pub fn parse(bytes: impl AsRef<[u8]>, key: &CursorKey, place: &str) -> Self {
        let bytes = bytes.as_ref();
        Self {
            record: Record::parse(bytes, key, place),
            text: String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// What is to be written into a slot; the default changes nothing.
#[derive(Debug, Default)]
pub struct Change {
    /// The lease to store; `None` leaves the lease as it is.
    pub lease: Option<LeaseRecord>,
    /// What becomes of the record.
    pub record: RecordChange,
}

/// What becomes of a record.
#[derive(Debug, Default)]
pub enum RecordChange {
    /// It stays as it is.
    #[default]
    Keep,
    /// Another takes its place; its JSON is the line of history too.
    Save(NewRecord),
    /// It is given up, and this line of history says so. Written before the record is removed, so
    /// that a crash in between leaves the position.
    Remove(String),
}

/// A record to store.
#[derive(Debug)]
pub struct NewRecord(pub(crate) Box<Wire>);

impl NewRecord {
    /// The JSON to store.
    pub fn to_json(&self) -> String {
        self.0.to_json()
    }
}

impl Change {
    fn of_lease(lease: LeaseRecord) -> Self {
        Self {
            lease: Some(lease),
            ..Self::default()
        }
    }

    fn of_record(record: RecordChange) -> Self {
        Self {
            record,
            ..Self::default()
        }
    }
}

/// Asks about every slot, also behind one that refuses; what each is changed to, or the first
/// refusal.
///
/// # Errors
/// What `decide` fails with.
pub fn decide_all<T>(
    slots: impl IntoIterator<Item = (CursorKey, Slot)>,
    decide: &impl Fn(&CursorKey, Slot) -> Result<(Change, T), Error>,
) -> Result<Vec<(CursorKey, Change, T)>, Error> {
    let slots = slots.into_iter();
    let decided: Vec<_> = slots
        .map(|(key, slot)| {
            let (change, told) = decide(&key, slot)?;
            Ok((key, change, told))
        })
        .collect();
    decided.into_iter().collect()
}

/// The time, and how long each lease has been seen unchanged. Clones share what was seen.
#[derive(Clone, Debug)]
pub struct Observer {
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<Observations>>,
}

impl Default for Observer {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock::default()))
    }
}

impl Observer {
    /// An observer that has seen nothing yet; leases expire by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            seen: Arc::default(),
        }
    }

    fn now_utc(&self) -> String {
        utc_text(self.clock.utc_now())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Observations> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the holder of a lease, which is seen once more.
    fn evidence(&self, key: &CursorKey, lease: &LeaseRecord, slot: &Seen) -> Evidence {
        let now = self.clock.monotonic();
        let stands_still = self.seen().is_expired(key, lease, slot.stamp, now);
        match slot.life {
            Life::Ended => Evidence::Dead,
            _ if stands_still && slot.may_expire => Evidence::Expired,
            _ => Evidence::Current,
        }
    }
}

/// What a slot says of the holder of its lease.
struct Seen {
    life: Life,
    stamp: u64,
    may_expire: bool,
}

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
    let seen = Seen {
        life: slot.life,
        stamp: slot.stamp,
        may_expire: slot.may_expire,
    };
    check_free(key, stored.as_ref(), request.take_over || is_own, |lease| {
        observer.evidence(key, lease, &seen)
    })?;
    let record = match slot.record.map(|stored| stored.record) {
        Some(Err(error)) if error.code() == ReasonCode::KeyMismatch => return Err(error),
        // Damaged or newer: `load` will refuse it, and `reset` may give it up.
        Some(Err(_)) | None => None,
        Some(Ok(record)) => Some(record),
    };
    let saved_under = record.as_ref().and_then(|record| record.fence);
    let taken_under = stored.map(|lease| lease.fence);
    let fence = saved_under.max(taken_under).unwrap_or(0) + 1;
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
        let session = SessionId::new();
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
            self.observer().seen().forget(&key);
            adopted.extend(foreign.map(|record| (key.clone(), record)));
            fences.insert(key, fence);
        }
        let granted = Granted { proof, adopted };
        Ok(Lease::granted(session, fences, request.period, granted))
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

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let proof = &granted::<S::Proof>(lease)?.proof;
        let keys = lease.keys().cloned().collect();
        give_back(self, lease.session(), proof, keys).await?;
        self.set_named(proof, false);
        Ok(())
    }
}
