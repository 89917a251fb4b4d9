//! What may be asked of a stream, and what came of it.

use std::time::Duration;

use envelope::EventTime;

use crate::pace::Pace;
use crate::tell::state::State;

/// What may be asked of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Let no event leave until further notice.
    Pause,
    /// Go on.
    Resume,
    /// Go on at another pace.
    SetPace(Pace),
    /// Let so many events leave now, while paused.
    Step(u64),
    /// Wind down, as on a signal.
    Stop,
}

impl Act {
    /// As audit and control socket say it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::SetPace(_) => "pace",
            Self::Step(_) => "step",
            Self::Stop => "stop",
        }
    }
}

/// Why an act was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Only a paused stream can be stepped.
    #[error("the stream is not paused: pause it, then step")]
    NotPaused,
    /// Nothing can be steered any more.
    #[error("the stream has ended, or is ending")]
    Ended,
}

/// An act that was asked for, for the audit.
#[derive(Debug, Clone)]
pub struct Steered {
    /// What was asked.
    pub act: Act,
    /// Who asked.
    pub by: String,
    /// Why it was not done, if it was not.
    pub refused: Option<Refused>,
    /// What the stream was at afterwards.
    pub state: State,
    /// The pace before.
    pub pace_before: Pace,
    /// The pace afterwards.
    pub pace: Pace,
    /// Events handed over until then.
    pub handed_over: u64,
}

/// A wait for the next event that `max_gap` made shorter, for the audit.
#[derive(Debug, Clone, Copy)]
pub struct CutGap {
    /// The event time of the event that is waited for.
    pub next: EventTime,
    /// By how much that event and all after it are due earlier.
    pub earlier: Duration,
    /// Events handed over until then.
    pub handed_over: u64,
}

/// What the dispatching thread tells the keeper, for the audit.
#[derive(Debug, Clone)]
pub enum Told {
    /// Somebody steered the stream, or tried to.
    Steered(Steered),
    /// A gap was longer than `max_gap`.
    GapCut(CutGap),
}
