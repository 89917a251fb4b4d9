//! Why a world may not be read: one closed set of codes, and an error that says
//! which gate, which object, and what to do.

use std::error::Error as StdError;
use std::fmt;

use model::{Cause, Class, Failure, Place, Refusal};
use oracle_store::Hex64;

use crate::gate_id::GateId;

model::reason_codes! {
    /// Why evidence does not clear a world. The text form is API.
    pub enum ReasonCode {
        /// The gate map is missing, is no gate map, or names a gate twice.
        GateMapUnreadable => "GATE_MAP_UNREADABLE", Refused, "Point to the engine's gate map.";
        /// The catalogue does not have the output.
        OutputUnknown => "OUTPUT_UNKNOWN", Refused, "Name outputs of the engine's catalogue.";
        /// A waiver of the gates was asked for in strict posture.
        GateWaiverRefused => "GATE_WAIVER_REFUSED", Refused, "Set `require_gate_pass: true`, or use local posture.";
        /// An output requires a gate that does not authorize it, or a gate authorizes an output that
        /// does not require it.
        CatalogueGatesDisagree => "CATALOGUE_GATES_DISAGREE", Refused,
            "Use the catalogue and the gate map of the same engine release, unedited.";
        /// A gate that an output or another gate needs is not in the gate map.
        GateUnknown => "GATE_UNKNOWN", Refused, "Use the catalogue and the gate map of the same engine release.";
        /// Gates depend on each other in a circle.
        GateDependencyCycle => "GATE_DEPENDENCY_CYCLE", Refused, "Correct the dependencies in the gate map.";
        /// The verification of a gate is not understood: method, ordering, path base or a key.
        GateMethodUnsupported => "GATE_METHOD_UNSUPPORTED", Refused,
            "Use a release that knows this method, or correct the gate map.";
        /// The flag object does not exist.
        GatePassMissing => "GATE_PASS_MISSING", Refused, "The segment's validation must pass before its outputs are read.";
        /// The flag states no digest: another field, another form, or not lowercase hex64.
        GateFlagInvalid => "GATE_FLAG_INVALID", Refused, "Have the engine's validation write the flag again.";
        /// The index object does not exist.
        GateIndexMissing => "GATE_INDEX_MISSING", Refused, "Restore the validation bundle as the engine wrote it.";
        /// The index is not the JSON that its method needs.
        GateIndexInvalid => "GATE_INDEX_INVALID", Refused, "Restore the validation bundle as the engine wrote it.";
        /// Nothing is left to take a digest of.
        GateBundleEmpty => "GATE_BUNDLE_EMPTY", Refused, "Restore the validation bundle as the engine wrote it.";
        /// A file that the index lists does not exist.
        GateFileMissing => "GATE_FILE_MISSING", Refused, "Restore the validation bundle as the engine wrote it.";
        /// What is there has another digest than the evidence states.
        GateDigestMismatch => "GATE_DIGEST_MISMATCH", Refused,
            "The world has changed since it was validated: restore it, or validate it anew.";
        /// Strict posture was to stream a view whose bytes nothing proves.
        StreamViewUnproven => "STREAM_VIEW_UNPROVEN", Refused,
            "Set `policy.trust_stream_views: true`, or stream the outputs themselves (`stream_source: outputs`).";
    }
    + /// The world could not be read, or holds a path that is refused: oracle-store's code.
    Oracle(oracle_store::ReasonCode)
}

/// A refusal: code, gate, object and what to do.
///
/// `Display` is one or two plain sentences; the cause is in
/// [`source`](StdError::source).
#[derive(Debug)]
pub struct Error(Box<Fields>);

#[derive(Debug)]
struct Fields {
    gate_id: Option<GateId>,
    digests: Option<DigestPair>,
    failure: Failure<ReasonCode>,
}

/// The digest that evidence states, and that of what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DigestPair {
    /// The digest that the flag or the index states.
    pub expected: Hex64,
    /// The digest of the bytes as they are now.
    pub actual: Hex64,
}

impl Error {
    /// A refusal with its code and what is wrong, without a final stop.
    pub(crate) fn new(code: ReasonCode, what: impl Into<String>) -> Self {
        Self::of(Failure::new(code, what))
    }

    /// A fault of the store, which stands as it is: it says what, where and what to do.
    pub(crate) fn oracle(error: oracle_store::Error) -> Self {
        Self::of(error.map_code(ReasonCode::Oracle))
    }

    fn of(failure: Failure<ReasonCode>) -> Self {
        Self(Box::new(Fields {
            gate_id: None,
            digests: None,
            failure,
        }))
    }

    fn map(mut self, change: impl FnOnce(Failure<ReasonCode>) -> Failure<ReasonCode>) -> Self {
        self.0.failure = change(self.0.failure);
        self
    }

    /// Names the object by its full name: a local path or `s3://bucket/key`.
    #[must_use]
    pub(crate) fn object(self, full_name: impl Into<String>) -> Self {
        self.map(|failure| failure.object(full_name))
    }

    /// Keeps the cause in the chain.
    #[must_use]
    pub(crate) fn because(self, cause: impl Into<Cause>) -> Self {
        self.map(|failure| failure.because(cause))
    }

    /// Names the two digests that should be one.
    #[must_use]
    pub(crate) fn digests(mut self, expected: Hex64, actual: Hex64) -> Self {
        self.0.digests = Some(DigestPair { expected, actual });
        self
    }

    /// Names the gate.
    #[must_use]
    pub(crate) fn of_gate(mut self, gate_id: &GateId) -> Self {
        self.0.gate_id = Some(gate_id.clone());
        self
    }

    /// The closed, stable reason.
    pub fn code(&self) -> ReasonCode {
        self.0.failure.code()
    }

    /// The gate concerned, if there is one.
    pub fn gate_id(&self) -> Option<&GateId> {
        self.0.gate_id.as_ref()
    }

    /// The full name of the object concerned, if there is one.
    pub fn object_name(&self) -> Option<&str> {
        self.0.failure.object_name()
    }

    /// The field of the object concerned, if there is one.
    pub fn field(&self) -> Option<&str> {
        self.0.failure.place().field()
    }

    /// What an operator does about it: one sentence with its final stop.
    pub fn advice(&self) -> &str {
        self.0.failure.advice()
    }

    /// The digests that differ, for `GATE_DIGEST_MISMATCH`.
    pub fn digest_pair(&self) -> Option<&DigestPair> {
        self.0.digests.as_ref()
    }

    /// True where the storage failed in passing and every retry was used up.
    pub fn is_retryable(&self) -> bool {
        self.0.failure.is_retryable()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields {
            gate_id,
            digests,
            failure,
        } = &*self.0;
        write!(f, "{}{}", failure.what(), failure.place())?;
        if let Some(gate_id) = gate_id {
            write!(f, ", gate {gate_id}")?;
        }
        if let Some(DigestPair { expected, actual }) = digests {
            write!(f, " (stated {expected}, found {actual})")?;
        }
        write!(f, ". {}", failure.advice())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.failure.source()
    }
}

impl Refusal for Error {
    fn code(&self) -> &'static str {
        self.code().as_str()
    }

    fn class(&self) -> Class {
        self.code().class()
    }

    fn place(&self) -> &Place {
        self.0.failure.place()
    }

    fn advice(&self) -> &str {
        self.advice()
    }

    fn is_retryable(&self) -> bool {
        self.is_retryable()
    }
}
