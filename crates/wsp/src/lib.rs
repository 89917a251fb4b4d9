//! Replays an engine world into an ingestion gate: plan, order, pace, push, remember.
//!
//! The streaming core (order, schedule, lanes, keeper, quarantine) is the crate [`replay`]; here
//! is what surrounds it:
//!
//! | module | idea | kind |
//! |---|---|---|
//! | [`profile`], [`StreamRequest`] | what was asked for | pure, but for reading files |
//! | [`plan`](mod@plan), [`selection`], [`producer`], [`data_evidence`] | what is proven before a row is opened | IO |
//! | [`prepare`], [`resume`], [`platform_run`], [`reading`] | leases, where each output goes on, what is read | IO |
//! | [`stream`], [`report`], [`audit`], [`control`] | one run, what is told of it, and its control socket | IO |
//! | [`redrive`] | rejected events pushed again | IO |
//! | [`verify`](mod@verify), [`outline`], [`cursors`], [`pack`] | looking, and packing | IO |
//!
//! Most callers want [`Stream`]: a [`Profile`](profile::Profile) and [`Overrides`] make
//! a [`StreamRequest`], and that makes a stream. What a caller may bring along, each with an
//! example (`cargo run -p wsp --example NAME`):
//!
//! | by | its own | example |
//! |---|---|---|
//! | [`CheckpointStore`](checkpoint::CheckpointStore) | place in the stream | `own_checkpoint_store` |
//! | [`PushClient`](push::PushClient) | way to the gate | `own_push_client` |
//! | [`ProgressSink`](progress::ProgressSink) | view of the progress | `own_progress_sink` |
//! | [`Clock`](clock::Clock) | time | `own_clock` |
//! | [`Plan`](plan::Plan) | use of cleared rows | `rows_through_a_clearance` |
//! | [`Steering`](steering::Steering) | hand on a running stream | `steer_a_stream` |
//!
//! [`Engine`](engine::Engine) is below it, for those with an order or a
//! [`Quarantine`](quarantine::Quarantine) of their own.
//!
//! # Invariants
//! - Rows are opened through a clearance of the `gates` crate, and in no other way.
//! - No event is handed to a lane before it is due, nor while
//!   `handed over − durable ≥ flush_every + lanes`.
//! - A cursor never passes an event that is not acknowledged or durably quarantined.
//! - What is sent, in what order and under which ids depends on the world and the
//!   request alone: not on speed, lanes, chunk sizes, backends or crashes.

pub mod error;
pub mod reason;
pub mod redrive;
pub mod run;
pub mod clock;
pub mod plan;
pub(crate) mod blocking;
pub mod profile;
pub mod schema;

pub use envelope::EventTime;
pub use error::{Error, Fault};
pub use plan::{data_evidence, pack, producer, selection, verify};
pub use profile::{Overrides, StreamRequest};
pub use push;
pub use reason::{ReasonCode, all_reason_codes};
pub use replay;
pub use replay::keep::{held_lease, keeper, lateness, watermark, window};
pub use replay::lanes::{lane, lane_threads, sending};
pub use replay::lead::{dispatch, pilot, schedule, steering};
pub use replay::order::{chunk_budget, feed, part_proofs, parts, time_index};
pub use replay::tell::{acts, journal, meters, progress, state};
pub use replay::{ending, engine, keep, lanes, lead, order, pace, place, quarantine, time};
pub use run::outline::{Outline, OutputOutline, outline};
pub use run::process_limits::{check_address_space, check_threads, raise_file_handles};
pub use run::report::{Status, StreamReport};
pub use run::stream::Stream;
pub use run::{audit, control, cursors, platform_run, prepare, reading, report, resume, stream};
