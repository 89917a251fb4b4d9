//! Parquet rows from a position.
//!
//! Row groups before the position are skipped by the footer; within its row group,
//! whole pages are skipped by their headers or the offset index, without decoding.
//! One row group is open at a time, one page of each column in memory.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, RowSelection, RowSelector,
};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::FileReader;

use super::int96::{self, Leaves};
use super::logical_types::LogicalTypes;
use super::page_values::ColumnShape;
use super::pages::{BatchMemory, BoundedGroup};
use super::parquet_footer::{Footer, read_footer, with_schema};
use super::picks::{KeyBatches, Picks, Wanted};
use super::source::PartSource;
use super::{ReadOptions, RowNumbers, estimate};
use crate::error::{Error, ReasonCode};

const DAMAGED_ROWS: &str = "The part's rows cannot be decoded";

/// A Parquet part whose footer has been read.
#[derive(Debug)]
pub(crate) struct ParquetPart {
    source: PartSource,
    footer: Footer,
    shapes: Arc<[ColumnShape]>,
    /// Rows of each row group.
    group_rows: Arc<[u64]>,
    rows: u64,
}

impl ParquetPart {
    /// Reads the footer of a part.
    pub(crate) fn open(source: PartSource) -> Result<Self, Error> {
        let footer = read_footer(&source, false)?;
        let groups = footer.metadata.metadata().row_groups().iter();
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
        let (parquet, read) = (footer.metadata.parquet_schema(), footer.metadata.schema());
        let shapes = source.decode(DAMAGED_ROWS, || {
            Ok::<_, ParquetError>(LogicalTypes::shapes(parquet, read))
        })?;
        Ok(Self {
            source,
            footer,
            shapes,
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
        let read = self.footer.metadata.schema();
        self.footer.types.shown_schema().unwrap_or(read)
    }

    /// What reading all columns holds at once, about, in bytes: of the largest row group.
    pub(crate) fn read_bytes(&self) -> u64 {
        let groups = self.footer.metadata.metadata().row_groups().iter();
        let bytes = groups.map(|group| estimate::group_bytes(group, &self.shapes));
        bytes.max().unwrap_or_default()
    }

    /// What framing a row takes by the estimate, in bytes; 0 where rows are small.
    pub(crate) fn framed_bytes(&self) -> u64 {
        let groups = self.footer.metadata.metadata().row_groups().iter();
        let rows = groups.map(|group| estimate::row_bytes(group, &self.shapes, |_| true));
        rows.map(estimate::framed_bytes).max().unwrap_or_default()
    }

    /// The mask of one top-level column, if the part has it.
    pub(crate) fn only_column(&self, column: &str) -> Option<ProjectionMask> {
        let (index, _) = self.schema().column_with_name(column)?;
        Some(ProjectionMask::roots(
            self.footer.metadata.parquet_schema(),
            [index],
        ))
    }

    /// The mask of no column: batches have only their length.
    pub(crate) fn no_column(&self) -> ProjectionMask {
        ProjectionMask::none(self.footer.metadata.parquet_schema().num_columns())
    }

    /// How the INT96 columns among the wanted ones are read again, if there are any.
    fn int96_of(&self, columns: &ProjectionMask) -> Result<Option<Int96Columns>, Error> {
        let leaves = self.footer.types.int96_of(columns);
        if leaves.is_empty() {
            return Ok(None);
        }
        let columns = int96::columns_with(&leaves, self.footer.metadata.parquet_schema());
        let read_in = |unit| {
            let schema = self
                .footer
                .types
                .int96_in(unit, self.footer.metadata.schema());
            let metadata = with_schema(&self.source, &self.footer.metadata, schema)?;
            self.view(&metadata, columns.clone())
        };
        let nanos = !self.footer.types.are_in_nanos();
        Ok(Some(Int96Columns {
            seconds: read_in(TimeUnit::Second)?,
            nanos: nanos.then(|| read_in(TimeUnit::Nanosecond)).transpose()?,
            columns,
            leaves,
        }))
    }

    /// Some columns of the part, as a footer reads them.
    fn view(
        &self,
        metadata: &ArrowReaderMetadata,
        columns: ProjectionMask,
    ) -> Result<FieldLevels, Error> {
        let hint = Some(metadata.schema().fields());
        self.source.decode(DAMAGED_ROWS, || {
            parquet_to_arrow_field_levels(metadata.parquet_schema(), columns, hint)
        })
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
            self.footer = read_footer(&self.source, true)?;
        }
        let int96 = self.int96_of(&columns)?;
        let rows = self.view(&self.footer.metadata, columns.clone())?;
        Ok(ParquetRows {
            part: self,
            int96,
            rows,
            columns,
            batch_rows: options.batch_rows.max(1),
            most_rows: usize::MAX,
            position: options.from_row,
            next_group,
            skip,
            group: None,
            picks: None,
        })
    }

    /// The mask of some top-level columns, those of them that the part has; `None` without any.
    pub(crate) fn some_columns(&self, names: &[String]) -> Option<ProjectionMask> {
        let found = names.iter().filter_map(|name| {
            let (index, _) = self.schema().column_with_name(name)?;
            Some(index)
        });
        let found: Vec<usize> = found.collect();
        let parquet = self.footer.metadata.parquet_schema();
        (!found.is_empty()).then(|| ProjectionMask::roots(parquet, found))
    }
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
    /// How the wanted columns are read.
    rows: FieldLevels,
    int96: Option<Int96Columns>,
    batch_rows: usize,
    /// The most rows of a batch, once larger ones turned out to take too much.
    most_rows: usize,
    /// The index of the next row.
    position: u64,
    next_group: usize,
    /// Rows to skip in the next row group.
    skip: u64,
    group: Option<OpenGroup>,
    /// What says which rows are wanted; `None` where all are.
    picks: Option<Picks>,
}

/// INT96 columns, and how they are read again to find values that are not exact.
struct Int96Columns {
    leaves: Vec<usize>,
    columns: ProjectionMask,
    seconds: FieldLevels,
    /// None where the rows themselves have nanoseconds.
    nanos: Option<FieldLevels>,
}

struct OpenGroup {
    rows: ParquetRecordBatchReader,
    /// The same rows with their INT96 columns alone.
    int96: Option<OpenInt96>,
    batch: Arc<BatchMemory>,
    /// The row group's number.
    number: usize,
    /// The index of the row after the row group's last.
    end: u64,
    /// The rows of the row group that are wanted; `None` where all are.
    wanted: Option<Wanted>,
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

impl KeyBatches for ParquetRows {
    fn next_keys(&mut self) -> Result<Option<RecordBatch>, Error> {
        Ok(self.next_batch()?.map(|(_, batch)| batch))
    }

