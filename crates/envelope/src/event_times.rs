//! The event times of a whole column.

use arrow_array::Array;

use crate::error::Error;
use crate::event_time::EventTime;

/// Reads the `ts_utc` column of a batch, up to the first row that cannot be read.
///
/// The times are those of the rows before it, and the error (`MISSING_EVENT_TIME` or
/// `EVENT_TIME_INVALID`) names that row.
pub fn event_times(
    part: &str,
    first_row: u64,
    column: &dyn Array,
) -> (Vec<EventTime>, Option<Error>) {
    todo!("{part} {first_row} {}", column.len())
}

/// Reads `ts_utc` of each line of a JSON Lines part, up to the first one that cannot be read.
///
/// The times are those of the rows before it, and the error names that row. Nothing but the time
/// is looked at beyond what it takes to see that the line is JSON.
pub fn event_times_of_json_lines<'a>(
    part: &str,
    first_row: u64,
    lines: impl Iterator<Item = &'a [u8]>,
) -> (Vec<EventTime>, Option<Error>) {
    todo!("{part} {first_row} {}", lines.count())
}
