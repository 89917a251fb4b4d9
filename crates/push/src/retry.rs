//! How long to go on trying: the retry policy, as a function of what happened.
//!
//! **What is retried.** Every fault short of a whole answer ([`PushFault`](super::PushFault)) and
//! the statuses 408 and 5xx are *failures*. 429 and 503 are *backpressure*: the gate is there
//! and asks for less.
//!
//! **Why it is safe.** An event has one id, by which the gate knows a repeat.
//!
//! **How long.**
//!
//! | after | wait | until |
//! |---|---|---|
//! | failure n < `max_attempts` | random in 0 … min(`max_delay`, `base_delay` · 2ⁿ⁻¹) | |
//! | a later failure | `max_delay` | failing for `give_up_after` |
//! | 503 | `retry-after` if it asks for a wait, else as after failure n, n = backpressure so far | failing for `give_up_after` |
//! | 429 | the same | for ever |
//!
//! The randomness ("full jitter") keeps lanes that failed together from coming back together. A
//! gate is *failing* from the first failure or 503 that any lane sees until any other answer to any lane,
//! and an event from its own first one until a 429: a gate that only ever answers 503
//! is away, one that answers 429 is not. Backpressure never counts towards `max_attempts`. The
//! last wait is cut short so that one more try is made just when `give_up_after` is
//! over. A `retry-after` beyond [`RETRY_AFTER_CAP`] is taken for that: a wall clock that is wrong, or a
//! zero too many, must not put a stream to sleep for a day.
//!
//! **A gate that is unwell** and says so (`IG_UNHEALTHY`) is a failure of no event: it is waited for
//! like one that cannot be reached. **An event in doubt**, of which the gate does not know whether it
//! has it, is pushed again with the same id, `max_attempts` times and for 30 s at least, and then
//! is given up for the stream to stop or to set it aside.
//!
//! **An event that fails alone.** With `single_out`, a fault (reset, cut short, no answer in time)
//! or a 5xx other than 503 is an event's own after `max_attempts`, if at least 20 others were
//! answered for good since its first failure. 408, 429 and 503 are an event's own only after
//! `max_attempts` of them and 30 s, if at least 20 others passed since, fewer than 1 % of them
//! with such an answer, and one more try while the others rest fails too: a rate limit meets
//! all events. A certificate that is not accepted ends the stream after `max_attempts`.

use std::time::Duration;

use model::Backoff;

/// The longest wait that a `retry-after` can ask for before the gate is asked again.
pub(crate) const RETRY_AFTER_CAP: Duration = Duration::from_mins(5);

/// When a push is tried again and when it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of tries of an event that follow each other fast, the first one included; 5 by
    /// default.
    pub max_attempts: u32,
    /// The upper bound of the first wait, doubled with each failure; 250 ms by default.
    pub base_delay: Duration,
    /// The upper bound of every wait, and the wait after `max_attempts`; 5 s by default.
    pub max_delay: Duration,
    /// How long the gate may be failing before a push is given up; 15 minutes by default.
    pub give_up_after: Duration,
    /// Whether an event that fails alone is given up as
    /// [`PushOutcome::SingledOut`](super::PushOutcome::SingledOut); `false` by default.
    ///
    /// A fault or a 5xx other than 503 is an event's own after `max_attempts` tries, if at least 20
    /// other events were answered since its first failure. A 408, 429 or 503 is its own only after
    /// 30 s besides, if fewer than 1 % of the others got such an answer, and if one more try fails
    /// while the others rest.
    pub single_out: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            base_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(5),
            give_up_after: Duration::from_mins(15),
            single_out: false,
        }
    }
}

/// What to do next about an event that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait for this time, then try again.
    Wait(Duration),
    /// The gate has been failing for too long.
    GiveUp,
}

impl RetryPolicy {
    /// After an event's failure number `failures` (from 1), the gate or the event failing for
    /// `failing`; `random` is in 0..1.
    pub(crate) fn after_failure(&self, failures: u32, failing: Duration, random: f64) -> Next {
        if failures < self.max_attempts {
            return Next::Wait(self.jitter(failures, random));
        }
        self.wait_while_failing(self.max_delay, failing)
    }

    /// After backpressure number `times` (from 1) of an event: the gate asked to wait for `asked`,
    /// and is `failing` (after a 503) or not (after a 429).
    pub(crate) fn after_backpressure(
        &self,
        times: u32,
        asked: Option<Duration>,
        failing: Option<Duration>,
        random: f64,
    ) -> Next {
        let wait = match asked {
            Some(asked) if !asked.is_zero() => asked.min(RETRY_AFTER_CAP),
            _ => self.jitter(times, random),
        };
        match failing {
            Some(failing) => self.wait_while_failing(wait, failing),
            None => Next::Wait(wait),
        }
    }

