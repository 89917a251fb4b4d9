//! What a stream says of itself, as the console reads it.
//!
//! Fields that the console does not know are passed on to the page: a stream may be newer.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use wsp::push::{Away, RetryCause};
use wsp::replay::{Counters, LatenessHistogram};

/// A snapshot that a stream answered with.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) pid: u32,
    pub(crate) state: String,
    pub(crate) pace: Pace,
    pub(crate) read: u64,
    pub(crate) buffered: u64,
    pub(crate) in_flight: u64,
    pub(crate) durable: u64,
    #[serde(default)]
    pub(crate) total: Option<u64>,
    #[serde(default)]
    pub(crate) event_times: EventTimes,
    #[serde(default)]
    pub(crate) gate_away: Option<Away>,
    #[serde(default)]
    pub(crate) store_away: Option<Away>,
    #[serde(default)]
    pub(crate) waiting_for_store_s: Option<f64>,
    #[serde(default)]
    pub(crate) counters: Counters,
}

/// What makes the next event due.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pace {
    #[serde(default)]
    pub(crate) speedup: Option<f64>,
    #[serde(default)]
    pub(crate) rate: Vec<RateStep>,
}

/// From an offset on, so many events a second.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RateStep {
    pub(crate) rate: f64,
}

/// The event times of the borders, as text.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct EventTimes {
    #[serde(default)]
    pub(crate) handed_over: Option<String>,
    #[serde(default)]
    pub(crate) acknowledged: Option<String>,
    #[serde(default)]
    pub(crate) durable: Option<String>,
}

/// One line of a stream's answer: the snapshot for us, and what the page shows.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) snapshot: Snapshot,
    pub(crate) page: Value,
    /// Snapshots that the stream left out on this connection.
    pub(crate) dropped: u64,
}

impl Told {
    /// Reads an answer to a watch or a status.
    ///
    /// # Errors
    /// It is not what a stream of this version says.
    pub(crate) fn read(line: &str) -> Result<Self, serde_json::Error> {
        let mut answer: Value = serde_json::from_str(line)?;
        let dropped = answer["dropped"].as_u64().unwrap_or(0);
        let mut page = answer["stream"].take();
        let snapshot = Snapshot::deserialize(&page)?;
        if let Some(fields) = page.as_object_mut() {
            fields.remove("counters");
            fields.extend(figures(&snapshot.counters));
        }
        Ok(Self {
            snapshot,
            page,
            dropped,
        })
    }
}

/// The counters as the page shows them: histograms as a few percentiles.
fn figures(counters: &Counters) -> Map<String, Value> {
    let causes = RetryCause::ALL.into_iter();
    let causes = causes.map(|cause| (cause.as_str().to_owned(), counters.retries.get(cause)));
    let retries: Map<String, Value> = causes
        .filter(|(_, count)| *count > 0)
        .map(|(cause, count)| (cause, count.into()))
        .collect();
    let figures = json!({
        "decisions": counters.acknowledged,
        "refused": counters.refused,
        "retries": retries,
        "permits_in_use": counters.permits_in_use,
        "permits_allowed": counters.permits_allowed,
        "checkpoints": counters.checkpoints,
        "active_s": counters.active().as_secs_f64(),
        "send_lateness": percentiles(&counters.lateness.send),
        "ack_lateness": percentiles(&counters.lateness.ack),
    });
    match figures {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Milliseconds at some quantiles, or nothing of no event.
pub(crate) fn percentiles(histogram: &LatenessHistogram) -> Value {
    let at = |quantile| histogram.at_quantile(quantile).map(millis);
    match at(0.5) {
        Some(p50) => json!({
            "p50_ms": p50,
            "p90_ms": at(0.9),
            "p99_ms": at(0.99),
            "max_ms": histogram.max().map(millis),
        }),
        None => Value::Null,
    }
}

pub(crate) fn millis(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_streams_of_every_release_said_is_read() {
        let releases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/releases");
        let mut read = 0;
        for release in std::fs::read_dir(releases).unwrap() {
            let talk = release.unwrap().path().join("control.jsonl");
            for exchange in std::fs::read_to_string(talk).unwrap().lines() {
                let exchange: Value = serde_json::from_str(exchange).unwrap();
                for line in exchange["answers"].as_array().unwrap() {
                    let line = line.as_str().unwrap();
                    let whole: Value = serde_json::from_str(line).unwrap();
                    let Some(stream) = whole.get("stream") else {
                        continue;
                    };
                    let told = Told::read(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                    assert_eq!(told.snapshot.read, stream["read"].as_u64().unwrap());
                    assert_eq!(told.snapshot.state, stream["state"].as_str().unwrap());
                    read += 1;
                }
            }
        }
        assert!(read > 10, "{read} snapshots were read");
    }
}
