//! Misbehaviour on demand.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::mix::{fraction, mix_pair};

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
    /// No answer: the whole post was read, then the connection is reset.
    Reset {
        /// Store the envelope first.
        #[serde(default)]
        store: bool,
    },
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
    /// It lets so many posts pass, of those that meet the conditions of time and event.
    pub skip: Option<u64>,
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
    /// Only this share of all events, chosen by their ids: the same ones in every post.
    pub share: Option<f64>,
}

impl FaultRule {
    /// A rule that always strikes.
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            when: When::default(),
        }
    }

    /// A rule that strikes the next posts, so many of them.
    pub fn next(posts: u64, fault: Fault) -> Self {
        Self {
            fault,
            when: When {
                next: Some(posts),
                ..When::default()
            },
        }
    }

    /// The same rule, letting so many posts pass first.
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

    /// A rule that strikes by chance.
    pub fn with_probability(probability: f64, fault: Fault) -> Self {
        Self {
            fault,
            when: When {
                probability: Some(probability),
                ..When::default()
            },
        }
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
