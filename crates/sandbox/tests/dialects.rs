//! What a stand-in gate with a dialect answers, word for word, and which of its states last.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;

use sandbox::{Dialect, FaultRule, GateOptions, StandInGate};
use serde_json::{Value, json};

/// One request over a connection of its own; `None` if it closes without an answer.
fn ask(gate: &StandInGate, request: &str, body: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(gate.address()).unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head[9..12].parse().unwrap();
    let text = || Value::String(body.to_owned());
    Some((
        status,
        serde_json::from_str(body).unwrap_or_else(|_| text()),
    ))
}

fn push(gate: &StandInGate, number: u64) -> Option<(u16, Value)> {
    let envelope = json!({
        "event_id": format!("{number:064x}"),
        "event_type": "flow",
        "ts_utc": "2026-01-28T08:00:00.000000Z",
        "manifest_fingerprint": "a".repeat(64),
        "platform_run_id": "platform_20260128T090000Z",
        "payload": {"flow_id": number},
    });
    ask(gate, "POST /v1/ingest/push", &envelope.to_string())
}

fn gate(dialect: Dialect, options: GateOptions) -> StandInGate {
    let dialect = Some(dialect);
    StandInGate::start(GateOptions { dialect, ..options }).unwrap()
}

fn fail_with(gate: &StandInGate, rules: &[&str]) {
    let rules = rules.iter().map(|rule| rule.parse::<FaultRule>().unwrap());
    gate.set_faults(rules.collect()).unwrap();
}

#[test]
fn decisions_come_with_a_receipt_and_where_it_is() {
    for (dialect, taken, apart) in [(Dialect::Local, 200, 200), (Dialect::Managed, 202, 400)] {
        let gate = gate(dialect, GateOptions::default());
        let (status, first) = push(&gate, 1).unwrap();
        assert_eq!((status, first["decision"].as_str()), (taken, Some("ADMIT")));
        let receipt = &first["receipt"];
        assert_eq!(receipt["receipt_id"].as_str().unwrap().len(), 32);
        assert_eq!(receipt["eb_ref"]["offset"], "0");
        assert!(
            first["receipt_ref"]
                .as_str()
                .unwrap()
                .starts_with("platform_2026")
        );
        assert_eq!(
            first.get("correlation_echo").is_some(),
            dialect == Dialect::Managed
        );
        let (status, again) = push(&gate, 1).unwrap();
        assert_eq!(
            (status, again["decision"].as_str()),
            (taken, Some("DUPLICATE"))
        );
        assert_eq!(
            again["receipt"]["eb_ref"], receipt["eb_ref"],
            "it is there once"
        );
        fail_with(&gate, &["quarantine:SCHEMA_FAIL"]);
        let (status, bad) = push(&gate, 2).unwrap();
        assert_eq!(
            (status, bad["decision"].as_str()),
            (apart, Some("QUARANTINE"))
        );
        assert_eq!(bad["receipt"]["reason_codes"], json!(["SCHEMA_FAIL"]));
        assert_eq!(
            bad["receipt"]["evidence_refs"][0]["kind"],
            "quarantine_record"
        );
    }
}

#[test]
fn what_is_in_doubt_stays_so_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    for dialect in [Dialect::Local, Dialect::Managed] {
        let keep = folder.path().join(format!("{dialect:?}"));
        let options = || GateOptions {
            keep: Some(keep.clone()),
            ..GateOptions::default()
        };
        let first = gate(dialect, options());
        assert!(push(&first, 1).is_some());
        fail_with(&first, &["bus-failure,next=1", "in-flight,next=1"]);
        let (_, failed) = push(&first, 2).unwrap();
        assert_eq!(
            failed["receipt"]["reason_codes"],
            json!(["PUBLISH_AMBIGUOUS"])
        );
        assert_eq!(push(&first, 3), None);
        first.abort();
        let second = gate(dialect, options());
        for (number, code) in [
            (2, "PUBLISH_AMBIGUOUS_RETRY"),
            (3, "PUBLISH_IN_FLIGHT_RETRY"),
        ] {
            let (status, answer) = push(&second, number).unwrap();
            match dialect {
                Dialect::Local => assert_eq!((status, answer), (400, json!({"error": code}))),
                Dialect::Managed => {
                    assert_eq!((status, &answer["error"]), (503, &json!("retry_required")));
                    assert_eq!(answer["reason"], code);
                }
            }
        }
        let (_, known) = push(&second, 1).unwrap();
        assert_eq!(known["decision"], "DUPLICATE");
        assert_eq!(known["receipt"]["eb_ref"]["offset"], "0");
        assert_eq!(second.stats().undecided, 2);
    }
}

