//! The crate from outside: whole worlds on local disk and on a real S3 server.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod faults;
mod locating;
mod rows;
mod s3_server;
mod world;
