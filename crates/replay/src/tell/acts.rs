//! What may be asked of a stream, and what came of it.

use std::time::Duration;

use envelope::EventTime;

use crate::pace::Pace;
use crate::tell::state::State;

/// What may be asked of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Lets no event leave until a resume.
    Pause,
    /// Goes on after a pause.
    Resume,
    /// Goes on at another pace.
    SetPace(Pace),
    /// Lets this many events leave now, while the stream is paused.
    Step(u64),
    /// Pauses once this many more events were handed over; in place of an earlier such order.
    PauseAfter(u64),
    /// Winds the stream down, as a signal does.
    Stop,
}

impl Act {
    /// The act's name in the audit and on the control socket.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::SetPace(_) => "pace",
            Self::Step(_) => "step",
            Self::PauseAfter(_) => "pause_after",
            Self::Stop => "stop",
        }
    }
}

/// Why an act was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream is not paused: only a paused stream can be stepped.
    #[error("the stream is not paused: pause it, then step")]
    NotPaused,
    /// The stream has ended, or is ending.
    #[error("the stream has ended, or is ending")]
    Ended,
}

/// An act that was asked for, for the audit.
#[derive(Debug, Clone)]
pub(crate) struct Steered {
    /// The act that was asked for.
    pub act: Act,
    /// Who asked for the act.
    pub by: String,
    /// Why the act was refused; `None` if it was done.
    pub refused: Option<Refused>,
    /// The state of the stream after the act.
    pub state: State,
    /// The pace before the act.
    pub pace_before: Pace,
    /// The pace after the act.
    pub pace: Pace,
    /// Events handed over before.
    pub handed_over: u64,
}

/// A wait for the next event that `max_gap` made shorter, for the audit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CutGap {
    /// The event time of the event that is waited for.
    pub next: EventTime,
    /// How much earlier that event and all after it are due.
    pub earlier: Duration,
    /// Events handed over until then.
    pub handed_over: u64,
}

/// What the dispatching thread tells the keeper, for the audit.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// Somebody steered the stream, or tried to.
    Steered(Steered),
    /// A gap was longer than `max_gap`.
    GapCut(CutGap),
    /// The stream is at another state; never that it is held back for a moment.
    State(State),
}
