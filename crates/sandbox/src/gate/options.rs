//! What a stand-in gate should do.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::FaultRule;

/// How a gate behaves.
#[derive(Debug, Clone)]
pub struct GateOptions {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether envelopes are held against the canonical schema.
    pub validate: bool,
    /// Whether ids are remembered. Without it every post is `ADMIT`, and neither
    /// file, order nor arrivals are kept: the gate as a bare benchmark target.
    pub dedupe: bool,
    /// Envelopes stored for the first time are appended here, one a line, before
    /// they are answered. A gate started on an existing file remembers its ids.
    pub keep: Option<PathBuf>,
    /// What a post must carry.
    pub token: Option<Token>,
    /// Whether event-time order is checked.
    pub order: OrderCheck,
    /// Whether each event's arrival is recorded (56 bytes an event).
    pub record_arrivals: bool,
    /// The misbehaviour to start with.
    pub faults: Vec<FaultRule>,
    /// Seed of the fault rules' probabilities.
    pub seed: u64,
    /// Threads that serve; 0 means one a core.
    pub threads: usize,
}

impl Default for GateOptions {
    /// A free local port, validation and deduplication, no token, no faults.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            validate: true,
            dedupe: true,
            keep: None,
            token: None,
            order: OrderCheck::Off,
            record_arrivals: false,
            faults: Vec::new(),
            seed: 0,
            threads: 0,
        }
    }
}

impl GateOptions {
    /// Nothing but counting: what a throughput measurement wants to push at.
    pub fn bench() -> Self {
        Self {
            validate: false,
            dedupe: false,
            ..Self::default()
        }
    }
}

/// A header and the value that a post must have there. Never shown by `Debug`.
#[derive(Clone)]
pub struct Token {
    /// `X-IG-Api-Key`, say.
    pub header: String,
    /// The secret.
    pub value: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Token({}: …)", self.header)
    }
}

/// Whether the gate checks that first-time events come in event-time order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OrderCheck {
    /// Not at all.
    #[default]
    Off,
    /// For each value of an output's key column. Outputs that are not named here are
    /// one key each. Equal values in two outputs are one key.
    PerKey(HashMap<String, String>),
    /// Over everything that comes.
    Total,
}
