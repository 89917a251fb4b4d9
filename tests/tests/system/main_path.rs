//! The main job: stream a world, stop, resume, report. Each test runs on local disk and
//! on a real S3 server.

use std::time::Duration;

use sandbox::{Fault, FaultRule, GateOptions, OrderCheck, WorldOptions};
use system_tests::{Ground, Rig, signal};

system_tests::on_each_ground!(
    a_world_is_streamed_whole_and_the_report_says_so,
    a_second_run_has_nothing_left_to_do,
    bounded_runs_add_up_to_the_whole_world,
    a_dry_run_sends_nothing_and_writes_nothing,
    a_signal_drains_saves_and_says_stopped,
    a_gate_that_stumbles_loses_nothing,
    events_of_one_key_reach_the_gate_in_order,
    the_audit_tells_the_story_of_the_run,
    deleting_the_runs_root_changes_nothing_that_is_read,
    nothing_is_written_under_the_engine_run_root,
    two_producers_never_stream_the_same_cursors,
);

fn a_world_is_streamed_whole_and_the_report_says_so(ground: Ground) {
    let rig = Rig::sample_on(ground);
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    let report = &ran.report;
    assert_eq!(report["status"], "STREAMED");
    assert_eq!(report["emitted"], rig.rows());
    assert_eq!(report["decisions"]["admit"], rig.rows());
    assert_eq!(report["per_output"].as_array().unwrap().len(), 5);
    for output in report["per_output"].as_array().unwrap() {
        assert_eq!(output["read"], output["acknowledged"]);
        assert_eq!(output["in_flight"], 0);
        assert!(output["cursor"]["last_file"].is_string(), "{output}");
    }
    let stats = rig.gate.stats();
    assert_eq!(
        (stats.unique, stats.duplicates, stats.invalid),
        (rig.rows(), 0, 0)
    );
}

fn a_second_run_has_nothing_left_to_do(ground: Ground) {
    let rig = Rig::sample_on(ground);
    rig.stream(&[]).expect(0, "");
    let again = rig.stream(&[]);
    again.expect(0, "");
    assert_eq!(again.report["emitted"], 0);
    assert_eq!(rig.gate.stats().posts, rig.rows());
}

fn bounded_runs_add_up_to_the_whole_world(ground: Ground) {
    for order in ["as_written", "event_time"] {
        let mut rig = Rig::sample_on(ground);
        rig.set(&[("policy.stream_order", order)]);
        let bound = rig.rows() / 3 + 7;
        let mut emitted = 0;
        for _ in 0..2 {
            let ran = rig.stream(&["--max-events", &bound.to_string()]);
            ran.expect(0, "MAX_EVENTS");
            assert_eq!(ran.report["emitted"], bound);
            emitted += bound;
        }
        let last = rig.stream(&[]);
        last.expect(0, "");
        assert_eq!(last.report["emitted"], rig.rows() - emitted, "{order}");
        let stats = rig.gate.stats();
        assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0), "{order}");
    }
}

fn a_dry_run_sends_nothing_and_writes_nothing(ground: Ground) {
    let rig = Rig::sample_on(ground);
    let ran = rig.stream(&["--dry-run"]);
    ran.expect(0, "");
    assert_eq!(ran.report["status"], "PLANNED");
    assert_eq!(ran.report["rows"], rig.rows());
    assert_eq!(rig.gate.stats().connections, 0);
    assert!(!rig.world.runs_root().exists());
    assert_eq!(
        rig.run(&["plan"], &[]).report["outputs"],
        ran.report["outputs"]
    );
}

fn a_signal_drains_saves_and_says_stopped(ground: Ground) {
    let mut rig = Rig::sample_on(ground);
    rig.set(&[("policy.stream_speedup", "120")]);
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(50);
    signal(&child, "TERM");
    let ran = Rig::finish(child);
    ran.expect(3, "STOPPED");
    let emitted = ran.report["emitted"].as_u64().unwrap();
    assert!(emitted >= 50 && emitted < rig.rows());
    rig.set(&[]);
    rig.stream_the_rest(&ran, 0, &[]);
}

