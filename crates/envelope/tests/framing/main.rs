//! Framing as a caller sees it: golden envelopes, a naive reference, faults, JSON Lines.

#![allow(clippy::unwrap_used)]

mod batches;
mod faults;
mod golden;
mod json_lines;
mod reference;
mod values;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use envelope::{BadRow, Error, FrameSpec, FramedBatch, Framer, PinValues, Pins, Provenance};

const FINGERPRINT: &str = "7510240d8c0d036d829c804b3832827fbd37dd23a3a8bafd607ae074d0e2d5f1";
const PARAMETERS: &str = "f31a50edd23855dcee4249665c9d9598f957c284da4bbfd63dd486a774055c20";

fn pins() -> Pins {
    let values = PinValues {
        manifest_fingerprint: FINGERPRINT.into(),
        parameter_hash: PARAMETERS.into(),
        seed: 20_260_128,
        scenario_id: "baseline_v1".into(),
        run_id: "7510240d8c0d036d829c804b3832827f".into(),
        platform_run_id: "platform_20260128T090000Z".into(),
        producer: "svc:world_stream_producer".into(),
        ..PinValues::default()
    };
    let provenance = Provenance {
        trace_id: "pack \"ü\"".into(),
        span_id: Some("engine-1".into()),
    };
    Pins::new(values).unwrap().stamped(&provenance).unwrap()
}

fn framer(output_id: &str, primary_key: &[&str]) -> Framer {
    Framer::new(&FrameSpec::new(
        output_id,
        primary_key.iter().copied(),
        pins(),
    ))
    .unwrap()
}

/// A batch of the given columns and, if there is none among them, a valid `ts_utc`.
fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let rows = columns[0].1.len();
    let mut columns = columns;
    if columns.iter().all(|(name, _)| *name != "ts_utc") {
        let times = StringArray::from(vec!["2026-01-28T08:55:40.100195Z"; rows]);
        columns.push(("ts_utc", Arc::new(times)));
    }
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

/// What was made of the rows before a bad one, and what is wrong with that one, if there is one.
fn parted<T>(rows: Result<T, BadRow<T>>) -> (T, Option<Error>) {
    match rows {
        Ok(rows) => (rows, None),
        Err(bad) => {
            let (before, error) = bad.into_parts();
            (before, Some(error))
        }
    }
}

/// All bodies of a batch that has no fault.
fn bodies(framed: Result<FramedBatch, BadRow<FramedBatch>>) -> Vec<String> {
    bodies_before_fault(&framed.unwrap())
}

fn bodies_before_fault(framed: &FramedBatch) -> Vec<String> {
    (0..framed.len())
        .map(|row| String::from_utf8(framed.body(row).to_vec()).unwrap())
        .collect()
}
