//! A flag or an index of a gate, and what is said of it.

use oracle_store::{Object, WorldStore};

use crate::error::{Error, ReasonCode};

/// A flag or an index, read whole.
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) object: Object,
}

/// A refusal that names an object of the world.
pub(crate) fn refusal(
    store: &WorldStore,
    code: ReasonCode,
    what: impl Into<String>,
    key: &str,
) -> Error {
    Error::new(code, what).object(store.full_name(key))
}
