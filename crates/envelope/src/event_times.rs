//! The event times of a whole column.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayAccessor};
use arrow_schema::{DataType, TimeUnit};

use crate::bad_row::BadRow;
use crate::error::RowPlace;
use crate::json_lines::LineReader;
use crate::time_fault::TimeFault;
use model::EventTime;

/// Reads the column of event times of a batch, up to the first row that cannot be read.
///
/// `first_row` is the index in the part of the batch's first row; `name` is the column's, for
/// errors.
///
/// # Errors
/// [`BadRow`] with the times of the rows before it: `MISSING_EVENT_TIME`, `EVENT_TIME_INVALID`.
pub fn event_times(
    part: &str,
    first_row: u64,
    name: &str,
    column: &dyn Array,
) -> Result<Vec<EventTime>, BadRow<Vec<EventTime>>> {
    let mut times = Vec::with_capacity(column.len());
    match append_times(column, &mut times) {
        Ok(()) => Ok(times),
        Err(fault) => {
            let place = RowPlace {
                part: part.to_owned(),
                row: first_row + times.len() as u64,
            };
            Err(BadRow::new(times, place.of(fault.error(name))))
        }
    }
}

/// Reads the event time of each line of a JSON Lines part, up to the first one that cannot be read.
///
/// `first_row` is the index in the part of the first line; `name` is the field that holds the time.
///
/// # Errors
/// [`BadRow`] with the times of the lines before it: as [`event_times`], and
/// `PAYLOAD_VALUE_UNSUPPORTED` for a line that is not one JSON object.
pub fn event_times_of_json_lines<'a>(
    part: &str,
    first_row: u64,
    name: &str,
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<EventTime>, BadRow<Vec<EventTime>>> {
    let mut reader = LineReader::new(name, &[]);
    let mut times = Vec::new();
    for line in lines {
        let row = reader.read(line);
        match row.and_then(|row| row.time().map_err(|fault| fault.error(name))) {
            Ok(time) => times.push(time),
            Err(error) => {
                let place = RowPlace {
                    part: part.to_owned(),
                    row: first_row + times.len() as u64,
                };
                return Err(BadRow::new(times, place.of(error)));
            }
        }
    }
    Ok(times)
}

/// Appends the times of a column up to the first row without one.
fn append_times(column: &dyn Array, times: &mut Vec<EventTime>) -> Result<(), TimeFault> {
    if let DataType::Dictionary(_, _) = column.data_type() {
        let dictionary = column.as_any_dictionary();
        if dictionary.values().is_empty() {
            return all_null(column);
        }
        let keys = dictionary.normalized_keys();
        let rows = keys.into_iter().enumerate();
        let rows = rows.map(|(row, key)| dictionary.keys().is_valid(row).then_some(key));
        return append_times_at(dictionary.values(), rows, times);
    }
    append_times_at(column, (0..column.len()).map(Some), times)
}

/// Appends the times of the values at some rows; `None` is a row without a value.
fn append_times_at(
    values: &dyn Array,
    rows: impl Iterator<Item = Option<usize>>,
    times: &mut Vec<EventTime>,
) -> Result<(), TimeFault> {
    match values.data_type() {
        DataType::Utf8 => parse_at(values.as_string::<i32>(), rows, times),
        DataType::LargeUtf8 => parse_at(values.as_string::<i64>(), rows, times),
        DataType::Utf8View => parse_at(values.as_string_view(), rows, times),
        DataType::Timestamp(unit, _) => instants_at(values, *unit, rows, times),
        DataType::Null => all_null(values),
        _ if values.is_empty() => Ok(()),
        other => Err(TimeFault::Unreadable(
            format!("of type {other}"),
            "it is neither text nor a timestamp",
        )),
    }
}

fn all_null(column: &dyn Array) -> Result<(), TimeFault> {
    if column.is_empty() {
        Ok(())
    } else {
        Err(TimeFault::Null)
    }
}

fn parse_at<'a>(
    texts: impl ArrayAccessor<Item = &'a str>,
    rows: impl Iterator<Item = Option<usize>>,
    times: &mut Vec<EventTime>,
) -> Result<(), TimeFault> {
    for row in rows {
        let row = row
            .filter(|&row| texts.is_valid(row))
            .ok_or(TimeFault::Null)?;
        let text = texts.value(row);
        times.push(EventTime::parse(text).map_err(|fault| TimeFault::text(text, fault))?);
    }
    Ok(())
}

fn instants_at(
    values: &dyn Array,
    unit: TimeUnit,
    rows: impl Iterator<Item = Option<usize>>,
    times: &mut Vec<EventTime>,
) -> Result<(), TimeFault> {
    // The zone of a timestamp says how to show it; the instant itself is always in UTC.
    let (ticks, nanos_per_tick) = match unit {
        TimeUnit::Second => (
            values.as_primitive::<TimestampSecondType>().values(),
            1_000_000_000,
        ),
        TimeUnit::Millisecond => (
            values.as_primitive::<TimestampMillisecondType>().values(),
            1_000_000,
        ),
        TimeUnit::Microsecond => (
            values.as_primitive::<TimestampMicrosecondType>().values(),
            1_000,
        ),
        TimeUnit::Nanosecond => (values.as_primitive::<TimestampNanosecondType>().values(), 1),
    };
    for row in rows {
        let row = row
            .filter(|&row| values.is_valid(row))
            .ok_or(TimeFault::Null)?;
        let nanos = i128::from(ticks[row]) * nanos_per_tick;
        times.push(EventTime::from_nanos(nanos).ok_or_else(|| {
            TimeFault::Unreadable(
                format!("{} {unit:?}s from 1970", ticks[row]).to_lowercase(),
                "it is outside the years 0000 to 9999",
            )
        })?);
    }
    Ok(())
}
