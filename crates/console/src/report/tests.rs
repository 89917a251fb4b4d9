//! The document as a browser and a person read it.

use serde_json::{Value, json};
use wsp::StreamReport;

use super::report_html;

/// A report of a paced run of two outputs, as `stream` wrote it.
fn written() -> Value {
    serde_json::from_str(include_str!("../../tests/data/report.json")).unwrap()
}

fn html_of(report: &Value) -> String {
    report_html(&StreamReport::read(report.to_string().as_bytes()).unwrap())
}

/// The value that the script of a document reads.
fn data_of(html: &str) -> Value {
    let data = html.split("id=\"plots\">").nth(1).unwrap();
    serde_json::from_str(data.split("</script>").next().unwrap()).unwrap()
}

#[test]
fn a_text_of_the_run_never_becomes_markup_or_ends_the_data() {
    const EVIL: &str = "</script><script>alert(1)</script><!--\u{2028}\"'&";
    let mut report = written();
    report["per_output"][0]["output_id"] = EVIL.into();
    report["timeline"]["outputs"][0]["output_id"] = EVIL.into();
    report["detail"] = EVIL.into();
    report["engine_run_root"] = EVIL.into();
    report["outages"]["ingestion_gate"] = json!({"times": 1, "seconds": 2, "last_cause": EVIL});
    let html = html_of(&report);
    assert!(!html.contains("<script>alert"), "it became an element");
    assert_eq!(html.matches("<script").count(), 3, "data, uPlot, ours");
    assert_eq!(html.matches("</script>").count(), 3);
    let shown =
        "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;!--\u{2028}&quot;&#39;&amp;";
    assert_eq!(html.matches(shown).count(), 4, "each is shown as text");
    let plots = data_of(&html)["plots"].clone();
    let lines = plots
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|plot| plot["lines"].as_array().unwrap());
    assert!(lines.clone().any(|line| line["name"] == EVIL), "{plots}");
}

#[test]
fn the_document_loads_nothing_and_is_small() {
    let html = html_of(&written());
    assert!(html.len() <= 300 << 10, "{} bytes", html.len());
    for outside in ["src=", "href=", "url(", "@import", "http://", "fetch("] {
        // uPlot's licence comment names its page.
        let found = html.matches(outside).count();
        let allowed = usize::from(outside == "http://") * html.matches("http://localhost").count();
        assert!(found <= allowed, "{outside} occurs {found} times");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn the_largest_timeline_keeps_the_document_small() {
    let mut report = written();
    let timeline = report["timeline"].as_object_mut().unwrap();
    timeline["buckets"] = 512.into();
    for name in [
        "acknowledged",
        "duplicates",
        "gate_quarantined",
        "refused",
        "quarantined",
        "saves",
        "save_retries",
    ] {
        timeline[name] = vec![12_345; 512].into();
    }
    for name in ["permits_in_use", "permits_allowed", "buffered"] {
        timeline[name] = vec![31.25; 512].into();
    }
    for name in ["lateness_send_ms", "lateness_ack_ms"] {
        timeline[name] =
            json!({"p50": vec![1.25; 512], "p99": vec![12.5; 512], "max": vec![125.5; 512]});
    }
    timeline["retries"] = json!({"http_503": vec![1; 512]});
    timeline["outputs"] = (0..8)
        .map(|output| json!({"output_id": format!("output_{output}"), "acknowledged": vec![1_000; 512]}))
        .collect();
    let html = html_of(&report);
    let data = data_of(&html).to_string().len();
    assert!(html.len() - data <= 300 << 10);
    // No more rows over time than a page has room for.
    let table = html.split("<h2>Over time</h2>").nth(1).unwrap();
    assert!(table.matches("<tr>").count() <= 25);
}

#[test]
fn the_header_says_whether_the_run_was_whole_on_time_and_undisturbed() {
    let words = |report: &Value| {
        let html = html_of(report);
        let header = html
            .split("<header>")
            .nth(1)
            .unwrap()
            .split("</header>")
            .next()
            .unwrap();
        let words = header.split("<strong>").skip(1);
        let words: Vec<String> = words
            .map(|rest| rest.split('<').next().unwrap().to_owned())
            .collect();
        words.join(", ")
    };
    let mut report = written();
    report["lateness_ms"]["send"] =
        json!({"p50": 0.1, "p90": 0.2, "p99": 0.5, "p999": 0.9, "max": 1.0});
    assert_eq!(words(&report), "Whole, On time, Undisturbed");
    report["lateness_ms"]["send"]["p99"] = 100.01.into();
    report["retries"]["http_503"] = 2.into();
    report["reason"] = "MAX_EVENTS".into();
    assert_eq!(words(&report), "Bounded, Late, Disturbed");
    report["status"] = "STOPPED".into();
    report["lateness_ms"]["send"] = Value::Null;
    report["thresholds"] =
        json!([{"kind": "fail_if", "condition": "retries > 0", "value": 2.0, "verdict": "failed"}]);
    assert_eq!(
        words(&report),
        "Not whole, Unpaced, Disturbed, Threshold broken"
    );
}

#[test]
fn a_run_that_failed_before_its_first_event_has_tables_and_no_script() {
    let mut report = written();
    report["status"] = "FAILED".into();
    report["reason"] = "GATE_PASS_MISSING".into();
    report["timeline"] = Value::Null;
    report["per_output"] = json!([]);
    let html = html_of(&report);
    assert!(!html.contains("<script"));
    assert!(html.contains("GATE_PASS_MISSING") && html.contains("<h2>Events</h2>"));
}

#[test]
fn every_acknowledged_event_is_in_the_distribution() {
    let report = written();
    let plots = data_of(&html_of(&report))["plots"].clone();
    let mut plots = plots.as_array().unwrap().iter();
    let distribution = plots
        .find(|plot| plot["title"] == "Lateness distribution")
        .unwrap();
    for line in distribution["lines"].as_array().unwrap() {
        let values = line["values"].as_array().unwrap().iter();
        let sum: f64 = values.map(|value| value.as_f64().unwrap()).sum();
        assert!(
            (sum - report["emitted"].as_f64().unwrap()).abs() < 0.5,
            "{line}"
        );
    }
}
