//! Runs whose records live in a bucket: audit, quarantine, reports, the active run; whatever is
//! killed, away, or runs beside.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::{FaultRule, GateOptions, WorldOptions};
use serde_json::Value;
use system_tests::{BUCKET, Bucket, Ran, Rig, signal};

const RUN: &str = "platform_20260128T090000Z";
const NAMED: [&str; 2] = ["--platform-run-id", RUN];
const FLUSH_EVERY: u64 = 40;
const LANES: u64 = 16;

/// A rig whose runs root is a prefix of a bucket.
struct Scene {
    rig: Rig,
    bucket: Bucket,
}

impl Scene {
    fn new(keys: &[(&str, &str)]) -> Self {
        let bucket = Bucket::start();
        let (root, wiring) = (format!("s3://{BUCKET}/runs"), bucket.wiring());
        let (flush_every, lanes) = (FLUSH_EVERY.to_string(), LANES.to_string());
        let mut all = vec![
            ("wiring.wsp_audit.root", root.as_str()),
            ("wiring.object_store", wiring.as_str()),
            ("wiring.wsp_push.on_reject", "quarantine"),
            ("wiring.wsp_checkpoint.flush_every", &flush_every),
            ("wiring.wsp_push.lanes", &lanes),
            ("wiring.wsp_retry.base_delay_ms", "1"),
            ("wiring.wsp_retry.max_delay_ms", "20"),
            ("wiring.wsp_retry.max_attempts", "3"),
        ];
        all.extend(keys);
        let world = WorldOptions::sample();
        let rig = Rig::new(&world, GateOptions::default(), &all);
        let share = FaultRule::for_share(0.05, "status:422".parse::<FaultRule>().unwrap().fault);
        rig.gate.set_faults(vec![share]).unwrap();
        Self { rig, bucket }
    }

    fn command(&self, words: &[&str], more: &[&str]) -> Command {
        let mut command = self.rig.command(words, more);
        let folder = self.rig.folder.path();
        command
            .envs(Bucket::environment())
            .env("XDG_RUNTIME_DIR", folder.join("runtime"))
            .env("XDG_CACHE_HOME", folder.join("cache"));
        command
    }

    fn run(&self, words: &[&str], more: &[&str]) -> Ran {
        Ran::of(&mut self.command(words, &[&NAMED, more].concat()))
    }

    fn start(&self, more: &[&str]) -> Child {
        let mut command = self.command(&["stream"], &[&NAMED, more].concat());
        command.spawn().expect("wsp-cli starts")
    }

    /// The lines of all objects in a folder of the run, object by object.
    fn lines(&self, folder: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        for key in self.bucket.keys(&format!("runs/{RUN}/wsp/{folder}")) {
            let text = String::from_utf8(self.bucket.get(&key).to_vec()).unwrap();
            assert!(text.ends_with('\n'), "{key} is whole");
            lines.extend(
                text.lines()
                    .map(|line| serde_json::from_str::<Value>(line).unwrap()),
            );
        }
        lines
    }

    fn kinds(&self) -> Vec<String> {
        let kind = |line: &Value| line["event_kind"].as_str().unwrap().to_owned();
        self.lines("audit").iter().map(kind).collect()
    }

    fn aside(&self) -> BTreeSet<String> {
        let id = |line: &Value| line["event_id"].as_str().unwrap().to_owned();
        self.lines("quarantine").iter().map(id).collect()
    }

    #[track_caller]
    fn assert_nothing_lost(&self) -> u64 {
        let aside = self.aside();
        let at_gate = self.rig.gate.stats().unique;
        assert_eq!(aside.len() as u64 + at_gate, self.rig.rows());
        assert!(
            !aside.iter().any(|id| self.rig.gate.has(id)),
            "in both places"
        );
        aside.len() as u64
    }

    fn set_away(&self, is_away: bool) {
        self.bucket.set_away(is_away);
    }
}

