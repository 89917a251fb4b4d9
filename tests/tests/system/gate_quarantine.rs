//! What the ingestion gate quarantines itself: visible in report, status and audit, and judged.

use std::collections::BTreeSet;

use sandbox::{Dialect, FaultRule, GateOptions, WorldOptions};
use serde_json::{Value, json};
use system_tests::{Ran, Rig};

const RUN: &str = "platform_20260128T090000Z";

fn rig(dialect: Dialect, keys: &[(&str, &str)]) -> Rig {
    let gate = GateOptions {
        dialect: Some(dialect),
        ..GateOptions::default()
    };
    let mut all = vec![("wiring.wsp_checkpoint.flush_every", "20")];
    all.extend(keys);
    Rig::new(&WorldOptions::sample().with_shape(1, 40), gate, &all)
}

fn quarantine(rig: &Rig, rule: &str) {
    let rule: FaultRule = rule.parse().unwrap();
    rig.gate.set_faults(vec![rule]).unwrap();
}

fn be_well(rig: &Rig) {
    rig.gate.set_faults(Vec::new()).unwrap();
}

fn stream(rig: &Rig, more: &[&str]) -> Ran {
    rig.stream(&[&["--platform-run-id", RUN], more].concat())
}

fn reset(rig: &Rig) {
    let reset = rig.run(
        &["checkpoint", "reset"],
        &["--platform-run-id", RUN, "--yes"],
    );
    assert_eq!(reset.status, 0, "{}", reset.report);
}

