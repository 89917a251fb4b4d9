//! Counts in stored JSON: what a SQL store can hold, and no more.

use serde::{Deserialize, Deserializer, de};

use crate::error::{Error, corrupt};
use crate::key::CursorKey;

/// The most that rows, fences, saves and renewals count to. A file that states more was not written
/// here, and nothing could follow it.
pub(crate) const MOST: u64 = i64::MAX as u64;

/// Reads a count of at most [`MOST`].
pub(crate) fn count<'de, D: Deserializer<'de>>(number: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(number)?;
    let expected = "a count of at most 63 bits";
    let fits = (number <= MOST).then_some(number);
    fits.ok_or_else(|| de::Error::invalid_value(de::Unexpected::Unsigned(number), &expected))
}

/// The count after this one.
///
/// # Errors
/// `CHECKPOINT_CORRUPT` if there is none: no store has counted so far.
pub(crate) fn next_count(count: u64, key: &CursorKey) -> Result<u64, Error> {
    let next = count.checked_add(1).filter(|next| *next <= MOST);
    next.ok_or_else(|| corrupt(key.to_string(), "a count of it has no next one"))
}
