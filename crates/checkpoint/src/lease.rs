//! Leases: one writer a key, proven by a fence.
//!
//! A producer takes the leases of all its keys, in key order, or none. Each key's **fence** grows
//! by one with every take. Every save shows its lease, and the store compares session and fence in
//! the same step as the write, so a producer that slept through its expiry cannot save once
//! another has taken over.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{Bug, Random};
use serde::{Deserialize, Serialize};

use crate::count::{MOST, count};
use crate::error::{Error, config_invalid, lost};
use crate::held::held;
pub use crate::holder::Holder;
use crate::key::CursorKey;

/// How long a lease lasts without renewal, unless the request says otherwise.
pub const DEFAULT_PERIOD: Duration = Duration::from_secs(30);

/// The shortest lease: none could be renewed in time that lasts less.
pub const SHORTEST_PERIOD: Duration = Duration::from_millis(10);

/// The leases that a producer asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseRequest {
    /// Every key of the stream; all are taken, in sorted order, or none.
    pub keys: BTreeSet<CursorKey>,
    /// The producer that asks, as others will see it.
    pub holder: Holder,
    /// How long the lease lasts without renewal; [`DEFAULT_PERIOD`] unless set, and at least
    /// [`SHORTEST_PERIOD`], or it is refused.
    pub period: Duration,
    /// Whether the leases are taken from a living holder, without waiting; off unless set.
    pub take_over: bool,
    /// Whether the store makes again what was deleted of it with all its cursors
    /// (`CHECKPOINT_TABLE_MISSING`); off unless set: it refuses.
    pub gives_up_deleted: bool,
}

impl LeaseRequest {
    /// Asks for all of `keys` for the default period, without taking over.
    pub fn new(keys: impl IntoIterator<Item = CursorKey>, holder: Holder) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            holder,
            period: DEFAULT_PERIOD,
            take_over: false,
            gives_up_deleted: false,
        }
    }

    /// The same request for leases that last `period` without renewal.
    #[must_use]
    pub fn lasting(self, period: Duration) -> Self {
        Self { period, ..self }
    }

    /// The same request, which takes leases from a living holder too, without waiting.
    #[must_use]
    pub fn taking_over(self) -> Self {
        Self {
            take_over: true,
            ..self
        }
    }

    /// The same request, which gives up the cursors that were deleted with the store's tables.
    #[must_use]
    pub fn giving_up_deleted(self) -> Self {
        Self {
            gives_up_deleted: true,
            ..self
        }
    }
}

/// One acquisition: unique for ever, so that two holders are never confused. 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionId(pub(crate) String);

impl SessionId {
    /// A new id of 128 bits out of `random`.
    pub fn new(random: &mut impl Random) -> Self {
        Self(format!("{:016x}{:016x}", random.bits(), random.bits()))
    }

    /// The id as 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The right to save under a set of keys: made by a store, shown at every save.
///
/// Dropping it without [`release`](crate::CheckpointStore::release) is what a crash does: the
/// store learns of it where it can tell.
///
/// # May this lease be taken?
///
/// | the key's lease | its holder | `take_over` | |
/// |---|---|---|---|
/// | never taken, or released | | | taken, next fence |
/// | held | known to be dead | | taken, next fence |
/// | held | alive or unknown, period not over | no | `LEASE_HELD` |
/// | held | alive or unknown, period not over | yes | taken, next fence |
/// | held | alive or unknown, period over | | taken, next fence |
///
/// Death is known at once where the backend can tell: an OS lock (file, SQLite), a session
/// advisory lock (Postgres, in the life of the server in which the lock was taken), a dropped
/// lease (memory). The period is over when the lease was *observed unchanged* for that long by
/// the one who wants it (Postgres: and has expired by the server's clock, too): no two machines'
/// clocks are ever compared.
///
/// An expired lease that nobody took is still its holder's, to renew and to save under.
///
/// The protocol of [`slots`](crate::slots) makes these promises of every store.
pub struct Lease {
    session: SessionId,
    fences: Arc<BTreeMap<CursorKey, u64>>,
    /// By how much all fences are above those, since the store was made again.
    raised: Arc<AtomicU64>,
    period: Duration,
    /// The store's proof of life: dropped with the lease, known only to the store that made it.
    proof: Arc<dyn Any + Send + Sync>,
}

impl Lease {
    /// The lease that a store grants: of these keys with these fences, for a session of its own.
    ///
    /// `proof` is what the store wants to be shown again, and what ends with the lease if
    /// nobody releases it: a lock, a connection, a counter.
    pub fn granted(
        session: SessionId,
        fences: BTreeMap<CursorKey, u64>,
        period: Duration,
        proof: impl Any + Send + Sync,
    ) -> Self {
        Self {
            session,
            fences: Arc::new(fences),
            raised: Arc::default(),
            period,
            proof: Arc::new(proof),
        }
    }

    /// The same lease, whose fences the store raises by a number of its own.
    #[must_use]
    pub(crate) fn raised_by(self, raised: Arc<AtomicU64>) -> Self {
        Self { raised, ..self }
    }

    /// The acquisition that the lease came from.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The keys that the lease is of, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &CursorKey> {
        self.fences.keys()
    }

    /// The fence of one key; `None` if the lease is not of that key.
    pub fn fence(&self, key: &CursorKey) -> Option<u64> {
        let granted = self.fences.get(key)?;
        Some(granted + self.raised.load(Ordering::Acquire))
    }

