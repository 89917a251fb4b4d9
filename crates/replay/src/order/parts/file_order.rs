//! The rows of one part in file order.

use arrow_array::ArrayRef;
use envelope::{FramedBatch, Framer};
use oracle_store::{Part, RowBatch, RowReader, Rows};

use super::{ChunkRows, OpenRows, bytes_of, in_part, is_large, parted, times_of};
use crate::Error;
use crate::order::feed::{Chunk, ChunkSource};
use crate::order::time_index::TimeRow;

/// Makes chunks of a part's rows, in file order, from a row on.
pub(super) struct FileOrder {
    rows: OpenRows,
    from_row: u64,
    /// Rows that come before it in time are passed over, up to the first that does not.
    from: Option<TimeRow>,
    reading: Option<Reading>,
}

struct Reading {
    reader: RowReader,
    framer: Framer,
    chunk_rows: ChunkRows,
    /// What framing a row takes by the part's estimate.
    framed_bytes: u64,
    decoded: Option<Decoded>,
}

struct Decoded {
    batch: RowBatch,
    /// Whether it may have large rows.
    is_large: bool,
    /// How many of its rows are framed or passed over.
    next: usize,
}

impl FileOrder {
    pub(super) fn new(rows: OpenRows, from_row: u64, from: Option<TimeRow>) -> Self {
        Self {
            rows,
            from_row,
            from,
            reading: None,
        }
    }

    fn make(&mut self) -> Result<Option<Chunk>, Error> {
        let part = self.rows.part();
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => {
                let Some(reader) = self.rows.open(self.from_row)? else {
                    return Ok(None);
                };
                none.insert(Reading {
                    framer: self.rows.framer()?,
                    chunk_rows: ChunkRows::default(),
                    framed_bytes: reader.framed_bytes(),
                    reader,
                    decoded: None,
                })
            }
        };
        let decoded = loop {
            if let Some(decoded) = &mut reading.decoded
                && decoded.next < decoded.batch.rows.len()
            {
                break decoded;
            }
            // Two batches of large rows would take twice as much.
            reading.decoded = None;
            let Some(batch) = reading.reader.next() else {
                return Ok(None);
            };
            let batch = batch?;
            let mut next = 0;
            if let Some(from) = self.from {
                next = passed_over(part, from, &batch)?;
                self.from = self.from.filter(|_| next == batch.rows.len());
            }
            reading.decoded = Some(Decoded {
                is_large: is_large(&batch.rows),
                batch,
                next,
            });
        };
        let Decoded { batch, next, .. } = decoded;
        let rows = reading.chunk_rows.get().min(batch.rows.len() - *next);
        let bytes = if decoded.is_large {
            bytes_of(&batch.rows, *next, rows)
        } else {
            0
        };
        let held = self.rows.hold(bytes, reading.framed_bytes)?;
        let chunk = frame(&mut reading.framer, part, batch, *next, rows);
        let chunk = Chunk { held, ..chunk };
        *next += rows;
        reading.chunk_rows.learn(&chunk.framed, &self.rows.share);
        Ok(Some(chunk))
    }
}

impl ChunkSource for FileOrder {
    fn next_chunk(&mut self) -> Option<Chunk> {
        self.make()
            .unwrap_or_else(|failure| Some(Chunk::failed(failure)))
    }
}

/// How many rows of a batch come before `from`; the rows are in time order.
fn passed_over(part: &Part, from: TimeRow, batch: &RowBatch) -> Result<usize, Error> {
    let (times, failure) = times_of(part, batch);
    let rows = times.iter().enumerate().map(|(place, &time)| TimeRow {
        time,
        row: batch.numbers.row(place),
    });
    let before = rows.take_while(|row| *row < from).count();
    match failure {
        Some(failure) if before == times.len() => Err(failure),
        _ => Ok(before),
    }
}

pub(super) fn frame(
    framer: &mut Framer,
    part: &Part,
    batch: &RowBatch,
    next: usize,
    rows: usize,
) -> Chunk {
    let numbers = batch.numbers.from_place(next);
    // Places in the slice: of rows that are not consecutive, the framer cannot know the numbers.
    let first_row = 0;
    let (framed, failure) = match &batch.rows {
        Rows::Arrow(batch) => {
            parted(framer.frame(part.path(), first_row, &batch.slice(next, rows)))
        }
        Rows::JsonLines(lines) => {
            let texts = lines.iter().skip(next).take(rows);
            match lines.times() {
                Some(times) => {
                    let times = times.slice(next, rows);
                    frame_payloads(framer, part, first_row, texts, &times)
                }
                None => parted(framer.frame_json_lines(part.path(), first_row, texts)),
            }
        }
    };
    let framed = if part.is_view() {
        framed.in_whole_micros()
    } else {
        framed
    };
    Chunk {
        framed,
        failure: failure.map(|failure| in_part(failure, &numbers)),
        rows: numbers,
        held: None,
    }
}

/// Frames payloads whose times are a column of their own, up to the first bad row.
fn frame_payloads<'a>(
    framer: &mut Framer,
    part: &Part,
    first_row: u64,
    payloads: impl Iterator<Item = &'a [u8]>,
    times: &ArrayRef,
) -> (FramedBatch, Option<Error>) {
    let (path, name) = (part.path(), part.time_column());
    let (times, no_time) = parted(envelope::event_times(path, first_row, name, times));
    let rows = payloads.zip(times);
    let (framed, bad_payload) = parted(framer.frame_payloads(path, first_row, rows));
    (framed, bad_payload.or(no_time))
}
