//! Servers for tests, found or started.

mod postgres;

pub use postgres::{PostgresOptions, PostgresServer, TestSchema};
