//! What can go wrong when a world is read: one closed set of codes.

model::reason_codes! {
    /// Why a world was refused or could not be read. The text form is API.
    pub enum ReasonCode {
        /// The catalogue file is missing, is not YAML, or lacks what is needed of it.
        CatalogueUnreadable => "CATALOGUE_UNREADABLE", Refused, "Point to the engine's output catalogue.";
        /// The object store cannot be configured from the endpoint, region or location given.
        ObjectStoreInvalid => "OBJECT_STORE_INVALID", Refused, "Correct the endpoint, region or location.";
        /// The named engine run root does not exist, or is not a folder or bucket.
        EngineRootMissing => "ENGINE_ROOT_MISSING", Refused, "Name an engine run root that exists.";
        /// The engine run root and the platform's runs root overlap.
        EngineRootInPlatformRuns => "ENGINE_ROOT_IN_PLATFORM_RUNS", Refused,
            "Keep engine worlds outside the platform's runs.";
        /// A path leaves the engine run root: absolute, `..`, or by a symlink.
        ObjectPathRefused => "OBJECT_PATH_REFUSED", Refused,
            "Every object of a world must lie inside its engine run root.";
        /// `run_receipt.json` is missing, is not a JSON object, or has no usable `run_id`.
        RunReceiptUnreadable => "RUN_RECEIPT_UNREADABLE", Refused,
            "Name the root of a finished engine run; its receipt stands directly inside.";
        /// The receipt has no usable manifest fingerprint, parameter hash or seed.
        WorldKeyMissing => "WORLD_KEY_MISSING", Refused, "The engine run must be written again.";
        /// No scenario id is named, and none is found.
        ScenarioIdMissing => "SCENARIO_ID_MISSING", Refused, "Name the scenario id.";
        /// The selected outputs hold several scenarios.
        ScenarioIdAmbiguous => "SCENARIO_ID_AMBIGUOUS", Refused, "Name the scenario id to stream.";
        /// There is no `_oracle_pack_manifest.json` where one is needed.
        PackManifestMissing => "PACK_MANIFEST_MISSING", Refused, "Pack the world first.";
        /// The pack manifest is not what its format says.
        PackManifestInvalid => "PACK_MANIFEST_INVALID", Refused, "Pack the world anew, in a fresh root.";
        /// The packer was run again with other facts than the manifest states.
        PackManifestMismatch => "PACK_MANIFEST_MISMATCH", Refused,
            "A pack is written once: use the facts it was packed with, or a fresh root.";
        /// The pack id is not the one its facts give, or not the one asked for.
        PackIdMismatch => "PACK_ID_MISMATCH", Refused, "Do not use this pack until its origin is known.";
        /// The manifest describes another world than the receipt and scenario do.
        WorldKeyMismatch => "WORLD_KEY_MISMATCH", Refused, "Check the root and the scenario id.";
        /// The catalogue is not the one that the pack was made with.
        CatalogueDigestMismatch => "CATALOGUE_DIGEST_MISMATCH", Refused, "Use the pack's own catalogue.";
        /// The gate map is not the one that the pack was made with.
        GateMapDigestMismatch => "GATE_MAP_DIGEST_MISMATCH", Refused, "Use the pack's own gate map.";
        /// There is no seal where one is needed.
        PackNotSealed => "PACK_NOT_SEALED", Refused, "Seal the pack once its engine run has finished.";
        /// `_SEALED.json` is not what its format says.
        PackSealInvalid => "PACK_SEAL_INVALID", Refused, "Pack the world anew, in a fresh root.";
        /// The seal belongs to another pack, or states another status than asked for.
        PackSealMismatch => "PACK_SEAL_MISMATCH", Refused, "Do not use this pack until its origin is known.";
        /// The pack was sealed as failed.
        PackSealedFailed => "PACK_SEALED_FAILED", Refused, "The world is kept for study only; use another.";
        /// There is no contents index where one is needed.
        PackContentsMissing => "PACK_CONTENTS_MISSING", Refused, "Pack the world with its contents index.";
        /// The contents index is not what its format says.
        PackContentsInvalid => "PACK_CONTENTS_INVALID", Refused, "Pack the world anew, in a fresh root.";
        /// The contents index belongs to another pack, or does not list an object of this one.
        PackContentsMismatch => "PACK_CONTENTS_MISMATCH", Refused,
            "The pack has changed since it was packed: restore it.";
        /// An object that the contents index lists is gone, or is not the one that was packed.
        DataMismatch => "DATA_MISMATCH", Refused, "The world has changed since it was packed: restore it.";
        /// An instance receipt is not what its format says, or is not a PASS.
        InstanceProofInvalid => "INSTANCE_PROOF_INVALID", Refused, "Ask the engine for a valid receipt.";
        /// The parts of an output are not those that its instance receipt proves.
        InstanceProofMismatch => "INSTANCE_PROOF_MISMATCH", Refused,
            "The output has changed since it was proven: restore it.";
        /// The catalogue gives the output no usable path template.
        OutputTemplateMissing => "OUTPUT_TEMPLATE_MISSING", Refused, "Correct the output's catalogue entry.";
        /// A path template names a token that this world has no value for.
        TemplateTokenMissing => "TEMPLATE_TOKEN_MISSING", Refused,
            "Select outputs whose paths need only the world's own tokens.";
        /// An output has no part.
        OutputEmpty => "OUTPUT_EMPTY", Refused, "Check that the engine run wrote this output.";
        /// A part is neither Parquet nor JSON lines.
        UnsupportedOutputFormat => "UNSUPPORTED_OUTPUT_FORMAT", Refused,
            "Only .parquet and .jsonl parts can be read.";
        /// An output has no stream view: its manifest or its receipt is not there.
        ViewMissing => "VIEW_MISSING", Refused,
            "Build the view, or stream the outputs themselves (`stream_source: outputs`).";
        /// The manifest or the receipt of a stream view is not what its format says.
        ViewInvalid => "VIEW_INVALID", Refused, "Build the view anew.";
        /// The receipt of a stream view does not say that sorting kept every row.
        ViewReceiptBad => "VIEW_RECEIPT_BAD", Refused, "Build the view anew.";
        /// A stream view is of another output or another world.
        ViewOutputMismatch => "VIEW_OUTPUT_MISMATCH", Refused,
            "Name the base of this world's views, or build the view anew.";
        /// The id of a stream view is not the one that this engine run root and its manifest give.
        ViewIdMismatch => "VIEW_ID_MISMATCH", Refused,
            "Name the engine run root as it was named when the view was built, or build the view anew.";
        /// A stream view was built from other parts, or its files are not all there.
        ViewStale => "VIEW_STALE", Refused, "Build the view anew.";
        /// Rows of one output were asked for with the grant of another.
        ReadGrantMismatch => "READ_GRANT_MISMATCH", Refused, "Open each output with its own clearance.";
        /// A page or a row takes more memory than readers may hold.
        MemoryBudgetExceeded => "MEMORY_BUDGET_EXCEEDED", Refused,
            "Allow more memory for reading, or write the part with smaller pages and rows.";
        /// An object could not be read, is damaged, or changed while it was read.
        OracleReadFailed => "ORACLE_READ_FAILED", Failed, "Check the object and the storage it lies on.";
    }
}

/// A refusal or a failed read: code, place (the object's full name, row, field) and what to do.
pub type Error = model::Failure<ReasonCode>;
