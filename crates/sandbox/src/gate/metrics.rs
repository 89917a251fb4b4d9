//! The gate's counts as Prometheus reads them, text format 0.0.4.

use std::fmt::Write as _;

use super::GateStats;

/// The content type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All counts of a gate.
pub(super) fn metrics(stats: &GateStats) -> String {
    let mut text = String::new();
    let results = [
        ("admitted", stats.admitted),
        ("duplicate", stats.duplicates),
        ("quarantined", stats.quarantined),
        ("invalid", stats.invalid),
        ("unauthorized", stats.unauthorized),
        ("faulted", stats.faulted),
        ("undecided", stats.undecided),
        ("unfinished", stats.unfinished),
    ];
    counter(
        &mut text,
        "posts",
        "Requests to the push endpoint whose head was read.",
    );
    one(&mut text, "posts", stats.posts);
    counter(&mut text, "results", "Posts by what became of them.");
    for (result, count) in results {
        labelled(&mut text, "results", ("result", result), count);
    }
    counter(
        &mut text,
        "answers",
        "Answers to posts by status; a dropped connection is 0.",
    );
    for (status, count) in &stats.statuses {
        labelled(
            &mut text,
            "answers",
            ("status", &status.to_string()),
            *count,
        );
    }
    counter(&mut text, "connections", "Connections accepted.");
    one(&mut text, "connections", stats.connections);
    counter(
        &mut text,
        "order_violations",
        "First-time events that came earlier in event time than their ordering key's last.",
    );
    one(&mut text, "order_violations", stats.order_violations);
    counter(
        &mut text,
        "faults",
        "Posts that each fault rule has struck.",
    );
    for (rule, count) in stats.faults_fired.iter().enumerate() {
        labelled(&mut text, "faults", ("rule", &rule.to_string()), *count);
    }
    head(
        &mut text,
        "stand_in_gate_stored_events",
        "Events stored.",
        "gauge",
    );
    let _ = writeln!(text, "stand_in_gate_stored_events {}", stats.unique);
    text
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn counter(text: &mut String, name: &str, help: &str) {
    head(
        text,
        &format!("stand_in_gate_{name}_total"),
        help,
        "counter",
    );
}

fn one(text: &mut String, name: &str, count: u64) {
    let _ = writeln!(text, "stand_in_gate_{name}_total {count}");
}

/// A count with a label, whose value has no character that would need an escape.
fn labelled(text: &mut String, name: &str, (label, value): (&str, &str), count: u64) {
    let _ = writeln!(
        text,
        "stand_in_gate_{name}_total{{{label}=\"{value}\"}} {count}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_has_a_line_and_each_name_its_help_and_type_once() {
        let stats = GateStats {
            posts: 7,
            admitted: 3,
            duplicates: 2,
            unique: 3,
            statuses: [(0, 1), (200, 5)].into(),
            faults_fired: vec![1, 0],
            ..GateStats::default()
        };
        let text = metrics(&stats);
        for line in [
            "stand_in_gate_posts_total 7",
            "stand_in_gate_results_total{result=\"admitted\"} 3",
            "stand_in_gate_answers_total{status=\"0\"} 1",
            "stand_in_gate_faults_total{rule=\"1\"} 0",
            "stand_in_gate_stored_events 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} of\n{text}");
        }
        let of = |kind: &str| text.lines().filter(|line| line.starts_with(kind)).count();
        assert_eq!((of("# HELP"), of("# TYPE")), (7, 7));
        assert!(text.ends_with('\n'));
    }
}
