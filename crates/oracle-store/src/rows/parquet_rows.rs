//! Parquet rows from a position.
//!
//! Row groups before the position are skipped by the footer; within its row group,
//! whole pages are skipped by their headers or the offset index, without decoding.
//! One row group is open at a time, one page of each column in memory.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{SchemaRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelectionPolicy,
};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::ReadOptions;
use super::int96::{self, Leaves};
use super::logical_types::LogicalTypes;
use super::parquet_footer::{read_footer, with_schema};
use super::source::PartSource;
use crate::error::{Error, ReasonCode};

const DAMAGED_ROWS: &str = "The part's rows cannot be decoded";

/// A page and a dictionary as large as writers make them by default.
const OPEN_COLUMN_BYTES: u64 = 2 << 20;
/// What the reader of a column holds beside its page, whatever is in it.
const READER_BYTES: u64 = 6 << 10;
/// What a column's decompressor holds, where the codec has one.
const DECODER_BYTES: u64 = 34 << 10;
/// What the rows of a batch take at most, decoded, if one row takes no more.
const BATCH_BYTES: u64 = 4 << 20;
/// Rows that a batch has, about, where they are small.
const BATCH_ROWS: u64 = 1_024;

/// A Parquet part whose footer has been read.
#[derive(Debug)]
pub(crate) struct ParquetPart {
    source: PartSource,
    metadata: ArrowReaderMetadata,
    types: LogicalTypes,
    /// Rows of each row group.
    group_rows: Arc<[u64]>,
    rows: u64,
}

