//! The stand-in ingestion gate.

mod faults;
mod options;

use std::net::SocketAddr;

pub use faults::{Fault, FaultRule, RetryAfter, When};
pub use options::{GateOptions, OrderCheck};
use serde::Serialize;

use crate::Error;

/// What the gate has counted. `posts` is the sum of `admitted`, `duplicates`,
/// `quarantined`, `invalid`, `unauthorized` and `faulted`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GateStats {
    /// Requests to the push endpoint whose head was read.
    pub posts: u64,
    /// Envelopes stored for the first time and not quarantined: unique ids.
    pub admitted: u64,
    /// Envelopes whose id was known.
    pub duplicates: u64,
    /// Envelopes stored for the first time and answered `QUARANTINE`.
    pub quarantined: u64,
    /// Bodies that are no envelope.
    pub invalid: u64,
    /// Posts without the token.
    pub unauthorized: u64,
    /// Posts that a fault kept from being judged.
    pub faulted: u64,
    /// Answers by status; a dropped connection is 0.
    pub statuses: std::collections::BTreeMap<u16, u64>,
    /// Connections accepted.
    pub connections: u64,
    /// First-time events that came earlier in event time than their ordering key's last.
    pub order_violations: u64,
    /// Posts that each fault rule has struck, in the rules' order.
    pub faults_fired: Vec<u64>,
}

/// One event as it reached the gate for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The event's id.
    pub event_id: [u8; 32],
    /// Event time, nanoseconds since 1970.
    pub event_time_ns: i64,
    /// Arrival, nanoseconds since the gate's epoch.
    pub arrived_ns: u64,
}

/// A running stand-in gate, on threads of its own. Dropped, it stops.
#[derive(Debug)]
pub struct StandInGate {}

impl StandInGate {
    /// Starts a gate; returns once it listens.
    ///
    /// # Errors
    /// `SANDBOX_GATE_UNBOUND`; `SANDBOX_IO` if the kept file cannot be used.
    pub fn start(_options: GateOptions) -> Result<Self, Error> {
        todo!()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }

    /// `http://host:port`, without the push path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// What it has counted so far.
    pub fn stats(&self) -> GateStats {
        todo!()
    }

    /// Replaces the fault rules; counts and time windows start anew.
    pub fn set_faults(&self, _rules: Vec<FaultRule>) {
        todo!()
    }

    /// Whether an event was stored, under any platform run. The id is hex64.
    pub fn has(&self, _event_id: &str) -> bool {
        todo!()
    }

    /// Events in the order they were first stored; empty unless
    /// [`GateOptions::record_arrivals`].
    pub fn arrivals(&self) -> Vec<Arrival> {
        todo!()
    }

    /// The instant, and the wall clock then, that arrivals count from.
    pub fn epoch(&self) -> (std::time::Instant, std::time::SystemTime) {
        todo!()
    }

    /// Stops taking connections, finishes the requests in hand, and stops.
    pub fn stop(self) {
        todo!()
    }

    /// Stops like a killed process: connections are cut wherever they are.
    pub fn abort(self) {
        todo!()
    }
}
