//! Cursors both ways: taken over from the platform's producers, and handed back to them. What
//! those do with a cursor is written down here as they do it: they compare places as whole text.

use std::path::{Path, PathBuf};

use sandbox::{GateOptions, ViewOptions, WorldOptions};
use serde_json::{Value, json};
use system_tests::checkpoints::{Backend, Checkpoints, wait_for};
use system_tests::{Ground, Ran, Rig, on_each_ground};

const RUN: &str = "platform_20260128T090000Z";
const OF_RUN: [&str; 2] = ["--platform-run-id", RUN];
const VIEW: (&str, &str) = ("policy.stream_source", "view");
const SCENARIO_RUN: (&str, &str) = ("wiring.wsp_checkpoint.scope", "scenario_run");

/// The rows that a producer of the platform would push behind a cursor: of its sorted files, each
/// with its rows, those that its rule does not skip.
fn rows_behind(files: &[(String, u64)], last_file: &str, last_row_index: u64) -> u64 {
    let mut files = files.to_vec();
    files.sort();
    let rows = files.iter().map(|(file, rows)| match file.as_str() {
        file if file < last_file => 0,
        file if file == last_file => rows.saturating_sub(last_row_index + 1),
        _ => *rows,
    });
    rows.sum()
}

/// The parts of an output under a root as a producer spells it, each with its rows.
fn parts_of(rig: &Rig, output: &str, root: &str) -> Vec<(String, u64)> {
    let on_disk = rig.world.engine_run_root();
    let parts = rig.world.parts(output).iter();
    let of_output = rig.world.options().outputs.iter();
    let mut of_output = of_output.filter(|options| options.output_id == output);
    let rows = of_output.next().unwrap().rows_per_part;
    parts
        .map(|part| {
            let key = part.strip_prefix(on_disk).unwrap();
            (format!("{root}/{}", key.display()), rows)
        })
        .collect()
}

fn stream(rig: &Rig, more: &[&str]) -> Ran {
    rig.stream(&[&OF_RUN[..], more].concat())
}

/// The cursor of an output after a run, as its report has it.
fn cursor_of(ran: &Ran, output: &str) -> Value {
    let outputs = ran.report["per_output"].as_array().unwrap();
    let found = outputs.iter().find(|found| found["output_id"] == output);
    found.unwrap()["cursor"].clone()
}

fn left_behind(cursor: &Value, files: &[(String, u64)]) -> u64 {
    let row = cursor["last_row_index"].as_u64().unwrap();
    rows_behind(files, cursor["last_file"].as_str().unwrap(), row)
}

fn as_written_is_handed_back_exactly(ground: Ground) {
    let keys = [("policy.stream_order", "as_written")];
    let gate = GateOptions::default();
    let rig = Rig::on(ground, &WorldOptions::sample(), gate, &keys);
    let output = rig.world.streamable_output_ids()[0].clone();
    let files = parts_of(&rig, &output, &rig.engine_run_root());
    let rows: u64 = files.iter().map(|(_, rows)| rows).sum();
    let mut done = 0;
    // In the first part, at its end, in the second.
    for step in [253, files[0].1 - 253, 100] {
        let ran = stream(&rig, &["--max-events", &step.to_string()]);
        done += step;
        assert_eq!(left_behind(&cursor_of(&ran, &output), &files), rows - done);
    }
}

on_each_ground!(as_written_is_handed_back_exactly);

#[test]
fn as_written_is_handed_back_under_a_relative_root_too() {
    let keys = [
        ("policy.stream_order", "as_written"),
        ("wiring.oracle_root", "null"),
    ];
    let rig = Rig::new(&WorldOptions::sample(), GateOptions::default(), &keys);
    let output = rig.world.streamable_output_ids()[0].clone();
    let folder = rig.folder.path();
    let root = rig.world.engine_run_root().strip_prefix(folder).unwrap();
    let named = format!(".//{}/", root.display());
    let ran = stream(&rig, &["--max-events", "253", "--engine-run-root", &named]);
    // As pathlib spells it.
    let files = parts_of(&rig, &output, &root.display().to_string());
    let rows: u64 = files.iter().map(|(_, rows)| rows).sum();
    assert_eq!(left_behind(&cursor_of(&ran, &output), &files), rows - 253);
}

