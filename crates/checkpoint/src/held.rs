//! Who is in the way of a lease.

use std::fmt;

use crate::error::{Error, ReasonCode};
use crate::holder::Holder;
use crate::key::CursorKey;

/// The holder that is in the way of a lease: the cause of `LEASE_HELD`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The first of the requested keys that is held.
    pub key: CursorKey,
    /// The producer that holds the lease of that key.
    pub holder: Holder,
}

impl Held {
    /// The holder that an error names; `None` unless the error is `LEASE_HELD`.
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} is held by {}", self.key, self.holder)
    }
}

impl std::error::Error for Held {}

/// `LEASE_HELD`
pub(crate) fn held(key: &CursorKey, holder: &Holder) -> Error {
    let held = Held {
        key: key.clone(),
        holder: holder.clone(),
    };
    Error::new(ReasonCode::LeaseHeld, format!("The lease {held}"))
        .advise("Stop that producer, wait for it, or take over.")
        .because(held)
}