    /// Whether an event that failed `failures` times has had its fast attempts.
    pub(crate) fn is_exhausted(&self, failures: u32) -> bool {
        failures >= self.max_attempts
    }

    fn wait_while_failing(&self, wait: Duration, failing: Duration) -> Next {
        match self.give_up_after.checked_sub(failing) {
            Some(left) if !left.is_zero() => Next::Wait(wait.min(left)),
            _ => Next::GiveUp,
        }
    }

    /// The wait before try number `times` + 1, `times` from 1; `random` is in 0..1.
    pub(crate) fn jitter(&self, times: u32, random: f64) -> Duration {
        let first = self.base_delay.min(self.max_delay);
        let longest = Backoff::new(first, self.max_delay).longest(times);
        longest.mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const S: Duration = Duration::from_secs(1);
    const JUST_BELOW_ONE: f64 = 1.0 - f64::EPSILON;

    #[test]
    fn the_waits_double_up_to_the_maximum_and_stay_there() {
        let policy = RetryPolicy::default();
        let upper: Vec<u128> = (1..=8)
            .map(|n| match policy.after_failure(n, S, JUST_BELOW_ONE) {
                Next::Wait(wait) => wait.as_millis(),
                Next::GiveUp => panic!("too early"),
            })
            .collect();
        assert_eq!(upper, [250, 500, 1000, 2000, 5000, 5000, 5000, 5000]);
        assert_eq!(policy.after_failure(3, S, 0.0), Next::Wait(Duration::ZERO));
        assert_eq!(policy.after_failure(3, S, 0.5), Next::Wait(500 * MS));
    }

    #[test]
    fn it_gives_up_when_failing_for_long_enough_and_not_before_its_fast_attempts() {
        let policy = RetryPolicy::default();
        assert_eq!(
            policy.after_failure(5, 899 * S, 0.0),
            Next::Wait(S),
            "one last try"
        );
        assert_eq!(policy.after_failure(5, 900 * S, 0.0), Next::GiveUp);
        assert!(matches!(
            policy.after_failure(4, 900 * S, 0.0),
            Next::Wait(_)
        ));
    }

    #[test]
    fn without_patience_the_fast_attempts_are_all() {
        let policy = RetryPolicy {
            give_up_after: Duration::ZERO,
            ..RetryPolicy::default()
        };
        assert!(matches!(
            policy.after_failure(4, Duration::ZERO, 0.0),
            Next::Wait(_)
        ));
        assert_eq!(policy.after_failure(5, Duration::ZERO, 0.0), Next::GiveUp);
    }

    #[test]
    fn the_gates_wish_to_wait_is_honoured_up_to_the_cap() {
        let policy = RetryPolicy::default();
        let after = |asked| policy.after_backpressure(1, Some(asked), None, 0.0);
        assert_eq!(
            after(7 * S),
            Next::Wait(7 * S),
            "longer than the maximum delay is fine"
        );
        assert_eq!(after(Duration::MAX), Next::Wait(RETRY_AFTER_CAP));
    }

    #[test]
    fn a_wish_for_no_wait_at_all_is_backed_off_from() {
        let policy = RetryPolicy::default();
        for asked in [None, Some(Duration::ZERO)] {
            let wait = policy.after_backpressure(2, asked, None, 0.5);
            assert_eq!(wait, Next::Wait(250 * MS));
        }
    }

    #[test]
    fn a_503_ends_with_the_patience_and_a_429_never() {
        let policy = RetryPolicy::default();
        let after = |failing| policy.after_backpressure(1000, Some(60 * S), failing, 0.0);
        assert_eq!(after(Some(890 * S)), Next::Wait(10 * S));
        assert_eq!(after(Some(900 * S)), Next::GiveUp);
        assert_eq!(after(None), Next::Wait(60 * S));
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_bound(
            failures in 0u32..=u32::MAX,
            base_ms in 0u64..100_000,
            max_ms in 0u64..100_000,
            failing_s in 0u64..2000,
            random in 0.0..1.0f64,
        ) {
            let policy = RetryPolicy {
                base_delay: Duration::from_millis(base_ms),
                max_delay: Duration::from_millis(max_ms),
                ..RetryPolicy::default()
            };
            let failing = Duration::from_secs(failing_s);
            match policy.after_failure(failures, failing, random) {
                Next::Wait(wait) => prop_assert!(wait <= policy.max_delay),
                Next::GiveUp => prop_assert!(failures >= 5 && failing >= policy.give_up_after),
            }
        }
    }
}
