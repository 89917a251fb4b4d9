//! Shards as processes: together they stream the whole, whatever kills them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::{FaultRule, GateOptions, OrderCheck, WorldOptions};
use serde_json::Value;
use system_tests::checkpoints::{Backend, Checkpoints};
use system_tests::{Ran, Random, Rig, rounds};

const SHARDS: u32 = 8;
const PATIENCE: Duration = Duration::from_mins(2);

/// A world whose gate checks the order of every key.
fn rig(checkpoints: Option<&Checkpoints>, keys: &[(&str, &str)]) -> Rig {
    let world = WorldOptions::sample();
    let columns = world
        .build(&tempfile::tempdir().unwrap().path().join("columns"))
        .unwrap()
        .ordering_columns();
    let gate = GateOptions {
        order: OrderCheck::PerKey(columns),
        ..GateOptions::default()
    };
    let kept = checkpoints.map(Checkpoints::keys).unwrap_or_default();
    let kept = kept.iter().map(|(key, value)| (*key, value.as_str()));
    let keys: Vec<_> = kept.chain(keys.iter().copied()).collect();
    Rig::new(&world, gate, &keys)
}

/// Writes what a command printed beside the world, and gives the name.
fn written(rig: &Rig, name: &str, json: &Value) -> String {
    let path = rig.folder.path().join(name);
    std::fs::write(&path, json.to_string()).unwrap();
    path.display().to_string()
}

fn planned(rig: &Rig, count: u32) -> (Value, String) {
    let shard = format!("0/{count}");
    let plan = rig.run(&["plan"], &["--ids", "--shard", &shard]);
    plan.expect(0, "");
    let path = written(rig, "plan.json", &plan.report);
    (plan.report, path)
}

fn merge(rig: &Rig, plan: &str, reports: &[String]) -> Ran {
    let reports = reports.iter().map(String::as_str);
    let words: Vec<&str> = ["report", "merge", "--against", plan]
        .into_iter()
        .chain(reports)
        .collect();
    Ran::of(&mut system_tests::command(rig.folder.path(), &words))
}

/// Starts a shard, paced so that the whole takes some seconds.
fn start(rig: &Rig, index: u32) -> Child {
    rig.start_stream(&["--shard", &format!("{index}/{SHARDS}"), "--rate", "800"])
}

/// Eight processes with cursors in one Postgres; two of them are killed again and again.
#[test]
fn eight_shards_of_which_two_are_killed_again_and_again_stream_every_event_and_key_in_order() {
    let checkpoints = Checkpoints::on(Backend::Postgres);
    let keys = [
        ("wiring.wsp_checkpoint.flush_every", "20"),
        ("wiring.wsp_checkpoint.lease_s", "3"),
        ("wiring.wsp_push.lanes", "4"),
    ];
    let rig = rig(Some(&checkpoints), &keys);
    let (plan, plan_path) = planned(&rig, SHARDS);
    assert_eq!(plan["ids"]["events"], rig.rows());
    let mut random = Random::default();
    let mut shards: BTreeMap<u32, Child> = (0..SHARDS).map(|k| (k, start(&rig, k))).collect();
    let mut kills = 0;
    let wanted = rounds("WSP_SHARD_KILLS", 6, 40);
    let began = Instant::now();
    while kills < wanted && rig.gate.stats().unique < rig.rows() * 9 / 10 {
        let index = [2, 5][kills as usize % 2];
        sleep(Duration::from_millis(100 + random.below(500)));
        let mut child = shards.remove(&index).unwrap();
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        let _ = child.kill();
        child.wait().unwrap();
        shards.insert(index, start(&rig, index));
        assert!(began.elapsed() < PATIENCE, "the shards do not go on");
    }
    assert!(kills > 0, "no shard was killed while it ran");
    let mut reports = Vec::new();
    for (index, child) in shards {
        let ran = Rig::finish(child);
        ran.expect(0, "");
        assert_eq!(ran.report["shard"]["index"], index);
        reports.push(written(&rig, &format!("report-{index}.json"), &ran.report));
    }
    let stats = rig.gate.stats();
    assert_eq!(stats.unique, rig.rows(), "{stats:?}");
    assert_eq!((stats.order_violations, stats.invalid), (0, 0), "{stats:?}");
    assert!(stats.duplicates <= u64::from(kills) * 24, "{stats:?}");
    assert_eq!(plan["ids"]["ids_sum"], stats.ids_sum.to_string());

    let merged = merge(&rig, &plan_path, &reports);
    merged.expect(0, "");
    println!("{kills} kills: {}", merged.report);
    assert_eq!(merged.report["status"], "COMPLETE");
    assert_eq!(merged.report["acknowledged"]["events"], rig.rows());
    assert_eq!(
        merged.report["acknowledged"]["ids_sum"],
        stats.ids_sum.to_string()
    );
    let lost = merged.report["lost"].as_array().unwrap();
    let lost: Vec<u64> = lost
        .iter()
        .map(|lost| lost["shard"].as_u64().unwrap())
        .collect();
    assert!(lost.iter().all(|shard| [2, 5].contains(shard)), "{lost:?}");
    let is_whole = lost.is_empty();
    assert_eq!(merged.report["decisions_are_lower_bounds"], !is_whole);
    assert_eq!(
        merged.report["delivered"],
        if is_whole {
            Value::from(true)
        } else {
            Value::Null
        }
    );
}

