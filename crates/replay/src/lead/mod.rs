//! When may the next event leave: pace and schedule, the pilot that waits, the thread that hands
//! over, and whoever steers it.

pub(crate) mod dispatch;
pub(crate) mod forecast;
pub(crate) mod course;
pub(crate) mod pilot;
pub(crate) mod schedule;
pub(crate) mod steering;

#[cfg(all(test, feature = "loom"))]
mod models;
