//! Whole-system tests: the real binary against the real stand-in gate.
#![allow(clippy::unwrap_used, missing_docs)]

mod contracts;
mod golden;
mod kill;
mod layering;
mod main_path;
mod reason_codes;
mod refusals;
mod schedule;
