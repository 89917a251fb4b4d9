//! The pages of a row group, held to the memory that reading may take.
//!
//! Arrow's reader asks for the pages of each column; the Parquet crate reads a page's header
//! and makes room for as many bytes as it states. In between stands [`BoundedPages`]: it
//! reads the header first and holds memory for the page, and before the page is decoded, for
//! what a batch of rows may take of it. What does not fit ends with
//! `MEMORY_BUDGET_EXCEEDED`, before it is allocated.
//!
//! ```text
//!  ParquetRows ── start_batch ──► BatchMemory ◄──── bounds of each page ────┐
//!      │   ▲ fewer rows at once        │                                    │
//!      ▼   └───────────────────────────┘                                    │
//!  Arrow's reader ── next page ──► BoundedPages ── header, size ──► ReadMemory
//!                                      └──► the Parquet crate's page reader
//! ```
//! A batch whose rows turn out larger than the footer let expect is not refused at once: its
//! reader is opened again with fewer rows at a time, down to one.

use std::collections::VecDeque;
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use parquet::basic::{Compression, Type as PhysicalType};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{ChunkReader, FileReader, Length, RowGroupReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type as SchemaType;

use super::page_values::ColumnShape;
use super::source::{HEADER_BYTES, PartSource, SourceReader};
use super::thrift::{self, PageHeader};
use crate::error::{Error, ReasonCode};
use crate::store::{HeldMemory, ReadMemory};

/// The longest header of a page that is read; statistics in it may be long texts.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// What the rows of a batch may take, if there are several: the estimate of a part has half
/// of it, and Arrow's buffers may be twice as large as what is in them.
const BATCH_LIMIT: u64 = 8 << 20;

/// A row group whose pages are bounded; what Arrow's reader takes pages from.
pub(super) struct BoundedGroup {
    pub(super) source: PartSource,
    /// The footer, with this row group alone.
    pub(super) metadata: Arc<ParquetMetaData>,
    /// Where the pages of each column are, if an offset index says so.
    pub(super) locations: Option<Vec<Vec<PageLocation>>>,
    pub(super) shapes: Arc<[ColumnShape]>,
    /// What each column takes by the estimate of the part.
    pub(super) usual_bytes: Vec<u64>,
    pub(super) batch: Arc<BatchMemory>,
}

impl FileReader for BoundedGroup {
    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    fn num_row_groups(&self) -> usize {
        1
    }

    fn get_row_group(&self, _: usize) -> Result<Box<dyn RowGroupReader + '_>, ParquetError> {
        Ok(Box::new(GroupColumns(self)))
    }

    fn get_row_iter(&self, _: Option<SchemaType>) -> Result<RowIter<'_>, ParquetError> {
        Err(ParquetError::NYI("rows are read as Arrow batches".into()))
    }
}

struct GroupColumns<'a>(&'a BoundedGroup);

impl RowGroupReader for GroupColumns<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata.row_group(0)
    }

    fn num_columns(&self) -> usize {
        self.metadata().num_columns()
    }

    fn get_column_page_reader(&self, leaf: usize) -> Result<Box<dyn PageReader>, ParquetError> {
        Ok(Box::new(BoundedPages::open(self.0, leaf)?))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, _: Option<SchemaType>) -> Result<RowIter<'_>, ParquetError> {
        Err(ParquetError::NYI("rows are read as Arrow batches".into()))
    }
}

/// What the rows of one batch take, over all columns of a reader.
#[derive(Debug)]
pub(super) struct BatchMemory {
    memory: ReadMemory,
    rows: usize,
    /// What a batch takes by the estimate of the part.
    usual_bytes: u64,
    state: Mutex<BatchState>,
}

#[derive(Debug)]
struct BatchState {
    /// Bounds of all pages that this batch has come to.
    in_batch: u64,
    /// Bounds of the pages that are open: the next batch begins with them.
    open: u64,
    fewer_rows: Option<usize>,
    /// Memory for a batch of one large row.
    held: HeldMemory,
}

impl BatchMemory {
    /// The memory of a reader of batches of so many rows, which take so much by the estimate
    /// of the part.
    pub(super) fn new(memory: ReadMemory, rows: usize, usual_bytes: u64) -> Self {
        let state = BatchState {
            in_batch: 0,
            open: 0,
            fewer_rows: None,
            held: memory.nothing(),
        };
        Self {
            memory,
            rows,
            usual_bytes,
            state: Mutex::new(state),
        }
    }

