//! The stand-in ingestion gate: keeps a gate's promises, counts everything, and
//! breaks any promise on demand.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/ingest/push` | 200 `{"decision": "ADMIT" \| "DUPLICATE" \| "QUARANTINE"}`; 400 `ENVELOPE_INVALID`; 401 `UNAUTHORIZED`; 507 if it could not be kept |
//! | `GET /stats` | 200, [`GateStats`] as JSON |
//! | `GET /metrics` | 200, the same as Prometheus reads it |
//! | `GET /healthz` | 200 |
//! | `GET /v1/ops/health` | with a [`Dialect`]: 200, how the gate is |
//! | `GET /v1/ops/lookup?event_id=ID` | with the local dialect: 200, what became of an event; 404 else |
//! | `POST /control` | `{"faults": [rule, …]}` replaces the [fault rules](FaultRule); `{"restart": true}` makes an unhealthy gate well; 200 with the rules, or 400 |
//!
//! With a [`Dialect`] the answers to posts are worded like those of the platform's gates.
//!
//! What it promises: an acknowledged event is stored, in memory and, with
//! [`GateOptions::keep`], in a file that outlives the process; an event is stored once
//! for each platform run; what breaks the schema is never stored.

mod fault_text;
mod options;
mod server;
mod service;
mod metrics;
mod platform_answers;
mod platform;
mod schema_policy;
mod dialect;
mod answer;
mod faults;
mod ledger;
mod kept_file;
mod post;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use dialect::Dialect;
pub use faults::{Fault, FaultRule, RetryAfter, When};
use ledger::Ledger;
use model::IdsSum;
pub use options::{GateOptions, OrderCheck, Token};
use serde::{Deserialize, Serialize};
use server::Server;
use service::Service;

use crate::Error;

/// What the gate has counted. `posts` is the sum of `admitted`, `duplicates`,
/// `quarantined`, `invalid`, `unauthorized`, `faulted`, `undecided`, `unfinished` and those in hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GateStats {
    /// Requests to the push endpoint whose head was read.
    pub posts: u64,
    /// Envelopes stored for the first time and not quarantined.
    pub admitted: u64,
    /// Envelopes whose id the gate had already.
    pub duplicates: u64,
    /// Envelopes stored for the first time and answered `QUARANTINE`.
    pub quarantined: u64,
    /// Bodies that are no envelope.
    pub invalid: u64,
    /// Posts without the token.
    pub unauthorized: u64,
    /// Posts that a fault kept from being judged.
    pub faulted: u64,
    /// Posts that a gate with a dialect answered without a decision: a repeat of an event in flight
    /// or in doubt, a gate that is not well, a rate limit.
    #[serde(default)]
    pub undecided: u64,
    /// Posts whose client left before their end.
    pub unfinished: u64,
    /// Events stored, those that an earlier gate kept in the same file included.
    pub unique: u64,
    /// Answers to posts by status; a dropped connection is 0.
    pub statuses: std::collections::BTreeMap<u16, u64>,
    /// Connections accepted.
    pub connections: u64,
    /// First-time events that came earlier in event time than their ordering key's last.
    pub order_violations: u64,
    /// The sum of the ids of all distinct events stored since the gate started, as 256-bit integers
    /// modulo 2^256; 0 for a gate that does not know ids.
    #[serde(default)]
    pub ids_sum: IdsSum,
    /// Posts that each fault rule has struck, in the rules' order.
    pub faults_fired: Vec<u64>,
}

/// One event as it reached the gate when it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The 32 bytes of the event's id.
    pub event_id: [u8; 32],
    /// The event time in nanoseconds since 1970; `i64::MIN` if it cannot be read.
    pub event_time_ns: i64,
    /// When the post's head was read, in nanoseconds since the gate started.
    pub arrived_ns: u64,
    /// The number of posts that the gate was handling when it stored the event, this one included.
    pub in_hand: u32,
}

/// A running stand-in gate on threads of its own. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct StandInGate {
    service: Arc<Service>,
    server: Server,
    threads: usize,
    epoch: (Instant, SystemTime),
}

