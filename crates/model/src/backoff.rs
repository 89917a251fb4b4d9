//! Waits between attempts: doubled up to a maximum, with jitter, and pure.

use std::time::Duration;

/// The waits between attempts of one operation: doubled after each failure, up to a longest one.
///
/// ```
/// use std::time::Duration;
/// use model::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
/// let longest: Vec<u128> = (1..=5).map(|failed| backoff.longest(failed).as_millis()).collect();
/// assert_eq!(longest, [100, 200, 400, 800, 1_000]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    last: Duration,
}

impl Backoff {
    /// Waits that begin with `first` and double up to `last`, or stay at `first` if `last` is less.
    pub const fn new(first: Duration, last: Duration) -> Self {
        Self { first, last }
    }

    /// The wait after `failed` attempts (at least 1), without jitter.
    pub fn longest(&self, failed: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
        let last = self.last.max(self.first);
        self.first.saturating_mul(doubled).min(last)
    }

    /// The wait after `failed` attempts (at least 1), between half of the longest and all of
    /// it, by a random number in `0.0..1.0`: many who failed together do not come back
    /// together.
    pub fn jittered(&self, failed: u32, random: f64) -> Duration {
        let longest = self.longest(failed);
        longest / 2 + (longest / 2).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_failures_overflows() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
        assert!(backoff.longest(u32::MAX) <= Duration::MAX);
        assert_eq!(backoff.longest(0), backoff.longest(1));
    }

    #[test]
    fn jitter_keeps_between_half_and_all_of_the_wait() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for (random, millis) in [(-1.0, 100), (0.0, 100), (0.5, 150), (1.0, 200), (7.0, 200)] {
            let wait = backoff.jittered(2, random);
            assert_eq!(wait, Duration::from_millis(millis), "{random}");
        }
    }
}
