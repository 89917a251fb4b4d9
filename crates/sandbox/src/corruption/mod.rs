//! Named corruptions of a world, each with the reason code it must lead to.
//!
//! A test applies one to a fresh world, lets a run loose on it in the way that
//! [`Corruption::seen_by`] names, and expects [`Corruption::reason_code`].

mod catalogue;
mod gates;
mod rows;
mod files;
mod evidence;

use crate::{Error, World};

/// The least demanding way of looking at a world that sees a corruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeenBy {
    /// Any run, even in local posture with presence checks, before its first push.
    AnyRun,
    /// Strict posture, before the first push.
    StrictPosture,
    /// `gate_verification: digest`, before the first push.
    DigestVerification,
    /// `data_verification: size` (or `sha256`), before the first push.
    SizeVerification,
    /// `data_verification: sha256`, before the part's first row.
    Sha256Verification,
    /// Any run that reaches the row, in either order; rows before it may be pushed.
    Streaming,
}

macro_rules! corruptions {
    ($($(#[doc = $doc:literal])+ $name:ident => $code:literal, $seen_by:ident;)+) => {
        /// One thing wrong with a world.
        ///
        /// Gate faults strike the first gate that the world's first output requires, or the
        /// first one upstream of it. Data faults strike the first part of the first output,
        /// which must be Parquet; where a row is meant, the one in the middle of it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Corruption {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nLeads to `", $code, "`, seen by [`SeenBy::", stringify!($seen_by), "`].")]
                $name,
            )+
            /// The part may not be read by its owner. Not in [`Corruption::ALL`]: nothing is
            /// unreadable for root.
            ///
            /// Leads to `ORACLE_READ_FAILED`, seen by [`SeenBy::AnyRun`].
            PartUnreadable,
        }

        impl Corruption {
            /// Every corruption of a sealed sample world with a contents index, whatever user
            /// the test runs as.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The reason code that a run over the corrupted world must end with.
            pub fn reason_code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                    Self::PartUnreadable => "ORACLE_READ_FAILED",
                }
            }

            /// Who must see it.
            pub fn seen_by(self) -> SeenBy {
                match self {
                    $(Self::$name => SeenBy::$seen_by,)+
                    Self::PartUnreadable => SeenBy::AnyRun,
                }
            }
        }
    };
}

