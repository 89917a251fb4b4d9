//! The event-time order: against a naive sort, over files, and from any place on.
#![allow(clippy::unwrap_used)]

mod disk;
mod files;
mod merge;
mod shards;
mod world;
