//! How far is it done: answers move the watermark, the watermark is saved under the lease, and a
//! save opens the window for more.

pub(crate) mod held_lease;
pub(crate) mod patient_store;
pub(crate) mod keeper;
mod figures;
mod saves;
mod patience;
pub(crate) mod cursors;
pub(crate) mod kept;
pub(crate) mod hdr_log;
pub(crate) mod lateness;
pub(crate) mod watermark;
