//! Steering by time and for others: a pause at an event time, a resume at a wall time, snapshots
//! that come by themselves, copies of events, and the name that an act carries.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use system_tests::Rig;

use crate::steering::{chrono_in, control, pause, rig, steer, wait_for};

/// What the audit says of acts: the details of each line.
fn steered(rig: &Rig) -> Vec<Value> {
    let audit = rig.audit().into_iter();
    let acts = audit.filter(|line| line["event_kind"] == "stream_steered");
    acts.map(|line| line["details"].clone()).collect()
}

/// The control socket of the one stream of a rig.
fn socket(rig: &Rig) -> PathBuf {
    let runs = std::fs::read_dir(rig.runs_root()).unwrap();
    let found = runs.flat_map(|run| {
        let folder = run.unwrap().path().join("wsp");
        let names = std::fs::read_dir(folder).into_iter().flatten();
        names.map(|name| name.unwrap().path())
    });
    let mut sockets = found.filter(|path| path.extension().is_some_and(|end| end == "sock"));
    sockets.next().expect("a control socket")
}

/// Asks by the socket itself, and gives the lines that come back.
fn ask(socket: &Path, request: &Value) -> impl Iterator<Item = Value> + use<> {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{request}").unwrap();
    let lines = BufReader::new(stream).lines();
    lines
        .map_while(Result::ok)
        .map(|line| serde_json::from_str(&line).unwrap())
}

fn stop(rig: &Rig, child: Child) {
    steer(rig, &["stop"]);
    Rig::finish(child).expect(3, "STOPPED");
}

#[test]
fn a_pause_at_an_event_time_lets_all_before_it_leave_and_a_resume_at_a_wall_time_is_exact() {
    // An hour in half a minute.
    let rig = rig(&[("policy.stream_speedup", "120")]);
    let mut child = rig.start_stream(&[]);
    rig.wait_for_unique(20);
    let at = "2026-01-28T08:06:00Z";
    assert_eq!(
        steer(&rig, &["pause", "--at", at])["pause_at"],
        "2026-01-28T08:06:00.000000Z"
    );
    wait_for(&rig, &mut child, |stream| {
        stream["state"] == "paused" && stream["in_flight"] == 0
    });
    let nanos = |text: &str| text.parse::<wsp::EventTime>().unwrap().nanos();
    let is_before = |arrival: &sandbox::Arrival| i128::from(arrival.event_time_ns) < nanos(at);
    let before = rig.gate.arrivals();
    assert!(before.iter().all(is_before));
    let passed = control(&rig, &["pause", "--at", "2026-01-28T08:05:00Z"]);
    assert!(
        passed.stderr.contains("passed that event time"),
        "{}",
        passed.stderr
    );

    let resume_at = chrono_in(2);
    steer(&rig, &["resume", "--at", &resume_at]);
    rig.wait_for_unique(before.len() as u64 + 20);
    let epoch = rig
        .gate
        .epoch()
        .1
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let after: Vec<_> = rig.gate.arrivals()[before.len()..].to_vec();
    assert!(!after.iter().any(is_before), "an event before it waited");
    for arrival in after {
        let due = nanos(&resume_at) + (i128::from(arrival.event_time_ns) - nanos(at)) / 120;
        let arrived = epoch.as_nanos() as i128 + i128::from(arrival.arrived_ns);
        assert!(arrived + 200_000 >= due, "{} ns early", due - arrived);
    }
    let late = control(&rig, &["resume", "--at", "2020-01-01T00:00:00Z"]);
    assert_eq!(late.status, 1);
    stop(&rig, child);
    let acts: Vec<(String, bool)> = steered(&rig)
        .iter()
        .map(|act| {
            (
                act["act"].as_str().unwrap().to_owned(),
                act["applied"] == true,
            )
        })
        .collect();
    let acts: Vec<(&str, bool)> = acts
        .iter()
        .map(|(act, done)| (act.as_str(), *done))
        .collect();
    let expected = [
        ("pause_at", true),
        ("pause", true),
        ("pause_at", false),
        ("resume_at", true),
        ("resume", true),
        ("resume_at", false),
        ("stop", true),
    ];
    assert_eq!(acts, expected);
    assert_eq!(steered(&rig)[0]["pause_at"], "2026-01-28T08:06:00.000000Z");
}

