//! Decides whether outputs of a world may be read. No PASS, no read.
//!
//! An engine run ends with *gates*: one validation a segment, each leaving a flag,
//! a bundle of files and mostly an index of them. The catalogue says which gates an
//! output requires, the gate map where a gate's evidence stands and how its digest
//! is taken. This crate looks at that evidence and answers with one value:
//!
//! ```text
//!  catalogue: output ─► required gates ┐
//!  gate map:  gate ─► dependencies ────┴─► closure, dependencies first, each gate once
//!                                              │ up to four at a time
//!        flag · index · files ─────────────────┤ read from the world, each file once
//!                                              ▼
//!                                    one GateReceipt a gate
//!                                     │                  │
//!                      verify_gates ◄─┘ all pass         └─► clear: first failure, an Error
//!                                       ▼
//!                                   Clearance ─► ReadGrant an output ─► rows (oracle-store)
//! ```
//!
//! # Contract
//! - [`clear`] is the only maker of a [`Clearance`], and a clearance the only giver of
//!   the grants that open rows. A receipt, however green, opens nothing.
//! - It fails closed: evidence that is missing, not understood or false is an [`Error`]
//!   with a [`ReasonCode`], the gate, and the object's full name.
//! - *Presence* mode asks whether the flag object of each required gate exists, and
//!   reads nothing. *Digest* mode takes the digests of those gates and of all that they
//!   depend on anew. Strict posture takes nothing less than digests.
//! - A waiver (`require_gate_pass: false`, local posture only) looks at nothing and
//!   yields a clearance marked [`ClearanceStatus::Waived`].
//! - What was verified is what was read: each object is pinned (size, ETag) when it is
//!   first looked at, read under that pin, and recorded with it in the receipt.
//! - Nothing is written, and the only listing is that of one gate's bundle root.
//! - Memory is constant in the size of files; it grows with their number only.
//!
//! A gate says nothing about data that its digests do not cover: most cover validation
//! reports, not the Parquet parts. `bound_items` and `unbound_items` of a receipt say
//! which objects of its index are covered.
//!
//! # Example
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//! use gates::{ClearanceRequest, GateMap, VerificationMode, clear};
//! use oracle_store::{
//!     Catalogue, ObjectStoreConfig, OutputId, Posture, RunReceipt, Tokens, WorldStore,
//!     resolve_engine_run_root,
//! };
//!
//! let root = resolve_engine_run_root("worlds/run-1", None, &std::env::current_dir()?)?;
//! let store = WorldStore::open(root, &ObjectStoreConfig::default())?;
//! let output = OutputId::new("arrival_events");
//! let clearance = clear(&ClearanceRequest {
//!     store: &store,
//!     tokens: &Tokens::of_run(&RunReceipt::load(&store).await?),
//!     catalogue: &Catalogue::load(Path::new("engine_outputs.catalogue.yaml"))?,
//!     gate_map: &GateMap::load(Path::new("engine_gates.map.yaml"))?,
//!     outputs: &[output.clone()],
//!     mode: VerificationMode::Digest,
//!     posture: Posture::Strict,
//!     require_gate_pass: true,
//! })
//! .await?;
//! let grant = clearance.grant(&output).expect("it was part of the request");
//! # let _ = grant;
//! # Ok(())
//! # }
//! ```

mod clearance;
mod agreement;
mod closure;
mod schema;
mod verify;
mod bundle;
mod flag;
mod hashing;
mod index;
mod item_path;
mod receipt;
mod gate_map;
mod record;
mod error;
mod gate_id;

pub use clearance::{
    Basis, Clearance, ClearanceRequest, ClearanceStatus, check_agreement, clear, verify_gates,
};
pub use error::{DigestPair, Error, ReasonCode};
pub use gate_map::{GateId, GateMap};
pub use receipt::{
    Artifact, ArtifactRole, BoundItem, FailureReceipt, GateReceipt, GateStatus, MethodReceipt,
    UnboundItem, UnboundReason, VerificationMode,
};
pub use schema::{ENGINE_GATES_MAP_SCHEMA, GATE_RECEIPT_SCHEMA};