#[test]
fn a_stream_goes_on_in_other_shards_and_repeats_nothing() {
    let rig = rig(None, &[]);
    let stream = |shard: &str, more: &[&str]| {
        let words = [&["--shard", shard, "--speedup", "0"], more].concat();
        let ran = rig.stream(&words);
        ran.expect(0, if more.is_empty() { "" } else { "MAX_EVENTS" });
        ran
    };
    for (index, most) in [(0, "400"), (1, "50"), (2, "900")] {
        stream(&format!("{index}/3"), &["--max-events", most]);
    }
    let refused = rig.stream(&["--shard", "0/2", "--speedup", "0"]);
    refused.expect(1, "CHECKPOINT_SHARDS_MISMATCH");
    rig.stream(&["--speedup", "0"])
        .expect(1, "CHECKPOINT_SHARDS_MISMATCH");

    let divided = rig.run(&["checkpoint", "reshard"], &["--to", "2"]);
    divided.expect(0, "");
    assert_eq!(divided.report["shards"]["before"], serde_json::json!([3]));
    let again = rig.run(&["checkpoint", "reshard"], &["--to", "2"]);
    assert_eq!(again.report["was_changed"], false);
    let (_, plan) = planned(&rig, 2);
    let reports: Vec<String> = (0..2)
        .map(|index| {
            let ran = stream(&format!("{index}/2"), &[]);
            written(&rig, &format!("report-{index}.json"), &ran.report)
        })
        .collect();
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
    assert_eq!(stats.order_violations, 0);
    let merged = merge(&rig, &plan, &reports);
    merged.expect(0, "");
    assert_eq!(merged.report["delivered"], true);

    // One shard alone is missing, and a report of another division is no report of this plan.
    merge(&rig, &plan, &reports[..1]).expect(1, "MERGE_REPORT_MISSING");
    let other = rig.stream(&["--shard", "0/3"]);
    let other = written(&rig, "other.json", &other.report);
    merge(&rig, &plan, &[other]).expect(1, "MERGE_PLAN_MISMATCH");
    let damaged = written(
        &rig,
        "damaged.json",
        &serde_json::json!({"status": "STREAMED"}),
    );
    merge(&rig, &plan, &[damaged]).expect(2, "MERGE_REPORT_UNREADABLE");
    merge(&rig, &reports[0], &reports).expect(2, "MERGE_REPORT_UNREADABLE");

    // In one piece nothing is left to send; given up, everything is.
    rig.run(&["checkpoint", "reshard"], &["--to", "1"])
        .expect(0, "");
    let whole = rig.stream(&["--speedup", "0"]);
    whole.expect(0, "");
    assert_eq!(whole.report["emitted"], 0);
    rig.run(&["checkpoint", "reset"], &["--yes"]).expect(0, "");
    let whole = rig.stream(&["--speedup", "0"]);
    whole.expect(0, "");
    assert_eq!(whole.report["emitted"], rig.rows());
}

