//! Who is in the way of a lease.

use std::fmt;

use crate::error::{Error, ReasonCode};
use crate::holder::Holder;
use crate::key::CursorKey;

/// Who is in the way of a lease: the cause below `LEASE_HELD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The first key that is held.
    pub key: CursorKey,
    /// Who holds it.
    pub holder: Holder,
}

impl Held {
    /// Who is in the way, if the error is `LEASE_HELD`.
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