#[test]
fn the_records_of_a_run_are_objects_and_nothing_lies_beside_the_cursors() {
    let scene = Scene::new(&[]);
    let ran = Ran::of(&mut scene.command(&["stream"], &["--max-events", "700"]));
    ran.expect(0, "MAX_EVENTS");
    let active = scene.bucket.get("runs/ACTIVE_RUN_ID");
    let run = String::from_utf8(active.to_vec()).unwrap();
    assert_eq!(ran.report["platform_run_id"], run.trim());
    let keys = scene.bucket.keys("runs");
    let folder = format!("runs/{}/wsp", run.trim());
    let has = |part: &str| keys.iter().filter(|key| key.contains(part)).count();
    assert!(
        has("/wsp/audit/") >= 2,
        "at the beginning and the end: {keys:?}"
    );
    assert!(has("/wsp/quarantine/") >= 1, "{keys:?}");
    assert_eq!(has("/wsp/reports/"), 1, "{keys:?}");
    let summary = scene.bucket.get(&format!("{folder}/wsp_summary.json"));
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary, ran.report);
    // The active run is that of the next process, too.
    let rest = Ran::of(&mut scene.command(&["stream"], &[]));
    rest.expect(0, "");
    assert_eq!(rest.report["platform_run_id"], run.trim());
    let on_disk = std::fs::read_dir(scene.rig.folder.path()).unwrap();
    let names = on_disk.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.starts_with("s3:")));
}

#[test]
fn an_audit_in_a_bucket_has_every_line_that_one_on_disk_has() {
    let scene = Scene::new(&[]);
    let ran = scene.run(&["stream"], &[]);
    ran.expect(0, "");
    let kinds = scene.kinds();
    let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    assert_eq!(kinds[0], "engine_world_selected");
    for kind in ["stream_start", "engine_world_streamed", "stream_complete"] {
        assert_eq!(count(kind), 1, "{kinds:?}");
    }
    let audit = scene.lines("audit");
    for output in ran.report["per_output"].as_array().unwrap() {
        let saved = audit.iter().rfind(|line| {
            line["event_kind"] == "checkpoint_saved"
                && line["details"]["output_id"] == output["output_id"]
        });
        assert_eq!(saved.unwrap()["details"]["cursor"], output["cursor"]);
    }
}

#[test]
fn a_redrive_delivers_from_objects_each_event_once() {
    let scene = Scene::new(&[]);
    scene.run(&["stream"], &[]).expect(0, "");
    let aside = scene.assert_nothing_lost();
    assert!(aside > 10, "{aside}");
    let planned = scene.run(&["redrive"], &["--dry-run"]);
    planned.expect(0, "");
    assert_eq!(planned.report["waiting"], aside);
    scene.rig.gate.set_faults(Vec::new()).unwrap();
    let redriven = scene.run(&["redrive"], &[]);
    redriven.expect(0, "");
    assert_eq!(redriven.report["redriven"], aside, "{}", redriven.report);
    assert_eq!(scene.rig.gate.stats().unique, scene.rig.rows());
    let again = scene.run(&["redrive"], &[]);
    again.expect(0, "");
    assert_eq!(again.report["redriven"], 0);
    assert_eq!(again.report["redriven_before"], aside);
    assert_eq!(
        scene
            .kinds()
            .iter()
            .filter(|kind| *kind == "events_redriven")
            .count(),
        2
    );
}

#[test]
fn shards_keep_their_objects_apart_and_one_redrive_delivers_from_all_of_them() {
    let scene = Scene::new(&[]);
    let mut aside = 0;
    for shard in ["0", "1"] {
        let named = format!("{shard}/2");
        let ran = scene.run(&["stream"], &["--shard", &named, "--speedup", "0"]);
        ran.expect(0, "");
        let own = format!("shard-{shard}-of-2");
        let audit = scene.lines(&format!("{own}/audit"));
        let last = audit.last().unwrap();
        assert_eq!(last["event_kind"], "stream_complete", "{audit:?}");
        let waiting = scene.lines(&format!("{own}/quarantine")).len();
        assert_eq!(ran.report["quarantine"]["waiting"], waiting);
        assert!(waiting > 0, "{own}");
        aside += waiting;
    }
    let of_whole = scene.lines("audit").len() + scene.lines("quarantine").len();
    assert_eq!(of_whole, 0, "no shard's");
    assert_eq!(
        aside as u64 + scene.rig.gate.stats().unique,
        scene.rig.rows()
    );
    scene.rig.gate.set_faults(Vec::new()).unwrap();
    let redriven = scene.run(&["redrive"], &[]);
    redriven.expect(0, "");
    assert_eq!(redriven.report["redriven"], aside);
    let again = scene.run(&["redrive"], &[]);
    again.expect(0, "");
    assert_eq!(
        (&again.report["redriven"], &again.report["waiting"]),
        (&0.into(), &0.into())
    );
    assert_eq!(scene.rig.gate.stats().unique, scene.rig.rows());
}

