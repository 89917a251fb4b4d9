//! Thresholds: a run that holds, one that has failed, one that is ended; pauses, precedence, and
//! what is refused before the start.

use std::process::Child;
use std::time::{Duration, Instant};

use sandbox::{GateOptions, WorldOptions};
use serde_json::{Value, json};
use system_tests::{Ran, Rig};

const PATIENCE: Duration = Duration::from_mins(1);

/// 2,000 events over an hour of event time, and a gate with these faults.
fn rig(faults: &[&str], keys: &[(&str, &str)]) -> Rig {
    let gate = GateOptions {
        faults: faults.iter().map(|rule| rule.parse().unwrap()).collect(),
        ..GateOptions::default()
    };
    Rig::new(&WorldOptions::sample().with_shape(1, 400), gate, keys)
}

fn threshold(ran: &Ran, index: usize) -> (&str, &str, &Value) {
    let one = &ran.report["thresholds"][index];
    let text = |field: &str| one[field].as_str().unwrap();
    (text("condition"), text("verdict"), &one["value"])
}

#[test]
fn a_run_that_holds_ends_as_ever_and_lists_its_thresholds_with_their_values() {
    let thresholds = ("wiring.wsp_thresholds.fail_if", "['retries > 0']");
    let rig = rig(&[], &[thresholds]);
    let ran = rig.stream(&[
        "--speedup",
        "3600",
        "--fail-if",
        "lateness_send_p99_ms>1h",
        "--fail-if",
        "acknowledged != 2000",
        "--abort-if",
        "retries > 0 for 24h",
    ]);
    ran.expect(0, "");
    assert_eq!(threshold(&ran, 0), ("retries > 0", "held", &json!(0.0)));
    let (condition, verdict, value) = threshold(&ran, 1);
    assert_eq!(
        (condition, verdict),
        ("lateness_send_p99_ms > 3600000", "held")
    );
    assert_eq!(*value, ran.report["lateness_ms"]["send"]["p99"]);
    assert_eq!(
        threshold(&ran, 2),
        ("acknowledged != 2000", "held", &json!(2_000.0))
    );
    let not_judged = (
        "retries > 0 for 86400s after 30s",
        "not_judged",
        &Value::Null,
    );
    assert_eq!(threshold(&ran, 3), not_judged);
}

#[test]
fn a_streamed_run_that_breaks_a_threshold_exits_with_4_and_has_streamed_all_the_same() {
    let rig = rig(&["status:503,next=3"], &[]);
    let ran = rig.stream(&[
        "--fail-if",
        "retries_http_503 >= 3",
        "--fail-if",
        "refused > 0",
    ]);
    ran.expect(4, "");
    assert_eq!(ran.report["status"], "STREAMED");
    assert_eq!(rig.gate.stats().unique, rig.rows());
    assert_eq!(
        threshold(&ran, 0),
        ("retries_http_503 >= 3", "failed", &json!(3.0))
    );
    assert_eq!(threshold(&ran, 1), ("refused > 0", "held", &json!(0.0)));
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(
        detail.contains("`retries_http_503 >= 3` (it was 3)"),
        "{detail}"
    );
    // Nothing is left to be slow.
    let again = rig.stream(&["--fail-if", "events_per_second < 1000000"]);
    again.expect(0, "");
    assert_eq!(threshold(&again, 0).1, "no_value");
}

#[test]
fn a_run_that_breaks_a_threshold_on_its_way_ends_in_good_order_and_is_gone_on_with() {
    // With one lane nothing is answered behind an event that comes back unsent.
    let rig = rig(&["delay:100,skip=200"], &[("wiring.wsp_push.lanes", "1")]);
    let abort = "lateness_send_p99_ms > 500 for 1s after 0s";
    let ran = rig.stream(&["--speedup", "3600", "--abort-if", abort]);
    ran.expect(4, "THRESHOLD_ABORTED");
    assert_eq!(ran.report["status"], "FAILED");
    assert_eq!(ran.report["unanswered"], 0, "it is drained");
    let (condition, verdict, value) = threshold(&ran, 0);
    assert_eq!((condition, verdict), (abort, "aborted"));
    assert!(value.as_f64().unwrap() > 500.0, "{value}");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains(abort), "{detail}");
    let kinds: Vec<Value> = rig
        .audit()
        .iter()
        .map(|line| line["event_kind"].clone())
        .collect();
    assert_eq!(kinds.last().unwrap(), "stream_failed", "{kinds:?}");
    rig.gate.set_faults(Vec::new()).unwrap();
    rig.stream_the_rest(&ran, 0, &[]);
}

fn control(rig: &Rig, act: &[&str]) -> Ran {
    let profile = rig.profile.to_str().unwrap();
    let args = [&["control", "--profile", profile][..], act].concat();
    system_tests::run_in(rig.folder.path(), &args)
}

