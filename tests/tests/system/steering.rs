//! Steering from another process: pause, step, another pace, stop; and the paces that count
//! events.

use std::process::Child;
use std::time::{Duration, Instant, UNIX_EPOCH};

use envelope::EventTime;
use sandbox::{GateOptions, WorldOptions};
use serde_json::Value;
use system_tests::{Ran, Rig};

/// What two processes' readings of the wall clock may differ by.
const CLOCK_READING_NS: i128 = 200_000;
const PATIENCE: Duration = Duration::from_mins(1);

/// 2,000 events over an hour of event time, as the gate may record them.
pub(crate) fn rig(keys: &[(&str, &str)]) -> Rig {
    let gate = GateOptions {
        record_arrivals: true,
        ..GateOptions::default()
    };
    let world = WorldOptions::sample().with_shape(1, 400);
    let lanes = [("wiring.wsp_push.lanes", "4")];
    Rig::new(&world, gate, &[&lanes[..], keys].concat())
}

pub(crate) fn control(rig: &Rig, act: &[&str]) -> Ran {
    let profile = rig.profile.to_str().unwrap();
    let args = [&["control", "--profile", profile][..], act].concat();
    system_tests::run_in(rig.folder.path(), &args)
}

/// Steers, and answers what the stream then was at.
#[track_caller]
pub(crate) fn steer(rig: &Rig, act: &[&str]) -> Value {
    let ran = control(rig, act);
    assert_eq!(
        (ran.status, &ran.report["applied"]),
        (0, &Value::Bool(true)),
        "{act:?}: {}",
        ran.stderr
    );
    let stream = ran.report["stream"].clone();
    let count = |name: &str| stream[name].as_u64().unwrap();
    assert_eq!(
        count("read"),
        count("buffered") + count("in_flight") + count("acknowledged") + count("quarantined"),
        "{stream}"
    );
    stream
}

