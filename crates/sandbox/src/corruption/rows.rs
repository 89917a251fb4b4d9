//! Corruptions of rows: the part is read, changed and written again.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Corruption;
use super::evidence::lacking;
use super::files::first_part;
use crate::{Error, World};

/// Applies a corruption of rows.
pub(super) fn apply(corruption: Corruption, world: &World) -> Result<(), Error> {
    let path = first_part(world)?;
    let rows = read(path).map_err(Error::io("reading", path))?;
    let changed = match corruption {
        // The rows as they are, without the compression they had.
        Corruption::PartRewritten => Some(rows),
        Corruption::TimeColumnMissing => without(rows, "ts_utc"),
        Corruption::TimeColumnNumeric => replace(&rows, "ts_utc", |times| {
            let numbers: Int64Array = (0..times.len() as i64).collect();
            Some(Arc::new(numbers))
        }),
        Corruption::TimeNull => replace(&rows, "ts_utc", |times| with_time(times, None)),
        Corruption::TimeUnreadable => replace(&rows, "ts_utc", |times| {
            with_time(times, Some("2016-12-31T23:59:60Z"))
        }),
        Corruption::PayloadNan => replace(&rows, "amount", |amounts| {
            let mut amounts: Vec<_> = amounts.as_primitive_opt::<Float64Type>()?.iter().collect();
            let middle = amounts.len() / 2;
            amounts[middle] = Some(f64::NAN);
            Some(Arc::new(Float64Array::from(amounts)))
        }),
        of_key => {
            let key = world
                .last_key_column()
                .ok_or_else(|| lacking("a primary key"))?;
            match of_key {
                Corruption::KeyColumnMissing => without(rows, key),
                Corruption::KeyFloat => replace(&rows, key, |keys| {
                    let keys = keys.as_primitive_opt::<Int64Type>()?.iter();
                    let floats = keys.map(|key| key.map(|key| key as f64));
                    Some(Arc::new(floats.collect::<Float64Array>()))
                }),
                _ => replace(&rows, key, |keys| {
                    let mut keys: Vec<_> = keys.as_primitive_opt::<Int64Type>()?.iter().collect();
                    let middle = keys.len() / 2;
                    keys[middle] = None;
                    Some(Arc::new(Int64Array::from(keys)))
                }),
            }
        }
    };
    let changed = changed.ok_or_else(|| lacking("a column of the kind that it is about"))?;
    write(path, &changed).map_err(Error::io("writing", path))
}

/// The rows without a column; nothing if they have no such column.
fn without(mut rows: RecordBatch, name: &str) -> Option<RecordBatch> {
    let place = rows.schema().index_of(name).ok()?;
    rows.remove_column(place);
    Some(rows)
}

/// The rows with one column changed; nothing if it is not what the change wants.
fn replace(
    rows: &RecordBatch,
    name: &str,
    change: impl FnOnce(&ArrayRef) -> Option<ArrayRef>,
) -> Option<RecordBatch> {
    let changed = change(rows.column_by_name(name)?)?;
    let schema = rows.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| {
            let column = if field.name() == name {
                &changed
            } else {
                column
            };
            (field.name(), Arc::clone(column), true)
        });
    RecordBatch::try_from_iter_with_nullable(columns).ok()
}

fn with_time(times: &ArrayRef, text: Option<&str>) -> Option<ArrayRef> {
    let mut times: Vec<_> = times.as_string_opt::<i32>()?.iter().collect();
    let middle = times.len() / 2;
    times[middle] = text;
    Some(Arc::new(StringArray::from(times)))
}

/// A whole part; corrupted worlds are small.
fn read(path: &Path) -> std::io::Result<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let rows = builder.metadata().file_metadata().num_rows().max(1) as usize;
    let mut batches = builder.with_batch_size(rows).build()?;
    let rows = batches
        .next()
        .ok_or_else(|| std::io::Error::other("the part has no rows"))?;
    rows.map_err(std::io::Error::other)
}

fn write(path: &Path, rows: &RecordBatch) -> std::io::Result<()> {
    let mut writer = ArrowWriter::try_new(File::create(path)?, rows.schema(), None)?;
    writer.write(rows)?;
    writer.close()?;
    Ok(())
}
