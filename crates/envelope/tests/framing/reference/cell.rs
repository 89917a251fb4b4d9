//! Any type that a column can have, and any value of it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::ArrowPrimitiveType;
use arrow_array::types::Float16Type;
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use proptest::num::{f32, f64};
use proptest::prelude::*;

/// A value as it is meant, whatever array holds it.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Items(Vec<Cell>),
    Entries(Vec<(String, Cell)>),
}

pub(super) type Half = <Float16Type as ArrowPrimitiveType>::Native;

const FIRST_DAY: i64 = -719_528;
const LAST_DAY: i64 = 2_932_896;

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

pub(super) fn ticks_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn any_unit() -> impl Strategy<Value = TimeUnit> {
    prop_oneof![
        Just(TimeUnit::Second),
        Just(TimeUnit::Millisecond),
        Just(TimeUnit::Microsecond),
        Just(TimeUnit::Nanosecond),
    ]
}

pub(super) fn any_text_type() -> impl Strategy<Value = DataType> {
    prop_oneof![
        Just(DataType::Utf8),
        Just(DataType::LargeUtf8),
        Just(DataType::Utf8View)
    ]
}

pub(super) fn any_integer_type() -> impl Strategy<Value = DataType> {
    prop_oneof![
        Just(DataType::Int8),
        Just(DataType::Int16),
        Just(DataType::Int32),
        Just(DataType::Int64),
        Just(DataType::UInt8),
        Just(DataType::UInt16),
        Just(DataType::UInt32),
        Just(DataType::UInt64),
    ]
}

fn any_leaf_type() -> impl Strategy<Value = DataType> {
    prop_oneof![
        Just(DataType::Null),
        Just(DataType::Boolean),
        any_integer_type(),
        any_text_type(),
        prop_oneof![
            Just(DataType::Float16),
            Just(DataType::Float32),
            Just(DataType::Float64)
        ],
        (any_unit(), prop::option::of(Just("+02:00")))
            .prop_map(|(unit, zone)| DataType::Timestamp(unit, zone.map(Into::into))),
        prop_oneof![
            Just(DataType::Date32),
            Just(DataType::Date64),
            Just(DataType::Time32(TimeUnit::Second)),
            Just(DataType::Time32(TimeUnit::Millisecond)),
            Just(DataType::Time64(TimeUnit::Microsecond)),
            Just(DataType::Time64(TimeUnit::Nanosecond)),
        ],
        prop_oneof![
            Just(DataType::Binary),
            Just(DataType::LargeBinary),
            Just(DataType::BinaryView),
            (0..9).prop_map(DataType::FixedSizeBinary),
        ],
        prop_oneof![
            (-3_i8..=9).prop_map(|scale| DataType::Decimal32(9, scale)),
            (-3_i8..=18).prop_map(|scale| DataType::Decimal64(18, scale)),
            (-3_i8..=38).prop_map(|scale| DataType::Decimal128(38, scale)),
            (-3_i8..=76).prop_map(|scale| DataType::Decimal256(76, scale)),
        ],
    ]
}

pub(super) fn any_type() -> impl Strategy<Value = DataType> {
    any_leaf_type().prop_recursive(2, 8, 3, |inner| {
        let item = inner.clone().prop_map(|item| field("item", item));
        prop_oneof![
            item.clone().prop_map(DataType::List),
            item.clone().prop_map(DataType::LargeList),
            item.clone().prop_map(DataType::ListView),
            item.clone().prop_map(DataType::LargeListView),
            (item, 0..3).prop_map(|(item, length)| DataType::FixedSizeList(item, length)),
            prop::collection::btree_map("[a-z\"é]{0,2}", inner.clone(), 0..4).prop_map(|fields| {
                let fields = fields.into_iter().map(|(name, inner)| field(&name, inner));
                DataType::Struct(fields.collect())
            }),
            (any_text_type(), inner.clone()).prop_map(|(key, value)| {
                let entries = [
                    Arc::new(Field::new("keys", key, false)),
                    field("values", value),
                ];
                let entries = DataType::Struct(Fields::from_iter(entries));
                DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
            }),
            inner.clone().prop_map(|inner| {
                DataType::Dictionary(Box::new(DataType::Int16), Box::new(inner))
            }),
            inner.prop_map(|inner| {
                let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
                DataType::RunEndEncoded(ends, field("values", inner))
            }),
        ]
    })
}

