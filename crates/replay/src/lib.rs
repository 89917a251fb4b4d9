//! The streaming core: which event comes next, when it may leave, on its way, how far it is done,
//! set aside. It knows no profile, no SQL, no bucket and no HTTP.
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
//! An [`Engine`] is built of what is streamed and when ([`Course`]), of where to ([`Gateway`]) and
//! of where the place in the stream is kept ([`Cursors`]):
//!
//! ```
//! use std::sync::Arc;
//!
//! use durable::TokioClock;
//! use push::{PushClient, RetryPolicy};
//! use replay::{
//!     Course, Cursors, Ending, Engine, EventOrder, Gateway, Journal, LaneSettings, NamePosition,
//!     Outcome, Pace, Schedule, Start, WhenLate,
//! };
//!
//! /// Streams an order of the caller's own, as fast as the gate takes it, until `ending` is thrown.
//! async fn stream<C: PushClient>(
//!     order: Box<dyn EventOrder>,
//!     places: Arc<dyn NamePosition>,
//!     client: C,
//!     (lanes, retry): (LaneSettings, RetryPolicy),
//!     cursors: Cursors,
//!     ending: Ending,
//!     journal: impl Journal,
//! ) -> Result<u64, replay::Error> {
//!     let schedule = Schedule::new(Pace::UNPACED, WhenLate::CatchUp);
//!     let course = Course::new(order, places, schedule, Start::by(&TokioClock));
//!     let gateway = Gateway::new(client, "https://gate.example/v1/ingest/push", lanes, retry);
//!     let engine = Engine::new(course, gateway, cursors, TokioClock).ended_by(ending.clone());
//!     let ran = engine.run(journal).await?;
//!     match Outcome::of(ending.take_cause(), ran.dispatched.end, ran.kept.verdict) {
//!         Outcome::Failed(error) => Err(error),
//!         _ => Ok(ran.meters.read_all().acknowledged),
//!     }
//! }
//! ```
//!
//! | question | answer |
//! |---|---|
//! | where is the stream, and why does it stand still? | [`Progress`] |
//! | how much of everything so far, for metrics | [`Counters`] |
//! | the run over time | [`TimelineReport`] |
//! | what has it been at? | [`StateChanges`] |
//! | pause, step, another pace, stop now | [`Steering`], [`Ending`] |
//! | begin paused | [`Helm::start_paused`] |
//! | what has it done, and how did it end? | [`Ran`], [`Journal`], [`Outcome`] |
//! | what went wrong, and does a retry help? | [`Refusal`], [`Error`] |
//!
//! [`Engine::run`] goes under any executor. Its threads (`wsp-dispatch`, `wsp-lanes-N`, and
//! `wsp-feed-N` of a [`FeedPool`]) end with it, and when its future is dropped; [`Ending`] ends it in
//! good order. Outside of a tokio runtime, timers and work that blocks are on those of the crate
//! `durable`, whose thread `durable-runtime` stays until the process ends.
//!
//! | folder | the question it answers |
//! |---|---|
//! | `engine` | the whole way of events, joined by bounded queues |
//! | `order` | which event comes next |
//! | `lead` | when may it leave: schedule, pilot, dispatch, steering |
//! | `lanes` | on its way: one request in flight a lane |
//! | `keep` | how far is it done: watermark, keeper, lateness, lease |
//! | `quarantine` | set aside |
//! | `tell` | what is told of it while it runs |
//! | `tap` | copies of what becomes of the next events, for whoever asks |
//! | `pace`, `place`, `time` | its words: speed, position, time since the start |
//! | `run`, `window`, `sending`, `ending` | what all parts of one stream share |
//! | `crew` | who does the work that may block |
//!
//! # Invariants
//! - No event is handed to a lane before it is due, nor while
//!   `handed over − durable ≥ flush_every + lanes`.
//! - A cursor never passes an event that is not acknowledged or durably quarantined.
//! - What is sent, in what order and under which ids depends on the parts and their start
//!   alone: not on speed, lanes, chunk sizes, backends or crashes.
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `loom` | off | atomics that try every order in which threads may meet, for models alone |

mod engine;
mod outcome;
mod lead;
mod keep;
mod lanes;
mod run;
mod tell;
mod receipts;
mod gate_book;
mod decisions;
mod quarantine;
mod order;
mod tap;
mod pace;
mod place;
mod time;
mod window;
mod sending;
mod ending;
mod crew;
mod timer_slack;
mod sync;
mod error;
mod reason;

