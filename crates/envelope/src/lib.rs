//! Frames rows as canonical event envelopes.
//!
//! A row of an output becomes one JSON object: the world's pins, the row's identity and time, and
//! the row itself as payload. This crate reads no file and no clock; the same row of the same world
//! is the same bytes wherever and whenever it is framed.

mod calendar;
mod constant_column;
mod error;
mod event_id;
mod event_time;
mod event_times;
mod frame;
mod framed_batch;
mod head;
mod identity;
mod json_lines;
mod json_text;
mod ordering_key;
mod payload;
mod pins;
mod schema;

pub use error::{Error, ReasonCode, RowPlace};
pub use event_id::EventId;
pub use event_time::{EventTime, UnreadableTime};
pub use event_times::{event_times, event_times_of_json_lines};
pub use frame::{FrameSpec, Framer};
pub use framed_batch::FramedBatch;
pub use ordering_key::ordering_key;
pub use pins::{PinValues, Pins, PlatformRunId, Provenance};
pub use schema::{CANONICAL_EVENT_ENVELOPE_SCHEMA, EnvelopeValidator};