    fn name(&self) -> &str {
        self.part.source.name()
    }
}

impl ParquetRows {
    pub(crate) fn read_bytes(&self) -> u64 {
        self.part.read_bytes()
    }

    pub(crate) fn framed_bytes(&self) -> u64 {
        self.part.framed_bytes()
    }

    /// The part's full name.
    pub(crate) fn name(&self) -> &str {
        self.part.source.name()
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.part.schema()
    }

    /// The same rows, of which only those come that are picked. The picks begin at the same row.
    #[must_use]
    pub(crate) fn picked_by(mut self, picks: Picks) -> Self {
        self.picks = Some(picks);
        self
    }

    /// The next rows and their numbers, or none after the last.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(RowNumbers, RecordBatch)>, Error> {
        loop {
            let Some(group) = &self.group else {
                if self.next_group == self.part.row_groups() {
                    return Ok(None);
                }
                self.group = self.open_next_group()?;
                continue;
            };
            let batch = Arc::clone(&group.batch);
            match self.read_batch() {
                Ok(Some(batch)) => return Ok(Some(batch)),
                Ok(None) => self.group = None,
                Err(error) => match batch.take_fewer_rows() {
                    Some(rows) => self.group = self.open_again(rows)?,
                    None => return Err(error),
                },
            }
        }
    }

