//! The formats that this crate owns, as JSON Schemas in YAML, embedded.

/// One line of the audit log.
pub const AUDIT_RECORD_SCHEMA: &str = include_str!("../../../contracts/audit_record.schema.yaml");

/// One line of a quarantine file.
pub use replay::QUARANTINE_RECORD_SCHEMA;

/// One line of the file that redrives keep beside a quarantine file.
pub const REDRIVEN_RECORD_SCHEMA: &str =
    include_str!("../../../contracts/redriven_record.schema.yaml");

/// The profile, as this crate reads it.
pub const WSP_PROFILE_SCHEMA: &str = include_str!("../../../contracts/wsp_profile.schema.yaml");

/// The report of a run: what `stream` prints, and keeps with the records of its platform run.
pub const STREAM_REPORT_SCHEMA: &str = include_str!("../../../contracts/stream_report.schema.yaml");