    /// How long the lease lasts without renewal.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The same lease, for a thread that the store hands the work to: it has ended once all
    /// shares were dropped.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            session: self.session.clone(),
            fences: Arc::clone(&self.fences),
            raised: Arc::clone(&self.raised),
            period: self.period,
            proof: Arc::clone(&self.proof),
        }
    }

    /// The proof that the store put in when it granted the lease.
    ///
    /// # Errors
    /// `CHECKPOINT_CONFIG_INVALID` if the lease is of a store with another kind of proof.
    pub fn proof<T: 'static>(&self) -> Result<&T, Error> {
        self.proof.downcast_ref().ok_or_else(|| {
            config_invalid(
                format!("of lease session {}", self.session.0),
                "another kind of store made the lease",
            )
        })
    }

    /// The fence that a save shows for a key.
    ///
    /// # Errors
    /// `LEASE_LOST` if the lease is not of that key.
    pub fn fence_to_show(&self, key: &CursorKey) -> Result<u64, Error> {
        self.fence(key)
            .ok_or_else(|| lost(key, "it was never taken"))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("session", &self.session.0)
            .field("fences", &self.fences)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

/// A held lease of a key, as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseState {
    /// The producer that took the lease last.
    pub holder: Holder,
    /// The fence of the lease: how often the key was taken.
    pub fence: u64,
    /// When the lease was taken or last renewed, by the holder's (Postgres: the server's) clock.
    pub renewed_at_utc: String,
    /// Whether the holder lives; `None` where the backend cannot tell.
    pub alive: Option<bool>,
}

/// A lease of a key, as it is stored. Its JSON is an object with the fields below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRecord {
    /// The fence of the lease, at most `i64::MAX`; it grows by one with every take of the key.
    #[serde(deserialize_with = "count")]
    pub fence: u64,
    /// The producer that took the lease.
    pub holder: Holder,
    /// How long the lease lasts without renewal, in milliseconds.
    pub period_ms: u64,
    /// Whether the holder gave the lease back.
    pub released: bool,
    /// How often the lease was renewed; from `i64::MAX` it goes on at 0.
    #[serde(deserialize_with = "count")]
    pub renewals: u64,
    /// When the lease was taken or last renewed; shown and never compared.
    pub renewed_at_utc: String,
    /// The acquisition that took the lease.
    pub session: SessionId,
}

impl LeaseRecord {
    /// The lease to store once a request was granted to a session.
    pub fn taken(request: &LeaseRequest, session: &SessionId, fence: u64, now_utc: String) -> Self {
        Self {
            fence,
            holder: request.holder.clone(),
            period_ms: request.period.as_millis() as u64,
            released: false,
            renewals: 0,
            renewed_at_utc: now_utc,
            session: session.clone(),
        }
    }

    /// Counts a renewal at `now_utc`.
    pub fn renew(&mut self, now_utc: String) {
        // All that counts is that it changes.
        self.renewals = (self.renewals + 1) & MOST;
        self.renewed_at_utc = now_utc;
    }

    /// Marks it released if it is still this session's; true if that changed it.
    pub(crate) fn release(&mut self, session: &SessionId) -> bool {
        let is_held = self.session == *session && !self.released;
        self.released |= is_held;
        is_held
    }

    /// The lease as a reader sees it; `None` once it is released. `alive` is what the store knows of
    /// the holder.
    pub fn to_state(&self, alive: Option<bool>) -> Option<LeaseState> {
        (!self.released).then(|| LeaseState {
            holder: self.holder.clone(),
            fence: self.fence,
            renewed_at_utc: self.renewed_at_utc.clone(),
            alive,
        })
    }
}

/// What the backend can say about the holder of a lease that was not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It has ended.
    Dead,
    /// Its period is over.
    Expired,
    /// Neither, as far as anybody can tell.
    Current,
}

/// The table above: whether `stored` may be taken.
///
/// # Errors
/// `LEASE_HELD`, naming the holder.
pub(crate) fn check_free(
    key: &CursorKey,
    stored: Option<&LeaseRecord>,
    take_over: bool,
    evidence: impl FnOnce(&LeaseRecord) -> Evidence,
) -> Result<(), Error> {
    let Some(stored) = stored.filter(|stored| !stored.released) else {
        return Ok(());
    };
    if take_over || evidence(stored) != Evidence::Current {
        return Ok(());
    }
    Err(held(key, &stored.holder))
}

/// The stored lease, if it is still the one shown.
///
/// # Errors
/// `LEASE_LOST`, naming who took it.
pub(crate) fn check_shown(
    key: &CursorKey,
    stored: Option<LeaseRecord>,
    lease: &Lease,
) -> Result<LeaseRecord, Error> {
    let fence = lease.fence_to_show(key)?;
    let Some(stored) = stored else {
        return Err(lost(key, "the store no longer knows it"));
    };
    if Bug::AnyFence.is_planted() {
        return Ok(stored);
    }
    match (stored.session == lease.session, stored.released) {
        (true, false) if stored.fence == fence => Ok(stored),
        (true, _) => Err(lost(key, "it was released")),
        (false, _) => {
            let (taker, taken) = (&stored.holder, stored.fence);
            Err(lost(
                key,
                format!("{taker} took it with fence {taken}, and this one is {fence}"),
            ))
        }
    }
}
