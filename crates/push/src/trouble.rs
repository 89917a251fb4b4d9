//! What is wrong with a gate or a store that takes nothing: logged once with its cause, then rarely,
//! and shown in progress and reports.
//!
//! A gate is in trouble while every answer to every lane is a failure, a store while no save
//! succeeds. Nothing here is touched on the way of an event that goes well.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A fault that is over sooner is nothing for an operator.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How often a trouble that goes on is logged again.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// An outage that goes on: how long it has lasted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Away {
    /// Whole seconds from the outage's first failure to its last one.
    pub seconds: u64,
    /// The last failure with its causes.
    pub cause: String,
}

/// The outages of a run, those shorter than a second left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outages {
    /// The number of outages.
    pub times: u64,
    /// Whole seconds of all outages together.
    pub seconds: u64,
    /// The last failure of the last outage, with its causes; `None` without an outage.
    pub last_cause: Option<String>,
}

#[derive(Debug)]
struct Lasting {
    failing: Duration,
    cause: String,
    /// How long it had been failing when it was told last.
    told: Option<Duration>,
}

#[derive(Debug, Default)]
struct Known {
    current: Option<Lasting>,
    over: Outages,
    /// The cause of the last failure that is over, however short it was.
    last: Option<String>,
}

/// Keeps the outages of a gate or store, and logs them. Clones share it.
#[derive(Debug, Clone)]
pub struct Trouble {
    known: Arc<Mutex<Known>>,
    is_away: &'static str,
    is_back: &'static str,
}

impl Trouble {
    /// The outages of an ingestion gate; none so far.
    pub fn of_gate() -> Self {
        Self {
            known: Arc::default(),
            is_away: "the ingestion gate takes no event; trying on",
            is_back: "the ingestion gate takes events again",
        }
    }

    /// The outages of a checkpoint store; none so far.
    pub fn of_store() -> Self {
        Self {
            known: Arc::default(),
            is_away: "the checkpoint store is away; trying on",
            is_back: "the checkpoint store is back",
        }
    }

    /// The outage that goes on; `None` if there is none, or for less than a second.
    pub fn current(&self) -> Option<Away> {
        let known = self.lock();
        let trouble = known
            .current
            .as_ref()
            .filter(|trouble| trouble.told.is_some())?;
        Some(Away {
            seconds: trouble.failing.as_secs(),
            cause: trouble.cause.clone(),
        })
    }

    /// The last failure with its causes, however short it was and whether or not it is over; `None`
    /// before the first.
    pub fn last_failure(&self) -> Option<String> {
        let known = self.lock();
        let current = known.current.as_ref().map(|trouble| &trouble.cause);
        current.or(known.last.as_ref()).cloned()
    }

    /// All outages so far, one that goes on included.
    pub fn outages(&self) -> Outages {
        let now = self.current();
        let mut all = self.lock().over.clone();
        if let Some(Away { seconds, cause }) = now {
            all.times += 1;
            all.seconds += seconds;
            all.last_cause = Some(cause);
        }
        all
    }

    /// Records a failure because of `cause`; `failing` is the time since the outage's first one.
    pub fn failed(&self, failing: Duration, cause: String) {
        let mut known = self.lock();
        let told = known.current.as_ref().and_then(|trouble| trouble.told);
        let is_due = match told {
            None => failing >= TELL_AFTER,
            Some(told) => failing.saturating_sub(told) >= TELL_AGAIN,
        };
        let trouble = Lasting {
            failing,
            cause,
            told: if is_due { Some(failing) } else { told },
        };
        let cause = trouble.cause.clone();
        known.current = Some(trouble);
        // Whoever reads the log may be slow: nobody waits for the lock meanwhile.
        drop(known);
        if is_due {
            tracing::warn!(
                seconds = failing.as_secs(),
                %cause,
                "{}", self.is_away
            );
        }
    }

    /// Ends the outage that goes on, if there is one.
    pub fn is_over(&self) {
        let mut known = self.lock();
        let Some(trouble) = known.current.take() else {
            return;
        };
        known.last = Some(trouble.cause.clone());
        if trouble.told.is_none() {
            return;
        }
        let seconds = trouble.failing.as_secs();
        known.over.times += 1;
        known.over.seconds += seconds;
        known.over.last_cause = Some(trouble.cause);
        drop(known);
        tracing::warn!(seconds, "{}", self.is_back);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_fault_is_nobodys_business_and_a_long_one_shows_its_last_cause() {
        let trouble = Trouble::of_gate();
        let failed = |ms, cause: &str| {
            trouble.failed(Duration::from_millis(ms), cause.to_owned());
            trouble.current()
        };
        assert_eq!(failed(0, "a"), None);
        assert_eq!(failed(999, "b"), None);
        let away = |seconds, cause: &str| {
            let cause = cause.to_owned();
            Some(Away { seconds, cause })
        };
        assert_eq!(failed(1_000, "c"), away(1, "c"));
        assert_eq!(failed(5_500, "d"), away(5, "d"));
        trouble.is_over();
        assert_eq!(trouble.current(), None);
        assert_eq!(trouble.last_failure().as_deref(), Some("d"));
        assert_eq!(failed(0, "e"), None, "another trouble");
        assert_eq!(trouble.last_failure().as_deref(), Some("e"));
        trouble.is_over();
        assert_eq!(
            trouble.last_failure().as_deref(),
            Some("e"),
            "however short"
        );
        let all = Outages {
            times: 1,
            seconds: 5,
            last_cause: Some("d".to_owned()),
        };
        assert_eq!(trouble.outages(), all);
    }
}
