//! What may be asked of a stream, and what came of it.

use std::fmt::{self, Write as _};
use std::time::Duration;

use envelope::EventTime;

use crate::pace::Pace;
use crate::tap::TapSettings;
use crate::tell::state::State;

/// What may be asked of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Lets no event leave until a resume.
    Pause,
    /// Pauses before the first event of this event time or later; in place of an earlier such order.
    PauseAt(EventTime),
    /// Goes on after a pause.
    Resume,
    /// Goes on after a pause when the wall clock says so, to the nanosecond of the schedule.
    ResumeAt(EventTime),
    /// Goes on at another pace.
    SetPace(Pace),
    /// Lets this many events leave now, while the stream is paused.
    Step(u64),
    /// Pauses once this many more events were handed over; in place of an earlier such order.
    PauseAfter(u64),
    /// Copies what becomes of the next events; the stream goes on as it was.
    Tap(TapSettings),
    /// Winds the stream down, as a signal does.
    Stop,
}

impl Act {
    /// The act's name in the audit and on the control socket.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::PauseAt(_) => "pause_at",
            Self::Resume => "resume",
            Self::ResumeAt(_) => "resume_at",
            Self::SetPace(_) => "pace",
            Self::Step(_) => "step",
            Self::PauseAfter(_) => "pause_after",
            Self::Tap(_) => "tap",
            Self::Stop => "stop",
        }
    }
}

/// Why an act was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream is not paused: only a paused stream can be stepped, or resumed at a time.
    #[error("the stream is not paused: pause it first")]
    NotPaused,
    /// The stream has handed over an event of that event time, or a later one.
    #[error("the stream has passed that event time: name a later one")]
    EventTimePassed,
    /// The wall clock has passed the time.
    #[error("that wall time has passed: name one to come")]
    WallTimePassed,
    /// As many taps are open as may be.
    #[error("as many taps are open as may be: let one end first")]
    TooManyTaps,
    /// The stream has ended, or is ending.
    #[error("the stream has ended, or is ending")]
    Ended,
}

/// A name of 1 to [`OnBehalfOf::MOST_CHARS`] characters. Its `Display` spells out what a terminal
/// would obey or hide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBehalfOf(String);

impl OnBehalfOf {
    /// The most characters of a name.
    pub const MOST_CHARS: usize = 128;

    /// A name from text.
    ///
    /// # Errors
    /// A sentence, where the text is empty or too long.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let count = text.chars().count();
        if (1..=Self::MOST_CHARS).contains(&count) {
            return Ok(Self(text));
        }
        let most = Self::MOST_CHARS;
        Err(format!(
            "`on_behalf_of` has {count} characters, and may have 1 to {most}"
        ))
    }

    /// The name as it was given.
    pub fn as_given(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OnBehalfOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if is_obeyed_or_hidden(c) {
                write!(f, "{}", c.escape_unicode())
            } else {
                f.write_char(c)
            }
        })
    }
}

/// Whether terminals obey or hide a character: controls, and what changes the direction of text.
fn is_obeyed_or_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Who asks for an act, for the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker {
    /// Who asks, as far as this machine knows.
    pub by: String,
    /// Whom the one who asks says to ask for; `None` where nobody is named.
    pub on_behalf_of: Option<OnBehalfOf>,
}

impl Asker {
    /// The same who asks, for somebody else.
    #[must_use]
    pub fn for_another(mut self, name: Option<OnBehalfOf>) -> Self {
        self.on_behalf_of = name;
        self
    }
}

impl From<String> for Asker {
    fn from(by: String) -> Self {
        Self {
            by,
            on_behalf_of: None,
        }
    }
}

impl From<&str> for Asker {
    fn from(by: &str) -> Self {
        by.to_owned().into()
    }
}

/// An act that was asked for, for the audit.
#[derive(Debug, Clone)]
pub(crate) struct Steered {
    /// The act that was asked for.
    pub act: Act,
    /// Who asked for the act.
    pub by: Asker,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bounded_and_shows_what_a_terminal_would_obey() {
        let name = |text: &str| OnBehalfOf::new(text).map(|name| name.to_string());
        assert_eq!(
            name("Ann O’Hara <ann@example>").unwrap(),
            "Ann O’Hara <ann@example>"
        );
        assert_eq!(name("a\u{1b}[2Jb\n").unwrap(), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(name("x\u{202e}y").unwrap(), "x\\u{202e}y");
        assert!(name("").is_err());
        assert!(name(&"é".repeat(OnBehalfOf::MOST_CHARS)).is_ok());
        assert!(name(&"é".repeat(OnBehalfOf::MOST_CHARS + 1)).is_err());
    }
}
