//! The record's JSON Schema, embedded.

/// JSON Schema (YAML, draft 2020-12) of a cursor record: ours, or the existing producer's.
pub const CURSOR_SCHEMA: &str = include_str!("../../../contracts/cursor.schema.yaml");
