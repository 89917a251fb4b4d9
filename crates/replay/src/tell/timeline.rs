//! A run over time: a bounded series of buckets, each of what happened in its stretch of time.
//!
//! ```text
//! at most 512 buckets of 250 ms   ├─┼─┼─┼─┼─┼─┼─┤
//! full: two become one            ├───┼───┼───┼───┤   500 ms each, and so on
//! ```
//!
//! The keeper records a few times a second what its counts have grown by since the last record, so
//! that an event costs nothing here. A bucket holds counts, gauges and the lateness of its events;
//! buckets that become one are added, histograms bin by bin, so that percentiles keep their two
//! digits. Full is a timeline of 512 buckets, or of 4 MiB, which only lateness spread over many
//! magnitudes comes to.
//!
//! Invariants:
//! - The sum of a count over all buckets is what it has grown by in all.
//! - There are never more than [`MOST_BUCKETS`] buckets nor [`MOST_BYTES`] of memory.

use std::mem;
use std::time::{Duration, SystemTime};

use model::OutputId;

use crate::tell::counters::{Counters, LatenessHistograms};
use crate::tell::tally::{Gauges, Tally};
use crate::tell::timeline_report::{BucketReading, TimelineReport};

/// The most buckets of a timeline.
pub(crate) const MOST_BUCKETS: usize = 512;
/// The most bytes of memory of a timeline.
pub(crate) const MOST_BYTES: usize = 4 << 20;
/// The width of a bucket at first: how often the keeper tells of progress.
const FIRST_WIDTH: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Default)]
struct Bucket {
    tally: Tally,
    gauges: Gauges,
    lateness: LatenessHistograms,
}

impl Bucket {
    fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.gauges.add(other.gauges);
        self.lateness.add(&other.lateness);
    }

    fn heap_bytes(&self) -> usize {
        mem::size_of_val(&*self.tally.outputs) + self.lateness.heap_bytes()
    }
}

/// A run over time, from its beginning.
#[derive(Debug)]
pub(crate) struct Timeline {
    began: SystemTime,
    width: Duration,
    buckets: Vec<Bucket>,
    /// Bytes on the heap that all buckets hold.
    heap_bytes: usize,
    /// When the last record was made.
    recorded: Duration,
    /// The counts at the last record.
    before: Tally,
}

impl Timeline {
    /// An empty timeline that began at this wall time.
    pub(crate) fn new(began: SystemTime) -> Self {
        Self {
            began,
            width: FIRST_WIDTH,
            buckets: Vec::with_capacity(MOST_BUCKETS),
            heap_bytes: 0,
            recorded: Duration::ZERO,
            before: Tally::default(),
        }
    }

    /// Records what happened since the last record. `counters` were read now, and `lateness` is
    /// that of events that were acknowledged since. A reading that is older than the last one
    /// counts as made at the same time.
    pub(crate) fn record(&mut self, counters: &Counters, lateness: &LatenessHistograms) {
        let now = Duration::from_nanos(counters.elapsed_ns).max(self.recorded);
        let middle = now.saturating_sub(self.half_since_last(now));
        self.recorded = now;
        let tally = Tally::of(counters);
        let new = Bucket {
            tally: tally.since(&self.before),
            gauges: Gauges {
                records: 1,
                permits_in_use: counters.permits_in_use,
                permits_allowed: counters.permits_allowed,
                buffered: counters.buffered,
            },
            lateness: lateness.clone(),
        };
        self.before = tally;
        self.make_room_for(middle);
        let index = self.index_of(middle);
        if index >= self.buckets.len() {
            self.buckets.resize_with(index + 1, Bucket::default);
        }
        let bucket = &mut self.buckets[index];
        self.heap_bytes -= bucket.heap_bytes();
        bucket.add(&new);
        self.heap_bytes += bucket.heap_bytes();
        while self.bytes() > MOST_BYTES && self.buckets.len() > 1 {
            self.double();
        }
    }

