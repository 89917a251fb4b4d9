//! Why a world was not attested.

use std::error::Error as StdError;
use std::fmt;

use model::{Class, Place, Refusal};

use crate::check::Check;
use crate::error::{Error, ReasonCode};
use crate::gate_id::GateId;

/// The refusal of a world: which check it did not hold, why, where, and what to do.
///
/// `Display` is one or two plain sentences; the cause is in [`source`](StdError::source).
#[derive(Debug)]
pub struct AttestError {
    check: Check,
    error: Error,
}

impl AttestError {
    pub(crate) fn new(check: Check, error: Error) -> Self {
        Self { check, error }
    }

    /// Makes a fault of the store the refusal of a check.
    pub(crate) fn at(check: Check) -> impl FnOnce(oracle_store::Error) -> Self {
        move |error| Self::new(check, Error::oracle(error))
    }

    /// The check that the world did not hold.
    pub fn check(&self) -> Check {
        self.check
    }

    /// The closed, stable reason.
    pub fn code(&self) -> ReasonCode {
        self.error.code()
    }

    /// The full name of the object concerned, a local path or `s3://bucket/key`; `None` where
    /// no object is.
    pub fn object_name(&self) -> Option<&str> {
        self.error.object_name()
    }

    /// The field of the object concerned, for example `catalogue_digest`; `None` where no field
    /// is.
    pub fn field(&self) -> Option<&str> {
        self.error.field()
    }

    /// The gate concerned; `None` where no gate is.
    pub fn gate_id(&self) -> Option<&GateId> {
        self.error.gate_id()
    }

    /// What an operator does about it: one sentence with its final stop.
    pub fn advice(&self) -> &str {
        self.error.advice()
    }

    /// True where the storage failed in passing and every retry was used up.
    pub fn is_retryable(&self) -> bool {
        self.error.is_retryable()
    }
}

impl fmt::Display for AttestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for AttestError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

impl Refusal for AttestError {
    fn code(&self) -> &'static str {
        Refusal::code(&self.error)
    }

    fn class(&self) -> Class {
        Refusal::class(&self.error)
    }

    fn place(&self) -> &Place {
        Refusal::place(&self.error)
    }

    fn advice(&self) -> &str {
        self.advice()
    }

    fn is_retryable(&self) -> bool {
        self.is_retryable()
    }
}

impl From<AttestError> for Error {
    fn from(refusal: AttestError) -> Self {
        refusal.error
    }
}