    /// Begins the next batch.
    pub(super) fn start_batch(&self) {
        let mut state = self.state();
        state.in_batch = state.open;
        let beyond = self.beyond(state.in_batch);
        state.held.shrink_to(beyond);
    }

    /// How many rows a batch may have, if it had too many.
    pub(super) fn take_fewer_rows(&self) -> Option<usize> {
        self.state().fewer_rows.take()
    }

    /// Counts a page that takes the place of one with the bound `before`, and says its own.
    /// The close bound is asked for where the first one is too large.
    fn take(
        &self,
        before: u64,
        bound: u64,
        close_bound: impl FnOnce() -> u64,
    ) -> Result<u64, Error> {
        let mut state = self.state();
        let bound = if state.in_batch.saturating_add(bound) > BATCH_LIMIT {
            close_bound().min(bound)
        } else {
            bound
        };
        state.open = state.open.saturating_sub(before).saturating_add(bound);
        state.in_batch = state.in_batch.saturating_add(bound);
        if state.in_batch > BATCH_LIMIT && self.rows > 1 {
            let fitting = u128::from(BATCH_LIMIT) * self.rows as u128 / u128::from(state.in_batch);
            // Fewer than would just fit: a later page may hold larger rows.
            state.fewer_rows = Some((fitting as usize / 2).max(1));
            let what = "The rows of a batch are larger than expected";
            return Err(Error::new(ReasonCode::MemoryBudgetExceeded, what));
        }
        let beyond = self.beyond(state.in_batch);
        state.held.resize(beyond, || "A row".to_owned())?;
        Ok(bound)
    }

    /// What a batch takes beyond the usual: Arrow's buffers grow by doubling.
    fn beyond(&self, in_batch: u64) -> u64 {
        if in_batch <= BATCH_LIMIT {
            return 0;
        }
        in_batch.saturating_mul(2).saturating_sub(self.usual_bytes)
    }

    fn state(&self) -> MutexGuard<'_, BatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pages of one column chunk.
struct BoundedPages {
    pages: SerializedPageReader<PageSource>,
    source: Arc<PageSource>,
    walk: Walk,
    column: String,
    shape: ColumnShape,
    codec: Compression,
    batch: Arc<BatchMemory>,
    /// What the part's estimate has for this column.
    usual_bytes: u64,
    /// Memory for pages and dictionary beyond the usual.
    pages_held: HeldMemory,
    /// Bytes of the page that is open.
    page_bytes: u64,
    /// Bytes of the dictionary, as a page and decoded.
    dictionary_bytes: u64,
    /// The largest value of the dictionary.
    largest: u64,
    /// The bound of the open page.
    bound: u64,
    /// Values of the row that the open page ended in.
    open_row: u64,
}

/// Where the next page's header is.
enum Walk {
    /// Behind the page before it.
    Chain { at: u64, end: u64 },
    /// Where the offset index says; each page with its end.
    Located(VecDeque<Range<u64>>),
}

impl BoundedPages {
    fn open(group: &BoundedGroup, leaf: usize) -> Result<Self, ParquetError> {
        let row_group = group.metadata.row_group(0);
        let chunk = row_group.column(leaf);
        let (start, length) = chunk.byte_range();
        let locations = group
            .locations
            .as_ref()
            .map(|columns| columns[leaf].clone());
        let walk = match &locations {
            Some(pages) => {
                let pages = pages.iter().map(|page| {
                    let at = page.offset.max(0) as u64;
                    at..at.saturating_add(page.compressed_page_size.max(0) as u64)
                });
                let mut pages: VecDeque<_> = pages.collect();
                // What stands before the first data page is the dictionary.
                if let Some(first) = pages.front().map(|page| page.start)
                    && first != start
                {
                    pages.push_front(start..first);
                }
                Walk::Located(pages)
            }
            None => Walk::Chain {
                at: start,
                end: start.saturating_add(length),
            },
        };
        let source = Arc::new(PageSource {
            part: group.source.clone(),
            codec: chunk.compression(),
            header: Mutex::default(),
        });
        let rows = usize::try_from(row_group.num_rows())?;
        let pages = SerializedPageReader::new(Arc::clone(&source), chunk, rows, locations)?;
        Ok(Self {
            pages,
            source,
            walk,
            column: chunk.column_path().string(),
            shape: group.shapes[leaf],
            codec: chunk.compression(),
            batch: Arc::clone(&group.batch),
            usual_bytes: group.usual_bytes[leaf],
            pages_held: group.batch.memory.nothing(),
            page_bytes: 0,
            dictionary_bytes: 0,
            largest: 0,
            bound: 0,
            open_row: 0,
        })
    }