#[test]
fn a_merge_of_what_is_not_done_yet_says_how_much_is_missing() {
    let rig = rig(None, &[]);
    let (_, plan) = planned(&rig, 2);
    let reports: Vec<String> = (0..2)
        .map(|index| {
            let shard = format!("{index}/2");
            let ran = rig.stream(&["--shard", &shard, "--speedup", "0", "--max-events", "10"]);
            written(&rig, &format!("report-{index}.json"), &ran.report)
        })
        .collect();
    let merged = merge(&rig, &plan, &reports);
    merged.expect(1, "MERGE_INCOMPLETE");
    assert_eq!(merged.report["complete"], false);
    assert_eq!(merged.report["acknowledged"]["events"], 20);
}

#[test]
fn what_is_no_shard_is_refused_before_anything_is_read() {
    let rig = rig(None, &[]);
    for shard in ["4/4", "0/0", "1", "-1/2", "a/b"] {
        let words = [format!("--shard={shard}"), "--dry-run".to_owned()];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        rig.stream(&words).expect(2, "SHARD_INVALID");
    }
    let to_none = rig.run(&["checkpoint", "reshard"], &["--to", "0"]);
    to_none.expect(2, "SHARD_INVALID");
}

#[test]
fn shards_that_are_paced_by_event_time_need_one_schedule() {
    let rig = rig(None, &[]);
    let shard = ["--shard", "1/2", "--speedup", "600"];
    rig.stream(&shard).expect(2, "SHARD_SCHEDULE_UNFIXED");
    let planned = rig.run(&["plan"], &["--shard", "1/2", "--rate", "100"]);
    let plan = &planned.report;
    // Of all shards, whichever is named, and of the whole rate.
    assert_eq!(plan["forecast"]["events"], rig.rows());
    let lasts = plan["forecast"]["duration_s"].as_f64().unwrap();
    assert!((lasts - rig.rows() as f64 / 100.0).abs() < 1.0, "{lasts}");
    let events: Vec<u64> = (0..2)
        .map(|shard| plan["ids"]["of_shards"][shard]["events"].as_u64().unwrap())
        .collect();
    assert_eq!(events.iter().sum::<u64>(), rig.rows());
    let largest = *events.iter().max().unwrap() as f64 / rig.rows() as f64;
    assert_eq!(plan["ids"]["largest_share"], largest);
    assert!(planned.stderr.contains("2 by key"), "{}", planned.stderr);
    assert!(
        planned.stderr.contains("--time-origin"),
        "{}",
        planned.stderr
    );
    let (start, origin) = (
        &plan["shards"]["start_at_utc"],
        &plan["shards"]["time_origin_utc"],
    );
    assert!(start.is_string(), "{plan}");
    let fixed = [
        "--start-at",
        "2026-01-01T00:00:00Z",
        "--time-origin",
        origin.as_str().unwrap(),
    ];
    let as_written = [&shard[..], &fixed, &["--order", "as_written"]].concat();
    rig.stream(&as_written).expect(2, "SHARD_SCHEDULE_UNFIXED");
    let ran = rig.stream(&[&shard[..], &fixed].concat());
    ran.expect(0, "");
}

#[test]
fn the_platforms_lanes_are_shards_by_event_id_under_its_own_keys() {
    let keys = [("wiring.wsp_checkpoint.scope", "scenario_run")];
    let rig = rig(None, &keys);
    let mut emitted = 0;
    for lane in 0..3 {
        let run = [
            "--platform-run-id",
            "platform_20260128T090000Z",
            "--speedup",
            "0",
        ];
        let mut command = rig.command(&["stream"], &run);
        command.envs([
            ("WSP_LANE_COUNT", "3"),
            ("WSP_LANE_INDEX", &lane.to_string()),
        ]);
        let ran = Ran::of(&mut command);
        ran.expect(0, "");
        emitted += ran.report["emitted"].as_u64().unwrap();
    }
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, emitted), (rig.rows(), rig.rows()));
}

