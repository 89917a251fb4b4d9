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
//! | folder | the question it answers |
//! |---|---|
//! | [`engine`] | the whole way of events, joined by bounded queues |
//! | [`order`] | which event comes next |
//! | [`lead`] | when may it leave: schedule, pilot, dispatch, steering |
//! | [`lanes`] | on its way: one request in flight a lane |
//! | [`keep`] | how far is it done: watermark, keeper, lateness, lease |
//! | [`quarantine`] | set aside |
//! | [`tell`] | what is told of it while it runs |
//! | [`pace`], [`place`], [`time`] | its words: speed, position, time since the start |
//! | `run`, [`window`], [`sending`], [`ending`] | what all parts of one stream share |
//!
//! # Invariants
//! - No event is handed to a lane before it is due, nor while
//!   `handed over − durable ≥ flush_every + lanes`.
//! - A cursor never passes an event that is not acknowledged or durably quarantined.
//! - What is sent, in what order and under which ids depends on the parts and their start
//!   alone: not on speed, lanes, chunk sizes, backends or crashes.

pub mod engine;
pub mod lead;
pub mod keep;
pub mod lanes;
mod run;
pub mod tell;
pub mod quarantine;
pub mod order;
pub mod pace;
pub mod place;
pub mod time;
pub mod window;
pub mod sending;
pub mod ending;
pub mod crew;
mod timer_slack;
mod sync;
mod error;
mod reason;

pub use error::{Error, Fault};
pub use reason::ReasonCode;