    /// The header of the next page, which is left where it is; none after the last.
    fn next_header(&mut self) -> Result<Option<PageHeader>, ParquetError> {
        loop {
            let (at, end) = match &self.walk {
                Walk::Chain { at, end } => (*at, *end),
                Walk::Located(pages) => match pages.front() {
                    Some(page) => (page.start, page.end),
                    None => return Ok(None),
                },
            };
            if at >= end {
                return Ok(None);
            }
            let header = self.source.header(at, end)?;
            if !header.is_index || matches!(self.walk, Walk::Located(_)) {
                return Ok(Some(header));
            }
            self.pass(&header);
        }
    }

    /// Goes on behind a page.
    fn pass(&mut self, header: &PageHeader) {
        match &mut self.walk {
            Walk::Chain { at, .. } => {
                *at = at
                    .saturating_add(header.header_bytes)
                    .saturating_add(header.compressed_bytes);
            }
            Walk::Located(pages) => {
                pages.pop_front();
            }
        }
        // There may be ten thousand columns.
        *self.source.known() = None;
    }

    /// Holds so many bytes for the column's pages, beyond the usual.
    fn hold_pages(&mut self, bytes: u64) -> Result<(), Error> {
        let beyond = bytes.saturating_sub(self.usual_bytes);
        self.pages_held.resize(beyond, || "A page".to_owned())
    }

    /// Holds memory for a page that is about to be read.
    fn make_room(&mut self, header: &PageHeader) -> Result<(), Error> {
        let page = header.uncompressed_bytes.max(header.compressed_bytes);
        let while_read = match self.codec {
            Compression::UNCOMPRESSED => 0,
            // Its decompressor has a buffer of the page's size.
            Compression::BROTLI(_) => header.compressed_bytes + page,
            _ => header.compressed_bytes,
        };
        let open = self.page_bytes + self.dictionary_bytes;
        self.hold_pages(open.saturating_add(page).saturating_add(while_read))
    }

    /// Looks at a page before it is decoded.
    fn admit(&mut self, page: &Page) -> Result<(), Error> {
        let bytes = page.buffer().len() as u64;
        let implausible = |what: &str| Error::new(ReasonCode::OracleReadFailed, what);
        if page.is_dictionary_page() {
            self.largest = self.shape.largest_of(page).map_err(implausible)?;
            // Decoded while the page is still there, into a buffer that grows by halves.
            self.hold_pages(bytes.saturating_mul(3))?;
            self.dictionary_bytes = bytes.saturating_mul(2);
            return self.hold_pages(self.dictionary_bytes);
        }
        if !self.shape.is_plausible(page) {
            return Err(implausible(super::page_values::IMPLAUSIBLE));
        }
        // The decoder lets go of the page before this one now.
        self.page_bytes = bytes;
        self.hold_pages(bytes + self.dictionary_bytes)?;
        let rows = self.batch.rows as u64;
        let (shape, largest, open_row) = (self.shape, self.largest, self.open_row);
        let bound = shape.bound(page, largest, rows);
        let close_bound = || shape.close_bound(page, largest, rows, open_row);
        self.bound = self.batch.take(self.bound, bound, close_bound)?;
        self.open_row = shape.open_row_after(page, open_row);
        Ok(())
    }

