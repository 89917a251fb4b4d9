//! The atomics that threads of one stream share: std's, or loom's under the feature `loom`, which
//! tries every order in which threads may meet at them.
//!
//! Meters, window, sending and steering take them from here. Under the feature nothing but their
//! models runs: loom's atomics exist inside of a model only.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::atomic;
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::atomic;
