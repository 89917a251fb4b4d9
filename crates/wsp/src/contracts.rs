//! The contracts that are shipped: every format that the program reads or writes, by name.

use serde_json::Value;

use crate::schema;

/// A format, as a JSON Schema.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Contract {
    /// The name: that of its file, without `.schema.yaml`.
    pub name: &'static str,
    /// What has the format.
    pub of: &'static str,
    yaml: &'static str,
}

impl Contract {
    /// The JSON Schema; `null` for a contract that is no YAML, of which there is none.
    pub fn schema(&self) -> Value {
        oracle_store::from_yaml(self.yaml.as_bytes()).unwrap_or_default()
    }
}

const fn contract_of(name: &'static str, of: &'static str, yaml: &'static str) -> Contract {
    Contract { name, of, yaml }
}

/// Every contract there is, by name.
pub const CONTRACTS: &[Contract] = &[
    contract_of(
        "audit_record",
        "a line of the audit log",
        schema::AUDIT_RECORD_SCHEMA,
    ),
    contract_of(
        "canonical_event_envelope",
        "an event as the ingestion gate takes it",
        envelope::CANONICAL_EVENT_ENVELOPE_SCHEMA,
    ),
    contract_of(
        "cursor",
        "a cursor as files keep it",
        checkpoint::CURSOR_SCHEMA,
    ),
    contract_of(
        "engine_gates_map",
        "the engine's gate map",
        gates::ENGINE_GATES_MAP_SCHEMA,
    ),
    contract_of(
        "engine_outputs_catalogue",
        "the engine's output catalogue",
        oracle_store::ENGINE_OUTPUTS_CATALOGUE_SCHEMA,
    ),
    contract_of(
        "gate_receipt",
        "the verdict of a gate",
        gates::GATE_RECEIPT_SCHEMA,
    ),
    contract_of(
        "oracle_pack_contents",
        "the contents index of a pack",
        oracle_store::ORACLE_PACK_CONTENTS_SCHEMA,
    ),
    contract_of(
        "oracle_pack_manifest",
        "the manifest of a pack",
        oracle_store::ORACLE_PACK_MANIFEST_SCHEMA,
    ),
    contract_of(
        "oracle_pack_seal",
        "the seal of a pack",
        oracle_store::ORACLE_PACK_SEAL_SCHEMA,
    ),
    contract_of(
        "output_locator",
        "the parts of an output",
        oracle_store::OUTPUT_LOCATOR_SCHEMA,
    ),
    contract_of(
        "quarantine_record",
        "a line of a quarantine file",
        schema::QUARANTINE_RECORD_SCHEMA,
    ),
    contract_of(
        "redriven_record",
        "a line of the file beside a quarantine file",
        schema::REDRIVEN_RECORD_SCHEMA,
    ),
    contract_of(
        "run_receipt",
        "the receipt of an engine run",
        oracle_store::RUN_RECEIPT_SCHEMA,
    ),
    contract_of(
        "stream_report",
        "the report of a run",
        schema::STREAM_REPORT_SCHEMA,
    ),
    contract_of("wsp_profile", "a profile", schema::WSP_PROFILE_SCHEMA),
];

/// The contract of a name; `None` for an unknown one.
pub fn contract(name: &str) -> Option<&'static Contract> {
    CONTRACTS.iter().find(|contract| contract.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_shipped_contract_has_its_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts");
        let files = std::fs::read_dir(folder).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let names: BTreeSet<String> = names
            .filter_map(|name| name.strip_suffix(".schema.yaml").map(str::to_owned))
            .collect();
        let listed = CONTRACTS.iter().map(|contract| contract.name.to_owned());
        assert_eq!(listed.collect::<BTreeSet<_>>(), names);
        for known in CONTRACTS {
            let schema = contract(known.name).unwrap().schema();
            assert!(schema["$schema"].is_string(), "{}", known.name);
        }
        assert!(contract("fly").is_none());
    }
}
