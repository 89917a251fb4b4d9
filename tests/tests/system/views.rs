//! The platform's stream views as source: what is streamed from them, and what is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use gates::{AttestRequest, AttestedWorld, ViewTrust, attest};
use oracle_store::{
    EngineRunRoot, ObjectStoreConfig, Posture, ReadOptions, StreamView, WorldStore, open_rows,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sandbox::{GateOptions, Pack, ViewOptions, WorldOptions};
use serde_json::{Value, json};
use system_tests::checkpoints::wait_for;
use system_tests::{BUCKET, Bucket, Ground, Ran, Rig, on_each_ground};
use tempfile::TempDir;

const VIEW: (&str, &str) = ("policy.stream_source", "view");
const RECEIPT: &str = "_stream_sort_receipt.json";
const MANIFEST: &str = "_stream_view_manifest.json";

/// A rig whose gate keeps what it admits.
struct Kept {
    rig: Rig,
    folder: TempDir,
}

impl std::ops::Deref for Kept {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl Kept {
    fn set(&mut self, keys: &[(&str, &str)]) {
        self.rig.set(keys);
    }

    /// What the gate admitted, in the order in which it came: event type, id, time and payload.
    fn admitted(&self) -> Vec<[Value; 4]> {
        let text = std::fs::read_to_string(self.folder.path().join("kept.ndjson")).unwrap();
        let fields = ["event_type", "event_id", "ts_utc", "payload"];
        text.lines()
            .map(|line| {
                let envelope: Value = serde_json::from_str(line).unwrap();
                fields.map(|field| envelope[field].clone())
            })
            .collect()
    }
}

/// A rig with the profile's keys set, whose events come one after the other.
fn rig_on(ground: Ground, world: &WorldOptions, keys: &[(&str, &str)]) -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let gate = GateOptions {
        keep: Some(folder.path().join("kept.ndjson")),
        ..GateOptions::default()
    };
    let mut keys = keys.to_vec();
    keys.push(("wiring.wsp_push.ordering", "strict"));
    let rig = Rig::on(ground, world, gate, &keys);
    Kept { rig, folder }
}

/// A local world with views under its root.
fn viewed(keys: &[(&str, &str)]) -> Kept {
    let rig = rig_on(Ground::Disk, &WorldOptions::sample(), keys);
    build(&rig, |_| {});
    rig
}

/// Builds views as `change` says; the folder of the first.
fn build(rig: &Rig, change: impl FnOnce(&mut ViewOptions)) -> PathBuf {
    let mut options = ViewOptions::under(rig.engine_run_root());
    change(&mut options);
    rig.world.build_views(&options).unwrap().remove(0)
}

fn first_view(rig: &Rig) -> PathBuf {
    let output = &rig.world.streamable_output_ids()[0];
    let base = rig.world.engine_run_root().join("stream_view/ts_utc");
    base.join(format!("output_id={output}"))
}

#[track_caller]
fn assert_from_views(ran: &Ran) {
    ran.expect(0, "");
    assert_eq!(ran.report["data_verified"], "view_receipt");
    for output in ran.report["per_output"].as_array().unwrap() {
        assert_eq!(output["stream_source"], "view");
        let folder = format!(
            "output_id={}/part-00000",
            output["output_id"].as_str().unwrap()
        );
        let files = output["view"]["files"].as_array().unwrap();
        assert_eq!(files.len(), 2);
        for file in files {
            assert!(file.as_str().unwrap().contains(&folder), "{file}");
        }
    }
}

fn views_stream_the_events_of_the_outputs_in_event_time(ground: Ground) {
    let from_outputs = rig_on(ground, &WorldOptions::sample(), &[]);
    from_outputs.stream(&[]).expect(0, "");
    let rig = rig_on(ground, &WorldOptions::sample(), &[VIEW]);
    build(&rig, |_| {});
    rig.mirror();
    let planned = rig.run(&["plan"], &[]);
    assert_eq!(planned.report["outputs"][0]["stream_source"], "view");
    assert_from_views(&rig.stream(&[]));
    assert_eq!(rig.admitted(), from_outputs.admitted());
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

fn views_stream_as_written_too(ground: Ground) {
    let rig = rig_on(ground, &WorldOptions::sample(), &[VIEW]);
    build(&rig, |_| {});
    rig.mirror();
    assert_from_views(&rig.stream(&["--order", "as_written"]));
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

on_each_ground!(
    views_stream_the_events_of_the_outputs_in_event_time,
    views_stream_as_written_too,
);

#[test]
fn views_may_lie_in_a_folder_or_a_bucket_of_their_own() {
    let bucket = Bucket::start();
    for in_bucket in [false, true] {
        let mut rig = rig_on(Ground::Disk, &WorldOptions::sample(), &[]);
        let base = rig.folder.path().join("views");
        build(&rig, |options| options.base = Some(base.clone()));
        let mut named = base.display().to_string();
        if in_bucket {
            bucket.mirror(&base, "views");
            std::fs::remove_dir_all(&base).unwrap();
            named = format!("s3://{BUCKET}/views");
        }
        rig.set(&[
            VIEW,
            ("wiring.oracle_stream_view_root", &named),
            ("wiring.object_store", &bucket.wiring()),
        ]);
        let ran = Ran::of(rig.command(&["stream"], &[]).envs(Bucket::environment()));
        assert_from_views(&ran);
        let file = ran.report["per_output"][0]["view"]["files"][0].as_str();
        assert!(file.unwrap().starts_with(&named), "{file:?}");
        assert_eq!(rig.gate.stats().unique, rig.rows());
    }
}

#[test]
fn auto_takes_the_view_where_there_is_one_and_never_passes_a_bad_one_over() {
    let rig = viewed(&[("policy.stream_source", "auto")]);
    let kept = first_view(&rig);
    for view in std::fs::read_dir(kept.parent().unwrap()).unwrap() {
        let view = view.unwrap().path();
        if view != kept {
            std::fs::remove_file(view.join(RECEIPT)).unwrap();
        }
    }
    let ran = rig.stream(&["--max-events", "20"]);
    ran.expect(0, "MAX_EVENTS");
    let sources: Vec<&str> = ran.report["per_output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|output| output["stream_source"].as_str().unwrap())
        .collect();
    assert_eq!(sources[0], "view");
    assert!(
        sources[1..].iter().all(|source| *source == "outputs"),
        "{sources:?}"
    );
    change(&kept, RECEIPT, |receipt| {
        receipt["status"] = json!("FAILED");
    });
    rig.stream(&[]).expect(1, "VIEW_RECEIPT_BAD");
    // The flag wins over the profile: the view is not looked at, and its cursor is another source's.
    rig.run(&["plan"], &["--stream-source", "outputs"])
        .expect(1, "CHECKPOINT_SOURCE_MISMATCH");
}

/// Changes a record of a view.
fn change(view: &Path, record: &str, change: impl FnOnce(&mut Value)) {
    let path = view.join(record);
    let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

type Damage = (&'static str, &'static str, fn(&Path));

/// What is wrong with a view, the code that says so, and what its message names.
const DAMAGES: &[Damage] = &[
    ("VIEW_MISSING", RECEIPT, |view| {
        std::fs::remove_file(view.join(RECEIPT)).unwrap();
    }),
    ("VIEW_MISSING", MANIFEST, |view| {
        std::fs::remove_file(view.join(MANIFEST)).unwrap();
    }),
    ("VIEW_MISSING", MANIFEST, |view| {
        std::fs::remove_dir_all(view).unwrap();
    }),
    ("VIEW_INVALID", RECEIPT, |view| {
        std::fs::write(view.join(RECEIPT), "{\"status\": ").unwrap();
    }),
    ("VIEW_INVALID", MANIFEST, |view| {
        std::fs::write(view.join(MANIFEST), "[]").unwrap();
    }),
    ("VIEW_INVALID", "occurs twice", |view| {
        let text = std::fs::read_to_string(view.join(RECEIPT)).unwrap();
        let twice = text.replacen('{', "{\"status\": \"OK\", ", 1);
        std::fs::write(view.join(RECEIPT), twice).unwrap();
    }),
    ("VIEW_INVALID", "sort_keys", |view| {
        change(view, MANIFEST, |m| m["sort_keys"] = json!("ts_utc"));
    }),
    ("VIEW_INVALID", "stream_view_id", |view| {
        change(view, MANIFEST, |m| m["stream_view_id"] = json!(7));
    }),
    ("VIEW_RECEIPT_BAD", "status", |view| {
        change(view, RECEIPT, |r| r["status"] = json!("FAILED"));
    }),
    ("VIEW_RECEIPT_BAD", "status", |view| {
        change(view, RECEIPT, |r| {
            drop(r.as_object_mut().unwrap().remove("status"));
        });
    }),
    ("VIEW_RECEIPT_BAD", "sorted_stats", |view| {
        change(view, RECEIPT, |r| {
            r["sorted_stats"]["hash_sum2"] = json!("3");
        });
    }),
    ("VIEW_RECEIPT_BAD", "sorted_stats", |view| {
        change(view, RECEIPT, |r| {
            r["raw_stats"] = json!({});
            r["sorted_stats"] = json!({});
        });
    }),
    ("VIEW_OUTPUT_MISMATCH", "output_id", |view| {
        change(view, MANIFEST, |m| {
            m["output_id"] = json!("arrivals_of_others");
        });
    }),
    ("VIEW_OUTPUT_MISMATCH", "output_id", |view| {
        change(view, RECEIPT, |r| {
            r["output_id"] = json!("arrivals_of_others");
        });
    }),
    ("VIEW_OUTPUT_MISMATCH", "world_key.seed", |view| {
        change(view, MANIFEST, |m| m["world_key"]["seed"] = json!(1));
    }),
    ("VIEW_OUTPUT_MISMATCH", "world_key.parameter_hash", |view| {
        change(view, MANIFEST, |m| {
            m["world_key"]["parameter_hash"] = json!("0".repeat(64));
        });
    }),
    ("VIEW_ID_MISMATCH", "elsewhere", |view| {
        change(view, RECEIPT, |r| r["engine_run_root"] = json!("elsewhere"));
    }),
    ("VIEW_ID_MISMATCH", "elsewhere", |view| {
        change(view, MANIFEST, |m| {
            m["engine_run_root"] = json!("elsewhere");
        });
    }),
    ("VIEW_ID_MISMATCH", "stream_view_id", |view| {
        change(view, RECEIPT, |r| {
            r["stream_view_id"] = json!("0".repeat(64));
        });
    }),
    ("VIEW_ID_MISMATCH", "stream_view_id", |view| {
        change(view, MANIFEST, |m| {
            m["partition_granularity"] = json!("day");
        });
    }),
    ("VIEW_STALE", "source_locator_digest", |view| {
        change(view, RECEIPT, |r| {
            r["source_locator_digest"] = json!("0".repeat(64));
        });
    }),
    ("VIEW_STALE", "source parts", |view| {
        change(view, RECEIPT, |r| {
            r["raw_stats"]["row_count"] = json!(1);
            r["sorted_stats"]["row_count"] = json!(1);
        });
    }),
    ("VIEW_STALE", "files", |view| {
        std::fs::remove_file(view.join("part-000001.parquet")).unwrap();
    }),
    ("VIEW_STALE", "files", |view| {
        let copy = view.join("part-000002.parquet");
        std::fs::copy(view.join("part-000001.parquet"), copy).unwrap();
    }),
    ("EVENT_TIME_DISORDER", "part-000001.parquet", |view| {
        let [first, second, aside] =
            ["part-000000.parquet", "part-000001.parquet", "aside"].map(|name| view.join(name));
        std::fs::rename(&first, &aside).unwrap();
        std::fs::rename(&second, &first).unwrap();
        std::fs::rename(&aside, &second).unwrap();
    }),
    ("EVENT_TIME_DISORDER", "part-000000.parquet", |view| {
        rewrite(&view.join("part-000000.parquet"), |rows| {
            let (first, rest) = (rows.slice(0, 1), rows.slice(1, rows.num_rows() - 1));
            vec![rest, first]
        });
    }),
];

/// Writes a file anew with other batches.
fn rewrite(path: &Path, change: impl FnOnce(RecordBatch) -> Vec<RecordBatch>) {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let rows = reader.with_batch_size(1 << 20).build().unwrap().next();
    let rows = rows.unwrap().unwrap();
    let schema = rows.schema();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), schema, None);
    let writer = writer.as_mut().unwrap();
    for batch in change(rows) {
        writer.write(&batch).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_bad_view_is_refused_with_its_code_before_the_first_push() {
    for (code, names, damage) in DAMAGES {
        let rig = viewed(&[VIEW]);
        damage(&first_view(&rig));
        for order in ["event_time", "as_written"] {
            let ran = rig.stream(&["--order", order]);
            ran.expect(1, code);
            let detail = ran.report["detail"].as_str().unwrap();
            assert!(
                detail.contains(names),
                "{code} does not name {names}: {detail}"
            );
            assert_eq!(rig.gate.stats().posts, 0, "{code}");
        }
        let verified = rig.run(&["verify"], &["--order"]);
        let findings = verified.report["findings"].as_array().unwrap();
        assert!(
            findings.iter().any(|finding| finding["reason"] == *code),
            "{code}"
        );
    }
}

#[test]
fn a_view_of_a_root_that_is_named_otherwise_is_refused() {
    let rig = rig_on(Ground::Disk, &WorldOptions::sample(), &[VIEW]);
    build(&rig, |options| {
        options.engine_run_root = "runs/named/otherwise".to_owned();
    });
    rig.stream(&[]).expect(1, "VIEW_ID_MISMATCH");
}

#[test]
fn a_view_needs_the_gates_of_its_output() {
    let rig = viewed(&[VIEW]);
    sandbox::Corruption::FlagMissing.apply(&rig.world).unwrap();
    rig.stream(&[]).expect(1, "GATE_PASS_MISSING");
}

#[test]
fn strict_posture_reads_a_view_only_if_the_operator_trusts_it() {
    let mut rig = viewed(&[VIEW, ("policy.posture", "strict")]);
    let ran = rig.stream(&[]);
    ran.expect(1, "STREAM_VIEW_UNPROVEN");
    assert_eq!(rig.gate.stats().posts, 0);
    let findings = rig.run(&["verify"], &[]).report["findings"].clone();
    assert!(
        findings.to_string().contains("STREAM_VIEW_UNPROVEN"),
        "{findings}"
    );
    rig.set(&[
        ("policy.posture", "strict"),
        ("policy.stream_source", "auto"),
    ]);
    rig.stream(&[]).expect(1, "STREAM_VIEW_UNPROVEN");
    rig.set(&[
        VIEW,
        ("policy.posture", "strict"),
        ("policy.trust_stream_views", "true"),
    ]);
    assert_from_views(&rig.stream(&[]));
}

#[test]
fn a_column_of_payloads_is_the_payload() {
    let from_outputs = rig_on(Ground::Disk, &WorldOptions::sample(), &[]);
    from_outputs.stream(&[]).expect(0, "");
    for order in ["event_time", "as_written"] {
        let rig = rig_on(Ground::Disk, &WorldOptions::sample(), &[VIEW]);
        build(&rig, |options| options.payloads = true);
        assert_from_views(&rig.stream(&["--order", order]));
        let (mut found, mut expected) = (rig.admitted(), from_outputs.admitted());
        if order == "as_written" {
            // One output after the other.
            let id = |event: &[Value; 4]| event[1].to_string();
            found.sort_by_key(id);
            expected.sort_by_key(id);
        }
        assert_eq!(found, expected, "{order}");
    }
}

#[test]
fn a_payload_that_is_no_json_object_is_a_row_error_with_file_and_row() {
    for payload in [
        Some("{\"broken\": "),
        Some("[1]"),
        Some("{\"a\": 1, \"a\": 2}"),
        None,
    ] {
        let rig = rig_on(Ground::Disk, &WorldOptions::sample(), &[VIEW]);
        let view = build(&rig, |options| options.payloads = true);
        rewrite(&view.join("part-000000.parquet"), |rows| {
            let payloads = rows.column_by_name("payload_json").unwrap();
            let payloads: &StringArray = payloads.as_any().downcast_ref().unwrap();
            let texts = payloads.iter().enumerate();
            let texts = texts.map(|(row, text)| if row == 3 { payload } else { text });
            let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
            let columns = vec![rows.column(0).clone(), texts];
            vec![RecordBatch::try_new(rows.schema(), columns).unwrap()]
        });
        let ran = rig.stream(&[]);
        ran.expect(1, "PAYLOAD_VALUE_UNSUPPORTED");
        let detail = ran.report["detail"].as_str().unwrap();
        assert!(detail.contains("part-000000.parquet"), "{detail}");
        assert!(detail.contains("row 3"), "{detail}");
    }
}

#[test]
fn a_base_under_the_runs_root_is_refused() {
    let mut rig = rig_on(Ground::Disk, &WorldOptions::sample(), &[]);
    let base = rig.runs_root().join("views");
    build(&rig, |options| options.base = Some(base.clone()));
    let named = base.display().to_string();
    rig.set(&[VIEW, ("wiring.oracle_stream_view_root", &named)]);
    rig.stream(&[]).expect(1, "ENGINE_ROOT_IN_PLATFORM_RUNS");
}

#[test]
fn nothing_is_written_into_the_base_of_views() {
    let mut rig = rig_on(Ground::Disk, &WorldOptions::sample(), &[]);
    let base = rig.folder.path().join("views");
    build(&rig, |options| options.base = Some(base.clone()));
    let before = listing(&base);
    let (named, inside) = (
        base.display().to_string(),
        base.join("x").display().to_string(),
    );
    for (key, source) in [
        ("wiring.wsp_checkpoint.root", "view"),
        ("wiring.wsp_order.time_index", "view"),
        ("wiring.wsp_checkpoint.root", "outputs"),
    ] {
        rig.set(&[
            ("policy.stream_source", source),
            ("wiring.oracle_stream_view_root", &named),
            (key, &inside),
        ]);
        rig.stream(&[]).expect(2, "PROFILE_INVALID");
    }
    // A symlink that leads a run's own files there is found too.
    let run = rig.runs_root().join("platform_20260128T090000Z");
    std::fs::create_dir_all(rig.runs_root()).unwrap();
    std::os::unix::fs::symlink(&base, run).unwrap();
    rig.set(&[VIEW, ("wiring.oracle_stream_view_root", &named)]);
    let ran = rig.stream(&["--platform-run-id", "platform_20260128T090000Z"]);
    ran.expect(2, "PROFILE_INVALID");
    assert_eq!(listing(&base), before);
}

fn listing(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(listing(&path));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}

#[test]
fn views_are_outside_the_contents_index() {
    let world = WorldOptions {
        pack: Pack::None,
        ..WorldOptions::sample()
    };
    let rig = rig_on(Ground::Disk, &world, &[]);
    let pack = || rig.run(&["pack"], &["--engine-release", "sandbox"]);
    build(&rig, |_| {});
    pack().expect(0, "");
    let index = rig
        .world
        .engine_run_root()
        .join("_oracle_pack_contents.json");
    assert!(
        !std::fs::read_to_string(index)
            .unwrap()
            .contains("stream_view")
    );
    let verify = || rig.run(&["verify"], &["--data"]);
    let ok = |ran: &Ran| {
        let failed = ran.report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["verdict"] == "FAIL");
        assert!(!failed, "{}", ran.report);
    };
    ok(&verify());
    std::fs::remove_dir_all(rig.world.engine_run_root().join("stream_view")).unwrap();
    ok(&verify());
    build(&rig, |options| options.files = 3);
    ok(&verify());
    // A packer that runs again finds the same pack.
    pack().expect(0, "");
}

#[test]
fn a_view_is_opened_by_gates_alone() {
    let rig = viewed(&[]);
    let root = rig.world.engine_run_root().display().to_string();
    let root = EngineRunRoot::named(&root, Path::new("/")).unwrap();
    let store = WorldStore::open(root, &ObjectStoreConfig::default()).unwrap();
    let output = rig.world.streamable_output_ids()[0].clone();
    let (catalogue, gate_map) = (rig.world.catalogue(), rig.world.gate_map());
    let request = AttestRequest::new(store, catalogue, gate_map, [output.as_str()]);
    let request = request.posture(Posture::Local);
    let mut world = wait_for(attest(&request)).unwrap();
    let located = world.outputs[0].clone();
    let opening = StreamView::open(&world.store, &world.world_key, &located.locator);
    let view = wait_for(opening).unwrap();
    let open = |world: &AttestedWorld| {
        let grant = world.grant(located.id()).unwrap();
        let opened = open_rows(grant, &view.locator().parts[0], &ReadOptions::default());
        opened.map(drop).map_err(|error| error.code().as_str())
    };
    assert_eq!(open(&world), Err("READ_GRANT_MISMATCH"));
    let untrusted = wait_for(world.read_from_view(&located, ViewTrust::Proof));
    assert_eq!(
        untrusted.unwrap_err().code().as_str(),
        "STREAM_VIEW_UNPROVEN"
    );
    assert_eq!(open(&world), Err("READ_GRANT_MISMATCH"));
    wait_for(world.read_from_view(&located, ViewTrust::Receipts)).unwrap();
    assert_eq!(open(&world), Ok(()));
}

/// The platform's sorter compares whole microseconds: among rows of one, the view's order counts.
#[test]
fn rows_of_one_microsecond_leave_as_they_stand_in_the_view() {
    let rig = rig_on(Ground::Disk, &WorldOptions::sample(), &[VIEW]);
    let view = build(&rig, |_| {});
    rewrite_times(&view.join("part-000000.parquet"), |row, micros| match row {
        // By nanoseconds they stand the wrong way round.
        0 | 1 => format!("{}{}00Z", &micros[0], 9 - 8 * row),
        _ => format!("{}Z", micros[row]),
    });
    let output = view.file_name().unwrap().to_str().unwrap();
    let output = output.strip_prefix("output_id=").unwrap();
    let bounded = |n: &str| rig.stream(&["--output-ids", output, "--max-events", n]);
    // A cursor between the two is a place like any other.
    bounded("1").expect(0, "MAX_EVENTS");
    bounded("1").expect(0, "MAX_EVENTS");
    let admitted = rig.admitted();
    let finest: Vec<_> = admitted
        .iter()
        .map(|[.., payload]| payload["ts_utc"].clone())
        .collect();
    assert!(finest[0].as_str().unwrap().ends_with("900Z"), "{finest:?}");
    assert!(finest[1].as_str().unwrap().ends_with("100Z"), "{finest:?}");
    assert_eq!(
        admitted[0][2], admitted[1][2],
        "the envelope writes microseconds"
    );
}

/// Writes the event times of a file anew, as texts: `text` gets a row and all times to the
/// microsecond, without a zone.
fn rewrite_times(path: &Path, text: impl Fn(usize, &[String]) -> String) {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let rows = reader.with_batch_size(1 << 20).build().unwrap().next();
    let rows = rows.unwrap().unwrap();
    let (place, _) = rows.schema_ref().column_with_name("ts_utc").unwrap();
    let times = envelope::event_times("", 0, "ts_utc", rows.column(place)).unwrap();
    let micros = times
        .iter()
        .map(|time| time.to_string().trim_end_matches('Z').to_owned());
    let micros: Vec<String> = micros.collect();
    let texts: StringArray = (0..micros.len())
        .map(|row| Some(text(row, &micros)))
        .collect();
    let columns = rows.schema_ref().fields().iter().zip(rows.columns());
    let columns = columns.enumerate().map(|(at, (field, column))| {
        let column = if at == place {
            Arc::new(texts.clone()) as ArrayRef
        } else {
            column.clone()
        };
        (field.name().clone(), column)
    });
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}
