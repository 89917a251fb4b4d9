//! What can go wrong when a world is read: one closed set of codes, and an
//! error that says what, where and what to do.

use std::error::Error as StdError;
use std::fmt;

macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident => $text:literal, $advice:literal;)+) => {
        /// Why a world was refused or could not be read. The text form is API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ReasonCode {
            /// Every code of this crate, in the order in which a world is checked.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code, for example `ENGINE_ROOT_MISSING`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What an operator does about it: one sentence.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }
        }
    };
}

reason_codes! {
    /// The catalogue file is missing, is not YAML, or lacks what is needed of it.
    CatalogueUnreadable => "CATALOGUE_UNREADABLE", "Point to the engine's output catalogue.";
    /// The object store cannot be configured from the endpoint, region or location given.
    ObjectStoreInvalid => "OBJECT_STORE_INVALID", "Correct the endpoint, region or location.";
    /// The named engine run root does not exist, or is not a folder or bucket.
    EngineRootMissing => "ENGINE_ROOT_MISSING", "Name an engine run root that exists.";
    /// The engine run root and the platform's runs root overlap.
    EngineRootInPlatformRuns => "ENGINE_ROOT_IN_PLATFORM_RUNS",
        "Keep engine worlds outside the platform's runs.";
    /// A path leaves the engine run root: absolute, `..`, or by a symlink.
    ObjectPathRefused => "OBJECT_PATH_REFUSED",
        "Every object of a world must lie inside its engine run root.";
    /// `run_receipt.json` is missing, is not a JSON object, or has no usable `run_id`.
    RunReceiptUnreadable => "RUN_RECEIPT_UNREADABLE",
        "Name the root of a finished engine run; its receipt stands directly inside.";
    /// The receipt has no usable manifest fingerprint, parameter hash or seed.
    WorldKeyMissing => "WORLD_KEY_MISSING", "The engine run must be written again.";
    /// No scenario id is named, and none is found.
    ScenarioIdMissing => "SCENARIO_ID_MISSING", "Name the scenario id.";
    /// The selected outputs hold several scenarios.
    ScenarioIdAmbiguous => "SCENARIO_ID_AMBIGUOUS", "Name the scenario id to stream.";
    /// There is no `_oracle_pack_manifest.json` where one is needed.
    PackManifestMissing => "PACK_MANIFEST_MISSING", "Pack the world first.";
    /// The pack manifest is not what its format says.
    PackManifestInvalid => "PACK_MANIFEST_INVALID", "Pack the world anew, in a fresh root.";
    /// The packer was run again with other facts than the manifest states.
    PackManifestMismatch => "PACK_MANIFEST_MISMATCH",
        "A pack is written once: use the facts it was packed with, or a fresh root.";
    /// The pack id is not the one its facts give, or not the one asked for.
    PackIdMismatch => "PACK_ID_MISMATCH", "Do not use this pack until its origin is known.";
    /// The manifest describes another world than the receipt and scenario do.
    WorldKeyMismatch => "WORLD_KEY_MISMATCH", "Check the root and the scenario id.";
    /// The catalogue is not the one that the pack was made with.
    CatalogueDigestMismatch => "CATALOGUE_DIGEST_MISMATCH", "Use the pack's own catalogue.";
    /// The gate map is not the one that the pack was made with.
    GateMapDigestMismatch => "GATE_MAP_DIGEST_MISMATCH", "Use the pack's own gate map.";
    /// There is no seal where one is needed.
    PackNotSealed => "PACK_NOT_SEALED", "Seal the pack once its engine run has finished.";
    /// `_SEALED.json` is not what its format says.
    PackSealInvalid => "PACK_SEAL_INVALID", "Pack the world anew, in a fresh root.";
    /// The seal belongs to another pack, or states another status than asked for.
    PackSealMismatch => "PACK_SEAL_MISMATCH", "Do not use this pack until its origin is known.";
    /// The pack was sealed as failed.
    PackSealedFailed => "PACK_SEALED_FAILED", "The world is kept for study only; use another.";
    /// There is no contents index where one is needed.
    PackContentsMissing => "PACK_CONTENTS_MISSING", "Pack the world with its contents index.";
    /// The contents index is not what its format says.
    PackContentsInvalid => "PACK_CONTENTS_INVALID", "Pack the world anew, in a fresh root.";
    /// The contents index belongs to another pack, or does not list an object of this one.
    PackContentsMismatch => "PACK_CONTENTS_MISMATCH",
        "The pack has changed since it was packed: restore it.";
    /// An object that the contents index lists is gone, or is not the one that was packed.
    DataMismatch => "DATA_MISMATCH", "The world has changed since it was packed: restore it.";
    /// An instance receipt is not what its format says, or is not a PASS.
    InstanceProofInvalid => "INSTANCE_PROOF_INVALID", "Ask the engine for a valid receipt.";
    /// The parts of an output are not those that its instance receipt proves.
    InstanceProofMismatch => "INSTANCE_PROOF_MISMATCH",
        "The output has changed since it was proven: restore it.";
    /// The catalogue gives the output no usable path template.
    OutputTemplateMissing => "OUTPUT_TEMPLATE_MISSING", "Correct the output's catalogue entry.";
    /// A path template names a token that this world has no value for.
    TemplateTokenMissing => "TEMPLATE_TOKEN_MISSING",
        "Select outputs whose paths need only the world's own tokens.";
    /// An output has no part.
    OutputEmpty => "OUTPUT_EMPTY", "Check that the engine run wrote this output.";
    /// A part is neither Parquet nor JSON lines.
    UnsupportedOutputFormat => "UNSUPPORTED_OUTPUT_FORMAT",
        "Only .parquet and .jsonl parts can be read.";
    /// Rows of one output were asked for with the grant of another.
    ReadGrantMismatch => "READ_GRANT_MISMATCH", "Open each output with its own clearance.";
    /// A page or a row takes more memory than readers may hold.
    MemoryBudgetExceeded => "MEMORY_BUDGET_EXCEEDED",
        "Raise `wsp_order.memory_budget_mib`, or write the part with smaller pages and rows.";
    /// An object could not be read, is damaged, or changed while it was read.
    OracleReadFailed => "ORACLE_READ_FAILED", "Check the object and the storage it lies on.";
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The cause below an error; kept in the chain, not repeated in its text.
pub(crate) type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// A refusal or a failed read: code, place and what to do.
///
/// `Display` is one or two plain sentences: what, where (the object's full
/// name, row, field), and what to do. The cause is in [`source`](StdError::source).
#[derive(Debug)]
pub struct Error(Box<Fields>);

#[derive(Debug)]
struct Fields {
    code: ReasonCode,
    what: String,
    object: Option<String>,
    row: Option<u64>,
    field: Option<String>,
    retryable: bool,
    source: Option<Cause>,
}

impl Error {
    /// An error with its code and what happened, without a final stop.
    pub(crate) fn new(code: ReasonCode, what: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            code,
            what: what.into(),
            object: None,
            row: None,
            field: None,
            retryable: false,
            source: None,
        }))
    }

    /// Names the object by its full name: a local path or `s3://bucket/key`.
    #[must_use]
    pub(crate) fn object(mut self, full_name: impl Into<String>) -> Self {
        self.0.object = Some(full_name.into());
        self
    }

    /// Names the row, counted from 0 within its part.
    #[must_use]
    pub(crate) fn row(mut self, row: u64) -> Self {
        self.0.row = Some(row);
        self
    }

    /// Names the field or column.
    #[must_use]
    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Keeps the cause in the chain.
    #[must_use]
    pub(crate) fn because(mut self, source: impl Into<Cause>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether the same operation may succeed when it is tried again.
    #[must_use]
    pub(crate) fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// The closed, stable reason.
    pub fn code(&self) -> ReasonCode {
        self.0.code
    }

    /// The full name of the object concerned, if there is one.
    pub fn object_name(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// The row concerned, counted from 0 within its part.
    pub fn row_index(&self) -> Option<u64> {
        self.0.row
    }

    /// True where the storage failed in passing and every retry was used up.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields {
            what,
            object,
            row,
            field,
            code,
            ..
        } = &*self.0;
        f.write_str(what)?;
        if let Some(object) = object {
            write!(f, ": {object}")?;
        }
        if let Some(row) = row {
            write!(f, ", row {row}")?;
        }
        if let Some(field) = field {
            write!(f, ", field `{field}`")?;
        }
        write!(f, ". {}", code.advice())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
