//! Cells as Arrow arrays, laid out in the less usual ways that are allowed.

use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{DataType, FieldRef, Fields, TimeUnit};

use super::cell::{Cell, Half};

fn primitive<T: ArrowPrimitiveType>(
    data_type: &DataType,
    cells: &[Cell],
    native: impl Fn(i128) -> T::Native,
) -> ArrayRef {
    let values = cells.iter().map(|cell| match cell {
        Cell::Int(value) => Some(native(*value)),
        _ => None,
    });
    Arc::new(
        values
            .collect::<PrimitiveArray<T>>()
            .with_data_type(data_type.clone()),
    )
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

fn nulls(cells: &[Cell]) -> NullBuffer {
    cells
        .iter()
        .map(|cell| !matches!(cell, Cell::Null))
        .collect()
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
        Some(nulls(cells)),
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
        Some(nulls(cells)),
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
    StructArray::try_new_with_length(fields.clone(), columns, Some(nulls(cells)), cells.len())
        .unwrap()
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
        Some(nulls(cells)),
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

pub(super) fn array(data_type: &DataType, cells: &[Cell]) -> ArrayRef {
    use DataType as D;
    match data_type {
        D::Null => Arc::new(NullArray::new(cells.len())),
        D::Boolean => {
            let values = cells.iter().map(|cell| match cell {
                Cell::Bool(value) => Some(*value),
                _ => None,
            });
            Arc::new(values.collect::<BooleanArray>())
        }
        D::Int8 => primitive::<Int8Type>(data_type, cells, |value| value as i8),
        D::Int16 => primitive::<Int16Type>(data_type, cells, |value| value as i16),
        D::Int32 => primitive::<Int32Type>(data_type, cells, |value| value as i32),
        D::Int64 => primitive::<Int64Type>(data_type, cells, |value| value as i64),
        D::UInt8 => primitive::<UInt8Type>(data_type, cells, |value| value as u8),
        D::UInt16 => primitive::<UInt16Type>(data_type, cells, |value| value as u16),
        D::UInt32 => primitive::<UInt32Type>(data_type, cells, |value| value as u32),
        D::UInt64 => primitive::<UInt64Type>(data_type, cells, |value| value as u64),
        D::Float16 => {
            let values = floats(cells).map(|value| value.map(Half::from_f64));
            Arc::new(values.collect::<Float16Array>())
        }
        D::Float32 => {
            let values = floats(cells).map(|value| value.map(|value| value as f32));
            Arc::new(values.collect::<Float32Array>())
        }
        D::Float64 => Arc::new(floats(cells).collect::<Float64Array>()),
        D::Utf8 => Arc::new(texts(cells).collect::<StringArray>()),
        D::LargeUtf8 => Arc::new(texts(cells).collect::<LargeStringArray>()),
        D::Utf8View => Arc::new(texts(cells).collect::<StringViewArray>()),
        D::Binary => Arc::new(bytes(cells).collect::<BinaryArray>()),
        D::LargeBinary => Arc::new(bytes(cells).collect::<LargeBinaryArray>()),
        D::BinaryView => Arc::new(bytes(cells).collect::<BinaryViewArray>()),
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
                    Some(nulls(cells)),
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