#[test]
fn a_watcher_gets_snapshots_until_the_end_and_one_that_does_not_read_holds_nothing_up() {
    let rig = rig(&[("policy.stream_speedup", "1200")]);
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(5);
    let path = socket(&rig);
    // It asks, and reads nothing.
    let mut deaf = UnixStream::connect(&path).unwrap();
    writeln!(
        deaf,
        "{}",
        json!({"version": 1, "act": "watch", "every_ms": 100})
    )
    .unwrap();
    let watching = json!({"version": 1, "act": "watch", "every_ms": 100});
    let told: Vec<Value> = ask(&path, &watching).collect();
    Rig::finish(child).expect(0, "");
    assert!(told.len() > 3, "{told:?}");
    for (index, line) in told.iter().enumerate() {
        assert_eq!(line["watched"], index as u64 + 1);
        let count = |name: &str| line["stream"][name].as_u64().unwrap();
        assert_eq!(
            count("read"),
            count("buffered") + count("in_flight") + count("acknowledged") + count("quarantined")
        );
    }
    let moved = |name: &str| told[0]["stream"][name] != told[told.len() - 1]["stream"][name];
    assert!(moved("acknowledged") && moved("event_time"), "{told:?}");
    drop(deaf);
}

#[test]
fn a_tap_shows_ids_times_and_decisions_and_envelopes_only_where_they_are_asked_for() {
    let rig = rig(&[("policy.stream_speedup", "120")]);
    let mut child = rig.start_stream(&[]);
    rig.wait_for_unique(20);
    pause(&rig, &mut child);
    let path = socket(&rig);
    let mut bare = ask(&path, &json!({"version": 1, "act": "tap", "events": 3}));
    let whole =
        json!({"version": 1, "act": "tap", "events": 2, "payload": true, "on_behalf_of": "Ann"});
    let mut whole = ask(&path, &whole);
    for tap in [&mut bare as &mut dyn Iterator<Item = Value>, &mut whole] {
        assert_eq!(tap.next().unwrap()["applied"], true);
    }
    steer(&rig, &["step", "5"]);
    let bare: Vec<Value> = bare.by_ref().take(4).collect();
    let whole: Vec<Value> = whole.by_ref().take(3).collect();
    let end =
        |copies: u64| json!({"version": 1, "tap_ended": true, "copies": copies, "dropped": 0});
    assert_eq!((&bare[3], &whole[2]), (&end(3), &end(2)));
    for copy in &bare[..3] {
        let copy = &copy["tapped"];
        assert_eq!(copy["decision"], "ADMIT", "{copy}");
        assert_eq!(copy["event_id"].as_str().map(str::len), Some(64), "{copy}");
        assert!(
            copy["output_id"].is_string() && copy["sent"].is_string(),
            "{copy}"
        );
        assert!(copy.get("envelope").is_none(), "{copy}");
    }
    for copy in &whole[..2] {
        let envelope = &copy["tapped"]["envelope"];
        assert_eq!(envelope["event_id"], copy["tapped"]["event_id"]);
        assert_eq!(envelope["ts_utc"], copy["tapped"]["event_time"]);
    }
    stop(&rig, child);
    let mut taps: Vec<Value> = steered(&rig)
        .into_iter()
        .filter(|act| act["act"] == "tap")
        .collect();
    // They came on two connections: either may have been first.
    taps.sort_by_key(|tap| tap["with_envelopes"].as_bool());
    assert_eq!(
        (&taps[0]["events"], &taps[0]["with_envelopes"]),
        (&json!(3), &json!(false))
    );
    assert_eq!(
        (&taps[1]["with_envelopes"], &taps[1]["on_behalf_of"]),
        (&json!(true), &json!("Ann"))
    );
}

#[test]
fn the_commands_watch_tap_and_name_print_an_object_a_line_and_reach_all_streams() {
    let rig = rig(&[("policy.stream_speedup", "120")]);
    let mut child = rig.start_stream(&[]);
    rig.wait_for_unique(5);
    let lines = |more: &[&str]| {
        let mut command = rig.command(&["control"], more);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let objects = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        objects.collect::<Vec<_>>()
    };
    let watched = lines(&["watch", "--every-ms", "100", "--count", "3"]);
    assert_eq!(watched.len(), 3);
    let tapped = lines(&["tap", "4"]);
    assert_eq!((tapped.len(), &tapped[5]["tap_ended"]), (6, &json!(true)));
    let all = control(
        &rig,
        &["--all", "--on-behalf-of", "night shift\u{1b}[2J", "pause"],
    );
    assert_eq!(
        (all.status, &all.report["streams"][0]["applied"]),
        (0, &json!(true))
    );
    let long = "x".repeat(129);
    let refused = rig
        .command(&["control"], &["--on-behalf-of", &long, "pause"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    wait_for(&rig, &mut child, |stream| stream["state"] == "paused");
    stop(&rig, child);
    let acts = steered(&rig);
    let pause = acts.iter().find(|act| act["act"] == "pause").unwrap();
    assert_eq!(pause["on_behalf_of"], "night shift\\u{1b}[2J");
    assert!(pause["by"].as_str().unwrap().starts_with("uid "));
}
