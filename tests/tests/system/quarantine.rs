//! Rejected events: set aside and never lost, whatever is killed, full or damaged; redriven
//! once each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::{Fault, FaultRule, GateOptions, When, WorldOptions};
use serde_json::Value;
use system_tests::{Ran, Random, Rig, rounds, signal};

const RUN: &str = "platform_20260128T090000Z";
const FLUSH_EVERY: u64 = 40;
const LANES: u64 = 16;
const PATIENCE: Duration = Duration::from_mins(1);

fn rig_of(world: &WorldOptions, gate: GateOptions, keys: &[(&str, &str)]) -> Rig {
    let flush_every = FLUSH_EVERY.to_string();
    let lanes = LANES.to_string();
    let mut all = vec![
        ("wiring.wsp_push.on_reject", "quarantine"),
        ("wiring.wsp_checkpoint.flush_every", &flush_every),
        ("wiring.wsp_push.lanes", &lanes),
        ("wiring.wsp_retry.base_delay_ms", "1"),
        ("wiring.wsp_retry.max_delay_ms", "20"),
        ("wiring.wsp_retry.max_attempts", "3"),
    ];
    all.extend(keys);
    Rig::new(world, gate, &all)
}

fn rig(keys: &[(&str, &str)]) -> Rig {
    rig_of(&WorldOptions::sample(), GateOptions::default(), keys)
}

fn status(code: u16) -> Fault {
    format!("status:{code}").parse::<FaultRule>().unwrap().fault
}

fn reject_share(rig: &Rig, share: f64) {
    let rule = FaultRule::for_share(share, status(422));
    rig.gate.set_faults(vec![rule]).unwrap();
}

fn stream(rig: &Rig, more: &[&str]) -> Ran {
    rig.stream(&[&["--platform-run-id", RUN], more].concat())
}

fn start_stream(rig: &Rig, more: &[&str]) -> Child {
    rig.start_stream(&[&["--platform-run-id", RUN], more].concat())
}

fn redrive(rig: &Rig, more: &[&str]) -> Ran {
    rig.run(&["redrive"], &[&["--platform-run-id", RUN], more].concat())
}

fn start_redrive(rig: &Rig) -> Child {
    let mut command = rig.command(&["redrive"], &["--platform-run-id", RUN]);
    command.spawn().expect("wsp-cli starts")
}

fn file(rig: &Rig) -> PathBuf {
    rig.world
        .runs_root()
        .join(RUN)
        .join("wsp/quarantine.ndjson")
}

/// The whole lines of the file; none, if it is not there.
fn records(rig: &Rig) -> Vec<Value> {
    let text = std::fs::read_to_string(file(rig)).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |line: &str| serde_json::from_str(line).expect("a line of JSON");
    whole.lines().map(line).collect()
}

fn ids(rig: &Rig) -> BTreeSet<String> {
    let id = |record: &Value| record["event_id"].as_str().unwrap().to_owned();
    records(rig).iter().map(id).collect()
}

/// Every event is at the gate or in the file, and none is in both.
#[track_caller]
fn assert_nothing_lost(rig: &Rig) -> BTreeSet<String> {
    let aside = ids(rig);
    assert_eq!(aside.len() as u64 + rig.gate.stats().unique, rig.rows());
    assert!(!aside.iter().any(|id| rig.gate.has(id)), "in both places");
    aside
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        sleep(Duration::from_millis(1));
    }
}

fn total(ran: &Ran, meter: &str) -> u64 {
    let outputs = ran.report["per_output"].as_array().unwrap().iter();
    outputs.map(|output| output[meter].as_u64().unwrap()).sum()
}

