//! INT96 timestamps: exactly what the part has, or refused.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use oracle_store::ReasonCode;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::data_type::{ByteArrayType, Int32Type, Int96, Int96Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use proptest::{collection, option, sample};

use crate::logical_types::{part, part_with, rows_of, texts};

/// The INT96 form of a Julian day and nanoseconds of it.
fn int96(julian_day: u32, nanos: u64) -> Int96 {
    let mut value = Int96::new();
    value.set_data(nanos as u32, (nanos >> 32) as u32, julian_day);
    value
}

const EPOCH: u32 = 2_440_588;

#[tokio::test]
async fn int96_is_exact_within_its_range_and_refused_with_row_and_column_outside() {
    let schema = "message m { required int96 a; optional int96 b; }";
    let part_with = |b: Int96| {
        part(schema, |columns| {
            let a = [int96(EPOCH, 1), int96(EPOCH - 1, 5), int96(EPOCH + 1, 7)];
            columns.add::<Int96Type>(&a, None);
            columns.add::<Int96Type>(&[int96(EPOCH, 0), b], Some((&[1, 0, 1], &[0, 0, 0])));
        })
    };
    let day = 86_400_000_000_000_i64;
    for batch_rows in [1, 2, 10] {
        // 1677-09-22 and 2262-04-11 are the last whole days.
        for last_day in [EPOCH - 106_751, EPOCH, EPOCH + 106_750] {
            let batches = rows_of(part_with(int96(last_day, 9)), batch_rows).await;
            let batches = batches.unwrap();
            let values = batches.iter().flat_map(|batch| {
                let [a, b] = [0, 1].map(|column| {
                    let values = batch.column(column);
                    values.as_primitive::<TimestampNanosecondType>().clone()
                });
                a.iter().zip(b.iter()).collect::<Vec<_>>()
            });
            let values: Vec<_> = values.collect();
            let last = (i64::from(last_day) - i64::from(EPOCH)) * day + 9;
            let expected = [
                (Some(1), Some(0)),
                (Some(5 - day), None),
                (Some(day + 7), Some(last)),
            ];
            assert_eq!(values, expected);
        }
        // The years 1000, 1600, 2262 in summer and 9999, and what is no day at all.
        for outside in [
            2_086_308,
            2_305_448,
            EPOCH + 106_800,
            5_373_484,
            0,
            u32::MAX,
        ] {
            let error = rows_of(part_with(int96(outside, 0)), batch_rows).await;
            let error = error.expect_err("a value outside");
            assert_eq!(error.code(), ReasonCode::OracleReadFailed);
            assert_eq!(error.row_index(), Some(2), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("`b`") && text.contains("data/single.parquet"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_nested_int96_outside_its_range_is_refused_too() {
    let schema = "message m {
        required binary kind (ENUM);
        optional group times (LIST) { repeated group list { optional int96 element; } }
        required int96 last;
    }";
    let with = |nested: u32| {
        part(schema, |columns| {
            columns.add::<ByteArrayType>(&texts(&["A", "B"]), None);
            let values = [int96(EPOCH, 1), int96(nested, 2)];
            columns.add::<Int96Type>(&values, Some((&[3, 3, 0], &[0, 1, 0])));
            columns.add::<Int96Type>(&[int96(EPOCH, 3), int96(EPOCH, 4)], None);
        })
    };
    assert_eq!(rows_of(with(EPOCH + 3), 10).await.unwrap()[0].num_rows(), 2);
    let error = rows_of(with(5_373_484), 10).await.unwrap_err();
    assert!(error.to_string().contains("times.list.element"), "{error}");
}

#[tokio::test]
async fn an_int96_in_a_map_is_refused_outside_its_range() {
    let schema = "message m {
        required group times (MAP) { repeated group key_value {
            required binary key (UTF8); optional int96 value;
        } }
    }";
    let with = |day: u32| {
        part(schema, |columns| {
            columns.add::<ByteArrayType>(&texts(&["a", "b"]), Some((&[1, 1], &[0, 0])));
            let values = [int96(EPOCH, 1), int96(day, 2)];
            columns.add::<Int96Type>(&values, Some((&[2, 2], &[0, 0])));
        })
    };
    assert_eq!(rows_of(with(EPOCH), 10).await.unwrap()[0].num_rows(), 2);
    let error = rows_of(with(5_373_484), 10).await.unwrap_err();
    assert!(
        error.to_string().contains("times.key_value.value"),
        "{error}"
    );
}

/// Where the INT96 of a generated part stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    Flat,
    InStruct,
    InList,
    InMap,
}

impl Place {
    fn schema(self) -> &'static str {
        match self {
            Self::Flat => "message m { required int32 n; optional int96 t; }",
            Self::InStruct => {
                "message m { required int32 n; optional group s { required int32 n; optional int96 t; } }"
            }
            Self::InList => {
                "message m { required int32 n;
                    optional group l (LIST) { repeated group list { optional int96 element; } } }"
            }
            Self::InMap => {
                "message m { required int32 n; optional group m (MAP) { repeated group key_value {
                    required int32 key; optional int96 value; } } }"
            }
        }
    }

    /// The Arrow schema of it with the INT96 as another type.
    fn arrow(self, int96: DataType) -> Schema {
        let int = |name: &str| Field::new(name, DataType::Int32, false);
        let named = |name: &str| Field::new(name, int96.clone(), true);
        let nested = match self {
            Self::Flat => named("t"),
            Self::InStruct => {
                let fields = Fields::from(vec![int("n"), named("t")]);
                Field::new("s", DataType::Struct(fields), true)
            }
            Self::InList => Field::new("l", DataType::List(Arc::new(named("element"))), true),
            Self::InMap => {
                let fields = Fields::from(vec![int("key"), named("value")]);
                let entries = Field::new("key_value", DataType::Struct(fields), false);
                Field::new("m", DataType::Map(Arc::new(entries), false), true)
            }
        };
        Schema::new(vec![int("n"), nested])
    }

    /// A part of one value a row; a null where there is none.
    fn part(self, values: &[Option<(u32, i64)>], unit: Option<TimeUnit>) -> Vec<u8> {
        let hint = unit.map(|unit| self.arrow(DataType::Timestamp(unit, None)));
        let hint = hint.map(|schema| {
            let key = ARROW_SCHEMA_META_KEY.to_owned();
            vec![KeyValue::new(key, encode_arrow_schema(&schema))]
        });
        let properties = WriterProperties::builder().set_key_value_metadata(hint);
        let numbers: Vec<i32> = (0..values.len() as i32).collect();
        let ones = vec![1_i16; values.len()];
        let zeros = vec![0_i16; values.len()];
        let most = match self {
            Self::Flat => 1,
            Self::InStruct => 2,
            Self::InList | Self::InMap => 3,
        };
        let levels = values.iter().map(|value| most - i16::from(value.is_none()));
        let levels: Vec<i16> = levels.collect();
        let times = values.iter().flatten();
        let times: Vec<Int96> = times
            .map(|&(day, nanos)| int96(day, nanos as u64))
            .collect();
        part_with(self.schema(), properties.build(), |columns| {
            columns.add::<Int32Type>(&numbers, None);
            match self {
                Self::InStruct => columns.add::<Int32Type>(&numbers, Some((&ones, &zeros))),
                Self::InMap => {
                    let twos = vec![2_i16; values.len()];
                    columns.add::<Int32Type>(&numbers, Some((&twos, &zeros)));
                }
                Self::Flat | Self::InList => {}
            }
            columns.add::<Int96Type>(&times, Some((&levels, &zeros)));
        })
    }

    /// The leaf array of the INT96.
    fn leaf(self, rows: &RecordBatch) -> ArrayRef {
        let column = rows.column(1);
        match self {
            Self::Flat => column.clone(),
            Self::InStruct => column.as_struct().column(1).clone(),
            Self::InList => column.as_list::<i32>().values().clone(),
            Self::InMap => column.as_map().values().clone(),
        }
    }
}

