//! The report of a run: its schema, its type and its page say the same; and what it says is so.

use std::collections::BTreeSet;
use std::path::Path;

use sandbox::{GateOptions, WorldOptions};
use serde_json::{Value, json};
use system_tests::Rig;
use wsp::StreamReport;

fn schema() -> Value {
    serde_yaml::from_str(wsp::schema::STREAM_REPORT_SCHEMA).unwrap()
}

fn page(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(name)).unwrap()
}

/// The paths of all fields of a schema.
fn fields_of(schema: &Value, at: &Value, path: &str, fields: &mut BTreeSet<String>) {
    if let Some(name) = at["$ref"].as_str() {
        let definition = name.strip_prefix("#").unwrap();
        return fields_of(schema, schema.pointer(definition).unwrap(), path, fields);
    }
    for one in at["anyOf"].as_array().into_iter().flatten() {
        fields_of(schema, one, path, fields);
    }
    if at["items"].is_object() {
        fields_of(schema, &at["items"], &format!("{path}[]"), fields);
    }
    for (name, field) in at["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        fields.insert(path.clone());
        fields_of(schema, field, &path, fields);
    }
}

/// The paths of all fields of a value.
fn fields_in(value: &Value, path: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                fields.insert(path.clone());
                fields_in(value, &path, fields);
            }
        }
        Value::Array(items) => {
            for item in items {
                fields_in(item, &format!("{path}[]"), fields);
            }
        }
        _ => {}
    }
}

/// A report in which no field is absent, empty or null.
fn full() -> Value {
    let percentiles = json!({"p50": 1.0, "p90": 1.0, "p99": 1.0, "p999": 1.0, "max": 1.0});
    let columns = json!({"p50": [1.0], "p99": [null], "max": [2.5]});
    let retries = [
        "connection_lost",
        "gate_unhealthy",
        "http_408",
        "http_429",
        "http_503",
        "http_5xx",
        "in_doubt",
        "not_connected",
        "timeout",
    ];
    let counts: Value = retries
        .iter()
        .map(|name| ((*name).to_owned(), json!(1)))
        .collect();
    let lists: Value = retries
        .iter()
        .map(|name| ((*name).to_owned(), json!([1])))
        .collect();
    let decisions = json!({"admit": 1, "duplicate": 0, "quarantine": 0});
    let outage = json!({"times": 1, "seconds": 2, "last_cause": "away"});
    let log = log_of_a_run();
    let tally = json!({"events": 1, "ids_sum": "d".repeat(64)});
    let done = json!({"acknowledged": tally, "quarantined": tally});
    json!({
        "format_version": 2, "version": "0.1.0", "commit": "0123456789ab", "host": "h",
        "profile_digest": "a".repeat(64), "shard": {
            "index": 0, "count": 2, "by": "key", "generation": 1,
            "before": [{"output_id": "o", "done": done}],
            "clock_skew": {"ahead_ms": -0.5, "within_ms": 0.25}, "rate_part": 0.5,
        },
        "started_at_utc": "2026-01-28T09:00:00.000Z", "ended_at_utc": "2026-01-28T09:00:01.000Z",
        "status": "FAILED", "reason": "THRESHOLD_ABORTED", "detail": "d",
        "engine_run_root": "r", "scenario_id": "s", "output_ids": ["o"],
        "pack_key": "b".repeat(64), "platform_run_id": "platform_20260128T090000Z",
        "posture": "local",
        "gates": {"clearance": "cleared",
            "receipts": [{"gate_id": "g", "status": "PASS", "mode": "digest"}]},
        "data_verified": "size", "order": "event_time",
        "emitted": 1, "unanswered": 0, "refused": 1,
        "quarantine": {"place": "q", "events": 1, "waiting": 1},
        "decisions": decisions,
        "gate_quarantined": {"events": 1, "place": "p", "by_reason": [{
            "output_id": "o", "event_type": "o", "reason_code": "R", "events": 1,
            "first": [{"event_id": "e", "receipt_ref": "x", "file": "f", "row": 1}]}]},
        "all_duplicates": false, "retries": counts,
        "per_output": [{
            "output_id": "o", "role": "business_traffic", "stream_source": "view",
            "view": {"stream_view_id": "c".repeat(64), "files": ["f"], "rows": 1},
            "read": 1, "buffered": 0, "in_flight": 0, "acknowledged": 1, "quarantined": 0,
            "decisions": decisions,
            "cursor": {"last_file": "f", "last_part": "p", "last_row_index": 1,
                "last_ts_utc": "2026-01-28T09:00:00.000000Z", "done": done}}],
        "first_ts_utc": "2026-01-28T09:00:00.000000Z", "last_ts_utc": "2026-01-28T09:00:00.000000Z",
        "wall_seconds": 1.5, "events_per_second": 1.5,
        "schedule": {"rate": [{"offset_s": 0.0, "rate": 1.0, "ramp_to": 2.0},
                {"offset_s": 1.0, "rate": 1.0}],
            "wall_origin_utc": "2026-01-28T09:00:00.000000001Z",
            "time_origin_utc": "2026-01-28T09:00:00.000000Z",
            "last_due_s": 1.5, "last_handed_over_s": 1.5},
        "lateness_ms": {"send": percentiles, "ack": percentiles},
        "lateness_logs": {"send": log, "ack": log},
        "timeline": {
            "began_at_utc": "2026-01-28T09:00:00.000Z", "width_ms": 250, "buckets": 1,
            "acknowledged": [1], "duplicates": [0], "gate_quarantined": [0], "refused": [0],
            "quarantined": [0], "retries": lists, "saves": [1], "save_retries": [0],
            "permits_in_use": [0.5], "permits_allowed": [null], "buffered": [1.0],
            "lateness_send_ms": columns, "lateness_ack_ms": columns,
            "outputs": [{"output_id": "o", "acknowledged": [1]}], "other_outputs": [1]},
        "thresholds": [{"kind": "abort_if", "condition": "retries > 0", "value": 1.5,
            "verdict": "aborted"}],
        "checkpoints": {"saves": 1, "retried": 1},
        "outages": {"ingestion_gate": outage, "checkpoint_store": outage},
        "stream_digest": "d".repeat(64),
    })
}

