//! The JSON Schemas of the formats that this crate reads and writes, as YAML, draft 2020-12.

/// JSON Schema (YAML, draft 2020-12) of a [`GateReceipt`](crate::GateReceipt).
pub const GATE_RECEIPT_SCHEMA: &str = include_str!("../../../contracts/gate_receipt.schema.yaml");

/// JSON Schema (YAML, draft 2020-12) of the file that [`GateMap`](crate::GateMap) reads.
pub const ENGINE_GATES_MAP_SCHEMA: &str =
    include_str!("../../../contracts/engine_gates_map.schema.yaml");
