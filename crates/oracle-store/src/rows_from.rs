//! The rows of an output from an event time on.

use std::collections::VecDeque;
use std::ops::Range;

use model::EventTime;

use crate::error::{Error, ReasonCode};
use crate::grant::ReadGrant;
use crate::locator::OutputLocator;
use crate::part::Part;
use crate::rows::{ReadOptions, RowBatch, RowReader, SCAN_ROWS, open_rows, read_event_times};

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
/// that can be read are left out ([`part_span`](crate::part_span) counts them); a part that has rows,
/// and none of them a time, is refused: [`OutputLocator::timed_by`] names the column of an output
/// whose times are not in `ts_utc`.
///
/// Of each part the time column is read until the first such row, and other columns only from
/// there. Parts are not hashed here: under `sha256`, verify each first (`verify_part` of an attested
/// world's `data`, crate `gates`). Blocks; call it from a plain thread, and go through the rows
/// there.
///
/// # Errors
/// As [`open_rows`], of each part when it is come to: [`RowsFrom::next`] gives them.
/// `ORACLE_READ_FAILED` of a part without times.
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
            let times = batch.event_times(part.time_column());
            for rows in stretches(&times, self.from) {
                self.ready.push_back(PartRows {
                    part: part.clone(),
                    batch: batch.cut(rows),
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
        let (mut rows, mut timed_rows) = (0, 0);
        for batch in read_event_times(self.grant.store(), &part, &scan)? {
            let (first_row, times) = batch?;
            rows += times.len();
            timed_rows += times.iter().flatten().count();
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
        if rows > 0 && timed_rows == 0 {
            let what = format!(
                "No row has an event time in the column `{}`",
                part.time_column()
            );
            return Err(Error::new(ReasonCode::OracleReadFailed, what)
                .object(part.path())
                .advise("Name the column of its times (`OutputLocator::timed_by`)."));
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
