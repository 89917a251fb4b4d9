//! The console: metrics, health and the live page of the streams of a machine.
//!
//! ```text
//!  stream ── control socket ──┐                       ┌── /metrics   Prometheus, three formats
//!  stream ── control socket ──┼──► hub ──► routes ────┼── /healthz, /ready
//!  stream ── control socket ──┘     ▲                 ├── /          the live page, by events
//!                                   └──── acts ───────┴── POST …/act with the token
//! ```
//!
//! It is a process of its own beside the streams: it reads and steers them through their control
//! sockets ([`wsp::control`]), so that no streaming process opens a port. It changes a stream in
//! no other way, and keeps nothing: to end it, or to kill it, is nothing to a stream.
//!
//! | question | answer |
//! |---|---|
//! | how do I show the streams of a machine? | [`Console::start`] |
//! | who may look, who may steer? | [`ConsoleOptions`], [`Token`] |
//! | which metrics are there? | [`wsp::metrics`] |
//! | the report of a run, as one page | [`report_html`] |
//!
//! ```no_run
//! use console::{Console, ConsoleOptions};
//!
//! # async fn example() -> Result<(), console::Error> {
//! let mut options = ConsoleOptions::at("127.0.0.1:9464".parse().unwrap());
//! options.runs_roots.push("runs/fraud-platform".into());
//! let console = Console::start(options).await?;
//! println!("{}", console.url());
//! # Ok(())
//! # }
//! ```
//!
//! # Who may do what
//! - It listens at loopback unless it is told otherwise. Whoever reaches it may look.
//! - A request for a host that is not its own is refused, so that a page elsewhere whose name leads here
//!   (DNS rebinding) reads nothing; one from the page of another origin is refused too.
//! - Streams are steered with the token alone, which is compared in constant time. Without one the
//!   console only reads.
//! - The page loads nothing from elsewhere and runs no script but its own: its policy names their digests.

mod server;
mod routes;
mod access;
mod report;
mod page;
mod metrics;
mod hub;
mod options;
mod error;

pub use error::{Error, ReasonCode};
pub use options::{ConsoleOptions, Token};
pub use report::report_html;
pub use server::Console;
