//! Which format a scraper gets, and the bytes.
//!
//! | a scraper accepts | it gets |
//! |---|---|
//! | `application/vnd.google.protobuf` with `proto=io.prometheus.client.MetricFamily` and `encoding=delimited` | protobuf, native and classic histograms |
//! | `application/openmetrics-text` | OpenMetrics 1.0.0 |
//! | `text/plain`, `*/*`, or says nothing | the Prometheus text format 0.0.4 |
//!
//! The highest `q` wins; of equal ones, the order above. What accepts none of them gets text too, as
//! Prometheus' own exporters do.

use super::families::{Family, families};
use super::{protobuf, text};
use crate::hub::streams::Figures;

/// A format of metrics, the one that says most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Protobuf,
    OpenMetrics,
    Text,
}

impl Format {
    /// The format for a scraper that accepts this.
    pub(crate) fn accepted_by(accept: Option<&str>) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range
                .split(';')
                .map(|part| part.trim().to_ascii_lowercase());
            let kind = parts.next().unwrap_or_default();
            let parameters: Vec<String> = parts.collect();
            let has = |parameter: &str| parameters.iter().any(|given| given == parameter);
            let quality = parameters.iter().find_map(|given| given.strip_prefix("q="));
            let quality = quality.map_or(Some(1.0), |text| text.parse::<f64>().ok());
            let format = match kind.as_str() {
                "application/vnd.google.protobuf"
                    if has("proto=io.prometheus.client.metricfamily")
                        && has("encoding=delimited") =>
                {
                    Self::Protobuf
                }
                "application/openmetrics-text" => Self::OpenMetrics,
                "text/plain" | "text/*" | "*/*" => Self::Text,
                _ => continue,
            };
            let quality = quality.unwrap_or(0.0);
            let says_more = (format as u8) < (best.0 as u8);
            if quality > 0.0 && (quality > best.1 || (quality >= best.1 && says_more)) {
                best = (format, quality);
            }
        }
        best.0
    }

    /// The content type of the format.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// All metrics in this format; `None` if they cannot be written, which is a defect.
    pub(crate) fn encode(self, figures: &Figures) -> Option<Vec<u8>> {
        let families: Vec<Family> = families(figures);
        match self {
            Self::Protobuf => Some(protobuf::encode(&families)),
            Self::OpenMetrics => text::openmetrics(families).ok().map(String::into_bytes),
            Self::Text => text::prometheus(families).ok().map(String::into_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_that_it_likes_best() {
        use Format::{OpenMetrics, Protobuf, Text};
        // As Prometheus 2.42 asks, without and with native histograms.
        let plain = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (accept, expected) in [
            (None, Text),
            (Some(""), Text),
            (Some("*/*"), Text),
            (Some("text/html, image/png"), Text),
            (Some(plain), OpenMetrics),
            (Some(native), Protobuf),
            (Some("text/plain, application/openmetrics-text;q=0.9"), Text),
            (
                Some("text/plain, application/openmetrics-text"),
                OpenMetrics,
            ),
            (Some("application/openmetrics-text;q=0"), Text),
            (Some("application/openmetrics-text;q=x"), Text),
            (Some("application/vnd.google.protobuf"), Text),
            (
                Some(
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text, */*;q=0.1",
                ),
                Text,
            ),
        ] {
            assert_eq!(Format::accepted_by(accept), expected, "{accept:?}");
        }
    }
}
