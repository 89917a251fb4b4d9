//! Reads engine worlds: locations, catalogue, pack evidence, and rows from a position.

pub mod catalogue;
pub mod contents;
pub mod error;
pub mod grant;
pub mod hex;
pub mod instance_proof;
pub mod location;
pub mod locator;
pub mod manifest;
pub mod packer;
pub mod platform_runs;
pub mod posture;
pub mod receipt;
pub mod rows;
pub mod scenario;
pub mod schema;
pub mod seal;
pub mod store;
pub mod template;
pub mod world_key;

pub use catalogue::{Catalogue, CatalogueEntry, OutputClass, OutputId};
pub use contents::{ContentsEntry, ContentsIndex, ContentsReport, DataVerification};
pub use error::{Error, ReasonCode};
pub use grant::ReadGrant;
pub use hex::{Hex32, Hex64};
pub use instance_proof::{InstanceProof, verify_instance_proof};
pub use location::{EngineRunRoot, Location, resolve_engine_run_root};
pub use locator::{DataPlaces, OutputLocator, Part, PartFormat, Pin, locate};
pub use manifest::{PackFacts, PackManifest};
pub use packer::{PackAction, PackFile, PackOutcome, PackReport, PackRequest, pack};
pub use platform_runs::refuse_platform_runs;
pub use posture::{PackEvidence, PackExpectation, Posture, SealKind, check_pack};
pub use receipt::RunReceipt;
pub use rows::{
    ColumnReader, JsonLines, PartFooter, ReadOptions, RowBatch, RowReader, Rows, footer, open_rows,
    read_column,
};
pub use scenario::resolve_scenario_id;
pub use seal::{PackSeal, Seal, SealStatus};
pub use store::{Entry, Object, ObjectStoreConfig, RetryPolicy, WorldStore, object_store_at};
pub use template::Tokens;
pub use world_key::{ScenarioId, WorldKey};