#[test]
fn counts_and_first_examples_are_in_report_and_audit() {
    for dialect in [Dialect::Local, Dialect::Managed] {
        let rig = rig(dialect, &[]);
        quarantine(&rig, "quarantine:SCHEMA_FAIL,share=0.2");
        let ran = stream(&rig, &[]);
        ran.expect(0, "");
        let told = &ran.report["gate_quarantined"];
        let events = told["events"].as_u64().unwrap();
        assert_eq!(ran.report["decisions"]["quarantine"], events);
        assert_eq!(rig.gate.stats().quarantined, events);
        let reasons = told["by_reason"].as_array().unwrap();
        let sum: u64 = reasons
            .iter()
            .map(|one| one["events"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, events);
        for reason in reasons {
            assert_eq!(reason["reason_code"], "SCHEMA_FAIL");
            assert_eq!(reason["event_type"], reason["output_id"]);
            let first = &reason["first"][0];
            assert_eq!(first["event_id"].as_str().unwrap().len(), 64);
            assert!(
                first["receipt_ref"]
                    .as_str()
                    .unwrap()
                    .contains("/ig/receipts/")
            );
            assert!(reason["first"].as_array().unwrap().len() <= 3);
        }
        let of_outputs = ran.report["per_output"].as_array().unwrap();
        let of_outputs = of_outputs
            .iter()
            .map(|output| &output["decisions"]["quarantine"]);
        assert_eq!(of_outputs.map(|n| n.as_u64().unwrap()).sum::<u64>(), events);
        let audit = rig.audit();
        let lines = audit
            .iter()
            .filter(|line| line["event_kind"] == "gate_quarantined");
        let lines: Vec<_> = lines.map(|line| &line["details"]).collect();
        let told: u64 = lines
            .iter()
            .map(|line| line["events"].as_u64().unwrap())
            .sum();
        assert_eq!(told, events);
        assert!(lines.len() <= 4 * reasons.len(), "{} lines", lines.len());
        let list = rig
            .runs_root()
            .join(RUN)
            .join("wsp/gate_quarantined.ndjson");
        assert_eq!(
            std::fs::read_to_string(list).unwrap().lines().count() as u64,
            events
        );
    }
}

#[test]
fn with_stop_the_cursor_stays_before_the_event() {
    let rig = rig(
        Dialect::Managed,
        &[("wiring.wsp_push.on_gate_quarantine", "stop")],
    );
    quarantine(&rig, "quarantine:SCHEMA_FAIL,skip=60,next=1");
    let ran = stream(&rig, &[]);
    ran.expect(1, "GATE_QUARANTINED");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(
        detail.contains("SCHEMA_FAIL") && detail.contains("/ig/receipts/"),
        "{detail}"
    );
    be_well(&rig);
    stream(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn the_limit_counts_different_events_of_the_platform_run() {
    // One lane: the same posts are of the same events.
    let keys = [
        ("wiring.wsp_push.max_gate_quarantined", "12"),
        ("wiring.wsp_push.lanes", "1"),
    ];
    let rig = rig(Dialect::Local, &keys);
    quarantine(&rig, "quarantine:SCHEMA_FAIL,skip=20,next=9");
    stream(&rig, &[]).expect(0, "");
    // The same events again: they count once.
    reset(&rig);
    quarantine(&rig, "quarantine:SCHEMA_FAIL,skip=20,next=9");
    let again = stream(&rig, &["--max-events", "60"]);
    assert_ne!(again.reason(), "GATE_QUARANTINE_LIMIT", "{}", again.report);
    quarantine(&rig, "quarantine:OTHER_REASON,next=100");
    let ran = stream(&rig, &[]);
    ran.expect(1, "GATE_QUARANTINE_LIMIT");
    let posts = rig.gate.stats().posts;
    stream(&rig, &[]).expect(1, "GATE_QUARANTINE_LIMIT");
    assert_eq!(
        rig.gate.stats().posts,
        posts,
        "refused before the first push"
    );
}

#[test]
fn a_run_whose_events_were_all_quarantined_is_not_green_and_stays_so() {
    let rig = rig(Dialect::Managed, &[]);
    quarantine(&rig, "quarantine:SCHEMA_FAIL");
    let ran = stream(&rig, &[]);
    ran.expect(1, "GATE_QUARANTINED_ALL");
    assert!(
        ran.report["detail"]
            .as_str()
            .unwrap()
            .contains("SCHEMA_FAIL")
    );
    let again = stream(&rig, &[]);
    again.expect(1, "GATE_QUARANTINED_ALL");
    assert_eq!(again.report["emitted"], 0);
    // The gate is mended: a reset forgets, and what comes then is admitted.
    be_well(&rig);
    reset(&rig);
    stream(&rig, &[]).expect(0, "");
    stream(&rig, &[]).expect(0, "");
}

#[test]
fn an_admit_takes_the_verdict_back() {
    let rig = rig(Dialect::Local, &[]);
    quarantine(&rig, "quarantine:SCHEMA_FAIL");
    stream(&rig, &["--max-events", "50"]).expect(1, "GATE_QUARANTINED_ALL");
    be_well(&rig);
    stream(&rig, &[]).expect(0, "");
    stream(&rig, &[]).expect(0, "");
}

#[test]
fn the_first_thousand_end_a_longer_stream() {
    let gate = GateOptions {
        dialect: Some(Dialect::Local),
        ..GateOptions::default()
    };
    let rig = Rig::new(&WorldOptions::sample(), gate, &[]);
    quarantine(&rig, "quarantine:SCHEMA_FAIL");
    let ran = stream(&rig, &[]);
    ran.expect(1, "GATE_QUARANTINED_ALL");
    let emitted = ran.report["emitted"].as_u64().unwrap();
    assert!((1_000..rig.rows()).contains(&emitted), "{emitted}");
}

#[test]
fn a_run_whose_answers_were_all_duplicate_says_so() {
    let rig = rig(Dialect::Local, &[]);
    let first = stream(&rig, &[]);
    assert_eq!(first.report["all_duplicates"], false);
    reset(&rig);
    let again = stream(&rig, &[]);
    again.expect(0, "");
    assert_eq!(again.report["all_duplicates"], true);
    assert!(
        again.report["detail"]
            .as_str()
            .unwrap()
            .contains("DUPLICATE")
    );
}

#[test]
fn each_acknowledged_event_has_a_line_with_its_receipt() {
    for dialect in [Dialect::Local, Dialect::Managed] {
        let rig = rig(dialect, &[]);
        quarantine(&rig, "quarantine:SCHEMA_FAIL,skip=10,next=5");
        let file = rig.folder.path().join("receipts.ndjson");
        let name = file.to_str().unwrap();
        stream(&rig, &["--receipts", name, "--max-events", "70"]).expect(0, "MAX_EVENTS");
        stream(&rig, &["--receipts", name]).expect(0, "");
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let ids: BTreeSet<_> = lines
            .iter()
            .map(|line| line["event_id"].to_string())
            .collect();
        assert_eq!(
            (lines.len() as u64, ids.len() as u64),
            (rig.rows(), rig.rows())
        );
        let of = |decision: &str| {
            let lines = lines
                .iter()
                .filter(move |line| line["decision"] == decision);
            lines.cloned().collect::<Vec<_>>()
        };
        assert_eq!(of("QUARANTINE").len(), 5);
        assert_eq!(of("QUARANTINE")[0]["reason_codes"], json!(["SCHEMA_FAIL"]));
        let offsets: BTreeSet<_> = of("ADMIT")
            .iter()
            .map(|line| line["bus"]["offset"].to_string())
            .collect();
        assert_eq!(offsets.len() as u64, rig.rows() - 5);
        assert!(
            of("ADMIT")
                .iter()
                .all(|line| line["receipt_ref"].is_string())
        );
    }
}

#[test]
fn receipts_that_cannot_be_written_end_the_run_and_nothing_passes() {
    let rig = rig(Dialect::Local, &[]);
    let nowhere = rig.folder.path().join("no/such/folder/receipts");
    let ran = stream(&rig, &["--receipts", nowhere.to_str().unwrap()]);
    ran.expect(1, "RECEIPTS_UNWRITABLE");
    assert_eq!(rig.gate.stats().posts, 0);
    let full = stream(&rig, &["--receipts", "/dev/full"]);
    full.expect(1, "RECEIPTS_UNWRITABLE");
    for output in full.report["per_output"].as_array().unwrap() {
        assert!(output["cursor"].is_null(), "{output}");
    }
    let inside = rig.world.engine_run_root().join("receipts");
    let ran = stream(&rig, &["--receipts", inside.to_str().unwrap()]);
    ran.expect(2, "PROFILE_INVALID");
}
