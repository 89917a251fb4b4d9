//! What a resume accepts, what it refuses, and what it takes a flag for; and the operator's
//! look at cursors.

use std::path::{Path, PathBuf};

use sandbox::{Fault, FaultRule, GateOptions, OutputOptions, SampleOutput, WorldOptions};
use serde_json::{Value, json};
use system_tests::checkpoints::{Backend, Checkpoints, wait_for};
use system_tests::{Ran, Rig, signal};

const OTHER_RUN: &str = "platform_20200101T000000Z";

fn rig(keys: &[(&str, &str)]) -> Rig {
    Rig::new(&WorldOptions::sample(), GateOptions::default(), keys)
}

/// What the last run's audit says was adopted.
fn adopted(rig: &Rig) -> Vec<Value> {
    let audit = rig.audit();
    let started = audit
        .iter()
        .rfind(|line| line["event_kind"] == "stream_start");
    started.unwrap()["details"]["adopted"]
        .as_array()
        .unwrap()
        .clone()
}

fn show(rig: &Rig) -> Ran {
    rig.run(&["checkpoint", "show"], &[])
}

fn cursor_files(rig: &Rig) -> Vec<PathBuf> {
    let root = rig.world.runs_root().join("wsp_checkpoints");
    let mut folders = vec![root];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("cursor.json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A part as cursors name it.
fn relative(rig: &Rig, part: &Path) -> String {
    let root = rig.world.engine_run_root();
    part.strip_prefix(root)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

/// Writes a cursor as the existing producer does: six keys, and none of ours.
fn write_existing(rig: &Rig, output_id: &str, last_file: &str, last_row_index: u64) -> PathBuf {
    let pack_key = show(rig).report["pack_key"].as_str().unwrap().to_owned();
    let folder = rig
        .world
        .runs_root()
        .join("wsp_checkpoints")
        .join(&pack_key)
        .join(format!("output_id={output_id}"));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("cursor.json");
    let cursor = json!({
        "last_file": last_file,
        "last_row_index": last_row_index,
        "last_ts_utc": "2026-01-28T08:10:00.000000Z",
        "output_id": output_id,
        "pack_key": pack_key,
        "updated_at_utc": "2026-01-28T09:00:00+00:00",
    });
    std::fs::write(&file, cursor.to_string()).unwrap();
    file
}

#[test]
fn another_plan_is_refused_and_with_the_flag_adopted_and_audited() {
    let rig = rig(&[("policy.stream_order", "as_written")]);
    rig.stream(&["--max-events", "50"]).expect(0, "MAX_EVENTS");
    let part = &rig.world.parts("s2_event_stream_baseline_6B")[0];
    std::fs::copy(part, part.with_file_name("part-999999.parquet")).unwrap();
    rig.stream(&[]).expect(1, "CHECKPOINT_PLAN_MISMATCH");
    assert_eq!(rig.gate.stats().posts, 50);
    let ran = rig.stream(&["--allow-plan-change"]);
    ran.expect(0, "");
    assert_eq!(ran.report["emitted"], rig.rows() - 50 + 500);
    let adopted = adopted(&rig);
    assert_eq!(adopted.len(), 1, "{adopted:?}");
    assert_eq!(adopted[0]["adopted"], "plan_changed");
    assert_eq!(adopted[0]["output_id"], "s2_event_stream_baseline_6B");
    assert_eq!(adopted[0]["stored"].as_str().unwrap().len(), 64);
    rig.stream(&[]).expect(0, "");
}

#[test]
fn another_platform_run_is_refused_and_with_the_flag_adopted_and_audited() {
    let rig = rig(&[("policy.stream_order", "as_written")]);
    let first = rig.stream(&["--max-events", "50"]);
    first.expect(0, "MAX_EVENTS");
    let other = ["--platform-run-id", OTHER_RUN];
    rig.stream(&other).expect(1, "CHECKPOINT_RUN_MISMATCH");
    assert_eq!(rig.gate.stats().posts, 50);
    let ran = rig.stream(&[&other[..], &["--allow-run-change"]].concat());
    ran.expect(0, "");
    assert_eq!(ran.report["emitted"], rig.rows() - 50);
    assert_eq!(ran.report["platform_run_id"], OTHER_RUN);
    let expected = json!([{
        "output_id": "s2_event_stream_baseline_6B",
        "adopted": "run_changed",
        "stored": first.report["platform_run_id"],
    }]);
    let log = rig.world.runs_root().join(OTHER_RUN).join("session.jsonl");
    let log = std::fs::read_to_string(log).unwrap();
    let started = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .rfind(|line| line["event_kind"] == "stream_start");
    assert_eq!(started.unwrap()["details"]["adopted"], expected);
}

#[test]
fn cursors_of_scope_platform_run_are_each_runs_own() {
    let rig = rig(&[("wiring.wsp_checkpoint.scope", "platform_run")]);
    let one = ["--platform-run-id", "platform_20260101T000000Z"];
    let two = ["--platform-run-id", OTHER_RUN];
    let bounded = |run: &[&str]| rig.stream(&[run, &["--max-events", "70"]].concat());
    bounded(&one).expect(0, "MAX_EVENTS");
    bounded(&two).expect(0, "MAX_EVENTS");
    for run in [&one, &two] {
        let rest = rig.stream(run);
        rest.expect(0, "");
        assert_eq!(rest.report["emitted"], rig.rows() - 70);
    }
    let shown = rig.run(&["checkpoint", "show"], &one);
    let other = rig.run(&["checkpoint", "show"], &two);
    assert_ne!(shown.report["pack_key"], other.report["pack_key"]);
    assert_eq!(
        shown.report["cursors"][0]["cursor"]["platform_run_id"],
        one[1]
    );
}

#[test]
fn another_order_is_refused() {
    for (first, then) in [("as_written", "event_time"), ("event_time", "as_written")] {
        let rig = rig(&[]);
        rig.stream(&["--order", first, "--max-events", "50"])
            .expect(0, "MAX_EVENTS");
        rig.stream(&["--order", then])
            .expect(1, "CHECKPOINT_ORDER_MISMATCH");
        assert_eq!(rig.gate.stats().posts, 50);
        let unnamed = rig.stream(&[]);
        unnamed.expect(0, "");
        assert_eq!(unnamed.report["order"], first, "the order of the cursors");
        assert_eq!(unnamed.report["emitted"], rig.rows() - 50);
    }
}

#[test]
fn cursors_of_the_existing_producer_are_taken_over_from_files() {
    let rig = rig(&[]);
    let outputs = rig.world.streamable_output_ids();
    let absolute = rig.world.parts(&outputs[0])[1].clone();
    let inner = relative(&rig, &rig.world.parts(&outputs[1])[0]);
    let first = write_existing(&rig, &outputs[0], absolute.to_str().unwrap(), 122);
    write_existing(&rig, &outputs[1], &inner, 9);
    let shown = show(&rig);
    shown.expect(0, "");
    assert_eq!(shown.report["cursors"][0]["percent"], 62.3);
    rig.stream(&["--order", "event_time"])
        .expect(1, "CHECKPOINT_ORDER_MISMATCH");
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    assert_eq!(ran.report["order"], "as_written");
    assert_eq!(ran.report["emitted"], rig.rows() - 623 - 10);
    let of = |id: &str| json!({"output_id": id, "adopted": "existing_producer"});
    assert_eq!(adopted(&rig), [of(&outputs[0]), of(&outputs[1])]);
    let text = std::fs::read_to_string(first).unwrap();
    let saved: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(saved["last_file"], absolute.to_str().unwrap());
    assert_eq!(saved["last_part"], relative(&rig, &absolute));
    assert_eq!(saved["last_row_index"], 499);
    let again = rig.stream(&[]);
    assert_eq!((again.status, &again.report["emitted"]), (0, &json!(0)));
    assert_eq!(adopted(&rig), [] as [Value; 0], "ours by now");
}

#[test]
fn cursors_of_the_existing_producer_are_taken_over_from_postgres() {
    let checkpoints = Checkpoints::on(Backend::Postgres);
    let rig = Rig::keeping(&checkpoints, &WorldOptions::sample(), &[]);
    let pack_key = show(&rig).report["pack_key"].as_str().unwrap().to_owned();
    let output = rig.world.streamable_output_ids()[0].clone();
    let part = relative(&rig, &rig.world.parts(&output)[0]);
    wait_for(checkpoints.server().execute(&format!(
        "CREATE TABLE wsp_checkpoint (pack_key text, output_id text, last_file text,
             last_row_index integer, last_ts_utc text null, updated_at_utc timestamptz,
             primary key (pack_key, output_id));
         INSERT INTO wsp_checkpoint VALUES
             ('{pack_key}', '{output}', '{part}', 122, NULL, now() - interval '2 hours'),
             ('another pack', 'another output', 'part', 7, NULL, now())"
    )));
    let shown = show(&rig);
    shown.expect(0, "");
    let age = shown.report["cursors"][0]["age_s"].as_u64().unwrap();
    assert!((7_200..7_300).contains(&age), "{age}");
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    assert_eq!(ran.report["order"], "as_written");
    assert_eq!(ran.report["emitted"], rig.rows() - 123);
    let expected = json!([{"output_id": output, "adopted": "existing_producer"}]);
    assert_eq!(json!(adopted(&rig)), expected);
    // Another pack's row of the existing producer stands as it did.
    wait_for(checkpoints.server().execute(
        "DO $$ BEGIN ASSERT (SELECT last_row_index = 7 AND last_file = 'part'
             FROM wsp_checkpoint WHERE pack_key = 'another pack'); END $$",
    ));
}

#[test]
fn a_cursor_in_a_part_that_is_gone_is_refused() {
    let rig = rig(&[("policy.stream_order", "as_written")]);
    rig.stream(&["--max-events", "50"]).expect(0, "MAX_EVENTS");
    let output = &rig.world.streamable_output_ids()[0];
    let part = &rig.world.parts(output)[0];
    std::fs::rename(part, rig.folder.path().join("taken away")).unwrap();
    rig.stream(&[]).expect(1, "CHECKPOINT_PLAN_MISMATCH");
    let ran = rig.stream(&["--allow-plan-change"]);
    ran.expect(1, "CHECKPOINT_PART_MISSING");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains(&relative(&rig, part)), "{detail}");
    assert_eq!(rig.gate.stats().posts, 50);
    let shown = show(&rig);
    shown.expect(0, "");
    assert_eq!(shown.report["cursors"][0]["percent"], Value::Null);
}

