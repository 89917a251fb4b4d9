//! The times of the rows that a stream would yield, in its order, without the rows: for a look
//! ahead.
//!
//! Time columns are read again, a batch at a time, from the first open row of each part; a part
//! that is not in time order is read into memory and sorted. Where that would take more than
//! [`MOST_SORTED_ROWS`], its rows are spread evenly over its event time instead, and the look ahead
//! says that it is an estimate.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::vec;

use envelope::EventTime;
use oracle_store::{ColumnReader, Part, ReadOptions, WorldStore, read_column};

use super::{PartId, PartSpan, PartStart};
use crate::Error;
use crate::order::time_index::{TimeRow, ordering_times};

/// Rows of parts out of order whose times are sorted in memory at once: 64 MiB of them.
const MOST_SORTED_ROWS: u64 = 2 << 20;
/// Rows of a time column decoded at once: many parts may be open.
const BATCH_ROWS: usize = 2_048;

/// A row that a stream would yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowTime {
    /// The output's place in the list of the outputs streamed.
    pub(crate) output: usize,
    /// The row's event time.
    pub(crate) time: EventTime,
    /// Whether the schedule takes this event as its new anchor.
    pub(crate) anchors: bool,
}

/// A part of the look ahead.
#[derive(Debug, Clone)]
struct Upcoming {
    id: PartId,
    part: Part,
    start: PartStart,
    /// The first and the last open row; `None` where the order does not need them.
    ends: Option<(TimeRow, TimeRow)>,
}

/// The key that events of all parts are ordered by.
type Key = (EventTime, PartId, u64);

/// The times of all rows that a stream would yield, in its order.
#[derive(Debug)]
pub struct TimesInOrder {
    store: WorldStore,
    upcoming: VecDeque<Upcoming>,
    /// The open parts by their next row, in event time; at most one in `as_written` order.
    open: Vec<Option<OpenTimes>>,
    heads: BinaryHeap<Reverse<(Key, usize)>>,
    order: Order,
    /// The rows that are held sorted.
    sorted_rows: u64,
    is_exact: bool,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    EventTime {
        /// The first event time behind the window.
        to: Option<EventTime>,
    },
    AsWritten {
        last_output: Option<usize>,
    },
}

#[derive(Debug)]
struct OpenTimes {
    id: PartId,
    times: PartRows,
}

impl TimesInOrder {
    /// In event time: the open rows of `spans`, up to `to` (exclusive). `parts` are those of each
    /// output, in list order.
    pub(crate) fn in_event_time(
        store: WorldStore,
        parts: &[Vec<Part>],
        spans: &[PartSpan],
        to: Option<EventTime>,
    ) -> Self {
        let mut spans: Vec<&PartSpan> = spans.iter().collect();
        spans.sort_unstable_by_key(|span| (span.first.time, span.part, span.first.row));
        let upcoming = spans.into_iter().map(|span| Upcoming {
            id: span.part,
            part: parts[span.part.output][span.part.part as usize].clone(),
            start: span.start,
            ends: Some((span.first, span.last)),
        });
        Self::new(store, upcoming.collect(), Order::EventTime { to })
    }

    /// As written: parts in their order, each from a row on.
    pub fn as_written(
        store: WorldStore,
        parts: impl IntoIterator<Item = (PartId, Part, u64)>,
    ) -> Self {
        let upcoming = parts.into_iter().map(|(id, part, from_row)| Upcoming {
            id,
            part,
            start: PartStart::Row(from_row),
            ends: None,
        });
        let last_output = None;
        Self::new(store, upcoming.collect(), Order::AsWritten { last_output })
    }

    fn new(store: WorldStore, upcoming: VecDeque<Upcoming>, order: Order) -> Self {
        Self {
            store,
            upcoming,
            open: Vec::new(),
            heads: BinaryHeap::new(),
            order,
            sorted_rows: 0,
            is_exact: true,
        }
    }

    /// Whether every time was read, and none was spread over the time of its part.
    pub(crate) fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// The next row; `None` at the end. Blocks.
    ///
    /// # Errors
    /// `MISSING_EVENT_TIME`, `EVENT_TIME_INVALID`, `ORACLE_READ_FAILED`.
    pub(crate) fn next(&mut self) -> Result<Option<RowTime>, Error> {
        match self.order {
            Order::EventTime { to } => self.next_in_event_time(to),
            Order::AsWritten { last_output } => self.next_as_written(last_output),
        }
    }