#[test]
fn every_backend_keeps_the_place_that_is_compared() {
    for backend in [Backend::File, Backend::Sqlite, Backend::Postgres] {
        let checkpoints = Checkpoints::on(backend);
        let keys = [("policy.stream_order", "as_written")];
        let rig = Rig::keeping(&checkpoints, &WorldOptions::sample(), &keys);
        let output = rig.world.streamable_output_ids()[0].clone();
        let files = parts_of(&rig, &output, &rig.engine_run_root());
        let ran = stream(&rig, &["--max-events", "253"]);
        let pack_key = ran.report["pack_key"].as_str().unwrap();
        let key = checkpoint::PackKey::parse(pack_key).unwrap();
        let key = checkpoint::CursorKey::new(key, output.as_str()).unwrap();
        let record = wait_for(checkpoints.store().load(&key)).unwrap().unwrap();
        let cursor = record.cursor;
        assert_eq!(cursor.last_file(), files[0].0);
        assert!(
            !cursor.part_text().starts_with('/'),
            "{}",
            cursor.part_text()
        );
        if backend == Backend::Postgres {
            // The seed-time producer writes its row once nobody holds the lease.
            let (last, row) = (&files[0].0, 299);
            wait_for(checkpoints.server().execute(&format!(
                "UPDATE wsp_checkpoint SET last_file = '{last}', last_row_index = {row}"
            )));
            let rest = stream(&rig, &[]);
            rest.expect(0, "");
            assert_eq!(rest.report["emitted"], rig.rows() - row - 1);
        }
    }
}

