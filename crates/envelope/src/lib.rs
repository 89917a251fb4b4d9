//! Frames rows as canonical event envelopes.
//!
//! A row of an output becomes one JSON object: the world's pins, the row's identity and time, and
//! the row itself as payload. This crate reads no file and no clock; the same row of the same world
//! is the same bytes wherever and whenever it is framed.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
//! use envelope::{FrameSpec, Framer, PinValues, Pins};
//!
//! let pins = Pins::new(PinValues {
//!     manifest_fingerprint: "75".repeat(32),
//!     parameter_hash: "f3".repeat(32),
//!     seed: 20_260_128,
//!     scenario_id: "baseline_v1".into(),
//!     run_id: "75".repeat(16),
//!     platform_run_id: "platform_20260128T090000Z".into(),
//!     producer: "svc:world_stream_producer".into(),
//!     ..PinValues::default()
//! })?;
//! let mut framer = Framer::new(&FrameSpec {
//!     output_id: "s2_flow_anchor_baseline_6B".into(),
//!     primary_key: vec!["flow_id".into()],
//!     pins,
//! })?;
//!
//! let flows: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
//! let times: ArrayRef = Arc::new(StringArray::from(vec!["2026-01-28 09:55:40+01:00"; 2]));
//! let batch = RecordBatch::try_from_iter([("flow_id", flows), ("ts_utc", times)]).unwrap();
//!
//! // The first row is framed; the second one has no identity.
//! let (framed, error) = framer.frame("part-000000.parquet", 0, &batch);
//! assert_eq!(framed.len(), 1);
//! assert_eq!(framed.time(0).to_string(), "2026-01-28T08:55:40.000000Z");
//! assert_eq!(error.unwrap().code().as_str(), "PRIMARY_KEY_MISSING");
//! # Ok::<(), envelope::Error>(())
//! ```

mod frame;
mod constant_column;
mod event_times;
mod framed_batch;
mod head;
mod json_lines;
mod identity;
mod event_id;
mod ordering_key;
mod payload;
mod json_text;
mod pins;
mod schema;
mod time_fault;
mod error;

pub use error::{Error, ReasonCode};
pub use event_id::EventId;
pub use event_times::{event_times, event_times_of_json_lines};
pub use frame::{FrameSpec, Framer};
pub use framed_batch::FramedBatch;
pub use model::{EventTime, OutputId, PlatformRunId, UnreadableTime};
pub use ordering_key::ordering_key;
pub use pins::{PinValues, Pins, Provenance};
pub use schema::{CANONICAL_EVENT_ENVELOPE_SCHEMA, EnvelopeValidator};
