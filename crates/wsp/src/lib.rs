//! Placeholder.

pub mod push;
