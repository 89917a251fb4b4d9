//! Rows of one part from a position, for plain threads.

mod part_span;
mod event_times;
mod json_field;
mod json_lines;
mod view_payload;
mod parquet_rows;
mod picks;
mod estimate;
mod int96;
mod parquet_footer;
mod arrow_hint;
mod logical_types;
mod pages;
mod page_values;
mod source;
mod containment;
mod thrift;

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::filter::filter;
use bytes::Bytes;
use model::EventTime;
use parquet::arrow::ProjectionMask;

use crate::error::{Error, ReasonCode};
use crate::grant::ReadGrant;
use crate::part::{Part, PartFormat};
use crate::store::WorldStore;

pub use containment::silence_decoder_panics;
pub use event_times::{EventTimesReader, read_event_times};
pub use part_span::{PartSpan, SourceOfParts, part_span};
pub use picks::{KeepRows, RowNumbers};

use json_lines::{BLOCK_BYTES, LineRows};
use parquet_rows::{ParquetPart, ParquetRows};
use picks::Picks;
use source::PartSource;

/// Rows of a batch of a time column that is gone through whole.
pub(crate) const SCAN_ROWS: usize = 8 * 1024;

/// The row that reading starts with, and how many rows come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// The first row, counted from 0 within the part.
    pub from_row: u64,
    /// The most rows of one batch; at least 1. Large rows come in smaller batches, so that
    /// one stays near 4 MiB.
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
    /// The numbers of all rows within the part: consecutive, unless only some rows are wanted.
    pub numbers: RowNumbers,
    /// The rows, at least one.
    pub rows: Rows,
}

impl RowBatch {
    /// Some rows of the batch, by their places in it.
    pub(crate) fn cut(&self, rows: Range<usize>) -> Self {
        let numbers = self.numbers.from_place(rows.start);
        let first_row = self.numbers.row(rows.start);
        let rows = match &self.rows {
            Rows::Arrow(columns) => Rows::Arrow(columns.slice(rows.start, rows.len())),
            Rows::JsonLines(lines) => Rows::JsonLines(JsonLines {
                bytes: lines.bytes.clone(),
                ranges: lines.ranges[rows.clone()].to_vec(),
                times: lines
                    .times
                    .as_ref()
                    .map(|times| times.slice(rows.start, rows.len())),
            }),
        };
        Self {
            first_row,
            numbers,
            rows,
        }
    }

    /// The event times of the rows, which are in `column`.
    pub(crate) fn event_times(&self, column: &str) -> Vec<Option<EventTime>> {
        event_times::of_rows(&self.rows, column)
    }
}

/// Rows as their part holds them.
#[derive(Debug, Clone)]
pub enum Rows {
    /// Rows of a Parquet part: every column, in file order.
    Arrow(RecordBatch),
    /// Rows of a JSON lines part, or of a stream view with a column of payloads.
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

/// Lines of a JSON lines part, each one JSON object without its line end; or the payloads of a
/// stream view, of which nobody has said yet that they are JSON.
#[derive(Debug, Clone, Default)]
pub struct JsonLines {
    bytes: Bytes,
    ranges: Vec<(u32, u32)>,
    times: Option<ArrayRef>,
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

    /// The column of event times that stands beside the payloads of a stream view; `None` where
    /// the times are fields of the lines.
    pub fn times(&self) -> Option<&ArrayRef> {
        self.times.as_ref()
    }

