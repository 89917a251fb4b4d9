//! The atomics, locks and threads that a stream shares: std's, or loom's under the feature `loom`,
//! which tries every order in which threads may meet at them.
//!
//! Meters, window, sending, steering and ending take them from here. Under the feature nothing but
//! their models runs: what loom gives exists inside of a model only.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{Mutex, atomic};
#[cfg(feature = "loom")]
pub(crate) use loom::thread;
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{Mutex, atomic};
#[cfg(not(feature = "loom"))]
pub(crate) use std::thread;