pub use checkpoint::OrderMode;
pub use crew::{Crew, Steps, Task};
pub use decisions::Decisions;
pub use ending::{Cause, Ending, WorkGuard};
pub use engine::{Engine, Ran, cut_after};
pub use error::{Error, Fault};
pub use gate_book::{
    BookPlace, GateBook, GateQuarantineReport, GateQuarantineTerms, GateQuarantinedNote,
    OnGateQuarantine, QuarantinedFor, QuarantinedOne, clear_verdict, gate_book_places,
    verdict_stays,
};
pub use keep::cursors::{Cursors, KeptOutput};
pub use keep::hdr_log::{HdrLog, LatenessLogs, UnreadableLog};
pub use keep::held_lease::{HeldLease, stopped, watch_lease};
pub use keep::kept::Kept;
pub use keep::lateness::{LatenessReport, Percentiles};
pub use keep::patient_store::PatientStore;
pub use lanes::gateway::Gateway;
pub use lanes::lane::what_to_do;
pub use lanes::{Concurrency, LaneCount, LaneOrdering, LaneSettings};
pub use lead::course::{Bounds, Course};
pub use lead::dispatch::{DispatchEnd, Dispatched, Scheduled};
pub use lead::forecast::{Forecast, OutputForecast, forecast};
pub use lead::schedule::{Origin, Schedule, WhenLate};
pub use lead::steering::{Helm, Steering};
pub use model::{Class, Place, Refusal, RefusalRecord};
pub use oracle_store::RowNumbers;
pub use order::chunk_budget::{ChunkBudget, ChunkShare};
pub use order::done_before::{Division, DoneBefore};
pub use order::feed::{Chunk, ChunkSource, FeedPool, PartFeed, decoding_threads};
pub use order::part_proofs::PartProofs;
pub use order::parts::{ClearedParts, OutputSource, PartOpener, ProvePart};
pub use order::sort_cache::{CacheEntry, SortCache};
pub use order::time_index::{
    Disorder, PartTimes, SEEK_ROWS, TimeIndex, TimeIndexCache, TimeRow, time_of_row,
};
pub use order::{
    AsWritten, DoneThrough, Event, EventOrder, EventTimeOrder, EventTimeSource, FooterSurvey,
    Merge, OnDisorder, OpenPart, OrderSettings, Overlap, PartId, PartSpan, PartStart, ProcessRoom,
    Survey, TellOpenRows, TimeWindow, TimesInOrder, check_time_column, check_view_order,
    first_open, open_spans, read_memory, readers_of,
};
pub use outcome::Outcome;
pub use pace::{Pace, RateStep, RateSteps, Speedup};
pub use place::{NamePosition, Position};
pub use quarantine::objects::{ObjectPrefix, QuarantineObjects, RedrivenObjects};
pub use quarantine::prefix::{Prefix, Waiting};
pub use quarantine::redriven::{Closed, Closing, RedrivenFile};
pub use quarantine::{
    OnReject, QUARANTINE_RECORD_SCHEMA, Quarantine, QuarantineFile, QuarantineReport,
    QuarantinedEvent, QuarantinedEventNote, QuarantinedNote, RejectReason, RejectSettings,
    RejectedEvent, SetAside, open_quarantine, quarantine_in, redriven_of,
};
pub use reason::ReasonCode;
pub use receipts::Receipts;
pub use tap::{MOST_TAPPED_EVENTS, TapSettings, Tapped, TappedEvent};
pub use tell::acts::{Act, Asker, OnBehalfOf, Refused};
pub use tell::borders::BorderTimes;
pub use tell::counters::{
    CheckpointCounts, Counters, LatenessHistograms, OutagesReport, OutputCounters,
};
pub use tell::journal::{
    CursorPlace, CursorSaved, GapCutNote, Happening, Journal, OutageNote, RemadeCursor, SaveReason,
    SteeredNote, StoreRemadeNote,
};
pub use tell::lateness_histogram::{ExponentialBuckets, LatenessHistogram};
pub use tell::meters::{Meters, Reading};
pub use tell::progress::{OutputProgress, Progress, ProgressSink, ReachedRow, tell_until_the_end};
pub use tell::state::State;
pub use tell::state_changes::{StateChange, StateChanges, StateChangesSender};
pub use tell::timeline_report::{LatenessColumns, OutputColumn, TimelineReport};
pub use time::{Start, WallNs};
pub use window::Window;