    /// The next rows of the open row group; none after its last.
    fn read_batch(&mut self) -> Result<Option<(RowNumbers, RecordBatch)>, Error> {
        let Some(group) = &mut self.group else {
            return Ok(None);
        };
        group.batch.start_batch();
        let source = &self.part.source;
        let next = source.decode(DAMAGED_ROWS, || group.rows.next().transpose());
        let Some(batch) = next.map_err(|error| error.row(self.position))? else {
            let early = match &group.wanted {
                Some(wanted) => wanted.rows_from(self.position),
                None => group.end.abs_diff(self.position),
            };
            if early == 0 {
                self.position = group.end;
                return Ok(None);
            }
            let what = format!("The row group ends {early} rows early");
            return Err(Error::new(ReasonCode::OracleReadFailed, what)
                .object(source.name())
                .row(self.position));
        };
        let batch = self.checked(batch)?;
        let rows = batch.num_rows();
        let wanted = self.group.as_ref().and_then(|group| group.wanted.as_ref());
        let numbers = match wanted {
            None => RowNumbers::from(self.position),
            Some(wanted) => wanted.next(self.position, rows).ok_or_else(|| {
                let what = "The row group has more rows than its keys";
                Error::new(ReasonCode::OracleReadFailed, what)
                    .object(self.part.source.name())
                    .row(self.position)
            })?,
        };
        self.position = numbers.row(rows - 1) + 1;
        Ok(Some((numbers, batch)))
    }

    /// A batch as it is shown, once its INT96 timestamps are found to be exact.
    fn checked(&mut self, batch: RecordBatch) -> Result<RecordBatch, Error> {
        self.check_int96(&batch)?;
        let types = &self.part.footer.types;
        let shown = self.part.source.decode(DAMAGED_ROWS, || types.show(batch));
        shown.map_err(|error| error.row(self.position))
    }

