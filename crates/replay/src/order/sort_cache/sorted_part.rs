//! The file of one sorted part.
//!
//! ```text
//! description (one block, JSON) · blocks of rows in time order · index · trailer
//! index    for each block: time i128 · row u64 · place u64
//! trailer  magic · data · index · blocks · rows · checksum of the index · largest block · checksum
//! ```

use std::any::Any;
use std::io::{self, Read};
use std::path::Path;

use durable::{Disk, DiskFile};
use envelope::EventTime;

use super::blocks::{BLOCK_HEAD, BlockReader, checksum, read_block, seal};
use super::runs::Written;
use crate::order::time_index::TimeRow;

const MAGIC: [u8; 8] = *b"WSPSORT1";
const TRAILER: usize = 64;
const INDEX_ENTRY: usize = 32;

/// A lock on a file, until it is dropped.
pub(super) type Lock = Box<dyn Any + Send + Sync>;

/// A part in time order, open.
#[derive(Debug)]
pub(crate) struct SortedPart {
    file: Box<dyn DiskFile>,
    /// Keeps the file from being evicted.
    _lock: Lock,
    trailer: Trailer,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Trailer {
    data: u64,
    index: u64,
    blocks: u64,
    pub(super) rows: u64,
    index_sum: u64,
    largest: u64,
}

impl Trailer {
    fn bytes(self) -> [u8; TRAILER] {
        let mut bytes = [0; TRAILER];
        let numbers = [
            u64::from_le_bytes(MAGIC),
            self.data,
            self.index,
            self.blocks,
            self.rows,
            self.index_sum,
            self.largest,
        ];
        let words = bytes.as_chunks_mut::<8>().0;
        for (word, number) in words.iter_mut().zip(numbers) {
            *word = number.to_le_bytes();
        }
        let sum = checksum(&bytes[..TRAILER - 8]);
        bytes[TRAILER - 8..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn of(bytes: &[u8; TRAILER]) -> Option<Self> {
        let words = bytes.as_chunks::<8>().0;
        let at = |word: usize| u64::from_le_bytes(words[word]);
        if words[0] != MAGIC || at(7) != checksum(&bytes[..TRAILER - 8]) {
            return None;
        }
        Some(Self {
            data: at(1),
            index: at(2),
            blocks: at(3),
            rows: at(4),
            index_sum: at(5),
            largest: at(6),
        })
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Puts the description before all rows; answers where they begin.
pub(super) fn write_description(file: &dyn DiskFile, text: &str) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_HEAD];
    block.extend_from_slice(text.as_bytes());
    seal(&mut block, 0);
    file.append(&block)?;
    Ok(block.len() as u64)
}

/// The description of a file, and its trailer; only a file that is whole has both.
pub(super) fn described(file: &dyn DiskFile) -> io::Result<(Vec<u8>, Trailer)> {
    let length = file.length()?;
    let at = length.checked_sub(TRAILER as u64);
    let at = at.ok_or_else(|| damaged("the file is cut short"))?;
    let mut bytes = [0; TRAILER];
    file.read_from(at)?.read_exact(&mut bytes)?;
    let trailer = Trailer::of(&bytes).ok_or_else(|| damaged("the trailer is damaged"))?;
    let index_bytes = trailer.blocks.checked_mul(INDEX_ENTRY as u64);
    if index_bytes.and_then(|bytes| bytes.checked_add(trailer.index)) != Some(at) {
        return Err(damaged("the trailer is that of another file"));
    }
    let mut description = Vec::new();
    read_block(file, 0, &mut description)?;
    Ok((description, trailer))
}

/// Puts index and trailer behind the rows, and syncs all.
pub(super) fn finish(written: &Written, data: u64) -> io::Result<()> {
    let mut index = Vec::with_capacity(written.index.len() * INDEX_ENTRY + TRAILER);
    for (first, place) in &written.index {
        index.extend_from_slice(&first.time.nanos().to_le_bytes());
        index.extend_from_slice(&first.row.to_le_bytes());
        index.extend_from_slice(&place.to_le_bytes());
    }
    let trailer = Trailer {
        data,
        index: written.end,
        blocks: written.index.len() as u64,
        rows: written.rows,
        index_sum: checksum(&index),
        largest: written.largest as u64,
    };
    index.extend_from_slice(&trailer.bytes());
    written.file.append(&index)?;
    written.file.sync()
}

impl SortedPart {
    /// Opens the file of a part under a lock; `None` if there is none. `rows` is how many rows it
    /// must hold, where that is known.
    ///
    /// # Errors
    /// `InvalidData` for a file that is not whole, or holds another number of rows.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        lock: Lock,
        rows: Option<u64>,
    ) -> io::Result<Option<Self>> {
        let file = match disk.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (_, trailer) = described(&*file)?;
        if rows.is_some_and(|rows| trailer.rows != rows) {
            return Err(damaged("it holds another number of rows"));
        }
        let part = Self {
            file,
            _lock: lock,
            trailer,
        };
        // All of the index is believed from now on.
        part.index()?;
        Ok(Some(part))
    }

    /// The bytes of the largest block.
    pub(crate) fn largest_block(&self) -> u64 {
        self.trailer.largest
    }

    fn index(&self) -> io::Result<Vec<u8>> {
        let mut index = Vec::new();
        let bytes = self.trailer.blocks * INDEX_ENTRY as u64;
        let reader = self.file.read_from(self.trailer.index)?;
        reader.take(bytes).read_to_end(&mut index)?;
        if checksum(&index) != self.trailer.index_sum {
            return Err(damaged("the index is damaged"));
        }
        Ok(index)
    }

    /// The rows from the block on that holds the first one wanted, or all.
    ///
    /// # Errors
    /// `InvalidData` for a damaged index; what the file system says.
    pub(crate) fn rows(&self, from: Option<TimeRow>) -> io::Result<BlockReader> {
        let mut at = self.trailer.data;
        if let Some(from) = from {
            let index = self.index()?;
            let entries = index.as_chunks::<INDEX_ENTRY>().0;
            let later = entries.partition_point(|entry| first_of(entry).is_some_and(|r| r <= from));
            if let Some(entry) = later.checked_sub(1).and_then(|place| entries.get(place)) {
                at = number_at(&entry[24..]);
            }
        }
        let file = self.file.another()?;
        Ok(BlockReader::new(file, at, self.trailer.index))
    }
}

fn number_at(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The first row of the block of an index entry.
fn first_of(entry: &[u8; INDEX_ENTRY]) -> Option<TimeRow> {
    let nanos = i128::from_le_bytes(*entry.first_chunk()?);
    Some(TimeRow {
        time: EventTime::from_nanos(nanos)?,
        row: number_at(&entry[16..]),
    })
}