corruptions! {
    /// The catalogue is not YAML.
    CatalogueGarbage => "CATALOGUE_UNREADABLE", AnyRun;
    /// The gate map is not YAML.
    GateMapGarbage => "GATE_MAP_UNREADABLE", AnyRun;
    /// The catalogue does not have the output.
    OutputUnknown => "OUTPUT_UNKNOWN", AnyRun;
    /// The catalogue gives the output an empty primary key.
    PrimaryKeyEmpty => "PRIMARY_KEY_UNDEFINED", AnyRun;
    /// The catalogue gives the output no path template.
    TemplateMissing => "OUTPUT_TEMPLATE_MISSING", AnyRun;
    /// The output's path template has a token that no world gives a value.
    TemplateTokenUnknown => "TEMPLATE_TOKEN_MISSING", AnyRun;
    /// The output's parts are CSV, by their names.
    FormatUnsupported => "UNSUPPORTED_OUTPUT_FORMAT", AnyRun;
    /// The engine run root is gone.
    EngineRootMissing => "ENGINE_ROOT_MISSING", AnyRun;
    /// There is no run receipt.
    ReceiptMissing => "RUN_RECEIPT_UNREADABLE", AnyRun;
    /// The run receipt is not JSON.
    ReceiptGarbage => "RUN_RECEIPT_UNREADABLE", AnyRun;
    /// The run receipt lacks its `run_id`.
    ReceiptRunIdMissing => "RUN_RECEIPT_UNREADABLE", AnyRun;
    /// The run receipt lacks its `seed`.
    ReceiptSeedMissing => "WORLD_KEY_MISSING", AnyRun;
    /// The run receipt's fingerprint is in upper case.
    ReceiptFingerprintMalformed => "WORLD_KEY_MISSING", AnyRun;

    /// There is a seal, and no manifest.
    ManifestMissing => "PACK_MANIFEST_MISSING", AnyRun;
    /// Neither manifest nor seal: a bare engine run.
    PackMissing => "PACK_MANIFEST_MISSING", StrictPosture;
    /// The manifest is not JSON.
    ManifestGarbage => "PACK_MANIFEST_INVALID", AnyRun;
    /// The manifest lacks its `engine_release`.
    ManifestFieldMissing => "PACK_MANIFEST_INVALID", AnyRun;
    /// The manifest has a field that the format does not know.
    ManifestExtraField => "PACK_MANIFEST_INVALID", AnyRun;
    /// Manifest and seal agree on a pack id that the manifest's facts do not give.
    PackIdWrong => "PACK_ID_MISMATCH", StrictPosture;
    /// A whole and sealed pack, of another seed than the receipt's.
    WorldKeyOther => "WORLD_KEY_MISMATCH", AnyRun;
    /// A whole and sealed pack, made with another catalogue.
    CatalogueOther => "CATALOGUE_DIGEST_MISMATCH", StrictPosture;
    /// A whole and sealed pack, made with another gate map.
    GateMapOther => "GATE_MAP_DIGEST_MISMATCH", StrictPosture;

    /// A manifest without a seal.
    SealMissing => "PACK_NOT_SEALED", StrictPosture;
    /// A flag where strict posture wants a JSON seal.
    SealFlagOnly => "PACK_NOT_SEALED", StrictPosture;
    /// The seal is not JSON.
    SealGarbage => "PACK_SEAL_INVALID", AnyRun;
    /// The seal has a field that the format does not know.
    SealExtraField => "PACK_SEAL_INVALID", AnyRun;
    /// The seal's status is none of the two.
    SealStatusUnknown => "PACK_SEAL_INVALID", AnyRun;
    /// The seal is of another pack.
    SealOther => "PACK_SEAL_MISMATCH", AnyRun;
    /// The pack was sealed as failed.
    SealFailed => "PACK_SEALED_FAILED", AnyRun;

    /// The gate map does not have the gate.
    GateUnknown => "GATE_UNKNOWN", AnyRun;
    /// The gate map gives the gate a method that nobody knows.
    GateMethodUnknown => "GATE_METHOD_UNSUPPORTED", DigestVerification;
    /// The gate's `_passed.flag` is gone.
    FlagMissing => "GATE_PASS_MISSING", AnyRun;
    /// The `_passed.flag` of a gate upstream is gone.
    UpstreamFlagMissing => "GATE_PASS_MISSING", DigestVerification;
    /// The flag states the digest under another name.
    FlagFieldWrong => "GATE_FLAG_INVALID", DigestVerification;
    /// The flag states its digest in upper case.
    FlagUpperCase => "GATE_FLAG_INVALID", DigestVerification;
    /// The flag states another digest.
    FlagDigestWrong => "GATE_DIGEST_MISMATCH", DigestVerification;
    /// One byte of a file in the gate's bundle is another.
    BundleByteFlipped => "GATE_DIGEST_MISMATCH", DigestVerification;
    /// One byte of a file in the bundle of a gate upstream is another.
    UpstreamByteFlipped => "GATE_DIGEST_MISMATCH", DigestVerification;
    /// A file that the bundle's index lists is gone.
    BundleFileMissing => "GATE_FILE_MISSING", DigestVerification;
    /// The bundle has no index.
    IndexMissing => "GATE_INDEX_MISSING", DigestVerification;
    /// The bundle's index is not JSON.
    IndexGarbage => "GATE_INDEX_INVALID", DigestVerification;
    /// The bundle's index lists nothing.
    IndexEmpty => "GATE_BUNDLE_EMPTY", DigestVerification;
    /// The bundle's index lists a path that climbs out of the engine run root.
    IndexPathEscapes => "OBJECT_PATH_REFUSED", DigestVerification;
    /// A file of the bundle is a symlink to a copy of it outside the engine run root.
    BundleFileLinkedOutside => "OBJECT_PATH_REFUSED", DigestVerification;

    /// The pack has no contents index.
    ContentsMissing => "PACK_CONTENTS_MISSING", SizeVerification;
    /// The contents index is not JSON.
    ContentsGarbage => "PACK_CONTENTS_INVALID", SizeVerification;
    /// The contents index is of another pack.
    ContentsOther => "PACK_CONTENTS_MISMATCH", SizeVerification;
    /// There is a part that the contents index does not list.
    PartUnlisted => "PACK_CONTENTS_MISMATCH", SizeVerification;
    /// The part has the same rows in other bytes, and another length.
    PartRewritten => "DATA_MISMATCH", SizeVerification;
    /// One byte in the middle of the part is another.
    PartByteFlipped => "DATA_MISMATCH", Sha256Verification;

    /// The output's folder has no part.
    OutputEmpty => "OUTPUT_EMPTY", AnyRun;
    /// A part was cut in half.
    PartTruncated => "ORACLE_READ_FAILED", AnyRun;
    /// A part is not Parquet at all.
    PartGarbage => "ORACLE_READ_FAILED", AnyRun;
    /// A part has no bytes.
    PartZeroBytes => "ORACLE_READ_FAILED", AnyRun;
    /// A part is a symlink to a file outside the engine run root.
    PartLinkedOutside => "OBJECT_PATH_REFUSED", AnyRun;

    /// The part has no `ts_utc` column.
    TimeColumnMissing => "MISSING_EVENT_TIME", Streaming;
    /// The part's `ts_utc` is a number.
    TimeColumnNumeric => "EVENT_TIME_INVALID", Streaming;
    /// One event time is null.
    TimeNull => "MISSING_EVENT_TIME", Streaming;
    /// One event time is a leap second, which nothing can order.
    TimeUnreadable => "EVENT_TIME_INVALID", Streaming;
    /// The part lacks the last column of the primary key.
    KeyColumnMissing => "PRIMARY_KEY_MISSING", Streaming;
    /// One key is null.
    KeyNull => "PRIMARY_KEY_MISSING", Streaming;
    /// A key column holds floating-point numbers.
    KeyFloat => "PRIMARY_KEY_TYPE_UNSUPPORTED", Streaming;
    /// One value of the payload is not a number.
    PayloadNan => "PAYLOAD_VALUE_UNSUPPORTED", Streaming;
}

impl Corruption {
    /// Corrupts the world on disk. Two corruptions of one world may hide each other.
    ///
    /// # Errors
    /// `SANDBOX_IO`; `SANDBOX_OPTIONS_INVALID` where the world lacks what is to be
    /// corrupted, or would have to corrupt a caller's own catalogue or gate map.
    pub fn apply(self, world: &World) -> Result<(), Error> {
        let done = catalogue::apply(self, world)?
            || evidence::apply(self, world)?
            || gates::apply(self, world)?
            || files::apply(self, world)?;
        if done {
            Ok(())
        } else {
            rows::apply(self, world)
        }
    }
}