#[test]
fn a_kill_loses_no_event_whose_cursor_passed_and_no_process_writes_over_another() {
    let scene = Scene::new(&[("policy.stream_speedup", "1200")]);
    for share in [5, 3, 2] {
        let mut child = scene.start(&[]);
        let wanted = scene.rig.rows() / share;
        let began = Instant::now();
        while scene.rig.gate.stats().unique < wanted && began.elapsed() < Duration::from_secs(30) {
            sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let before: Vec<(String, Vec<u8>)> = scene
        .bucket
        .keys("runs")
        .into_iter()
        .filter(|key| !key.ends_with("wsp_summary.json"))
        .map(|key| (key.clone(), scene.bucket.get(&key).to_vec()))
        .collect();
    scene
        .run(&["stream"], &["--take-over", "--speedup", "0"])
        .expect(0, "");
    scene.assert_nothing_lost();
    for (key, bytes) in before {
        assert_eq!(scene.bucket.get(&key).to_vec(), bytes, "{key}");
    }
    let bound = 3 * (FLUSH_EVERY + LANES);
    let repeated = scene.rig.gate.stats().duplicates;
    assert!(repeated <= bound, "{repeated} repeated");
}

#[test]
fn one_redrive_holds_the_lease_and_another_is_refused() {
    let scene = Scene::new(&[("wiring.wsp_checkpoint.lease_s", "2")]);
    scene.run(&["stream"], &[]).expect(0, "");
    // Each event now waits for its answer long enough.
    let slow = "delay:400".parse::<FaultRule>().unwrap();
    scene.rig.gate.set_faults(vec![slow]).unwrap();
    let mut command = scene.command(&["redrive"], &NAMED);
    let first = command.stdout(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while scene
        .bucket
        .keys(&format!("runs/{RUN}/wsp/redrive"))
        .is_empty()
    {
        assert!(began.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(5));
    }
    scene.run(&["redrive"], &[]).expect(1, "REDRIVE_HELD");
    signal(&first, "TERM");
    let first = Rig::finish(first);
    assert!([0, 3].contains(&first.status), "{}", first.report);
}

#[test]
fn a_bucket_that_is_away_refuses_a_strict_run_and_warns_a_local_one() {
    for (posture, status, reason) in [
        ("strict", 1, "AUDIT_UNWRITABLE"),
        ("local", 0, "MAX_EVENTS"),
    ] {
        let scene = Scene::new(&[
            ("policy.posture", posture),
            ("wiring.wsp_push.on_reject", "stop"),
        ]);
        scene.rig.gate.set_faults(Vec::new()).unwrap();
        scene.set_away(true);
        let ran = scene.run(&["stream"], &["--max-events", "20"]);
        ran.expect(status, reason);
        if posture == "local" {
            assert!(
                ran.stderr.contains("the audit log cannot be written"),
                "{}",
                ran.stderr
            );
        } else {
            assert_eq!(scene.rig.gate.stats().posts, 0);
        }
    }
}

#[test]
fn a_quarantine_that_cannot_be_written_ends_the_run_and_loses_nothing() {
    let scene = Scene::new(&[("policy.stream_speedup", "1200")]);
    scene.rig.gate.set_faults(Vec::new()).unwrap();
    let child = scene.start(&[]);
    scene.rig.wait_for_unique(scene.rig.rows() / 4);
    scene.set_away(true);
    let share = FaultRule::for_share(0.2, "status:422".parse::<FaultRule>().unwrap().fault);
    scene.rig.gate.set_faults(vec![share]).unwrap();
    let ran = Rig::finish(child);
    ran.expect(1, "QUARANTINE_UNWRITABLE");
    scene.set_away(false);
    scene.run(&["stream"], &["--speedup", "0"]).expect(0, "");
    scene.assert_nothing_lost();
}

#[test]
fn a_world_under_the_runs_root_in_a_bucket_is_refused() {
    let scene = Scene::new(&[
        ("wiring.oracle_root", "null"),
        (
            "wiring.oracle_engine_run_root",
            &format!("s3://{BUCKET}/runs/world"),
        ),
    ]);
    scene
        .run(&["stream"], &[])
        .expect(1, "ENGINE_ROOT_IN_PLATFORM_RUNS");
    assert!(scene.bucket.keys("runs").is_empty());
}