    /// Half the time since the last record, at most half a bucket: what happened is put in the
    /// middle of its stretch, so that a record which comes a moment too late does not fall into
    /// the next bucket.
    fn half_since_last(&self, now: Duration) -> Duration {
        now.saturating_sub(self.recorded).min(self.width) / 2
    }

    fn index_of(&self, at: Duration) -> usize {
        let index = at.as_nanos() / self.width.as_nanos();
        usize::try_from(index).unwrap_or(usize::MAX)
    }

    fn make_room_for(&mut self, at: Duration) {
        while self.index_of(at) >= MOST_BUCKETS {
            self.double();
        }
    }

    /// Makes one bucket of two, all along.
    fn double(&mut self) {
        self.width = self.width.saturating_mul(2);
        let mut buckets = mem::take(&mut self.buckets).into_iter();
        let mut halved = Vec::with_capacity(MOST_BUCKETS);
        while let Some(mut bucket) = buckets.next() {
            if let Some(next) = buckets.next() {
                bucket.add(&next);
            }
            halved.push(bucket);
        }
        self.buckets = halved;
        self.heap_bytes = self.buckets.iter().map(Bucket::heap_bytes).sum();
    }

    /// The bytes of memory that the timeline takes.
    fn bytes(&self) -> usize {
        self.heap_bytes + self.buckets.capacity() * size_of::<Bucket>()
    }

