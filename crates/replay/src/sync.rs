//! What threads of one stream share: std's atomics and locks and tokio's `Notify`, or, under the
//! feature `loom`, ones by which loom tries every order in which threads may meet.
//!
//! Meters, window, sending, steering, taps and ending take them from here. Under the feature nothing but
//! their models runs: what loom gives exists inside of a model only.

#[cfg(feature = "loom")]
mod notify;
#[cfg(all(test, feature = "loom"))]
pub(crate) mod waiting;

#[cfg(feature = "loom")]
pub(crate) use self::notify::Notify;
#[cfg(feature = "loom")]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(feature = "loom"))]
pub(crate) use tokio::sync::Notify;
