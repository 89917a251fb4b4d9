//! The time that a stream goes by: injected, so that tests need not wait.

pub use durable::TokioClock;
pub use model::Clock;
