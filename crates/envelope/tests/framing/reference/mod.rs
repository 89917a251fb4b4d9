//! Framing against a naive reference: rows of any supported type, kept as plain values, become an
//! Arrow batch on the one side and a `serde_json` object on the other.

mod arrays;
mod cell;
mod json;

use std::fmt::Write;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, SecondsFormat};
use envelope::{EnvelopeValidator, ordering_key};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use self::arrays::array;
use self::cell::{Cell, any_cell, any_integer_type, any_text_type, any_type};
use super::{FINGERPRINT, PARAMETERS, bodies, framer, parted};

/// A column of any type: its cells, and whether all rows hold the first of them.
type Column = (DataType, Vec<Cell>);

fn column(types: BoxedStrategy<DataType>, rows: usize) -> impl Strategy<Value = Column> {
    (types, prop::bool::weighted(0.2)).prop_flat_map(move |(data_type, constant)| {
        let cells = any_cell(&data_type);
        let cells = if constant {
            cells.prop_map(move |cell| vec![cell; rows]).boxed()
        } else {
            prop::collection::vec(cells, rows).boxed()
        };
        (Just(data_type), cells)
    })
}

fn key_column(rows: usize) -> impl Strategy<Value = Column> {
    let types = prop_oneof![any_integer_type(), any_text_type(), Just(DataType::Boolean)];
    let types = prop_oneof![
        3 => types.clone(),
        1 => types.prop_map(|inner| DataType::Dictionary(Box::new(DataType::Int16), Box::new(inner))),
    ];
    column(types.boxed(), rows).prop_map(|(data_type, cells)| {
        let inner = match &data_type {
            DataType::Dictionary(_, inner) => (**inner).clone(),
            other => other.clone(),
        };
        // A key has no nulls; these tests are about rows that can be framed.
        let filled = cells.into_iter().map(|cell| match (cell, &inner) {
            (Cell::Null, DataType::Boolean) => Cell::Bool(false),
            (Cell::Null, inner) if inner.is_integer() => Cell::Int(1),
            (Cell::Null, _) => Cell::Text("no null".into()),
            (cell, _) => cell,
        });
        (data_type, filled.collect())
    })
}

/// Times as text in nanoseconds, or as timestamps, and the instants that they mean.
fn time_column(rows: usize) -> impl Strategy<Value = (Column, Vec<i64>)> {
    let instants = prop::collection::vec(any::<i64>(), rows);
    (instants, any::<bool>()).prop_map(|(instants, as_text)| {
        let column = if as_text {
            let text = |nanos: &i64| {
                let instant = DateTime::from_timestamp_nanos(*nanos);
                Cell::Text(instant.to_rfc3339_opts(SecondsFormat::Nanos, true))
            };
            (DataType::Utf8View, instants.iter().map(text).collect())
        } else {
            let unit = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
            (
                unit,
                instants
                    .iter()
                    .map(|nanos| Cell::Int((*nanos).into()))
                    .collect(),
            )
        };
        (column, instants)
    })
}

#[derive(Debug, Clone)]
struct Table {
    columns: Vec<(String, Column)>,
    instants: Vec<i64>,
    rows: usize,
    /// Rows in front that belong to no batch, so that arrays do not begin at their buffers.
    skipped: usize,
}

fn any_table() -> impl Strategy<Value = Table> {
    (1_usize..7, 0_usize..3).prop_flat_map(|(rows, skipped)| {
        let all = rows + skipped;
        let payload = prop::collection::vec(column(any_type().boxed(), all), 1..5);
        (time_column(all), key_column(all), key_column(all), payload).prop_map(
            move |((times, instants), seed, key, payload)| {
                let mut columns = vec![
                    ("seed".into(), seed),
                    ("ts_utc".into(), times),
                    ("key \"2\"".into(), key),
                ];
                let payload = payload.into_iter().enumerate();
                columns.extend(payload.map(|(place, column)| (format!("é{place}"), column)));
                Table {
                    columns,
                    instants,
                    rows,
                    skipped,
                }
            },
        )
    })
}

