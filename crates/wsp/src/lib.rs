//! Replays an engine world into an ingestion gate: plan, order, pace, push, remember.

pub mod audit;
mod backends;
pub mod dispatch;
pub mod ending;
pub mod engine;
pub mod error;
pub mod feed;
pub mod keeper;
pub mod lane;
pub mod lanes;
pub mod lateness;
pub mod meters;
pub mod order;
mod parts;
pub mod plan;
pub mod platform_run;
pub mod prepare;
pub mod producer;
pub mod profile;
pub mod progress;
pub mod push;
pub mod reason;
pub mod report;
pub mod request;
pub mod resume;
pub mod schedule;
pub mod selection;
pub mod stream;
pub mod watermark;
pub mod window;

pub use error::{Error, Fault};
pub use reason::{ReasonCode, all_reason_codes};
pub use report::{Status, StreamReport};
pub use request::{Overrides, StreamRequest};
pub use stream::Stream;
