//! Blocks of records: how sorted rows lie in a file.
//!
//! ```text
//! block   length u32 · records u32 · checksum u64 · the records
//! record  time i128 · row u64 · ordering key u64 · event id [32] · length u32 · payload
//! ```
//!
//! Numbers are little-endian. A length of `u32::MAX` stands for a row that cannot be framed: its
//! place in time is known, and who gets there reads it again to say what is wrong with it. A block
//! is believed only after its checksum; one damaged bit anywhere in it changes that.

use std::io::{self, Read};

use durable::DiskFile;
use envelope::{EventId, EventTime};

use crate::order::time_index::TimeRow;

/// Bytes that a block has, but for the last one and for those of large rows.
pub(crate) const BLOCK_BYTES: usize = 128 << 10;
/// Bytes before the records of a block.
pub(super) const BLOCK_HEAD: usize = 16;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEAD: usize = 16 + 8 + 8 + 32 + 4;
/// The length of a row that cannot be framed.
const UNFRAMED: u32 = u32::MAX;

/// One row of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// The row's place in time.
    pub(crate) at: TimeRow,
    /// What the row's envelope is made of; `None` if it cannot be framed.
    pub(crate) framed: Option<Framed<'a>>,
}

/// What an envelope is made of, besides its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Framed<'a> {
    pub(crate) event_id: EventId,
    pub(crate) ordering_key: u64,
    pub(crate) payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends the record's bytes.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.time.nanos().to_le_bytes());
        out.extend_from_slice(&self.at.row.to_le_bytes());
        let framed = self.framed.as_ref();
        let key = framed.map_or(0, |framed| framed.ordering_key);
        out.extend_from_slice(&key.to_le_bytes());
        let id = framed.map_or([0; 32], |framed| *framed.event_id.as_bytes());
        out.extend_from_slice(&id);
        let length = framed.map_or(UNFRAMED, |framed| framed.payload.len() as u32);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(framed.map_or(&[], |framed| framed.payload));
    }

    /// Reads a record from the front of some bytes, and says how many it takes; `None` if there is
    /// none.
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (time, rest) = bytes.split_first_chunk::<16>()?;
        let (row, rest) = rest.split_first_chunk::<8>()?;
        let (key, rest) = rest.split_first_chunk::<8>()?;
        let (id, rest) = rest.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let at = TimeRow {
            time: EventTime::from_nanos(i128::from_le_bytes(*time))?,
            row: u64::from_le_bytes(*row),
        };
        let length = u32::from_le_bytes(*length);
        if length == UNFRAMED {
            return Some((Self { at, framed: None }, RECORD_HEAD));
        }
        let payload = rest.get(..length as usize)?;
        let framed = Framed {
            event_id: EventId::from_bytes(*id),
            ordering_key: u64::from_le_bytes(*key),
            payload,
        };
        let framed = Some(framed);
        Some((Self { at, framed }, RECORD_HEAD + payload.len()))
    }
}

