//! The schemas of `contracts/` describe what the program writes and reads.

use serde_json::Value;
use system_tests::Rig;

fn validator(schema: &str) -> jsonschema::Validator {
    let schema: Value = serde_yaml::from_str(schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

#[test]
fn audit_records_are_as_their_schema_says() {
    let rig = Rig::sample();
    let ran = rig.stream(&["--max-events", "10"]);
    let run = ran.report["platform_run_id"].as_str().unwrap();
    let log =
        std::fs::read_to_string(rig.world.runs_root().join(run).join("session.jsonl")).unwrap();
    let schema = validator(wsp::schema::AUDIT_RECORD_SCHEMA);
    for line in log.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert!(schema.is_valid(&record), "{record}");
        let mut wrong = record.clone();
        wrong["event_kind"] = "event_pushed".into();
        assert!(!schema.is_valid(&wrong));
    }
}

#[test]
fn the_shipped_profiles_are_as_their_schema_says_and_load() {
    let schema = validator(wsp::schema::WSP_PROFILE_SCHEMA);
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/platform/profiles");
    for name in ["local", "dev_local", "dev", "prod"] {
        let path = folder.join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut profile: Value = serde_yaml::from_str(&text).unwrap();
        assert!(schema.is_valid(&profile), "{name}");
        let loaded = wsp::profile::Profile::load(&path, &|_| None).unwrap();
        assert_eq!(loaded.profile_id, name);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        profile["wiring"]["wsp_push"] = serde_json::json!({"lane": 3});
        assert!(!schema.is_valid(&profile), "{name}: an unknown key passes");
    }
}

#[test]
fn every_embedded_schema_is_a_schema_of_its_draft() {
    for (name, schema) in [
        ("audit_record", wsp::schema::AUDIT_RECORD_SCHEMA),
        ("quarantine_record", wsp::schema::QUARANTINE_RECORD_SCHEMA),
        ("redriven_record", wsp::schema::REDRIVEN_RECORD_SCHEMA),
        ("wsp_profile", wsp::schema::WSP_PROFILE_SCHEMA),
        ("cursor", checkpoint::CURSOR_SCHEMA),
        ("gate_receipt", gates::GATE_RECEIPT_SCHEMA),
        (
            "canonical_event_envelope",
            envelope::CANONICAL_EVENT_ENVELOPE_SCHEMA,
        ),
    ] {
        let schema: Value = serde_yaml::from_str(schema).unwrap();
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
        assert_eq!(
            schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{name}"
        );
    }
}
