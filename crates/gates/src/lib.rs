//! Decides whether outputs of a world may be read. No PASS, no read.
//!
//! [`attest`] is the one call that most services need. It makes every check of a world's
//! evidence, in the order of [`Check`], and gives an [`AttestedWorld`], from which rows are
//! opened, or an [`AttestError`] that says which check did not hold, why, where, and what to do:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use gates::{AttestRequest, attest};
//! use oracle_store::{
//!     ObjectStoreConfig, ReadOptions, WorldStore, open_rows, resolve_engine_run_root,
//! };
//!
//! let root = resolve_engine_run_root("worlds/run-1", None, &std::env::current_dir()?)?;
//! let store = WorldStore::open(root, &ObjectStoreConfig::default())?;
//! let (catalogue, gate_map) = ("engine_outputs.catalogue.yaml", "engine_gates.map.yaml");
//! let request = AttestRequest::new(store, catalogue, gate_map, ["arrival_events_5B"]);
//! let world = attest(&request).await?;
//! for output in &world.outputs {
//!     let grant = world.grant(output.id()).expect("every attested output has a grant");
//!     for part in &output.locator.parts {
//!         world.data.verify_part(part).await?;
//!         for batch in open_rows(grant, part, &ReadOptions::default())? {
//!             println!("{} rows", batch?.rows.len());
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | question | answer |
//! |---|---|
//! | may I read this world? | [`attest`] |
//! | why not, and what do I do? | [`AttestError`], through [`Refusal`] |
//! | which world is it, and which gates passed? | [`AttestedWorld`]: `world_key`, `pack`, `receipts` |
//! | how do I open its rows? | [`AttestedWorld::grant`], then [`oracle_store::open_rows`] |
//! | what would be found if all was looked at? | [`IdentifiedWorld::examine`] |
//!
//! Everything async here goes under any executor and starts no thread of its own: reads and digests
//! are on the threads of [`oracle_store`], which stay until the process ends.
//!
//! Callers with checks of their own in between go in three steps, [`AttestRequest::identify`],
//! [`IdentifiedWorld::clear`] and [`ClearedWorld::attest`]; who wants to know everything that is
//! wrong with a world asks for [`IdentifiedWorld::examine`], which walks the same list to its
//! end. [`clear`] makes the checks of gates alone.
//!
//! # Gates
//! An engine run ends with *gates*: one validation a segment, each leaving a flag,
//! a bundle of files and mostly an index of them. The catalogue says which gates an
//! output requires, the gate map where a gate's evidence stands and how its digest
//! is taken:
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
//!   the grants that open rows: no other code can make one, also outside this workspace. A
//!   receipt, however green, opens nothing.
//! - It fails closed: evidence that is missing, not understood or false is an [`Error`]
//!   with a [`ReasonCode`], the gate, and the object's full name.
//! - *Presence* mode asks whether the flag object of each required gate exists, and
//!   reads nothing. *Digest* mode takes the digests of those gates and of all that they
//!   depend on anew. Strict posture takes nothing less than digests.
//! - A waiver (`require_gate_pass: false`, local posture only) looks at nothing and
//!   yields a clearance marked [`ClearanceStatus::Waived`].
//! - What was verified is what was read: each object is pinned (size, ETag) when it is
//!   first looked at, read under that pin, and recorded with it in the receipt.
//! - Nothing is written. Listed are one gate's bundle root, the parts of the outputs asked for
//!   and, where nothing names the scenario, that level of their paths; a whole root only by
//!   [`IdentifiedWorld::examine`], where it is asked for.
//! - Every call runs on any executor. Threads, time and connections are those of the store.
//! - Memory is constant in the size of files; it grows with their number only.
//!
//! A gate says nothing about data that its digests do not cover: most cover validation
//! reports, not the Parquet parts. `bound_items` and `unbound_items` of a receipt say
//! which objects of its index are covered.
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `fuzzing` | off | the parsers of flags and indexes, for fuzz targets; no API |

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod attest;
mod walk;
mod view_trust;
mod identify;
mod data;
mod located;
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
mod attest_error;
mod error;
mod check;
mod gate_id;

pub use attest::{AttestedWorld, ClearedWorld, Examination, attest};
pub use attest_error::AttestError;
pub use check::Check;
pub use clearance::{Basis, Clearance, ClearanceRequest, ClearanceStatus, clear, verify_gates};
pub use data::{ContentsFound, DataEvidence, DataVerified};
pub use error::{DigestPair, Error, ReasonCode};
pub use gate_map::{GateId, GateMap};
pub use identify::{AttestRequest, IdentifiedWorld, Source};
pub use located::LocatedOutput;
pub use model::{Class, Place, Refusal};
pub use receipt::{
    Artifact, ArtifactRole, BoundItem, FailureReceipt, GateReceipt, GateStatus, MethodReceipt,
    UnboundItem, UnboundReason, VerificationMode,
};
pub use schema::{ENGINE_GATES_MAP_SCHEMA, GATE_RECEIPT_SCHEMA};
pub use view_trust::ViewTrust;