#[test]
fn rejected_events_are_set_aside_and_a_redrive_delivers_each_once() {
    let rig = rig(&[]);
    reject_share(&rig, 0.05);
    let ran = stream(&rig, &[]);
    ran.expect(0, "");
    let aside = assert_nothing_lost(&rig).len() as u64;
    assert!(aside > 10, "{aside}");
    assert_eq!(total(&ran, "quarantined"), aside);
    assert_eq!(total(&ran, "acknowledged") + aside, rig.rows());
    assert_eq!(ran.report["quarantine"]["events"], aside);
    assert_eq!(ran.report["quarantine"]["waiting"], aside);
    assert_eq!(
        ran.report["quarantine"]["place"],
        file(&rig).to_str().unwrap()
    );
    let told: u64 = rig
        .audit()
        .iter()
        .filter(|line| line["event_kind"] == "event_quarantined")
        .map(|line| line["details"]["events"].as_u64().unwrap())
        .sum();
    assert_eq!(told, aside);

    let planned = redrive(&rig, &["--dry-run"]);
    planned.expect(0, "");
    assert_eq!(planned.report["waiting"], aside);
    let refused = redrive(&rig, &[]);
    refused.expect(1, "IG_PUSH_REJECTED");
    let list = refused.report["refused"].as_array().unwrap();
    assert_eq!(list.len() as u64, aside);
    assert_eq!(list[0]["status"], 422);

    rig.gate.set_faults(Vec::new()).unwrap();
    let ran = redrive(&rig, &[]);
    ran.expect(0, "");
    assert_eq!(ran.report["redriven"], aside);
    assert_eq!(ran.report["decisions"]["admit"], aside);
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
    assert_eq!(stats.invalid, 0, "byte for byte as they were");
    assert_are_as_described(&rig);

    let again = redrive(&rig, &[]);
    again.expect(0, "");
    assert_eq!(again.report["redriven_before"], aside);
    let over = stream(&rig, &[]);
    over.expect(0, "");
    assert_eq!(over.report["emitted"], 0, "the cursors passed them");
    assert_eq!(
        rig.gate.stats().posts,
        stats.posts,
        "nothing was left to do"
    );
    let kinds = assert_audit_is_as_described(&rig);
    assert_eq!(kinds["events_redriven"], 3, "{kinds:?}");
}

