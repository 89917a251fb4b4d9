//! One run: the request, what is made ready for it, the engine, and what is told of it.

pub mod audit;
pub(crate) mod backends;
pub(crate) mod blocking;
pub mod control;
pub mod cursors;
pub mod ending;
pub mod engine;
pub mod platform_run;
pub mod prepare;
pub(crate) mod process_limits;
pub mod progress;
pub(crate) mod refusal;
pub mod report;
pub mod request;
pub mod resume;
pub mod stream;
pub(crate) mod written_places;
