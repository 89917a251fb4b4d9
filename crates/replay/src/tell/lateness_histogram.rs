//! Lateness counted in bins, log-linear and sparse: to two significant digits, and small.
//!
//! A bin holds values that are equal in their first two digits: below 256 µs a bin is 1 µs wide,
//! above that each power of two has 128 bins of one width. Bins are written one behind the other,
//! in their order, as the distance to the one before and the count, both as variable-length
//! numbers: what has no event costs nothing, and most bins cost two or three bytes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Values below this have a bin of their own.
const EXACT: u64 = 256;
/// Bins of each power of two above that.
const BINS: u64 = EXACT / 2;
/// The largest value: a day, in microseconds. Larger ones count as it.
pub(crate) const LARGEST_US: u64 = 86_400_000_000;

/// The bin of a value in microseconds.
fn bin_of(micros: u64) -> u16 {
    let micros = micros.min(LARGEST_US);
    if micros < EXACT {
        return micros as u16;
    }
    let shift = u64::from(micros.ilog2()) - u64::from(BINS.ilog2());
    (BINS * shift + (micros >> shift)) as u16
}

/// The largest value of a bin, in microseconds.
fn largest_of(bin: u16) -> u64 {
    let bin = u64::from(bin);
    if bin < EXACT {
        return bin;
    }
    let shift = bin / BINS - 1;
    ((bin - BINS * shift + 1) << shift) - 1
}

/// The value in the middle of a bin, in microseconds.
fn middle_of(bin: u16) -> f64 {
    let largest = largest_of(bin);
    let smallest = match bin {
        0 => 0,
        bin => largest_of(bin - 1) + 1,
    };
    (smallest + largest) as f64 / 2.0
}

/// Lateness of events, counted to two significant digits, from 1 µs to a day.
///
/// As JSON: `count`, `sum_us`, `max_us` and `bins`, an array of `[bin, count]`, where bin `b` holds
/// the values from `low(b)` to `low(b + 1) − 1` microseconds; `low(b)` is `b` below 256, else
/// `(b − 128 · s) · 2^s` with `s = floor(b / 128) − 1`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct LatenessHistogram {
    /// Distance and count, bin by bin.
    encoded: Vec<u8>,
    count: u64,
    sum_us: u64,
    max_us: u64,
}

/// A histogram as JSON has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    count: u64,
    sum_us: u64,
    max_us: u64,
    bins: Vec<(u16, u64)>,
}

impl From<LatenessHistogram> for Written {
    fn from(histogram: LatenessHistogram) -> Self {
        Self {
            count: histogram.count,
            sum_us: histogram.sum_us,
            max_us: histogram.max_us,
            bins: histogram.bins().collect(),
        }
    }
}

impl TryFrom<Written> for LatenessHistogram {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let bins = &written.bins;
        let are_ascending = bins.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let are_known = bins
            .iter()
            .all(|bin| bin.0 <= bin_of(LARGEST_US) && bin.1 > 0);
        if !are_ascending || !are_known {
            return Err("bins that are not in ascending order, unknown, or empty");
        }
        let sum = bins
            .iter()
            .try_fold(0_u64, |sum, bin| sum.checked_add(bin.1));
        let last = bins.last().map_or(0, |bin| bin.0);
        if sum != Some(written.count) || bin_of(written.max_us) != last {
            return Err("bins that do not come to its `count`, or end elsewhere than its `max_us`");
        }
        let mut histogram = Self::of_bins(written.bins.into_iter());
        histogram.sum_us = written.sum_us;
        histogram.max_us = written.max_us;
        Ok(histogram)
    }
}

impl LatenessHistogram {
    /// A histogram of values in microseconds and their counts, in ascending order.
    pub(crate) fn of(values: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut writer = BinWriter::default();
        let (mut sum_us, mut max_us) = (0_u64, 0);
        for (micros, count) in values {
            writer.add(bin_of(micros), count);
            sum_us = sum_us.saturating_add(micros.saturating_mul(count));
            max_us = micros.min(LARGEST_US);
        }
        Self {
            sum_us,
            max_us,
            ..writer.finish()
        }
    }

