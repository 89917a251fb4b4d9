//! The rows of one part that is not in time order: sorted into the cache, then read from there.
//!
//! Each row keeps its number in the file: cursors and errors name that one.

use envelope::StoredRow;
use oracle_store::{RowNumbers, RowReader};

use super::{ChunkRows, OpenRows, bytes_of, file_order, is_large, times_of};
use crate::order::feed::{Chunk, ChunkSource};
use crate::order::sort_cache::{
    BlockReader, RowsToSort, RunBuffer, SortCache, SortedPart, ToSort, sort_now,
};
use crate::order::time_index::TimeRow;
use crate::{Error, ReasonCode};
use envelope::Framer;

/// Makes chunks of a part's rows, by (time, row).
pub(super) struct TimeSorted {
    rows: OpenRows,
    from: Option<TimeRow>,
    cache: SortCache,
    run_bytes: usize,
    to_sort: ToSort,
    /// The sorted part, where it was sorted before it was opened.
    sorted: Option<SortedPart>,
    reading: Option<Reading>,
}

struct Reading {
    /// Its lock keeps the file from being evicted while it is read.
    _part: SortedPart,
    blocks: BlockReader,
    framer: Framer,
    largest_block: u64,
}

impl TimeSorted {
    pub(super) fn new(
        rows: OpenRows,
        from: Option<TimeRow>,
        (cache, run_bytes): (SortCache, usize),
        to_sort: ToSort,
        sorted: Option<SortedPart>,
    ) -> Self {
        Self {
            rows,
            from,
            cache,
            run_bytes,
            to_sort,
            sorted,
            reading: None,
        }
    }

    fn open(&mut self) -> Result<Reading, Error> {
        self.rows.prove()?;
        let part = if let Some(part) = self.sorted.take() {
            part
        } else {
            let rows = Box::new(RowsOfPart::new(self.rows.again()));
            let ending = self.rows.ending();
            sort_now(&self.cache, &self.to_sort, rows, self.run_bytes, ending)?
        };
        let blocks = part.rows(self.from);
        let blocks = blocks.map_err(|e| self.cache.damaged(&self.to_sort.description, e))?;
        Ok(Reading {
            largest_block: part.largest_block(),
            _part: part,
            blocks,
            framer: self.rows.framer()?,
        })
    }

    fn make(&mut self) -> Result<Option<Chunk>, Error> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.open()?,
        };
        let damaged = |error| self.cache.damaged(&self.to_sort.description, error);
        loop {
            if !reading.blocks.fill().map_err(damaged)? {
                return Ok(None);
            }
            let Some(from) = self.from else { break };
            let done = reading.blocks.records().take_while(|row| row.at < from);
            let done = done.count();
            reading.blocks.pass_many(done);
            if reading.blocks.peek().is_some() {
                self.from = None;
                break;
            }
        }
        let held = self.rows.hold(reading.largest_block as usize, 0)?;
        let mut rows = Vec::new();
        let records = reading.blocks.records().map_while(|record| {
            let framed = record.framed?;
            rows.push(record.at.row);
            Some(StoredRow {
                time: record.at.time,
                event_id: framed.event_id,
                ordering_key: framed.ordering_key,
                payload: framed.payload,
            })
        });
        let framed = reading
            .framer
            .frame_stored(records, self.rows.share.bytes());
        if framed.is_empty() {
            let bad = reading.blocks.peek().map(|record| record.at.row);
            return Ok(Some(Chunk::failed(match bad {
                Some(row) => self.failure_of(row)?,
                // A block without a whole record: its checksum was made of what it is.
                None => damaged(std::io::ErrorKind::InvalidData.into()),
            })));
        }
        rows.truncate(framed.len());
        reading.blocks.pass_many(framed.len());
        self.reading = Some(reading);
        Ok(Some(Chunk {
            framed,
            rows: RowNumbers::listed(rows),
            failure: None,
            held,
        }))
    }

    /// Why a row cannot be framed, from the part itself.
    fn failure_of(&self, row: u64) -> Result<Error, Error> {
        let mut rows = self.rows.open(row)?;
        let mut framer = self.rows.framer()?;
        let chunk = match rows.as_mut().and_then(Iterator::next) {
            Some(batch) => Some(file_order::frame(
                &mut framer,
                self.rows.part(),
                &batch?,
                0,
                1,
            )),
            None => None,
        };
        Ok(chunk.and_then(|chunk| chunk.failure).unwrap_or_else(|| {
            Error::new(
                ReasonCode::StreamInternal,
                format!(
                    "Row {row} of {} could not be framed when it was sorted, and can now",
                    self.rows.part().path()
                ),
                "Report this.",
            )
        }))
    }
}

impl ChunkSource for TimeSorted {
    fn next_chunk(&mut self) -> Option<Chunk> {
        self.make()
            .unwrap_or_else(|failure| Some(Chunk::failed(failure)))
    }
}

/// The rows of one part in file order, to be sorted.
pub(super) struct RowsOfPart {
    rows: OpenRows,
    open: Option<(RowReader, Framer)>,
}

impl RowsOfPart {
    pub(super) fn new(rows: OpenRows) -> Self {
        Self { rows, open: None }
    }
}

impl RowsToSort for RowsOfPart {
    fn add_to(&mut self, buffer: &mut RunBuffer) -> Result<bool, Error> {
        let (reader, framer) = match &mut self.open {
            Some(open) => open,
            none => {
                let Some(reader) = self.rows.open(0)? else {
                    return Ok(false);
                };
                none.insert((reader, self.rows.framer()?))
            }
        };
        let Some(batch) = reader.next() else {
            return Ok(false);
        };
        let batch = batch?;
        let part = self.rows.part();
        let (times, failure) = times_of(part, &batch);
        if let Some(failure) = failure {
            return Err(failure);
        }
        let rows = batch.rows.len();
        let is_large = is_large(&batch.rows);
        let mut chunk_rows = ChunkRows::default();
        let mut next = 0;
        while next < rows {
            // Large rows are framed a few at a time, others all at once.
            let count = if is_large { chunk_rows.get() } else { rows };
            let count = count.min(rows - next);
            let bytes = if is_large {
                bytes_of(&batch.rows, next, count)
            } else {
                0
            };
            let _held = self.rows.hold(bytes, reader.framed_bytes())?;
            let chunk = file_order::frame(framer, part, &batch, next, count);
            for (place, stored) in framer.stored(&chunk.framed).enumerate() {
                buffer.push(chunk.row(place), &stored);
            }
            chunk_rows.learn(&chunk.framed, &self.rows.share);
            next += chunk.framed.len();
            if chunk.failure.is_some() {
                // It is told of when it is due.
                let time = times.get(next).copied();
                let row = batch.numbers.row(next);
                match time {
                    Some(time) => buffer.push_unframed(row, time),
                    None => return Err(Error::ended_early("A time column lost rows")),
                }
                next += 1;
            }
        }
        Ok(true)
    }
}
