//! Sorted runs: rows sorted in memory as far as it goes, and runs merged into one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use durable::DiskFile;
use envelope::{EventTime, StoredRow};

use super::blocks::{BLOCK_BYTES, BLOCK_HEAD, BlockReader, Framed, Record, seal};
use crate::order::time_index::TimeRow;

/// Bytes that the blocks of merged runs may take together, beyond two of any size.
const MERGED_BYTES: usize = 16 << 20;
/// What a row takes in memory besides its record.
const PLACE_BYTES: usize = 48;

/// Rows in file order, to be sorted.
#[derive(Debug, Default)]
pub(crate) struct RunBuffer {
    records: Vec<u8>,
    /// Each row's place in time, and where its record lies.
    rows: Vec<(TimeRow, usize, usize)>,
}

impl RunBuffer {
    /// Adds a row that was framed.
    pub(crate) fn push(&mut self, row: u64, stored: &StoredRow<'_>) {
        let framed = Framed {
            event_id: stored.event_id,
            ordering_key: stored.ordering_key,
            payload: stored.payload,
        };
        self.add(stored.time, row, Some(framed));
    }

    /// Adds a row that cannot be framed.
    pub(crate) fn push_unframed(&mut self, row: u64, time: EventTime) {
        self.add(time, row, None);
    }

    fn add(&mut self, time: EventTime, row: u64, framed: Option<Framed<'_>>) {
        let at = TimeRow { time, row };
        let start = self.records.len();
        Record { at, framed }.append(&mut self.records);
        self.rows.push((at, start, self.records.len()));
    }

    /// The rows in the buffer.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The bytes that the rows take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.records.len() + self.rows.len() * PLACE_BYTES
    }

    /// The bytes that the rows take in a file, about.
    pub(super) fn file_bytes(&self) -> u64 {
        self.records.len() as u64
    }

    /// Writes the rows in their order, and forgets them.
    pub(super) fn drain_into(&mut self, blocks: &mut BlockWriter) -> io::Result<()> {
        self.rows.sort_unstable_by_key(|(at, ..)| *at);
        for &(at, start, end) in &self.rows {
            blocks.push(at, &self.records[start..end])?;
        }
        self.rows.clear();
        self.records.clear();
        Ok(())
    }
}

/// Writes records as blocks.
#[derive(Debug)]
pub(super) struct BlockWriter {
    file: Box<dyn DiskFile>,
    at: u64,
    block: Vec<u8>,
    records: u32,
    /// Each block's first row and place.
    index: Vec<(TimeRow, u64)>,
    first: Option<TimeRow>,
    largest: usize,
    rows: u64,
}

impl BlockWriter {
    /// Writes to the end of a file of so many bytes.
    pub(super) fn new(file: Box<dyn DiskFile>, at: u64) -> Self {
        Self {
            file,
            at,
            block: vec![0; BLOCK_HEAD],
            records: 0,
            index: Vec::new(),
            first: None,
            largest: 0,
            rows: 0,
        }
    }

    pub(super) fn push(&mut self, at: TimeRow, record: &[u8]) -> io::Result<()> {
        self.first.get_or_insert(at);
        self.block.extend_from_slice(record);
        self.records += 1;
        self.rows += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        let Some(first) = self.first.take() else {
            return Ok(());
        };
        seal(&mut self.block, self.records);
        self.file.append(&self.block)?;
        self.index.push((first, self.at));
        self.largest = self.largest.max(self.block.len());
        self.at += self.block.len() as u64;
        self.block.truncate(BLOCK_HEAD);
        self.records = 0;
        Ok(())
    }

    /// Ends the last block.
    pub(super) fn finish(mut self) -> io::Result<Written> {
        self.end_block()?;
        let Self {
            file,
            at,
            index,
            largest,
            rows,
            ..
        } = self;
        Ok(Written {
            file,
            end: at,
            index,
            largest,
            rows,
        })
    }
}

/// Blocks that were written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) file: Box<dyn DiskFile>,
    /// Where the last block ends.
    pub(super) end: u64,
    /// Each block's first row and place.
    pub(super) index: Vec<(TimeRow, u64)>,
    /// The bytes of the largest block.
    pub(super) largest: usize,
    pub(super) rows: u64,
}

/// How many runs may be merged at once, of runs with these largest blocks: at least two.
pub(super) fn fan_in(largest_blocks: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fitting = largest_blocks.take_while(|largest| {
        bytes += largest;
        bytes <= MERGED_BYTES
    });
    fitting.count().max(2)
}

/// Merges runs, in steps.
#[derive(Debug)]
pub(super) struct RunMerge {
    runs: Vec<BlockReader>,
    /// The next row of each run that has one, the earliest on top.
    heads: BinaryHeap<Reverse<(TimeRow, usize)>>,
    pub(super) blocks: BlockWriter,
}

impl RunMerge {
    pub(super) fn new(runs: Vec<BlockReader>, blocks: BlockWriter) -> io::Result<Self> {
        let heads = BinaryHeap::with_capacity(runs.len());
        let mut merge = Self {
            runs,
            heads,
            blocks,
        };
        for run in 0..merge.runs.len() {
            merge.look(run)?;
        }
        Ok(merge)
    }

    /// Puts the next row of a run among the heads.
    fn look(&mut self, run: usize) -> io::Result<()> {
        if self.runs[run].fill()? {
            let head = self.runs[run].peek();
            let head = head.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
            self.heads.push(Reverse((head.at, run)));
        }
        Ok(())
    }

    /// Moves at most so many rows; answers how many, fewer at the end.
    pub(super) fn step(&mut self, rows: u64) -> io::Result<u64> {
        for moved in 0..rows {
            let Some(Reverse((at, run))) = self.heads.pop() else {
                return Ok(moved);
            };
            if let Some(record) = self.runs[run].peek_bytes() {
                self.blocks.push(at, record)?;
            }
            self.runs[run].pass();
            self.look(run)?;
        }
        Ok(rows)
    }
}
