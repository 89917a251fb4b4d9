//! The two text formats, as the crate `prometheus-client` writes them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as TheirUnit};
use wsp::metrics::{Kind, Unit};

use super::families::{Family, Sample, Value};

/// Families that are encoded as they are.
#[derive(Debug)]
struct Ready(Vec<Family>);

impl Collector for Ready {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|family| family.encode(&mut encoder))
    }
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metric = self.metric;
        let (unit, kind) = match (metric.unit, metric.kind) {
            (Unit::None, kind) => (None, kind),
            (Unit::Seconds, kind) => (Some(TheirUnit::Seconds), kind),
        };
        let kind = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        // Unit and `_total` are added by the encoder.
        let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        let name = match metric.unit {
            Unit::None => name,
            Unit::Seconds => name.strip_suffix("_seconds").unwrap_or(name),
        };
        let mut of_family = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
        self.samples.iter().try_for_each(|sample| {
            if sample.labels.is_empty() {
                return encode_sample(&mut of_family, self.metric.kind, sample);
            }
            let mut of_labels = of_family.encode_family(&sample.labels)?;
            encode_sample(&mut of_labels, self.metric.kind, sample)
        })
    }
}

fn encode_sample(encoder: &mut MetricEncoder<'_>, kind: Kind, sample: &Sample) -> fmt::Result {
    match &sample.value {
        Value::Number(number) if kind == Kind::Counter => {
            encoder.encode_counter::<NoLabelSet, f64, f64>(number, None)
        }
        Value::Number(number) => encoder.encode_gauge(number),
        Value::Distribution(of) => {
            // Its last bucket holds everything.
            let mut before = 0;
            let mut buckets: Vec<(f64, u64)> = of
                .classic
                .iter()
                .map(|&(bound, cumulative)| {
                    let own = cumulative - before;
                    before = cumulative;
                    (bound, own)
                })
                .collect();
            buckets.push((f64::INFINITY, of.count.saturating_sub(before)));
            encoder.encode_histogram::<NoLabelSet>(of.sum, of.count, &buckets, None)
        }
    }
}

fn registry(families: Vec<Family>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Ready(families)));
    registry
}

/// The Prometheus text format 0.0.4.
pub(super) fn prometheus(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::prometheus_text::encode(&mut text, &registry(families))?;
    Ok(text)
}

/// The OpenMetrics text format 1.0.0.
pub(super) fn openmetrics(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry(families))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::families::families;
    use super::super::families::tests::figures;
    use super::*;

    #[test]
    fn the_text_format_names_every_metric_and_counts_buckets_up() {
        let text = prometheus(families(&figures())).unwrap();
        for metric in wsp::metrics::ALL {
            let line = format!("# TYPE {} {}\n", metric.name, metric.kind.as_str());
            assert!(text.contains(&line), "{line}{text}");
        }
        let of = r#"run="platform_20260128T090000Z",stream="7""#;
        let expected = [
            format!(r#"wsp_events_acknowledged_total{{{of},output="odd\"\\\nid"}} 3"#),
            format!(r#"wsp_send_lateness_seconds_bucket{{{of},le="0.0001"}} 1"#),
            format!(r#"wsp_send_lateness_seconds_bucket{{{of},le="0.0025"}} 3"#),
            format!(r#"wsp_send_lateness_seconds_bucket{{{of},le="1"}} 4"#),
            format!(r#"wsp_send_lateness_seconds_bucket{{{of},le="+Inf"}} 4"#),
            format!("wsp_send_lateness_seconds_sum{{{of}}} 0.992"),
            format!("wsp_send_lateness_seconds_count{{{of}}} 4"),
        ];
        for line in expected {
            assert!(
                text.lines().any(|found| found.starts_with(&line)),
                "{line}\n{text}"
            );
        }
        assert!(!text.contains("# EOF"));
    }

    #[test]
    fn the_open_metrics_format_has_units_and_an_end() {
        let text = openmetrics(families(&figures())).unwrap();
        assert!(text.ends_with("# EOF\n"));
        assert!(
            text.contains("# UNIT wsp_send_lateness_seconds seconds\n"),
            "{text}"
        );
        assert!(text.contains("# TYPE wsp_events_read counter\n"), "{text}");
        assert!(text.contains("\nwsp_events_read_total{"), "{text}");
    }
}
