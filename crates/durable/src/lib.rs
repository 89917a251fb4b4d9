//! What this machine gives: its clock, its randomness.

mod clock;
mod random;

pub use clock::TokioClock;
pub use random::SystemRandom;
