//! Outputs whose rows have their event times in another column than `ts_utc`.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sandbox::{GateOptions, OutputOptions, SampleOutput, WorldOptions};
use serde_json::Value;
use system_tests::Rig;

const ORDERS: [&str; 2] = ["event_time", "as_written"];

/// A world of one output, and a gate that keeps what it admits.
fn rig(output: SampleOutput, kept: &Path) -> Rig {
    let output = OutputOptions {
        parts: if output == SampleOutput::SessionIndex {
            1
        } else {
            2
        },
        rows_per_part: 50,
        ..OutputOptions::of(output)
    };
    let gate = GateOptions {
        keep: Some(kept.to_owned()),
        ..GateOptions::default()
    };
    Rig::new(&WorldOptions::sample().with_outputs([output]), gate, &[])
}

/// The same rows, with `ts_utc` under another name.
fn rename_time(part: &Path, name: &str) {
    if part
        .extension()
        .is_some_and(|extension| extension == "jsonl")
    {
        let text = fs::read_to_string(part).unwrap();
        fs::write(part, text.replace("\"ts_utc\"", &format!("\"{name}\""))).unwrap();
        return;
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(part).unwrap()).unwrap();
    let renamed = |field: &Arc<Field>| match field.name().as_str() {
        "ts_utc" => Arc::new(field.as_ref().clone().with_name(name)),
        _ => Arc::clone(field),
    };
    let fields: Vec<_> = reader.schema().fields().iter().map(renamed).collect();
    let schema = Arc::new(Schema::new(fields));
    let rows: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let mut writer =
        ArrowWriter::try_new(File::create(part).unwrap(), schema.clone(), None).unwrap();
    for batch in rows {
        let columns = batch.columns().to_vec();
        writer
            .write(&RecordBatch::try_new(schema.clone(), columns).unwrap())
            .unwrap();
    }
    writer.close().unwrap();
}

/// The times and payloads that the gate admitted, in order.
fn admitted(kept: &Path) -> Vec<(String, Value)> {
    let lines = fs::read_to_string(kept).unwrap();
    let envelopes = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let parts = envelopes.map(|envelope| {
        (
            envelope["ts_utc"].as_str().unwrap().to_owned(),
            envelope["payload"].clone(),
        )
    });
    parts.collect()
}

#[test]
fn sessions_are_timed_by_their_start_without_being_told() {
    for order in ORDERS {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept.ndjson");
        let rig = rig(SampleOutput::SessionIndex, &kept);
        rig.stream(&["--order", order]).expect(0, "");
        let admitted = admitted(&kept);
        assert_eq!(admitted.len(), 50);
        for (time, payload) in &admitted {
            let start = payload["session_start_utc"].as_str().unwrap();
            let start: wsp::EventTime = start.parse().unwrap();
            assert_eq!(*time, start.to_string());
        }
    }
}

#[test]
fn a_column_that_the_profile_names_orders_stamps_and_resumes() {
    for output in [SampleOutput::EventStreamBaseline, SampleOutput::EventLabels] {
        for order in ORDERS {
            let folder = tempfile::tempdir().unwrap();
            let kept = folder.path().join("kept.ndjson");
            let mut rig = rig(output, &kept);
            for part in rig.world.parts(output.id()) {
                rename_time(part, "happened_at");
            }
            // Nothing leaves while the profile does not say where times are.
            for command in [["plan"], ["stream"]] {
                let refused = rig.run(&command, &["--order", order]);
                refused.expect(1, "MISSING_EVENT_TIME");
                let detail = refused.report["detail"].as_str().unwrap();
                assert!(
                    detail.contains("ts_utc") && detail.contains("part"),
                    "{detail}"
                );
            }
            assert_eq!(rig.gate.stats().posts, 0, "{order}");
            let columns = format!("{{{}: happened_at}}", output.id());
            rig.set(&[("policy.time_columns", &columns)]);
            rig.stream(&["--order", order, "--max-events", "30"])
                .expect(0, "MAX_EVENTS");
            rig.stream(&["--order", order]).expect(0, "");
            let stats = rig.gate.stats();
            assert_eq!((stats.unique, stats.duplicates), (100, 0));
            let admitted = admitted(&kept);
            for (time, payload) in &admitted {
                let happened: wsp::EventTime =
                    payload["happened_at"].as_str().unwrap().parse().unwrap();
                assert_eq!(*time, happened.to_string());
            }
            // Another column is other times: what was learnt of the one is not said of the other.
            rig.set(&[(
                "policy.time_columns",
                &format!("{{{}: amount}}", output.id()),
            )]);
            let other = rig.run(&["plan"], &["--order", "event_time"]);
            assert_eq!(other.status, 1, "{}", other.report);
        }
    }
}

#[test]
fn a_time_column_of_nobody_and_one_without_a_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = rig(
        SampleOutput::EventStreamBaseline,
        &folder.path().join("kept"),
    );
    for columns in [
        "{nobodys_output: at}",
        "{s2_event_stream_baseline_6B: ''}",
        "[at]",
        "at",
    ] {
        rig.set(&[("policy.time_columns", columns)]);
        let refused = rig.run(&["plan"], &[]);
        refused.expect(2, "PROFILE_INVALID");
        let detail = refused.report["detail"].as_str().unwrap();
        assert!(detail.contains("time_columns"), "{detail}");
    }
}
