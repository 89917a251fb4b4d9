//! What a store goes by: the time, chance, and how long each lease has been seen unchanged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use durable::{BootClock, SystemRandom};
use model::{Clock, EventTime, Random, SharedClock, SharedRandom};

use crate::key::CursorKey;
use crate::lease::{LeaseRecord, SessionId};

/// The clock and the chance of a store, and how long each lease has been seen unchanged by them.
/// Clones share what was seen.
#[derive(Clone, Debug)]
pub struct Observer {
    clock: SharedClock,
    random: SharedRandom,
    seen: Arc<Mutex<Observations>>,
}

/// Goes by the machine's clock that counts the time it sleeps, and by the machine's chance.
impl Default for Observer {
    fn default() -> Self {
        Self::new(BootClock, SystemRandom::default())
    }
}

impl Observer {
    /// An observer that has seen nothing yet. Leases expire by `clock`; the ids of sessions and
    /// the differences between pauses come from `random`.
    pub fn new(clock: impl Clock, random: impl Random + 'static) -> Self {
        Self {
            clock: SharedClock::new(clock),
            random: SharedRandom::new(random),
            seen: Arc::default(),
        }
    }

    /// The clock that leases expire by.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The time of the clock as records and leases spell it: RFC 3339 in UTC with six fractional
    /// digits and `Z`.
    pub fn now_utc(&self) -> String {
        EventTime::of_wall(self.clock.wall())
            .unwrap_or(EventTime::EPOCH)
            .to_string()
    }

    /// A new id for a session, or for anything else that happens once.
    pub fn new_session(&self) -> SessionId {
        SessionId::new(&mut self.random.clone())
    }

    /// A random number in `0.0..1.0`, for the differences between pauses.
    pub fn chance(&self) -> f64 {
        self.random.clone().unit()
    }

    fn seen(&self) -> MutexGuard<'_, Observations> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees a lease once more: true once it has stood unchanged for its own period. `stamp`
    /// changes with every renewal.
    pub(crate) fn stands_still(&self, key: &CursorKey, lease: &LeaseRecord, stamp: u64) -> bool {
        self.seen().is_expired(key, lease, stamp, self.clock.now())
    }

    /// Forgets a key whose lease was taken.
    pub(crate) fn forget(&self, key: &CursorKey) {
        self.seen().seen.remove(key);
    }
}

/// How long each lease has been seen unchanged: expiry without comparing clocks.
#[derive(Debug, Default)]
struct Observations {
    seen: BTreeMap<CursorKey, (SessionId, u64, Instant)>,
}

impl Observations {
    /// Notes the lease at `now`; true once it has stood unchanged for its own period. `stamp`
    /// changes with every renewal.
    fn is_expired(
        &mut self,
        key: &CursorKey,
        stored: &LeaseRecord,
        stamp: u64,
        now: Instant,
    ) -> bool {
        match self.seen.get(key) {
            Some((session, seen, since)) if *session == stored.session && *seen == stamp => {
                now.saturating_duration_since(*since) >= Duration::from_millis(stored.period_ms)
            }
            _ => {
                self.seen
                    .insert(key.clone(), (stored.session.clone(), stamp, now));
                false
            }
        }
    }
}
