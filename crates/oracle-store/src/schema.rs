//! The JSON Schemas of the formats that this crate owns, as YAML, draft 2020-12.

/// Of [`Catalogue`](crate::Catalogue).
pub const ENGINE_OUTPUTS_CATALOGUE_SCHEMA: &str =
    include_str!("../../../contracts/engine_outputs_catalogue.schema.yaml");

/// Of [`RunReceipt`](crate::RunReceipt).
pub const RUN_RECEIPT_SCHEMA: &str = include_str!("../../../contracts/run_receipt.schema.yaml");

/// Of [`PackManifest`](crate::PackManifest).
pub const ORACLE_PACK_MANIFEST_SCHEMA: &str =
    include_str!("../../../contracts/oracle_pack_manifest.schema.yaml");

/// Of [`PackSeal`](crate::PackSeal).
pub const ORACLE_PACK_SEAL_SCHEMA: &str =
    include_str!("../../../contracts/oracle_pack_seal.schema.yaml");

/// Of [`ContentsIndex`](crate::ContentsIndex).
pub const ORACLE_PACK_CONTENTS_SCHEMA: &str =
    include_str!("../../../contracts/oracle_pack_contents.schema.yaml");

/// Of [`OutputLocator`](crate::OutputLocator).
pub const OUTPUT_LOCATOR_SCHEMA: &str =
    include_str!("../../../contracts/output_locator.schema.yaml");