/// Shards of one platform run keep apart what they write, and a redrive finds all of it.
#[test]
fn each_shard_has_its_own_audit_and_quarantine_and_one_redrive_delivers_them_all() {
    const RUN: &str = "platform_20260128T090000Z";
    let rig = rig(None, &[("wiring.wsp_push.on_reject", "quarantine")]);
    let refuse = "status:422".parse::<FaultRule>().unwrap().fault;
    let rule = FaultRule::for_share(0.05, refuse);
    rig.gate.set_faults(vec![rule]).unwrap();
    let run_folder = rig.world.runs_root().join(RUN);
    let words = ["--platform-run-id", RUN, "--speedup", "0"];
    let mut aside = BTreeSet::new();
    for shard in 0..2 {
        let named = format!("{shard}/2");
        let ran = rig.stream(&[&["--shard", &named][..], &words].concat());
        ran.expect(0, "");
        let own = run_folder.join(format!("wsp/shard-{shard}-of-2"));
        let audit = std::fs::read_to_string(own.join("session.jsonl")).unwrap();
        assert!(audit.contains("\"stream_complete\""), "{audit}");
        assert!(own.join("wsp_summary.json").is_file());
        let lines = std::fs::read_to_string(own.join("quarantine.ndjson")).unwrap();
        let ids = lines.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["event_id"].as_str().unwrap().to_owned()
        });
        let ids: BTreeSet<String> = ids.collect();
        assert_eq!(ran.report["quarantine"]["waiting"], ids.len());
        assert!(!ids.is_empty() && ids.is_disjoint(&aside), "{ids:?}");
        aside.extend(ids);
    }
    assert!(!run_folder.join("session.jsonl").exists(), "no shard's");
    assert_eq!(aside.len() as u64 + rig.gate.stats().unique, rig.rows());

    rig.gate.set_faults(Vec::new()).unwrap();
    let redrive = |more: &[&str]| rig.run(&["redrive"], &[&words[..2], more].concat());
    let unknown = "0".repeat(64);
    let last = aside.last().unwrap();
    // One that is nowhere closes none, whichever shard has the other.
    redrive(&["--give-up", last, "--give-up", &unknown]).expect(1, "QUARANTINE_EVENT_UNKNOWN");
    let given_up = redrive(&["--give-up", last]);
    given_up.expect(0, "");
    assert_eq!(given_up.report["given_up"], 1);
    assert_eq!(given_up.report["events"], aside.len());
    let looked = redrive(&["--dry-run"]);
    looked.expect(0, "");
    assert_eq!(looked.report["waiting"], aside.len() - 1);
    let redriven = redrive(&[]);
    redriven.expect(0, "");
    assert_eq!(redriven.report["redriven"], aside.len() - 1);
    assert_eq!(redriven.report["waiting"], 0);
    assert_eq!(rig.gate.stats().unique, rig.rows() - 1);
}

/// Two pods with one index: the second is kept out by the first one's lease, and only that long.
#[test]
fn of_two_processes_with_one_shard_the_second_is_refused_while_the_first_streams() {
    let rig = rig(None, &[("wiring.wsp_checkpoint.lease_s", "2")]);
    let first = rig.start_stream(&["--shard", "1/2", "--rate", "100"]);
    let began = Instant::now();
    while rig.gate.stats().unique == 0 {
        assert!(began.elapsed() < PATIENCE, "the first one does not begin");
        sleep(Duration::from_millis(5));
    }
    let second = rig.stream(&["--shard", "1/2", "--speedup", "0"]);
    second.expect(1, "LEASE_HELD");
    assert_eq!(second.report["emitted"], 0);
    // Another shard is nobody's yet.
    let other = rig.stream(&["--shard", "0/2", "--speedup", "0"]);
    other.expect(0, "");
    system_tests::signal(&first, "TERM");
    Rig::finish(first).expect(3, "STOPPED");
    rig.stream(&["--shard", "1/2", "--speedup", "0"])
        .expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.order_violations), (rig.rows(), 0));
}

