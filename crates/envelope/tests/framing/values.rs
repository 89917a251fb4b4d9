//! Envelopes as values: read back what was framed, and find the same ids.

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::*;
use envelope::{EnvelopeValidator, EventId, Hex64, ScenarioId, WorldKey, validate};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FINGERPRINT, PARAMETERS, batch, framer, parted};

fn world() -> WorldKey {
    WorldKey {
        manifest_fingerprint: Hex64::parse(FINGERPRINT).unwrap(),
        parameter_hash: Hex64::parse(PARAMETERS).unwrap(),
        scenario_id: ScenarioId::parse("baseline_v1").unwrap(),
        seed: 20_260_128,
    }
}

/// Columns of every type that a primary key may have, of one length.
fn key_columns(texts: &[String], numbers: &[i64], flags: &[bool]) -> Vec<ArrayRef> {
    let strs = || texts.iter().map(String::as_str);
    let dictionary: DictionaryArray<Int32Type> = strs().collect();
    let numbers_of_dictionary = Int64Array::from(numbers.to_vec());
    let keys = Int8Array::from_iter_values((0..numbers.len()).map(|row| row as i8));
    let of_numbers = DictionaryArray::<Int8Type>::new(keys, Arc::new(numbers_of_dictionary));
    vec![
        Arc::new(StringArray::from_iter_values(strs())),
        Arc::new(LargeStringArray::from_iter_values(strs())),
        Arc::new(StringViewArray::from_iter_values(strs())),
        Arc::new(dictionary),
        Arc::new(of_numbers),
        Arc::new(BooleanArray::from(flags.to_vec())),
        Arc::new(Int8Array::from_iter_values(
            numbers.iter().map(|&n| n as i8),
        )),
        Arc::new(Int16Array::from_iter_values(
            numbers.iter().map(|&n| n as i16),
        )),
        Arc::new(Int32Array::from_iter_values(
            numbers.iter().map(|&n| n as i32),
        )),
        Arc::new(Int64Array::from(numbers.to_vec())),
        Arc::new(UInt8Array::from_iter_values(
            numbers.iter().map(|&n| n as u8),
        )),
        Arc::new(UInt16Array::from_iter_values(
            numbers.iter().map(|&n| n as u16),
        )),
        Arc::new(UInt32Array::from_iter_values(
            numbers.iter().map(|&n| n as u32),
        )),
        Arc::new(UInt64Array::from_iter_values(
            numbers.iter().map(|&n| n as u64),
        )),
    ]
}

/// A value that some field of an envelope may have, or none.
fn any_value() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "t",
        "platform_20260128T090000Z",
        "2026-01-28T08:55:40.100195Z",
    ];
    prop_oneof![
        Just(Value::Null),
        Just(json!({"k": [1, {"a": null}]})),
        Just(json!([])),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::sample::select(texts.to_vec()).prop_map(Value::from),
        "[0-9a-f]{32}|[0-9a-f]{64}|[0-9A-F]{64}".prop_map(Value::from),
        "[a-zü]{1,300}".prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn the_id_of_a_payload_is_that_of_the_framed_row_for_every_type_of_key(
        rows in proptest::collection::vec((any::<String>(), any::<i64>(), any::<bool>()), 1..20)
    ) {
        let texts: Vec<_> = rows.iter().map(|row| row.0.clone()).collect();
        let numbers: Vec<_> = rows.iter().map(|row| row.1).collect();
        let flags: Vec<_> = rows.iter().map(|row| row.2).collect();
        for column in key_columns(&texts, &numbers, &flags) {
            let kind = column.data_type().clone();
            let key = ["k".to_owned(), "seed".to_owned()];
            let seeds = Arc::new(Int64Array::from(vec![7; rows.len()]));
            let rows = batch(vec![("k", column), ("seed", seeds)]);
            let (framed, error) = parted(framer("flows", &["k", "seed"]).frame("p", 0, &rows));
            prop_assert!(error.is_none(), "{error:?}");
            for row in 0..framed.len() {
                let body = framed.body(row);
                let envelope = validate(&body).unwrap();
                prop_assert_eq!(envelope.event_id, framed.event_id(row));
                let payload = envelope.payload.unwrap().as_bytes();
                let id = EventId::of_payload(&"flows".into(), &key, &world(), payload).unwrap();
                prop_assert_eq!(id, framed.event_id(row), "{}", kind);
            }
        }
    }

    #[test]
    fn reading_an_envelope_refuses_what_the_schema_refuses(
        field in proptest::sample::select(vec![
            "event_id", "event_type", "schema_version", "ts_utc", "emitted_at_utc",
            "manifest_fingerprint", "parameter_hash", "seed", "scenario_id", "run_id",
            "platform_run_id", "scenario_run_id", "producer", "parent_event_id", "trace_id",
            "span_id", "payload", "other",
        ]),
        value in any_value(),
    ) {
        let row = batch(vec![("k", Arc::new(Int64Array::from(vec![1])))]);
        let framed = framer("flows", &["k"]).frame("p", 0, &row).unwrap();
        let mut document: Value = serde_json::from_slice(&framed.body(0)).unwrap();
        document[field] = value;
        let body = serde_json::to_vec(&document).unwrap();
        let by_schema = EnvelopeValidator::new().check(&body);
        prop_assert_eq!(validate(&body).is_ok(), by_schema.is_ok(), "{}", document);
    }
}

#[test]
fn a_payload_without_identity_has_no_id() {
    let id = |key: &[&str], payload: &str| {
        let key: Vec<_> = key.iter().map(ToString::to_string).collect();
        let id = EventId::of_payload(&"flows".into(), &key, &world(), payload.as_bytes());
        id.unwrap_err().code().as_str()
    };
    assert_eq!(id(&[], "{}"), "PRIMARY_KEY_UNDEFINED");
    assert_eq!(id(&["k"], "{}"), "PRIMARY_KEY_MISSING");
    assert_eq!(id(&["k"], r#"{"k":null}"#), "PRIMARY_KEY_MISSING");
    assert_eq!(id(&["k"], r#"{"k":1.5}"#), "PRIMARY_KEY_TYPE_UNSUPPORTED");
    assert_eq!(id(&["k"], r#"{"k":1,"k":1}"#), "PAYLOAD_VALUE_UNSUPPORTED");
    assert_eq!(id(&["k"], "[]"), "PAYLOAD_VALUE_UNSUPPORTED");
}
