//! The engine's gate map.
#![no_main]

use gates::GateMap;
use oracle_store::from_yaml;
use serde_yaml::Value;
use wsp_fuzz::{is_refusal, sha256_hex, yaml};

const NAME: &str = "gates.yaml";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match GateMap::parse(NAME, bytes) {
        Ok(map) => {
            assert_eq!(map.digest().as_str(), sha256_hex(bytes));
            let document: Value = match from_yaml(bytes) {
                // A key of another component may occur twice: nobody here reads it.
                Err(error) if error.to_string().contains("duplicate") => return,
                document => document.expect("it is accepted, and no YAML"),
            };
            yaml::hides_nothing(&document);
            let gates = yaml::entries(&document, "gates").expect("a list of gates");
            assert_eq!(map.gate_ids().count(), gates.len());
            let is_known = |id| map.gate_ids().any(|known| known.as_str() == id);
            let mut ids = gates.iter().filter_map(|gate| yaml::text(gate, "gate_id"));
            assert!(ids.all(is_known), "a gate is lost");
            // A key that restricts is there in every gate or in none, and is a list.
            for key in ["upstream_gate_dependencies", "authorizes_outputs"] {
                let spelled = gates.iter().filter_map(|gate| gate.get(key));
                let lists = spelled.clone().filter(|list| list.is_sequence()).count();
                assert_eq!(lists, spelled.count(), "{key} is no list");
                assert!(lists == 0 || lists == gates.len(), "{key} is lost in some");
            }
            // A number or nothing where a text is wanted is one to the reader, and another when it is
            // written by its value.
            if !yaml::has_texts_alone(&document) {
                return;
            }
            let text = serde_yaml::to_string(&document).expect("YAML");
            let again = GateMap::parse(NAME, text.as_bytes()).expect("written again");
            assert_eq!(without_digest(&again), without_digest(&map));
        }
        Err(error) => {
            is_refusal(&error, &["GATE_MAP_UNREADABLE"]);
            let object = model::Refusal::place(&error).object();
            assert_eq!(object, Some(NAME), "the refusal names the file");
        }
    }
});

/// All that a map says, but for the digest of its bytes.
fn without_digest(map: &GateMap) -> String {
    let text = format!("{map:?}");
    text.replacen(map.digest().as_str(), "", 1)
}
