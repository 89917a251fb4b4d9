//! Envelopes frozen byte by byte. Their ids were computed by another program.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, StringBuilder};
use arrow_array::types::{Float16Type, Int8Type, Int32Type};
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, Field};

use super::{batch, bodies, framer};

/// Two rows with a column of each kind: one of ordinary values, one of nulls and extremes.
fn every_kind() -> RecordBatch {
    batch(
        [scalars(), temporals(), nested()]
            .into_iter()
            .flatten()
            .collect(),
    )
}

fn scalars() -> Vec<(&'static str, ArrayRef)> {
    let half = |value| <Float16Type as ArrowPrimitiveType>::Native::from_f32(value);
    vec![
        ("id", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("flag", Arc::new(BooleanArray::from(vec![true, false]))),
        (
            "name",
            Arc::new(StringArray::from(vec!["T_Ünïcode_卡\"\\/\t\u{1}", ""])),
        ),
        (
            "ts_utc",
            Arc::new(StringArray::from(vec![
                "2026-01-28 09:55:40.123456789+01:00",
                "1969-12-31T23:59:59",
            ])),
        ),
        ("nothing", Arc::new(NullArray::new(2))),
        ("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None]))),
        ("i64", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]))),
        (
            "f16",
            Arc::new(Float16Array::from(vec![half(0.1), half(-2.0)])),
        ),
        ("f32", Arc::new(Float32Array::from(vec![0.1, 16_777_216.0]))),
        ("f64", Arc::new(Float64Array::from(vec![0.1, 1e-7]))),
        (
            "view",
            Arc::new(StringViewArray::from(vec![
                "a text beyond the view's own",
                "short",
            ])),
        ),
        (
            "label",
            Arc::new(DictionaryArray::<Int8Type>::new(
                vec![2, 1].into(),
                Arc::new(StringArray::from(vec![None, None, Some("two")])),
            )),
        ),
        (
            "dec",
            Arc::new(
                Decimal128Array::from(vec![-5, 12_300])
                    .with_precision_and_scale(20, 2)
                    .unwrap(),
            ),
        ),
        (
            "wide",
            Arc::new(
                Decimal256Array::from(vec![i256::from_i128(i128::MAX), i256::ZERO])
                    .with_precision_and_scale(76, 40)
                    .unwrap(),
            ),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![&b"\x00\xff\x10\x7f"[..], b""])),
        ),
    ]
}

fn temporals() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("day", Arc::new(Date32Array::from(vec![-1, 20_481]))),
        (
            "clock",
            Arc::new(Time32MillisecondArray::from(vec![86_399_999, 0])),
        ),
        ("t_s", Arc::new(TimestampSecondArray::from(vec![-1, 0]))),
        (
            "t_ms",
            Arc::new(TimestampMillisecondArray::from(vec![-1, 0]).with_timezone("+02:00")),
        ),
        (
            "t_us",
            Arc::new(TimestampMicrosecondArray::from(vec![1, 0]).with_timezone("UTC")),
        ),
        (
            "t_ns",
            Arc::new(TimestampNanosecondArray::from(vec![i64::MAX, i64::MIN])),
        ),
    ]
}

fn nested() -> Vec<(&'static str, ArrayRef)> {
    let list = |items: Vec<Option<Vec<Option<i32>>>>| {
        ListArray::from_iter_primitive::<Int32Type, _, _>(items)
    };
    let tags = list(vec![Some(vec![Some(1), None]), Some(vec![])]);
    let tags_field = Arc::new(Field::new("tags", tags.data_type().clone(), true));
    let x = Int64Array::from(vec![Some(1), None]);
    let point = StructArray::from(vec![
        (
            Arc::new(Field::new("x", DataType::Int64, true)),
            Arc::new(x) as ArrayRef,
        ),
        (tags_field, Arc::new(tags)),
    ]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("key \"1\"");
    map.values().append_value("value");
    map.keys().append_value("");
    map.values().append_null();
    map.append(true).unwrap();
    map.append(true).unwrap();
    vec![
        (
            "list",
            Arc::new(list(vec![Some(vec![Some(1), None, Some(-3)]), None])),
        ),
        ("point", Arc::new(point)),
        ("map", Arc::new(map.finish())),
    ]
}

#[test]
fn every_kind_of_column_is_framed_as_it_always_was() {
    let mut framer = framer("golden \"output\"", &["id", "flag", "name"]);
    let framed = bodies(framer.frame("part-000000.parquet", 0, &every_kind()));
    let golden: Vec<_> = include_str!("golden/every_kind.ndjson").lines().collect();
    assert_eq!(framed, golden);
}

#[test]
fn a_row_of_json_lines_keeps_its_own_text() {
    let lines = include_str!("golden/lines.jsonl")
        .lines()
        .map(str::as_bytes);
    let mut framer = framer("golden_lines", &["scenario_id", "flow_id", "is_first"]);
    let framed = bodies(framer.frame_json_lines("part-000000.jsonl", 0, lines));
    let golden: Vec<_> = include_str!("golden/lines.ndjson").lines().collect();
    assert_eq!(framed, golden);
}
