//! Who holds a lease.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The producer that holds a lease: shown to people, never compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The id of the producer.
    pub name: String,
    /// The name of the machine that the producer runs on.
    pub host: String,
    /// The id of the process on that machine.
    pub pid: u32,
}

impl Holder {
    /// This process on this machine, under the producer id `name`.
    pub fn this_process(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: durable::host_name().unwrap_or_else(|| "unknown host".to_owned()),
            pid: std::process::id(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {} on {})", self.name, self.pid, self.host)
    }
}
