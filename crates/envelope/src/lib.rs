//! Frames rows as canonical event envelopes.
//!
//! A row of an output becomes one JSON object: the world's pins, the row's identity and time, and
//! the row itself as payload. This crate reads no file and no clock; the same row of the same world
//! is the same bytes wherever and whenever it is framed.
//!
//! | question | answer |
//! |---|---|
//! | what is this event's id? | [`EventId::of_payload`] |
//! | is this an envelope, and what does it say? | [`validate`], [`Envelope`] |
//! | which world does it come from? | [`Envelope::world_key`] |
//! | how do I make envelopes of rows? | `Framer` (feature `rows`, on by default) |
//! | which events must keep their order? | [`ordering_key()`] |
//! | what is wrong with it? | [`Refusal`], [`ReasonCode`] |
//!
//! It has no thread and nothing async.
//!
//! ```
//! # #[cfg(feature = "rows")] {
//! use std::sync::Arc;
//!
//! use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
//! use envelope::{
//!     EngineRunId, EventId, FrameSpec, Framer, Hex64, Pins, ScenarioId, WorldKey, validate,
//! };
//!
//! let world = WorldKey {
//!     manifest_fingerprint: Hex64::parse(&"75".repeat(32)).unwrap(),
//!     parameter_hash: Hex64::parse(&"f3".repeat(32)).unwrap(),
//!     scenario_id: ScenarioId::parse("baseline_v1").unwrap(),
//!     seed: 20_260_128,
//! };
//! let run = EngineRunId::parse(&"75".repeat(16)).unwrap();
//! let platform_run = "platform_20260128T090000Z".parse().unwrap();
//! let pins = Pins::for_world(&world, &run, &platform_run, "svc:world_stream_producer")?;
//! let spec = FrameSpec::new("s2_flow_anchor_baseline_6B", ["flow_id"], pins);
//!
//! let flows: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
//! let times: ArrayRef = Arc::new(StringArray::from(vec!["2026-01-28 09:55:40+01:00"; 2]));
//! let batch = RecordBatch::try_from_iter([("flow_id", flows), ("ts_utc", times)]).unwrap();
//!
//! // The first row is framed; the second one has no identity.
//! let bad = Framer::new(&spec)?.frame("part-000000.parquet", 0, &batch).unwrap_err();
//! let (framed, error) = bad.into_parts();
//! assert_eq!(error.code().as_str(), "PRIMARY_KEY_MISSING");
//! assert_eq!(framed.len(), 1);
//! assert_eq!(framed.time(0).to_string(), "2026-01-28T08:55:40.000000Z");
//!
//! // Whoever receives an envelope can tell that its id is the row's.
//! let body = framed.body(0);
//! let payload = validate(&body)?.payload.unwrap();
//! let id = EventId::of_payload(&spec.output_id, &spec.primary_key, &world, payload.as_bytes())?;
//! assert_eq!(id, framed.event_id(0));
//! # }
//! # Ok::<(), envelope::Error>(())
//! ```
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `rows` | on | framing of rows; without it envelopes as values alone: ids, pins, [`validate`] |
//! | `validate` | off | the schema itself as a validator, for tests and stand-in gates |

#![cfg_attr(
    not(feature = "rows"),
    allow(dead_code, reason = "framing rows uses what is left over")
)]

#[cfg(feature = "rows")]
mod shard_filter;
#[cfg(feature = "rows")]
mod stored_rows;
#[cfg(feature = "rows")]
mod frame;
#[cfg(feature = "rows")]
mod constant_column;
#[cfg(feature = "rows")]
mod event_times;
#[cfg(feature = "rows")]
mod bad_row;
#[cfg(feature = "rows")]
mod framed_batch;
#[cfg(feature = "rows")]
mod head;
mod payload_id;
mod document;
mod json_lines;
#[cfg(feature = "rows")]
mod batch_identity;
mod identity;
mod ordering_key;
#[cfg(feature = "rows")]
mod payload;
#[cfg(feature = "rows")]
mod json_text;
mod pins;
mod event_id;
mod schema;
mod time_fault;
mod error;

#[cfg(feature = "rows")]
/// The crate of the Arrow types in this crate's signatures, in the version that it uses.
pub use arrow_array;
#[cfg(feature = "rows")]
pub use bad_row::BadRow;
pub use document::{Envelope, validate};
pub use error::{Error, ReasonCode};
pub use event_id::EventId;
#[cfg(feature = "rows")]
pub use event_times::{event_times, event_times_of_json_lines};
#[cfg(feature = "rows")]
pub use frame::{FrameSpec, Framer};
#[cfg(feature = "rows")]
pub use framed_batch::FramedBatch;
pub use model::{
    Class, EngineRunId, EventTime, Hex64, OutputId, Place, PlatformRunId, Refusal, ScenarioId,
    UnreadableTime, WorldKey,
};
pub use ordering_key::ordering_key;
pub use pins::{PinValues, Pins, Provenance};
pub use schema::CANONICAL_EVENT_ENVELOPE_SCHEMA;
#[cfg(feature = "validate")]
pub use schema::EnvelopeValidator;
#[cfg(feature = "rows")]
pub use shard_filter::{RowKeys, ShardFilter, is_of_shard, shard_number};
#[cfg(feature = "rows")]
pub use stored_rows::StoredRow;
pub use time_fault::TIME_COLUMN;