#[test]
fn a_cursor_past_the_end_of_its_part_is_refused() {
    let rig = rig(&[]);
    let output = &rig.world.streamable_output_ids()[0];
    let part = relative(&rig, &rig.world.parts(output)[0]);
    write_existing(&rig, output, &part, 500);
    let ran = rig.stream(&[]);
    ran.expect(1, "CHECKPOINT_ROW_PAST_END");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains("500") && detail.contains(&part), "{detail}");
    write_existing(&rig, output, "/some/other/root/part-0.parquet", 3);
    rig.stream(&[]).expect(1, "CHECKPOINT_PART_MISSING");
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn show_tells_position_percent_age_and_holder_of_every_output() {
    for order in ["as_written", "event_time"] {
        let mut rig = rig(&[]);
        rig.set(&[
            ("policy.stream_order", order),
            ("wiring.wsp_checkpoint.flush_every", "20"),
            ("wiring.wsp_push.lanes", "8"),
            ("wiring.wsp_push.drain_timeout_s", "1"),
        ]);
        // It stands still in the middle for as long as anybody looks.
        let stall = Fault::Stall {
            ms: 600_000,
            store: false,
        };
        let rule = FaultRule::always(stall).after(1_500);
        rig.gate.set_faults(vec![rule]).unwrap();
        let outputs = rig.world.streamable_output_ids();
        let fresh = show(&rig);
        fresh.expect(0, "");
        assert_eq!(
            fresh.report["cursors"].as_array().unwrap().len(),
            outputs.len()
        );
        assert_eq!(fresh.report["cursors"][0]["cursor"], Value::Null);
        let child = rig.start_stream(&[]);
        rig.wait_for_unique(1_500);
        let running = show(&rig);
        running.expect(0, "");
        let holder = &running.report["cursors"][0]["holder"];
        assert_eq!(holder["holder"]["name"], "svc:world_stream_producer");
        assert_eq!(holder["holder"]["pid"], child.id());
        assert_eq!(holder["alive"], true);
        signal(&child, "TERM");
        let stopped = Rig::finish(child);
        stopped.expect(3, "STOPPED");
        rig.gate.set_faults(Vec::new()).unwrap();
        let shown = show(&rig);
        let emitted = stopped.report["emitted"].as_f64().unwrap();
        let mut percents = 0.0;
        for (cursor, output_id) in shown.report["cursors"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&outputs)
        {
            assert_eq!(cursor["output_id"], *output_id);
            assert_eq!(cursor["holder"], Value::Null);
            if cursor["cursor"].is_null() {
                assert_eq!(cursor["percent"], Value::Null);
                continue;
            }
            assert!(cursor["age_s"].as_u64().unwrap() < 600, "{cursor}");
            assert!(cursor["cursor"]["last_ts_utc"].is_string());
            percents += cursor["percent"].as_f64().unwrap();
            assert!(shown.stderr.contains(output_id), "{}", shown.stderr);
        }
        let share = emitted * 100.0 / 1_000.0;
        assert!(
            (percents - share).abs() < 10.0,
            "{order}: {percents} of {share}"
        );
        rig.stream(&["--speedup", "0"]).expect(0, "");
        for cursor in show(&rig).report["cursors"].as_array().unwrap() {
            assert_eq!(cursor["percent"], 100.0, "{order}: {cursor}");
        }
    }
}