/// Every line of the audit as the schema says; how many there are of each kind.
fn assert_audit_is_as_described(rig: &Rig) -> BTreeMap<String, u64> {
    let schema: Value = serde_yaml::from_str(wsp::schema::AUDIT_RECORD_SCHEMA).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let mut kinds = BTreeMap::new();
    for line in rig.audit() {
        assert!(schema.is_valid(&line), "{line}");
        let kind = line["event_kind"].as_str().unwrap();
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

/// Readable by their owner only, and every line as the schemas say.
fn assert_are_as_described(rig: &Rig) {
    let redriven = file(rig).with_extension("redriven.ndjson");
    for (path, schema, number) in [
        (file(rig), wsp::schema::QUARANTINE_RECORD_SCHEMA, "attempts"),
        (redriven, wsp::schema::REDRIVEN_RECORD_SCHEMA, "line"),
    ] {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let schema: Value = serde_yaml::from_str(schema).unwrap();
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let mut record: Value = serde_json::from_str(line).unwrap();
            assert!(schema.is_valid(&record), "{record}");
            record[number] = "7".into();
            assert!(!schema.is_valid(&record));
        }
    }
}

#[test]
fn nothing_is_set_aside_unless_it_is_asked_for() {
    let rig = rig(&[("wiring.wsp_push.on_reject", "stop")]);
    reject_share(&rig, 0.05);
    let ran = stream(&rig, &[]);
    ran.expect(1, "IG_PUSH_REJECTED");
    assert_eq!(ran.report["quarantine"], Value::Null);
    assert!(!file(&rig).exists());
    let empty = redrive(&rig, &[]);
    empty.expect(0, "");
    assert_eq!(empty.report["events"], 0);
    stream(&rig, &["--on-reject", "quarantine"]).expect(0, "");
    assert_nothing_lost(&rig);
}

#[test]
fn soak_kills_lose_no_rejected_event_and_a_killed_redrive_goes_on() {
    let kills = rounds("WSP_KILLS", 12, 300);
    // About 200 events a kill.
    let world = WorldOptions::sample().with_shape(2, u64::from(kills) * 30);
    let paced = [("policy.stream_speedup", "1800")];
    let rig = rig_of(&world, GateOptions::default(), &paced);
    reject_share(&rig, 0.1);
    let mut random = Random::default();
    for _ in 0..kills {
        let mut child = start_stream(&rig, &[]);
        let target = rig.gate.stats().posts + random.below(200);
        kill_once(&mut child, &mut random, || rig.gate.stats().posts >= target);
        if random.below(3) == 0 {
            tear_last_line(&rig);
        }
    }
    let last = stream(&rig, &["--speedup", "0"]);
    last.expect(0, "");
    let aside = assert_nothing_lost(&rig).len() as u64;
    assert!(aside > u64::from(kills), "{aside}");
    let repeated = rig.gate.stats().duplicates;
    assert!(
        repeated <= u64::from(kills) * (FLUSH_EVERY + LANES),
        "{repeated}"
    );

    let slow: FaultRule = "delay:2".parse().unwrap();
    rig.gate.set_faults(vec![slow]).unwrap();
    let redrive_kills = kills / 3;
    for _ in 0..redrive_kills {
        let before = rig.gate.stats().unique;
        let target = before + random.below(aside / u64::from(2 * redrive_kills).max(1));
        let mut child = start_redrive(&rig);
        kill_once(&mut child, &mut random, || rig.gate.stats().unique > target);
    }
    redrive(&rig, &[]).expect(0, "");
    let stats = rig.gate.stats();
    println!(
        "{kills} kills of a stream, {redrive_kills} of a redrive: {aside} events set aside on {} \
         lines, {} missing, {} repeated",
        records(&rig).len(),
        rig.rows() - stats.unique,
        stats.duplicates,
    );
    assert_eq!(stats.unique, rig.rows());
    assert_eq!(stats.invalid, 0);
}

/// Kills a process once something is so, or whenever it has ended by itself.
fn kill_once(child: &mut Child, random: &mut Random, is_so: impl Fn() -> bool) {
    while !is_so() && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_micros(random.below(900)));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Leaves what a machine that lost its power leaves of a line.
fn tear_last_line(rig: &Rig) {
    let Ok(mut bytes) = std::fs::read(file(rig)) else {
        return;
    };
    bytes.extend_from_slice(br#"{"format_version":1,"event_id":"00"#);
    std::fs::write(file(rig), bytes).unwrap();
}

#[test]
fn a_full_quarantine_ends_the_stream_and_no_rerun_evades_it() {
    let rig = rig(&[("wiring.wsp_push.max_quarantined", "5")]);
    reject_share(&rig, 0.05);
    let ran = stream(&rig, &[]);
    ran.expect(1, "QUARANTINE_LIMIT");
    assert_eq!(ids(&rig).len(), 5);
    assert_eq!(total(&ran, "quarantined"), 5);
    let posts = rig.gate.stats().posts;
    stream(&rig, &[]).expect(1, "QUARANTINE_LIMIT");
    assert_eq!(rig.gate.stats().posts, posts, "not one more was tried");
    rig.gate.set_faults(Vec::new()).unwrap();
    let redriven = redrive(&rig, &[]);
    redriven.expect(0, "");
    assert_eq!(redriven.report["redriven"], 5);
    stream(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn what_judges_the_sender_ends_the_stream_and_sets_nothing_aside() {
    let rig = rig(&[]);
    for (fault, reason, named) in [
        ("status:401", "IG_PUSH_REJECTED", "wsp_auth_token"),
        ("status:403", "IG_PUSH_REJECTED", "IG_SERVICE_TOKEN"),
        ("status:404", "IG_PUSH_REJECTED", "ig_ingest_url"),
        ("status:405", "IG_PUSH_REJECTED", "ig_ingest_url"),
        ("status:407", "IG_PUSH_REJECTED", "proxy"),
        ("redirect:/x", "IG_PUSH_REJECTED", "ig_ingest_url"),
        ("no-decision", "IG_RESPONSE_UNKNOWN", "ig_ingest_url"),
    ] {
        rig.gate.set_faults(vec![fault.parse().unwrap()]).unwrap();
        let ran = stream(&rig, &[]);
        ran.expect(1, reason);
        let detail = ran.report["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{fault}: {detail}");
        assert_eq!(ids(&rig).len(), 0, "{fault}");
    }
    rig.gate.set_faults(Vec::new()).unwrap();
    stream(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_redrive_ends_where_the_gate_judges_the_sender_or_is_broken() {
    let rig = rig(&[("wiring.wsp_retry.give_up_after_s", "1")]);
    reject_share(&rig, 0.01);
    stream(&rig, &[]).expect(0, "");
    let aside = ids(&rig).len();
    assert!(aside > 5, "{aside}");
    for (fault, reason) in [
        ("status:401", "IG_PUSH_REJECTED"),
        ("no-decision", "IG_RESPONSE_UNKNOWN"),
        ("status:500", "IG_PUSH_RETRY_EXHAUSTED"),
        ("status:503", "IG_PUSH_RETRY_EXHAUSTED"),
    ] {
        rig.gate.set_faults(vec![fault.parse().unwrap()]).unwrap();
        let ran = redrive(&rig, &[]);
        ran.expect(1, reason);
        assert_eq!(ran.report["waiting"], aside, "{fault}");
    }
    rig.gate.set_faults(Vec::new()).unwrap();
    redrive(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn an_event_that_alone_gets_5xx_is_set_aside_while_others_pass() {
    let recording = GateOptions {
        record_arrivals: true,
        ..GateOptions::default()
    };
    let first = rig_of(&WorldOptions::sample(), recording, &[]);
    stream(&first, &["--max-events", "20"]).expect(0, "MAX_EVENTS");
    let unlucky = first.gate.arrivals()[10].event_id;
    let hex = |id: &[u8]| -> Vec<String> { id.iter().map(|byte| format!("{byte:02x}")).collect() };
    let unlucky = hex(&unlucky).concat();

    let rig = rig(&[]);
    let alone: FaultRule = format!("status:500,id={unlucky}").parse().unwrap();
    rig.gate.set_faults(vec![alone]).unwrap();
    stream(&rig, &[]).expect(0, "");
    let kept = records(&rig);
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["event_id"], unlucky.as_str());
    assert_eq!(kept[0]["reason"], "failed_alone");
    assert_eq!(kept[0]["status"], 500);
    assert!(kept[0]["attempts"].as_u64().unwrap() >= 3);
    assert_nothing_lost(&rig);
    let refused = redrive(&rig, &[]);
    refused.expect(1, "IG_PUSH_REJECTED");
    assert_eq!(refused.report["refused"][0]["status"], 500);
    rig.gate.set_faults(Vec::new()).unwrap();
    redrive(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_quarantine_that_cannot_be_opened_ends_the_stream_before_the_first_push() {
    let rig = rig(&[]);
    std::fs::create_dir_all(file(&rig)).unwrap();
    let ran = stream(&rig, &[]);
    ran.expect(1, "QUARANTINE_UNWRITABLE");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains("quarantine.ndjson"), "{detail}");
    assert_eq!(rig.gate.stats().connections, 0);
}

#[test]
fn a_full_disk_or_a_file_moved_away_ends_the_stream_and_no_cursor_passes() {
    let rig = rig(&[]);
    reject_share(&rig, 0.05);
    std::fs::create_dir_all(file(&rig).parent().unwrap()).unwrap();
    symlink("/dev/full", file(&rig)).unwrap();
    let ran = stream(&rig, &[]);
    ran.expect(1, "QUARANTINE_UNWRITABLE");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains("the disk is full"), "{detail}");
    assert_eq!(total(&ran, "quarantined"), 0);
    std::fs::remove_file(file(&rig)).unwrap();

    let child = start_stream(&rig, &["--speedup", "600"]);
    wait_until("an event is set aside", || !records(&rig).is_empty());
    let elsewhere = file(&rig).with_extension("moved");
    std::fs::rename(file(&rig), &elsewhere).unwrap();
    Rig::finish(child).expect(1, "QUARANTINE_UNWRITABLE");
    std::fs::rename(&elsewhere, file(&rig)).unwrap();
    stream(&rig, &[]).expect(0, "");
    assert_nothing_lost(&rig);
}

#[test]
fn a_damaged_quarantine_is_refused_with_file_and_line() {
    let rig = rig(&[]);
    reject_share(&rig, 0.01);
    stream(&rig, &[]).expect(0, "");
    let whole = std::fs::read_to_string(file(&rig)).unwrap();
    let mut lines: Vec<_> = whole.lines().map(str::to_owned).collect();
    lines[1] = lines[1].replacen("\"payload\"", "\"pay load\"", 1);
    std::fs::write(file(&rig), lines.join("\n") + "\n").unwrap();
    let posts = rig.gate.stats().posts;
    for ran in [redrive(&rig, &[]), stream(&rig, &[])] {
        ran.expect(1, "QUARANTINE_UNREADABLE");
        let detail = ran.report["detail"].as_str().unwrap();
        assert!(detail.contains("Line 2 of "), "{detail}");
        assert!(detail.contains("quarantine.ndjson"), "{detail}");
    }
    assert_eq!(rig.gate.stats().posts, posts);
    let missing = rig.run(&["redrive"], &["--file", "nowhere.ndjson"]);
    missing.expect(1, "QUARANTINE_UNREADABLE");
    std::fs::write(file(&rig), whole).unwrap();
    rig.gate.set_faults(Vec::new()).unwrap();
    redrive(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_redrive_passes_an_event_that_fails_alone_and_says_that_it_is_left() {
    let rig = rig(&[("wiring.wsp_push.timeout_ms", "300")]);
    reject_share(&rig, 0.05);
    stream(&rig, &[]).expect(0, "");
    let aside = records(&rig);
    let id_of = |line: &Value| line["envelope"]["event_id"].as_str().unwrap().to_owned();
    let poison = [id_of(&aside[3]), id_of(aside.last().unwrap())];
    let stall = Fault::Stall {
        ms: 2_000,
        store: false,
    };
    // Those of the round before are delivered by the next.
    for (round, fault) in [Fault::Reset { store: false }, stall]
        .into_iter()
        .enumerate()
    {
        let when = When {
            event_ids: poison[round..].to_vec(),
            ..When::default()
        };
        rig.gate
            .set_faults(vec![FaultRule { fault, when }])
            .unwrap();
        let ran = redrive(&rig, &[]);
        ran.expect(1, "IG_PUSH_REJECTED");
        let left: Vec<_> = ran.report["refused"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(left, poison[round..]);
        assert_eq!(ran.report["waiting"], left.len());
        assert!(
            ran.report["refused"][0]["body_excerpt"]
                .as_str()
                .unwrap()
                .len()
                > 3
        );
    }
    rig.gate.set_faults(Vec::new()).unwrap();
    redrive(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_redrive_waits_for_a_gate_that_is_away_for_all_events() {
    let rig = rig(&[]);
    reject_share(&rig, 0.05);
    stream(&rig, &[]).expect(0, "");
    let when = When {
        for_ms: Some(1_500),
        ..When::default()
    };
    let fault = Fault::Reset { store: false };
    rig.gate
        .set_faults(vec![FaultRule { fault, when }])
        .unwrap();
    redrive(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_redrive_of_a_file_in_a_world_writes_nothing_there() {
    let rig = rig(&[]);
    reject_share(&rig, 0.05);
    stream(&rig, &[]).expect(0, "");
    rig.gate.set_faults(Vec::new()).unwrap();
    let folder = rig.world.engine_run_root().join("aside");
    fs::create_dir(&folder).unwrap();
    fs::copy(file(&rig), folder.join("q.ndjson")).unwrap();
    symlink(&folder, rig.folder.path().join("innocent")).unwrap();
    let posts = rig.gate.stats().posts;
    for named in [folder.clone(), rig.folder.path().join("innocent")] {
        let named = named.join("q.ndjson");
        let named = ["--file", named.to_str().unwrap()];
        rig.run(&["redrive"], &named).expect(2, "PROFILE_INVALID");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let dry_run = [&named[..], &["--dry-run"]].concat();
        rig.run(&["redrive"], &dry_run).expect(0, "");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(rig.gate.stats().posts, posts);
}

#[test]
fn one_redrive_at_a_time_and_a_signal_stops_it_where_the_next_goes_on() {
    let rig = rig(&[]);
    reject_share(&rig, 0.05);
    stream(&rig, &[]).expect(0, "");
    let aside = ids(&rig).len() as u64;
    let slow: FaultRule = "delay:30".parse().unwrap();
    rig.gate.set_faults(vec![slow]).unwrap();
    let unique = rig.gate.stats().unique;
    let child = start_redrive(&rig);
    wait_until("two are delivered", || rig.gate.stats().unique > unique + 1);
    redrive(&rig, &[]).expect(1, "REDRIVE_HELD");
    signal(&child, "TERM");
    let stopped = Rig::finish(child);
    stopped.expect(3, "STOPPED");
    let delivered = stopped.report["redriven"].as_u64().unwrap();
    assert!(delivered > 1 && delivered < aside, "{delivered}");
    rig.gate.set_faults(Vec::new()).unwrap();
    let rest = redrive(&rig, &[]);
    rest.expect(0, "");
    assert_eq!(rest.report["redriven"], aside - delivered);
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
}

#[test]
fn a_redrive_works_beside_the_stream_that_appends() {
    let rig = rig(&[("policy.stream_speedup", "600")]);
    let rejecting = FaultRule::next(30, status(422));
    rig.gate.set_faults(vec![rejecting]).unwrap();
    let child = start_stream(&rig, &[]);
    wait_until("thirty are set aside", || records(&rig).len() >= 30);
    let beside = redrive(&rig, &[]);
    beside.expect(0, "");
    assert_eq!(beside.report["redriven"], 30);
    Rig::finish(child).expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
}

#[test]
fn producers_of_different_outputs_share_the_file_of_their_run() {
    let rig = rig(&[]);
    reject_share(&rig, 0.05);
    let outputs = rig.world.streamable_output_ids();
    assert!(outputs.len() > 1);
    let producers: Vec<Child> = outputs
        .iter()
        .map(|output| start_stream(&rig, &["--output-ids", output]))
        .collect();
    for producer in producers {
        Rig::finish(producer).expect(0, "");
    }
    let aside = assert_nothing_lost(&rig);
    assert_eq!(records(&rig).len(), aside.len());
    rig.gate.set_faults(Vec::new()).unwrap();
    redrive(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

/// A fault that answers with a status and a JSON body.
fn says(code: u16, body: &str) -> Fault {
    Fault::Status {
        code,
        retry_after: None,
        body: Some(body.to_owned()),
        store: false,
    }
}

const IN_DOUBT: &str = r#"{"error":"PUBLISH_AMBIGUOUS_RETRY"}"#;

#[test]
fn events_in_doubt_are_set_aside_and_may_be_given_up_one_by_one() {
    // The window holds all of them at once, so that they are in doubt side by side.
    let keys = [("wiring.wsp_checkpoint.flush_every", "10000")];
    let rig = rig_of(&WorldOptions::sample(), GateOptions::default(), &keys);
    let rule = FaultRule::for_share(0.005, says(400, IN_DOUBT));
    rig.gate.set_faults(vec![rule]).unwrap();
    stream(&rig, &[]).expect(0, "");
    let aside = assert_nothing_lost(&rig);
    assert!(aside.len() >= 2, "{aside:?}");
    for record in records(&rig) {
        assert_eq!(record["reason"], "in_doubt");
        assert_eq!(record["status"], 400);
    }
    // A rerun has nothing to ask.
    let posts = rig.gate.stats().posts;
    stream(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().posts, posts);

    let unknown = "0".repeat(64);
    let (first, rest) = aside.iter().next().zip(aside.len().checked_sub(1)).unwrap();
    let refused = redrive(&rig, &["--give-up", first, "--give-up", &unknown]);
    refused.expect(1, "QUARANTINE_EVENT_UNKNOWN");
    let one = redrive(&rig, &["--give-up", first]);
    one.expect(0, "");
    assert_eq!(
        (&one.report["given_up"], &one.report["waiting"]),
        (&1.into(), &rest.into())
    );
    redrive(&rig, &["--give-up", first]).expect(1, "QUARANTINE_EVENT_UNKNOWN");
    let audit = rig.audit();
    let line = audit
        .iter()
        .find(|line| line["event_kind"] == "events_given_up");
    assert_eq!(line.unwrap()["details"]["event_ids"][0], first.as_str());
    assert_eq!(rig.gate.stats().posts, posts, "nothing is pushed");

    rig.gate.set_faults(Vec::new()).unwrap();
    redrive(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows() - 1);
    assert!(!rig.gate.has(first));
}

#[test]
fn an_event_in_doubt_ends_a_stream_that_sets_nothing_aside_and_a_rerun_asks_again() {
    let rig = rig(&[("wiring.wsp_push.on_reject", "stop")]);
    let rule = FaultRule::for_share(0.01, says(503, r#"{"error":"retry_required"}"#));
    rig.gate.set_faults(vec![rule]).unwrap();
    let ran = stream(&rig, &[]);
    ran.expect(1, "IG_PUBLISH_AMBIGUOUS");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(
        detail.contains("retry_required") && detail.contains("row "),
        "{detail}"
    );
    assert!(ran.report["retries"]["in_doubt"].as_u64().unwrap() >= 2);
    rig.gate.set_faults(Vec::new()).unwrap();
    stream(&rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_gate_that_is_unwell_for_a_while_has_nothing_set_aside() {
    let rig = rig(&[]);
    for (code, body) in [
        (400, r#"{"error":"IG_UNHEALTHY"}"#),
        (
            503,
            r#"{"error":"ingress_publish_failed","reason":"IG_UNHEALTHY: bus"}"#,
        ),
    ] {
        let mut rule = FaultRule::always(says(code, body));
        rule.when.for_ms = Some(3_000);
        rig.gate.set_faults(vec![rule]).unwrap();
        let ran = stream(&rig, &["--max-events", "500"]);
        ran.expect(0, "MAX_EVENTS");
        assert!(ran.report["retries"]["gate_unhealthy"].as_u64().unwrap() > 0);
        assert!(ran.stderr.contains("takes no event"), "{}", ran.stderr);
    }
    assert_eq!(records(&rig).len(), 0);
    assert_eq!(rig.gate.stats().unique, 1_000);
}
