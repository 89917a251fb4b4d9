//! What can be wrong with a row, a pin or an envelope, under stable reason codes.

use std::fmt;

/// The closed list of reason codes of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// A world pin or a stamp does not fit the envelope field that it fills.
    EnvelopeFieldInvalid,
    /// A document is not an envelope by the schema.
    EnvelopeInvalid,
    /// The event time is text or a type that cannot be read as a time.
    EventTimeInvalid,
    /// The event time is null, or the row has no such column.
    MissingEventTime,
    /// A value has no exact JSON form.
    PayloadValueUnsupported,
    /// A primary-key column is null, or the row has no such column.
    PrimaryKeyMissing,
    /// A primary-key column is of a type without an agreed text.
    PrimaryKeyTypeUnsupported,
    /// The output has no primary key, so that every row would get one id.
    PrimaryKeyUndefined,
}

impl ReasonCode {
    /// Every code, in alphabetical order.
    pub const ALL: &'static [Self] = &[
        Self::EnvelopeFieldInvalid,
        Self::EnvelopeInvalid,
        Self::EventTimeInvalid,
        Self::MissingEventTime,
        Self::PayloadValueUnsupported,
        Self::PrimaryKeyMissing,
        Self::PrimaryKeyTypeUnsupported,
        Self::PrimaryKeyUndefined,
    ];

    /// The code as it stands in reports and audit records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EnvelopeFieldInvalid => "ENVELOPE_FIELD_INVALID",
            Self::EnvelopeInvalid => "ENVELOPE_INVALID",
            Self::EventTimeInvalid => "EVENT_TIME_INVALID",
            Self::MissingEventTime => "MISSING_EVENT_TIME",
            Self::PayloadValueUnsupported => "PAYLOAD_VALUE_UNSUPPORTED",
            Self::PrimaryKeyMissing => "PRIMARY_KEY_MISSING",
            Self::PrimaryKeyTypeUnsupported => "PRIMARY_KEY_TYPE_UNSUPPORTED",
            Self::PrimaryKeyUndefined => "PRIMARY_KEY_UNDEFINED",
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of one part. Rows count from 0, as cursors do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPlace {
    /// The part's name, as the caller gave it.
    pub part: String,
    /// The row's 0-based index in the part.
    pub row: u64,
}

impl fmt::Display for RowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of {}", self.row, self.part)
    }
}

/// Why something could not be framed, pinned or accepted as an envelope.
///
/// No error of this crate is worth a retry: the same input fails again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `MISSING_EVENT_TIME`.
    #[error(
        "{at}: the event time ts_utc is {found}; every row needs one, so repair the output in the \
         engine or leave it out of the stream"
    )]
    MissingEventTime {
        /// Where.
        at: RowPlace,
        /// `null`, or that there is no such column.
        found: &'static str,
    },

    /// `EVENT_TIME_INVALID`.
    #[error(
        "{at}: the event time ts_utc is {found}, which cannot be read: {why}; write it as RFC 3339 \
         text or as a timestamp column"
    )]
    EventTimeInvalid {
        /// Where.
        at: RowPlace,
        /// The text (its first characters, escaped) or the type that was found.
        found: String,
        /// What is wrong with it.
        why: &'static str,
    },

    /// `PRIMARY_KEY_MISSING`.
    #[error(
        "{at}: the primary-key column {column} is {found}; without it the event has no identity, \
         so repair the output or the primary_key of its catalogue entry"
    )]
    PrimaryKeyMissing {
        /// Where.
        at: RowPlace,
        /// The column's name.
        column: String,
        /// `null`, or that there is no such column.
        found: &'static str,
    },

    /// `PRIMARY_KEY_TYPE_UNSUPPORTED`.
    #[error(
        "{at}: the primary-key column {column} is {found}; only strings, integers of up to 64 bits \
         and booleans have one agreed text, so write the column as one of these"
    )]
    PrimaryKeyTypeUnsupported {
        /// Where.
        at: RowPlace,
        /// The column's name.
        column: String,
        /// The type or token that was found.
        found: String,
    },

    /// `PAYLOAD_VALUE_UNSUPPORTED`.
    #[error("{at}: the value of {column} {why}, and has no exact JSON form; repair the output")]
    PayloadValueUnsupported {
        /// Where.
        at: RowPlace,
        /// The column's name.
        column: String,
        /// What is wrong with the value, as the rest of a sentence.
        why: String,
    },

    /// `PAYLOAD_VALUE_UNSUPPORTED`: the line of a JSON Lines part is no payload.
    #[error("{at}: the line is not one JSON object with distinct names; repair the output")]
    LineUnreadable {
        /// Where.
        at: RowPlace,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },

    /// `PRIMARY_KEY_UNDEFINED`.
    #[error(
        "output {output_id} has no primary key, so all its rows would get one event id; give its \
         catalogue entry a primary_key or leave it out of the stream"
    )]
    PrimaryKeyUndefined {
        /// The output.
        output_id: String,
    },

    /// `ENVELOPE_FIELD_INVALID`.
    #[error("the envelope field {field} cannot be {found}: it must be {expected}")]
    FieldInvalid {
        /// The field of the envelope.
        field: &'static str,
        /// The value's first characters, escaped.
        found: String,
        /// What the field takes.
        expected: &'static str,
    },

    /// `ENVELOPE_INVALID`.
    #[error("not a canonical event envelope: {place} {why}")]
    EnvelopeInvalid {
        /// JSON pointer to the fault, or "the document".
        place: String,
        /// What is wrong there.
        why: String,
    },
}

impl Error {
    /// The stable code of this error.
    pub const fn code(&self) -> ReasonCode {
        match self {
            Self::MissingEventTime { .. } => ReasonCode::MissingEventTime,
            Self::EventTimeInvalid { .. } => ReasonCode::EventTimeInvalid,
            Self::PrimaryKeyMissing { .. } => ReasonCode::PrimaryKeyMissing,
            Self::PrimaryKeyTypeUnsupported { .. } => ReasonCode::PrimaryKeyTypeUnsupported,
            Self::PayloadValueUnsupported { .. } | Self::LineUnreadable { .. } => {
                ReasonCode::PayloadValueUnsupported
            }
            Self::PrimaryKeyUndefined { .. } => ReasonCode::PrimaryKeyUndefined,
            Self::FieldInvalid { .. } => ReasonCode::EnvelopeFieldInvalid,
            Self::EnvelopeInvalid { .. } => ReasonCode::EnvelopeInvalid,
        }
    }

    /// The row that is at fault, if one is.
    pub const fn place(&self) -> Option<&RowPlace> {
        match self {
            Self::MissingEventTime { at, .. }
            | Self::EventTimeInvalid { at, .. }
            | Self::PrimaryKeyMissing { at, .. }
            | Self::PrimaryKeyTypeUnsupported { at, .. }
            | Self::PayloadValueUnsupported { at, .. }
            | Self::LineUnreadable { at, .. } => Some(at),
            Self::PrimaryKeyUndefined { .. }
            | Self::FieldInvalid { .. }
            | Self::EnvelopeInvalid { .. } => None,
        }
    }
}

/// The first characters of a value for an error message, quoted and escaped.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("\"{}…\"", text[..end].escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_upper_snake_distinct_and_in_order() {
        let codes: Vec<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        for code in codes {
            assert!(
                code.bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
                "{code}"
            );
        }
    }

    #[test]
    fn a_long_value_is_shown_by_its_beginning() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        let shown = quoted(&"ü".repeat(10_000));
        assert_eq!(shown, format!("\"{}…\"", "ü".repeat(64)));
    }
}
