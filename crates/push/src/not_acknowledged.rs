//! A push that did not end with an acknowledgement, as an error.

use std::error::Error as StdError;
use std::fmt;

use super::answer::Decision;
use super::outcome::PushOutcome;
use super::reason::ReasonCode;

/// The error of a push that the gate did not acknowledge; it is a [`Refusal`](model::Refusal).
#[derive(Debug)]
pub struct NotAcknowledged(Box<PushOutcome>);

impl PushOutcome {
    /// The gate's decision, or why there is none. A caller that treats all outcomes but an
    /// acknowledgement alike asks so; one that sets rejected events aside matches on the outcome.
    ///
    /// # Errors
    /// [`NotAcknowledged`] with `IG_PUSH_REJECTED`, `IG_RESPONSE_UNKNOWN`, `IG_PUBLISH_AMBIGUOUS`,
    /// `IG_PUSH_RETRY_EXHAUSTED` or `STOPPED`.
    pub fn into_decision(self) -> Result<Decision, NotAcknowledged> {
        match self {
            Self::Acknowledged { decision, .. } => Ok(decision),
            outcome => Err(NotAcknowledged(Box::new(outcome))),
        }
    }
}

impl NotAcknowledged {
    /// The outcome: any but [`PushOutcome::Acknowledged`].
    pub fn outcome(&self) -> &PushOutcome {
        &self.0
    }

    /// The closed, stable reason.
    pub fn reason(&self) -> ReasonCode {
        match self.outcome() {
            PushOutcome::Unknown(_) | PushOutcome::Acknowledged { .. } => {
                ReasonCode::IgResponseUnknown
            }
            PushOutcome::Rejected { .. } | PushOutcome::SingledOut { .. } => {
                ReasonCode::IgPushRejected
            }
            PushOutcome::InDoubt { .. } => ReasonCode::IgPublishAmbiguous,
            PushOutcome::GaveUp { .. } => ReasonCode::IgPushRetryExhausted,
            PushOutcome::Cancelled { .. } => ReasonCode::Stopped,
        }
    }
}

impl fmt::Display for NotAcknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome() {
            PushOutcome::Acknowledged { .. } => f.write_str("The event is acknowledged")?,
            PushOutcome::Rejected { refusal, .. } => {
                write!(f, "The ingestion gate answered {refusal}")?;
            }
            PushOutcome::Unknown(refusal) => {
                write!(
                    f,
                    "The ingestion gate answered without a decision ({refusal})"
                )?;
            }
            PushOutcome::SingledOut { refusal, attempts } => write!(
                f,
                "The ingestion gate failed {attempts} times on this event alone, the last time \
                 with {refusal}"
            )?,
            PushOutcome::InDoubt { refusal, attempts } => write!(
                f,
                "The ingestion gate does not know whether the event is on its bus ({attempts} \
                 tries, the last: {refusal})"
            )?,
            PushOutcome::GaveUp {
                attempts, failing, ..
            } => write!(
                f,
                "The ingestion gate did not take the event for {} s ({attempts} tries)",
                failing.as_secs()
            )?,
            PushOutcome::Cancelled { maybe_sent: true } => {
                f.write_str("The push was ended while its answer was awaited")?;
            }
            PushOutcome::Cancelled { maybe_sent: false } => {
                f.write_str("The push was ended before the event was sent")?;
            }
        }
        write!(f, ". {}", self.reason().advice())
    }
}

impl StdError for NotAcknowledged {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.outcome() {
            PushOutcome::GaveUp { last, .. } => Some(last),
            _ => None,
        }
    }
}
