//! The column of event times, and why a row has none.

use model::UnreadableTime;

use crate::error::{Error, ReasonCode, quoted};

/// The column that holds the event time, unless another is named.
pub const TIME_COLUMN: &str = "ts_utc";

/// Why a row has no event time.
pub(crate) enum TimeFault {
    NoColumn,
    Null,
    /// The text or type, and what is wrong with it.
    Unreadable(String, &'static str),
}

impl TimeFault {
    pub(crate) fn text(text: &str, unreadable: UnreadableTime) -> Self {
        Self::Unreadable(quoted(text), unreadable.why())
    }

    /// The error about the event time in a column, without the row.
    pub(crate) fn error(self, column: &str) -> Error {
        let (code, what) = match self {
            Self::NoColumn => (
                ReasonCode::MissingEventTime,
                "The event time is not among the row's columns".to_owned(),
            ),
            Self::Null => (
                ReasonCode::MissingEventTime,
                "The event time is null".to_owned(),
            ),
            Self::Unreadable(found, why) => (
                ReasonCode::EventTimeInvalid,
                format!("The event time is {found}, which cannot be read: {why}"),
            ),
        };
        Error::new(code, what).field(column)
    }
}
