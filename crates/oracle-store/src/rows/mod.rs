//! Rows of one part from a position, for plain threads.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;

use crate::error::Error;
use crate::grant::ReadGrant;
use crate::locator::Part;
use crate::store::WorldStore;

/// From where rows are read, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// The first row, counted from 0 within the part.
    pub from_row: u64,
    /// The most rows of one batch; at least 1.
    pub batch_rows: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            from_row: 0,
            batch_rows: 1024,
        }
    }
}

/// Some rows of a part.
#[derive(Debug, Clone)]
pub struct RowBatch {
    /// The index of the first row within the part.
    pub first_row: u64,
    /// The rows, at least one.
    pub rows: Rows,
}

/// Rows as their part holds them.
#[derive(Debug, Clone)]
pub enum Rows {
    /// Rows of a Parquet part: every column, in file order.
    Arrow(RecordBatch),
    /// Rows of a JSON lines part.
    JsonLines(JsonLines),
}

impl Rows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Arrow(batch) => batch.num_rows(),
            Self::JsonLines(lines) => lines.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Lines of a JSON lines part, each one JSON object without its line end.
#[derive(Debug, Clone, Default)]
pub struct JsonLines {
    bytes: Bytes,
    ranges: Vec<(u32, u32)>,
}

impl JsonLines {
    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The lines, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.ranges
            .iter()
            .map(|&(start, end)| &self.bytes[start as usize..end as usize])
    }
}

/// What a part's footer says; of a JSON lines part, only its length.
#[derive(Debug, Clone)]
pub struct PartFooter {
    /// Rows of the part, if its format says so without reading them.
    pub rows: Option<u64>,
    /// Bytes of the part.
    pub bytes: u64,
    /// Row groups of the part.
    pub row_groups: usize,
    /// The columns, if the format has any.
    pub schema: Option<SchemaRef>,
}

/// The rows of one part, batch by batch.
#[derive(Debug)]
pub struct RowReader {}

impl Iterator for RowReader {
    type Item = Result<RowBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

/// One column of a part, batch by batch: the index of the first row, and the values.
#[derive(Debug)]
pub struct ColumnReader {}

impl Iterator for ColumnReader {
    type Item = Result<(u64, ArrayRef), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

/// Opens the rows of a part, from a row on. Blocks; call it from a plain thread.
///
/// Starting at the part's row count gives no rows; starting beyond it is an error.
///
/// # Errors
/// `READ_GRANT_MISMATCH` if the part is not of the granted output; `ORACLE_READ_FAILED`
/// if the part is unreadable, damaged, or not the one that was located.
pub fn open_rows(
    grant: &ReadGrant,
    part: &Part,
    options: &ReadOptions,
) -> Result<RowReader, Error> {
    let _ = (grant.store(), part, options);
    todo!()
}

/// Reads one column of a part and nothing else: inspection, for the time column only.
/// Needs no grant, since it never gives a payload. Blocks.
///
/// A part without the column gives nulls. The values of a JSON lines part are strings:
/// those of JSON strings as they are, others as their JSON text.
///
/// # Errors
/// As [`open_rows`], without the grant's.
pub fn read_column(
    store: &WorldStore,
    part: &Part,
    column: &str,
    options: &ReadOptions,
) -> Result<ColumnReader, Error> {
    let _ = (store, part, column, options);
    todo!()
}

/// Reads a part's footer. Blocks.
///
/// # Errors
/// `ORACLE_READ_FAILED` if the part is unreadable, damaged, or not the one located.
pub fn footer(store: &WorldStore, part: &Part) -> Result<PartFooter, Error> {
    let _ = (store, part);
    todo!()
}