    /// The line at `index`, counted from 0; `None` past the last.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let &(start, end) = self.ranges.get(index)?;
        Some(&self.bytes[start as usize..end as usize])
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
#[non_exhaustive]
pub struct PartFooter {
    /// Number of rows; `None` for JSON lines, which do not say it.
    pub rows: Option<u64>,
    /// Length of the part in bytes.
    pub bytes: u64,
    /// Number of row groups; 0 for JSON lines.
    pub row_groups: usize,
    /// The columns; `None` for JSON lines.
    pub schema: Option<SchemaRef>,
    /// Estimate of the memory that reading all columns takes at once, in bytes.
    pub read_bytes: u64,
}

/// The rows of one part, batch by batch. After an error or the last row, nothing more.
#[derive(Debug)]
pub struct RowReader(Option<Format>);

/// One column of a part, batch by batch: the index of the first row, and the values.
#[derive(Debug)]
pub struct ColumnReader {
    format: Option<Format>,
    column: String,
    name: String,
    /// The part has no such column: every value is null.
    absent: bool,
}

#[derive(Debug)]
enum Format {
    Parquet(Box<ParquetRows>),
    /// A file of a stream view, whose rows may be payloads beside this column of event times.
    View(Box<ParquetRows>, Box<str>),
    Jsonl(Box<LineRows>),
    /// Lines or payloads, of which some are wanted.
    Picked(Box<Format>, Box<dyn KeepRows>),
}

impl Format {
    fn next_batch(&mut self) -> Result<Option<RowBatch>, Error> {
        let batch = match self {
            Self::Parquet(rows) => rows.next_batch()?.map(|(n, b)| (n, Rows::Arrow(b))),
            Self::View(rows, times) => match rows.next_batch()? {
                Some((numbers, batch)) => {
                    let rows = view_payload::rows_of(batch, numbers.row(0), rows.name(), times)?;
                    Some((numbers, rows))
                }
                None => None,
            },
            Self::Jsonl(rows) => rows
                .next_batch()?
                .map(|(first, b)| (RowNumbers::from(first), Rows::JsonLines(b))),
            Self::Picked(format, keep) => {
                while let Some(batch) = format.next_batch()? {
                    if let Some(picked) = batch.picked_by(&mut **keep)? {
                        return Ok(Some(picked));
                    }
                }
                None
            }
        };
        Ok(batch.map(|(numbers, rows)| RowBatch {
            first_row: numbers.row(0),
            numbers,
            rows,
        }))
    }

    fn parquet(&self) -> Option<&ParquetRows> {
        match self {
            Self::Parquet(rows) | Self::View(rows, _) => Some(rows),
            Self::Jsonl(_) => None,
            Self::Picked(format, _) => format.parquet(),
        }
    }
}

impl RowBatch {
    /// The lines of the batch that are wanted; `None` if none is. Rows of columns stay as they are:
    /// they were picked before they were read.
    fn picked_by(self, keep: &mut dyn KeepRows) -> Result<Option<Self>, Error> {
        let Rows::JsonLines(lines) = &self.rows else {
            return Ok(Some(self));
        };
        let wanted: Vec<bool> = lines.iter().map(|line| keep.line(line)).collect();
        if !wanted.contains(&true) {
            return Ok(None);
        }
        let places = wanted.iter().enumerate().filter(|(_, wanted)| **wanted);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        let rows: Vec<u64> = places
            .iter()
            .map(|&place| self.numbers.row(place))
            .collect();
        let times = match &lines.times {
            Some(times) => {
                let picked = filter(times, &BooleanArray::from(wanted));
                Some(picked.map_err(|source| {
                    let what = "Event times cannot be picked";
                    Error::new(ReasonCode::OracleReadFailed, what).because(source)
                })?)
            }
            None => None,
        };
        let lines = JsonLines {
            bytes: lines.bytes.clone(),
            ranges: places.iter().map(|&place| lines.ranges[place]).collect(),
            times,
        };
        Ok(Some(Self {
            first_row: rows[0],
            numbers: RowNumbers::listed(rows),
            rows: Rows::JsonLines(lines),
        }))
    }
}

/// The next batch, if the reader is still open; an error or the end closes it.
fn next_of(format: &mut Option<Format>) -> Option<Result<RowBatch, Error>> {
    let next = format.as_mut()?.next_batch().transpose();
    if !matches!(next, Some(Ok(_))) {
        *format = None;
    }
    next
}

impl RowReader {
    /// What framing a row of the part takes by its estimate, in bytes: 0 where rows are small,
    /// or their sizes are not known.
    pub fn framed_bytes(&self) -> u64 {
        let parquet = self.0.as_ref().and_then(Format::parquet);
        parquet.map_or(0, ParquetRows::framed_bytes)
    }

    /// The columns of a Parquet part; none of a JSON lines part.
    pub fn schema(&self) -> Option<&SchemaRef> {
        let parquet = self.0.as_ref().and_then(Format::parquet);
        parquet.map(ParquetRows::schema)
    }
}

impl Iterator for RowReader {
    type Item = Result<RowBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        next_of(&mut self.0)
    }
}

impl Iterator for ColumnReader {
    type Item = Result<(u64, ArrayRef), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = next_of(&mut self.format)?;
        Some(batch.and_then(|batch| {
            let values = match &batch.rows {
                rows if self.absent => new_null_array(&DataType::Null, rows.len()),
                Rows::Arrow(columns) => columns.column(0).clone(),
                Rows::JsonLines(lines) => self.values(batch.first_row, lines)?,
            };
            Ok((batch.first_row, values))
        }))
    }
}

impl ColumnReader {
    /// What reading all columns of the part would hold at once, about, in bytes. None
    /// after an error or the last row.
    pub fn read_bytes(&self) -> Option<u64> {
        self.format.as_ref().map(|format| match format.parquet() {
            Some(rows) => rows.read_bytes(),
            None => BLOCK_BYTES as u64,
        })
    }