fn ticks(values: &ArrayRef) -> Vec<Option<i64>> {
    let DataType::Timestamp(unit, None) = values.data_type() else {
        panic!("a timestamp, not {}", values.data_type());
    };
    match unit {
        TimeUnit::Second => values
            .as_primitive::<TimestampSecondType>()
            .iter()
            .collect(),
        TimeUnit::Millisecond => values
            .as_primitive::<TimestampMillisecondType>()
            .iter()
            .collect(),
        TimeUnit::Microsecond => values
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .collect(),
        TimeUnit::Nanosecond => values
            .as_primitive::<TimestampNanosecondType>()
            .iter()
            .collect(),
    }
}

fn nanos_of(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// The exact value of an INT96 in a unit, if there is one: days are signed, as the reader
/// takes them, and none lies before day 0.
fn exact((day, nanos): (u32, i64), unit: TimeUnit) -> Option<i64> {
    let day_nanos = 86_400 * 1_000_000_000_i128;
    let time = (i128::from(day as i32) - i128::from(EPOCH)) * day_nanos + i128::from(nanos);
    let is_a_day = time >= -i128::from(EPOCH) * day_nanos;
    let is_whole = time % nanos_of(unit) == 0;
    i64::try_from(time / nanos_of(unit))
        .ok()
        .filter(|_| is_a_day && is_whole)
}

fn days() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => EPOCH - 106_753..EPOCH + 106_753,
        1 => EPOCH - 106_753..EPOCH - 106_749,
        1 => EPOCH + 106_750..EPOCH + 106_753,
        // Where microseconds end.
        1 => EPOCH + 106_751_989..EPOCH + 106_751_993,
        1 => any::<u32>(),
        1 => sample::select(vec![0, 1, i32::MAX as u32, 1 << 31, u32::MAX]),
    ]
}

