//! The metrics of streams: one table of names, kinds, units and labels.
//!
//! Whoever exports metrics takes them from here, and tests compare `docs/metrics.md`, the dashboard
//! and the alerting rules with it. Names follow Prometheus' conventions: seconds, `_total` for what
//! only grows. Labels are bounded: none has more values than a stream has outputs, and none changes
//! with an event.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from the start of what it is about.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution, as classic and as native buckets.
    Histogram,
}

impl Kind {
    /// The kind as Prometheus spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    None,
    /// Seconds, also since 1970-01-01 UTC.
    Seconds,
}

impl Unit {
    /// The unit as it ends a metric's name; empty for a plain number.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Seconds => "seconds",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name as it is queried by, with its unit and `_total`.
    pub name: &'static str,
    /// How the metric behaves.
    pub kind: Kind,
    /// What the metric is measured in.
    pub unit: Unit,
    /// The labels, in their order.
    pub labels: &'static [&'static str],
    /// What the metric says, in one sentence.
    pub help: &'static str,
}

/// The labels that tell streams apart: the platform run, and the process with the number of its
/// stream where it runs several.
pub const OF_STREAM: [&str; 2] = ["run", "stream"];
const STREAM: &[&str] = &OF_STREAM;

/// The upper ends of the classic lateness buckets, in seconds.
pub const LATENESS_BOUNDS: [f64; 17] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0, 60.0, 600.0,
];
/// The resolution of the native lateness buckets: each is 2^(1/8), about 9 %, wide.
pub const LATENESS_SCHEMA: i8 = 3;

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $item:ident = $name:literal, $kind:ident, $unit:ident, $labels:expr;)+) => {
        $(
            $(#[doc = $help])+
            pub const $item: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: $labels,
                help: concat!($($help),+).trim_ascii_start(),
            };
        )+

        /// Every metric there is, in the order in which they are exported.
        pub const ALL: &[Metric] = &[$($item),+];
    };
}

metrics! {
    /// Streams that the console sees now.
    STREAMS = "wsp_console_streams", Gauge, None, &[];
    /// Streams that ended while the console watched, by how: STREAMED, STOPPED, a reason code, KILLED, or UNKNOWN.
    STREAMS_ENDED = "wsp_console_streams_ended_total", Counter, None, &["reason"];
    /// Snapshots that streams left out since the console took them too slowly.
    SNAPSHOTS_DROPPED = "wsp_console_snapshots_dropped_total", Counter, None, &[];
    /// The age of the snapshot that the stream's other metrics are from.
    SNAPSHOT_AGE = "wsp_snapshot_age_seconds", Gauge, Seconds, STREAM;
    /// 1 for the state that the stream is in, 0 for all others.
    STATE = "wsp_stream_state", Gauge, None, &["run", "stream", "state"];
    /// Event seconds a wall second that the stream aims at; 0 is as fast as possible; absent for a rate.
    SPEEDUP = "wsp_pace_speedup", Gauge, None, STREAM;
    /// Events a wall second that the stream aims at, in the first step of its rate; absent for a speedup.
    RATE = "wsp_pace_events_per_second", Gauge, None, STREAM;
    /// Wall time since the stream began.
    ELAPSED = "wsp_elapsed_seconds_total", Counter, Seconds, STREAM;
    /// Wall time in which events might leave: neither before the first was due, nor paused or ending.
    ACTIVE = "wsp_active_seconds_total", Counter, Seconds, STREAM;
    /// The event time up to which events crossed a border: handed_over, acknowledged or durable.
    EVENT_TIME = "wsp_event_time_seconds", Gauge, Seconds, &["run", "stream", "border"];
    /// Events that the run will come to, as far as that is known.
    EXPECTED = "wsp_events_expected", Gauge, None, STREAM;
    /// Rows that were framed and entered the order.
    READ = "wsp_events_read_total", Counter, None, STREAM;
    /// Events that were read and not yet handed to a lane.
    BUFFERED = "wsp_events_buffered", Gauge, None, STREAM;
    /// Events that were handed to a lane and are not yet done.
    IN_FLIGHT = "wsp_events_in_flight", Gauge, None, STREAM;
    /// Events that the ingestion gate acknowledged, by output.
    ACKNOWLEDGED = "wsp_events_acknowledged_total", Counter, None, &["run", "stream", "output"];
    /// Events that were durably set aside here, by output.
    QUARANTINED = "wsp_events_quarantined_total", Counter, None, &["run", "stream", "output"];
    /// Events that saved cursors cover.
    DURABLE = "wsp_events_durable_total", Counter, None, STREAM;
    /// Acknowledgements of the ingestion gate by its decision: ADMIT, DUPLICATE or QUARANTINE.
    DECISIONS = "wsp_gate_decisions_total", Counter, None, &["run", "stream", "decision"];
    /// Events that the ingestion gate would not have.
    REFUSED = "wsp_events_refused_total", Counter, None, STREAM;
    /// Posts that were made again, by cause.
    RETRIES = "wsp_push_retries_total", Counter, None, &["run", "stream", "cause"];
    /// Lanes that are busy with an event.
    PERMITS_IN_USE = "wsp_permits_in_use", Gauge, None, STREAM;
    /// Requests that may be in flight at once.
    PERMITS_ALLOWED = "wsp_permits_allowed", Gauge, None, STREAM;
    /// How late acknowledged events were sent: from the due time to the first post.
    SEND_LATENESS = "wsp_send_lateness_seconds", Histogram, Seconds, STREAM;
    /// How late acknowledged events were acknowledged: from the due time to the whole answer.
    ACK_LATENESS = "wsp_ack_lateness_seconds", Histogram, Seconds, STREAM;
    /// Saves of cursors that succeeded.
    SAVES = "wsp_checkpoint_saves_total", Counter, None, STREAM;
    /// Saves of cursors that failed and were retried.
    SAVE_RETRIES = "wsp_checkpoint_save_retries_total", Counter, None, STREAM;
    /// Outages of a second or more: of the ingestion_gate or the checkpoint_store.
    OUTAGES = "wsp_outages_total", Counter, None, &["run", "stream", "of"];
    /// For how long the ingestion_gate or the checkpoint_store is away; 0 while it answers.
    AWAY = "wsp_away_seconds", Gauge, Seconds, &["run", "stream", "of"];
    /// For how long due events have waited for cursors to be saved; 0 while they do not.
    WAITING_FOR_STORE = "wsp_waiting_for_store_seconds", Gauge, Seconds, STREAM;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions_and_are_their_own() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("wsp_"), "{name}");
            assert_eq!(
                metric.kind == Kind::Counter,
                name.ends_with("_total"),
                "{name}"
            );
            let base = name.trim_end_matches("_total");
            assert_eq!(
                metric.unit == Unit::Seconds,
                base.ends_with("_seconds"),
                "{name}"
            );
            assert!(metric.help.ends_with('.'), "{name}: {}", metric.help);
            assert!(
                metric.labels.is_empty() || metric.labels[0] == "reason" || {
                    metric.labels[..2] == OF_STREAM
                },
                "{name}"
            );
        }
        assert!(LATENESS_BOUNDS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
