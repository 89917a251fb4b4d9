//! Names of metrics are API: one table documents them, and dashboard and alerts use no other.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use system_tests::{Rig, signal};
use wsp::metrics::{ALL, Kind};

use crate::console::Consoled;
use crate::steering::rig;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The words of a text that look like metrics of ours.
fn named(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_word(c));
    let ours = words.filter(|word| word.starts_with("wsp_"));
    ours.map(str::to_owned).collect()
}

/// Every name that a query may use: of a histogram, its parts too.
fn known() -> BTreeSet<String> {
    let names = ALL.iter().flat_map(|metric| {
        let parts: &[&str] = match metric.kind {
            Kind::Histogram => &["", "_bucket", "_sum", "_count"],
            _ => &[""],
        };
        parts.iter().map(|part| format!("{}{part}", metric.name))
    });
    names.collect()
}

#[test]
fn the_page_of_metrics_is_the_table_in_the_code() {
    let page = std::fs::read_to_string(file("docs/metrics.md")).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `wsp_"))
        .collect();
    let expected = ALL.iter().map(|metric| {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let labels = if labels.is_empty() {
            "–".to_owned()
        } else {
            labels.join(", ")
        };
        let (name, kind, help) = (metric.name, metric.kind.as_str(), metric.help);
        format!("| `{name}` | {kind} | {labels} | {help} |")
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
    let labels: BTreeSet<&str> = ALL
        .iter()
        .flat_map(|metric| metric.labels)
        .copied()
        .collect();
    for label in labels {
        assert!(
            page.contains(&format!("| `{label}` |")),
            "{label} is not explained"
        );
    }
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let known = known();
    let dashboard = std::fs::read_to_string(file("deploy/grafana/wsp.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut used = BTreeSet::new();
    for panel in panels {
        assert!(
            panel["description"]
                .as_str()
                .is_some_and(|text| text.ends_with('.'))
        );
        for target in panel["targets"].as_array().unwrap() {
            used.extend(named(target["expr"].as_str().unwrap()));
        }
    }
    assert!(used.len() > 15, "{used:?}");
    for path in [
        "deploy/prometheus/rules.yaml",
        "deploy/prometheus/rules_test.yaml",
    ] {
        used.extend(named(&std::fs::read_to_string(file(path)).unwrap()));
    }
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Runs `promtool`, which the test script installs.
fn promtool(args: &[&str], input: &str) {
    let mut promtool = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: scripts/ensure-promtool installs it");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let ran = promtool.wait_with_output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ran.status.success(), "{args:?}: {said}\n{input}");
}

#[test]
fn promtool_finds_the_alerts_sound_and_they_fire_where_they_should() {
    for (act, name) in [("check", "rules.yaml"), ("test", "rules_test.yaml")] {
        let path = file("deploy/prometheus").join(name);
        promtool(&[act, "rules", path.to_str().unwrap()], "");
    }
}

#[test]
fn promtool_finds_the_metrics_of_a_running_stream_sound() {
    let rig = rig(&[("policy.stream_speedup", "60")]);
    let console = Consoled::start(&rig, &[]);
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(20);
    let text = loop {
        let answer = console.get("/metrics");
        if answer.text().contains("wsp_send_lateness_seconds_bucket") {
            break answer.text().to_owned();
        }
    };
    promtool(&["check", "metrics"], &text);
    signal(&child, "TERM");
    Rig::finish(child).expect(3, "STOPPED");
}
