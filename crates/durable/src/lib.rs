//! What this machine gives: its clock.

mod clock;

pub use clock::TokioClock;