/// The integers that stand for the values of a type, if integers do.
fn integers_of(data_type: &DataType) -> Option<RangeInclusive<i128>> {
    let ticks = |unit: &TimeUnit| i128::from(ticks_per_second(*unit));
    let (first_day, last_day) = (i128::from(FIRST_DAY), i128::from(LAST_DAY));
    Some(match data_type {
        DataType::Int8 => i8::MIN.into()..=i8::MAX.into(),
        DataType::Int16 => i16::MIN.into()..=i16::MAX.into(),
        DataType::Int32 => i32::MIN.into()..=i32::MAX.into(),
        DataType::Int64 => i64::MIN.into()..=i64::MAX.into(),
        DataType::UInt8 => 0..=u8::MAX.into(),
        DataType::UInt16 => 0..=u16::MAX.into(),
        DataType::UInt32 => 0..=u32::MAX.into(),
        DataType::UInt64 => 0..=u64::MAX.into(),
        DataType::Timestamp(unit, _) => {
            let day = 86_400 * ticks(unit);
            let first = (first_day * day).max(i64::MIN.into());
            first..=((last_day + 1) * day - 1).min(i64::MAX.into())
        }
        DataType::Date32 => first_day..=last_day,
        DataType::Date64 => first_day * 86_400_000..=(last_day + 1) * 86_400_000 - 1,
        DataType::Time32(unit) | DataType::Time64(unit) => 0..=86_400 * ticks(unit) - 1,
        DataType::Decimal32(..) => -999_999_999..=999_999_999,
        DataType::Decimal64(..) => -(10_i128.pow(18) - 1)..=10_i128.pow(18) - 1,
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            -(10_i128.pow(38) - 1)..=10_i128.pow(38) - 1
        }
        _ => return None,
    })
}

/// Any value of a type, null at times.
pub(super) fn any_cell(data_type: &DataType) -> BoxedStrategy<Cell> {
    if let Some(range) = integers_of(data_type) {
        let (first, last) = range.clone().into_inner();
        let small = first.max(-9)..=last.min(9);
        let cells = prop_oneof![8 => range, 1 => small, 1 => Just(first), 1 => Just(last)];
        return prop_oneof![4 => cells.prop_map(Cell::Int), 1 => Just(Cell::Null)].boxed();
    }
    let cells = match data_type {
        DataType::Null => return Just(Cell::Null).boxed(),
        DataType::Boolean => any::<bool>().prop_map(Cell::Bool).boxed(),
        DataType::Float16 => any::<u16>()
            .prop_map(|bits| Half::from_bits(bits).to_f64())
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(Cell::Float)
            .boxed(),
        DataType::Float32 => (f32::NORMAL | f32::SUBNORMAL | f32::ZERO)
            .prop_map(|value| Cell::Float(value.into()))
            .boxed(),
        DataType::Float64 => (f64::NORMAL | f64::SUBNORMAL | f64::ZERO)
            .prop_map(Cell::Float)
            .boxed(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            "(?s)(.{0,24}|[ -~]{0,40})".prop_map(Cell::Text).boxed()
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            prop::collection::vec(any::<u8>(), 0..20)
                .prop_map(Cell::Bytes)
                .boxed()
        }
        DataType::FixedSizeBinary(length) => prop::collection::vec(any::<u8>(), *length as usize)
            .prop_map(Cell::Bytes)
            .boxed(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => prop::collection::vec(any_cell(item.data_type()), 0..4)
            .prop_map(Cell::Items)
            .boxed(),
        DataType::FixedSizeList(item, length) => {
            prop::collection::vec(any_cell(item.data_type()), *length as usize)
                .prop_map(Cell::Items)
                .boxed()
        }
        DataType::Struct(fields) => fields
            .iter()
            .map(|field| any_cell(field.data_type()))
            .collect::<Vec<_>>()
            .prop_map(Cell::Items)
            .boxed(),
        DataType::Map(entries, _) => {
            let DataType::Struct(entry) = entries.data_type() else {
                unreachable!()
            };
            prop::collection::btree_map("(?s).{0,4}", any_cell(entry[1].data_type()), 0..4)
                .prop_map(|entries| Cell::Entries(entries.into_iter().collect()))
                .boxed()
        }
        DataType::Dictionary(_, inner) => return any_cell(inner),
        DataType::RunEndEncoded(_, inner) => return any_cell(inner.data_type()),
        other => unreachable!("{other} is not generated"),
    };
    prop_oneof![4 => cells, 1 => Just(Cell::Null)].boxed()
}
