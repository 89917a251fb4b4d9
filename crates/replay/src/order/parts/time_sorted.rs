//! The rows of one part that is not in time order, sorted in memory.
//!
//! Rows are held as they were decoded, which is smaller than framed ones, and framed
//! chunk by chunk in their order. Each keeps its row number in the file: cursors and
//! errors name that one.

use std::mem;

use arrow_array::RecordBatch;
use arrow_select::interleave::interleave_record_batch;
use envelope::{FramedBatch, Framer};
use oracle_store::{Part, RowBatch, Rows};

use super::{ChunkRows, OpenRows, bytes_of, is_large, parted, times_of};
use crate::order::feed::{Chunk, ChunkSource, RowNumbers};
use crate::order::time_index::{Disorder, TimeRow};
use crate::{Error, ReasonCode};

/// Makes chunks of a part's rows, sorted by (time, row).
pub(super) struct TimeSorted {
    rows: OpenRows,
    from: Option<TimeRow>,
    disorder: Disorder,
    budget: u64,
    sorted: Option<Sorted>,
}

struct Sorted {
    batches: Vec<RowBatch>,
    /// Whether some batch has large rows.
    are_large: bool,
    /// Row numbers in the order in which they leave.
    order: Vec<u64>,
    next: usize,
    framer: Framer,
    chunk_rows: ChunkRows,
}

impl TimeSorted {
    pub(super) fn new(
        rows: OpenRows,
        from: Option<TimeRow>,
        disorder: Disorder,
        budget: u64,
    ) -> Self {
        Self {
            rows,
            from,
            disorder,
            budget,
            sorted: None,
        }
    }

    /// Reads all rows and their times.
    fn sort(&self) -> Result<Sorted, Error> {
        let part = self.rows.part();
        let (mut batches, mut order, mut bytes) = (Vec::new(), Vec::new(), 0);
        for batch in self.rows.open(0)? {
            let batch = batch?;
            let (times, failure) = times_of(part, batch.first_row, &batch.rows);
            if let Some(failure) = failure {
                return Err(failure);
            }
            order.extend(
                (batch.first_row..)
                    .zip(times)
                    .map(|(row, time)| TimeRow { time, row }),
            );
            bytes += held_bytes(&batch.rows) + mem::size_of::<TimeRow>() * batch.rows.len();
            batches.push(batch);
            if bytes as u64 > self.budget {
                let fix = format!(
                    "Sorting it takes more than `wsp_order.sort_budget_mib` ({} MiB): raise it, or \
                     use `stream_order: as_written`.",
                    self.budget >> 20
                );
                return Err(self.disorder.error(part, &fix));
            }
        }
        order.sort_unstable();
        let open = self
            .from
            .map_or(0, |from| order.partition_point(|row| *row < from));
        Ok(Sorted {
            are_large: batches.iter().any(|batch| is_large(&batch.rows)),
            batches,
            order: order[open..].iter().map(|row| row.row).collect(),
            next: 0,
            framer: self.rows.framer()?,
            chunk_rows: ChunkRows::default(),
        })
    }

    fn make(&mut self) -> Result<Option<Chunk>, Error> {
        let sorted = match self.sorted.take() {
            Some(sorted) => sorted,
            None => self.sort()?,
        };
        let sorted = self.sorted.insert(sorted);
        let end = sorted
            .order
            .len()
            .min(sorted.next + sorted.chunk_rows.get());
        let rows = sorted.order[mem::replace(&mut sorted.next, end)..end].to_vec();
        if rows.is_empty() {
            return Ok(None);
        }
        let held = self.rows.hold(sorted.copied_bytes(&rows), 0)?;
        let (framed, failure) = sorted.frame(self.rows.part(), &rows)?;
        sorted.chunk_rows.learn(&framed, &self.rows.share);
        Ok(Some(Chunk {
            framed,
            rows: RowNumbers::Listed(rows),
            failure,
            held,
        }))
    }
}

impl ChunkSource for TimeSorted {
    fn next_chunk(&mut self) -> Option<Chunk> {
        self.make()
            .unwrap_or_else(|failure| Some(Chunk::failed(failure)))
    }
}

impl Sorted {
    /// Bytes of some rows, if they may be large: they are copied before they are framed.
    fn copied_bytes(&self, rows: &[u64]) -> usize {
        if !self.are_large {
            return 0;
        }
        let places = rows.iter().map(|&row| self.place(row));
        let bytes = places.map(|(batch, row)| bytes_of(&self.batches[batch].rows, row, 1));
        bytes.sum()
    }

    /// Frames some rows, up to the first bad one.
    fn frame(&mut self, part: &Part, rows: &[u64]) -> Result<(FramedBatch, Option<Error>), Error> {
        let places: Vec<_> = rows.iter().map(|&row| self.place(row)).collect();
        let (framed, failure) = self.frame_at(part, 0, &places)?;
        let bad = framed.len();
        if failure.is_none() {
            return Ok((framed, None));
        }
        // Framed again on its own, so that the error names its row in the file.
        let (_, failure) = self.frame_at(part, rows[bad], &places[bad..=bad])?;
        Ok((framed, failure))
    }

    /// The batch of a row, and its place in it.
    fn place(&self, row: u64) -> (usize, usize) {
        let batch = self.batches.partition_point(|batch| batch.first_row <= row) - 1;
        (batch, (row - self.batches[batch].first_row) as usize)
    }

    fn frame_at(
        &mut self,
        part: &Part,
        first_row: u64,
        places: &[(usize, usize)],
    ) -> Result<(FramedBatch, Option<Error>), Error> {
        let arrow = self.batches.iter().filter_map(|batch| match &batch.rows {
            Rows::Arrow(rows) => Some(rows),
            Rows::JsonLines(_) => None,
        });
        let arrow: Vec<&RecordBatch> = arrow.collect();
        let framed = if arrow.is_empty() {
            let lines =
                places
                    .iter()
                    .filter_map(|&(batch, line)| match &self.batches[batch].rows {
                        Rows::JsonLines(lines) => lines.get(line),
                        Rows::Arrow(_) => None,
                    });
            self.framer.frame_json_lines(part.path(), first_row, lines)
        } else {
            let rows = interleave_record_batch(&arrow, places).map_err(|source| {
                let what = format!("Rows of {} cannot be brought into time order", part.path());
                Error::caused(ReasonCode::StreamInternal, what, "Report this.", source)
            })?;
            self.framer.frame(part.path(), first_row, &rows)
        };
        Ok(parted(framed))
    }
}

/// The memory of decoded rows.
fn held_bytes(rows: &Rows) -> usize {
    match rows {
        Rows::Arrow(rows) => rows.get_array_memory_size(),
        Rows::JsonLines(lines) => lines.iter().map(<[u8]>::len).sum(),
    }
}
