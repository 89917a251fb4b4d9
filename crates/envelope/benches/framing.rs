//! Envelopes framed a second on one core, ids included, from batches that are already decoded.
//!
//! `sketch` does the same job the plain way, with arrow-json's writer and one hash a row from its
//! first byte, and is there to compare with: run both together, because machines differ.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use divan::Bencher;
use divan::counter::ItemsCount;
use envelope::{FrameSpec, FramedBatch, Framer, PinValues, Pins, Provenance};
use sha2::{Digest, Sha256};

const ROWS: usize = 8_192;
const OUTPUT_ID: &str = "s2_event_stream_baseline_6B";
const KEY: [&str; 5] = [
    "seed",
    "manifest_fingerprint",
    "scenario_id",
    "flow_id",
    "event_seq",
];

fn main() {
    divan::main();
}

/// One row group of an event stream, as a decoder yields it.
fn batch() -> RecordBatch {
    let fingerprint = "7510240d8c0d036d829c804b3832827fbd37dd23a3a8bafd607ae074d0e2d5f1";
    let parameters = "f31a50edd23855dcee4249665c9d9598f957c284da4bbfd63dd486a774055c20";
    let kinds = ["AUTH_REQUEST", "AUTH_RESPONSE", "CLEARING"];
    let rows = 0..ROWS as i64;
    let scattered = |row: i64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> 1;
    let times = rows.clone().map(|row| {
        format!(
            "2026-01-28T{:02}:{:02}:{:02}.{:06}Z",
            row / 3_600,
            row / 60 % 60,
            row % 60,
            row * 97
        )
    });
    let columns: [(&str, ArrayRef); 9] = [
        (
            "flow_id",
            Arc::new(Int64Array::from_iter_values(
                rows.clone().map(|r| scattered(r).abs()),
            )),
        ),
        (
            "event_seq",
            Arc::new(Int64Array::from_iter_values(
                rows.clone().map(|row| row % 5),
            )),
        ),
        (
            "event_type",
            Arc::new(StringArray::from_iter_values(
                rows.clone().map(|row| kinds[row as usize % 3]),
            )),
        ),
        ("ts_utc", Arc::new(StringArray::from_iter_values(times))),
        (
            "amount",
            Arc::new(Float64Array::from_iter_values(
                rows.map(|row| (scattered(row) % 100_000) as f64 / 100.0),
            )),
        ),
        ("seed", Arc::new(Int64Array::from(vec![20_260_128; ROWS]))),
        (
            "manifest_fingerprint",
            Arc::new(StringArray::from(vec![fingerprint; ROWS])),
        ),
        (
            "parameter_hash",
            Arc::new(StringArray::from(vec![parameters; ROWS])),
        ),
        (
            "scenario_id",
            Arc::new(StringArray::from(vec!["baseline_v1"; ROWS])),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn spec() -> FrameSpec {
    let values = PinValues {
        manifest_fingerprint: "75".repeat(32),
        parameter_hash: "f3".repeat(32),
        seed: 20_260_128,
        scenario_id: "baseline_v1".into(),
        run_id: "75".repeat(16),
        platform_run_id: "platform_20260128T090000Z".into(),
        producer: "svc:world_stream_producer".into(),
        ..PinValues::default()
    };
    let provenance = Provenance {
        trace_id: "e2".repeat(32),
        span_id: Some("engine-1.4.0".into()),
    };
    FrameSpec::new(
        OUTPUT_ID,
        KEY,
        Pins::new(values).unwrap().stamped(&provenance).unwrap(),
    )
}

/// Framing as the stream does it: bodies of a batch are gone when the next one is framed.
#[divan::bench]
fn framing(bencher: Bencher<'_, '_>) {
    let batch = batch();
    let mut framer = Framer::new(&spec()).unwrap();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let framed = framer.frame("part-000000.parquet", 0, &batch).unwrap();
        assert!(framed.len() == ROWS);
        black_box(framed.body_bytes())
    });
}

/// Framing ahead of another thread, which lets the batches go one after the other.
#[divan::bench]
fn framing_ahead(bencher: Bencher<'_, '_>) {
    let batch = batch();
    let mut framer = Framer::new(&spec()).unwrap();
    let (ahead, behind) = std::sync::mpsc::sync_channel::<FramedBatch>(2);
    let lanes = std::thread::spawn(move || behind.into_iter().map(|framed| framed.len()).sum());
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let framed = framer.frame("part-000000.parquet", 0, &batch).unwrap();
        assert!(framed.len() == ROWS);
        ahead.send(framed).unwrap();
    });
    drop(ahead);
    let _: usize = lanes.join().unwrap();
}

/// arrow-json's lines, a hash of each whole id text, and envelopes put together around them.
#[divan::bench]
fn sketch(bencher: Bencher<'_, '_>) {
    let batch = batch();
    let pins = spec().pins;
    bencher
        .counter(ItemsCount::new(ROWS))
        .bench_local(|| sketch_of(black_box(&batch), &pins));
}

fn sketch_of(batch: &RecordBatch, pins: &Pins) -> Vec<u8> {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use std::io::Write;

    let mut lines = Vec::new();
    let mut writer = arrow_json::LineDelimitedWriter::new(&mut lines);
    writer.write(batch).unwrap();
    writer.finish().unwrap();

    let integers = |name: &str| batch[name].as_primitive::<Int64Type>();
    let texts = |name: &str| batch[name].as_string::<i32>();
    let (seeds, flows, sequences) = (integers("seed"), integers("flow_id"), integers("event_seq"));
    let (fingerprints, scenarios, times) = (
        texts("manifest_fingerprint"),
        texts("scenario_id"),
        texts("ts_utc"),
    );
    let constant = format!(
        r#"","event_type":"{OUTPUT_ID}","schema_version":"v1","manifest_fingerprint":"{}","parameter_hash":"{}","seed":{},"scenario_id":"{}","run_id":"{}","platform_run_id":"{}","scenario_run_id":"{}","producer":"{}","trace_id":"{}","span_id":"{}","ts_utc":""#,
        pins.manifest_fingerprint(),
        pins.parameter_hash(),
        pins.seed(),
        pins.scenario_id(),
        pins.run_id(),
        pins.platform_run_id(),
        pins.scenario_run_id(),
        pins.producer(),
        pins.trace_id().unwrap(),
        pins.span_id().unwrap(),
    );
    let mut out = Vec::with_capacity(2 * lines.len());
    let mut text = Vec::new();
    for (row, line) in lines
        .split(|&byte| byte == b'\n')
        .take(batch.num_rows())
        .enumerate()
    {
        text.clear();
        write!(
            text,
            "{OUTPUT_ID}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
            seeds.value(row),
            fingerprints.value(row),
            scenarios.value(row),
            flows.value(row),
            sequences.value(row),
            pins.manifest_fingerprint(),
            pins.parameter_hash(),
            pins.seed(),
            pins.scenario_id(),
        )
        .unwrap();
        out.extend_from_slice(b"{\"event_id\":\"");
        for byte in Sha256::digest(&text) {
            out.extend_from_slice(
                &[byte >> 4, byte & 15].map(|n| b"0123456789abcdef"[usize::from(n)]),
            );
        }
        out.extend_from_slice(constant.as_bytes());
        out.extend_from_slice(times.value(row).as_bytes());
        out.extend_from_slice(b"\",\"payload\":");
        out.extend_from_slice(line);
        out.push(b'}');
    }
    out
}