#[test]
fn after_three_failed_publishes_the_gate_is_unhealthy_until_it_is_restarted() {
    let mut local = gate(Dialect::Local, GateOptions::default());
    fail_with(&local, &["bus-failure,next=3"]);
    for number in 1..=3 {
        assert_eq!(push(&local, number).unwrap().1["decision"], "QUARANTINE");
    }
    let unhealthy = Some((400, json!({"error": "IG_UNHEALTHY"})));
    assert_eq!(push(&local, 4), unhealthy);
    let health = ask(&local, "GET /v1/ops/health", "").unwrap().1;
    assert_eq!(health["state"], "RED");
    local.die();
    local.bring_up().unwrap();
    assert_eq!(push(&local, 4).unwrap().1["decision"], "ADMIT");
    fail_with(&local, &["unhealthy,until-restart,next=1"]);
    assert_eq!(push(&local, 5), unhealthy);
    assert_eq!(push(&local, 5), unhealthy);
    assert!(ask(&local, "POST /control", r#"{"restart": true}"#).is_some());
    assert_eq!(push(&local, 5).unwrap().1["decision"], "ADMIT");

    let managed = gate(Dialect::Managed, GateOptions::default());
    fail_with(&managed, &["unhealthy"]);
    let (status, answer) = push(&managed, 1).unwrap();
    assert_eq!(
        (status, &answer["error"]),
        (503, &json!("ingress_publish_failed"))
    );
    assert!(
        answer["reason"]
            .as_str()
            .unwrap()
            .starts_with("IG_UNHEALTHY")
    );
    assert_eq!(
        ask(&managed, "GET /v1/ops/health", "").unwrap().1["status"],
        "ok"
    );
}

#[test]
fn an_event_can_be_looked_up_at_the_local_gate_alone() {
    let local = gate(Dialect::Local, GateOptions::default());
    fail_with(&local, &["quarantine:SCHEMA_FAIL,next=1"]);
    push(&local, 1).unwrap();
    push(&local, 2).unwrap();
    let look_up = |gate: &StandInGate, number: u64| {
        ask(
            gate,
            &format!("GET /v1/ops/lookup?event_id={number:064x}"),
            "",
        )
        .unwrap()
    };
    let (status, found) = look_up(&local, 1);
    assert_eq!((status, &found["decision"]), (200, &json!("QUARANTINE")));
    assert_eq!(found["state"], json!({"quarantined": "SCHEMA_FAIL"}));
    assert_eq!(look_up(&local, 2).1["decision"], "ADMIT");
    assert_eq!(look_up(&local, 3).1, Value::Null);
    let managed = gate(Dialect::Managed, GateOptions::default());
    assert_eq!(look_up(&managed, 1).0, 404);
}

#[test]
fn payloads_are_judged_by_the_schema_policy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let policy = r#"policies: [{event_type: flow, payload_schema_ref: "flow.yaml#/flow"}]"#;
    std::fs::write(&path, policy).unwrap();
    let schema = "flow: {type: object, properties: {flow_id: {maximum: 1}}}";
    std::fs::write(folder.path().join("flow.yaml"), schema).unwrap();
    let options = || GateOptions {
        schema_policy: Some(path.clone()),
        ..GateOptions::default()
    };
    let local = gate(Dialect::Local, options());
    assert_eq!(push(&local, 1).unwrap().1["decision"], "ADMIT");
    let (_, bad) = push(&local, 2).unwrap();
    assert_eq!(bad["receipt"]["reason_codes"], json!(["SCHEMA_FAIL"]));
    assert_eq!(local.stats().quarantined, 1);
    let bare = StandInGate::start(options()).unwrap_err();
    assert_eq!(bare.code().as_str(), "SANDBOX_OPTIONS_INVALID");
}

#[test]
fn a_gate_without_a_dialect_has_none_of_its_states() {
    let bare = StandInGate::start(GateOptions::default()).unwrap();
    let rules = vec!["bus-failure".parse().unwrap()];
    let error = bare.set_faults(rules).unwrap_err();
    assert_eq!(error.code().as_str(), "SANDBOX_FAULT_INVALID");
    assert_eq!(ask(&bare, "GET /v1/ops/health", "").unwrap().0, 404);
}
