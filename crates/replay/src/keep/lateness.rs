//! Lateness: how long after its due time an event was sent and acknowledged.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::time::WallNs;

/// Percentiles of one lateness, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LatenessReport {
    /// From the due time to the first post; `None` for an unpaced stream.
    pub send: Option<Percentiles>,
    /// From the due time to the whole acknowledgement; `None` for an unpaced stream.
    pub ack: Option<Percentiles>,
}

/// Records lateness to three significant digits, from 1 µs to a day.
#[derive(Debug)]
pub(crate) struct Lateness {
    send: Histogram<u64>,
    ack: Histogram<u64>,
    latest_send: WallNs,
}

impl Default for Lateness {
    /// Nothing recorded.
    fn default() -> Self {
        let histogram = || {
            // The bounds are constants that the histogram accepts.
            Histogram::new_with_bounds(1, Self::DAY_US, 3).unwrap_or_else(|_| unreachable!())
        };
        Self {
            send: histogram(),
            ack: histogram(),
            latest_send: 0,
        }
    }
}

impl Lateness {
    const DAY_US: u64 = 86_400_000_000;

    /// Records one event.
    pub(crate) fn record(&mut self, due: WallNs, sent: WallNs, answered: WallNs) {
        self.latest_send = sent.saturating_sub(due).max(0);
        let micros = |late: WallNs| late.max(0).unsigned_abs() / 1_000;
        self.send.saturating_record(micros(self.latest_send));
        self.ack
            .saturating_record(micros(answered.saturating_sub(due)));
    }

    /// The last event's lateness at send, in milliseconds.
    pub(crate) fn latest_ms(&self) -> f64 {
        self.latest_send as f64 / 1e6
    }

    /// The percentiles.
    pub(crate) fn report(&self) -> LatenessReport {
        LatenessReport {
            send: percentiles(&self.send),
            ack: percentiles(&self.ack),
        }
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
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
        let report = lateness.report();
        let send = report.send.unwrap();
        assert!(
            (send.p50 - 500.0).abs() < 1.0 && (send.max - 1_000.0).abs() < 1.0,
            "{send:?}"
        );
        assert!((report.ack.unwrap().p99 - 1_980.0).abs() < 2.0);
    }
}
