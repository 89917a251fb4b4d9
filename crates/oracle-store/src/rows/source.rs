//! The bytes of one pinned part, by range, for synchronous decoders.

use std::io::{BufReader, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::containment::contain;
use crate::error::{Error, ReasonCode};
use crate::part::Part;
use crate::store::{PinnedObject, ReadMemory, WorldStore};

/// Read ahead of a page header; most are far smaller.
pub(crate) const HEADER_BYTES: usize = 2 << 10;

/// Reads on from one position of a part, ahead by a page's header.
pub(crate) type SourceReader = BufReader<SourceCursor>;

/// A part that is open for reading. Cheap to clone; clones share one failure slot.
#[derive(Debug, Clone)]
pub(crate) struct PartSource {
    object: PinnedObject,
    name: Arc<str>,
    memory: ReadMemory,
    /// The first failed read: decoders keep only the text of an error.
    failure: Arc<Mutex<Option<Error>>>,
}

impl PartSource {
    pub(crate) fn open(store: &WorldStore, part: &Part) -> Result<Self, Error> {
        Ok(Self {
            object: store.open_pinned(part.path(), part.pin())?,
            name: store.full_name(part.path()).into(),
            memory: store.memory().clone(),
            failure: Arc::default(),
        })
    }

    /// The part's full name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the readers of the part's world may hold.
    pub(crate) fn memory(&self) -> &ReadMemory {
        &self.memory
    }

    /// The part's length in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.object.size()
    }

    /// Reads exactly the bytes of a range.
    pub(crate) fn read(&self, start: u64, length: usize) -> Result<Bytes, Error> {
        if start
            .checked_add(length as u64)
            .is_none_or(|end| end > self.size())
        {
            let what = format!("The part ends before byte {start} + {length}");
            return Err(Error::new(ReasonCode::OracleReadFailed, what).object(self.name()));
        }
        self.object.read(start, length)
    }

    /// The error of a decoder: the read that failed below it, if one did, else the
    /// decoder's own, which means that the part is damaged.
    pub(crate) fn damaged(
        &self,
        what: &str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        let failed_read = self.failure.lock().ok().and_then(|mut slot| slot.take());
        failed_read.unwrap_or_else(|| {
            Error::new(ReasonCode::OracleReadFailed, format!("{what} ({source})"))
                .object(self.name())
                .because(source)
        })
    }

    /// Runs a step of a decoder. The Parquet decoder panics on some damaged pages (a
    /// dictionary of zero values is enough); here that is an error like any other, and
    /// the caller drops the decoder.
    pub(crate) fn decode<T, E: std::error::Error + Send + Sync + 'static>(
        &self,
        what: &str,
        step: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error> {
        match contain(step) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(self.damaged(what, source)),
            Err(message) => {
                let what = format!("{what} at all: the decoder gave up ({message})");
                Err(Error::new(ReasonCode::OracleReadFailed, what).object(self.name()))
            }
        }
    }

    /// Announces which ranges are read next, and whether each from its start.
    pub(crate) fn plan(&self, ranges: Vec<Range<u64>>, from_start: bool) -> Result<(), Error> {
        self.object.plan(ranges, from_start)
    }

    /// Keeps a failed read for [`damaged`](Self::damaged), and gives decoders its text.
    pub(crate) fn remember(&self, error: Error) -> ParquetError {
        let text = error.to_string();
        if let Ok(mut slot) = self.failure.lock() {
            slot.get_or_insert(error);
        }
        ParquetError::General(text)
    }
}

impl Length for PartSource {
    fn len(&self) -> u64 {
        self.size()
    }
}

impl ChunkReader for PartSource {
    type T = SourceReader;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let cursor = SourceCursor {
            source: self.clone(),
            at: start,
        };
        Ok(BufReader::with_capacity(HEADER_BYTES, cursor))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.read(start, length)
            .map_err(|error| self.remember(error))
    }
}

/// Reads on from one position of a part.
#[derive(Debug)]
pub(crate) struct SourceCursor {
    source: PartSource,
    at: u64,
}

impl Read for SourceCursor {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.source.size().saturating_sub(self.at);
        let length = left.min(buffer.len() as u64) as usize;
        if length == 0 {
            return Ok(0);
        }
        let read = self.source.object.read_some(self.at, &mut buffer[..length]);
        let length =
            read.map_err(|error| std::io::Error::other(self.source.remember(error).to_string()))?;
        self.at += length as u64;
        Ok(length)
    }
}
