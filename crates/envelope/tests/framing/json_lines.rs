//! Rows of JSON Lines parts: their payload is their own text.

use std::error::Error as _;

use envelope::{EnvelopeValidator, Error, ReasonCode, event_times_of_json_lines};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{bodies, bodies_before_fault, framer, parted};

const TIME: &str = r#""ts_utc":"2026-01-28T08:55:40Z""#;

fn fault_of(line: impl AsRef<[u8]>) -> Error {
    let good = format!("{{{TIME},\"k\":1}}");
    let lines = [good.as_bytes(), line.as_ref(), good.as_bytes()];
    let (framed, error) =
        parted(framer("output", &["k"]).frame_json_lines("part.jsonl", 40, lines));
    let error = error.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(line.as_ref())));
    assert_eq!(framed.len(), 1);
    assert_eq!(error.row_index().unwrap(), 41);
    error
}

fn id_of(key: &str) -> String {
    let line = format!("{{{TIME},\"k\":{key}}}");
    let (framed, error) =
        parted(framer("output", &["k"]).frame_json_lines("p", 0, [line.as_bytes()]));
    assert!(error.is_none(), "{key}: {error:?}");
    framed.event_id(0).to_string()
}

#[test]
fn what_is_not_one_object_with_distinct_names_is_refused() {
    let lines: &[&[u8]] = &[
        b"",
        b"  ",
        b"null",
        b"[1]",
        b"{",
        b"{} {}",
        br#"{"a":1,}"#,
        br#"{"a":NaN}"#,
        br#"{"a":-Infinity}"#,
        br#"{"a":[1e999]}"#,
        br#"{"a":"\ud800"}"#,
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\x01\"}",
        br#"{"a":01}"#,
        br#"{"a":1,"b":2,"a":1}"#,
        br#"{"a":1,"\u0061":1}"#,
        br#"{"k":1,"k":1}"#,
        b"\xef\xbb\xbf{}",
    ];
    for line in lines {
        let error = fault_of(line);
        let shown = String::from_utf8_lossy(line);
        assert_eq!(error.code(), ReasonCode::PayloadValueUnsupported, "{shown}");
        assert!(error.source().is_some(), "{shown}");
    }
    // Nothing nested so deep that it would exhaust a stack, here or at a receiver.
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(fault_of(deep).code(), ReasonCode::PayloadValueUnsupported);
}

#[test]
fn time_and_key_are_found_or_named() {
    for (line, code) in [
        (r#"{"k":1}"#, ReasonCode::MissingEventTime),
        (r#"{"k":1,"ts_utc":null}"#, ReasonCode::MissingEventTime),
        (r#"{"k":1,"ts_utc":"soon"}"#, ReasonCode::EventTimeInvalid),
        (
            r#"{"k":1,"ts_utc":1769590540}"#,
            ReasonCode::EventTimeInvalid,
        ),
        (
            r#"{"k":1,"ts_utc":["2026-01-28T08:55:40Z"]}"#,
            ReasonCode::EventTimeInvalid,
        ),
        (
            r#"{"in":{"ts_utc":"2026-01-28T08:55:40Z"},"k":1}"#,
            ReasonCode::MissingEventTime,
        ),
        (
            r#"{"ts_utc":"2026-01-28T08:55:40Z"}"#,
            ReasonCode::PrimaryKeyMissing,
        ),
        (
            r#"{"ts_utc":"2026-01-28T08:55:40Z","k":null}"#,
            ReasonCode::PrimaryKeyMissing,
        ),
        (
            r#"{"ts_utc":"soon","k":null}"#,
            ReasonCode::EventTimeInvalid,
        ),
    ] {
        assert_eq!(fault_of(line).code(), code, "{line}");
    }
}

#[test]
fn only_exact_integer_tokens_are_integer_keys() {
    for token in [
        "1.0",
        "1e3",
        "-0",
        "18446744073709551616",
        "-9223372036854775809",
        "{}",
        "[1]",
        "0.5",
    ] {
        let error = fault_of(format!("{{{TIME},\"k\":{token}}}"));
        assert_eq!(
            error.code(),
            ReasonCode::PrimaryKeyTypeUnsupported,
            "{token}"
        );
    }
    assert_eq!(id_of("7"), id_of("\"7\""));
    assert_eq!(
        id_of("18446744073709551615"),
        id_of("\"18446744073709551615\"")
    );
    assert_eq!(id_of("true"), id_of("\"True\""));
    assert_eq!(id_of(r#""caf\u00e9\n""#), id_of("\"café\\n\""));
}

#[test]
fn the_time_column_may_be_part_of_the_key() {
    let line = format!("{{{TIME}}}");
    let (framed, error) =
        parted(framer("output", &["ts_utc"]).frame_json_lines("p", 0, [line.as_bytes()]));
    assert!(error.is_none());
    assert_eq!(
        framed.event_id(0).to_string(),
        id_of("\"2026-01-28T08:55:40Z\"")
    );
}

#[test]
fn times_are_read_without_a_key() {
    let line = format!("{{\"a\":1,{TIME}}}");
    let lines = [line.as_bytes(), b"{}"];
    let (times, error) = parted(event_times_of_json_lines("part.jsonl", 3, "ts_utc", lines));
    assert_eq!(times.len(), 1);
    let error = error.unwrap();
    assert_eq!(
        (error.code(), error.row_index().unwrap()),
        (ReasonCode::MissingEventTime, 4)
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        "(?s).{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("(?s).{0,4}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_is_its_own_payload(
        mut row in prop::collection::btree_map("[a-z\"\\\\é]{0,3}", any_json(), 0..6),
        key in any::<u64>(),
        pretty in any::<bool>(),
    ) {
        row.insert("ts_utc".into(), json!("2026-01-28T08:55:40Z"));
        row.insert("k".into(), json!(key));
        let text = if pretty {
            serde_json::to_string_pretty(&row).unwrap().replace('\n', "\r")
        } else {
            serde_json::to_string(&row).unwrap()
        };
        let line = format!("\t {text} \r");
        let framed =
            bodies(framer("output", &["k"]).frame_json_lines("p", 0, [line.as_bytes()]));
        let end = format!("\"payload\":{text}}}");
        prop_assert!(framed[0].ends_with(&end), "{}", framed[0]);
        let envelope = framed[0].as_bytes();
        EnvelopeValidator::new().check(envelope).unwrap();
        let envelope: serde_json::Value = serde_json::from_slice(envelope).unwrap();
        prop_assert_eq!(&envelope["payload"], &json!(row));
        prop_assert_eq!(envelope["event_id"].as_str().unwrap(), id_of(&key.to_string()));
    }

    #[test]
    fn no_line_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
        let (framed, error) = parted(framer("output", &["k"]).frame_json_lines("p", 0, [line.as_slice()]));
        prop_assert_eq!(bodies_before_fault(&framed).len() + usize::from(error.is_some()), 1);
    }
}