/// Both clocks at one moment: the tightest of a few readings, since a busy machine may turn to
/// something else between two of them.
fn read_clocks() -> (Instant, SystemTime) {
    let readings = (0..8).map(|_| {
        let (monotonic, wall) = (Instant::now(), SystemTime::now());
        (monotonic.elapsed(), monotonic, wall)
    });
    let tightest = readings.min_by_key(|(apart, ..)| *apart);
    tightest.map_or_else(
        || (Instant::now(), SystemTime::now()),
        |(_, monotonic, wall)| (monotonic, wall),
    )
}

/// How long a gate that is brought up tries to get its address back.
const REBOUND_WITHIN: Duration = Duration::from_secs(30);

impl StandInGate {
    /// Starts a gate and returns when it listens.
    ///
    /// # Errors
    /// `SANDBOX_GATE_UNBOUND`; `SANDBOX_IO` if the kept file cannot be used;
    /// `SANDBOX_FAULT_INVALID`.
    pub fn start(options: GateOptions) -> Result<Self, Error> {
        let epoch = read_clocks();
        let ledger = Ledger::open(&options, epoch.0)?;
        let service = Arc::new(Service::new(&options, ledger)?);
        let server = Server::start(options.listen, options.threads, Arc::clone(&service))?;
        Ok(Self {
            service,
            server,
            threads: options.threads,
            epoch,
        })
    }

    /// The address that the gate listens at.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The gate's URL, `http://host:port`, without the push path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The counts so far.
    pub fn stats(&self) -> GateStats {
        self.service.stats()
    }

    /// Replaces the fault rules; their counts and time windows start anew.
    ///
    /// # Errors
    /// `SANDBOX_FAULT_INVALID`; the rules in force stay.
    pub fn set_faults(&self, rules: Vec<FaultRule>) -> Result<(), Error> {
        self.service.set_faults(rules)
    }

    /// Whether an event is stored, under any platform run. The id is hex64.
    pub fn has(&self, event_id: &str) -> bool {
        self.service.ledger.has(event_id)
    }

    /// Events in the order they were first stored; empty unless
    /// [`GateOptions::record_arrivals`].
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.service.ledger.arrivals()
    }

    /// The instant, and the wall clock then, that arrivals count from.
    pub fn epoch(&self) -> (Instant, SystemTime) {
        self.epoch
    }

    /// Waits until all connections made so far are closed, so that nothing more comes of
    /// clients that are gone, and all that was taken is counted. False if that takes too long.
    /// A post whose client left before the gate had looked at it may not be taken at all.
    pub fn settle(&self, at_most: Duration) -> bool {
        // Connections are taken in the order in which they were made: once this one is, all
        // earlier ones are known.
        let known = TcpStream::connect(self.address()).and_then(|mut last| {
            last.set_read_timeout(Some(at_most))?;
            last.write_all(b"GET /healthz HTTP/1.1\r\nhost: gate\r\n\r\n")?;
            last.read(&mut [0])
        });
        known.is_ok_and(|length| length > 0) && self.server.wait_until_alone(at_most)
    }

    /// Dies like a killed process. It can be brought up again; the posts in hand now count
    /// as posts only.
    pub fn die(&mut self) {
        self.server.stop(false);
    }

    /// Starts again at the same address, remembering what it stored.
    ///
    /// # Errors
    /// `SANDBOX_GATE_UNBOUND` if another took its address meanwhile and keeps it.
    pub fn bring_up(&mut self) -> Result<(), Error> {
        let (address, threads) = (self.address(), self.threads);
        self.service.restart();
        let began = Instant::now();
        self.server = loop {
            match Server::start(address, threads, Arc::clone(&self.service)) {
                Ok(server) => break server,
                // A connection of someone else may have the port for a moment.
                Err(error) if began.elapsed() > REBOUND_WITHIN => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        Ok(())
    }

    /// Stops taking connections, finishes the requests in hand (for at most 5 s), and
    /// lets go of its address.
    pub fn stop(mut self) {
        self.server.stop(true);
    }

    /// Stops like a killed process: connections are cut wherever they are.
    pub fn abort(mut self) {
        self.server.stop(false);
    }
}
