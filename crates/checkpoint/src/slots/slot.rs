//! The vocabulary of slots: what is done to one, what is read of it, what becomes of it.

use crate::error::Error;
use crate::key::CursorKey;
use crate::lease::LeaseRecord;
use crate::record::{Record, Wire};

/// What an edit does to slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The lease is taken.
    Take,
    /// The lease is renewed.
    Renew,
    /// A record is saved.
    Save,
    /// The record is given up.
    Reset,
    /// The lease is given back.
    Release,
}

impl Act {
    /// What is attempted, for error messages: "save the cursor".
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Take => "take the lease",
            Self::Renew => "renew the lease",
            Self::Save => "save the cursor",
            Self::Reset => "reset the cursor",
            Self::Release => "release the lease",
        }
    }

    /// The parts of a slot that the act is decided on.
    pub const fn needs(self) -> Needs {
        Needs {
            lease: true,
            life: matches!(self, Self::Take),
            record: matches!(self, Self::Take | Self::Save | Self::Reset),
        }
    }
}

/// The parts of a slot that are asked for; a store may leave the others at their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Whether [`Slot::lease`] is asked for.
    pub lease: bool,
    /// Whether [`Slot::life`] is asked for.
    pub life: bool,
    /// Whether [`Slot::record`] is asked for.
    pub record: bool,
}

/// What a store has of a key: what an act is decided on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Slot {
    /// The lease, `None` if it was never taken; `CHECKPOINT_CORRUPT` where it cannot be read.
    pub lease: Result<Option<LeaseRecord>, Error>,
    /// The record; `None` where there is none, or it was not asked for.
    pub record: Option<StoredRecord>,
    /// What the store knows of the session that the lease names; `Unknown` where it was not asked
    /// for.
    pub life: Life,
    /// A number that changes with every renewal of the lease.
    pub stamp: u64,
    /// Whether the lease is over once it was seen unchanged for its period: `false` while the
    /// store's own clock says that the period is not over.
    pub may_expire: bool,
}

impl Slot {
    /// A slot with a lease that counts its own renewals.
    pub fn new(lease: Option<LeaseRecord>, life: Life, record: Option<StoredRecord>) -> Self {
        Self {
            stamp: lease.as_ref().map_or(0, |lease| lease.renewals),
            lease: Ok(lease),
            record,
            life,
            may_expire: true,
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new(None, Life::Unknown, None)
    }
}

/// What a store knows of the session that a lease names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The session lives.
    Living,
    /// The session has ended.
    Ended,
    /// The store cannot tell.
    Unknown,
}

impl Life {
    /// Whether the session lives, as a [`LeaseState`](crate::LeaseState) says it.
    pub const fn is_alive(self) -> Option<bool> {
        match self {
            Self::Living => Some(true),
            Self::Ended => Some(false),
            Self::Unknown => None,
        }
    }
}

/// A stored record: its text, and what it says or why it is refused.
#[derive(Debug)]
pub struct StoredRecord {
    /// The text as it is stored, whole or damaged: what a reset keeps in history.
    pub text: String,
    /// `CHECKPOINT_CORRUPT`, `CHECKPOINT_VERSION_UNSUPPORTED` or `CHECKPOINT_KEY_MISMATCH` where
    /// it is refused.
    pub record: Result<Record, Error>,
}

impl StoredRecord {
    /// Reads the JSON of a record. `place` is where it is stored, for error messages.
    pub fn parse(bytes: impl AsRef<[u8]>, key: &CursorKey, place: &str) -> Self {
        let bytes = bytes.as_ref();
        Self {
            record: Record::parse(bytes, key, place),
            text: String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// What an edit writes into a slot; the default changes nothing.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Change {
    /// The lease to store; `None` leaves the lease as it is.
    pub lease: Option<LeaseRecord>,
    /// What becomes of the stored record.
    pub record: RecordChange,
}

/// What an edit makes of the stored record.
#[derive(Debug, Default)]
pub enum RecordChange {
    /// The record stays as it is.
    #[default]
    Keep,
    /// This record takes its place; its JSON is the line of history too.
    Save(NewRecord),
    /// The record is removed, after this line of history is written: a crash in between leaves the
    /// position.
    Remove(String),
}

/// A record that an edit stores.
#[derive(Debug)]
pub struct NewRecord(pub(crate) Box<Wire>);

impl NewRecord {
    /// The JSON of the record, which is its line of history too.
    pub fn to_json(&self) -> String {
        self.0.to_json()
    }
}

impl Change {
    pub(crate) fn of_lease(lease: LeaseRecord) -> Self {
        Self {
            lease: Some(lease),
            ..Self::default()
        }
    }

    pub(crate) fn of_record(record: RecordChange) -> Self {
        Self {
            record,
            ..Self::default()
        }
    }
}

/// Asks about every slot, also behind one that refuses; what each is changed to, or the first
/// refusal.
///
/// # Errors
/// What `decide` fails with.
pub fn decide_all<T>(
    slots: impl IntoIterator<Item = (CursorKey, Slot)>,
    decide: &impl Fn(&CursorKey, Slot) -> Result<(Change, T), Error>,
) -> Result<Vec<(CursorKey, Change, T)>, Error> {
    let slots = slots.into_iter();
    let decided: Vec<_> = slots
        .map(|(key, slot)| {
            let (change, told) = decide(&key, slot)?;
            Ok((key, change, told))
        })
        .collect();
    decided.into_iter().collect()
}
