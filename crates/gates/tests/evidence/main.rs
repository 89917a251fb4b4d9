//! The crate from outside: worlds on disk, what clears them and what does not.
#![allow(clippy::unwrap_used)]

mod clearing;
mod golden;
mod mutations;
mod refusals;
mod world;
