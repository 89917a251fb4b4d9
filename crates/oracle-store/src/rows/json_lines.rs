//! JSON lines from a position: one object a line, in bounded memory.

use bytes::Bytes;
use memchr::memchr;
use serde::de::IgnoredAny;

use super::source::PartSource;
use super::{JsonLines, ReadOptions};
use crate::error::{Error, ReasonCode};
use crate::store::HeldMemory;

/// How much of a part is read at once.
pub(super) const BLOCK_BYTES: usize = 256 << 10;
/// The longest line that is accepted.
const MAX_LINE_BYTES: usize = 16 << 20;

/// The lines of a part.
#[derive(Debug)]
pub(crate) struct LineRows {
    source: PartSource,
    options: ReadOptions,
    /// What has been read and not yet handed out, from `at` on.
    block: Bytes,
    at: usize,
    /// The position in the part up to which blocks have been read.
    read_to: u64,
    /// The index of the next line.
    row: u64,
    /// The first blank line, which is fine unless another line follows.
    blank: Option<u64>,
    /// What is wrong with the line after those just handed out.
    failed: Option<Error>,
    /// Memory for a line that is longer than a block.
    held: HeldMemory,
}

impl LineRows {
    pub(crate) fn open(source: PartSource, options: &ReadOptions) -> Result<Self, Error> {
        let whole = 0..source.size();
        source.plan(vec![whole], true)?;
        let held = source.memory().nothing();
        Ok(Self {
            held,
            source,
            options: *options,
            block: Bytes::new(),
            at: 0,
            read_to: 0,
            row: 0,
            blank: None,
            failed: None,
        })
    }

    /// The next lines and the index of their first, or none after the last.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u64, JsonLines)>, Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            let ranges = self.take_lines();
            if !ranges.is_empty() {
                let first_row = self.row - ranges.len() as u64;
                return Ok(Some((
                    first_row,
                    JsonLines {
                        bytes: self.block.clone(),
                        ranges,
                        times: None,
                    },
                )));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if !self.read_block()? {
                return self.finish();
            }
        }
    }

    /// Takes whole lines out of the block, up to a batch or the first bad one.
    fn take_lines(&mut self) -> Vec<(u32, u32)> {
        let mut ranges = Vec::new();
        let block = self.block.clone();
        while ranges.len() < self.options.batch_rows.max(1) {
            let rest = &block[self.at..];
            let at_end = self.read_to == self.source.size();
            let (length, step) = match memchr(b'\n', rest) {
                Some(length) => (length, length + 1),
                None if at_end && !rest.is_empty() => (rest.len(), rest.len()),
                None => break,
            };
            let line = rest[..length]
                .strip_suffix(b"\r")
                .unwrap_or(&rest[..length]);
            let range = (self.at as u32, (self.at + line.len()) as u32);
            match self.judge(line) {
                Ok(wanted) if wanted => ranges.push(range),
                Ok(_) => {}
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
            self.at += step;
        }
        ranges
    }

    /// Whether a line is to be handed out.
    fn judge(&mut self, line: &[u8]) -> Result<bool, Error> {
        if line.is_empty() {
            self.blank.get_or_insert(self.row);
            return Ok(false);
        }
        if let Some(blank) = self.blank {
            return Err(self.bad_line("is blank").row(blank));
        }
        let wanted = self.row >= self.options.from_row;
        if wanted {
            self.check_object(line)?;
        }
        self.row += 1;
        Ok(wanted)
    }

    fn check_object(&self, line: &[u8]) -> Result<(), Error> {
        let text = std::str::from_utf8(line)
            .map_err(|e| self.bad_line("is not UTF-8").row(self.row).because(e))?;
        if !text.trim_start().starts_with('{') {
            return Err(self.bad_line("is no JSON object").row(self.row));
        }
        serde_json::from_str::<IgnoredAny>(text).map_err(|source| {
            self.bad_line(&format!("is no JSON object ({source})"))
                .row(self.row)
                .because(source)
        })?;
        Ok(())
    }

    fn bad_line(&self, what: &str) -> Error {
        Error::new(ReasonCode::OracleReadFailed, format!("A line {what}"))
            .object(self.source.name())
    }

    /// Appends the next block to what is left of the last; false at the end of the part.
    fn read_block(&mut self) -> Result<bool, Error> {
        let length = (self.source.size() - self.read_to).min(BLOCK_BYTES as u64) as usize;
        if length == 0 {
            return Ok(false);
        }
        let left = &self.block[self.at..];
        if left.len() > MAX_LINE_BYTES {
            return Err(self.bad_line("is longer than 16 MiB").row(self.row));
        }
        // A long line is copied when it grows, and the rows before it are still there.
        let beyond = left.len().saturating_sub(BLOCK_BYTES) as u64 * 2;
        let held = self.held.resize(beyond, || "A line".to_owned());
        held.map_err(|error| error.object(self.source.name()).row(self.row))?;
        let next = self.source.read(self.read_to, length)?;
        self.block = if left.is_empty() {
            next
        } else {
            [left, &next].concat().into()
        };
        self.at = 0;
        self.read_to += length as u64;
        Ok(true)
    }

    fn finish(&self) -> Result<Option<(u64, JsonLines)>, Error> {
        if self.row < self.options.from_row {
            return Err(super::parquet_rows::past_the_end(
                &self.source,
                self.options.from_row,
                self.row,
            ));
        }
        Ok(None)
    }
}
