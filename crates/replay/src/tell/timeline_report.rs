//! A timeline as reports have it: a column of values a figure, an entry a bucket.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use model::OutputId;
use push::RetryCause;
use serde::{Deserialize, Serialize};

use crate::tell::counters::LatenessHistograms;
use crate::tell::lateness_histogram::LatenessHistogram;
use crate::tell::tally::{Gauges, MOST_OUTPUTS, Tally};

/// A run over time, in at most 512 buckets of one width.
///
/// Each column has an entry a bucket. A count is what happened in the bucket; a gauge is the mean
/// of what was seen in it, `None` where nothing was looked at; a percentile is that of the
/// bucket's events, to two digits, `None` without events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TimelineReport {
    /// When the first bucket begins, in UTC, to the millisecond.
    pub began_at_utc: String,
    /// How long each bucket is, in milliseconds.
    pub width_ms: u64,
    /// The number of buckets.
    pub buckets: usize,
    /// Events that the gate acknowledged, whatever it decided.
    pub acknowledged: Vec<u64>,
    /// Events of those that the gate knew.
    pub duplicates: Vec<u64>,
    /// Events of those that the gate set aside itself.
    pub gate_quarantined: Vec<u64>,
    /// Events that the gate would not have.
    pub refused: Vec<u64>,
    /// Events that were durably set aside here.
    pub quarantined: Vec<u64>,
    /// Posts that were made again, by cause; causes that never occurred are left out.
    pub retries: BTreeMap<String, Vec<u64>>,
    /// Saves of cursors that succeeded.
    pub saves: Vec<u64>,
    /// Saves of cursors that failed and were retried.
    pub save_retries: Vec<u64>,
    /// Lanes that were busy with an event, at most as many as were allowed.
    pub permits_in_use: Vec<Option<f64>>,
    /// Requests that might be in flight.
    pub permits_allowed: Vec<Option<f64>>,
    /// Events that were read and not yet handed to a lane.
    pub buffered: Vec<Option<f64>>,
    /// From the due time to the first post; `None` for an unpaced stream.
    pub lateness_send_ms: Option<LatenessColumns>,
    /// From the due time to the whole acknowledgement; `None` for an unpaced stream.
    pub lateness_ack_ms: Option<LatenessColumns>,
    /// The first 64 outputs, in the order of the list.
    pub outputs: Vec<OutputColumn>,
    /// Events of all other outputs that the gate acknowledged; `None` without others.
    pub other_outputs: Option<Vec<u64>>,
}

/// One lateness over time, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatenessColumns {
    /// The median.
    pub p50: Vec<Option<f64>>,
    /// The 99th percentile.
    pub p99: Vec<Option<f64>>,
    /// The largest value.
    pub max: Vec<Option<f64>>,
}

/// One output over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputColumn {
    /// The id of the output.
    pub output_id: OutputId,
    /// Events of the output that the gate acknowledged.
    pub acknowledged: Vec<u64>,
}

/// One bucket of a timeline.
pub(crate) struct BucketReading<'a> {
    pub(crate) tally: &'a Tally,
    pub(crate) gauges: Gauges,
    pub(crate) lateness: &'a LatenessHistograms,
}

impl TimelineReport {
    pub(crate) fn new<'o, 'b>(
        began: SystemTime,
        width: Duration,
        outputs: impl ExactSizeIterator<Item = &'o OutputId>,
        buckets: impl Iterator<Item = BucketReading<'b>>,
    ) -> Self {
        let buckets: Vec<BucketReading<'b>> = buckets.collect();
        let others = outputs.len() > MOST_OUTPUTS;
        let count = |of: fn(&Tally) -> u64| column(&buckets, |bucket| of(bucket.tally));
        let gauge = |of: fn(&Gauges) -> u64| column(&buckets, |bucket| mean(&bucket.gauges, of));
        let of_output = |index: usize| {
            column(&buckets, |bucket| {
                bucket.tally.outputs.get(index).copied().unwrap_or(0)
            })
        };
        let retries = RetryCause::ALL.iter().enumerate().map(|(index, cause)| {
            let column = column(&buckets, |bucket| bucket.tally.retries[index]);
            (cause.as_str().to_owned(), column)
        });
        let outputs = outputs.take(MOST_OUTPUTS).enumerate();
        Self {
            began_at_utc: DateTime::<Utc>::from(began).to_rfc3339_opts(SecondsFormat::Millis, true),
            width_ms: width.as_millis() as u64,
            buckets: buckets.len(),
            acknowledged: count(|tally| tally.acknowledged),
            duplicates: count(|tally| tally.duplicates),
            gate_quarantined: count(|tally| tally.gate_quarantined),
            refused: count(|tally| tally.refused),
            quarantined: count(|tally| tally.quarantined),
            retries: retries
                .filter(|(_, column)| column.iter().any(|count| *count > 0))
                .collect(),
            saves: count(|tally| tally.saves),
            save_retries: count(|tally| tally.save_retries),
            permits_in_use: gauge(|gauges| gauges.permits_in_use),
            permits_allowed: gauge(|gauges| gauges.permits_allowed),
            buffered: gauge(|gauges| gauges.buffered),
            lateness_send_ms: LatenessColumns::of(&buckets, |lateness| &lateness.send),
            lateness_ack_ms: LatenessColumns::of(&buckets, |lateness| &lateness.ack),
            outputs: outputs
                .map(|(index, output_id)| OutputColumn {
                    output_id: output_id.clone(),
                    acknowledged: of_output(index),
                })
                .collect(),
            other_outputs: others.then(|| of_output(MOST_OUTPUTS)),
        }
    }
}

impl LatenessColumns {
    fn of(
        buckets: &[BucketReading<'_>],
        which: fn(&LatenessHistograms) -> &LatenessHistogram,
    ) -> Option<Self> {
        let histograms = || buckets.iter().map(|bucket| which(bucket.lateness));
        let percentile = |quantile| {
            let values = histograms().map(|histogram| histogram.at_quantile(quantile));
            values.map(|value| value.map(millis)).collect()
        };
        histograms()
            .any(|histogram| histogram.count() > 0)
            .then(|| Self {
                p50: percentile(0.5),
                p99: percentile(0.99),
                max: histograms()
                    .map(|histogram| histogram.max().map(millis))
                    .collect(),
            })
    }
}

fn column<T>(buckets: &[BucketReading<'_>], of: impl Fn(&BucketReading<'_>) -> T) -> Vec<T> {
    buckets.iter().map(of).collect()
}

/// The mean to one decimal: gauges count lanes and events, and reports are read by people.
fn mean(gauges: &Gauges, of: fn(&Gauges) -> u64) -> Option<f64> {
    let records = gauges.records as f64;
    (gauges.records > 0).then(|| (of(gauges) as f64 / records * 10.0).round() / 10.0)
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}