/// A histogram of one event, as a report has it.
fn log_of_a_run() -> String {
    let mut histogram = wsp::replay::HdrLog::histogram();
    histogram.saturating_record(1_000);
    wsp::replay::HdrLog::of(&histogram)
        .unwrap()
        .as_str()
        .to_owned()
}

/// Whether a row of the page is of the table of figures, which says what each is a figure of.
fn is_row_of_figure(row: &str) -> bool {
    ["| run, stretch |", "| run |", "| stretch |"]
        .iter()
        .any(|of| row.contains(of))
}

#[test]
fn schema_type_and_page_know_the_same_fields() {
    let (schema, full) = (schema(), full());
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator.validate(&full).unwrap();
    let mut of_schema = BTreeSet::new();
    fields_of(&schema, &schema, "", &mut of_schema);
    let mut of_sample = BTreeSet::new();
    fields_in(&full, "", &mut of_sample);
    // A pace is one of two.
    of_sample.insert("schedule.speedup".to_owned());
    assert_eq!(
        of_schema, of_sample,
        "the schema, and a report that has all"
    );
    let read = StreamReport::read(full.to_string().as_bytes()).unwrap();
    assert_eq!(
        serde_json::to_value(&read).unwrap(),
        full,
        "the type writes what it reads"
    );
    let text = page("docs/report.md");
    // The figures of thresholds have a table of their own, and some have the name of a field.
    let rows = text
        .lines()
        .filter(|line| !is_row_of_figure(line))
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let mut of_page: Vec<String> = rows.map(|(field, _)| field.to_owned()).collect();
    of_page.retain(|field| !field.contains('`'));
    let listed: BTreeSet<String> = of_page.iter().cloned().collect();
    assert_eq!(listed.len(), of_page.len(), "a field has one row");
    assert_eq!(of_schema, listed, "the schema, and the page");
}

