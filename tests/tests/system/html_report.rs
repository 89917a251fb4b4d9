//! The report as an HTML file: of a run, and of a report that was kept.

use sandbox::{GateOptions, WorldOptions};
use system_tests::{Rig, run_in};

#[test]
fn a_run_writes_the_page_that_its_report_makes() {
    let rig = Rig::new(
        &WorldOptions::sample().with_shape(1, 60),
        GateOptions::default(),
        &[],
    );
    let folder = rig.folder.path();
    let ran = rig.stream(&["--speedup", "36000", "--report-html", "report.html"]);
    ran.expect(0, "");
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    for text in [
        "<strong>Whole</strong>",
        "s3_event_stream_with_fraud_6B",
        "id=\"plots\"",
        "uPlot",
    ] {
        assert!(page.contains(text), "{text}");
    }
    std::fs::write(folder.join("kept.json"), ran.report.to_string()).unwrap();
    let again = run_in(folder, &["report", "html", "kept.json"]);
    again.expect(0, "");
    assert_eq!(again.report["bytes"].as_u64().unwrap(), page.len() as u64);
    assert_eq!(
        std::fs::read_to_string(folder.join("kept.html")).unwrap(),
        page
    );
    let unwritable = rig.stream(&["--report-html", "no/such/folder/report.html"]);
    assert_eq!(
        unwritable.status, 1,
        "a report that is not written is no success"
    );
    assert!(
        unwritable.stderr.contains("REPORT_UNWRITABLE"),
        "{}",
        unwritable.stderr
    );
}

#[test]
fn a_damaged_report_is_refused_with_line_and_field_and_nothing_is_written() {
    let rig = Rig::new(
        &WorldOptions::sample().with_shape(1, 20),
        GateOptions::default(),
        &[],
    );
    let folder = rig.folder.path();
    let report = rig.stream(&["--speedup", "0"]).report;
    let mut wrong = report.clone();
    wrong["per_output"][1]["acknowledged"] = "many".into();
    let pretty = serde_json::to_string_pretty(&wrong).unwrap();
    let line = pretty
        .lines()
        .position(|line| line.contains("\"many\""))
        .unwrap()
        + 1;
    std::fs::write(folder.join("wrong.json"), pretty).unwrap();
    let refused = run_in(folder, &["report", "html", "wrong.json"]);
    refused.expect(1, "REPORT_DAMAGED");
    let detail = refused.report["detail"].as_str().unwrap();
    assert!(
        detail.contains(&format!("line {line},")) && detail.contains("per_output[1]"),
        "{detail}"
    );
    for (name, text) in [
        ("cut.json", &report.to_string()[..200]),
        ("none.json", ""),
        ("list.json", "[]"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
        run_in(folder, &["report", "html", name]).expect(1, "REPORT_DAMAGED");
    }
    run_in(folder, &["report", "html", "missing.json"]).expect(1, "REPORT_UNREADABLE");
    std::fs::write(folder.join("same.html"), report.to_string()).unwrap();
    run_in(folder, &["report", "html", "same.html"]).expect(2, "REPORT_UNWRITABLE");
    let pages = std::fs::read_dir(folder).unwrap().filter(|file| {
        let name = file.as_ref().unwrap().file_name().into_string().unwrap();
        name.contains(".html") && name != "same.html"
    });
    assert_eq!(pages.count(), 0);
}
