//! The one retry policy for object storage: what is tried again, how often, how long.
//!
//! Tried again: reset connections, time-outs, truncated bodies, 408, 429 and 5xx. Final
//! at once: a missing object, refused credentials, a failed precondition. Delays grow
//! exponentially with full jitter, so that many readers do not return in step.

use std::time::Duration;

use model::Backoff;

/// How often and how patiently a transient fault is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// The longest possible wait after the first fault; doubled with each.
    pub base_delay: Duration,
    /// The longest possible wait.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    /// 8 attempts over at most 20 seconds of waiting.
    fn default() -> Self {
        Self {
            max_attempts: 8,
            base_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// The wait before the next attempt after `failed` failed ones (1 or more), or none if
    /// they are used up. `jitter` in 0..1 is drawn by the caller.
    pub(crate) fn delay_after(&self, failed: u32, jitter: f64) -> Option<Duration> {
        if failed >= self.max_attempts {
            return None;
        }
        let first = self.base_delay.min(self.max_delay);
        let longest = Backoff::new(first, self.max_delay).longest(failed);
        Some(longest.mul_f64(jitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end_with_the_attempts() {
        let policy = RetryPolicy {
            max_attempts: 5,
            base_delay: Duration::from_millis(100),
            max_delay: Duration::from_millis(300),
        };
        let waits: Vec<_> = (1..=5)
            .map(|failed| policy.delay_after(failed, 1.0))
            .collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(waits, [ms(100), ms(200), ms(300), ms(300), None]);
        assert_eq!(
            policy.delay_after(2, 0.5),
            ms(100),
            "jitter shortens the wait"
        );
    }

    #[test]
    fn a_single_attempt_never_waits() {
        let once = RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        };
        assert_eq!(once.delay_after(1, 1.0), None);
    }
}