    /// Yields no further row of an output.
    pub(crate) fn leave_out(&mut self, output: usize) {
        self.upcoming.retain(|part| part.id.output != output);
        self.heads
            .retain(|Reverse(((_, part, _), _))| part.output != output);
        for place in &mut self.open {
            place.take_if(|open| open.id.output == output);
        }
    }

    fn next_in_event_time(&mut self, to: Option<EventTime>) -> Result<Option<RowTime>, Error> {
        self.open_what_may_come_first()?;
        let Some(mut head) = self.heads.peek_mut() else {
            return Ok(None);
        };
        let Reverse(((time, part, _), place)) = *head;
        if to.is_some_and(|to| time >= to) {
            return Ok(None);
        }
        let open = self.open[place].as_mut();
        let next = open.map(|open| open.times.next()).transpose()?.flatten();
        if let Some(TimeRow { time, row }) = next {
            *head = Reverse(((time, part, row), place));
        } else {
            PeekMut::pop(head);
            let ended = self.open[place].take();
            self.sorted_rows -= ended.map_or(0, |ended| ended.times.held);
        }
        Ok(Some(RowTime {
            output: part.output,
            time,
            anchors: false,
        }))
    }

    fn open_what_may_come_first(&mut self) -> Result<(), Error> {
        while let Some(next) = self.upcoming.front() {
            let first = next.ends.map(|(first, _)| (first.time, next.id, first.row));
            let head = self.heads.peek().map(|Reverse((key, _))| *key);
            if first.zip(head).is_some_and(|(first, head)| head < first) {
                break;
            }
            let Some(next) = self.upcoming.pop_front() else {
                break;
            };
            let mut open = self.open_part(&next)?;
            if let Some(TimeRow { time, row }) = open.times.next()? {
                let free = self.open.iter().position(Option::is_none);
                let place = free.unwrap_or(self.open.len());
                if place == self.open.len() {
                    self.open.push(None);
                }
                self.heads.push(Reverse(((time, next.id, row), place)));
                self.open[place] = Some(open);
            }
        }
        Ok(())
    }

    fn next_as_written(&mut self, last_output: Option<usize>) -> Result<Option<RowTime>, Error> {
        loop {
            if self.open.first().is_none_or(Option::is_none) {
                let Some(next) = self.upcoming.pop_front() else {
                    return Ok(None);
                };
                self.open = vec![Some(self.open_part(&next)?)];
            }
            let Some(Some(open)) = self.open.first_mut() else {
                continue;
            };
            let output = open.id.output;
            if let Some(TimeRow { time, .. }) = open.times.next()? {
                let anchors = last_output != Some(output);
                self.order = Order::AsWritten {
                    last_output: Some(output),
                };
                return Ok(Some(RowTime {
                    output,
                    time,
                    anchors,
                }));
            }
            self.open.clear();
        }
    }

    fn open_part(&mut self, next: &Upcoming) -> Result<OpenTimes, Error> {
        let mut times = match (next.start, next.ends) {
            (PartStart::Sorted { rows, .. }, Some(ends))
                if self.sorted_rows + rows > MOST_SORTED_ROWS =>
            {
                self.is_exact = false;
                PartRows::spread(rows, ends)
            }
            (start, _) => PartRows::open(&self.store, &next.part, start)?,
        };
        if let PartStart::Sorted { .. } = next.start {
            self.sorted_rows += times.held;
        } else {
            times.held = 0;
        }
        Ok(OpenTimes { id: next.id, times })
    }
}

/// The rows of one part, in the order in which they leave.
#[derive(Debug)]
struct PartRows {
    rows: Rows,
    /// Rows held in memory, where all of the part's are.
    held: u64,
}

#[derive(Debug)]
enum Rows {
    /// In file order.
    Column {
        column: Column,
        /// The first row, in time, that is open.
        from: Option<TimeRow>,
    },
    Sorted(vec::IntoIter<TimeRow>),
    /// Spread evenly from the first open row to the last.
    Spread {
        next: u64,
        rows: u64,
        ends: (TimeRow, TimeRow),
    },
}

