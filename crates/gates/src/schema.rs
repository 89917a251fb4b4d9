//! The JSON Schema of this crate's one portable format.

/// JSON Schema (YAML, draft 2020-12) of a [`GateReceipt`](crate::GateReceipt).
pub const GATE_RECEIPT_SCHEMA: &str = include_str!("../../../contracts/gate_receipt.schema.yaml");
