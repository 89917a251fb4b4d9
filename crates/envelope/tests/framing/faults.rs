//! Bad rows: which code, which row, which column, and what is framed before them.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, MapBuilder, StringBuilder};
use arrow_array::types::Int8Type;
use arrow_array::*;
use arrow_schema::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use envelope::{Error, FrameSpec, Framer, ReasonCode, event_times};

use super::{batch, bodies, bodies_before_fault, framer, parted, pins};

const GOOD: &str = "2026-01-28T08:55:40.100195Z";

fn integers(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

fn texts<'a>(values: impl Into<Vec<Option<&'a str>>>) -> ArrayRef {
    Arc::new(StringArray::from(values.into()))
}

/// Frames a batch with key column `k`, and gives what is wrong with it.
fn fault_of(batch: &RecordBatch) -> (usize, Error) {
    let (framed, error) =
        parted(framer("output", &["k"]).frame("a/part-000007.parquet", 100, batch));
    (framed.len(), error.expect("the batch has a fault"))
}

#[track_caller]
fn assert_fault(batch: &RecordBatch, row: u64, code: ReasonCode, words: &[&str]) {
    let (framed, error) = fault_of(batch);
    assert_eq!((framed as u64, error.code()), (row, code), "{error}");
    let place = error.place();
    assert_eq!(
        (place.object(), place.row()),
        (Some("a/part-000007.parquet"), Some(100 + row))
    );
    let text = error.to_string();
    let shown = format!(": a/part-000007.parquet, row {}, field ", 100 + row);
    assert!(text.contains(&shown), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn a_row_without_event_time_is_missing_it() {
    let code = ReasonCode::MissingEventTime;
    let null = texts([Some(GOOD), Some(GOOD), None]);
    let keys = || integers(vec![Some(1); 3]);
    assert_fault(
        &batch(vec![("k", keys()), ("ts_utc", null)]),
        2,
        code,
        &["event time is null"],
    );

    let nothing = Arc::new(NullArray::new(3));
    assert_fault(
        &batch(vec![("k", keys()), ("ts_utc", nothing)]),
        0,
        code,
        &["null"],
    );

    let values = texts([None, Some(GOOD)]);
    let dictionary = DictionaryArray::<Int8Type>::new(vec![1, 0, 1].into(), values);
    let dictionary = Arc::new(dictionary);
    assert_fault(
        &batch(vec![("k", keys()), ("ts_utc", dictionary)]),
        1,
        code,
        &["null"],
    );

    let other = RecordBatch::try_from_iter([("k", keys())]).unwrap();
    assert_fault(
        &other,
        0,
        code,
        &[
            "event time is not among the row's columns",
            "repair the output",
        ],
    );
}

#[test]
fn a_time_that_cannot_be_read_is_shown() {
    let code = ReasonCode::EventTimeInvalid;
    let keys = || integers(vec![Some(1); 2]);
    let with_time = |column: ArrayRef| batch(vec![("k", keys()), ("ts_utc", column)]);

    let leap = texts([Some(GOOD), Some("2026-06-30T23:59:60Z\u{7}")]);
    assert_fault(
        &with_time(leap),
        1,
        code,
        &["\"2026-06-30T23:59:60Z\\u{7}\"", "leap second"],
    );
    let long = "9".repeat(5_000);
    let (_, error) = fault_of(&with_time(texts([Some(&long[..]), None])));
    assert!(error.to_string().len() < 400, "{error}");

    let numbers = integers(vec![Some(1); 2]);
    assert_fault(
        &with_time(numbers),
        0,
        code,
        &["of type Int64", "timestamp"],
    );
    let far = Arc::new(TimestampSecondArray::from(vec![0, 253_402_300_800]));
    assert_fault(
        &with_time(far),
        1,
        code,
        &["253402300800 seconds", "years 0000 to 9999"],
    );
}

#[test]
fn a_key_that_is_not_there_is_missing() {
    let code = ReasonCode::PrimaryKeyMissing;
    let null = integers(vec![Some(1), None, Some(3)]);
    assert_fault(
        &batch(vec![("k", null)]),
        1,
        code,
        &["column is null", "field `k`"],
    );
    let other = integers(vec![Some(1); 2]);
    assert_fault(
        &batch(vec![("other", other)]),
        0,
        code,
        &["column is not among the row's columns"],
    );
    assert_fault(
        &batch(vec![("k", Arc::new(NullArray::new(2)))]),
        0,
        code,
        &["column is null", "field `k`"],
    );
    let values = texts([Some("a"), None]);
    let dictionary = DictionaryArray::<Int8Type>::new(vec![0, 1].into(), values);
    assert_fault(
        &batch(vec![("k", Arc::new(dictionary))]),
        1,
        code,
        &["column is null", "field `k`"],
    );
}

#[test]
fn a_key_type_without_an_agreed_text_is_refused_at_once() {
    let unsupported: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![1.0])),
        Arc::new(Decimal128Array::from(vec![1])),
        Arc::new(Date32Array::from(vec![1])),
        Arc::new(TimestampSecondArray::from(vec![1])),
        Arc::new(BinaryArray::from(vec![&b"1"[..]])),
        Arc::new(DictionaryArray::<Int8Type>::new(
            vec![0].into(),
            Arc::new(Float32Array::from(vec![1.0])),
        )),
    ];
    for column in unsupported {
        let found = format!("of type {}", column.data_type());
        let code = ReasonCode::PrimaryKeyTypeUnsupported;
        assert_fault(&batch(vec![("k", column)]), 0, code, &["field `k`", &found]);
    }
}