impl PartRows {
    fn open(store: &WorldStore, part: &Part, start: PartStart) -> Result<Self, Error> {
        let (from_row, from) = match start {
            PartStart::Row(row) => (row, None),
            PartStart::Time { seek_row, from } => (seek_row, Some(from)),
            PartStart::Sorted { from, .. } => (0, from),
        };
        let mut column = Column::open(store, part, from_row)?;
        if !matches!(start, PartStart::Sorted { .. }) {
            let rows = Rows::Column { column, from };
            return Ok(Self { rows, held: 0 });
        }
        let mut sorted = Vec::new();
        while let Some(row) = column.next()? {
            if from.is_none_or(|from| row >= from) {
                sorted.push(row);
            }
        }
        sorted.sort_unstable();
        let held = sorted.len() as u64;
        let rows = Rows::Sorted(sorted.into_iter());
        Ok(Self { rows, held })
    }

    fn spread(rows: u64, ends: (TimeRow, TimeRow)) -> Self {
        let rows = Rows::Spread {
            next: 0,
            rows,
            ends,
        };
        Self { rows, held: 0 }
    }

    fn next(&mut self) -> Result<Option<TimeRow>, Error> {
        match &mut self.rows {
            Rows::Sorted(rows) => Ok(rows.next()),
            Rows::Column { column, from } => loop {
                match (column.next()?, &from) {
                    (Some(row), Some(first)) if row < *first => {}
                    (row, _) => {
                        *from = None;
                        return Ok(row);
                    }
                }
            },
            Rows::Spread {
                next,
                rows,
                ends: (first, last),
            } => {
                if *next >= *rows {
                    return Ok(None);
                }
                let row = *next;
                *next += 1;
                let share = row as f64 / (*rows - 1).max(1) as f64;
                let span = (last.time.nanos() - first.time.nanos()) as f64;
                let nanos = first.time.nanos() + (span * share) as i128;
                let time = EventTime::from_nanos(nanos).unwrap_or(last.time);
                Ok(Some(TimeRow { time, row }))
            }
        }
    }
}

/// The time column of a part, row by row.
#[derive(Debug)]
struct Column {
    part: Part,
    batches: ColumnReader,
    batch: vec::IntoIter<EventTime>,
    next_row: u64,
}

impl Column {
    fn open(store: &WorldStore, part: &Part, from_row: u64) -> Result<Self, Error> {
        let options = ReadOptions {
            from_row,
            batch_rows: BATCH_ROWS,
        };
        Ok(Self {
            part: part.clone(),
            batches: read_column(store, part, part.time_column(), &options)?,
            batch: Vec::new().into_iter(),
            next_row: from_row,
        })
    }

    fn next(&mut self) -> Result<Option<TimeRow>, Error> {
        loop {
            if let Some(time) = self.batch.next() {
                let row = self.next_row;
                self.next_row += 1;
                return Ok(Some(TimeRow { time, row }));
            }
            let Some(batch) = self.batches.next() else {
                return Ok(None);
            };
            let (first_row, values) = batch?;
            let (path, name) = (self.part.path(), self.part.time_column());
            let times = envelope::event_times(path, first_row, name, &values);
            let times = times.map_err(|bad| Error::Envelope(bad.into()))?;
            self.next_row = first_row;
            self.batch = ordering_times(&self.part, times).into_iter();
        }
    }
}

/// How many rows of a part come before `open` in time. Blocks.
///
/// # Errors
/// As [`TimesInOrder::next`].
pub(crate) fn rows_before(
    store: &WorldStore,
    part: &Part,
    times: &super::time_index::PartTimes,
    open: TimeRow,
) -> Result<u64, Error> {
    let Some((first, last)) = times.first().zip(times.last()) else {
        return Ok(0);
    };
    if open <= first {
        return Ok(0);
    }
    if open > last {
        return Ok(times.rows());
    }
    if times.disorder().is_none() {
        // Rows of a part in order come in the order of their numbers.
        let mut column = Column::open(store, part, times.seek_row(open))?;
        while let Some(row) = column.next()? {
            if row >= open {
                return Ok(row.row);
            }
        }
        return Ok(times.rows());
    }
    let (mut column, mut before) = (Column::open(store, part, 0)?, 0);
    while let Some(row) = column.next()? {
        before += u64::from(row < open);
    }
    Ok(before)
}
