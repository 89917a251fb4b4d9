//! How many requests at once the gate bears: additive increase, multiplicative decrease (AIMD).
//!
//! | what is seen | the limit |
//! |---|---|
//! | 429, 503, a timeout | × 0.7 |
//! | a round's mean latency above twice the baseline, and 10 ms more | × 0.9 |
//! | any other round | + 1 |
//!
//! always within 1 … lanes. A *round* is as many answers as the limit has permits, so that the
//! limit moves at the pace of round trips. The *baseline* is the lowest round of the last half
//! to whole minute: a gate that is slow for good is no reason to send less. By
//! Little's law a limit cut for latency costs no throughput: what waits less in the gate's queue
//! waits here.
//!
//! A storm of bad answers is one event: each cut starts a new *epoch*, and what answers a
//! request of an older epoch cuts no more.

use std::time::Duration;

const CONGESTION: f64 = 0.7;
const LATENCY: f64 = 0.9;
const SLACK: Duration = Duration::from_millis(10);
const BASELINE_SPAN: Duration = Duration::from_secs(30);

/// The limit and what decides it. Pure: the caller gives times, as spans since any fixed moment.
#[derive(Debug, Clone)]
pub(crate) struct Aimd {
    lanes: u32,
    limit: f64,
    epoch: u32,
    baseline: Baseline,
}

impl Aimd {
    /// Starts wide open: as many requests as lanes (at least one).
    pub(crate) fn new(lanes: u32) -> Self {
        let lanes = lanes.max(1);
        Self {
            lanes,
            limit: f64::from(lanes),
            epoch: 0,
            baseline: Baseline::default(),
        }
    }

    /// Requests that may be in flight, 1 … lanes.
    pub(crate) fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// The number of cuts so far.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A request sent in `epoch` met congestion.
    pub(crate) fn congested(&mut self, epoch: u32) {
        if epoch == self.epoch {
            self.cut(CONGESTION);
        }
    }

    /// A round of answers ended at `now`, its requests taking `mean` on average.
    pub(crate) fn round(&mut self, now: Duration, mean: Duration) {
        self.baseline.learn(now, mean);
        if mean > self.baseline.lowest() * 2 + SLACK {
            self.cut(LATENCY);
        } else {
            self.limit = (self.limit + 1.0).min(f64::from(self.lanes));
        }
    }

    fn cut(&mut self, factor: f64) {
        self.limit = (self.limit * factor).max(1.0);
        self.epoch = self.epoch.wrapping_add(1);
    }
}

/// The lowest value of the current and the previous span.
#[derive(Debug, Clone, Default)]
struct Baseline {
    span: u128,
    current: Option<Duration>,
    previous: Option<Duration>,
}

impl Baseline {
    fn learn(&mut self, now: Duration, mean: Duration) {
        let span = now.as_nanos() / BASELINE_SPAN.as_nanos();
        if span != self.span {
            self.previous = if span == self.span + 1 {
                self.current
            } else {
                None
            };
            self.current = None;
            self.span = span;
        }
        self.current = Some(self.current.map_or(mean, |lowest| lowest.min(mean)));
    }

    fn lowest(&self) -> Duration {
        let spans = [self.current, self.previous];
        spans.into_iter().flatten().min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_storm_of_refusals_cuts_once() {
        let mut aimd = Aimd::new(32);
        for _ in 0..32 {
            aimd.congested(0);
        }
        assert_eq!((aimd.limit(), aimd.epoch()), (22, 1));
        aimd.congested(1);
        assert_eq!((aimd.limit(), aimd.epoch()), (15, 2));
    }

    #[test]
    fn good_rounds_open_it_one_by_one_up_to_the_lanes() {
        let mut aimd = Aimd::new(8);
        for epoch in 0..20 {
            aimd.congested(epoch);
        }
        assert_eq!(aimd.limit(), 1);
        let limits: Vec<u32> = (0..9)
            .map(|_| {
                aimd.round(ms(1), ms(1));
                aimd.limit()
            })
            .collect();
        assert_eq!(limits, [2, 3, 4, 5, 6, 7, 8, 8, 8]);
    }

    #[test]
    fn latency_that_rises_above_its_baseline_closes_it() {
        let mut aimd = Aimd::new(32);
        aimd.round(ms(1), ms(20));
        aimd.round(ms(2), ms(50));
        assert_eq!(
            aimd.limit(),
            32,
            "twice the baseline and the slack is still fine"
        );
        aimd.round(ms(3), ms(51));
        assert_eq!(aimd.limit(), 28);
    }

    #[test]
    fn a_gate_that_is_slow_for_good_becomes_the_baseline() {
        let mut aimd = Aimd::new(32);
        aimd.round(ms(0), ms(20));
        aimd.round(ms(31_000), ms(200));
        assert_eq!(aimd.limit(), 28, "the previous span still counts");
        aimd.round(ms(61_000), ms(200));
        assert_eq!(aimd.limit(), 29);
    }

    #[test]
    fn jitter_on_a_fast_gate_is_no_congestion() {
        let mut aimd = Aimd::new(32);
        aimd.round(ms(0), Duration::from_micros(80));
        aimd.round(ms(1), ms(9));
        assert_eq!(aimd.limit(), 32);
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_one_and_the_lanes(
            lanes in 0u32..200,
            seen in proptest::collection::vec((any::<bool>(), 0u64..100_000, 0u64..1000), 0..200),
        ) {
            let mut aimd = Aimd::new(lanes);
            for (congested, now, mean) in seen {
                if congested {
                    aimd.congested(aimd.epoch());
                } else {
                    aimd.round(ms(now), ms(mean));
                }
                prop_assert!((1..=lanes.max(1)).contains(&aimd.limit()));
            }
        }
    }
}
