//! One run: the request, what is made ready for it, the engine, and what is told of it.

pub mod cache;
pub mod cursors;
pub(crate) mod done_share;
pub(crate) mod outline;
mod foresight;
pub(crate) mod stream;
pub(crate) mod kept_report;
pub(crate) mod backends;
pub mod control;
pub(crate) mod prepare;
mod view_order;
pub mod reading;
mod schedule;
pub(crate) mod process_limits;
pub(crate) mod refusal;
pub(crate) mod failure;
pub(crate) mod judge;
pub(crate) mod report;
pub(crate) mod threshold_report;
pub(crate) mod report_text;
pub(crate) mod shown;
pub(crate) mod resume;
pub(crate) mod written_places;
pub(crate) mod cursor_places;
pub(crate) mod platform_run;
pub(crate) mod audit;
pub(crate) mod places;
