//! The column of event times, and why a row has none.

use model::UnreadableTime;

use crate::error::{Error, ReasonCode, RowPlace, quoted};

/// The column that holds the event time.
pub(crate) const TIME_COLUMN: &str = "ts_utc";

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

    pub(crate) fn at(self, at: RowPlace) -> Error {
        let error = match self {
            Self::NoColumn => {
                let what = "The event time is not among the row's columns";
                at.error(ReasonCode::MissingEventTime, what)
            }
            Self::Null => at.error(ReasonCode::MissingEventTime, "The event time is null"),
            Self::Unreadable(found, why) => {
                let what = format!("The event time is {found}, which cannot be read: {why}");
                at.error(ReasonCode::EventTimeInvalid, what)
            }
        };
        error.field(TIME_COLUMN)
    }
}
