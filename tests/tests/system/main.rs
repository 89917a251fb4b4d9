//! Whole-system tests: the real binary against the real stand-in gate.
#![allow(clippy::unwrap_used, missing_docs)]

mod audit_log;
mod backpressure;
mod checkpoints;
mod contracts;
mod damaged_parts;
mod every_reason;
mod examples;
mod fault_matrix;
mod faulty_store;
mod golden;
mod kill;
mod layering;
mod leases;
mod long_outage;
mod main_path;
mod mutations;
mod outages;
mod quarantine;
mod reason_codes;
mod refusals;
mod s3;
mod s3_bad_input;
mod s3_figures;
mod schedule;
mod steering;
