//! The samples of every metric, format-neutral.

use wsp::metrics::{self, LATENESS_BOUNDS, LATENESS_SCHEMA, Metric, OF_STREAM};
use wsp::push::RetryCause;
use wsp::replay::{ExponentialBuckets, LatenessHistogram, State};

use wsp::EventTime;

use crate::hub::streams::{Figures, StreamFigures};

/// A metric with its samples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Family {
    pub(crate) metric: Metric,
    pub(crate) samples: Vec<Sample>,
}

/// One sample, with the values of its metric's labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: Value,
}

/// What a sample says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Distribution(Distribution),
}

/// A distribution over seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// The upper end of each classic bucket but the last, and how many values are at most that.
    pub(crate) classic: Vec<(f64, u64)>,
    pub(crate) schema: i8,
    /// The native buckets.
    pub(crate) native: ExponentialBuckets,
}

impl Distribution {
    fn of(histogram: &LatenessHistogram) -> Self {
        let counts = histogram.cumulative(&LATENESS_BOUNDS);
        Self {
            count: histogram.count(),
            sum: histogram.sum().as_secs_f64(),
            classic: LATENESS_BOUNDS.into_iter().zip(counts).collect(),
            schema: LATENESS_SCHEMA,
            native: histogram.exponential(LATENESS_SCHEMA),
        }
    }
}

/// Every metric of the table in its order, each with the samples that there are.
pub(crate) fn families(figures: &Figures) -> Vec<Family> {
    let family = |metric: &Metric| Family {
        metric: *metric,
        samples: samples(metric, figures),
    };
    metrics::ALL.iter().map(family).collect()
}

fn samples(metric: &Metric, figures: &Figures) -> Vec<Sample> {
    let alone = |value: f64| {
        vec![Sample {
            labels: Vec::new(),
            value: Value::Number(value),
        }]
    };
    match *metric {
        metrics::STREAMS => alone(figures.streams.len() as f64),
        metrics::SNAPSHOTS_DROPPED => alone(figures.dropped as f64),
        metrics::STREAMS_ENDED => {
            let ended = figures.ended_by.iter();
            let ended = ended.map(|(reason, &times)| Sample {
                labels: vec![("reason", reason.clone())],
                value: Value::Number(times as f64),
            });
            ended.collect()
        }
        _ => {
            let streams = figures.streams.iter();
            streams
                .flat_map(|stream| of_stream(metric, stream))
                .collect()
        }
    }
}

/// The samples of a metric of one stream.
fn of_stream(metric: &Metric, stream: &StreamFigures) -> Vec<Sample> {
    let snapshot = &stream.snapshot;
    let counters = &snapshot.counters;
    let away = |away: &Option<wsp::push::Away>| away.as_ref().map_or(0, |away| away.seconds);
    let number = |value: f64| vec![(None, Value::Number(value))];
    let maybe = |value: Option<f64>| value.map_or_else(Vec::new, number);
    let late = |histogram| vec![(None, Value::Distribution(Distribution::of(histogram)))];
    let values = match *metric {
        metrics::SNAPSHOT_AGE => number(stream.age.as_secs_f64()),
        metrics::STATE => by(State::ALL.into_iter().map(|state| {
            let is_so = state.as_str() == snapshot.state;
            (state.as_str(), f64::from(u8::from(is_so)))
        })),
        metrics::SPEEDUP => maybe(snapshot.pace.speedup),
        metrics::RATE => maybe(snapshot.pace.rate.first().map(|step| step.rate)),
        metrics::ELAPSED => number(counters.elapsed_ns as f64 / 1e9),
        metrics::ACTIVE => number(counters.active().as_secs_f64()),
        metrics::EVENT_TIME => {
            let times = &snapshot.event_times;
            let borders = [
                ("handed_over", &times.handed_over),
                ("acknowledged", &times.acknowledged),
                ("durable", &times.durable),
            ];
            let seconds = |text: &Option<String>| {
                let time = EventTime::parse(text.as_deref()?).ok()?;
                Some(time.nanos() as f64 / 1e9)
            };
            by(borders
                .into_iter()
                .filter_map(|(border, text)| Some((border, seconds(text)?))))
        }
        metrics::EXPECTED => maybe(snapshot.total.map(|total| total as f64)),
        metrics::READ => number(snapshot.read as f64),
        metrics::BUFFERED => number(snapshot.buffered as f64),
        metrics::IN_FLIGHT => number(snapshot.in_flight as f64),
        metrics::DURABLE => number(snapshot.durable as f64),
        metrics::ACKNOWLEDGED | metrics::QUARANTINED => {
            let outputs = counters.outputs.iter();
            let outputs = outputs.map(|output| {
                let count = if *metric == metrics::ACKNOWLEDGED {
                    output.acknowledged
                } else {
                    output.quarantined
                };
                (output.output_id.to_string(), count as f64)
            });
            by(outputs)
        }
        metrics::DECISIONS => {
            let decisions = &counters.acknowledged;
            by([
                ("ADMIT", decisions.admit as f64),
                ("DUPLICATE", decisions.duplicate as f64),
                ("QUARANTINE", decisions.quarantine as f64),
            ])
        }
        metrics::REFUSED => number(counters.refused as f64),
        metrics::RETRIES => by(RetryCause::ALL.into_iter().map(|cause| {
            let count = counters.retries.get(cause);
            (cause.as_str(), count as f64)
        })),
        metrics::PERMITS_IN_USE => number(counters.permits_in_use as f64),
        metrics::PERMITS_ALLOWED => number(counters.permits_allowed as f64),
        metrics::SEND_LATENESS => late(&counters.lateness.send),
        metrics::ACK_LATENESS => late(&counters.lateness.ack),
        metrics::SAVES => number(counters.checkpoints.saves as f64),
        metrics::SAVE_RETRIES => number(counters.checkpoints.retried as f64),
        metrics::OUTAGES => by([
            (
                "checkpoint_store",
                counters.outages.checkpoint_store.times as f64,
            ),
            (
                "ingestion_gate",
                counters.outages.ingestion_gate.times as f64,
            ),
        ]),
        metrics::AWAY => by([
            ("checkpoint_store", away(&snapshot.store_away) as f64),
            ("ingestion_gate", away(&snapshot.gate_away) as f64),
        ]),
        metrics::WAITING_FOR_STORE => number(snapshot.waiting_for_store_s.unwrap_or(0.0)),
        // The test below sees that there is none.
        _ => Vec::new(),
    };
    let with_labels = |(label, value): (Option<String>, Value)| {
        let [run, of] = OF_STREAM;
        let mut labels = vec![
            (run, stream.key.run.clone()),
            (of, stream.key.stream.clone()),
        ];
        labels.extend(metric.labels.get(2).copied().zip(label));
        Sample { labels, value }
    };
    values.into_iter().map(with_labels).collect()
}

