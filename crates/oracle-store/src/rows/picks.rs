//! Which rows of a part are wanted, before most of their columns are read.
//!
//! Of each row group the few columns that decide are read first, batch by batch; what is left of
//! them is one bit a row. Then the other columns are read of the rows that are wanted only: Arrow's
//! reader passes over the pages and values of the others. A row keeps its number in the part.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use parquet::arrow::arrow_reader::RowSelection;

use crate::error::{Error, ReasonCode};

/// Says which rows of a part are wanted.
pub trait KeepRows: Send + fmt::Debug {
    /// The columns that decide.
    fn columns(&self) -> &[String];

    /// Says of each row of a batch, in order, whether it is wanted. The batch has the columns that
    /// decide, those of them that the part has, and may have others.
    fn rows(&mut self, batch: &RecordBatch, say: &mut dyn FnMut(bool));

    /// Whether a line, or the payload of a stream view, is wanted.
    fn line(&mut self, line: &[u8]) -> bool;
}

/// The numbers of some rows within their part. The default is consecutive rows from 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowNumbers(Numbers);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Numbers {
    From(u64),
    Listed(Arc<[u64]>),
}

impl Default for RowNumbers {
    fn default() -> Self {
        Self::from(0)
    }
}

impl From<u64> for RowNumbers {
    /// Consecutive rows from this one on.
    fn from(first: u64) -> Self {
        Self(Numbers::From(first))
    }
}

impl RowNumbers {
    /// Rows of these numbers, in rising order unless the rows were sorted.
    pub fn listed(rows: impl Into<Arc<[u64]>>) -> Self {
        Self(Numbers::Listed(rows.into()))
    }

    /// The number of the row at a place, from 0, among the rows.
    ///
    /// # Panics
    /// If rows that are not consecutive have none at that place.
    pub fn row(&self, place: usize) -> u64 {
        match &self.0 {
            Numbers::From(first) => first + place as u64,
            Numbers::Listed(rows) => rows[place],
        }
    }

    /// The first number, if the rows are consecutive by construction.
    pub fn consecutive_from(&self) -> Option<u64> {
        match &self.0 {
            Numbers::From(first) => Some(*first),
            Numbers::Listed(_) => None,
        }
    }

    /// The numbers of the rows from a place on.
    #[must_use]
    pub fn from_place(&self, place: usize) -> Self {
        match &self.0 {
            Numbers::From(first) => Self::from(first + place as u64),
            Numbers::Listed(rows) => Self::listed(&rows[place..]),
        }
    }
}

/// The columns of a part that decide, batch by batch, each within one row group.
pub(super) trait KeyBatches: Send + fmt::Debug {
    /// The next rows; `None` after the last.
    fn next_keys(&mut self) -> Result<Option<RecordBatch>, Error>;

    /// The part's full name.
    fn name(&self) -> &str;
}

/// The wanted rows of a part, one row group after the other.
#[derive(Debug)]
pub(super) struct Picks {
    keep: Box<dyn KeepRows>,
    keys: Box<dyn KeyBatches>,
}

impl Picks {
    pub(super) fn new(keep: Box<dyn KeepRows>, keys: Box<dyn KeyBatches>) -> Self {
        Self { keep, keys }
    }

    /// Which of the next `rows` rows are wanted; the first of them is `first`.
    pub(super) fn of_rows(&mut self, first: u64, rows: u64) -> Result<Wanted, Error> {
        let Self { keep, keys } = self;
        let mut mask = BooleanBufferBuilder::new(0);
        while (mask.len() as u64) < rows {
            let Some(batch) = keys.next_keys()? else {
                let what = "The columns of the key end early";
                return Err(Error::new(ReasonCode::OracleReadFailed, what)
                    .object(keys.name())
                    .row(first + mask.len() as u64));
            };
            let before = mask.len();
            keep.rows(&batch, &mut |is_wanted| mask.append(is_wanted));
            // A row that nothing was said of is wanted, so that none is lost.
            let missing = (before + batch.num_rows()).saturating_sub(mask.len());
            mask.append_n(missing, true);
        }
        let mask = mask.finish();
        Ok(Wanted {
            count: mask.count_set_bits(),
            first,
            mask,
        })
    }
}

/// The wanted rows of a row group.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The number of the row of the first bit.
    first: u64,
    mask: BooleanBuffer,
    count: usize,
}

impl Wanted {
    fn from(&self, row: u64) -> BooleanBuffer {
        let place = (row.saturating_sub(self.first) as usize).min(self.mask.len());
        self.mask.slice(place, self.mask.len() - place)
    }

    /// How many rows are wanted from a row on.
    pub(super) fn rows_from(&self, row: u64) -> u64 {
        self.from(row).count_set_bits() as u64
    }

    /// The numbers of the next wanted rows from a row on; `None` if there are fewer.
    pub(super) fn next(&self, row: u64, rows: usize) -> Option<RowNumbers> {
        let places = self.from(row);
        let numbers: Arc<[u64]> = places
            .set_indices()
            .take(rows)
            .map(|place| row + place as u64)
            .collect();
        (numbers.len() == rows).then(|| RowNumbers::listed(numbers))
    }

    /// How many wanted rows are among so many rows, on average; at least one.
    pub(super) fn share_of(&self, rows: usize) -> usize {
        let share = rows as u128 * self.count as u128 / self.mask.len().max(1) as u128;
        (share as usize).max(1)
    }

    /// The wanted rows from a row on, behind the first `skip` rows of the row group.
    pub(super) fn selection(&self, row: u64, skip: u64) -> RowSelection {
        let rest = self.from(row);
        let mut mask = BooleanBufferBuilder::new(skip as usize + rest.len());
        mask.append_n(skip as usize, false);
        mask.append_buffer(&rest);
        RowSelection::from_boolean_buffer(mask.finish())
    }
}
