//! Who holds a lease.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who holds a lease, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The producer id.
    pub name: String,
    /// The machine.
    pub host: String,
    /// The process on that machine.
    pub pid: u32,
}

impl Holder {
    /// This process, under a producer id.
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
