//! Misbehaviour on demand.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::mix::{fraction, mix_pair};

/// A fault, and the posts that it strikes. A post is struck by the first rule that applies to it and
/// by no other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// The fault that strikes.
    #[serde(rename = "do")]
    pub fault: Fault,
    /// The conditions under which it strikes; none, and so always, by default.
    #[serde(default)]
    pub when: When,
}

/// What can happen to a post. Where a fault says "stored", the gate has judged and stored the
/// envelope, and only the answer is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The gate answers with another status, and with a small JSON body unless one is given.
    Status {
        /// 200 to 599.
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
    /// The gate gives the right answer late.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// The gate does not answer: it holds the connection, then closes it.
    Stall {
        /// Milliseconds it is held.
        ms: u64,
        /// Store the envelope first.
        #[serde(default)]
        store: bool,
    },
    /// The gate closes the connection before it has read the body.
    DropBeforeReading,
    /// Stored; the gate then closes the connection without an answer.
    DropAfterStoring,
    /// The gate reads the whole post and resets the connection without an answer.
    Reset {
        /// Store the envelope first.
        #[serde(default)]
        store: bool,
    },
    /// Stored; the gate closes the connection after half of the answer.
    TruncateAnswer,
    /// Stored; the gate answers 200 with a body that is not JSON.
    GarbageAnswer,
    /// Stored; the gate answers 200 with JSON without `decision`.
    NoDecision,
    /// The gate answers with a redirect, 307.
    Redirect {
        /// Where to.
        location: String,
    },
    /// Stored; the gate sends its answer byte by byte.
    Trickle {
        /// Milliseconds between two bytes.
        ms_per_byte: u64,
    },
    /// Stored; the gate's decision is `QUARANTINE`.
    Quarantine,
    /// With a dialect: the gate quarantines the event for this reason, and judges a repeat anew.
    QuarantineFor {
        /// The reason code, for example `SCHEMA_FAIL`.
        reason_code: String,
    },
    /// With a dialect: the publish to the bus fails. The gate quarantines the event for
    /// `PUBLISH_AMBIGUOUS`, and every repeat gets `PUBLISH_AMBIGUOUS_RETRY` for ever.
    BusFailure,
    /// With a dialect: the gate dies while the event is on its way to the bus. The connection
    /// closes, and every repeat gets `PUBLISH_IN_FLIGHT_RETRY` for ever.
    InFlight,
    /// With a dialect: the gate says that it is not well.
    Unhealthy {
        /// Whether it stays so until it is restarted.
        #[serde(default)]
        until_restart: bool,
    },
    /// With a dialect: the gate fails on this event.
    Exception,
    /// With a dialect: the gate does not take the token.
    Unauthorized,
    /// With a dialect: too many posts.
    RateLimited,
    /// With a dialect: the body is too large.
    TooLarge,
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

/// The conditions of a [`FaultRule`]; all that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The number of posts that pass first, of those that meet the conditions of time and event;
    /// `None` lets none pass.
    pub skip: Option<u64>,
    /// The most posts that the rule strikes; `None` sets no limit.
    pub next: Option<u64>,
    /// The chance that a post is struck, 0 to 1, by the gate's seed, the rule's place and the number
    /// of posts so far; `None` strikes each.
    pub probability: Option<f64>,
    /// Milliseconds from the setting of the rules until the rule begins; `None` begins at once.
    pub after_ms: Option<u64>,
    /// Milliseconds from `after_ms` until the rule ends; `None` never ends it.
    pub for_ms: Option<u64>,
    /// The ids of the events that are struck, hex64; empty means all.
    pub event_ids: Vec<String>,
    /// The share of events that are struck, 0 to 1, chosen by their ids, so that it is the same ones
    /// in every post; `None` means all.
    pub share: Option<f64>,
}

impl FaultRule {
    /// A rule that strikes every post.
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            when: When::default(),
        }
    }

    /// A rule that strikes the next `posts` posts.
    pub fn next(posts: u64, fault: Fault) -> Self {
        Self {
            fault,
            when: When {
                next: Some(posts),
                ..When::default()
            },
        }
    }

    /// Lets `posts` posts pass before the rule strikes.
    #[must_use]
    pub fn after(mut self, posts: u64) -> Self {
        self.when.skip = Some(posts);
        self
    }

    /// A rule that strikes every post of a share of all events.
    pub fn for_share(share: f64, fault: Fault) -> Self {
        Self {
            fault,
            when: When {
                share: Some(share),
                ..When::default()
            },
        }
    }

    /// A rule that strikes each post with this chance, 0 to 1.
    pub fn with_probability(probability: f64, fault: Fault) -> Self {
        Self {
            fault,
            when: When {
                probability: Some(probability),
                ..When::default()
            },
        }
    }

    /// Whether only a gate with a dialect can break in this way.
    pub(super) fn needs_dialect(&self) -> bool {
        matches!(
            self.fault,
            Fault::QuarantineFor { .. }
                | Fault::BusFailure
                | Fault::InFlight
                | Fault::Unhealthy { .. }
                | Fault::Exception
                | Fault::Unauthorized
                | Fault::RateLimited
                | Fault::TooLarge
        )
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |detail: &str| {
            Err(Error::FaultInvalid {
                rule: format!("{self:?}"),
                detail: detail.to_owned(),
            })
        };
        match &self.fault {
            Fault::Status { code, .. } if !(200..=599).contains(code) => {
                return refuse("a final answer has a status from 200 to 599");
            }
            Fault::Redirect { location } if HeaderValue::from_str(location).is_err() => {
                return refuse("the location cannot stand in a header");
            }
            Fault::DropBeforeReading if self.when.asks_for_ids() => {
                return refuse("which event it is cannot be known before it is read");
            }
            _ => {}
        }
        let chances = [self.when.probability, self.when.share];
        if !chances
            .iter()
            .flatten()
            .all(|chance| (0.0..=1.0).contains(chance))
        {
            return refuse("a probability or a share is 0 to 1");
        }
        Ok(())
    }
}

