//! What a stand-in gate should do.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::{Dialect, FaultRule};

/// How a stand-in gate behaves.
#[derive(Debug, Clone)]
pub struct GateOptions {
    /// The address to listen at; port 0 takes a free port.
    pub listen: SocketAddr,
    /// Whether posts are checked against the envelope's schema; an invalid one is refused with 400.
    pub validate: bool,
    /// Whether ids are remembered. Without it every post is `ADMIT`, and neither
    /// file, order nor arrivals are kept: the gate as a bare benchmark target.
    pub dedupe: bool,
    /// The file that new envelopes are appended to, one a line, before they are answered; `None`
    /// keeps none. A gate that starts on an existing file knows its ids.
    pub keep: Option<PathBuf>,
    /// Which of the platform's gates the answers are worded like, receipts and all, and whose states
    /// the gate knows; `None` gives bare decisions.
    pub dialect: Option<Dialect>,
    /// The file that names the schema of each event type's payload; what breaks it is quarantined.
    /// `None` takes any payload. Needs a dialect.
    pub schema_policy: Option<PathBuf>,
    /// The number of failed publishes in a row after which the gate is unhealthy until it is
    /// restarted; 0 means never. Needs a dialect.
    pub unhealthy_after: u64,
    /// The token that each post must show; `None` asks for none.
    pub token: Option<Token>,
    /// Whether event-time order is checked.
    pub order: OrderCheck,
    /// Whether each event's arrival is recorded (56 bytes an event).
    pub record_arrivals: bool,
    /// The fault rules to start with.
    pub faults: Vec<FaultRule>,
    /// The seed of the fault rules' probabilities.
    pub seed: u64,
    /// The number of threads that serve; 0 means one a core.
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
            dialect: None,
            schema_policy: None,
            unhealthy_after: 3,
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
    /// A gate that only counts, for measurements of throughput.
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
    /// The header's name, for example `X-IG-Api-Key`.
    pub header: String,
    /// The header's value, which is the secret.
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
    /// Order is not checked.
    #[default]
    Off,
    /// Order is checked for each value of an output's key column, by output id; an output that is
    /// not named is one key. Equal values of two outputs are one key.
    PerKey(HashMap<String, String>),
    /// Order is checked over all events together.
    Total,
}
