//! The crate from outside: whole worlds on local disk and on a real S3 server.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, unreachable_pub)]

mod arrow_hint;
mod contents;
mod damaged_footers;
mod evidence;
mod faults;
mod grants;
mod instance_proof;
mod int96;
mod large_pages;
mod locating;
mod logical_types;
mod opening;
mod packing;
mod pins;
mod rows;
mod s3_server;
mod schemas;
mod time_spans;
mod world;
