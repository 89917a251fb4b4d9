//! Event times of rows, without a type of Arrow.
//!
//! A time is text (RFC 3339, or without a zone for UTC) or a timestamp of any unit, as in an
//! envelope. A row whose time is null or cannot be read has none here.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayAccessor};
use arrow_schema::{DataType, TimeUnit};
use model::EventTime;

use super::{ColumnReader, ReadOptions, Rows, json_field, read_column};
use crate::error::Error;
use crate::part::Part;
use crate::store::WorldStore;

/// The event times of one part, batch by batch: the index of the first row, and a time for each
/// row, `None` for one that has no time that can be read.
#[derive(Debug)]
pub struct EventTimesReader(ColumnReader);

/// Reads the event times of a part, from its [time column](Part::time_column), and nothing else.
/// Needs no grant. Blocks.
///
/// # Errors
/// `ORACLE_READ_FAILED` if the part is unreadable, damaged, or not the one that was located.
pub fn read_event_times(
    store: &WorldStore,
    part: &Part,
    options: &ReadOptions,
) -> Result<EventTimesReader, Error> {
    read_column(store, part, part.time_column(), options).map(EventTimesReader)
}

impl Iterator for EventTimesReader {
    type Item = Result<(u64, Vec<Option<EventTime>>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.0.next()?;
        Some(batch.map(|(first_row, values)| (first_row, of_column(&values))))
    }
}

/// The event times of some rows whose times are in `column`.
pub(super) fn of_rows(rows: &Rows, column: &str) -> Vec<Option<EventTime>> {
    let values = match rows {
        Rows::Arrow(batch) => batch.column_by_name(column),
        Rows::JsonLines(lines) => lines.times(),
    };
    match (values, rows) {
        (Some(values), _) => of_column(values),
        (None, Rows::Arrow(batch)) => vec![None; batch.num_rows()],
        (None, Rows::JsonLines(lines)) => {
            let text = |line| json_field::field_text(line, column).ok().flatten();
            let times = lines.iter().map(|line| EventTime::parse(&text(line)?).ok());
            times.collect()
        }
    }
}

/// The event times of a column.
fn of_column(column: &dyn Array) -> Vec<Option<EventTime>> {
    if let DataType::Dictionary(_, _) = column.data_type() {
        let dictionary = column.as_any_dictionary();
        if dictionary.values().is_empty() {
            return vec![None; column.len()];
        }
        let times = of_column(dictionary.values());
        let keys = dictionary.normalized_keys().into_iter().enumerate();
        let is_valid = |row| dictionary.keys().is_valid(row);
        let times = keys.map(|(row, key)| times[key].filter(|_| is_valid(row)));
        return times.collect();
    }
    match column.data_type() {
        DataType::Utf8 => of_texts(column.as_string::<i32>()),
        DataType::LargeUtf8 => of_texts(column.as_string::<i64>()),
        DataType::Utf8View => of_texts(column.as_string_view()),
        DataType::Timestamp(unit, _) => of_ticks(column, *unit),
        _ => vec![None; column.len()],
    }
}

fn of_texts<'a>(texts: impl ArrayAccessor<Item = &'a str>) -> Vec<Option<EventTime>> {
    let text = |row| texts.is_valid(row).then(|| texts.value(row));
    let times = (0..texts.len()).map(|row| EventTime::parse(text(row)?).ok());
    times.collect()
}

/// The zone of a timestamp says how to show it; the instant itself is always in UTC.
fn of_ticks(values: &dyn Array, unit: TimeUnit) -> Vec<Option<EventTime>> {
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
    let times = ticks.iter().enumerate().map(|(row, &ticks)| {
        let nanos = values.is_valid(row).then(|| i128::from(ticks))?;
        EventTime::from_nanos(nanos * nanos_per_tick)
    });
    times.collect()
}