/// A value for each value of a label.
fn by<L: Into<String>>(values: impl IntoIterator<Item = (L, f64)>) -> Vec<(Option<String>, Value)> {
    let values = values.into_iter();
    values
        .map(|(label, value)| (Some(label.into()), Value::Number(value)))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hub::snapshot::Told;
    use crate::hub::streams::StreamKey;

    /// A stream of which everything is known.
    pub(crate) fn figures() -> Figures {
        let line = serde_json::json!({
            "version": 1, "watched": 1, "dropped": 0,
            "stream": {
                "pid": 7, "state": "running", "pace": {"speedup": 60.0}, "read": 9, "buffered": 2,
                "in_flight": 3, "acknowledged": 3, "quarantined": 1, "durable": 2, "total": 20,
                "event_times": {
                    "handed_over": "2026-01-28T08:00:02.000000Z",
                    "acknowledged": "2026-01-28T08:00:01.000000Z",
                    "durable": null,
                },
                "waiting_for_store_s": 1.5,
                "counters": counters(),
            },
        });
        let told = Told::read(&line.to_string()).unwrap();
        let mut with_rate = told.snapshot.clone();
        with_rate.pace = serde_json::from_str(r#"{"rate":[{"offset_s":0,"rate":500}]}"#).unwrap();
        let stream = |stream: &str, snapshot| StreamFigures {
            key: StreamKey {
                run: "platform_20260128T090000Z".to_owned(),
                stream: stream.to_owned(),
            },
            snapshot,
            age: Duration::from_millis(250),
        };
        Figures {
            streams: vec![stream("7", told.snapshot), stream("7-2", with_rate)],
            ended_by: [("KILLED".to_owned(), 1)].into(),
            dropped: 4,
        }
    }

    fn counters() -> serde_json::Value {
        let mut counters = wsp::replay::Counters::default();
        counters.elapsed_ns = 3_500_000_000;
        counters.permits_allowed = 32;
        let mut counters = serde_json::to_value(&counters).unwrap();
        counters["outputs"] = serde_json::json!([
            {"output_id": "odd\"\\\nid", "acknowledged": 3, "quarantined": 1},
        ]);
        counters["lateness"]["send"] = serde_json::json!(
            {"count": 4, "sum_us": 992_000, "max_us": 990_000, "bins": [[0, 1], [506, 2], [1777, 1]]}
        );
        counters
    }

    #[test]
    fn every_metric_of_the_table_has_samples_with_the_labels_that_it_says() {
        for family in families(&figures()) {
            let metric = family.metric;
            assert!(!family.samples.is_empty(), "{} has no sample", metric.name);
            for sample in family.samples {
                let labels: Vec<&str> = sample.labels.iter().map(|label| label.0).collect();
                assert_eq!(labels, metric.labels, "{}", metric.name);
                let is_distribution = matches!(sample.value, Value::Distribution(_));
                assert_eq!(is_distribution, metric.kind == metrics::Kind::Histogram);
            }
        }
    }
}
