//! Reads engine worlds: where a world lies, what identifies it, what it shows of itself,
//! and its rows from a position. Usable alone; `wsp` and `gates` stand on it.
//!
//! ```text
//!  "runs/local/run-1"  or  "s3://bucket/run-1"
//!        │ resolve_engine_run_root            (named, never searched for)
//!        ▼
//!  EngineRunRoot ──► WorldStore               objects by key: one face, two backends
//!                      │        ├─ disk       symlinks held inside the root, pread, fsync
//!                      │        └─ bucket     one retry policy, ETag pins, windows
//!                      ▼
//!   RunReceipt ─► Tokens ─► resolve_scenario_id ─► WorldKey
//!                      │                             │
//!   Catalogue ─────────┤                             ▼
//!                      ▼                         check_pack ─► PackEvidence
//!                   locate                       (manifest, seal, posture)
//!                      │
//!                      ▼
//!                OutputLocator ─► parts, each under its Pin
//!                      │  ├─ footer, part_span, read_event_times   inspection: no grant
//!                      │  ├─ ContentsIndex, instance proofs   is it what was packed?
//!                      │  ├─ StreamView              the platform's sorted copy, checked
//!                      │  └─ open_rows(&ReadGrant, ..), open_rows_from   rows: only `gates` grants
//!                      ▼
//!                RowReader: Arrow batches or JSON lines, for plain threads
//!
//!   pack ─► contents index ─► manifest ─► seal            the only writes, each once
//! ```
//!
//! | question | answer |
//! |---|---|
//! | where does a world lie, and is it there? | [`resolve_engine_run_root`], [`WorldStore::open`] |
//! | which world is it? | [`RunReceipt::load`], [`RunReceipt::world_key`] |
//! | which outputs are there, and which parts have they? | [`Catalogue`], [`locate`] |
//! | how many rows has a part, and from when to when? | [`part_span`] |
//! | may I read its rows? | `gates::attest`, which gives the [`ReadGrant`] |
//! | the rows from here on, or from noon on? | [`open_rows`], [`open_rows_from`] |
//! | what went wrong, and does a retry help? | [`Refusal`], [`ReasonCode`] |
//!
//! # What holds
//! - **Named, not discovered.** The only listings are the folder of one located output, the
//!   `scenario_id=` level of the selected outputs' paths, what a caller lists by name, and
//!   the whole root for packing and for verifying a whole pack.
//! - **Inside the root.** A key with `..`, an absolute one, or a symlink that leads out is
//!   refused before anything is opened.
//! - **What was looked at is what is read.** An object is pinned (length and ETag; on disk
//!   inode, modification time and change time) when it is located, and every read is held to the pin. A
//!   change is [`OracleReadFailed`](ReasonCode::OracleReadFailed), never mixed bytes.
//! - **No grant, no rows.** [`open_rows`] takes a [`ReadGrant`], which carries its world.
//! - **Bounded memory.** Objects are streamed; a Parquet part keeps one page a column;
//!   everything read ahead of need comes out of one byte budget.
//! - **Nothing panics on what it reads**, and every refusal is an [`Error`] with one
//!   [`ReasonCode`], the object's full name, and what to do.
//!
//! # Blocking and async
//! Lookups are `async` and run on any executor: this crate keeps one small runtime of its
//! own, on which every connection lives. Its thread, `oracle-store-io`, is started by the first
//! lookup and stays until the process ends, as do at most 8 more that reads and digests start. Rows are synchronous, for plain threads ([`WorldStore::start_work`] lends one).
//!
//! # Example
//! What a world is, and which event times the first part of an output spans, without opening its
//! rows:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use oracle_store::{
//!     Catalogue, ObjectStoreConfig, OutputId, RunReceipt, Tokens, WorldStore, locate, part_span,
//!     resolve_engine_run_root, resolve_scenario_id,
//! };
//! use std::path::Path;
//!
//! let root = resolve_engine_run_root("run-1", Some("runs/oracle"), Path::new("/work"))?;
//! let store = WorldStore::open(root, &ObjectStoreConfig::default())?;
//! let receipt = RunReceipt::load(&store).await?;
//! let catalogue = Catalogue::load(Path::new("engine_outputs.catalogue.yaml"))?;
//! let entry = catalogue.output(&OutputId::new("arrival_events_5B")).ok_or("no such output")?;
//!
//! let tokens = Tokens::of_run(&receipt);
//! let scenario = resolve_scenario_id(&store, &[], &[entry], &tokens).await?;
//! println!("{:?}", receipt.world_key(scenario.clone()));
//!
//! let output = locate(&store, entry, &tokens.with_scenario(&scenario)).await?;
//! let first = output.parts[0].clone();
//! let of_thread = store.clone();
//! let span = store.start_work(move || part_span(&of_thread, &first)).await??;
//! println!("{} rows from {:?} to {:?}", span.rows, span.first, span.last);
//! # Ok(())
//! # }
//! ```
//! `cargo run -p oracle-store --example inspect_world` goes on from there. Rows take a grant:
//! see the crate `gates`.
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `s3` | on | worlds in buckets; without it an `s3://` location is refused |