    /// A histogram of bins in ascending order, without sum and largest value.
    fn of_bins(bins: impl Iterator<Item = (u16, u64)>) -> Self {
        let mut writer = BinWriter::default();
        bins.for_each(|(bin, count)| writer.add(bin, count));
        writer.finish()
    }

    /// Counts the values of another histogram too. Loses no digit: both have the same bins.
    pub fn add(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let sum_us = self.sum_us.saturating_add(other.sum_us);
        let max_us = self.max_us.max(other.max_us);
        *self = Self {
            sum_us,
            max_us,
            ..Self::of_bins(merged(self.bins(), other.bins()))
        };
    }

    /// The values that were counted since `earlier`, an older reading of the same histogram. Its
    /// largest value is known to its bin only.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut before = earlier.bins().peekable();
        let bins = self.bins().filter_map(|(bin, count)| {
            while before.next_if(|of| of.0 < bin).is_some() {}
            let known = before.next_if(|of| of.0 == bin).map_or(0, |of| of.1);
            let new = count.saturating_sub(known);
            (new > 0).then_some((bin, new))
        });
        let mut new = Self::of_bins(bins);
        new.sum_us = self.sum_us.saturating_sub(earlier.sum_us);
        let largest = new.bins().last().map_or(0, |(bin, _)| largest_of(bin));
        new.max_us = largest.min(self.max_us);
        new
    }

    /// The number of events that were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all lateness, to three significant digits of each event's.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// The largest lateness, to three significant digits; `None` without events.
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_micros(self.max_us))
    }

    /// The lateness that this share of the events does not exceed, to two significant digits;
    /// `None` without events. `quantile` is 0 to 1.
    pub fn at_quantile(&self, quantile: f64) -> Option<Duration> {
        let wanted = ((quantile * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bin = self.bins().find(|&(_, count)| {
            seen += count;
            seen >= wanted
        });
        let (bin, _) = bin.or_else(|| self.bins().last())?;
        Some(Duration::from_micros(largest_of(bin).min(self.max_us)))
    }

    /// The number of events that were at most as late as each of `bounds`, to within a bin: the
    /// buckets of a classic Prometheus histogram. `bounds` are seconds, in ascending order.
    pub fn cumulative(&self, bounds: &[f64]) -> Vec<u64> {
        let mut bins = self.bins().peekable();
        let mut seen = 0;
        let counts = bounds.iter().map(|bound| {
            while let Some((_, count)) = bins.next_if(|&(bin, _)| middle_of(bin) <= bound * 1e6) {
                seen += count;
            }
            seen
        });
        counts.collect()
    }

    /// The buckets of a native Prometheus histogram over seconds, to within a bin: bucket `i` of
    /// `schema` holds values above `2^((i − 1) / 2^schema)` and at most `2^(i / 2^schema)`.
    pub fn exponential(&self, schema: i8) -> ExponentialBuckets {
        let factor = f64::from(schema).exp2();
        let mut buckets = ExponentialBuckets::default();
        for (bin, count) in self.bins() {
            if bin == 0 {
                buckets.zero_count = count;
                continue;
            }
            let index = ((middle_of(bin) / 1e6).log2() * factor).ceil() as i32;
            match buckets.counts.last_mut() {
                Some((last, counted)) if *last == index => *counted += count,
                _ => buckets.counts.push((index, count)),
            }
        }
        buckets
    }

    /// The bins that hold events, in ascending order, and how many.
    fn bins(&self) -> Bins<'_> {
        Bins {
            encoded: &self.encoded,
            next: 0,
        }
    }

    /// The bytes of memory that the histogram takes beside its own struct.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.encoded.capacity()
    }
}

