//! Why a world may not be read: one closed set of codes, and an error that says
//! which gate, which object, and what to do.

use std::error::Error as StdError;
use std::fmt;

use oracle_store::Hex64;

use crate::gate_map::GateId;

macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident => $text:literal, $advice:literal;)+) => {
        /// Why evidence does not clear a world. The text form is API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $variant,)+
            /// The world could not be read, or holds a path that is refused: oracle-store's code.
            Oracle(oracle_store::ReasonCode),
        }

        impl ReasonCode {
            /// Every code that this crate adds, in the order in which a world is
            /// checked; oracle-store lists its own.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code, for example `GATE_PASS_MISSING`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Oracle(code) => code.as_str(),
                }
            }

            /// What an operator does about it: one sentence.
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$variant => $advice,)+
                    Self::Oracle(code) => code.advice(),
                }
            }
        }
    };
}

reason_codes! {
    /// The gate map is missing, is no gate map, or names a gate twice.
    GateMapUnreadable => "GATE_MAP_UNREADABLE", "Point to the engine's gate map.";
    /// The catalogue does not have the output.
    OutputUnknown => "OUTPUT_UNKNOWN", "Name outputs of the engine's catalogue.";
    /// A waiver of the gates was asked for in strict posture.
    GateWaiverRefused => "GATE_WAIVER_REFUSED", "Set `require_gate_pass: true`, or use local posture.";
    /// An output requires a gate that does not authorize it, or a gate authorizes an output that
    /// does not require it.
    CatalogueGatesDisagree => "CATALOGUE_GATES_DISAGREE",
        "Use the catalogue and the gate map of the same engine release, unedited.";
    /// A gate that an output or another gate needs is not in the gate map.
    GateUnknown => "GATE_UNKNOWN", "Use the catalogue and the gate map of the same engine release.";
    /// Gates depend on each other in a circle.
    GateDependencyCycle => "GATE_DEPENDENCY_CYCLE", "Correct the dependencies in the gate map.";
    /// The verification of a gate is not understood: method, ordering, path base or a key.
    GateMethodUnsupported => "GATE_METHOD_UNSUPPORTED",
        "Use a release that knows this method, or correct the gate map.";
    /// The flag object does not exist.
    GatePassMissing => "GATE_PASS_MISSING", "The segment's validation must pass before its outputs are read.";
    /// The flag states no digest: another field, another form, or not lowercase hex64.
    GateFlagInvalid => "GATE_FLAG_INVALID", "Have the engine's validation write the flag again.";
    /// The index object does not exist.
    GateIndexMissing => "GATE_INDEX_MISSING", "Restore the validation bundle as the engine wrote it.";
    /// The index is not the JSON that its method needs.
    GateIndexInvalid => "GATE_INDEX_INVALID", "Restore the validation bundle as the engine wrote it.";
    /// Nothing is left to take a digest of.
    GateBundleEmpty => "GATE_BUNDLE_EMPTY", "Restore the validation bundle as the engine wrote it.";
    /// A file that the index lists does not exist.
    GateFileMissing => "GATE_FILE_MISSING", "Restore the validation bundle as the engine wrote it.";
    /// What is there has another digest than the evidence states.
    GateDigestMismatch => "GATE_DIGEST_MISMATCH",
        "The world has changed since it was validated: restore it, or validate it anew.";
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The cause below an error; kept in the chain, not repeated in its text.
pub(crate) type Cause = Box<dyn StdError + Send + Sync>;

/// A refusal: code, gate, object and what to do.
///
/// `Display` is one or two plain sentences; the cause is in
/// [`source`](StdError::source).
#[derive(Debug)]
pub struct Error(Box<Fields>);

#[derive(Debug)]
struct Fields {
    gate_id: Option<GateId>,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Refused {
        code: ReasonCode,
        what: String,
        object: Option<String>,
        digests: Option<DigestPair>,
        source: Option<Cause>,
    },
    /// A fault of the store stands as it is: it already says what, where and what to do.
    Oracle(oracle_store::Error),
}

/// The digest that evidence states, and that of what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestPair {
    /// As stated by the flag or the index.
    pub expected: Hex64,
    /// As taken now.
    pub actual: Hex64,
}

impl Error {
    /// A refusal with its code and what is wrong, without a final stop.
    pub(crate) fn new(code: ReasonCode, what: impl Into<String>) -> Self {
        let fault = Fault::Refused {
            code,
            what: what.into(),
            object: None,
            digests: None,
            source: None,
        };
        Self(Box::new(Fields {
            gate_id: None,
            fault,
        }))
    }

    /// A fault of the store.
    pub(crate) fn oracle(error: oracle_store::Error) -> Self {
        Self(Box::new(Fields {
            gate_id: None,
            fault: Fault::Oracle(error),
        }))
    }

    /// Names the object by its full name: a local path or `s3://bucket/key`.
    #[must_use]
    pub(crate) fn object(mut self, full_name: impl Into<String>) -> Self {
        if let Fault::Refused { object, .. } = &mut self.0.fault {
            *object = Some(full_name.into());
        }
        self
    }

    /// Names the two digests that should be one.
    #[must_use]
    pub(crate) fn digests(mut self, expected: Hex64, actual: Hex64) -> Self {
        if let Fault::Refused { digests, .. } = &mut self.0.fault {
            *digests = Some(DigestPair { expected, actual });
        }
        self
    }

    /// Keeps the cause in the chain.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<Cause>) -> Self {
        if let Fault::Refused { source, .. } = &mut self.0.fault {
            *source = Some(cause.into());
        }
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
        match &self.0.fault {
            Fault::Refused { code, .. } => *code,
            Fault::Oracle(error) => ReasonCode::Oracle(error.code()),
        }
    }

    /// The gate concerned, if there is one.
    pub fn gate_id(&self) -> Option<&GateId> {
        self.0.gate_id.as_ref()
    }

    /// The full name of the object concerned, if there is one.
    pub fn object_name(&self) -> Option<&str> {
        match &self.0.fault {
            Fault::Refused { object, .. } => object.as_deref(),
            Fault::Oracle(error) => error.object_name(),
        }
    }

    /// The digests that differ, for `GATE_DIGEST_MISMATCH`.
    pub fn digest_pair(&self) -> Option<&DigestPair> {
        match &self.0.fault {
            Fault::Refused { digests, .. } => digests.as_ref(),
            Fault::Oracle(_) => None,
        }
    }

    /// True where the storage failed in passing and every retry was used up.
    pub fn is_retryable(&self) -> bool {
        matches!(&self.0.fault, Fault::Oracle(error) if error.is_retryable())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gate_id) = &self.0.gate_id {
            write!(f, "{gate_id}: ")?;
        }
        match &self.0.fault {
            Fault::Refused {
                code,
                what,
                object,
                digests,
                ..
            } => {
                f.write_str(what)?;
                if let Some(object) = object {
                    write!(f, ": {object}")?;
                }
                if let Some(DigestPair { expected, actual }) = digests {
                    write!(f, " (stated {expected}, found {actual})")?;
                }
                write!(f, ". {}", code.advice())
            }
            Fault::Oracle(error) => error.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.fault {
            Fault::Refused { source, .. } => source
                .as_deref()
                .map(|source| source as &(dyn StdError + 'static)),
            Fault::Oracle(error) => error.source(),
        }
    }
}
