//! Replays an engine world into an ingestion gate: plan, order, pace, push, remember.
//!
//! ```text
//!  worker threads            OS thread          lane threads         one task
//! ┌────────────────┐ chunks ┌────────────┐     ┌────────┐ answers  ┌────────┐  ┌───────┐
//! │ decode + frame ├───────►│ order      ├────►│ lane 1 ├─────────►│ keeper ├─►│ store │
//! │ (feed, parts)  ├───────►│ schedule   ├────►│   …    ├─────────►│        │  └───────┘
//! └────────────────┘        │ dispatch   ├────►│ lane n ├─────────►│        │
//!                           └─────▲──────┘     └────────┘          └───┬────┘
//!                                 └──────────── window opens ──────────┘
//! ```
//!
//! | module | idea | kind |
//! |---|---|---|
//! | [`profile`], [`request`] | what was asked for | pure, but for reading files |
//! | [`plan`](mod@plan), [`selection`], [`producer`], [`data_evidence`] | what is proven before a row is opened | IO |
//! | [`part_proofs`] | what is proven again where a file changed in its inode or change time alone | IO |
//! | [`prepare`], [`held_lease`], [`resume`], [`platform_run`] | leases, and where each output goes on | IO |
//! | [`feed`] | parts decoded and framed ahead, by a bounded amount | threads |
//! | [`order`], [`time_index`] | one stream out of many parts | pure over feeds |
//! | [`pace`], [`schedule`] | when an event is due | pure |
//! | [`steering`], [`control`] | pause, resume, another pace, single steps; from another process | a handle, a socket |
//! | [`dispatch`], [`pilot`], [`window`] | wait, then hand over | one thread |
//! | [`lanes`], [`lane`], [`lane_threads`], [`push`] | one request in flight a lane, until something final is known | IO |
//! | [`watermark`] | how far each output is done | pure |
//! | [`keeper`] | makes the watermark durable | IO |
//! | [`quarantine`], [`redrive`] | rejected events set aside, and pushed again | IO |
//! | [`meters`], [`lateness`], [`progress`], [`report`], [`audit`] | what is told | |
//! | [`ending`] | how a stream ends before its last event | |
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

pub mod clock;
pub mod error;
pub mod plan;
pub mod profile;
pub mod reason;
pub mod redrive;
pub mod run;
pub mod schema;

pub use envelope::EventTime;
pub use error::{Error, Fault};
pub use plan::outline::{Outline, OutputOutline, outline};
pub use plan::{data_evidence, pack, producer, selection, verify};
pub use push;
pub use reason::{ReasonCode, all_reason_codes};
pub use replay::keep::{held_lease, keeper, lateness, watermark, window};
pub use replay::lanes::{lane, lane_threads, sending};
pub use replay::lead::{dispatch, pilot, schedule, steering};
pub use replay::order::{chunk_budget, feed, part_proofs, parts, time_index};
pub use replay::tell::{acts, journal, meters, progress, state};
pub use replay::{ending, engine, keep, lanes, lead, order, pace, place, quarantine, time};
pub use run::process_limits::{check_address_space, check_threads, raise_file_handles};
pub use run::report::{Status, StreamReport};
pub use run::request::{Overrides, StreamRequest};
pub use run::stream::Stream;
pub use run::{
    audit, control, cursors, platform_run, prepare, reading, report, request, resume, stream,
};