/// Asks until the stream is so.
#[track_caller]
pub(crate) fn wait_for(
    rig: &Rig,
    child: &mut Child,
    mut is_so: impl FnMut(&Value) -> bool,
) -> Value {
    let began = Instant::now();
    loop {
        assert!(child.try_wait().unwrap().is_none(), "the stream has ended");
        assert!(began.elapsed() < PATIENCE, "{:?}", rig.gate.stats());
        let asked = control(rig, &["status"]);
        // Before its first event, nobody listens.
        if asked.status == 0 && is_so(&asked.report["stream"]) {
            return asked.report["stream"].clone();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Pauses, and waits until what was on its way to the gate has been answered. An event that a
/// lane holds and has not begun to send waits there.
pub(crate) fn pause(rig: &Rig, child: &mut Child) -> u64 {
    assert_eq!(steer(rig, &["pause"])["state"], "paused");
    let mut before = None;
    wait_for(rig, child, |stream| {
        std::thread::sleep(Duration::from_millis(100));
        let now = Some((rig.gate.stats().posts, stream["acknowledged"].clone()));
        std::mem::replace(&mut before, now.clone()) == now
    });
    rig.gate.stats().unique
}

/// When each event arrived: nanoseconds since 1970, in order.
fn arrivals(rig: &Rig) -> Vec<i128> {
    let epoch = rig.gate.epoch().1.duration_since(UNIX_EPOCH).unwrap();
    let since = |ns: u64| epoch.as_nanos() as i128 + i128::from(ns);
    let arrivals = rig.gate.arrivals();
    let mut times: Vec<_> = arrivals.iter().map(|a| since(a.arrived_ns)).collect();
    times.sort_unstable();
    times
}

/// What the audit says of steering: what was asked, and whether it was done.
fn steered(rig: &Rig) -> Vec<(String, bool)> {
    let audit = rig.audit();
    let acts = audit
        .iter()
        .filter(|line| line["event_kind"] == "stream_steered")
        .map(|line| &line["details"]);
    acts.map(|details| {
        assert!(
            details["by"].as_str().unwrap().starts_with("uid "),
            "{details}"
        );
        let act = details["act"].as_str().unwrap().to_owned();
        (act, details["applied"].as_bool().unwrap())
    })
    .collect()
}

#[test]
fn a_stream_is_paused_stepped_repaced_and_stopped_from_another_process() {
    let rig = rig(&[("policy.stream_speedup", "120")]);
    let mut child = rig.start_stream(&[]);
    rig.wait_for_unique(20);
    let before = pause(&rig, &mut child);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        rig.gate.stats().unique,
        before,
        "a paused stream sends nothing"
    );

    steer(&rig, &["step", "5"]);
    rig.wait_for_unique(before + 5);
    wait_for(&rig, &mut child, |stream| stream["in_flight"] == 0);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(rig.gate.stats().unique, before + 5, "five, and no more");

    assert_eq!(steer(&rig, &["resume"])["state"], "running");
    let refused = control(&rig, &["step", "1"]);
    assert_eq!(refused.status, 1);
    assert!(
        refused.report["detail"]
            .as_str()
            .unwrap()
            .contains("not paused")
    );
    rig.wait_for_unique(before + 10);

    let stream = steer(&rig, &["speedup", "60"]);
    assert_eq!(stream["pace"], serde_json::json!({"speedup": 60.0}));
    steer(&rig, &["rate", "50"]);
    rig.wait_for_unique(before + 30);
    steer(&rig, &["stop"]);
    let ran = Rig::finish(child);
    ran.expect(3, "STOPPED");
    let expected = ["pause", "step", "resume", "step", "pace", "pace", "stop"];
    let expected: Vec<_> = expected
        .into_iter()
        .map(str::to_owned)
        .zip([true, true, true, false, true, true, true])
        .collect();
    assert_eq!(steered(&rig), expected);
    let gone = control(&rig, &["status"]);
    assert_eq!(gone.status, 1);
    assert!(gone.stderr.contains("No such stream"), "{}", gone.stderr);
    rig.stream(&["--speedup", "0"]).expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
}

#[test]
fn a_stream_pauses_itself_after_so_many_events() {
    let rig = rig(&[("policy.stream_speedup", "120")]);
    let mut child = rig.start_stream(&[]);
    rig.wait_for_unique(20);
    pause(&rig, &mut child);
    let stream = steer(&rig, &["pause-after", "7"]);
    let count = |field: &str| stream[field].as_u64().unwrap();
    let handed_over = count("acknowledged") + count("in_flight");
    steer(&rig, &["resume"]);
    rig.wait_for_unique(handed_over + 7);
    wait_for(&rig, &mut child, |stream| stream["state"] == "paused");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(rig.gate.stats().unique, handed_over + 7);
    steer(&rig, &["stop"]);
    Rig::finish(child).expect(3, "STOPPED");
    let acts: Vec<String> = steered(&rig).into_iter().map(|(act, _)| act).collect();
    // The pause that it led to is told of, too.
    assert_eq!(acts, ["pause", "pause_after", "resume", "pause", "stop"]);
}

#[test]
fn a_pause_makes_no_burst_and_the_schedule_is_exact_behind_it() {
    // An hour in six seconds.
    let rig = rig(&[("policy.stream_speedup", "600")]);
    let mut child = rig.start_stream(&[]);
    rig.wait_for_unique(300);
    let paused = pause(&rig, &mut child);
    std::thread::sleep(Duration::from_millis(1_500));
    steer(&rig, &["resume"]);
    let ran = Rig::finish(child);
    ran.expect(0, "");
    let schedule = &ran.report["schedule"];
    let time = |value: &Value| {
        value
            .as_str()
            .unwrap()
            .parse::<wsp::EventTime>()
            .unwrap()
            .nanos()
    };
    let wall_origin = time(&schedule["wall_origin_utc"]);
    let time_origin = time(&schedule["time_origin_utc"]);
    let epoch = rig
        .gate
        .epoch()
        .1
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as i128;
    // The schedule of the report is the one behind the pause: nothing behind it was early.
    for arrival in &rig.gate.arrivals()[paused as usize..] {
        let due = wall_origin + (i128::from(arrival.event_time_ns) - time_origin) / 600;
        let arrived = epoch + i128::from(arrival.arrived_ns);
        assert!(
            arrived + CLOCK_READING_NS >= due,
            "{} µs early",
            (due - arrived) / 1_000
        );
    }
    // Two-sided and generous: the rest took its time, and not much more.
    let seconds = schedule["last_due_s"].as_f64().unwrap();
    let handed = schedule["last_handed_over_s"].as_f64().unwrap();
    assert!((5.5..6.5).contains(&seconds), "{schedule}");
    assert!(handed >= seconds && handed < seconds + 1.0, "{schedule}");
}

#[test]
fn a_rate_is_kept_through_a_pause_and_a_change() {
    let rig = rig(&[]);
    let mut child = rig.start_stream(&["--rate", "200"]);
    rig.wait_for_unique(100);
    let paused = pause(&rig, &mut child);
    std::thread::sleep(Duration::from_secs(1));
    steer(&rig, &["resume"]);
    rig.wait_for_unique(paused + 100);
    let faster = rig.gate.stats().unique;
    steer(&rig, &["rate", "1000"]);
    let ran = Rig::finish(child);
    ran.expect(0, "");
    assert_eq!(ran.report["schedule"]["rate"][0]["rate"], 1000.0);
    let arrivals = arrivals(&rig);
    // However events bunched up on the way, none came before the rate had come to it: any
    // stretch of events took at least the time that the rate gives it, but for lateness
    // of its first.
    let lateness = ran.report["lateness_ms"]["ack"]["max"].as_f64().unwrap();
    let slack = (lateness * 1e6) as i128 + 5_000_000;
    let least = |from: u64, to: u64, rate: i128| {
        let (from, to) = (from as usize, to as usize);
        let took = arrivals[to] - arrivals[from];
        let due = (to - from) as i128 * 1_000_000_000 / rate;
        assert!(
            took + slack >= due,
            "events {from} to {to} took {took} ns, due {due}"
        );
    };
    least(0, paused - 1, 200);
    least(paused, faster - 1, 200);
    least(faster + 1, rig.rows() - 1, 1_000);
    // And it was kept up with, by far.
    let took = arrivals[arrivals.len() - 1] - arrivals[0];
    assert!(took < 30_000_000_000, "{took}");
}

#[test]
fn a_rate_schedule_in_steps_holds_still_and_goes_on() {
    let rig = rig(&[
        ("policy.stream_speedup", "null"),
        (
            "policy.stream_rate",
            "[{offset_s: 0, rate: 400}, {offset_s: 1, rate: 0}, {offset_s: 2, rate: 2000}]",
        ),
    ]);
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    let arrivals = arrivals(&rig);
    let at = |event: usize| arrivals[event] - arrivals[0];
    // 400 in the first second, none in the next, 1,600 in four fifths of one.
    let slack =
        (ran.report["lateness_ms"]["ack"]["max"].as_f64().unwrap() * 1e6) as i128 + 5_000_000;
    assert!(at(399) + slack >= 997_500_000, "{}", at(399));
    assert!(at(401) + slack >= 2_000_000_000, "{}", at(401));
    assert!(at(1_999) + slack >= 2_799_000_000, "{}", at(1_999));
    assert!(at(1_999) < 30_000_000_000, "{}", at(1_999));
}

#[test]
fn several_runs_share_one_clock_by_start_and_origin() {
    let rig = rig(&[]);
    let world_start = "2026-01-28T08:00:00Z";
    // A start that lies ahead is waited for, and steered meanwhile.
    let start = chrono_in(2);
    let args = [
        "--speedup",
        "3600",
        "--start-at",
        &start,
        "--time-origin",
        world_start,
    ];
    let mut child = rig.start_stream(&args);
    let waiting = wait_for(&rig, &mut child, |stream| stream["state"] != "starting");
    assert_eq!(waiting["state"], "waiting_for_start", "{waiting}");
    assert_eq!(rig.gate.stats().posts, 0);
    let ran = Rig::finish(child);
    ran.expect(0, "");
    let origin = ran.report["schedule"]["wall_origin_utc"].as_str().unwrap();
    let nanos = |text: &str| text.parse::<wsp::EventTime>().unwrap().nanos();
    assert!((nanos(origin) - nanos(&start)).abs() < 1_000, "{origin}");
    assert_eq!(
        nanos(ran.report["schedule"]["time_origin_utc"].as_str().unwrap()),
        nanos(world_start)
    );
    assert!(arrivals(&rig)[0] + CLOCK_READING_NS >= nanos(&start));
    // One that has passed makes the stream late, and it catches up.
    let fresh = rig.folder.path().join("fresh").display().to_string();
    let mut rig = rig;
    rig.set(&[("wiring.wsp_checkpoint.root", &fresh)]);
    let began = Instant::now();
    let late = rig.stream(&[
        "--speedup",
        "1",
        "--start-at",
        "2026-01-28T08:00:00Z",
        "--time-origin",
        world_start,
    ]);
    late.expect(0, "");
    assert!(
        began.elapsed() < Duration::from_mins(2),
        "an hour that has passed is not waited for"
    );
    assert!(late.report["lateness_ms"]["send"]["p50"].as_f64().unwrap() > 1_000.0);
    // A rate counts events: no event time stands at its origin.
    rig.set(&[
        ("policy.stream_rate", "5"),
        ("policy.stream_speedup", "null"),
    ]);
    rig.stream(&["--time-origin", world_start])
        .expect(2, "PROFILE_INVALID");
}

/// So many seconds from now, RFC 3339.
pub(crate) fn chrono_in(seconds: u64) -> String {
    let then = std::time::SystemTime::now() + Duration::from_secs(seconds);
    let nanos = then.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    wsp::EventTime::from_nanos(nanos as i128)
        .unwrap()
        .to_string()
}

#[test]
fn a_client_that_makes_no_sense_neither_stops_nor_slows_the_stream() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    let rig = rig(&[("policy.stream_speedup", "600")]);
    let mut child = rig.start_stream(&[]);
    let stream = wait_for(&rig, &mut child, |stream| stream["state"] == "running");
    let found = wsp::control::find(&rig.world.runs_root(), None).unwrap();
    assert_eq!(u64::from(found[0].pid), stream["pid"].as_u64().unwrap());
    let socket = &found[0].socket;
    let mode = std::fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut silent = Vec::new();
    for garbage in [
        &b"\0\xff\xfe"[..],
        b"{\"version\":1}\n",
        &vec![b'x'; 100_000],
        b"pause\n",
    ] {
        let mut client = UnixStream::connect(socket).unwrap();
        // One that is refused early may find the door shut.
        let _ = client.write_all(garbage);
        silent.push(client);
    }
    let mut client = UnixStream::connect(socket).unwrap();
    client
        .write_all(b"{\"version\":9,\"act\":\"pause\"}\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("\"applied\":false") && answer.contains("version 9"),
        "{answer}"
    );
    let ran = Rig::finish(child);
    ran.expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
    assert!(!socket.exists(), "gone with its stream");
    assert!(steered(&rig).is_empty());
}

