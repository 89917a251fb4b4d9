//! One object that is open for ranged reads, on disk or in a bucket.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::pinned_file::PinnedFile;
use super::windows::RemotePart;
use crate::error::Error;

/// An object that is open for ranged reads from plain threads, each held to its pin.
#[derive(Debug, Clone)]
pub(crate) enum PinnedObject {
    File(Arc<PinnedFile>),
    Remote(Arc<RemotePart>),
}

impl PinnedObject {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size(),
            Self::Remote(part) => part.size(),
        }
    }

    /// Reads exactly the bytes of a range within the object. Blocks.
    pub(crate) fn read(&self, start: u64, length: usize) -> Result<Bytes, Error> {
        match self {
            Self::File(file) => file.read_exact_at(start, length),
            Self::Remote(part) => part.read(start, length),
        }
    }

    /// Fills a buffer from `start` on with what comes cheaply, at least one byte; says how
    /// many. The range must lie within the object. Blocks.
    pub(crate) fn read_some(&self, start: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        match self {
            Self::File(file) => file.fill_at(start, buffer).map(|()| buffer.len()),
            Self::Remote(part) => {
                let bytes = part.bytes_at(start, 1)?;
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                Ok(length)
            }
        }
    }

    /// Announces which ranges are read next, and whether each from its start. A file needs
    /// no such hint: the kernel reads ahead.
    pub(crate) fn plan(&self, ranges: Vec<Range<u64>>, from_start: bool) -> Result<(), Error> {
        match self {
            Self::File(_) => Ok(()),
            Self::Remote(part) => part.plan(ranges, from_start),
        }
    }
}