#[test]
fn values_without_an_exact_json_form_are_refused_where_they_are() {
    let code = ReasonCode::PayloadValueUnsupported;
    let with = |column: ArrayRef| {
        let keys = integers((0..column.len() as i64).map(Some).collect());
        batch(vec![("k", keys), ("v", column)])
    };
    let floats = |values| Arc::new(Float64Array::from(values));
    assert_fault(
        &with(floats(vec![0.5, f64::NAN])),
        1,
        code,
        &["value is NaN", "field `v`"],
    );
    assert_fault(
        &with(floats(vec![f64::INFINITY; 2])),
        0,
        code,
        &["value is inf", "field `v`"],
    );
    assert_fault(
        &with(Arc::new(Float32Array::from(vec![0.0, f32::NEG_INFINITY]))),
        1,
        code,
        &["value is -inf", "field `v`"],
    );

    let far = Arc::new(TimestampSecondArray::from(vec![0, i64::MAX]));
    assert_fault(&with(far), 1, code, &["outside the years"]);
    assert_fault(
        &with(Arc::new(Date32Array::from(vec![0, i32::MAX]))),
        1,
        code,
        &["outside"],
    );
    let day = Arc::new(Time32SecondArray::from(vec![86_399, 86_400]));
    assert_fault(&with(day), 1, code, &["not a time of day"]);

    // A null is a null in a column of any type.
    let durations = Arc::new(DurationSecondArray::from(vec![None, Some(1)]));
    assert_fault(&with(durations), 1, code, &["value is of type Duration"]);
    let interval = new_null_array(&DataType::Interval(IntervalUnit::DayTime), 2);
    bodies(framer("output", &["k"]).frame("p", 0, &with(interval)));
}

#[test]
fn the_place_within_a_nested_value_is_named() {
    let code = ReasonCode::PayloadValueUnsupported;
    let floats = Float64Array::from(vec![0.5, 1.5, f64::NAN]);
    let field = Arc::new(Field::new("amount", DataType::Float64, true));
    let items = StructArray::from(vec![(Arc::clone(&field), Arc::new(floats) as ArrayRef)]);
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let lengths = arrow_buffer::OffsetBuffer::from_lengths([1, 2]);
    let list = Arc::new(ListArray::new(item, lengths, Arc::new(items), None));
    let keys = integers(vec![Some(1), Some(2)]);
    let nested = batch(vec![("k", keys), ("v", list)]);
    assert_fault(&nested, 1, code, &["value is NaN", "field `v[1].amount`"]);
}

