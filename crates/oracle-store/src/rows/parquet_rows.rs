//! Parquet rows from a position.
//!
//! Row groups before the position are skipped by the footer; within its row group,
//! whole pages are skipped by their headers or the offset index, without decoding.
//! One row group is open at a time, one page of each column in memory.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelectionPolicy,
};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::ReadOptions;
use super::logical_types::{LogicalTypes, first_wrapped};
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

    fn read_as(&self, schema: SchemaRef) -> Result<ArrowReaderMetadata, Error> {
        with_schema(&self.source, &self.metadata, schema)
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
        let int96 = self.types.int96_of(&columns);
        let in_seconds = (!int96.is_empty())
            .then(|| self.read_as(self.types.in_seconds(self.metadata.schema())))
            .transpose()?;
        Ok(ParquetRows {
            part: self,
            int96,
            in_seconds,
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
    /// The INT96 leaves among the columns.
    int96: Vec<usize>,
    /// How those are read a second time, in seconds, to find values that wrapped.
    in_seconds: Option<ArrowReaderMetadata>,
    batch_rows: usize,
    /// The index of the next row.
    position: u64,
    next_group: usize,
    /// Rows to skip in the next row group.
    skip: u64,
    group: Option<OpenGroup>,
}

struct OpenGroup {
    rows: ParquetRecordBatchReader,
    /// The same rows with their INT96 columns alone, in seconds.
    seconds: Option<ParquetRecordBatchReader>,
    /// The index of the row after the row group's last.
    end: u64,
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

    /// A batch as it is shown, once no INT96 timestamp of it is found to have wrapped.
    fn checked(&mut self, batch: RecordBatch) -> Result<RecordBatch, Error> {
        if let Some(seconds) = self.group.as_mut().and_then(|group| group.seconds.as_mut()) {
            let source = &self.part.source;
            let seconds = source.decode(DAMAGED_ROWS, || seconds.next().transpose());
            let seconds = seconds.map_err(|error| error.row(self.position))?;
            let Some(seconds) = seconds.filter(|read| read.num_rows() == batch.num_rows()) else {
                let what = "The part's INT96 columns have fewer rows than the others";
                return Err(Error::new(ReasonCode::OracleReadFailed, what)
                    .object(source.name())
                    .row(self.position));
            };
            let wrapped = first_wrapped((&batch, &self.columns), (&seconds, &self.int96));
            if let Some(wrapped) = wrapped {
                let what = "An INT96 timestamp lies outside the years 1677 to 2262 and cannot be \
                            read exactly; write the column as INT64 timestamps";
                let column = self.part.metadata.parquet_schema().column(wrapped.leaf);
                return Err(Error::new(ReasonCode::OracleReadFailed, what)
                    .object(source.name())
                    .row(self.position + wrapped.row.unwrap_or_default() as u64)
                    .field(column.path().string()));
            }
        }
        let types = &self.part.types;
        let shown = self.part.source.decode(DAMAGED_ROWS, || types.show(batch));
        shown.map_err(|error| error.row(self.position))
    }

    fn open_next_group(&mut self) -> Result<OpenGroup, Error> {
        let group = self.next_group;
        let skip = std::mem::take(&mut self.skip);
        self.next_group += 1;
        let chunks = self.chunks_of(group)?;
        self.part.source.plan(chunks, skip == 0)?;
        let rows = self.open_group(group, skip, &self.part.metadata, self.columns.clone())?;
        let seconds = self.in_seconds.as_ref().map(|metadata| {
            let int96 = ProjectionMask::leaves(metadata.parquet_schema(), self.int96.clone());
            self.open_group(group, skip, metadata, int96)
        });
        Ok(OpenGroup {
            rows,
            seconds: seconds.transpose()?,
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
