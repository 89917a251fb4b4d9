//! What becomes of an event that is pushed.

use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, Instant};

use model::with_causes;

use super::answer::{AnswerDetails, Decision, GateRefusal, NO_ANSWER};
use super::fault::PushFault;

/// What became of an event that was pushed.
///
/// The list is closed: a caller decides by it whether a cursor may pass the event, so each outcome
/// needs an answer of its own.
#[derive(Debug)]
pub enum PushOutcome {
    /// The gate has the event.
    Acknowledged {
        /// What the gate decided.
        decision: Decision,
        /// The number of posts that were made.
        attempts: u32,
        /// When its first post began.
        sent_at: Instant,
        /// When the acknowledgement was whole.
        acked_at: Instant,
        /// What the answer says beside its decision: of a quarantine always, of others only where
        /// the [`Pusher`](super::Pusher) was asked to keep it.
        details: Option<Box<AnswerDetails>>,
    },
    /// The gate refuses the event for good: `IG_PUSH_REJECTED`.
    Rejected {
        /// The answer.
        refusal: GateRefusal,
        /// The number of posts that were made.
        attempts: u32,
    },
    /// The gate answered 2xx without a known decision, so that nobody knows what became of the
    /// event: `IG_RESPONSE_UNKNOWN`.
    Unknown(GateRefusal),
    /// The gate fails on this event alone, as [`RetryPolicy::single_out`](super::RetryPolicy) tells;
    /// never without that setting.
    ///
    /// With one lane, or while nothing else is sent, no event can be told to fail alone: the gate
    /// then counts as away.
    SingledOut {
        /// The last answer.
        refusal: GateRefusal,
        /// The number of posts that were made.
        attempts: u32,
    },
    /// After `max_attempts` answers and 30 s the gate still does not know whether the event is on
    /// its bus: `IG_PUBLISH_AMBIGUOUS`.
    InDoubt {
        /// The last answer.
        refusal: GateRefusal,
        /// The number of posts that were made.
        attempts: u32,
    },
    /// The gate, or this event, kept failing: `IG_PUSH_RETRY_EXHAUSTED`.
    GaveUp {
        /// The number of posts that were made.
        attempts: u32,
        /// How long the gate, or the event, had been failing.
        failing: Duration,
        /// The last failure.
        last: Failure,
    },
    /// The [`Stop`](super::Stop) was thrown first, or [`Leave`](super::Leave) to post ended.
    Cancelled {
        /// Whether the gate may have the event all the same.
        maybe_sent: bool,
    },
}

/// How the last post of an event failed. Its text includes all causes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// No whole answer came.
    Fault(PushFault),
    /// The gate answered that it failed (408, 5xx).
    Answer(GateRefusal),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => f.write_str(&with_causes(fault)),
            Self::Answer(refusal) => write!(f, "the ingestion gate answered {refusal}"),
        }
    }
}

impl StdError for Failure {}

impl Failure {
    /// The failure as what an event is refused for.
    pub(crate) fn into_refusal(self) -> GateRefusal {
        match self {
            Self::Answer(refusal) => refusal,
            Self::Fault(fault) => GateRefusal {
                status: NO_ANSWER,
                excerpt: with_causes(&fault),
                reason_codes: Vec::new(),
            },
        }
    }
}