/// A shard that runs keeps its cursors from being frozen; one that was killed does so until its
/// lease has run out.
#[test]
fn a_stream_is_divided_anew_only_while_no_shard_runs_and_repeats_no_more_than_a_kill_does() {
    const FLUSH_EVERY: u64 = 20;
    const LANES: u64 = 4;
    let (flush_every, lanes) = (FLUSH_EVERY.to_string(), LANES.to_string());
    let keys = [
        ("wiring.wsp_checkpoint.flush_every", flush_every.as_str()),
        ("wiring.wsp_checkpoint.lease_s", "2"),
        ("wiring.wsp_push.lanes", &lanes),
    ];
    let rig = rig(None, &keys);
    let mut killed = rig.start_stream(&["--shard", "1/3", "--rate", "300"]);
    rig.wait_for_unique(60);
    let reshard = || rig.run(&["checkpoint", "reshard"], &["--to", "4"]);
    let refused = reshard();
    refused.expect(1, "LEASE_HELD");
    assert!(killed.try_wait().unwrap().is_none(), "it ran meanwhile");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let sent = rig.gate.stats().unique;
    let began = Instant::now();
    let divided = loop {
        let divided = reshard();
        if divided.status == 0 {
            break divided;
        }
        divided.expect(1, "LEASE_HELD");
        assert!(began.elapsed() < PATIENCE, "the dead shard's lease stays");
    };
    assert_eq!(divided.report["shards"]["count"], 4);
    let (_, plan) = planned(&rig, 4);
    let reports: Vec<String> = (0..4)
        .map(|index| {
            let ran = rig.stream(&["--shard", &format!("{index}/4"), "--speedup", "0"]);
            ran.expect(0, "");
            written(&rig, &format!("report-{index}.json"), &ran.report)
        })
        .collect();
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.order_violations), (rig.rows(), 0));
    let most = FLUSH_EVERY + LANES;
    assert!(
        stats.duplicates <= most,
        "{sent} before the kill: {stats:?}"
    );
    let merged = merge(&rig, &plan, &reports);
    merged.expect(0, "");
    assert_eq!(merged.report["complete"], true);
}

/// The file of the stream's layout, with a text of its own in it.
fn damage_layout(rig: &Rig) {
    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .flat_map(|path| {
                if path.is_dir() {
                    files(&path)
                } else {
                    vec![path]
                }
            })
            .collect()
    }
    let found = files(&rig.world.runs_root().join("wsp_checkpoints"));
    let is_layout = |path: &PathBuf| {
        path.ends_with("cursor.json")
            && std::fs::read_to_string(path).is_ok_and(|text| text.contains("wsp:shards"))
    };
    let layout = found.iter().find(|path| is_layout(path)).unwrap();
    let text = std::fs::read_to_string(layout).unwrap();
    std::fs::write(layout, text.replacen("format_version", "format_vision", 1)).unwrap();
}

#[test]
fn a_damaged_layout_stops_every_shard_until_all_cursors_are_given_up() {
    let rig = rig(None, &[]);
    let first = ["--shard", "0/2", "--speedup", "0"];
    rig.stream(&first).expect(0, "");
    damage_layout(&rig);
    rig.stream(&first).expect(1, "CHECKPOINT_CORRUPT");
    rig.stream(&["--shard", "1/2", "--speedup", "0"])
        .expect(1, "CHECKPOINT_CORRUPT");
    rig.run(&["checkpoint", "show"], &[])
        .expect(1, "CHECKPOINT_CORRUPT");
    // Which division it was nothing tells but the caller.
    rig.run(&["checkpoint", "reset"], &["--yes", "--shard", "0/2"])
        .expect(0, "");
    let before = rig.gate.stats().posts;
    for shard in ["0/2", "1/2"] {
        rig.stream(&["--shard", shard, "--speedup", "0"])
            .expect(0, "");
    }
    let stats = rig.gate.stats();
    assert_eq!(
        (stats.unique, stats.posts - before),
        (rig.rows(), rig.rows())
    );
}