impl When {
    fn asks_for_ids(&self) -> bool {
        !self.event_ids.is_empty() || self.share.is_some()
    }

    /// Whether it speaks of the event of a post, as far as that is known.
    fn speaks_of(&self, stage: Stage<'_>) -> bool {
        if !self.asks_for_ids() {
            return true;
        }
        let Stage::Whole(Some(id)) = stage else {
            return false;
        };
        let is_named =
            self.event_ids.is_empty() || self.event_ids.iter().any(|wanted| wanted == id);
        // An event id is a digest: any part of it is as good as chance.
        let bits = id
            .get(..16)
            .and_then(|start| u64::from_str_radix(start, 16).ok());
        is_named
            && self
                .share
                .is_none_or(|share| bits.is_some_and(|bits| fraction(bits) < share))
    }
}

/// Rules in force: each with the posts that it has looked at and struck.
#[derive(Debug)]
pub(super) struct FaultPlan {
    rules: Vec<ArmedRule>,
    set_at: Instant,
    seed: u64,
}

#[derive(Debug)]
struct ArmedRule {
    rule: FaultRule,
    passed: AtomicU64,
    looked_at: AtomicU64,
    fired: AtomicU64,
}

/// How much of a post is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage<'a> {
    /// Its head.
    Head,
    /// All of it, with the event's id if it has one that could be read.
    Whole(Option<&'a str>),
}

impl FaultPlan {
    pub(super) fn new(rules: Vec<FaultRule>, seed: u64) -> Result<Self, Error> {
        rules.iter().try_for_each(FaultRule::check)?;
        let armed = |rule| ArmedRule {
            rule,
            passed: AtomicU64::new(0),
            looked_at: AtomicU64::new(0),
            fired: AtomicU64::new(0),
        };
        let rules = rules.into_iter().map(armed).collect();
        Ok(Self {
            rules,
            set_at: Instant::now(),
            seed,
        })
    }

    /// Whether any rule asks for event ids.
    pub(super) fn wants_event_ids(&self) -> bool {
        self.rules
            .iter()
            .any(|armed| armed.rule.when.asks_for_ids())
    }

    /// The fault that strikes a post at this stage.
    pub(super) fn strike(&self, stage: Stage<'_>) -> Option<&Fault> {
        let after = if self.rules.is_empty() {
            Duration::ZERO
        } else {
            self.set_at.elapsed()
        };
        let struck = self.rules.iter().enumerate().find(|(place, armed)| {
            let at_head = armed.rule.fault == Fault::DropBeforeReading;
            at_head == (stage == Stage::Head) && armed.strikes(stage, after, self.seed, *place)
        });
        struck.map(|(_, armed)| &armed.rule.fault)
    }

    /// Posts that each rule has struck.
    pub(super) fn fired(&self) -> Vec<u64> {
        self.rules
            .iter()
            .map(|armed| armed.fired.load(Relaxed))
            .collect()
    }
}

impl ArmedRule {
    fn strikes(&self, stage: Stage<'_>, after: Duration, seed: u64, place: usize) -> bool {
        let when = &self.rule.when;
        let from = Duration::from_millis(when.after_ms.unwrap_or(0));
        let over = when
            .for_ms
            .is_some_and(|ms| after >= from + Duration::from_millis(ms));
        if after < from || over {
            return false;
        }
        if !when.speaks_of(stage) {
            return false;
        }
        if let Some(skip) = when.skip
            && self.passed.load(Relaxed) < skip
            && self.passed.fetch_add(1, Relaxed) < skip
        {
            return false;
        }
        if let Some(chance) = when.probability {
            let post = self.looked_at.fetch_add(1, Relaxed);
            if fraction(mix_pair(mix_pair(seed, place as u64), post)) >= chance {
                return false;
            }
        }
        let most = when.next.unwrap_or(u64::MAX);
        let count = |fired| (fired < most).then_some(fired + 1);
        self.fired.fetch_update(Relaxed, Relaxed, count).is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn armed(when: When) -> ArmedRule {
        let fault = Fault::DropAfterStoring;
        let plan = FaultPlan::new(vec![FaultRule { fault, when }], 0);
        plan.unwrap().rules.pop().unwrap()
    }

    #[test]
    fn a_window_of_time_has_a_beginning_and_an_end() {
        let rule = armed(When {
            after_ms: Some(100),
            for_ms: Some(50),
            ..When::default()
        });
        let struck = [0, 99, 100, 149, 150, 1_000]
            .map(|ms| rule.strikes(Stage::Whole(None), Duration::from_millis(ms), 0, 0));
        assert_eq!(struck, [false, false, true, true, false, false]);
    }

    #[test]
    fn posts_that_it_lets_pass_come_before_those_it_strikes() {
        let rule = armed(When {
            skip: Some(3),
            next: Some(2),
            ..When::default()
        });
        let struck = [(); 7].map(|()| rule.strikes(Stage::Whole(None), Duration::ZERO, 0, 0));
        assert_eq!(struck, [false, false, false, true, true, false, false]);
    }
}