    fn check_int96(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let Some(int96) = &self.int96 else {
            return Ok(());
        };
        let (source, schema) = (
            &self.part.source,
            self.part.footer.metadata.parquet_schema(),
        );
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

    /// Opens the next row group; none where none of its rows is wanted.
    fn open_next_group(&mut self) -> Result<Option<OpenGroup>, Error> {
        let number = self.next_group;
        let skip = std::mem::take(&mut self.skip);
        self.next_group += 1;
        // Rows of another group may be smaller again.
        self.most_rows = self.most_rows.saturating_mul(2);
        let rows = self.part.group_rows[number] - skip;
        let wanted = match &mut self.picks {
            Some(picks) => Some(picks.of_rows(self.position, rows)?),
            None => None,
        };
        if wanted
            .as_ref()
            .is_some_and(|wanted| wanted.rows_from(self.position) == 0)
        {
            self.position += rows;
            return Ok(None);
        }
        self.open_group(number, skip, wanted).map(Some)
    }

    /// Opens the open row group again where it is, for batches of at most so many rows.
    fn open_again(&mut self, most_rows: usize) -> Result<Option<OpenGroup>, Error> {
        let Some(mut group) = self.group.take() else {
            return self.open_next_group();
        };
        let left = group.end - self.position;
        let number = group.number;
        let wanted = group.wanted.take();
        // What it holds is free before it is held again.
        drop(group);
        self.most_rows = most_rows;
        let skip = self.part.group_rows[number] - left;
        self.open_group(number, skip, wanted).map(Some)
    }

    fn open_group(
        &self,
        number: usize,
        skip: u64,
        wanted: Option<Wanted>,
    ) -> Result<OpenGroup, Error> {
        let chunks = self.chunks_of(number)?;
        self.part.source.plan(chunks, skip == 0)?;
        let batch_rows = self.batch_rows_of(number);
        let memory = self.part.source.memory().clone();
        let usual = estimate::batch_bytes(self.row_bytes_of(number), batch_rows as u64);
        let batch = Arc::new(BatchMemory::new(memory, batch_rows, usual));
        let file: Arc<dyn FileReader> = Arc::new(self.bounded_group(number, &batch));
        let rows = self.part.group_rows[number];
        // Rows between wanted ones are decoded with them: fewer come of as many decoded ones.
        let batch_rows = match &wanted {
            Some(wanted) => wanted.share_of(batch_rows),
            None => batch_rows,
        };
        let open = |columns: &FieldLevels| {
            let selection = match &wanted {
                Some(wanted) => Some(wanted.selection(self.position, skip)),
                None => (skip > 0).then(|| {
                    let skipped = RowSelector::skip(skip as usize);
                    RowSelection::from(vec![skipped, RowSelector::select((rows - skip) as usize)])
                }),
            };
            let opened = self.part.source.decode(DAMAGED_ROWS, || {
                ParquetRecordBatchReader::try_new_with_row_groups(
                    columns, &file, batch_rows, selection,
                )
            });
            opened.map_err(|error| error.row(self.position))
        };
        let int96 = self.int96.as_ref().map(|int96| {
            Ok(OpenInt96 {
                seconds: open(&int96.seconds)?,
                nanos: int96.nanos.as_ref().map(open).transpose()?,
            })
        });
        Ok(OpenGroup {
            rows: open(&self.rows)?,
            int96: int96.transpose()?,
            end: self.position + rows - skip,
            wanted,
            batch,
            number,
        })
    }

    fn bounded_group(&self, number: usize, batch: &Arc<BatchMemory>) -> BoundedGroup {
        let metadata = self.part.footer.metadata.metadata();
        let (file, group) = (metadata.file_metadata(), metadata.row_group(number));
        let alone = FileMetaData::new(
            file.version(),
            group.num_rows(),
            None,
            None,
            file.schema_descr_ptr(),
            None,
        );
        let located = metadata
            .offset_index()
            .and_then(|groups| groups.get(number));
        let located = located.filter(|columns| columns.len() == group.num_columns());
        let locations = located.map(|columns| {
            let pages = columns.iter().map(|column| column.page_locations().clone());
            pages.collect()
        });
        let rows = self.part.group_rows[number].max(1);
        let columns = group.columns().iter();
        BoundedGroup {
            source: self.part.source.clone(),
            metadata: Arc::new(ParquetMetaData::new(alone, vec![group.clone()])),
            locations,
            shapes: Arc::clone(&self.part.shapes),
            usual_bytes: columns
                .map(|column| estimate::open_bytes(column, rows))
                .collect(),
            batch: Arc::clone(batch),
        }
    }

    /// How many rows of a row group are decoded at once. By bytes, so that rows of any size
    /// take as much memory; the same for all columns of one reader and its check.
    fn batch_rows_of(&self, group: usize) -> usize {
        let most = self.batch_rows.min(self.most_rows) as u64;
        let most = most.min(self.part.group_rows[group].max(1));
        estimate::batch_rows(self.row_bytes_of(group), most) as usize
    }

    /// Bytes of a row of the wanted columns, on average.
    fn row_bytes_of(&self, group: usize) -> u64 {
        let group = self.part.footer.metadata.metadata().row_group(group);
        let wanted = |leaf| self.columns.leaf_included(leaf);
        estimate::row_bytes(group, &self.part.shapes, wanted)
    }

    /// Where the chunks of the wanted columns lie.
    fn chunks_of(&self, group: usize) -> Result<Vec<Range<u64>>, Error> {
        self.part.source.decode(DAMAGED_ROWS, || {
            let columns = self
                .part
                .footer
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
