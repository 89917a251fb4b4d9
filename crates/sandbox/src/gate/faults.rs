//! Misbehaviour on demand.

use serde::{Deserialize, Serialize};

use crate::Error;

/// A fault and when it strikes. Rules are tried in order; the first that applies to
/// a post is the only one that strikes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    #[serde(rename = "do")]
    pub fault: Fault,
    /// When. By default always.
    #[serde(default)]
    pub when: When,
}

/// What can happen to a post. Where a fault says "stored", the envelope was judged
/// and stored as ever, and only the answer is bad.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Another status, with a small JSON body unless one is given.
    Status {
        /// 100 to 599.
        code: u16,
        /// `Retry-After`.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
        /// Instead of the JSON body.
        #[serde(default)]
        body: Option<String>,
        /// Store the envelope first.
        #[serde(default)]
        store: bool,
    },
    /// The right answer, late.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// No answer: the connection is held, then dropped.
    Stall {
        /// Milliseconds it is held.
        ms: u64,
        /// Store the envelope first.
        #[serde(default)]
        store: bool,
    },
    /// The connection is dropped before the body is read.
    DropBeforeReading,
    /// Stored, then the connection is dropped without an answer.
    DropAfterStoring,
    /// Stored, then half the answer, then the connection is dropped.
    TruncateAnswer,
    /// Stored, then a 200 whose body is not JSON.
    GarbageAnswer,
    /// Stored, then a 200 with JSON that lacks `decision`.
    NoDecision,
    /// A 307.
    Redirect {
        /// Where to.
        location: String,
    },
    /// Stored, then the answer byte by byte.
    Trickle {
        /// Milliseconds between two bytes.
        ms_per_byte: u64,
    },
    /// Stored, and the decision is `QUARANTINE`.
    Quarantine,
}

/// The two forms of `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// `Retry-After: 2`
    Seconds(u64),
    /// `Retry-After: <HTTP date>`, this many seconds from the answer on.
    DateIn(u64),
}

/// Conditions of a rule; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// It strikes so many posts, then no more.
    pub next: Option<u64>,
    /// It strikes a post by this chance: a function of the gate's seed, the rule's
    /// place and the number of posts that it has looked at.
    pub probability: Option<f64>,
    /// Not before so many milliseconds after the rules were set.
    pub after_ms: Option<u64>,
    /// For so many milliseconds, counted from `after_ms`.
    pub for_ms: Option<u64>,
    /// Only these events (hex64).
    pub event_ids: Vec<String>,
}

impl FaultRule {
    /// A rule that always strikes.
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            when: When::default(),
        }
    }
}

impl std::str::FromStr for FaultRule {
    type Err = Error;

    fn from_str(_rule: &str) -> Result<Self, Error> {
        todo!()
    }
}
