//! The rows of an output from an event time on.

use std::collections::VecDeque;
use std::ops::Range;

use model::EventTime;

use super::event_times::{of_rows, read_event_times};
use super::{JsonLines, ReadOptions, RowBatch, RowReader, Rows, SCAN_ROWS, open_rows};
use crate::error::Error;
use crate::grant::ReadGrant;
use crate::locator::OutputLocator;
use crate::part::Part;

/// Some rows of one part of an output.
#[derive(Debug, Clone)]
pub struct PartRows {
    /// The part.
    pub part: Part,
    /// Its rows; `first_row` counts within the part.
    pub batch: RowBatch,
}

/// The rows of an output from an event time on, part by part. After an error or the last row,
/// nothing more.
#[derive(Debug)]
pub struct RowsFrom {
    grant: ReadGrant,
    parts: VecDeque<Part>,
    from: EventTime,
    open: Option<(Part, RowReader)>,
    ready: VecDeque<PartRows>,
}

/// Opens the rows of an output whose event time is `from` or later: part by part in the order of
/// the locator, each in file order. A part need not be in time order. Rows without an event time
/// that can be read are left out ([`part_span`](super::part_span) counts them).
///
/// Of each part the time column is read until the first such row, and other columns only from
/// there. Blocks; call it from a plain thread, and go through the rows there.
///
/// # Errors
/// As [`open_rows`], of each part when it is come to: [`RowsFrom::next`] gives them.
///
/// ```no_run
/// # fn example(grant: &oracle_store::ReadGrant, output: &oracle_store::OutputLocator)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// for rows in oracle_store::open_rows_from(grant, output, "2026-01-28T12:00:00Z".parse()?) {
///     let rows = rows?;
///     println!("{} from row {}", rows.part.path(), rows.batch.first_row);
/// }
/// # Ok(())
/// # }
/// ```
pub fn open_rows_from(grant: &ReadGrant, output: &OutputLocator, from: EventTime) -> RowsFrom {
    RowsFrom {
        grant: grant.clone(),
        parts: output.parts.iter().cloned().collect(),
        from,
        open: None,
        ready: VecDeque::new(),
    }
}

impl RowsFrom {
    fn next_rows(&mut self) -> Result<Option<PartRows>, Error> {
        loop {
            if let Some(rows) = self.ready.pop_front() {
                return Ok(Some(rows));
            }
            let Some((part, reader)) = &mut self.open else {
                match self.parts.pop_front() {
                    Some(part) => self.open = self.opened(part)?,
                    None => return Ok(None),
                }
                continue;
            };
            let Some(batch) = reader.next().transpose()? else {
                self.open = None;
                continue;
            };
            let times = of_rows(&batch.rows, part.time_column());
            for rows in stretches(&times, self.from) {
                self.ready.push_back(PartRows {
                    part: part.clone(),
                    batch: cut(&batch, rows),
                });
            }
        }
    }

    /// A part, opened at its first wanted row; `None` if it has none.
    fn opened(&self, part: Part) -> Result<Option<(Part, RowReader)>, Error> {
        self.grant.check(&part)?;
        let scan = ReadOptions {
            batch_rows: SCAN_ROWS,
            ..ReadOptions::default()
        };
        for batch in read_event_times(self.grant.store(), &part, &scan)? {
            let (first_row, times) = batch?;
            let wanted = times.iter().position(|time| *time >= Some(self.from));
            if let Some(row) = wanted {
                let options = ReadOptions {
                    from_row: first_row + row as u64,
                    ..ReadOptions::default()
                };
                let reader = open_rows(&self.grant, &part, &options)?;
                return Ok(Some((part, reader)));
            }
        }
        Ok(None)
    }
}

impl Iterator for RowsFrom {
    type Item = Result<PartRows, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_rows().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.parts.clear();
            self.open = None;
        }
        next
    }
}

/// The stretches of rows at `from` or later.
fn stretches(times: &[Option<EventTime>], from: EventTime) -> Vec<Range<usize>> {
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for (row, _) in times
        .iter()
        .enumerate()
        .filter(|(_, time)| **time >= Some(from))
    {
        match stretches.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => stretches.push(row..row + 1),
        }
    }
    stretches
}

/// Some rows of a batch.
fn cut(batch: &RowBatch, rows: Range<usize>) -> RowBatch {
    let first_row = batch.first_row + rows.start as u64;
    let rows = match &batch.rows {
        Rows::Arrow(columns) => Rows::Arrow(columns.slice(rows.start, rows.len())),
        Rows::JsonLines(lines) => Rows::JsonLines(JsonLines {
            bytes: lines.bytes.clone(),
            ranges: lines.ranges[rows.clone()].to_vec(),
            times: lines
                .times
                .as_ref()
                .map(|times| times.slice(rows.start, rows.len())),
        }),
    };
    RowBatch { first_row, rows }
}
