//! What can be wrong with a row, a pin or an envelope, under stable reason codes.

use model::Failure;

model::reason_codes! {
    /// Why something could not be framed, pinned or accepted as an envelope. The text form is
    /// API.
    pub enum ReasonCode {
        /// A world pin or a stamp does not fit the envelope field that it fills.
        EnvelopeFieldInvalid => "ENVELOPE_FIELD_INVALID", Refused,
            "Correct the value where it is named.";
        /// A document is not an envelope by the schema.
        EnvelopeInvalid => "ENVELOPE_INVALID", Refused,
            "Send canonical event envelopes.";
        /// The event time is text or a type that cannot be read as a time.
        EventTimeInvalid => "EVENT_TIME_INVALID", Refused,
            "Write the event time as RFC 3339 text or as a timestamp column.";
        /// The event time is null, or the row has no such column.
        MissingEventTime => "MISSING_EVENT_TIME", Refused,
            "Every row needs an event time: repair the output in the engine, or leave it out of the stream.";
        /// A value has no exact JSON form.
        PayloadValueUnsupported => "PAYLOAD_VALUE_UNSUPPORTED", Refused,
            "Repair the output: the value has no exact JSON form.";
        /// A primary-key column is null, or the row has no such column.
        PrimaryKeyMissing => "PRIMARY_KEY_MISSING", Refused,
            "Without it the event has no identity: repair the output, or the primary_key of its catalogue entry.";
        /// A primary-key column is of a type without an agreed text.
        PrimaryKeyTypeUnsupported => "PRIMARY_KEY_TYPE_UNSUPPORTED", Refused,
            "Write the column as strings, integers of up to 64 bits or booleans: only these have one agreed text.";
        /// The output has no primary key, so that every row would get one id.
        PrimaryKeyUndefined => "PRIMARY_KEY_UNDEFINED", Refused,
            "Give its catalogue entry a primary_key, or leave the output out of the stream.";
    }
}

/// Why something could not be framed, pinned or accepted as an envelope: code, place (the part,
/// the row counted from 0, the column) and what to do.
///
/// No error of this crate is worth a retry: the same input fails again.
pub type Error = Failure<ReasonCode>;

/// One row of one part. Rows count from 0, as cursors do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowPlace {
    /// The part's name, as the caller gave it.
    pub(crate) part: String,
    /// The row's 0-based index in the part.
    pub(crate) row: u64,
}

impl RowPlace {
    /// The error, as one about this row.
    pub(crate) fn of(self, error: Error) -> Error {
        error.object(self.part).row(self.row)
    }

    /// An error about this row.
    pub(crate) fn error(self, code: ReasonCode, what: impl Into<String>) -> Error {
        self.of(Error::new(code, what))
    }
}

/// A value that does not fit the envelope field that it fills.
pub(crate) fn field_invalid(field: &'static str, found: &str, expected: &str) -> Error {
    let what = format!(
        "An envelope field cannot be {}: it must be {expected}",
        quoted(found)
    );
    Error::new(ReasonCode::EnvelopeFieldInvalid, what).field(field)
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
