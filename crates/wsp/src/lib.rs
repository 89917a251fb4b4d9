//! Replays an engine world into an ingestion gate: plan, order, pace, push, remember.
//!
//! The streaming core (order, schedule, lanes, keeper, quarantine) is the crate [`replay`]; here
//! is what surrounds it:
//!
//! | for | look at |
//! |---|---|
//! | a stream without a profile | [`StreamRequest::builder`](profile::StreamRequest::builder) |
//! | where am I? | [`cursors::show`], [`Stream::progress`] |
//! | why does it stand still? | [`Progress`], [`Stream::state_changes`] |
//! | start paused, step and wait until acknowledged | [`Stream::start_paused`], [`Steering::step_until_acknowledged`] |
//! | stop now, and know that it stopped | [`Steering::stop`], [`Stream::ending`]; then [`Stream::run`] resolves |
//! | what is asked for | [`profile`], [`Overrides`], [`StreamRequest`] |
//! | what is proven before a row is opened | [`plan`](mod@plan), [`verify`](mod@verify) |
//! | one run, and what it reports | [`Stream`], [`StreamReport`], [`StreamFailure`] |
//! | what it would do, and where it stands | [`outline`], [`cursors`] |
//! | steering it, from the program or another process | [`Steering`], [`control`] |
//! | names and units of its metrics | [`metrics`] |
//! | rejected events, pushed again | [`redrive`] |
//! | whether world and gate are fit | [`doctor`] |
//! | packing a world | [`pack`] |
//! | the formats, as JSON Schemas | [`contracts`] |
//! | time and chance | [`clock`] |
//! | what went wrong, and does a retry help? | [`Refusal`], [`StreamFailure`], [`Error`], [`ReasonCode`], [`all_reason_codes`] |
//!
//! Most callers want [`Stream`]: a [`Profile`](profile::Profile) and [`Overrides`] make
//! a [`StreamRequest`], and that makes a stream.
//!
//! ```no_run
//! use wsp::profile::Profile;
//! use wsp::{Overrides, Stream, StreamRequest};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let environment = |name: &str| std::env::var(name).ok();
//! let profile = Profile::load("profile.yaml".as_ref(), &environment)?;
//! let request = StreamRequest::of_process(profile, Overrides::default())?;
//! let report = Stream::new(request).run().await?;
//! println!("{:?}: {} events", report.status, report.emitted);
//! # Ok(())
//! # }
//! ```
//!
//! What a caller may bring along (store and client go into [`Stream::run_with`]), each with an example
//! (`cargo run -p wsp --example NAME`):
//!
//! | by | its own | example |
//! |---|---|---|
//! | [`CheckpointStore`](checkpoint::CheckpointStore) | place in the stream | `own_checkpoint_store` |
//! | [`PushClient`](push::PushClient) | way to the gate | `own_push_client` |
//! | [`ProgressSink`] | view of the progress | `own_progress_sink` |
//! | [`Clock`](clock::Clock) | time | `own_clock` |
//! | [`Plan`](plan::Plan) | use of cleared rows | `rows_through_a_clearance` |
//! | [`Steering`] | hand on a running stream | `steer_a_stream` |
//!
//! # Threads and runtimes
//! Everything async goes under any executor. Within a tokio runtime that one is used; outside of
//! one, timers, sockets and work that blocks are on a thread `durable-runtime` that stays until the
//! process ends. A run has threads of its own (`wsp-dispatch`, `wsp-lanes-N`, `wsp-feed-N`,
//! `wsp-lease`), which end with it: [`Steering::stop`] or [`Stream::ending`] ends it in good order
//! within [`Stream::stop_timeout`], and to drop its future ends it as a crash does. Worlds are read
//! on `oracle-store-io` and at most 8 threads for work, which stay for the next read.
//!
//! [`replay::Engine`] is below it, for those with an order or a quarantine of their own.
//!
//! # Invariants
//! - Rows are opened through a clearance of the `gates` crate, and in no other way.
//! - No event is handed to a lane before it is due, nor while
//!   `handed over − durable ≥ flush_every + lanes`.
//! - A cursor never passes an event that is not acknowledged or durably quarantined.
//! - What is sent, in what order and under which ids depends on the world and the
//!   request alone: not on speed, lanes, chunk sizes, backends or crashes.
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `file` | on | cursors in a folder |
//! | `sqlite` | on | cursors in a SQLite file |
//! | `postgres` | on | cursors in PostgreSQL |
//! | `object` | on | cursors, worlds and the records of runs in buckets |
//! | `reqwest` | on | the push client that drives reqwest, for proxies |

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests go by the machine's clock, and run beside each other"
    )
)]

mod error;
mod reason;
pub mod redrive;
pub mod doctor;
mod run;
pub mod metrics;
pub mod clock;
pub mod plan;
mod blocking;
pub mod profile;
pub mod contracts;
pub mod schema;
mod build;

pub use build::{BUILD, Build};
pub use checkpoint;
pub use envelope::EventTime;
pub use error::{Error, Fault};
pub use model::{Class, Place, Refusal, RefusalRecord, Shard, ShardBy};
pub use plan::{ViewReport, pack, verify};
pub use profile::{Overrides, StreamRequest};
pub use push;
pub use reason::{ReasonCode, all_reason_codes};
pub use replay;
pub use replay::{
    Bounds, Cause, Ending, Pace, Progress, ProgressSink, RateSteps, Speedup, Steering, TimeWindow,
};
pub use run::failure::StreamFailure;
pub use run::id_outline::{IdOutline, OutputIds, ShardIds};
pub use run::merged_report::{LostAttempts, MergedOutput, MergedReport, merge_reports};
pub use run::outline::{
    ForecastOutline, Outline, OutputOutline, ResourcesOutline, SORT_ROWS_A_SECOND, ShardsOutline,
    SortOutline, outline, outline_with_ids,
};
pub use run::platform_run::PlatformRunSource;
pub use run::process_limits::{check_address_space, check_threads, raise_file_handles};
pub use run::report::{
    OutputReport, ScheduleReport, ShardReport, SourceReport, Status, StreamReport,
};
pub use run::report_text::UnreadableReport;
pub use run::shown::{CursorFault, GateVerdict, GatesReport, HolderReport, StoredCursorReport};
pub use run::stream::Stream;
pub use run::threshold_report::{ThresholdKind, ThresholdReport, Verdict};
pub use run::{cache, control, cursors, reading};
