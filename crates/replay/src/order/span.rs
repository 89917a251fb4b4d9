//! Which rows of each part are still open in event time, and when they come.
//!
//! A row of an output is done iff its (time, part, row) ≤ the cursor's. For one part
//! that is a prefix of its rows in (time, row) order, and so the open rows are those
//! from a first one on. With the cursor at time T, part *b*, row 5:
//!
//! | part | open from |
//! |---|---|
//! | *a*, before *b* by name | after every row at T |
//! | *b* | row 6 at T |
//! | *c*, after *b* | row 0 at T |
//!
//! A window only moves that bound: nothing before its start is open. What comes at or
//! after its end is cut by the merge, which sees events in order.

use std::sync::Arc;

use envelope::EventTime;

use model::Bug;

use super::{PartId, PartStart};
use crate::order::time_index::{PartTimes, TimeRow};
use crate::place::Position;

/// A stretch of event time: what is streamed lies in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeWindow {
    /// The first event time in the window; `None` from the beginning.
    pub from: Option<EventTime>,
    /// The first event time after the window; `None` to the end.
    pub to: Option<EventTime>,
}

/// The last done row of an output; `None` if no row is done.
pub type DoneThrough = Option<Position>;

/// The open rows of one part.
#[derive(Debug, Clone)]
pub struct PartSpan {
    /// The part that is read.
    pub part: PartId,
    /// The first open row, or one before it.
    pub first: TimeRow,
    /// The last open row.
    pub last: TimeRow,
    /// How the open rows are read.
    pub start: PartStart,
    /// How many rows the part has, done ones included.
    pub rows: u64,
    /// Estimate of the bytes that reading the part holds at once.
    pub read_bytes: u64,
}

impl PartSpan {
    /// How many rows are open, to within a seek point.
    pub fn open_rows(&self) -> u64 {
        match self.start {
            PartStart::Row(row) | PartStart::Time { seek_row: row, .. } => self.rows - row,
            PartStart::Sorted { .. } => self.rows,
        }
    }
}

/// The parts with open rows: `times` and `done` of each output in list order. Parts that
/// are wholly done, or wholly outside the window, are not among them.
pub fn open_spans(
    times: &[Vec<Arc<PartTimes>>],
    done: &[DoneThrough],
    window: TimeWindow,
) -> Vec<PartSpan> {
    let outputs = times.iter().zip(done).enumerate();
    outputs
        .flat_map(|(output, (parts, done))| {
            (0..).zip(parts).filter_map(move |(part, times)| {
                let from = first_open(part, *done, window.from);
                span(PartId { output, part }, times, from, window.to)
            })
        })
        .collect()
}

/// The first row, in time, that may be open in a part; none if all are.
pub fn first_open(part: u32, done: DoneThrough, window_from: Option<EventTime>) -> Option<TimeRow> {
    let behind_cursor = done.map(|done| {
        let row = match part.cmp(&done.part) {
            std::cmp::Ordering::Less => u64::MAX,
            std::cmp::Ordering::Equal if Bug::ResumeSkipsARow.is_planted() => done.row + 2,
            std::cmp::Ordering::Equal => done.row + 1,
            std::cmp::Ordering::Greater => 0,
        };
        TimeRow {
            time: done.time,
            row,
        }
    });
    behind_cursor.max(window_from.map(|time| TimeRow { time, row: 0 }))
}

fn span(
    part: PartId,
    times: &PartTimes,
    from: Option<TimeRow>,
    to: Option<EventTime>,
) -> Option<PartSpan> {
    let (part_first, last) = times.first().zip(times.last())?;
    let from = from.filter(|from| *from > part_first);
    let first = from.unwrap_or(part_first);
    if last < first || to.is_some_and(|to| first.time >= to) {
        return None;
    }
    let start = match (times.disorder(), from) {
        (Some(&disorder), from) => PartStart::Sorted {
            from,
            disorder,
            rows: times.rows(),
        },
        (None, Some(from)) => PartStart::Time {
            seek_row: times.seek_row(from),
            from,
        },
        (None, None) => PartStart::Row(0),
    };
    let (rows, read_bytes) = (times.rows(), times.read_bytes());
    Some(PartSpan {
        part,
        first,
        last,
        start,
        rows,
        read_bytes,
    })
}
