//! How often pushes were repeated, by cause.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::fault::FaultKind;

/// Why an event was pushed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryCause {
    /// There was no connection (refused, unreachable, name or TLS), so the gate has not seen the
    /// request.
    NotConnected,
    /// The connection was lost before a whole answer came.
    ConnectionLost,
    /// No whole answer came within the timeout.
    Timeout,
    /// The gate answered with HTTP 408.
    Http408,
    /// The gate answered with HTTP 429.
    Http429,
    /// The gate answered with HTTP 503.
    Http503,
    /// The gate answered with another HTTP 5xx.
    Http5xx,
    /// The gate said that it takes no event at all.
    GateUnhealthy,
    /// The gate did not know whether it has the event.
    InDoubt,
}

impl RetryCause {
    /// Every cause there is.
    pub const ALL: [Self; 9] = [
        Self::NotConnected,
        Self::ConnectionLost,
        Self::Timeout,
        Self::Http408,
        Self::Http429,
        Self::Http503,
        Self::Http5xx,
        Self::GateUnhealthy,
        Self::InDoubt,
    ];

    /// The cause as reports spell it, for example `http_429`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::ConnectionLost => "connection_lost",
            Self::Timeout => "timeout",
            Self::Http408 => "http_408",
            Self::Http429 => "http_429",
            Self::Http503 => "http_503",
            Self::Http5xx => "http_5xx",
            Self::GateUnhealthy => "gate_unhealthy",
            Self::InDoubt => "in_doubt",
        }
    }

    pub(crate) fn of_fault(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Timeout => Self::Timeout,
            kind if kind.never_sent() => Self::NotConnected,
            _ => Self::ConnectionLost,
        }
    }

    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            408 => Self::Http408,
            429 => Self::Http429,
            503 => Self::Http503,
            _ => Self::Http5xx,
        }
    }
}

/// How often pushes were repeated, by cause. Every repeat that the gate may see is counted here.
#[derive(Debug, Default)]
pub struct RetryCounts([AtomicU64; RetryCause::ALL.len()]);

impl RetryCounts {
    /// The number of pushes repeated for this cause.
    pub fn get(&self, cause: RetryCause) -> u64 {
        self.0[cause as usize].load(Relaxed)
    }

    /// The counts as they are now.
    pub fn read(&self) -> Retries {
        Retries {
            connection_lost: self.get(RetryCause::ConnectionLost),
            gate_unhealthy: self.get(RetryCause::GateUnhealthy),
            http_408: self.get(RetryCause::Http408),
            http_429: self.get(RetryCause::Http429),
            http_503: self.get(RetryCause::Http503),
            http_5xx: self.get(RetryCause::Http5xx),
            in_doubt: self.get(RetryCause::InDoubt),
            not_connected: self.get(RetryCause::NotConnected),
            timeout: self.get(RetryCause::Timeout),
        }
    }

    /// The number of pushes repeated for any cause.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| count.load(Relaxed)).sum()
    }

    pub(crate) fn count(&self, cause: RetryCause) {
        self.0[cause as usize].fetch_add(1, Relaxed);
    }
}

/// The number of pushes that were repeated, by cause: one reading of [`RetryCounts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Retries {
    /// Pushes repeated for [`RetryCause::ConnectionLost`].
    pub connection_lost: u64,
    /// Pushes repeated for [`RetryCause::GateUnhealthy`].
    pub gate_unhealthy: u64,
    /// Pushes repeated for [`RetryCause::Http408`].
    pub http_408: u64,
    /// Pushes repeated for [`RetryCause::Http429`].
    pub http_429: u64,
    /// Pushes repeated for [`RetryCause::Http503`].
    pub http_503: u64,
    /// Pushes repeated for [`RetryCause::Http5xx`].
    pub http_5xx: u64,
    /// Pushes repeated for [`RetryCause::InDoubt`].
    pub in_doubt: u64,
    /// Pushes repeated for [`RetryCause::NotConnected`].
    pub not_connected: u64,
    /// Pushes repeated for [`RetryCause::Timeout`].
    pub timeout: u64,
}

impl Retries {
    /// The number of pushes repeated for this cause.
    pub fn get(&self, cause: RetryCause) -> u64 {
        match cause {
            RetryCause::NotConnected => self.not_connected,
            RetryCause::ConnectionLost => self.connection_lost,
            RetryCause::Timeout => self.timeout,
            RetryCause::Http408 => self.http_408,
            RetryCause::Http429 => self.http_429,
            RetryCause::Http503 => self.http_503,
            RetryCause::Http5xx => self.http_5xx,
            RetryCause::GateUnhealthy => self.gate_unhealthy,
            RetryCause::InDoubt => self.in_doubt,
        }
    }

    /// The number of pushes repeated for any cause.
    pub fn total(&self) -> u64 {
        RetryCause::ALL.iter().map(|cause| self.get(*cause)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_read_where_it_was_counted_and_spelled_as_reports_do() {
        let counts = RetryCounts::default();
        for (times, cause) in (1..).zip(RetryCause::ALL) {
            for _ in 0..times {
                counts.count(cause);
            }
        }
        let retries = counts.read();
        let shown = serde_json::to_value(retries).unwrap();
        for (times, cause) in (1..).zip(RetryCause::ALL) {
            assert_eq!(retries.get(cause), times, "{cause:?}");
            assert_eq!(shown[cause.as_str()], times, "{cause:?}");
        }
        assert_eq!((retries.total(), counts.total()), (45, 45));
        // The fields stand in the order of their names, as the map of earlier reports had them.
        let text = serde_json::to_string(&retries).unwrap();
        assert_eq!(text, shown.to_string());
    }
}