/// Steers as soon as the stream listens.
fn steer(rig: &Rig, child: &mut Child, act: &[&str]) {
    let began = Instant::now();
    while control(rig, act).status != 0 {
        assert!(child.try_wait().unwrap().is_none(), "the stream has ended");
        assert!(began.elapsed() < PATIENCE, "{:?}", rig.gate.stats());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_pause_does_not_count() {
    let rig = rig(&[], &[]);
    // Without the pause it streams 500 a second and holds.
    let abort = "events_per_second < 50 for 1s after 0s";
    let mut stream = rig.start_stream(&["--rate", "500", "--abort-if", abort]);
    rig.wait_for_unique(100);
    steer(&rig, &mut stream, &["pause"]);
    // Several stretches long: were they judged, the run would end.
    std::thread::sleep(Duration::from_secs(4));
    steer(&rig, &mut stream, &["resume"]);
    let ran = Rig::finish(stream);
    ran.expect(0, "");
    let (_, verdict, value) = threshold(&ran, 0);
    assert_eq!(verdict, "held");
    assert!(value.as_f64().unwrap() > 50.0, "{value}");
}

#[test]
fn a_failure_is_told_before_a_broken_threshold_and_that_before_a_stop() {
    // The gate refuses an event, and a run that failed is not judged: 1 before 4.
    let failing = rig(&["status:422,skip=100"], &[("wiring.wsp_push.lanes", "1")]);
    let ran = failing.stream(&["--speedup", "0", "--fail-if", "retries >= 0"]);
    ran.expect(1, "IG_PUSH_REJECTED");
    assert_eq!(
        threshold(&ran, 0),
        ("retries >= 0", "not_judged", &Value::Null)
    );
    // A stop comes first, and nothing is judged after it: 3.
    let rig = rig(&[], &[]);
    let mut stream =
        rig.start_stream(&[&["--rate", "100"][..], &["--fail-if", "retries >= 0"]].concat());
    rig.wait_for_unique(10);
    steer(&rig, &mut stream, &["stop"]);
    let stopped = Rig::finish(stream);
    stopped.expect(3, "STOPPED");
    assert_eq!(
        threshold(&stopped, 0),
        ("retries >= 0", "not_judged", &Value::Null)
    );
    // It is ended by its threshold, and a stop is asked for while it drains: 4.
    let abort = ["--abort-if", "events_per_second < 1000000 for 1s after 0s"];
    let draining = Rig::new(
        &WorldOptions::sample().with_shape(1, 400),
        GateOptions {
            faults: vec!["stall:3000,skip=100,next=1".parse().unwrap()],
            ..GateOptions::default()
        },
        &[("wiring.wsp_push.lanes", "1")],
    );
    let mut stream = draining.start_stream(&[&["--speedup", "0"][..], &abort].concat());
    let began = Instant::now();
    while control(&draining, &["status"]).report["stream"]["state"] != "ending" {
        assert!(stream.try_wait().unwrap().is_none(), "the stream has ended");
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    system_tests::signal(&stream, "TERM");
    Rig::finish(stream).expect(4, "THRESHOLD_ABORTED");
}

#[test]
fn an_unknown_figure_is_refused_with_the_known_ones_before_anything_is_read() {
    let rig = rig(&[], &[]);
    let ran = rig
        .command(&["stream"], &["--fail-if", "latency > 5"])
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{said}");
    for (name, _) in wsp::profile::Figure::NAMED {
        assert!(said.contains(name), "{name}: {said}");
    }
    let mut rig = rig;
    rig.set(&[("wiring.wsp_thresholds.abort_if", "['latency > 5']")]);
    let ran = rig.stream(&[]);
    ran.expect(2, "PROFILE_INVALID");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(
        detail.contains("wsp_thresholds.abort_if") && detail.contains("retries"),
        "{detail}"
    );
    assert_eq!(rig.gate.stats().connections, 0);
}

#[test]
fn a_figure_that_the_run_cannot_have_is_refused_before_the_start() {
    let rig = rig(&[], &[]);
    for (flags, figure) in [
        (
            ["--speedup", "0", "--fail-if", "lateness_send_p99_ms > 5"],
            "lateness_send_p99_ms",
        ),
        (
            ["--speedup", "0", "--abort-if", "lateness_ack_max_ms > 5"],
            "lateness_ack_max_ms",
        ),
        (
            ["--on-reject", "stop", "--fail-if", "quarantined > 5"],
            "quarantined",
        ),
    ] {
        let ran = rig.stream(&flags);
        ran.expect(2, "PROFILE_INVALID");
        assert!(
            ran.report["detail"].as_str().unwrap().contains(figure),
            "{}",
            ran.report
        );
    }
    assert_eq!(rig.gate.stats().connections, 0);
}