impl Table {
    fn batch(&self) -> RecordBatch {
        let columns = self
            .columns
            .iter()
            .map(|(name, (data_type, cells))| (name, array(data_type, cells), true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        batch.slice(self.skipped, self.rows)
    }

    fn key_text(&self, name: &str, row: usize) -> String {
        let (_, (_, cells)) = self.columns.iter().find(|column| column.0 == name).unwrap();
        match &cells[self.skipped + row] {
            Cell::Int(value) => value.to_string(),
            Cell::Text(text) => text.clone(),
            Cell::Bool(true) => "True".into(),
            Cell::Bool(false) => "False".into(),
            other => unreachable!("{other:?} is no key"),
        }
    }

    fn envelope(&self, row: usize) -> Value {
        let payload: Map<_, _> = self
            .columns
            .iter()
            .map(|(name, (data_type, cells))| {
                (
                    name.clone(),
                    json::json(data_type, &cells[self.skipped + row]),
                )
            })
            .collect();
        let (seed, key) = (self.key_text("seed", row), self.key_text("key \"2\"", row));
        let text = format!("any|{seed}|{key}|{FINGERPRINT}|{PARAMETERS}|20260128|baseline_v1");
        let mut event_id = String::new();
        for byte in Sha256::digest(text) {
            write!(event_id, "{byte:02x}").unwrap();
        }
        let instant = DateTime::from_timestamp_nanos(self.instants[self.skipped + row]);
        json!({
            "event_id": event_id,
            "event_type": "any",
            "schema_version": "v1",
            "ts_utc": instant.to_rfc3339_opts(SecondsFormat::Micros, true),
            "manifest_fingerprint": FINGERPRINT,
            "parameter_hash": PARAMETERS,
            "seed": 20_260_128,
            "scenario_id": "baseline_v1",
            "run_id": "7510240d8c0d036d829c804b3832827f",
            "platform_run_id": "platform_20260128T090000Z",
            "scenario_run_id": "7510240d8c0d036d829c804b3832827f",
            "producer": "svc:world_stream_producer",
            "trace_id": "pack \"ü\"",
            "span_id": "engine-1",
            "payload": payload,
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_rows_are_framed_as_the_reference_frames_them(table in any_table()) {
        let validator = EnvelopeValidator::new();
        let mut framer = framer("any", &["seed", "key \"2\""]);
        let (framed, error) = parted(framer.frame("p", 0, &table.batch()));
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert_eq!(framed.len(), table.rows);
        for row in 0..table.rows {
            let expected = table.envelope(row);
            validator.check(&framed.body(row)).unwrap();
            let envelope: Value = serde_json::from_slice(&framed.body(row)).unwrap();
            prop_assert_eq!(&envelope, &expected);
            prop_assert_eq!(framed.event_id(row).to_string(), expected["event_id"].as_str().unwrap());
            let instant = table.instants[table.skipped + row];
            prop_assert_eq!(framed.time(row).nanos(), i128::from(instant));
            let key = table.key_text("key \"2\"", row);
            prop_assert_eq!(framed.ordering_key(row), ordering_key(key.as_bytes()));
        }
    }

    #[test]
    fn how_rows_are_cut_into_batches_changes_no_byte(table in any_table(), size in 1_usize..4) {
        let whole = table.batch();
        let mut framer = framer("any", &["seed", "key \"2\""]);
        let expected = bodies(framer.frame("p", 0, &whole));
        let mut framed = Vec::new();
        for start in (0..table.rows).step_by(size) {
            let cut = whole.slice(start, size.min(table.rows - start));
            framed.extend(bodies(framer.frame("p", start as u64, &cut)));
        }
        prop_assert_eq!(framed, expected);
    }
}
