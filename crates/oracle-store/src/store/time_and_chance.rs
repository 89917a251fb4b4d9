//! The clock and the randomness that a store goes by, injected.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use durable::{SystemRandom, TokioClock};
use model::{Random, SharedClock};

/// What waits between retries go by, and names that must be new. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TimeAndChance {
    clock: SharedClock,
    random: Arc<Mutex<dyn Random>>,
}

impl TimeAndChance {
    pub(crate) fn new(clock: SharedClock, random: impl Random + 'static) -> Self {
        Self {
            clock,
            random: Arc::new(Mutex::new(random)),
        }
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// A number of which every value is as likely as any other.
    pub(crate) fn bits(&self) -> u64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.bits()
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&self) -> f64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.unit()
    }
}

impl Default for TimeAndChance {
    /// Those of this machine.
    fn default() -> Self {
        Self::new(SharedClock::new(TokioClock), SystemRandom::default())
    }
}

impl fmt::Debug for TimeAndChance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TimeAndChance")
    }
}