    fn values(&self, first_row: u64, lines: &JsonLines) -> Result<ArrayRef, Error> {
        let mut values = StringBuilder::with_capacity(lines.len(), lines.len() * 32);
        for (row, line) in (first_row..).zip(lines.iter()) {
            let text = json_field::field_text(line, &self.column).map_err(|source| {
                let what = format!("A line's field is not understood ({source})");
                Error::new(ReasonCode::OracleReadFailed, what)
                    .object(&self.name)
                    .row(row)
                    .field(&self.column)
                    .because(source)
            })?;
            values.append_option(text);
        }
        Ok(Arc::new(values.finish()))
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
    grant.check(part)?;
    let source = PartSource::open(grant.store(), part)?;
    let format = match part.format() {
        PartFormat::Parquet => {
            let rows = ParquetPart::open(source)?.read(options, ProjectionMask::all())?;
            rows_of(part, rows)
        }
        PartFormat::Jsonl => Format::Jsonl(Box::new(LineRows::open(source, options)?)),
    };
    Ok(RowReader(Some(format)))
}

/// Opens the rows of a part that are wanted, as [`open_rows`] opens all. Of a Parquet part the
/// columns that decide are read first, a row group at a time, and the others of the wanted rows
/// only. Lines are read whole.
///
/// # Errors
/// As [`open_rows`].
pub fn open_wanted_rows(
    grant: &ReadGrant,
    part: &Part,
    options: &ReadOptions,
    keep: Box<dyn KeepRows>,
) -> Result<RowReader, Error> {
    if part.format() == PartFormat::Jsonl {
        let RowReader(lines) = open_rows(grant, part, options)?;
        return Ok(RowReader(lines.map(|f| Format::Picked(Box::new(f), keep))));
    }
    grant.check(part)?;
    let open = || ParquetPart::open(PartSource::open(grant.store(), part)?);
    let parquet = open()?;
    let has_payloads = part.is_view() && view_payload::has_payloads(parquet.schema());
    let keys = parquet.some_columns(keep.columns());
    let rows = parquet.read(options, ProjectionMask::all())?;
    let format = match keys {
        _ if has_payloads => Format::Picked(Box::new(rows_of(part, rows)), keep),
        Some(columns) => {
            let keys = ReadOptions {
                batch_rows: SCAN_ROWS,
                ..*options
            };
            let keys = open()?.read(&keys, columns)?;
            rows_of(part, rows.picked_by(Picks::new(keep, Box::new(keys))))
        }
        // Without a column of the key every row is refused when it is framed.
        None => rows_of(part, rows),
    };
    Ok(RowReader(Some(format)))
}

fn rows_of(part: &Part, rows: ParquetRows) -> Format {
    let rows = Box::new(rows);
    if part.is_view() {
        Format::View(rows, part.time_column().into())
    } else {
        Format::Parquet(rows)
    }
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
    let source = PartSource::open(store, part)?;
    let name = source.name().to_owned();
    let (format, absent) = match part.format() {
        PartFormat::Parquet => {
            let parquet = ParquetPart::open(source)?;
            let mask = parquet.only_column(column);
            let absent = mask.is_none();
            let mask = mask.unwrap_or_else(|| parquet.no_column());
            (
                Format::Parquet(Box::new(parquet.read(options, mask)?)),
                absent,
            )
        }
        PartFormat::Jsonl => (
            Format::Jsonl(Box::new(LineRows::open(source, options)?)),
            false,
        ),
    };
    Ok(ColumnReader {
        format: Some(format),
        column: column.to_owned(),
        name,
        absent,
    })
}

/// Reads a part's footer. Blocks.
///
/// # Errors
/// `ORACLE_READ_FAILED` if the part is unreadable, damaged, or not the one located.
pub fn footer(store: &WorldStore, part: &Part) -> Result<PartFooter, Error> {
    let source = PartSource::open(store, part)?;
    let bytes = source.size();
    Ok(match part.format() {
        PartFormat::Parquet => {
            let parquet = ParquetPart::open(source)?;
            PartFooter {
                rows: Some(parquet.rows()),
                bytes,
                row_groups: parquet.row_groups(),
                schema: Some(parquet.schema().clone()),
                read_bytes: parquet.read_bytes(),
            }
        }
        PartFormat::Jsonl => PartFooter {
            rows: None,
            bytes,
            row_groups: 0,
            schema: None,
            read_bytes: BLOCK_BYTES as u64,
        },
    })
}