#[test]
fn show_does_not_guess_the_percent_of_json_lines() {
    let world = WorldOptions::sample().with_outputs([OutputOptions::of(SampleOutput::EventLabels)]);
    for (order, percent) in [("as_written", Value::Null), ("event_time", json!(10.0))] {
        let rig = Rig::new(
            &world,
            GateOptions::default(),
            &[("policy.stream_order", order)],
        );
        rig.stream(&["--max-events", "100"]).expect(0, "MAX_EVENTS");
        assert_eq!(
            show(&rig).report["cursors"][0]["percent"],
            percent,
            "{order}"
        );
        let index = rig.world.runs_root().join("wsp/time_index");
        if index.exists() {
            std::fs::remove_dir_all(index).unwrap();
            let unknown = &show(&rig).report["cursors"][0];
            assert_eq!(unknown["percent"], Value::Null);
        }
    }
}

#[test]
fn a_damaged_cursor_is_shown_beside_the_others_and_reset_mends_it() {
    let rig = rig(&[]);
    rig.stream(&["--max-events", "900"]).expect(0, "MAX_EVENTS");
    let files = cursor_files(&rig);
    let text = std::fs::read_to_string(&files[0]).unwrap();
    std::fs::write(&files[0], &text[..text.len() / 2]).unwrap();
    let shown = show(&rig);
    assert_eq!(
        (shown.status, &shown.report["status"]),
        (1, &json!("FAILED"))
    );
    let cursors = shown.report["cursors"].as_array().unwrap();
    let damaged: Vec<_> = cursors
        .iter()
        .filter(|cursor| cursor["error"]["reason"] == "CHECKPOINT_CORRUPT")
        .collect();
    assert_eq!(damaged.len(), 1);
    assert!(cursors.iter().filter(|c| c["percent"].is_number()).count() >= 3);
    assert!(
        shown.stderr.contains("CHECKPOINT_CORRUPT"),
        "{}",
        shown.stderr
    );
    let output = damaged[0]["output_id"].as_str().unwrap();
    rig.run(&["checkpoint", "reset"], &["--output-ids", output, "--yes"])
        .expect(0, "");
    rig.stream(&[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_reset_without_yes_changes_nothing() {
    let rig = rig(&[]);
    rig.stream(&["--max-events", "50"]).expect(0, "MAX_EVENTS");
    let before = show(&rig).report["cursors"][0]["cursor"].clone();
    let refused = rig.run(&["checkpoint", "reset"], &[]);
    refused.expect(2, "RESET_NOT_CONFIRMED");
    assert_eq!(show(&rig).report["cursors"][0]["cursor"], before);
    assert_eq!(rig.stream(&[]).report["emitted"], rig.rows() - 50);
}

#[test]
fn a_reset_starts_over_and_keeps_history_on_every_backend() {
    for backend in [Backend::File, Backend::Sqlite, Backend::Postgres] {
        let checkpoints = Checkpoints::on(backend);
        let rig = Rig::keeping(&checkpoints, &WorldOptions::sample(), &[]);
        rig.stream(&["--max-events", "900"]).expect(0, "MAX_EVENTS");
        let outputs = rig.world.streamable_output_ids();
        let before = show(&rig).report;
        let reset = rig.run(&["checkpoint", "reset"], &["--yes"]);
        reset.expect(0, "");
        assert_eq!(reset.report["cursors"][0]["was_reset"], true);
        assert_eq!(show(&rig).report["cursors"][0]["cursor"], Value::Null);
        let pack_key = before["pack_key"].as_str().unwrap();
        for (output, history) in checkpoints.histories(pack_key, &outputs) {
            let newest = history.last().unwrap();
            assert_eq!(newest.event.as_str(), "reset", "{backend:?} {output}");
            let kept = newest.record.as_ref().unwrap();
            let shown = before["cursors"]
                .as_array()
                .unwrap()
                .iter()
                .find(|cursor| cursor["output_id"] == *output)
                .unwrap();
            assert_eq!(
                shown["cursor"]["last_row_index"],
                kept.cursor.last_row_index()
            );
        }
        let over = rig.stream(&[]);
        over.expect(0, "");
        assert_eq!(over.report["emitted"], rig.rows(), "{backend:?}");
        let stats = rig.gate.stats();
        assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 900));
    }
}

#[test]
fn a_reset_waits_for_no_living_producer_but_takes_over_when_told_to() {
    let mut rig = rig(&[]);
    rig.set(&[
        ("policy.stream_speedup", "60"),
        ("wiring.wsp_checkpoint.lease_s", "3"),
    ]);
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(20);
    let reset = |more: &[&str]| rig.run(&["checkpoint", "reset"], &[&["--yes"], more].concat());
    let refused = reset(&[]);
    refused.expect(1, "LEASE_HELD");
    let detail = refused.report["detail"].as_str().unwrap();
    assert!(detail.contains("svc:world_stream_producer"), "{detail}");
    reset(&["--take-over"]).expect(0, "");
    Rig::finish(child).expect(1, "LEASE_LOST");
    assert_eq!(show(&rig).report["cursors"][0]["cursor"], Value::Null);
}
