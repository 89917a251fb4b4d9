//! Randomness, injected, so that one seed gives one run.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A source of random numbers, for ids and for jitter; not for secrets.
pub trait Random: Send {
    /// A number of which every value is as likely as any other.
    fn bits(&mut self) -> u64;

    /// A number in `0.0..1.0`.
    fn unit(&mut self) -> f64 {
        // The 53 bits that a double holds.
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A source of random numbers of any kind, shared: each number goes to one of its sharers.
#[derive(Clone)]
pub struct SharedRandom(Arc<Mutex<dyn Random>>);

impl SharedRandom {
    /// Shares a source.
    pub fn new(random: impl Random + 'static) -> Self {
        Self(Arc::new(Mutex::new(random)))
    }
}

impl Random for SharedRandom {
    fn bits(&mut self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bits()
    }
}

impl fmt::Debug for SharedRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRandom")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Constant(u64);

    impl Random for Constant {
        fn bits(&mut self) -> u64 {
            self.0
        }
    }

    #[test]
    fn a_unit_is_at_least_zero_and_below_one() {
        assert_eq!(Constant(0).unit().to_bits(), 0.0_f64.to_bits());
        assert!(Constant(u64::MAX).unit() < 1.0);
    }
}
