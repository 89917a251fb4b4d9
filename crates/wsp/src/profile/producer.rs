//! Who events come from, where no profile and no allowlist say so.

use crate::{Error, ReasonCode};

/// The id of a producer that the calling program vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer(String);

impl Producer {
    /// A producer that no allowlist is asked about: the calling program answers for it.
    ///
    /// # Errors
    /// `PRODUCER_ID_MISSING` for a blank id. Envelopes take 1 to 128 characters.
    pub fn trusted(id: impl Into<String>) -> Result<Self, Error> {
        let id = id.into();
        if id.trim().is_empty() {
            let what = "The producer's id is blank";
            let advice = "Name the service that produces, like `svc:backfill`.";
            return Err(Error::new(ReasonCode::ProducerIdMissing, what, advice));
        }
        Ok(Self(id))
    }

    /// The id, as envelopes carry it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