#[test]
fn objects_that_would_lose_a_value_are_refused() {
    let code = ReasonCode::PayloadValueUnsupported;
    let mut twice = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for (key, value, ends) in [
        ("a", 1, false),
        ("b", 2, true),
        ("a", 1, false),
        ("a", 2, true),
    ] {
        twice.keys().append_value(key);
        twice.values().append_value(value);
        if ends {
            twice.append(true).unwrap();
        }
    }
    let keys = || integers(vec![Some(1), Some(2)]);
    let map = batch(vec![("k", keys()), ("v", Arc::new(twice.finish()))]);
    assert_fault(
        &map,
        1,
        code,
        &["value has the same key twice", "field `v`"],
    );

    let mut numbered = MapBuilder::new(None, Int64Builder::new(), Int64Builder::new());
    numbered.append(false).unwrap();
    numbered.append(true).unwrap();
    let map = batch(vec![("k", keys()), ("v", Arc::new(numbered.finish()))]);
    assert_fault(&map, 1, code, &["value is of type Map", "field `v`"]);

    let field = Arc::new(Field::new("x", DataType::Int64, true));
    let twice = StructArray::from(vec![(Arc::clone(&field), keys()), (field, keys())]);
    let structs = batch(vec![("k", keys()), ("v", Arc::new(twice))]);
    assert_fault(
        &structs,
        0,
        code,
        &["value has two fields named x", "field `v`"],
    );

    let fields = ["k", "v", "v"].map(|name| Field::new(name, DataType::Int64, true));
    let time = Field::new("ts_utc", DataType::Timestamp(TimeUnit::Second, None), true);
    let schema = Schema::new([&fields[..], &[time]].concat());
    let columns = vec![
        keys(),
        keys(),
        keys(),
        Arc::new(TimestampSecondArray::from(vec![0, 0])) as ArrayRef,
    ];
    let columns = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    assert_fault(
        &columns,
        0,
        code,
        &[
            "value stands beside another column of that name",
            "field `v`",
        ],
    );
}

#[test]
fn of_several_faults_the_earliest_row_counts_then_time_key_and_payload() {
    let columns = |time: [Option<&str>; 3], key: [Option<i64>; 3], a: [f64; 3], b: [f64; 3]| {
        batch(vec![
            ("k", integers(key.to_vec())),
            ("a", Arc::new(Float64Array::from(a.to_vec()))),
            ("b", Arc::new(Float64Array::from(b.to_vec()))),
            ("ts_utc", texts(time.to_vec())),
        ])
    };
    let (time, key, fine) = ([Some(GOOD); 3], [Some(1); 3], [0.0; 3]);
    let (bad_time, bad_key, nan) = (
        [Some(GOOD), None, None],
        [Some(1), None, None],
        [0.0, f64::NAN, f64::NAN],
    );

    let all = columns(bad_time, bad_key, nan, nan);
    assert_fault(&all, 1, ReasonCode::MissingEventTime, &[]);
    let key_first = columns(time, bad_key, nan, nan);
    assert_fault(&key_first, 1, ReasonCode::PrimaryKeyMissing, &[]);
    let code = ReasonCode::PayloadValueUnsupported;
    assert_fault(&columns(time, key, nan, nan), 1, code, &["field `a`"]);
    assert_fault(&columns(time, key, fine, nan), 1, code, &["field `b`"]);

    let (no_time, no_key) = ([None; 3], [None; 3]);
    assert_fault(
        &columns(no_time, no_key, nan, nan),
        0,
        ReasonCode::MissingEventTime,
        &[],
    );

    let later_time = [Some(GOOD), Some(GOOD), None];
    assert_fault(
        &columns(later_time, bad_key, fine, fine),
        1,
        ReasonCode::PrimaryKeyMissing,
        &[],
    );
    assert_fault(
        &columns(later_time, key, fine, nan),
        1,
        code,
        &["field `b`"],
    );
    let later_key = [Some(1), Some(1), None];
    assert_fault(
        &columns(later_time, later_key, nan, fine),
        1,
        code,
        &["field `a`"],
    );
}

#[test]
fn of_several_key_columns_the_first_faulty_one_is_named() {
    let rows = batch(vec![
        ("a", integers(vec![Some(1), Some(2), None])),
        ("b", integers(vec![Some(1), None, None])),
        ("c", integers(vec![Some(1), None, None])),
    ]);
    for (key, row, column) in [
        (["a", "b", "c"], 1, "null: p, row 1, field `b`"),
        (["c", "b", "a"], 1, "null: p, row 1, field `c`"),
        (["a", "y", "x"], 0, "columns: p, row 0, field `y`"),
    ] {
        let (framed, error) = parted(framer("output", &key).frame("p", 0, &rows));
        let error = error.unwrap().to_string();
        assert!(framed.len() == row && error.contains(column), "{error}");
    }
}

