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
fn the_example_of_an_environment_lists_every_variable_of_the_shipped_profiles() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let example = read(".env.example");
    for name in ["local", "dev_local", "dev", "prod"] {
        let profile = read(&format!("config/platform/profiles/{name}.yaml"));
        for behind in profile.split("${").skip(1) {
            let variable = behind.split(['}', ':']).next().unwrap();
            let listed = example
                .lines()
                .any(|line| line.split('=').next() == Some(variable));
            assert!(listed, "{variable} of {name}.yaml");
        }
    }
}

/// The catalogue and the gate map of `contracts/`, as values.
fn sample_contracts() -> (Value, Value) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts");
    let read = |name: &str| {
        serde_yaml::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
    };
    (
        read("engine_outputs.catalogue.yaml"),
        read("engine_gates.map.yaml"),
    )
}

#[test]
fn a_catalogue_that_its_schema_refuses_is_refused_by_the_program() {
    let schema = validator(oracle_store::ENGINE_OUTPUTS_CATALOGUE_SCHEMA);
    let parses = |catalogue: &Value| {
        oracle_store::Catalogue::parse(catalogue.to_string().as_bytes()).is_ok()
    };
    let (catalogue, _) = sample_contracts();
    schema.validate(&catalogue).unwrap();
    assert!(parses(&catalogue));
    for key in ["output_id", "class", "read_requires_gates"] {
        let mut without = catalogue.clone();
        let value = entry_of(&mut without).remove(key).unwrap();
        assert!(!schema.is_valid(&without) && !parses(&without), "no {key}");
        entry_of(&mut without).insert(key.to_uppercase(), value);
        assert!(
            !schema.is_valid(&without) && !parses(&without),
            "capital {key}"
        );
    }
    for (key, wrong) in [
        ("read_requires_gates", Value::Null),
        ("read_requires_gates", "gate.layer3.6B.validation".into()),
        ("read_requires_gates", serde_json::json!([["g"]])),
        ("class", "table".into()),
        ("primary_key", "id".into()),
        ("primary_key", Value::Null),
    ] {
        let mut other = catalogue.clone();
        entry_of(&mut other).insert(key.to_owned(), wrong.clone());
        assert!(!schema.is_valid(&other), "{key}: {wrong}");
        assert!(!parses(&other), "{key}: {wrong}");
    }
}

fn entry_of(catalogue: &mut Value) -> &mut serde_json::Map<String, Value> {
    catalogue["outputs"][1].as_object_mut().unwrap()
}

#[test]
fn a_gate_map_without_a_key_that_its_schema_requires_opens_no_output_of_that_gate() {
    let schema = validator(gates::ENGINE_GATES_MAP_SCHEMA);
    let (_, map) = sample_contracts();
    schema.validate(&map).unwrap();
    for key in [
        "gate_id",
        "passed_flag_path_template",
        "upstream_gate_dependencies",
        "authorizes_outputs",
    ] {
        let mut without = map.clone();
        without["gates"][2].as_object_mut().unwrap().remove(key);
        assert!(!schema.is_valid(&without), "no {key}");
        let read = gates::GateMap::parse("map", without.to_string().as_bytes());
        assert!(read.is_err(), "no {key}");
    }
    for (pointer, wrong) in [
        ("/gates/1/verification_method/kind", "sha256_tree".into()),
        ("/gates/1/verification_method/ordering", "as_is".into()),
        ("/gates/1/verification_method/path_base", "cwd".into()),
        ("/gates/1/verification_method/salt", "x".into()),
        ("/gates/1/authorizes_outputs", Value::Null),
        ("/gates/1/upstream_gate_dependencies", "g".into()),
        ("/gates/1/index_path_template", Value::Null),
    ] {
        let mut other = map.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        other.pointer_mut(parent).unwrap()[key] = wrong;
        assert!(!schema.is_valid(&other), "{pointer}");
    }
}

/// The platform's own files, all 340 outputs and 10 gates, where the machine has them.
#[test]
#[ignore = "needs WSP_GOLDEN_REFERENCE"]
fn golden_the_platforms_catalogue_and_gate_map_are_as_their_schemas_say() {
    let folder = std::env::var("WSP_GOLDEN_REFERENCE").expect("WSP_GOLDEN_REFERENCE is set");
    for (name, schema, list, entries) in [
        (
            "engine_outputs.catalogue.yaml",
            oracle_store::ENGINE_OUTPUTS_CATALOGUE_SCHEMA,
            "outputs",
            340,
        ),
        (
            "engine_gates.map.yaml",
            gates::ENGINE_GATES_MAP_SCHEMA,
            "gates",
            10,
        ),
    ] {
        let text = std::fs::read_to_string(std::path::Path::new(&folder).join(name)).unwrap();
        let file: Value = serde_yaml::from_str(&text).unwrap();
        validator(schema).validate(&file).unwrap();
        assert_eq!(file[list].as_array().unwrap().len(), entries, "{name}");
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
        ("engine_gates_map", gates::ENGINE_GATES_MAP_SCHEMA),
        (
            "engine_outputs_catalogue",
            oracle_store::ENGINE_OUTPUTS_CATALOGUE_SCHEMA,
        ),
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
