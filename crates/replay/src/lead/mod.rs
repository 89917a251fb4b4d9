//! When may the next event leave: pace and schedule, the pilot that waits, the thread that hands
//! over, and whoever steers it.

pub mod dispatch;
pub mod course;
pub mod pilot;
pub mod schedule;
pub mod steering;