    fn refuse(&self, error: Error) -> ParquetError {
        let part = &self.source.part;
        part.remember(error.object(part.name()).field(&self.column))
    }
}

impl PageReader for BoundedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let Some(header) = self.next_header()? else {
            return self.pages.get_next_page();
        };
        self.make_room(&header)
            .map_err(|error| self.refuse(error))?;
        let page = self.pages.get_next_page()?;
        self.pass(&header);
        if let Some(page) = &page {
            self.admit(page).map_err(|error| self.refuse(error))?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        if matches!(self.walk, Walk::Chain { .. }) {
            // Read once for both.
            self.next_header()?;
        }
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        if let Walk::Located(pages) = &mut self.walk {
            pages.pop_front();
        } else if let Some(header) = self.next_header()? {
            self.pass(&header);
        }
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for BoundedPages {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// A part whose page headers are read once and looked at twice.
struct PageSource {
    part: PartSource,
    codec: Compression,
    header: Mutex<Option<KnownHeader>>,
}

/// The header that was read last.
struct KnownHeader {
    at: u64,
    /// The bytes from there on.
    bytes: Bytes,
    header: Option<PageHeader>,
}

impl PageSource {
    /// The header of a page, of which the chunk ends at `end`.
    fn header(&self, at: u64, end: u64) -> Result<PageHeader, ParquetError> {
        let end = end.min(self.len());
        let mut length = HEADER_BYTES as u64;
        loop {
            let most = end.saturating_sub(at).min(MAX_HEADER_BYTES);
            let mut known = self.known();
            if known
                .as_ref()
                .is_none_or(|known| known.at != at || (known.bytes.len() as u64) < length.min(most))
            {
                let bytes = self.part.get_bytes(at, length.min(most) as usize)?;
                let header = thrift::page_header(&bytes);
                let header =
                    header.map_err(|what| ParquetError::General(format!("a page: {what}")))?;
                *known = Some(KnownHeader { at, bytes, header });
            }
            match known.as_ref().and_then(|known| known.header) {
                Some(header) => return Ok(header),
                None if length >= most => {
                    return Err(ParquetError::EOF("a page's header has no end".into()));
                }
                None => length *= 8,
            }
        }
    }

    /// Refuses a page that holds more than its header says, as far as its bytes tell: its
    /// decompressor would go on while there is memory.
    fn check_length(&self, bytes: &[u8]) -> Result<(), ParquetError> {
        if !matches!(self.codec, Compression::GZIP(_)) {
            return Ok(());
        }
        // A gzip member ends with the length of what it holds.
        let length = bytes
            .last_chunk::<4>()
            .map_or(0, |end| u32::from_le_bytes(*end));
        let known = self.known();
        let header = known.as_ref().and_then(|known| known.header);
        match header {
            Some(header) if u64::from(length) > header.uncompressed_bytes => Err(
                ParquetError::General("a page holds more than its header says".into()),
            ),
            _ => Ok(()),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<KnownHeader>> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Length for PageSource {
    fn len(&self) -> u64 {
        self.part.size()
    }
}

impl ChunkReader for PageSource {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let known = self.known();
        let known = known.as_ref().filter(|known| known.at == start);
        let known = known.map(|known| known.bytes.clone()).unwrap_or_default();
        Ok(HeaderReader {
            rest_at: start + known.len() as u64,
            known,
            part: self.part.clone(),
            rest: None,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.part.get_bytes(start, length)?;
        self.check_length(&bytes)?;
        Ok(bytes)
    }
}

/// Reads what is known of a part, then on from it.
struct HeaderReader {
    known: Bytes,
    part: PartSource,
    rest_at: u64,
    rest: Option<SourceReader>,
}

impl Read for HeaderReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.known.has_remaining() {
            let length = buffer.len().min(self.known.len());
            self.known.copy_to_slice(&mut buffer[..length]);
            return Ok(length);
        }
        let rest = match &mut self.rest {
            Some(rest) => rest,
            none => none.insert(
                self.part
                    .get_read(self.rest_at)
                    .map_err(std::io::Error::other)?,
            ),
        };
        rest.read(buffer)
    }
}

/// Bytes of a value of a physical type, as pages store it; 0 for texts.
pub(super) fn stored_bytes(physical: PhysicalType, type_length: i32) -> u64 {
    match physical {
        PhysicalType::BOOLEAN | PhysicalType::BYTE_ARRAY => 0,
        PhysicalType::INT32 | PhysicalType::FLOAT => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::INT96 => 12,
        PhysicalType::FIXED_LEN_BYTE_ARRAY => type_length.max(0) as u64,
    }
}