#[test]
fn the_socket_of_a_killed_stream_is_passed_over_and_removed() {
    let rig = rig(&[("policy.stream_speedup", "60")]);
    let mut killed = rig.start_stream(&[]);
    wait_for(&rig, &mut killed, |stream| stream["state"] == "running");
    let socket = wsp::control::find(&rig.world.runs_root(), None).unwrap()[0]
        .socket
        .clone();
    killed.kill().unwrap();
    killed.wait_with_output().unwrap();
    assert!(socket.exists());
    let mut child = rig.start_stream(&[]);
    wait_for(&rig, &mut child, |stream| stream["state"] == "running");
    assert!(!socket.exists(), "removed by who found it");
    pause(&rig, &mut child);
    // A paused stream stops as any other.
    system_tests::signal(&child, "TERM");
    Rig::finish(child).expect(3, "STOPPED");
}

#[test]
fn a_gap_that_is_waited_for_says_when_it_ends_and_is_cut_if_asked() {
    // Minutes from one event to the next.
    let rig = rig(&[("policy.stream_speedup", "0.01")]);
    let mut child = rig.start_stream(&[]);
    let stream = wait_for(&rig, &mut child, |stream| stream["next_due"].is_string());
    let due: EventTime = stream["next_due"].as_str().unwrap().parse().unwrap();
    let now = UNIX_EPOCH.elapsed().unwrap().as_nanos() as i128;
    assert!(due.nanos() > now, "{stream}");
    assert_eq!(stream["state"], "running");
    steer(&rig, &["stop"]);
    Rig::finish(child).expect(3, "STOPPED");

    let gap_s = 0.05;
    let before = rig.gate.stats().unique;
    let args = ["--max-gap", "0.05", "--max-events", "40"];
    rig.stream(&args).expect(0, "MAX_EVENTS");
    assert_eq!(rig.gate.stats().unique, before + 40);
    let audit = rig.audit();
    let cuts: Vec<_> = audit
        .iter()
        .filter(|line| line["event_kind"] == "gap_cut")
        .collect();
    assert!(cuts.len() >= 10, "{audit:?}");
    for cut in &cuts {
        assert!(cut["details"]["earlier_s"].as_f64().unwrap() > 0.0, "{cut}");
    }
    let times = arrivals(&rig);
    let took = times[times.len() - 1] - times[before as usize];
    // What a cut gap is cut to is waited for.
    let least = ((cuts.len() - 1) as f64 * gap_s * 1e9) as i128 - CLOCK_READING_NS;
    assert!(took >= least, "{took} ns for {} gaps", cuts.len());

    for unusable in [&["--max-gap", "1", "--rate", "5"][..], &["--max-gap", "0"]] {
        let refused = rig.command(&["stream"], unusable).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{unusable:?}");
    }
}