#[test]
fn nothing_of_a_bad_row_is_left_behind() {
    let rows = batch(vec![
        ("k", integers(vec![Some(1), Some(2)])),
        ("v", Arc::new(Float64Array::from(vec![1.0, f64::NAN]))),
    ]);
    let (framed, _) = parted(framer("output", &["k"]).frame("p", 0, &rows));
    assert_eq!(framed.body_bytes(), framed.body(0).len());
}

#[test]
fn a_fault_is_the_same_however_rows_are_cut_into_batches() {
    let floats: Vec<f64> = (0..40)
        .map(|row| if row >= 23 { f64::NAN } else { 0.25 })
        .collect();
    let whole = batch(vec![
        (
            "k",
            integers((0..40).map(|row| (row != 31).then_some(row)).collect()),
        ),
        ("v", Arc::new(Float64Array::from(floats))),
    ]);
    let (expected, error) = parted(framer("output", &["k"]).frame("p", 0, &whole));
    let (expected, error) = (bodies_before_fault(&expected), error.unwrap().to_string());
    assert_eq!(expected.len(), 23);
    for size in [1, 2, 7, 23, 24, 39] {
        let mut framer = framer("output", &["k"]);
        let mut framed = Vec::new();
        let found = (0..40).step_by(size).find_map(|start| {
            let cut = whole.slice(start, size.min(40 - start));
            let (batch, error) = parted(framer.frame("p", start as u64, &cut));
            framed.extend(bodies_before_fault(&batch));
            error
        });
        assert_eq!(found.unwrap().to_string(), error, "batches of {size}");
        assert_eq!(framed, expected, "batches of {size}");
    }
}

#[test]
fn an_empty_batch_has_no_fault() {
    let nothing = batch(vec![("other", integers(vec![]))]);
    let (framed, error) = parted(framer("output", &["k"]).frame("p", 0, &nothing));
    assert!(framed.is_empty() && error.is_none());
}

#[test]
fn an_output_without_identity_or_name_gets_no_framer() {
    let spec = |output_id: &str, primary_key: &[&str]| {
        FrameSpec::new(output_id, primary_key.iter().copied(), pins())
    };
    let code = |spec| Framer::new(&spec).unwrap_err().code();
    assert_eq!(code(spec("output", &[])), ReasonCode::PrimaryKeyUndefined);
    assert_eq!(code(spec("", &["k"])), ReasonCode::EnvelopeFieldInvalid);
    assert_eq!(
        code(spec(&"o".repeat(257), &["k"])),
        ReasonCode::EnvelopeFieldInvalid
    );
}

#[test]
fn times_of_a_column_end_before_the_first_that_cannot_be_read() {
    let column = texts([
        Some(GOOD),
        Some("2026-01-28 08:55:41"),
        Some("soon"),
        Some(GOOD),
    ]);
    let (times, error) = parted(event_times("p", 7, "ts_utc", &column));
    let times: Vec<_> = times.iter().map(ToString::to_string).collect();
    assert_eq!(times, [GOOD, "2026-01-28T08:55:41.000000Z"]);
    let error = error.unwrap();
    assert_eq!(
        (error.code(), error.row_index().unwrap()),
        (ReasonCode::EventTimeInvalid, 9)
    );
}

#[test]
fn every_unit_and_zone_of_a_timestamp_is_the_same_instant() {
    let columns: [ArrayRef; 5] = [
        Arc::new(TimestampSecondArray::from(vec![-1, 1_769_590_540])),
        Arc::new(TimestampMillisecondArray::from(vec![
            -1_000,
            1_769_590_540_000,
        ])),
        Arc::new(TimestampMicrosecondArray::from(vec![
            -1_000_000,
            1_769_590_540_000_000,
        ])),
        Arc::new(TimestampNanosecondArray::from(vec![
            -1_000_000_000,
            1_769_590_540_000_000_000,
        ])),
        Arc::new(TimestampSecondArray::from(vec![-1, 1_769_590_540]).with_timezone("+05:00")),
    ];
    for column in columns {
        let (times, error) = parted(event_times("p", 0, "ts_utc", &column));
        assert!(error.is_none());
        assert_eq!(
            times[0].to_string(),
            "1969-12-31T23:59:59.000000Z",
            "{}",
            column.data_type()
        );
        assert_eq!(
            times[1].to_string(),
            "2026-01-28T08:55:40.000000Z",
            "{}",
            column.data_type()
        );
    }
}
