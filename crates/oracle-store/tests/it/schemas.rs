//! The embedded schemas accept what this crate writes and refuse a named wrong one.

use oracle_store::*;
use serde_json::{Value, json};

use crate::evidence::{manifest_json, seal_json};
use crate::world::*;

fn validator(schema: &str) -> jsonschema::Validator {
    let schema: Value = serde_yaml::from_str(schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

#[track_caller]
fn accepts_and_refuses(schema: &str, good: &Value, wrong: &[(&str, Value)]) {
    let validator = validator(schema);
    validator.validate(good).unwrap();
    for (pointer, value) in wrong {
        let mut bad = good.clone();
        match bad.pointer_mut(pointer) {
            Some(field) => *field = value.clone(),
            None => bad[&pointer[1..]] = value.clone(),
        }
        assert!(!validator.is_valid(&bad), "{pointer} = {value}");
    }
}

#[test]
fn a_run_receipt_may_say_more_but_not_less() {
    accepts_and_refuses(
        RUN_RECEIPT_SCHEMA,
        &receipt_json(),
        &[
            ("/run_id", json!("0".repeat(31))),
            ("/seed", json!(-1)),
            ("/seed", json!("7")),
        ],
    );
}

#[test]
fn a_manifest_has_no_other_fields() {
    accepts_and_refuses(
        ORACLE_PACK_MANIFEST_SCHEMA,
        &manifest_json(),
        &[
            ("/more", json!(1)),
            ("/world_key/scenario_id", json!("")),
            ("/world_key/scenario_id", json!("a/b")),
            ("/oracle_pack_id", json!("A".repeat(64))),
            ("/version", json!("v1")),
        ],
    );
}

#[test]
fn a_seal_is_ok_or_failed() {
    accepts_and_refuses(
        ORACLE_PACK_SEAL_SCHEMA,
        &seal_json(),
        &[("/seal_status", json!("SEALED")), ("/more", json!(1))],
    );
}

#[tokio::test]
async fn what_the_packer_writes_is_valid() {
    use oracle_store::{PackRequest, SealStatus, pack};
    let world = TestWorld::on_disk(&small_world()).await;
    let request = PackRequest {
        facts: crate::evidence::facts(),
        seal_status: SealStatus::SealedFailed,
        with_contents: true,
        dry_run: false,
        now: std::time::SystemTime::now(),
    };
    pack(&world.store, &request).await.unwrap();
    for (schema, key) in [
        (ORACLE_PACK_MANIFEST_SCHEMA, "_oracle_pack_manifest.json"),
        (ORACLE_PACK_SEAL_SCHEMA, "_SEALED.json"),
        (ORACLE_PACK_CONTENTS_SCHEMA, "_oracle_pack_contents.json"),
    ] {
        let written = world.store.get(key).await.unwrap();
        let json: Value = serde_json::from_slice(&written.bytes).unwrap();
        accepts_and_refuses(schema, &json, &[("/oracle_pack_id", json!(1))]);
    }
}

#[tokio::test]
async fn a_locator_names_parts_and_pins() {
    let world = TestWorld::on_disk(&small_world()).await;
    let located = serde_json::to_value(world.locate("flows").await).unwrap();
    accepts_and_refuses(
        OUTPUT_LOCATOR_SCHEMA,
        &located,
        &[
            ("/parts", json!([])),
            ("/format", json!("csv")),
            ("/parts/0/pin/size", json!(-1)),
        ],
    );
}
