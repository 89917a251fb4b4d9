//! Disks for tests: one that tells every state that a crash could leave, and the machine's own,
//! which fails on demand.

#![allow(
    clippy::unwrap_used,
    clippy::missing_errors_doc,
    reason = "it is of tests, and panics where a test is wrong"
)]

mod crash_disk;
mod failing_disk;

pub use crash_disk::{Careless, CrashDisk};
pub use failing_disk::FailingDisk;
