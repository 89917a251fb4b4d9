//! Framing against a naive reference: rows of any supported type, kept as plain values, become an
//! Arrow batch on the one side and a `serde_json` object on the other.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use base64::Engine;
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta};
use envelope::{EnvelopeValidator, ordering_key};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{FINGERPRINT, PARAMETERS, bodies, framer};

/// A value as it is meant, whatever array holds it.
#[derive(Debug, Clone)]
enum Cell {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Items(Vec<Cell>),
    Entries(Vec<(String, Cell)>),
}

type Half = <Float16Type as ArrowPrimitiveType>::Native;

const FIRST_DAY: i64 = -719_528;
const LAST_DAY: i64 = 2_932_896;

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn ticks_per_second(unit: TimeUnit) -> i64 {
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

fn any_text_type() -> impl Strategy<Value = DataType> {
    prop_oneof![
        Just(DataType::Utf8),
        Just(DataType::LargeUtf8),
        Just(DataType::Utf8View)
    ]
}

fn any_integer_type() -> impl Strategy<Value = DataType> {
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

fn any_type() -> impl Strategy<Value = DataType> {
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

/// Any value of a type, null at times; constant columns come from few distinct values.
fn any_cell(data_type: &DataType) -> BoxedStrategy<Cell> {
    let integer = |range: std::ops::RangeInclusive<i128>| range.prop_map(Cell::Int).boxed();
    let cells = match data_type {
        DataType::Null => return Just(Cell::Null).boxed(),
        DataType::Boolean => any::<bool>().prop_map(Cell::Bool).boxed(),
        DataType::Int8 => any::<i8>()
            .prop_map(|value| Cell::Int(value.into()))
            .boxed(),
        DataType::Int16 => any::<i16>()
            .prop_map(|value| Cell::Int(value.into()))
            .boxed(),
        DataType::Int32 => any::<i32>()
            .prop_map(|value| Cell::Int(value.into()))
            .boxed(),
        DataType::Int64 => any::<i64>()
            .prop_map(|value| Cell::Int(value.into()))
            .boxed(),
        DataType::UInt8 => any::<u8>()
            .prop_map(|value| Cell::Int(value.into()))
            .boxed(),
        DataType::UInt16 => any::<u16>()
            .prop_map(|value| Cell::Int(value.into()))
            .boxed(),
        DataType::UInt32 => any::<u32>()
            .prop_map(|value| Cell::Int(value.into()))
            .boxed(),
        DataType::UInt64 => any::<u64>()
            .prop_map(|value| Cell::Int(value.into()))
            .boxed(),
        DataType::Float16 => any::<u16>()
            .prop_map(|bits| Half::from_bits(bits).to_f64())
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(Cell::Float)
            .boxed(),
        DataType::Float32 => {
            (proptest::num::f32::NORMAL | proptest::num::f32::SUBNORMAL | proptest::num::f32::ZERO)
                .prop_map(|value| Cell::Float(value.into()))
                .boxed()
        }
        DataType::Float64 => {
            (proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO)
                .prop_map(Cell::Float)
                .boxed()
        }
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
        DataType::Timestamp(unit, _) => {
            let ticks = 86_400 * i128::from(ticks_per_second(*unit));
            let first = (i128::from(FIRST_DAY) * ticks).max(i64::MIN.into());
            let last = ((i128::from(LAST_DAY) + 1) * ticks - 1).min(i64::MAX.into());
            integer(first..=last)
        }
        DataType::Date32 => integer(FIRST_DAY.into()..=LAST_DAY.into()),
        DataType::Date64 => integer(
            i128::from(FIRST_DAY) * 86_400_000..=(i128::from(LAST_DAY) + 1) * 86_400_000 - 1,
        ),
        DataType::Time32(unit) | DataType::Time64(unit) => {
            integer(0..=86_400 * i128::from(ticks_per_second(*unit)) - 1)
        }
        DataType::Decimal32(precision, _) | DataType::Decimal64(precision, _) => {
            let most = 10_i128.pow((*precision).into()) - 1;
            integer(-most..=most)
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            let most = 10_i128.pow(38) - 1;
            (any::<i128>(), 0_u32..39)
                .prop_map(move |(value, cut)| Cell::Int(value % most / 10_i128.pow(cut)))
                .boxed()
        }
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

fn primitive<T: ArrowPrimitiveType>(
    data_type: &DataType,
    cells: &[Cell],
    native: impl Fn(i128) -> T::Native,
) -> ArrayRef {
    let values = cells.iter().map(|cell| match cell {
        Cell::Int(value) => Some(native(*value)),
        _ => None,
    });
    Arc::new(PrimitiveArray::<T>::from_iter(values).with_data_type(data_type.clone()))
}

fn texts(cells: &[Cell]) -> impl Iterator<Item = Option<&str>> {
    cells.iter().map(|cell| match cell {
        Cell::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

fn bytes(cells: &[Cell]) -> impl Iterator<Item = Option<&[u8]>> {
    cells.iter().map(|cell| match cell {
        Cell::Bytes(bytes) => Some(bytes.as_slice()),
        _ => None,
    })
}

fn floats(cells: &[Cell]) -> impl Iterator<Item = Option<f64>> {
    cells.iter().map(|cell| match cell {
        Cell::Float(value) => Some(*value),
        _ => None,
    })
}

fn nulls(cells: &[Cell]) -> Option<NullBuffer> {
    Some(
        cells
            .iter()
            .map(|cell| !matches!(cell, Cell::Null))
            .collect(),
    )
}

/// The items of all lists one after the other, and how many each list has.
fn flattened(cells: &[Cell]) -> (Vec<Cell>, Vec<usize>) {
    let items = |cell: &Cell| match cell {
        Cell::Items(items) => items.clone(),
        _ => Vec::new(),
    };
    (
        cells.iter().flat_map(items).collect(),
        cells.iter().map(|cell| items(cell).len()).collect(),
    )
}

fn list<O: OffsetSizeTrait>(item: &FieldRef, cells: &[Cell]) -> ArrayRef {
    let (items, lengths) = flattened(cells);
    let offsets = OffsetBuffer::<O>::from_lengths(lengths);
    let items = array(item.data_type(), &items);
    Arc::new(GenericListArray::new(
        Arc::clone(item),
        offsets,
        items,
        nulls(cells),
    ))
}

/// A list view whose lists lie in the reverse order of the rows.
fn list_view<O: OffsetSizeTrait>(item: &FieldRef, cells: &[Cell]) -> ArrayRef {
    let reversed: Vec<_> = cells.iter().rev().cloned().collect();
    let (items, mut lengths) = flattened(&reversed);
    let offsets = OffsetBuffer::<O>::from_lengths(lengths.iter().copied());
    let mut offsets = offsets[..lengths.len()].to_vec();
    offsets.reverse();
    lengths.reverse();
    let sizes: ScalarBuffer<O> = lengths.into_iter().map(O::usize_as).collect();
    let items = array(item.data_type(), &items);
    Arc::new(GenericListViewArray::new(
        Arc::clone(item),
        offsets.into(),
        sizes,
        items,
        nulls(cells),
    ))
}

fn structure(fields: &Fields, cells: &[Cell]) -> StructArray {
    let columns = fields.iter().enumerate().map(|(place, field)| {
        let column = cells.iter().map(|cell| match cell {
            Cell::Items(items) => items[place].clone(),
            _ => Cell::Null,
        });
        array(field.data_type(), &column.collect::<Vec<_>>())
    });
    let columns = columns.collect();
    StructArray::try_new_with_length(fields.clone(), columns, nulls(cells), cells.len()).unwrap()
}

fn map(entries: &FieldRef, cells: &[Cell]) -> ArrayRef {
    let DataType::Struct(entry) = entries.data_type() else {
        unreachable!()
    };
    let of = |cell: &Cell| match cell {
        Cell::Entries(entries) => entries.clone(),
        _ => Vec::new(),
    };
    let lengths = cells.iter().map(|cell| of(cell).len());
    let (keys, values): (Vec<_>, Vec<_>) = cells
        .iter()
        .flat_map(of)
        .map(|(key, value)| (Cell::Text(key), value))
        .unzip();
    let columns = vec![
        array(entry[0].data_type(), &keys),
        array(entry[1].data_type(), &values),
    ];
    let length = keys.len();
    let content = StructArray::try_new_with_length(entry.clone(), columns, None, length).unwrap();
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(MapArray::new(
        Arc::clone(entries),
        offsets,
        content,
        nulls(cells),
        false,
    ))
}

/// Every value its own entry, in reverse; nulls in the keys for even rows, in the values for odd.
fn dictionary(inner: &DataType, cells: &[Cell]) -> ArrayRef {
    let values: Vec<_> = cells.iter().rev().cloned().collect();
    let keys = cells.iter().enumerate().map(|(row, cell)| {
        let null_key = matches!(cell, Cell::Null) && row % 2 == 0;
        (!null_key).then_some((cells.len() - 1 - row) as i16)
    });
    Arc::new(DictionaryArray::<Int16Type>::new(
        keys.collect(),
        array(inner, &values),
    ))
}

fn array(data_type: &DataType, cells: &[Cell]) -> ArrayRef {
    use DataType as D;
    match data_type {
        D::Null => Arc::new(NullArray::new(cells.len())),
        D::Boolean => Arc::new(BooleanArray::from_iter(cells.iter().map(
            |cell| match cell {
                Cell::Bool(value) => Some(*value),
                _ => None,
            },
        ))),
        D::Int8 => primitive::<Int8Type>(data_type, cells, |value| value as i8),
        D::Int16 => primitive::<Int16Type>(data_type, cells, |value| value as i16),
        D::Int32 => primitive::<Int32Type>(data_type, cells, |value| value as i32),
        D::Int64 => primitive::<Int64Type>(data_type, cells, |value| value as i64),
        D::UInt8 => primitive::<UInt8Type>(data_type, cells, |value| value as u8),
        D::UInt16 => primitive::<UInt16Type>(data_type, cells, |value| value as u16),
        D::UInt32 => primitive::<UInt32Type>(data_type, cells, |value| value as u32),
        D::UInt64 => primitive::<UInt64Type>(data_type, cells, |value| value as u64),
        D::Float16 => Arc::new(Float16Array::from_iter(
            floats(cells).map(|value| value.map(Half::from_f64)),
        )),
        D::Float32 => Arc::new(Float32Array::from_iter(
            floats(cells).map(|value| value.map(|value| value as f32)),
        )),
        D::Float64 => Arc::new(Float64Array::from_iter(floats(cells))),
        D::Utf8 => Arc::new(StringArray::from_iter(texts(cells))),
        D::LargeUtf8 => Arc::new(LargeStringArray::from_iter(texts(cells))),
        D::Utf8View => Arc::new(StringViewArray::from_iter(texts(cells))),
        D::Binary => Arc::new(BinaryArray::from_iter(bytes(cells))),
        D::LargeBinary => Arc::new(LargeBinaryArray::from_iter(bytes(cells))),
        D::BinaryView => Arc::new(BinaryViewArray::from_iter(bytes(cells))),
        D::FixedSizeBinary(length) => Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes(cells), *length).unwrap(),
        ),
        D::Timestamp(TimeUnit::Second, _) => {
            primitive::<TimestampSecondType>(data_type, cells, |value| value as i64)
        }
        D::Timestamp(TimeUnit::Millisecond, _) => {
            primitive::<TimestampMillisecondType>(data_type, cells, |value| value as i64)
        }
        D::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(data_type, cells, |value| value as i64)
        }
        D::Timestamp(TimeUnit::Nanosecond, _) => {
            primitive::<TimestampNanosecondType>(data_type, cells, |value| value as i64)
        }
        D::Date32 => primitive::<Date32Type>(data_type, cells, |value| value as i32),
        D::Date64 => primitive::<Date64Type>(data_type, cells, |value| value as i64),
        D::Time32(TimeUnit::Second) => {
            primitive::<Time32SecondType>(data_type, cells, |value| value as i32)
        }
        D::Time32(_) => primitive::<Time32MillisecondType>(data_type, cells, |value| value as i32),
        D::Time64(TimeUnit::Microsecond) => {
            primitive::<Time64MicrosecondType>(data_type, cells, |value| value as i64)
        }
        D::Time64(_) => primitive::<Time64NanosecondType>(data_type, cells, |value| value as i64),
        D::Decimal32(..) => primitive::<Decimal32Type>(data_type, cells, |value| value as i32),
        D::Decimal64(..) => primitive::<Decimal64Type>(data_type, cells, |value| value as i64),
        D::Decimal128(..) => primitive::<Decimal128Type>(data_type, cells, |value| value),
        D::Decimal256(..) => primitive::<Decimal256Type>(data_type, cells, i256::from_i128),
        D::List(item) => list::<i32>(item, cells),
        D::LargeList(item) => list::<i64>(item, cells),
        D::ListView(item) => list_view::<i32>(item, cells),
        D::LargeListView(item) => list_view::<i64>(item, cells),
        D::FixedSizeList(item, length) => {
            let padded = cells.iter().flat_map(|cell| match cell {
                Cell::Items(items) => items.clone(),
                _ => vec![Cell::Null; *length as usize],
            });
            let items = array(item.data_type(), &padded.collect::<Vec<_>>());
            let item = Arc::clone(item);
            Arc::new(
                FixedSizeListArray::try_new_with_length(
                    item,
                    *length,
                    items,
                    nulls(cells),
                    cells.len(),
                )
                .unwrap(),
            )
        }
        D::Struct(fields) => Arc::new(structure(fields, cells)),
        D::Map(entries, _) => map(entries, cells),
        D::Dictionary(_, inner) => dictionary(inner, cells),
        D::RunEndEncoded(_, inner) => {
            let ends = Int32Array::from_iter_values(1..=cells.len() as i32);
            let values = array(inner.data_type(), cells);
            Arc::new(RunArray::<Int32Type>::try_new(&ends, &values).unwrap())
        }
        other => unreachable!("{other} is not generated"),
    }
}

/// `value` × 10^-`scale`, digit by digit.
fn decimal(value: i128, scale: i8) -> Value {
    let mut digits = value.unsigned_abs().to_string();
    if scale <= 0 {
        let zeros = if value == 0 { 0 } else { scale.unsigned_abs() };
        digits.push_str(&"0".repeat(zeros.into()));
    } else {
        let fraction = usize::from(scale.unsigned_abs());
        digits = format!("{digits:0>width$}", width = fraction + 1);
        digits.insert(digits.len() - fraction, '.');
    }
    let sign = if value < 0 { "-" } else { "" };
    serde_json::from_str(&format!("{sign}{digits}")).unwrap()
}

/// What fraction of a second `ticks` has, as text of the unit's digits.
fn fraction(ticks: i64, unit: TimeUnit) -> String {
    let per_second = ticks_per_second(unit);
    let digits = per_second.to_string().len() - 1;
    match digits {
        0 => String::new(),
        _ => format!(".{:0digits$}", ticks.rem_euclid(per_second)),
    }
}

fn json(data_type: &DataType, cell: &Cell) -> Value {
    use DataType as D;
    let day = |days: i64| {
        (NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + TimeDelta::days(days)).to_string()
    };
    match (data_type, cell) {
        (_, Cell::Null) => Value::Null,
        (_, Cell::Bool(value)) => json!(value),
        (_, Cell::Float(value)) => json!(value),
        (_, Cell::Text(text)) => json!(text),
        (_, Cell::Bytes(bytes)) => {
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        (D::Dictionary(_, inner), cell) => json(inner, cell),
        (D::RunEndEncoded(_, inner), cell) => json(inner.data_type(), cell),
        (D::Timestamp(unit, zone), Cell::Int(ticks)) => {
            let ticks = *ticks as i64;
            let seconds = ticks.div_euclid(ticks_per_second(*unit));
            let text = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            let end = if zone.is_some() { "Z" } else { "" };
            json!(format!(
                "{}{}{end}",
                text.format("%Y-%m-%dT%H:%M:%S"),
                fraction(ticks, *unit)
            ))
        }
        (D::Time32(unit) | D::Time64(unit), Cell::Int(ticks)) => {
            let ticks = *ticks as i64;
            let seconds = (ticks / ticks_per_second(*unit)) as u32;
            let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0).unwrap();
            json!(format!(
                "{}{}",
                time.format("%H:%M:%S"),
                fraction(ticks, *unit)
            ))
        }
        (D::Date32, Cell::Int(days)) => json!(day(*days as i64)),
        (D::Date64, Cell::Int(millis)) => json!(day((*millis as i64).div_euclid(86_400_000))),
        (
            D::Decimal32(_, scale)
            | D::Decimal64(_, scale)
            | D::Decimal128(_, scale)
            | D::Decimal256(_, scale),
            Cell::Int(value),
        ) => decimal(*value, *scale),
        (_, Cell::Int(value)) => match u64::try_from(*value) {
            Ok(value) => json!(value),
            Err(_) => json!(*value as i64),
        },
        (D::Struct(fields), Cell::Items(items)) => {
            let fields = fields.iter().zip(items);
            let object: Map<_, _> = fields
                .map(|(field, item)| (field.name().clone(), json(field.data_type(), item)))
                .collect();
            Value::Object(object)
        }
        (
            D::List(item)
            | D::LargeList(item)
            | D::ListView(item)
            | D::LargeListView(item)
            | D::FixedSizeList(item, _),
            Cell::Items(items),
        ) => items
            .iter()
            .map(|cell| json(item.data_type(), cell))
            .collect(),
        (D::Map(entries, _), Cell::Entries(content)) => {
            let D::Struct(entry) = entries.data_type() else {
                unreachable!()
            };
            let value = |cell| json(entry[1].data_type(), cell);
            Value::Object(
                content
                    .iter()
                    .map(|(key, cell)| (key.clone(), value(cell)))
                    .collect(),
            )
        }
        other => unreachable!("{other:?} is not generated"),
    }
}

/// A column of any type: its cells, and whether all rows hold the first of them.
type Column = (DataType, Vec<Cell>);

fn column(types: BoxedStrategy<DataType>, rows: usize) -> impl Strategy<Value = Column> {
    let column = (types, prop::bool::weighted(0.2)).prop_flat_map(move |(data_type, constant)| {
        let cells = any_cell(&data_type);
        let cells = if constant {
            cells.prop_map(move |cell| vec![cell; rows]).boxed()
        } else {
            prop::collection::vec(cells, rows).boxed()
        };
        (Just(data_type), cells)
    });
    column
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
                (name.clone(), json(data_type, &cells[self.skipped + row]))
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
        let (framed, error) = framer.frame("p", 0, &table.batch());
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert_eq!(framed.len(), table.rows);
        for row in 0..table.rows {
            let expected = table.envelope(row);
            let envelope = validator.parse(&framed.body(row)).unwrap();
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
