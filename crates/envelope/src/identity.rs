//! The primary key of an output: the event id and ordering key of a row.

use crate::error::{Error, ReasonCode};
use crate::event_id::{EventId, IdHead};
use crate::ordering_key::{ordering_column, ordering_key};

/// How the events of one output are identified.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) columns: Vec<String>,
    /// The key column that orders events.
    pub(crate) ordering: Option<usize>,
    /// The ordering key of every event where no column orders them.
    pub(crate) output_key: u64,
    pub(crate) head: IdHead,
    pub(crate) tail: Vec<u8>,
    /// What follows the head of one event's id; kept for its memory only.
    pub(crate) text: Vec<u8>,
}

impl Identity {
    /// Identifies the rows of an output; `tail` is what the world adds to each id's text.
    ///
    /// # Errors
    /// `PRIMARY_KEY_UNDEFINED` without key columns.
    pub(crate) fn new(
        output_id: &str,
        primary_key: &[String],
        tail: Vec<u8>,
    ) -> Result<Self, Error> {
        if primary_key.is_empty() {
            let what = format!(
                "Output {output_id} has no primary key, so that all its rows would get one event id"
            );
            return Err(Error::new(ReasonCode::PrimaryKeyUndefined, what));
        }
        Ok(Self {
            columns: primary_key.to_vec(),
            ordering: ordering_column(primary_key),
            output_key: ordering_key(output_id.as_bytes()),
            head: IdHead::new(output_id),
            tail,
            text: Vec::new(),
        })
    }

    /// Identifies one row by the texts of its key values, given in the order of the columns.
    ///
    /// # Errors
    /// Whatever the value of a column yields.
    pub(crate) fn of_texts<'a, E>(
        &mut self,
        values: impl Iterator<Item = Result<&'a [u8], E>>,
    ) -> Result<(EventId, u64), E> {
        let mut order = self.output_key;
        self.text.clear();
        for (place, value) in values.enumerate() {
            let value = value?;
            if self.ordering == Some(place) {
                order = ordering_key(value);
            }
            self.text.extend_from_slice(value);
            self.text.push(b'|');
        }
        self.text.extend_from_slice(&self.tail);
        Ok((self.head.finish(&self.text), order))
    }
}

/// Why a row has no identity, without the row.
#[derive(Debug)]
pub(crate) enum KeyFaultKind {
    NoColumn,
    Null,
    /// The type or token that has no text.
    Type(String),
}

impl KeyFaultKind {
    /// The error about a key column, without the row.
    pub(crate) fn error(self, column: &str) -> Error {
        let (code, what) = match self {
            Self::NoColumn => (
                ReasonCode::PrimaryKeyMissing,
                "A primary-key column is not among the row's columns".to_owned(),
            ),
            Self::Null => (
                ReasonCode::PrimaryKeyMissing,
                "A primary-key column is null".to_owned(),
            ),
            Self::Type(found) => (
                ReasonCode::PrimaryKeyTypeUnsupported,
                format!("A primary-key column is {found}"),
            ),
        };
        Error::new(code, what).field(column)
    }
}

/// The text of a boolean key.
pub(crate) const fn boolean_text(value: bool) -> &'static [u8] {
    if value { b"True" } else { b"False" }
}