impl ParquetPart {
    /// Reads the footer of a part.
    pub(crate) fn open(source: PartSource) -> Result<Self, Error> {
        let (metadata, types) = read_footer(&source, false)?;
        let groups = metadata.metadata().row_groups().iter();
        let group_rows: Option<Arc<[u64]>> = groups.map(rows_of_group).collect();
        let rows = group_rows.as_deref().and_then(|groups| {
            groups
                .iter()
                .try_fold(0_u64, |sum, &rows| sum.checked_add(rows))
        });
        let (Some(group_rows), Some(rows)) = (group_rows, rows) else {
            let what = "The part's footer contradicts itself about the number of rows";
            return Err(Error::new(ReasonCode::OracleReadFailed, what).object(source.name()));
        };
        Ok(Self {
            source,
            metadata,
            types,
            group_rows,
            rows,
        })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn row_groups(&self) -> usize {
        self.group_rows.len()
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        let read = self.metadata.schema();
        self.types.shown_schema().unwrap_or(read)
    }

    /// What reading all columns holds at once, about, in bytes: of the largest row group,
    /// the open page of each column and its dictionary, decompressed, what decompresses
    /// and decodes them, and the rows of a batch.
    pub(crate) fn read_bytes(&self) -> u64 {
        let group_bytes = |group: &RowGroupMetaData| -> u64 {
            let rows = (group.num_rows().max(1)) as u64;
            let open = group.columns().iter().map(|column| {
                let page = OPEN_COLUMN_BYTES.max(decoded_bytes(column).div_ceil(rows));
                let decoder = match column.compression() {
                    Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::LZ4_RAW => 0,
                    _ => DECODER_BYTES,
                };
                encoded_bytes(column).min(page) + READER_BYTES + decoder
            });
            let row_bytes = group_bytes_of(group, |_| true).div_ceil(rows);
            let batch_rows = batch_rows(row_bytes, BATCH_ROWS.min(rows));
            open.sum::<u64>() + row_bytes * batch_rows
        };
        let groups = self.metadata.metadata().row_groups().iter();
        groups.map(group_bytes).max().unwrap_or_default()
    }

    /// The mask of one top-level column, if the part has it.
    pub(crate) fn only_column(&self, column: &str) -> Option<ProjectionMask> {
        let (index, _) = self.schema().column_with_name(column)?;
        Some(ProjectionMask::roots(
            self.metadata.parquet_schema(),
            [index],
        ))
    }

    /// The mask of no column: batches have only their length.
    pub(crate) fn no_column(&self) -> ProjectionMask {
        ProjectionMask::none(self.metadata.parquet_schema().num_columns())
    }

    /// How the INT96 columns among the wanted ones are read again, if there are any.
    fn int96_of(&self, columns: &ProjectionMask) -> Result<Option<Int96Columns>, Error> {
        let leaves = self.types.int96_of(columns);
        if leaves.is_empty() {
            return Ok(None);
        }
        let read_in = |unit| {
            let schema = self.types.int96_in(unit, self.metadata.schema());
            with_schema(&self.source, &self.metadata, schema)
        };
        let nanos = !self.types.are_in_nanos();
        Ok(Some(Int96Columns {
            columns: int96::columns_with(&leaves, self.metadata.parquet_schema()),
            seconds: read_in(TimeUnit::Second)?,
            nanos: nanos.then(|| read_in(TimeUnit::Nanosecond)).transpose()?,
            leaves,
        }))
    }

    /// The rows from a position on.
    pub(crate) fn read(
        mut self,
        options: &ReadOptions,
        columns: ProjectionMask,
    ) -> Result<ParquetRows, Error> {
        let (mut next_group, mut skip) = (0, options.from_row);
        while let Some(&rows) = self
            .group_rows
            .get(next_group)
            .filter(|&&rows| rows <= skip)
        {
            skip -= rows;
            next_group += 1;
        }
        if next_group == self.row_groups() && skip > 0 {
            return Err(past_the_end(&self.source, options.from_row, self.rows()));
        }
        if skip > 0 {
            (self.metadata, self.types) = read_footer(&self.source, true)?;
        }
        let int96 = self.int96_of(&columns)?;
        Ok(ParquetRows {
            part: self,
            int96,
            columns,
            batch_rows: options.batch_rows.max(1),
            position: options.from_row,
            next_group,
            skip,
            group: None,
        })
    }
}

/// The bytes of a column's pages, decompressed.
fn encoded_bytes(column: &ColumnChunkMetaData) -> u64 {
    column.uncompressed_size().max(0) as u64
}

/// The bytes of a column's values, about: a dictionary makes its pages smaller than them.
fn decoded_bytes(column: &ColumnChunkMetaData) -> u64 {
    let values = column.unencoded_byte_array_data_bytes().unwrap_or(0);
    encoded_bytes(column).max(values.max(0) as u64)
}

fn group_bytes_of(group: &RowGroupMetaData, wanted: impl Fn(usize) -> bool) -> u64 {
    let columns = group.columns().iter().enumerate();
    let wanted = columns.filter(|(leaf, _)| wanted(*leaf));
    wanted.map(|(_, column)| decoded_bytes(column)).sum()
}

/// How many rows of some bytes to decode at once, of as many as are wanted: so many that
/// they stay near [`BATCH_BYTES`], and at least one.
fn batch_rows(row_bytes: u64, wanted: u64) -> u64 {
    (BATCH_BYTES / row_bytes.max(1)).min(wanted).max(1)
}

/// The rows of a row group, if its flat columns have as many values: one that states fewer
/// would be cut short in silence.
fn rows_of_group(group: &RowGroupMetaData) -> Option<u64> {
    let mut flat = group
        .columns()
        .iter()
        .filter(|c| c.column_descr().max_rep_level() == 0);
    let agree = flat.all(|column| column.num_values() == group.num_rows());
    u64::try_from(group.num_rows()).ok().filter(|_| agree)
}

pub(crate) fn past_the_end(source: &PartSource, from_row: u64, rows: u64) -> Error {
    let what = format!("The part has {rows} rows and cannot be read on from");
    Error::new(ReasonCode::OracleReadFailed, what)
        .object(source.name())
        .row(from_row)
}

/// The rows of a part, one row group after the other.
pub(crate) struct ParquetRows {
    part: ParquetPart,
    columns: ProjectionMask,
    int96: Option<Int96Columns>,
    batch_rows: usize,
    /// The index of the next row.
    position: u64,
    next_group: usize,
    /// Rows to skip in the next row group.
    skip: u64,
    group: Option<OpenGroup>,
}

/// INT96 columns, and how they are read again to find values that are not exact.
struct Int96Columns {
    leaves: Vec<usize>,
    columns: ProjectionMask,
    seconds: ArrowReaderMetadata,
    /// None where the rows themselves have nanoseconds.
    nanos: Option<ArrowReaderMetadata>,
}

struct OpenGroup {
    rows: ParquetRecordBatchReader,
    /// The same rows with their INT96 columns alone.
    int96: Option<OpenInt96>,
    /// The index of the row after the row group's last.
    end: u64,
}

struct OpenInt96 {
    seconds: ParquetRecordBatchReader,
    nanos: Option<ParquetRecordBatchReader>,
}

impl std::fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetRows")
            .field("part", &self.part.source.name())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl ParquetRows {
    pub(crate) fn read_bytes(&self) -> u64 {
        self.part.read_bytes()
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.part.schema()
    }

    /// The next rows and the index of their first, or none after the last.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u64, RecordBatch)>, Error> {
        loop {
            let Some(group) = &mut self.group else {
                if self.next_group == self.part.row_groups() {
                    return Ok(None);
                }
                self.group = Some(self.open_next_group()?);
                continue;
            };
            let next = self
                .part
                .source
                .decode(DAMAGED_ROWS, || group.rows.next().transpose());
            match next.map_err(|error| error.row(self.position))? {
                Some(batch) => {
                    let first_row = self.position;
                    let batch = self.checked(batch)?;
                    self.position += batch.num_rows() as u64;
                    return Ok(Some((first_row, batch)));
                }
                None if self.position == group.end => self.group = None,
                None => {
                    let what = format!(
                        "The row group ends {} rows early",
                        group.end - self.position
                    );
                    return Err(Error::new(ReasonCode::OracleReadFailed, what)
                        .object(self.part.source.name())
                        .row(self.position));
                }
            }
        }
    }