/// The buckets of a native Prometheus histogram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExponentialBuckets {
    /// Events that were less than 1 µs late.
    pub zero_count: u64,
    /// The index of each bucket that holds events, in ascending order, and how many.
    pub counts: Vec<(i32, u64)>,
}

/// Two series of bins as one, where both are in ascending order.
fn merged<'a>(
    one: impl Iterator<Item = (u16, u64)> + 'a,
    other: impl Iterator<Item = (u16, u64)> + 'a,
) -> impl Iterator<Item = (u16, u64)> + 'a {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(a), Some(b)) if b.0 < a.0 => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}

/// Writes bins that come in ascending order; what falls into the same bin is one.
#[derive(Debug, Default)]
struct BinWriter {
    encoded: Vec<u8>,
    count: u64,
    next: u16,
    open: Option<(u16, u64)>,
}

impl BinWriter {
    fn add(&mut self, bin: u16, count: u64) {
        self.count = self.count.saturating_add(count);
        match &mut self.open {
            Some((open, counted)) if *open == bin => *counted = counted.saturating_add(count),
            _ => {
                self.close();
                self.open = Some((bin, count));
            }
        }
    }

    fn close(&mut self) {
        if let Some((bin, count)) = self.open.take() {
            write_number(&mut self.encoded, u64::from(bin - self.next));
            write_number(&mut self.encoded, count);
            self.next = bin;
        }
    }

    fn finish(mut self) -> LatenessHistogram {
        self.close();
        self.encoded.shrink_to_fit();
        LatenessHistogram {
            encoded: self.encoded,
            count: self.count,
            sum_us: 0,
            max_us: 0,
        }
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn write_number(to: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Reads what [`BinWriter`] wrote.
#[derive(Debug, Clone)]
struct Bins<'a> {
    encoded: &'a [u8],
    next: u16,
}

impl Bins<'_> {
    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.encoded.split_first()?;
            self.encoded = rest;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
    }
}