    /// The timeline up to the last record, over outputs of these ids.
    pub(crate) fn report<'a>(
        &'a self,
        outputs: impl ExactSizeIterator<Item = &'a OutputId>,
    ) -> TimelineReport {
        let buckets = self.buckets.iter().map(|bucket| BucketReading {
            tally: &bucket.tally,
            gauges: bucket.gauges,
            lateness: &bucket.lateness,
        });
        TimelineReport::new(self.began, self.width, outputs, buckets)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::tell::counters::OutputCounters;
    use crate::tell::lateness_histogram::LatenessHistogram;
    use crate::tell::tally::MOST_OUTPUTS;

    /// What grows between two records: time in milliseconds, events, and how late they were.
    type Step = (u64, u64, Vec<u64>);

    fn step() -> impl Strategy<Value = Step> {
        let gap = prop_oneof![0_u64..400, 0_u64..100_000, any::<u32>().prop_map(u64::from)];
        let late = (0_u32..37, any::<u64>()).prop_map(|(bits, value)| value >> (63 - bits));
        (gap, 0_u64..1_000, prop::collection::vec(late, 0..20))
    }

    fn histogram(values: &[u64]) -> LatenessHistogram {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        LatenessHistogram::of(sorted.into_iter().map(|value| (value, 1)))
    }

    fn output(acknowledged: u64) -> OutputCounters {
        OutputCounters {
            output_id: OutputId::new("o"),
            acknowledged,
            quarantined: acknowledged / 3,
        }
    }

    /// Grows all counts by `events`.
    fn grow(counters: &mut Counters, events: u64) {
        counters.acknowledged.admit += events;
        counters.acknowledged.duplicate += events / 2;
        counters.refused += events / 7;
        counters.retries.http_429 += events / 5;
        counters.checkpoints.saves += 1;
        let outputs = counters.outputs.iter_mut().enumerate();
        outputs.for_each(|(index, of)| *of = output(of.acknowledged + events * index as u64));
    }

    fn total(timeline: &Timeline) -> Bucket {
        let mut total = Bucket::default();
        timeline.buckets.iter().for_each(|bucket| total.add(bucket));
        total
    }

    fn check(timeline: &Timeline) {
        assert!(timeline.buckets.len() <= MOST_BUCKETS);
        assert!(timeline.bytes() <= MOST_BYTES, "{}", timeline.bytes());
        let heap: usize = timeline.buckets.iter().map(Bucket::heap_bytes).sum();
        assert_eq!(timeline.heap_bytes, heap);
        assert!(timeline.buckets.capacity() <= MOST_BUCKETS);
    }

    proptest! {
        #[test]
        fn whatever_the_times_sums_over_buckets_are_the_totals_and_percentiles_keep_their_digits(
            steps in prop::collection::vec(step(), 1..300),
        ) {
            let mut timeline = Timeline::new(SystemTime::UNIX_EPOCH);
            let outputs = vec![output(0); MOST_OUTPUTS + 3];
            let mut counters = Counters { outputs, ..Counters::default() };
            let mut all = LatenessHistograms::default();
            for (gap_ms, events, late) in steps {
                counters.elapsed_ns += gap_ms * 1_000_000;
                grow(&mut counters, events);
                let send = histogram(&late);
                let lateness = LatenessHistograms { ack: send.clone(), send };
                all.add(&lateness);
                timeline.record(&counters, &lateness);
                check(&timeline);
            }
            let total = total(&timeline);
            prop_assert_eq!(&total.tally, &Tally::of(&counters));
            prop_assert_eq!(total.tally.outputs.len(), MOST_OUTPUTS + 1);
            prop_assert_eq!(&total.lateness, &all);
            let end = timeline.width * timeline.buckets.len() as u32;
            prop_assert!(end + timeline.width >= timeline.recorded, "it ends too early");
            let report = timeline.report(vec![OutputId::new("o"); MOST_OUTPUTS + 3].iter());
            prop_assert_eq!(report.acknowledged.iter().sum::<u64>(), counters.all_acknowledged());
            let text = serde_json::to_string(&report).unwrap();
            prop_assert_eq!(serde_json::from_str::<TimelineReport>(&text).unwrap(), report);
        }
    }

    #[test]
    fn lateness_of_all_magnitudes_in_all_buckets_takes_no_more_than_4_mib() {
        let mut timeline = Timeline::new(SystemTime::UNIX_EPOCH);
        let outputs = vec![output(0); MOST_OUTPUTS];
        let mut counters = Counters {
            outputs,
            ..Counters::default()
        };
        let every_bin = (0..90_000).map(|step| (f64::from(step) / 3_600.0).exp() as u64);
        let mut every_bin: Vec<(u64, u64)> = every_bin.map(|value| (value, 1 << 21)).collect();
        every_bin.dedup_by_key(|value| value.0);
        let send = LatenessHistogram::of(every_bin.into_iter());
        let lateness = LatenessHistograms {
            ack: send.clone(),
            send,
        };
        for _ in 0..600 {
            counters.elapsed_ns += 250_000_000;
            timeline.record(&counters, &lateness);
            check(&timeline);
        }
        assert!(
            timeline.width > FIRST_WIDTH * 4,
            "memory has it double early"
        );
        assert_eq!(
            total(&timeline).lateness.send.count(),
            600 * lateness.send.count()
        );
    }

    #[test]
    fn a_record_that_comes_a_moment_too_late_counts_where_it_happened() {
        let mut timeline = Timeline::new(SystemTime::UNIX_EPOCH);
        let mut counters = Counters::default();
        for beat in 1..=8_u64 {
            counters.elapsed_ns = beat * 251_000_000;
            counters.acknowledged.admit += beat;
            timeline.record(&counters, &LatenessHistograms::default());
        }
        let report = timeline.report([].iter());
        assert_eq!(report.acknowledged, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((report.width_ms, report.other_outputs), (250, None));
    }

    #[test]
    fn a_gauge_is_the_mean_of_its_bucket_and_absent_where_nothing_was_recorded() {
        let mut timeline = Timeline::new(SystemTime::UNIX_EPOCH);
        let mut counters = Counters::default();
        for (ms, permits) in [(10, 3), (20, 4), (5_000, 9)] {
            counters.elapsed_ns = ms * 1_000_000;
            counters.permits_in_use = permits;
            counters.lateness = Arc::default();
            timeline.record(&counters, &LatenessHistograms::default());
        }
        let gauge = timeline.report([].iter()).permits_in_use;
        assert_eq!(gauge.len(), 20);
        assert_eq!(
            (gauge[0], gauge[1], gauge[19]),
            (Some(3.5), None, Some(9.0))
        );
    }
}