    /// A batch as it is shown, once its INT96 timestamps are found to be exact.
    fn checked(&mut self, batch: RecordBatch) -> Result<RecordBatch, Error> {
        self.check_int96(&batch)?;
        let types = &self.part.types;
        let shown = self.part.source.decode(DAMAGED_ROWS, || types.show(batch));
        shown.map_err(|error| error.row(self.position))
    }

    fn check_int96(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let Some(int96) = &self.int96 else {
            return Ok(());
        };
        let (source, schema) = (&self.part.source, self.part.metadata.parquet_schema());
        let refused = |fault: int96::Fault| {
            let row = self.position + fault.row.unwrap_or_default() as u64;
            let error = Error::new(ReasonCode::OracleReadFailed, fault.what)
                .object(source.name())
                .row(row);
            match fault.leaf {
                Some(leaf) => error.field(schema.column(leaf).path().string()),
                None => error,
            }
        };
        let Some(open) = self.group.as_mut().and_then(|group| group.int96.as_mut()) else {
            return Err(refused(int96::Fault::unknown(None)));
        };
        let again = |rows: &mut ParquetRecordBatchReader| {
            let rows = source.decode(DAMAGED_ROWS, || rows.next().transpose());
            let rows = rows.map_err(|error| error.row(self.position))?;
            let rows = rows.filter(|rows| rows.num_rows() == batch.num_rows());
            let rows = rows.ok_or_else(|| refused(int96::Fault::unknown(None)))?;
            Leaves::of(&rows, &int96.columns, schema.num_columns()).map_err(refused)
        };
        let seconds = again(&mut open.seconds)?;
        let nanos = open.nanos.as_mut().map(again).transpose()?;
        let rows = Leaves::of(batch, &self.columns, schema.num_columns()).map_err(refused)?;
        let count = batch.num_rows();
        int96::check(&int96.leaves, &rows, &seconds, nanos.as_ref(), count).map_err(refused)
    }

    fn open_next_group(&mut self) -> Result<OpenGroup, Error> {
        let group = self.next_group;
        let skip = std::mem::take(&mut self.skip);
        self.next_group += 1;
        let chunks = self.chunks_of(group)?;
        self.part.source.plan(chunks, skip == 0)?;
        let rows = self.open_group(group, skip, &self.part.metadata, self.columns.clone())?;
        let int96 = self.int96.as_ref().map(|int96| {
            let open = |read| self.open_group(group, skip, read, int96.columns.clone());
            Ok(OpenInt96 {
                seconds: open(&int96.seconds)?,
                nanos: int96.nanos.as_ref().map(open).transpose()?,
            })
        });
        Ok(OpenGroup {
            rows,
            int96: int96.transpose()?,
            end: self.position + self.part.group_rows[group] - skip,
        })
    }

    /// How many rows of a row group are decoded at once. By bytes, so that rows of any size
    /// take as much memory; the same for all columns of one reader and its check.
    fn batch_rows_of(&self, group: usize) -> usize {
        let group = self.part.metadata.metadata().row_group(group);
        let bytes = group_bytes_of(group, |leaf| self.columns.leaf_included(leaf));
        let row_bytes = bytes.div_ceil((group.num_rows().max(1)) as u64);
        batch_rows(row_bytes, self.batch_rows as u64) as usize
    }

    fn open_group(
        &self,
        group: usize,
        skip: u64,
        metadata: &ArrowReaderMetadata,
        columns: ProjectionMask,
    ) -> Result<ParquetRecordBatchReader, Error> {
        let source = self.part.source.clone();
        let opened = self.part.source.decode(DAMAGED_ROWS, || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(source, metadata.clone())
                .with_row_groups(vec![group])
                .with_projection(columns)
                .with_batch_size(self.batch_rows_of(group))
                .with_row_selection_policy(RowSelectionPolicy::Selectors)
                .with_offset(skip as usize)
                .build()
        });
        opened.map_err(|error| error.row(self.position))
    }

    /// Where the chunks of the wanted columns lie.
    fn chunks_of(&self, group: usize) -> Result<Vec<Range<u64>>, Error> {
        self.part.source.decode(DAMAGED_ROWS, || {
            let columns = self
                .part
                .metadata
                .metadata()
                .row_group(group)
                .columns()
                .iter();
            let wanted = columns
                .enumerate()
                .filter(|(i, _)| self.columns.leaf_included(*i));
            let ranges = wanted.map(|(_, column)| {
                let (start, length) = column.byte_range();
                start..start.saturating_add(length).min(self.part.source.size())
            });
            Ok::<_, ParquetError>(ranges.filter(|range| !range.is_empty()).collect())
        })
    }
}