mod view;
mod instance_proof;
mod packer;
mod contents;
mod rows_from;
mod locator;
mod platform_runs;
mod posture;
mod rows;
mod grant;
mod scenario;
mod catalogue;
mod named_file;
mod schema;
mod seal;
mod manifest;
mod template;
mod receipt;
mod json;
mod store;
mod location;
mod error;
mod part;
mod yaml;

/// The crates of the Arrow types in this crate's signatures, in the versions that it uses.
pub use {arrow_array, arrow_schema};

pub use catalogue::{Catalogue, CatalogueEntry, OutputClass};
pub use contents::{ContentsEntry, ContentsIndex, ContentsReport, DataVerification};
pub use error::{Error, ReasonCode};
pub use grant::ReadGrant;
pub use instance_proof::{InstanceProof, verify_instance_proof};
pub use json::from_json;
pub use location::{EngineRunRoot, Location, resolve_engine_run_root};
pub use locator::{DataPlaces, OutputLocator, locate};
pub use manifest::{PackFacts, PackManifest};
pub use model::{
    Class, EngineRunId, EventTime, Hex64, OutputId, PackId, Place, Refusal, ScenarioId, WorldKey,
};
pub use named_file::{read_named_file, refuse_special_file};
pub use packer::{PackAction, PackFile, PackOutcome, PackReport, PackRequest, pack};
pub use part::{Part, PartFormat, Pin, STREAM_VIEW_BASE, TIME_COLUMN};
pub use platform_runs::{lies_in_world, refuse_platform_runs, world_around};
pub use posture::{PackEvidence, PackExpectation, Posture, SealKind, check_pack};
pub use receipt::RunReceipt;
pub use rows::{
    ColumnReader, EventTimesReader, JsonLines, KeepRows, PartFooter, PartSpan, ReadOptions,
    RowBatch, RowNumbers, RowReader, Rows, SourceOfParts, footer, open_rows, open_wanted_rows,
    part_span, read_column, read_event_times, silence_decoder_panics,
};
pub use rows_from::{PartRows, RowsFrom, open_rows_from};
pub use scenario::resolve_scenario_id;
pub use schema::{
    ENGINE_OUTPUTS_CATALOGUE_SCHEMA, ORACLE_PACK_CONTENTS_SCHEMA, ORACLE_PACK_MANIFEST_SCHEMA,
    ORACLE_PACK_SEAL_SCHEMA, OUTPUT_LOCATOR_SCHEMA, RUN_RECEIPT_SCHEMA,
};
pub use seal::{PackSeal, Seal, SealStatus};
pub use store::{
    BucketFolder, Entry, HeldMemory, KnownDigests, Level, Object, ObjectStoreConfig, Proofs,
    Prover, ReadMemory, RetryPolicy, WorldStore, object_store_at,
};
pub use template::{Tokens, render};
pub use view::{StreamView, has_view};
pub use yaml::{edit_distance, from_yaml};
