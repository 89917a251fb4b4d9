//! Lateness: how long after its due time an event was sent and acknowledged.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::tell::counters::LatenessHistograms;
use crate::tell::lateness_histogram::{LARGEST_US, LatenessHistogram};
use crate::time::WallNs;

/// Percentiles of one lateness, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Percentiles {
    /// The median, in milliseconds.
    pub p50: f64,
    /// The 90th percentile, in milliseconds.
    pub p90: f64,
    /// The 99th percentile, in milliseconds.
    pub p99: f64,
    /// The 99.9th percentile, in milliseconds.
    pub p999: f64,
    /// The largest value, in milliseconds.
    pub max: f64,
}

/// Lateness at send and at acknowledgement; absent for an unpaced stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatenessReport {
    /// From the due time to the first post; `None` for an unpaced stream.
    pub send: Option<Percentiles>,
    /// From the due time to the whole acknowledgement; `None` for an unpaced stream.
    pub ack: Option<Percentiles>,
}

/// Records lateness to three significant digits, from 1 µs to a day.
///
/// Events are recorded into two histograms of what is new. They are added to those of the whole run
/// when [`Lateness::take_new`] is called, a few times a second: so an event costs no more than one
/// count at each end, however many look at it later.
#[derive(Debug)]
pub(crate) struct Lateness {
    new: Pair,
    all: Pair,
    latest_send: WallNs,
}

#[derive(Debug)]
struct Pair {
    send: Histogram<u64>,
    ack: Histogram<u64>,
}

/// A histogram of microseconds, from 1 µs to a day, to three significant digits.
pub(super) fn empty_histogram() -> Histogram<u64> {
    // The bounds are constants that the histogram accepts.
    Histogram::new_with_bounds(1, LARGEST_US, 3).unwrap_or_else(|_| unreachable!())
}

impl Default for Pair {
    /// Nothing recorded.
    fn default() -> Self {
        Self {
            send: empty_histogram(),
            ack: empty_histogram(),
        }
    }
}

impl Default for Lateness {
    /// Nothing recorded.
    fn default() -> Self {
        Self {
            new: Pair::default(),
            all: Pair::default(),
            latest_send: 0,
        }
    }
}

impl Lateness {
    /// Records one event.
    pub(crate) fn record(&mut self, due: WallNs, sent: WallNs, answered: WallNs) {
        self.latest_send = sent.saturating_sub(due).max(0);
        let micros = |late: WallNs| late.max(0).unsigned_abs() / 1_000;
        self.new.send.saturating_record(micros(self.latest_send));
        self.new
            .ack
            .saturating_record(micros(answered.saturating_sub(due)));
    }

    /// The events that were recorded since the last call.
    pub(crate) fn take_new(&mut self) -> LatenessHistograms {
        LatenessHistograms {
            send: drained(&mut self.new.send, &mut self.all.send),
            ack: drained(&mut self.new.ack, &mut self.all.ack),
        }
    }

    /// The last event's lateness at send, in milliseconds.
    pub(crate) fn latest_ms(&self) -> f64 {
        self.latest_send as f64 / 1e6
    }

    /// The percentiles of all events up to the last [`Lateness::take_new`].
    pub(crate) fn report(&self) -> LatenessReport {
        LatenessReport {
            send: percentiles(&self.all.send),
            ack: percentiles(&self.all.ack),
        }
    }
}

impl Lateness {
    /// The histograms of all events up to the last [`Lateness::take_new`]: at send, and at
    /// acknowledgement.
    pub(super) fn all(&self) -> (&Histogram<u64>, &Histogram<u64>) {
        (&self.all.send, &self.all.ack)
    }
}

/// Moves what is new to the whole, and gives it in bins of two digits.
fn drained(new: &mut Histogram<u64>, all: &mut Histogram<u64>) -> LatenessHistogram {
    if new.is_empty() {
        return LatenessHistogram::default();
    }
    let recorded = new.iter_recorded();
    let values = recorded.map(|value| (value.value_iterated_to(), value.count_at_value()));
    let values = values.inspect(|&(micros, count)| all.saturating_record_n(micros, count));
    let drained = LatenessHistogram::of(values);
    new.reset();
    drained
}

pub(super) fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    (!histogram.is_empty()).then(|| Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max() as f64 / 1_000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds_and_absent_without_events() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.report(), LatenessReport::default());
        for event in 1..=1_000 {
            lateness.record(0, event * 1_000_000, event * 2_000_000);
        }
        lateness.take_new();
        let report = lateness.report();
        let send = report.send.unwrap();
        assert!(
            (send.p50 - 500.0).abs() < 1.0 && (send.max - 1_000.0).abs() < 1.0,
            "{send:?}"
        );
        assert!((report.ack.unwrap().p99 - 1_980.0).abs() < 2.0);
    }
    #[test]
    fn what_is_new_is_given_once_and_the_whole_is_as_if_it_had_been_recorded_there() {
        let (mut lateness, mut whole) = (Lateness::default(), Pair::default());
        let mut taken = LatenessHistograms::default();
        for round in 0..10 {
            for event in 0..1_000_u64 {
                let late = event * event * (round + 1);
                lateness.record(0, late as i64 * 1_000, late as i64 * 3_000);
                whole.send.saturating_record(late);
                whole.ack.saturating_record(late * 3);
            }
            let new = lateness.take_new();
            assert_eq!((new.send.count(), new.ack.count()), (1_000, 1_000));
            taken.add(&new);
        }
        assert_eq!(lateness.take_new(), LatenessHistograms::default());
        assert_eq!(taken.send.count(), 10_000);
        assert!(lateness.all.send == whole.send && lateness.all.ack == whole.ack);
        let (two, three) = (taken.ack.at_quantile(0.9), whole.ack.value_at_quantile(0.9));
        let two = two.unwrap().as_micros() as f64;
        assert!((two / three as f64 - 1.0).abs() < 0.01, "{two} {three}");
        assert_eq!(
            taken.ack.max().unwrap().as_micros(),
            u128::from(whole.ack.max())
        );
    }
}
