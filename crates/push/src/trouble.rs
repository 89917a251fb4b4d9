//! What is wrong with a gate that takes nothing: said once with its cause, then rarely, and
//! shown to whoever asks.
//!
//! A gate is in trouble while every answer to every lane is a failure. Nothing here is touched
//! on the way of an event that goes well.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::fault::chain;

/// A fault that is over sooner is nothing for an operator.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How often a trouble that goes on is told again.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// A gate that takes nothing: since when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateAway {
    /// Whole seconds from the first failure to the last one.
    pub seconds: u64,
    /// The last failure, with its causes.
    pub cause: String,
}

#[derive(Debug)]
struct Trouble {
    failing: Duration,
    cause: String,
    /// How long it had been failing when it was told last.
    told: Option<Duration>,
}

/// The trouble that all lanes share. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct GateTrouble {
    current: Arc<Mutex<Option<Trouble>>>,
}

impl GateTrouble {
    /// The trouble of now; `None` while the gate answers, and in its first second of silence.
    pub fn current(&self) -> Option<GateAway> {
        let current = self.lock();
        let trouble = current.as_ref().filter(|trouble| trouble.told.is_some())?;
        Some(GateAway {
            seconds: trouble.failing.as_secs(),
            cause: trouble.cause.clone(),
        })
    }

    /// The gate has been failing for this long, the last time because of `cause`.
    pub(crate) fn failed(&self, failing: Duration, cause: String) {
        let mut current = self.lock();
        let told = current.as_ref().and_then(|trouble| trouble.told);
        let is_due = match told {
            None => failing >= TELL_AFTER,
            Some(told) => failing.saturating_sub(told) >= TELL_AGAIN,
        };
        let trouble = Trouble {
            failing,
            cause,
            told: if is_due { Some(failing) } else { told },
        };
        let cause = trouble.cause.clone();
        *current = Some(trouble);
        // Whoever reads the log may be slow: nobody waits for the lock meanwhile.
        drop(current);
        if is_due {
            tracing::warn!(
                seconds = failing.as_secs(),
                %cause,
                "the ingestion gate takes no event; trying on"
            );
        }
    }

    /// The gate answered.
    pub(crate) fn is_over(&self) {
        let over = self.lock().take();
        if let Some(trouble) = over.filter(|trouble| trouble.told.is_some()) {
            tracing::warn!(
                seconds = trouble.failing.as_secs(),
                "the ingestion gate takes events again"
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Trouble>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error's text with those of its causes, each once.
pub(crate) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in chain(error) {
        let next = cause.to_string();
        if !text.contains(&next) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&next);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_fault_is_nobodys_business_and_a_long_one_shows_its_last_cause() {
        let trouble = GateTrouble::default();
        let failed = |ms, cause: &str| {
            trouble.failed(Duration::from_millis(ms), cause.to_owned());
            trouble.current()
        };
        assert_eq!(failed(0, "a"), None);
        assert_eq!(failed(999, "b"), None);
        let away = |seconds, cause: &str| {
            let cause = cause.to_owned();
            Some(GateAway { seconds, cause })
        };
        assert_eq!(failed(1_000, "c"), away(1, "c"));
        assert_eq!(failed(5_500, "d"), away(5, "d"));
        trouble.is_over();
        assert_eq!(trouble.current(), None);
        assert_eq!(failed(0, "e"), None, "another trouble");
    }

    #[test]
    fn causes_are_told_once_each() {
        let inner = std::io::Error::other("the disk is gone");
        let outer = std::io::Error::other(inner);
        assert_eq!(with_causes(&outer), "the disk is gone");
    }
}