#[test]
fn a_world_is_switched_between_disk_and_s3_in_the_middle() {
    let gate = GateOptions::default();
    let mut rig = Rig::on(Ground::S3, &WorldOptions::sample(), gate, &[]);
    let first = stream(&rig, &["--max-events", "700"]);
    let output = rig.world.streamable_output_ids()[0].clone();
    let file = |ran: &Ran| {
        cursor_of(ran, &output)["last_file"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(file(&first).starts_with("s3://"), "{}", file(&first));
    let in_bucket = rig.bucket.take();
    rig.set(&[]);
    let second = stream(&rig, &["--max-events", "700"]);
    let root = rig.world.engine_run_root().display().to_string();
    assert!(file(&second).starts_with(&root), "{}", file(&second));
    rig.bucket = in_bucket;
    rig.set(&[]);
    let rest = stream(&rig, &[]);
    rest.expect(0, "");
    assert!(file(&rest).starts_with("s3://"), "{}", file(&rest));
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
}

/// A rig with views under a local root, whose cursors are the newest producer's.
fn viewed(more: &[(&str, &str)]) -> Rig {
    let keys = [&[VIEW, SCENARIO_RUN], more].concat();
    let rig = Rig::new(&WorldOptions::sample(), GateOptions::default(), &keys);
    let options = ViewOptions::under(rig.engine_run_root());
    rig.world.build_views(&options).unwrap();
    rig
}

/// The files of an output's view as the newest producer spells them, each with its rows.
fn view_files(rig: &Rig, output: &str) -> Vec<(String, u64)> {
    let parts = parts_of(rig, output, "");
    let rows: u64 = parts.iter().map(|(_, rows)| rows).sum();
    let folder = format!(
        "{}/stream_view/ts_utc/output_id={output}",
        rig.engine_run_root()
    );
    let half = rows.div_ceil(2);
    [(0, half), (1, rows - half)]
        .map(|(number, rows)| (format!("{folder}/part-{number:06}.parquet"), rows))
        .to_vec()
}

/// The newest producer's key of a rig's cursors.
fn newest_key(rig: &Rig, lane: (u32, u32), attempt: &str) -> String {
    let identity = rig.world.identity();
    let pack = identity.oracle_pack_id.clone().unwrap();
    let (count, index) = lane;
    let text = format!("{pack}|{RUN}|{}|{count}|{index}|{attempt}", identity.run_id);
    oracle_store::Hex64::sha256_of(text).to_string()
}

/// Where the platform keeps the cursors of the run, whatever root is named under its runs root.
fn platform_place(rig: &Rig) -> PathBuf {
    rig.runs_root().join(RUN).join("wsp/checkpoints")
}

fn named_place(rig: &Rig) -> PathBuf {
    rig.runs_root().join("wsp_checkpoints")
}

fn write_newest(place: &Path, key: &str, output: &str, last_file: &str, row: u64) {
    let folder = place.join(key).join(format!("output_id={output}"));
    std::fs::create_dir_all(&folder).unwrap();
    let cursor = json!({
        "last_file": last_file, "last_row_index": row, "last_ts_utc": null,
        "output_id": output, "pack_key": key,
        "updated_at_utc": "2026-01-28T09:00:00.500200+00:00",
    });
    std::fs::write(folder.join("cursor.json"), cursor.to_string()).unwrap();
}

#[test]
fn a_view_is_handed_back_to_the_newest_producer_in_its_place_and_under_its_key() {
    for order in ["event_time", "as_written"] {
        let rig = viewed(&[]);
        let output = rig.world.streamable_output_ids()[0].clone();
        let files = view_files(&rig, &output);
        let rows: u64 = files.iter().map(|(_, rows)| rows).sum();
        let only = ["--output-ids", &output, "--order", order];
        let mut done = 0;
        for step in [253, files[0].1 - 253, 100] {
            let step_text = step.to_string();
            stream(&rig, &[&only[..], &["--max-events", &step_text]].concat());
            done += step;
            let key = newest_key(&rig, (1, 0), "");
            let file = format!("{key}/output_id={output}/cursor.json");
            let text = std::fs::read_to_string(platform_place(&rig).join(file)).unwrap();
            let cursor: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(left_behind(&cursor, &files), rows - done, "{order}");
            assert_eq!(cursor["source"], "view");
            let part = cursor["last_part"].as_str().unwrap();
            assert!(part.starts_with("output_id="), "{part}");
        }
        assert!(!named_place(&rig).exists());
        let rest = stream(&rig, &only);
        rest.expect(0, "");
        assert_eq!(rest.report["emitted"], rows - done);
    }
}

#[test]
fn a_newest_cursor_is_taken_over_from_either_place() {
    for place in [platform_place, named_place] {
        for order in [&[][..], &["--order", "as_written"]] {
            let rig = viewed(&[]);
            let output = rig.world.streamable_output_ids()[0].clone();
            let files = view_files(&rig, &output);
            let key = newest_key(&rig, (1, 0), "");
            write_newest(&place(&rig), &key, &output, &files[0].0, 252);
            let only = ["--output-ids", &output];
            let rest = stream(&rig, &[&only[..], order].concat());
            rest.expect(0, "");
            let rows: u64 = files.iter().map(|(_, rows)| rows).sum();
            assert_eq!(rest.report["emitted"], rows - 253);
            assert_eq!(rest.report["pack_key"], key.as_str());
            let audit = rig.audit();
            let started = audit
                .iter()
                .rfind(|line| line["event_kind"] == "stream_start");
            let adopted = &started.unwrap()["details"]["adopted"];
            assert_eq!(
                adopted,
                &json!([{"output_id": output, "adopted": "view_producer"}])
            );
            // What was taken over is passed by, and says nothing any more.
            let again = stream(&rig, &only);
            again.expect(0, "");
            assert_eq!(again.report["emitted"], 0);
        }
    }
}

#[test]
fn different_cursors_in_both_places_are_ambiguous_and_equal_ones_are_one() {
    for (scope, source) in [("scenario_run", "view"), ("pack", "outputs")] {
        let rig = viewed(&[
            ("wiring.wsp_checkpoint.scope", scope),
            ("policy.stream_source", source),
        ]);
        let output = rig.world.streamable_output_ids()[0].clone();
        let only = ["--output-ids", &output];
        let (key, file) = if scope == "pack" {
            let files = parts_of(&rig, &output, &rig.engine_run_root());
            (
                rig.world.identity().oracle_pack_id.clone().unwrap(),
                files[0].0.clone(),
            )
        } else {
            (
                newest_key(&rig, (1, 0), ""),
                view_files(&rig, &output)[0].0.clone(),
            )
        };
        write_newest(&platform_place(&rig), &key, &output, &file, 20);
        write_newest(&named_place(&rig), &key, &output, &file, 10);
        let ran = stream(&rig, &only);
        ran.expect(1, "CHECKPOINT_AMBIGUOUS");
        let detail = ran.report["detail"].as_str().unwrap();
        assert!(
            detail.contains("row 20") && detail.contains("row 10"),
            "{detail}"
        );
        assert_eq!(rig.gate.stats().posts, 0);
        write_newest(&named_place(&rig), &key, &output, &file, 20);
        stream(&rig, &[&only[..], &["--max-events", "5"]].concat()).expect(0, "MAX_EVENTS");
    }
}

#[test]
fn cursors_are_shown_and_given_up_in_the_platforms_place_too() {
    let rig = viewed(&[
        ("wiring.wsp_checkpoint.scope", "pack"),
        ("policy.stream_source", "outputs"),
        ("policy.stream_order", "as_written"),
    ]);
    let output = rig.world.streamable_output_ids()[0].clone();
    let files = parts_of(&rig, &output, &rig.engine_run_root());
    let key = rig.world.identity().oracle_pack_id.clone().unwrap();
    write_newest(&platform_place(&rig), &key, &output, &files[0].0, 20);
    let of_output = [&OF_RUN[..], &["--output-ids", &output]].concat();
    let show = || {
        let shown = rig.run(&["checkpoint", "show"], &of_output);
        shown.expect(0, "");
        shown.report["cursors"][0].clone()
    };
    let shown = show();
    assert_eq!(shown["cursor"]["last_row_index"], 20, "{shown}");
    let place = platform_place(&rig);
    assert_eq!(shown["found_in"], place.to_str().unwrap());
    write_newest(&named_place(&rig), &key, &output, &files[0].0, 10);
    let ambiguous = rig.run(&["checkpoint", "show"], &of_output);
    ambiguous.expect(1, "");
    let error = &ambiguous.report["cursors"][0]["error"];
    assert_eq!(error["reason"], "CHECKPOINT_AMBIGUOUS");

    let reset = [&of_output[..], &["--yes"]].concat();
    rig.run(&["checkpoint", "reset"], &reset).expect(0, "");
    assert_eq!(show()["cursor"], Value::Null);
    let ran = stream(&rig, &["--output-ids", &output, "--max-events", "1"]);
    assert_eq!(cursor_of(&ran, &output)["last_row_index"], 0);
}

#[test]
fn a_cursor_of_another_attempt_is_another_cursor() {
    let rig = viewed(&[]);
    let output = rig.world.streamable_output_ids()[0].clone();
    let file = &view_files(&rig, &output)[0].0;
    let key = newest_key(&rig, (1, 0), "second");
    write_newest(&platform_place(&rig), &key, &output, file, 252);
    let bounded = [&OF_RUN[..], &["--output-ids", &output, "--max-events", "1"]].concat();
    let row_behind = |attempt: &str| {
        let mut command = rig.command(&["stream"], &bounded);
        let ran = Ran::of(command.env("WSP_CHECKPOINT_ATTEMPT_ID", attempt));
        ran.expect(0, "MAX_EVENTS");
        cursor_of(&ran, &output)["last_row_index"].as_u64().unwrap()
    };
    assert_eq!(row_behind(""), 0);
    assert_eq!(row_behind(" second "), 253);
    assert_eq!(row_behind("third"), 0);
}

#[test]
fn a_fleet_is_taken_over_by_the_earliest_of_its_lanes() {
    let rig = viewed(&[]);
    let output = rig.world.streamable_output_ids()[0].clone();
    let files = view_files(&rig, &output);
    let rows: u64 = files.iter().map(|(_, rows)| rows).sum();
    for (lane, file, row) in [(0, 1, 3), (1, 0, 99), (2, 0, 252)] {
        let key = newest_key(&rig, (3, lane), "");
        write_newest(&platform_place(&rig), &key, &output, &files[file].0, row);
    }
    let plan = |more: &[&str]| {
        let args = [
            &OF_RUN[..],
            &["--output-ids", &output, "--max-events", "1"],
            more,
        ]
        .concat();
        let ran = rig.stream(&[&args[..], &["--dry-run"]].concat());
        ran.report["outputs"][0]["cursor"]["last_row_index"].clone()
    };
    // One lane alone says nothing of the others, and a lane without a cursor has done nothing.
    assert_eq!(plan(&[]), Value::Null);
    assert_eq!(plan(&["--adopt-lanes", "4"]), Value::Null);
    let ran = stream(&rig, &["--output-ids", &output, "--adopt-lanes", "3"]);
    ran.expect(0, "");
    assert_eq!(ran.report["emitted"], rows - 100);
}

#[test]
fn a_cursor_counts_rows_of_its_source_only() {
    let rig = viewed(&[("wiring.wsp_checkpoint.scope", "pack")]);
    let output = rig.world.streamable_output_ids()[0].clone();
    let only = ["--output-ids", &output];
    let from = |source: &str, more: &[&str]| {
        stream(
            &rig,
            &[&only[..], &["--stream-source", source], more].concat(),
        )
    };
    from("view", &["--max-events", "10"]).expect(0, "MAX_EVENTS");
    from("outputs", &[]).expect(1, "CHECKPOINT_SOURCE_MISMATCH");
    from("view", &[]).expect(0, "");
    let pack_key = rig.world.identity().oracle_pack_id.clone().unwrap();
    let rows = |rig: &Rig| rig.gate.stats().unique;
    let all = rows(&rig);
    rig.run(&["checkpoint", "reset"], &[&only[..], &["--yes"]].concat());
    // The seed-time producer's, of an output's part.
    let part = &parts_of(&rig, &output, &rig.engine_run_root())[0].0;
    write_newest(&named_place(&rig), &pack_key, &output, part, 5);
    from("view", &[]).expect(1, "CHECKPOINT_SOURCE_MISMATCH");
    from("outputs", &["--order", "event_time"]).expect(1, "CHECKPOINT_ORDER_MISMATCH");
    // The newest producer's, of a view.
    let file = &view_files(&rig, &output)[0].0;
    write_newest(&named_place(&rig), &pack_key, &output, file, 5);
    from("outputs", &[]).expect(1, "CHECKPOINT_SOURCE_MISMATCH");
    assert_eq!(rows(&rig), all);
}

#[test]
fn a_newest_cursor_beyond_its_view_is_refused() {
    let rig = viewed(&[]);
    let output = rig.world.streamable_output_ids()[0].clone();
    let only = ["--output-ids", &output];
    let key = newest_key(&rig, (1, 0), "");
    let file = view_files(&rig, &output)[0].0.clone();
    let gone = file.replace("part-000000", "part-000009");
    for (file, row, code) in [
        (&file, 1 << 40, "CHECKPOINT_ROW_PAST_END"),
        (&gone, 0, "CHECKPOINT_PART_MISSING"),
    ] {
        write_newest(&platform_place(&rig), &key, &output, file, row);
        for order in ["event_time", "as_written"] {
            stream(&rig, &[&only[..], &["--order", order]].concat()).expect(1, code);
        }
    }
}

#[test]
fn scenario_run_needs_the_run_that_its_cursors_are_kept_by() {
    let rig = viewed(&[]);
    rig.stream(&[]).expect(2, "PROFILE_VALUE_MISSING");
}