#[test]
fn the_page_lists_every_figure_of_thresholds() {
    let text = page("docs/report.md");
    for (name, _) in wsp::profile::Figure::NAMED {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn a_damaged_report_is_refused_with_its_line_and_its_field() {
    let text = serde_json::to_string_pretty(&full()).unwrap();
    let refused = |text: &str| StreamReport::read(text.as_bytes()).unwrap_err();
    let line_of = |part: &str| text.lines().position(|line| line.contains(part)).unwrap() + 1;
    for (from, to, field) in [
        ("\"emitted\": 1", "\"emitted\": \"many\"", "emitted"),
        (
            "\"last_row_index\": 1",
            "\"last_row_index\": -1",
            "per_output[0].cursor.last_row_index",
        ),
        ("\"status\": \"FAILED\"", "\"status\": \"FINE\"", "status"),
        (
            "\"reason\": \"THRESHOLD_ABORTED\"",
            "\"reason\": \"BORED\"",
            "reason",
        ),
        (
            "\"emitted\": 1",
            "\"emitted\": 1, \"omitted\": 2",
            "omitted",
        ),
        (
            "\"width_ms\": 250",
            "\"width_ms\": 250, \"width_ms\": 1",
            "timeline",
        ),
        // Between two fields, no field is known.
        ("\"emitted\": 1,", "\"emitted\": 1", "?"),
    ] {
        let damaged = refused(&text.replacen(from, to, 1));
        let at = (damaged.field.as_str(), damaged.line);
        // What is missing is noticed at the next line.
        let line = line_of(from) + usize::from(field == "?");
        assert_eq!(at, (field, line), "{to}: {damaged}");
        let shown = damaged.to_string();
        assert!(
            shown.starts_with(&format!("line {line}, column ")),
            "{shown}"
        );
    }
    let cut_off = refused(&text[..text.len() / 2]);
    assert!(
        cut_off.line > 10 && cut_off.problem.contains("EOF"),
        "{cut_off}"
    );
    let missing = refused(&text.replacen("\"posture\"", "\"posters\"", 1));
    assert_eq!(missing.field, "posters");
    assert!(refused("[1]").to_string().contains("line 1"));
    let log = text.replacen("\"HISTFA", "\"HISTFB", 1);
    assert!(
        refused(&log).field.starts_with("lateness_logs"),
        "{}",
        refused(&log)
    );
}

#[test]
fn a_report_says_over_time_what_it_says_in_sum() {
    let gate = GateOptions {
        faults: vec!["status:503,p=0.05".parse().unwrap()],
        ..GateOptions::default()
    };
    let rig = Rig::new(&WorldOptions::sample().with_shape(1, 400), gate, &[]);
    let ran = rig.stream(&["--rate", "2000"]);
    ran.expect(0, "");
    let report = StreamReport::read(ran.report.to_string().as_bytes()).unwrap();
    let timeline = report.timeline.unwrap();
    assert!(
        timeline.buckets >= 3 && timeline.width_ms == 250,
        "{}",
        timeline.buckets
    );
    let sum = |column: &[u64]| column.iter().sum::<u64>();
    assert_eq!(sum(&timeline.acknowledged), report.emitted);
    assert_eq!(sum(&timeline.saves), report.checkpoints.saves);
    let busy = timeline.acknowledged.iter().filter(|events| **events > 0);
    assert!(busy.count() > 2, "{:?}", timeline.acknowledged);
    let retries = timeline
        .retries
        .values()
        .map(|column| sum(column))
        .sum::<u64>();
    assert_eq!(retries, report.retries.unwrap().total());
    assert!(retries > 0);
    for (column, output) in timeline.outputs.iter().zip(&report.per_output) {
        assert_eq!(column.output_id, output.output_id);
        assert_eq!(sum(&column.acknowledged), output.meters.acknowledged);
    }
    // The log is of every event, and its percentiles are those of the report.
    let mut all = wsp::replay::HdrLog::histogram();
    report.lateness_logs.ack.unwrap().add_to(&mut all).unwrap();
    assert_eq!(all.len(), report.emitted);
    assert_eq!(wsp::replay::Percentiles::of(&all), report.lateness_ms.ack);
    let latest = timeline.lateness_ack_ms.unwrap().max;
    let latest = latest.into_iter().flatten().fold(0.0, f64::max);
    assert!((latest - report.lateness_ms.ack.unwrap().max).abs() < 1e-6);
    let at = |text: Option<String>| text.unwrap().parse::<wsp::EventTime>().unwrap();
    assert!(at(report.started_at_utc) < at(report.ended_at_utc));
}

#[test]
fn a_refused_run_has_a_whole_report_too() {
    let rig = Rig::sample();
    let ran = rig.stream(&["--engine-run-root", "nowhere", "--fail-if", "retries > 0"]);
    assert_eq!((ran.status, &ran.report["status"]), (1, &json!("FAILED")));
    assert_eq!(ran.report["timeline"], Value::Null);
    assert_eq!(ran.report["thresholds"][0]["verdict"], "not_judged");
    let report = StreamReport::read(ran.report.to_string().as_bytes()).unwrap();
    assert!(report.profile_digest.is_some() && report.ended_at_utc.is_some());
}
