//! The metrics of all streams, in the three formats of Prometheus.
//!
//! | file | idea |
//! |---|---|
//! | [`exposition`] | which format a scraper gets, and the bytes |
//! | [`protobuf`] | `io.prometheus.client.MetricFamily` messages, with native histograms |
//! | [`text`] | the two text formats, by the crate `prometheus-client` |
//! | [`families`] | the samples of every metric of [`wsp::metrics`] |

pub(crate) mod exposition;
mod protobuf;
mod text;
mod families;