impl Iterator for Bins<'_> {
    type Item = (u16, u64);

    fn next(&mut self) -> Option<(u16, u64)> {
        let distance = self.number()?;
        self.next += distance as u16;
        let count = self.number()?;
        Some((self.next, count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(mut values: Vec<u64>) -> LatenessHistogram {
        values.sort_unstable();
        LatenessHistogram::of(values.into_iter().map(|value| (value, 1)))
    }

    /// Values of every magnitude.
    fn value() -> impl Strategy<Value = u64> {
        (0_u32..38, any::<u64>()).prop_map(|(bits, value)| value >> (63 - bits))
    }

    fn values() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(value(), 0..200)
    }

    #[test]
    fn each_bin_begins_where_the_one_before_ends_and_is_two_digits_wide() {
        let last = bin_of(LARGEST_US);
        assert!(u64::from(last) < 4_096);
        for bin in 0..last {
            let largest = largest_of(bin);
            assert_eq!(bin_of(largest), bin);
            assert_eq!(bin_of(largest + 1), bin + 1);
            let width = largest_of(bin + 1) - largest;
            assert!(width == 1 || width * 100 <= largest + 1, "{bin}");
        }
        assert_eq!(bin_of(u64::MAX), last);
    }

    proptest! {
        #[test]
        fn a_quantile_is_the_value_at_its_rank_to_two_digits(
            values in prop::collection::vec(value(), 1..200),
            quantile in 0.0_f64..=1.0,
        ) {
            let histogram = of(values.clone());
            let mut sorted: Vec<u64> = values.iter().map(|value| *value.min(&LARGEST_US)).collect();
            sorted.sort_unstable();
            let rank = ((quantile * sorted.len() as f64).ceil() as usize).max(1) - 1;
            let (exact, found) = (sorted[rank], histogram.at_quantile(quantile).unwrap());
            let found = found.as_micros() as u64;
            prop_assert!(found >= exact && found - exact <= exact / 100, "{exact} {found}");
            let max = histogram.max().unwrap().as_micros() as u64;
            prop_assert_eq!(max, *sorted.last().unwrap());
        }

        #[test]
        fn two_that_are_added_are_as_one_of_all_values(one in values(), other in values()) {
            let mut added = of(one.clone());
            added.add(&of(other.clone()));
            let all = of(one.iter().chain(&other).copied().collect());
            prop_assert_eq!(&added, &all);
            prop_assert_eq!(added.count(), (one.len() + other.len()) as u64);
        }

        #[test]
        fn what_came_since_an_earlier_reading_is_what_was_added(one in values(), other in values()) {
            let (earlier, new) = (of(one), of(other));
            let mut now = earlier.clone();
            now.add(&new);
            let since = now.since(&earlier);
            prop_assert_eq!(since.count(), new.count());
            prop_assert_eq!(since.sum(), new.sum());
            prop_assert_eq!(
                since.bins().collect::<Vec<_>>(),
                new.bins().collect::<Vec<_>>()
            );
            prop_assert!(since.max() >= new.max());
        }

        #[test]
        fn what_is_written_as_json_is_read_the_same(values in values()) {
            let histogram = of(values);
            let text = serde_json::to_string(&histogram).unwrap();
            prop_assert_eq!(serde_json::from_str::<LatenessHistogram>(&text).unwrap(), histogram);
        }

        #[test]
        fn buckets_of_both_kinds_hold_every_event_where_it_belongs(values in values()) {
            let histogram = of(values.clone());
            let native = histogram.exponential(3);
            let counts = native.counts.iter().map(|bucket| bucket.1);
            prop_assert_eq!(native.zero_count + counts.sum::<u64>(), histogram.count());
            prop_assert!(native.counts.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let bounds = [0.001, 0.01, 0.1, 1.0, 1e9];
            let classic = histogram.cumulative(&bounds);
            prop_assert_eq!(*classic.last().unwrap(), histogram.count());
            for (bound, counted) in bounds.iter().zip(classic) {
                let at_most = |limit: f64| {
                    let within = |value: &&u64| (**value).min(LARGEST_US) as f64 / 1e6 <= limit;
                    values.iter().filter(within).count() as u64
                };
                prop_assert!(counted >= at_most(bound * 0.99), "{bound}");
                prop_assert!(counted <= at_most(bound * 1.01), "{bound}");
            }
        }
    }

    #[test]
    fn an_event_of_a_known_lateness_falls_into_its_native_bucket() {
        // 1 ms lies between 2^(-80/8) = 0.977 ms and 2^(-79/8) = 1.065 ms.
        let native = of(vec![0, 1_000, 1_000, 990_000]).exponential(3);
        assert_eq!(native.zero_count, 1);
        assert_eq!(native.counts, [(-79, 2), (0, 1)]);
    }

    #[test]
    fn a_histogram_that_contradicts_itself_is_refused() {
        for text in [
            r#"{"count":2,"sum_us":3,"max_us":2,"bins":[[1,1]]}"#,
            r#"{"count":2,"sum_us":3,"max_us":2,"bins":[[2,1],[1,1]]}"#,
            r#"{"count":1,"sum_us":3,"max_us":9,"bins":[[1,1]]}"#,
            r#"{"count":1,"sum_us":3,"max_us":3,"bins":[[60000,1]]}"#,
            r#"{"count":0,"sum_us":0,"max_us":1,"bins":[[1,0]]}"#,
            r#"{"count":1,"sum_us":1,"max_us":1,"bins":[[0,18446744073709551615],[1,2]]}"#,
            r#"{"count":0,"sum_us":0,"max_us":0,"bins":[],"more":1}"#,
        ] {
            assert!(
                serde_json::from_str::<LatenessHistogram>(text).is_err(),
                "{text}"
            );
        }
    }
}
