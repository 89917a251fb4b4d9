//! The figures of a run that thresholds may name.

use std::fmt;
use std::str::FromStr;

use push::RetryCause;

/// One figure of a run. Its name says its unit; a count has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Figure {
    /// A percentile of lateness at send or at acknowledgement, in milliseconds.
    Lateness(LatenessEnd, Percentile),
    /// Acknowledged events a second.
    EventsPerSecond,
    /// Events that the gate acknowledged, whatever it decided.
    Acknowledged,
    /// Events that the gate knew.
    Duplicates,
    /// Events that the gate set aside itself.
    GateQuarantined,
    /// Events that the gate would not have.
    Refused,
    /// Events that were durably set aside here.
    Quarantined,
    /// Posts that were made again, for any cause.
    Retries,
    /// Posts that were made again for one cause.
    RetriesFor(RetryCause),
    /// Saves of cursors that failed and were retried.
    SaveRetries,
    /// Outages of the ingestion gate and of the checkpoint store.
    Outages,
    /// Seconds of all outages together.
    OutageSeconds,
    /// Seconds from the first look at the evidence to the last save.
    WallSeconds,
}

/// At which end of its post an event was late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatenessEnd {
    /// When it was sent.
    Send,
    /// When it was acknowledged.
    Ack,
}

/// A percentile of lateness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Percentile {
    /// The median.
    P50,
    /// The 90th percentile.
    P90,
    /// The 99th percentile.
    P99,
    /// The 99.9th percentile.
    P999,
    /// The largest value.
    Max,
}

impl Percentile {
    /// The share of events that are no later, 0 to 1.
    pub(crate) const fn quantile(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
            Self::Max => 1.0,
        }
    }
}

/// What a figure is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureUnit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Events a second.
    PerSecond,
    /// A number of events, posts, saves or outages.
    Count,
}

impl Figure {
    /// Every figure with its name, as documents list them.
    pub const NAMED: [(&'static str, Self); 30] = {
        use Figure::{Lateness, RetriesFor};
        use LatenessEnd::{Ack, Send};
        use Percentile::{Max, P50, P90, P99, P999};
        [
            ("lateness_send_p50_ms", Lateness(Send, P50)),
            ("lateness_send_p90_ms", Lateness(Send, P90)),
            ("lateness_send_p99_ms", Lateness(Send, P99)),
            ("lateness_send_p999_ms", Lateness(Send, P999)),
            ("lateness_send_max_ms", Lateness(Send, Max)),
            ("lateness_ack_p50_ms", Lateness(Ack, P50)),
            ("lateness_ack_p90_ms", Lateness(Ack, P90)),
            ("lateness_ack_p99_ms", Lateness(Ack, P99)),
            ("lateness_ack_p999_ms", Lateness(Ack, P999)),
            ("lateness_ack_max_ms", Lateness(Ack, Max)),
            ("events_per_second", Self::EventsPerSecond),
            ("acknowledged", Self::Acknowledged),
            ("duplicates", Self::Duplicates),
            ("gate_quarantined", Self::GateQuarantined),
            ("refused", Self::Refused),
            ("quarantined", Self::Quarantined),
            ("retries", Self::Retries),
            (
                "retries_not_connected",
                RetriesFor(RetryCause::NotConnected),
            ),
            (
                "retries_connection_lost",
                RetriesFor(RetryCause::ConnectionLost),
            ),
            ("retries_timeout", RetriesFor(RetryCause::Timeout)),
            ("retries_http_408", RetriesFor(RetryCause::Http408)),
            ("retries_http_429", RetriesFor(RetryCause::Http429)),
            ("retries_http_503", RetriesFor(RetryCause::Http503)),
            ("retries_http_5xx", RetriesFor(RetryCause::Http5xx)),
            (
                "retries_gate_unhealthy",
                RetriesFor(RetryCause::GateUnhealthy),
            ),
            ("retries_in_doubt", RetriesFor(RetryCause::InDoubt)),
            ("save_retries", Self::SaveRetries),
            ("outages", Self::Outages),
            ("outages_s", Self::OutageSeconds),
            ("wall_s", Self::WallSeconds),
        ]
    };

    /// The figure's name in conditions and reports.
    pub fn as_str(self) -> &'static str {
        let named = Self::NAMED.iter().find(|(_, figure)| *figure == self);
        named.map_or("", |(name, _)| name)
    }

    /// What the figure is measured in.
    pub const fn unit(self) -> FigureUnit {
        match self {
            Self::Lateness(..) => FigureUnit::Milliseconds,
            Self::EventsPerSecond => FigureUnit::PerSecond,
            Self::OutageSeconds | Self::WallSeconds => FigureUnit::Seconds,
            Self::Acknowledged
            | Self::Duplicates
            | Self::GateQuarantined
            | Self::Refused
            | Self::Quarantined
            | Self::Retries
            | Self::RetriesFor(_)
            | Self::SaveRetries
            | Self::Outages => FigureUnit::Count,
        }
    }

    /// Whether the figure can be told of a stretch of a run, not only of the whole.
    pub const fn has_window(self) -> bool {
        !matches!(self, Self::WallSeconds)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Figure {
    type Err = String;

    /// # Errors
    /// A sentence that lists the known figures.
    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::NAMED.iter().find(|(known, _)| *known == name);
        named.map(|(_, figure)| *figure).ok_or_else(|| {
            let known = Self::NAMED.map(|(name, _)| name).join(", ");
            format!("`{name}` is no figure of a run; known are {known}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_one_name_and_each_retry_cause_a_figure_named_by_it() {
        for (name, figure) in Figure::NAMED {
            assert_eq!(figure.as_str(), name);
            assert_eq!(name.parse(), Ok(figure));
        }
        for cause in RetryCause::ALL {
            let name = format!("retries_{}", cause.as_str());
            assert_eq!(name.parse(), Ok(Figure::RetriesFor(cause)));
        }
    }

    #[test]
    fn a_unit_is_the_end_of_the_name() {
        for (name, figure) in Figure::NAMED {
            let unit = match name {
                _ if name.ends_with("_ms") => FigureUnit::Milliseconds,
                _ if name.ends_with("_per_second") => FigureUnit::PerSecond,
                _ if name.ends_with("_s") => FigureUnit::Seconds,
                _ => FigureUnit::Count,
            };
            assert_eq!(figure.unit(), unit, "{name}");
        }
    }

    #[test]
    fn an_unknown_figure_is_refused_with_the_known_ones() {
        let refused = "latency_p99".parse::<Figure>().unwrap_err();
        for (name, _) in Figure::NAMED {
            assert!(refused.contains(name), "{refused}");
        }
    }
}