fn a_gate_that_stumbles_loses_nothing(ground: Ground) {
    let mut rig = Rig::sample_on(ground);
    rig.set(&[
        ("wiring.wsp_retry.base_delay_ms", "1"),
        ("wiring.wsp_retry.max_delay_ms", "20"),
    ]);
    let rules = vec![
        FaultRule::with_probability(0.02, internal_error()),
        FaultRule::with_probability(0.02, Fault::DropBeforeReading),
        FaultRule::with_probability(0.02, Fault::DropAfterStoring),
        FaultRule::with_probability(0.02, Fault::TruncateAnswer),
    ];
    rig.gate.set_faults(rules).unwrap();
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
    let retries: u64 = ran.report["retries"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(serde_json::Value::as_u64)
        .sum();
    assert!(retries > 0, "{}", ran.report);
}

fn events_of_one_key_reach_the_gate_in_order(ground: Ground) {
    let options = WorldOptions::sample();
    let folder = tempfile::tempdir().unwrap();
    let columns = options.build(folder.path()).unwrap().ordering_columns();
    let gate = GateOptions {
        order: OrderCheck::PerKey(columns),
        ..GateOptions::default()
    };
    let rig = Rig::on(
        ground,
        &options,
        gate,
        &[("policy.stream_order", "event_time")],
    );
    rig.stream(&[]).expect(0, "");
    assert_eq!(rig.gate.stats().order_violations, 0);
}

fn the_audit_tells_the_story_of_the_run(ground: Ground) {
    let rig = Rig::sample_on(ground);
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    let run = ran.report["platform_run_id"].as_str().unwrap();
    let log =
        std::fs::read_to_string(rig.world.runs_root().join(run).join("session.jsonl")).unwrap();
    let kinds: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|record| record["event_kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds[..2], ["engine_world_selected", "stream_start"]);
    assert!(kinds.iter().any(|kind| kind == "checkpoint_saved"));
    assert_eq!(
        kinds[kinds.len() - 2..],
        ["engine_world_streamed", "stream_complete"]
    );
}

fn deleting_the_runs_root_changes_nothing_that_is_read(ground: Ground) {
    let rig = Rig::sample_on(ground);
    let digest = |ran: system_tests::Ran| ran.report["stream_digest"].as_str().unwrap().to_owned();
    let first = digest(rig.stream(&[]));
    std::fs::remove_dir_all(rig.world.runs_root()).unwrap();
    assert_eq!(digest(rig.stream(&[])), first);
}

fn nothing_is_written_under_the_engine_run_root(ground: Ground) {
    let rig = Rig::sample_on(ground);
    let before = listing(rig.world.engine_run_root());
    rig.stream(&[]).expect(0, "");
    rig.run(&["verify"], &[]);
    rig.run(&["plan"], &[]).expect(0, "");
    assert_eq!(listing(rig.world.engine_run_root()), before);
    let requests = rig.bucket.map(|bucket| bucket.requests());
    for (_, request) in requests.into_iter().flatten() {
        assert!(
            ["GET", "HEAD"].contains(&request.method.as_str()),
            "{request:?}"
        );
    }
}

fn two_producers_never_stream_the_same_cursors(ground: Ground) {
    let mut rig = Rig::sample_on(ground);
    rig.set(&[
        ("policy.stream_speedup", "60"),
        ("wiring.wsp_checkpoint.lease_s", "3"),
    ]);
    let first = rig.start_stream(&[]);
    rig.wait_for_unique(5);
    rig.stream(&[]).expect(1, "LEASE_HELD");
    signal(&first, "TERM");
    Rig::finish(first).expect(3, "STOPPED");
}

fn listing(folder: &std::path::Path) -> Vec<(std::path::PathBuf, u64, Duration)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            found.extend(listing(&entry.path()));
        } else {
            let modified = meta
                .modified()
                .unwrap()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap();
            found.push((entry.path(), meta.len(), modified));
        }
    }
    found.sort();
    found
}

fn internal_error() -> Fault {
    Fault::Status {
        code: 500,
        retry_after: None,
        body: None,
        store: false,
    }
}