/// A checksum that differs where any bit does: each word is mixed in by steps that lose nothing.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]);
    // Not from 0, or nothing but zeros would have the checksum 0, as a hole in a file has.
    words.fold(!(bytes.len() as u64), |sum, word| {
        let mixed = sum.rotate_left(5) ^ u64::from_le_bytes(*word);
        mixed.wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Puts the head of a block into the bytes kept free for it.
pub(super) fn seal(block: &mut [u8], records: u32) {
    let (head, bytes) = block.split_at_mut(BLOCK_HEAD);
    head[..4].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    head[4..8].copy_from_slice(&records.to_le_bytes());
    head[8..].copy_from_slice(&checksum(bytes).to_le_bytes());
}

/// Reads the block at a place into `block`, without its head; answers the place of the next one,
/// and how many records the head says that it has.
///
/// # Errors
/// `InvalidData` for a damaged block, and for one without a byte: nobody writes such a block.
pub(super) fn read_block(
    file: &dyn DiskFile,
    at: u64,
    block: &mut Vec<u8>,
) -> io::Result<(u64, u32)> {
    let mut bytes = file.read_from(at)?;
    let mut head = [0; BLOCK_HEAD];
    bytes.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let records = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let sum = u64::from_le_bytes(head[8..].try_into().unwrap_or_default());
    let end = at + BLOCK_HEAD as u64 + u64::from(length);
    // Before it is allocated: a damaged length may be anything.
    if end > file.length()? {
        return Err(damaged("a block ends beyond its file"));
    }
    block.clear();
    bytes.take(u64::from(length)).read_to_end(block)?;
    if block.is_empty() || block.len() != length as usize || checksum(block) != sum {
        return Err(damaged("the checksum of a block is another"));
    }
    Ok((end, records))
}

/// The records at the front of some bytes, up to what is none.
fn records_of(mut bytes: &[u8]) -> impl Iterator<Item = (Record<'_>, usize)> {
    std::iter::from_fn(move || {
        let (record, length) = Record::read(bytes)?;
        bytes = &bytes[length..];
        Some((record, length))
    })
}

/// Reads blocks one after the other, record by record.
#[derive(Debug)]
pub(crate) struct BlockReader {
    file: Box<dyn DiskFile>,
    at: u64,
    end: u64,
    block: Vec<u8>,
    next: usize,
}

impl BlockReader {
    /// Reads the blocks from one place of a file to another.
    pub(super) fn new(file: Box<dyn DiskFile>, at: u64, end: u64) -> Self {
        let block = Vec::new();
        Self {
            file,
            at,
            end,
            block,
            next: 0,
        }
    }

    /// Sees to it that there is a record to read; `false` at the end.
    ///
    /// # Errors
    /// `InvalidData` for a damaged block; what the file system says.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        while self.next == self.block.len() {
            if self.at >= self.end {
                return Ok(false);
            }
            let (end, records) = read_block(&*self.file, self.at, &mut self.block)?;
            let (mut found, mut bytes) = (0, 0);
            for (_, length) in records_of(&self.block) {
                found += 1;
                bytes += length;
            }
            // No row may be passed over in silence.
            if found != records || bytes != self.block.len() {
                return Err(damaged("a block has other records than its head says"));
            }
            self.at = end;
            self.next = 0;
        }
        Ok(true)
    }

    /// The next record of the block in memory; `None` at the block's end.
    pub(crate) fn peek(&self) -> Option<Record<'_>> {
        Some(Record::read(&self.block[self.next..])?.0)
    }

    /// The bytes of the next record of the block in memory.
    pub(super) fn peek_bytes(&self) -> Option<&[u8]> {
        let rest = &self.block[self.next..];
        let (_, length) = Record::read(rest)?;
        Some(&rest[..length])
    }

    /// Passes over the next record of the block in memory.
    pub(crate) fn pass(&mut self) {
        let rest = &self.block[self.next..];
        self.next += Record::read(rest).map_or(rest.len(), |(_, length)| length);
    }

    /// The records of the block in memory that were not passed.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        records_of(&self.block[self.next..]).map(|(record, _)| record)
    }

    /// Passes over so many records of the block in memory.
    pub(crate) fn pass_many(&mut self, records: usize) {
        (0..records).for_each(|_| self.pass());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_damaged_bit_changes_the_checksum() {
        let bytes: Vec<u8> = (0..203u8).collect();
        let whole = checksum(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&damaged), whole, "bit {bit}");
        }
        assert_ne!(checksum(&bytes[..202]), whole);
    }

    /// A file of these bytes, in a folder of its own.
    fn file_of(bytes: &[u8], folder: &std::path::Path) -> Box<dyn DiskFile> {
        let path = folder.join("blocks");
        std::fs::write(&path, bytes).unwrap();
        durable::Disk::open(&durable::OsDisk, &path).unwrap()
    }

    #[test]
    fn a_hole_of_zeros_and_a_block_with_other_records_are_damage_and_no_end_of_the_rows() {
        let at = TimeRow {
            time: EventTime::from_nanos(5).unwrap(),
            row: 1,
        };
        let mut whole = vec![0; BLOCK_HEAD];
        Record { at, framed: None }.append(&mut whole);
        seal(&mut whole, 1);
        let mut fewer = whole.clone();
        seal(&mut fewer, 2);
        let hole = vec![0; whole.len() / 16 * 16];
        for (blocks, is_whole) in [
            (whole.clone(), true),
            (hole.clone(), false),
            ([whole.clone(), hole].concat(), false),
            (fewer, false),
        ] {
            let end = blocks.len() as u64;
            let folder = tempfile::tempdir().unwrap();
            let mut reader = BlockReader::new(file_of(&blocks, folder.path()), 0, end);
            let read = (|| {
                while reader.fill()? {
                    reader.pass();
                }
                Ok::<(), io::Error>(())
            })();
            assert_eq!(read.is_ok(), is_whole, "{read:?}");
        }
    }

    #[test]
    fn records_come_back_as_they_went() {
        let at = TimeRow {
            time: EventTime::from_nanos(-5).unwrap(),
            row: u64::MAX,
        };
        let framed = Framed {
            event_id: EventId::from_bytes([7; 32]),
            ordering_key: 9,
            payload: b"{}",
        };
        let mut bytes = Vec::new();
        Record {
            at,
            framed: Some(framed),
        }
        .append(&mut bytes);
        Record { at, framed: None }.append(&mut bytes);
        let (record, length) = Record::read(&bytes).unwrap();
        assert_eq!((record.at, length), (at, RECORD_HEAD + 2));
        let framed = record.framed.unwrap();
        assert_eq!((framed.ordering_key, framed.payload), (9, &b"{}"[..]));
        let (record, _) = Record::read(&bytes[length..]).unwrap();
        assert!(record.framed.is_none());
        assert!(Record::read(&bytes[..length - 1]).is_none());
    }
}
