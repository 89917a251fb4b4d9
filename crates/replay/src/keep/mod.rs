//! How far is it done: answers move the watermark, the watermark is saved under the lease, and a
//! save opens the window for more.

pub mod held_lease;
pub mod patient_store;
pub mod keeper;
mod saves;
mod patience;
pub mod cursors;
pub mod kept;
pub mod lateness;
pub mod watermark;