fn nanos() -> impl Strategy<Value = i64> {
    let day = 86_400_000_000_000_i64;
    prop_oneof![
        4 => (0..86_400_i64).prop_map(|seconds| seconds * 1_000_000_000),
        2 => (0..day / 1_000_000).prop_map(|millis| millis * 1_000_000),
        2 => (0..day / 1_000).prop_map(|micros| micros * 1_000),
        2 => 0..day,
        1 => -2 * day..0,
        1 => (-100_000..0_i64).prop_map(|seconds| seconds * 1_000_000_000),
        1 => any::<i64>(),
        1 => sample::select(vec![i64::MIN, i64::MAX, -1, -1_000_000_000, day]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_int96_is_exact_or_refused(
        values in collection::vec(option::weighted(0.9, (days(), nanos())), 1..6),
        unit in option::of(sample::select(vec![
            TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond,
        ])),
        place in sample::select(vec![Place::Flat, Place::InStruct, Place::InList, Place::InMap]),
        batch_rows in 1..4_usize,
    ) {
        let shown = unit.unwrap_or(TimeUnit::Nanosecond);
        let expected: Vec<_> = values.iter().map(|value| value.map(|v| exact(v, shown))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let read = runtime.block_on(rows_of(place.part(&values, unit), batch_rows));
        if let Some(first) = expected.iter().position(|value| *value == Some(None)) {
            let error = read.expect_err("a value that is not exact");
            prop_assert_eq!(error.code(), ReasonCode::OracleReadFailed);
            if matches!(place, Place::Flat) {
                prop_assert_eq!(error.row_index(), Some(first as u64));
            }
        } else {
            let read = read.expect("every value is exact");
            let read: Vec<_> = read.iter().flat_map(|rows| ticks(&place.leaf(rows))).collect();
            let expected: Vec<_> = expected.into_iter().map(Option::flatten).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
