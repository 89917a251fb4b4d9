//! What reading a row group takes, by its footer: known before its first row is read.

use parquet::basic::{Compression, PageType, Type as PhysicalType};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::page_values::ColumnShape;

/// A page and a dictionary as large as writers make them by default.
const OPEN_COLUMN_BYTES: u64 = 2 << 20;
/// What the reader of a column holds beside its page, whatever is in it.
const READER_BYTES: u64 = 6 << 10;
/// What the zstd context of a column takes, as measured over 10,000 of them. Other codecs keep
/// nothing from page to page.
const ZSTD_CONTEXT_BYTES: u64 = 28 << 10;
/// What the rows of a batch take at most, decoded, if one row takes no more.
const BATCH_BYTES: u64 = 4 << 20;
/// Rows that a batch has, about, where they are small.
const BATCH_ROWS: u64 = 1_024;
/// Rows from this size on are more than a chunk of envelopes has by itself.
const LARGE_ROW_BYTES: u64 = 64 << 10;
/// What a text takes beside its bytes: its offset.
const OFFSET_BYTES: u64 = 8;

/// What reading all columns of a row group holds at once, about: the open page of each
/// column and its dictionary, decompressed, what decompresses and decodes them, and the
/// rows of a batch.
pub(super) fn group_bytes(group: &RowGroupMetaData, shapes: &[ColumnShape]) -> u64 {
    let columns = group.columns().iter();
    let open = columns.map(|column| {
        let decoder = match column.compression() {
            Compression::ZSTD(_) => ZSTD_CONTEXT_BYTES,
            _ => 0,
        };
        open_bytes(column, rows_of(group)) + READER_BYTES + decoder
    });
    let row_bytes = row_bytes(group, shapes, |_| true);
    let batch = batch_bytes(
        row_bytes,
        batch_rows(row_bytes, BATCH_ROWS.min(rows_of(group))),
    );
    // Two chunks of envelopes have at least one row each.
    let framed = framed_bytes(row_bytes).saturating_mul(2);
    open.fold(batch.saturating_add(framed), u64::saturating_add)
}

/// What the rows of a batch take. The buffers of large ones may be twice as large as they.
pub(super) fn batch_bytes(row_bytes: u64, rows: u64) -> u64 {
    let bytes = row_bytes.saturating_mul(rows);
    bytes.saturating_add(bytes.saturating_sub(BATCH_BYTES))
}

/// What framing a row takes, if it is large: its envelope, in a buffer that grows by doubling.
pub(super) fn framed_bytes(row_bytes: u64) -> u64 {
    if row_bytes < LARGE_ROW_BYTES {
        return 0;
    }
    row_bytes.saturating_mul(2)
}

/// What a column's open page and its dictionary take. A page is as large as a writer makes it
/// by default, unless the footer shows that one is larger: by the bytes of a row, or of a
/// page if there are so few.
pub(super) fn open_bytes(column: &ColumnChunkMetaData, rows: u64) -> u64 {
    let all = encoded_bytes(column);
    let by_rows = decoded_bytes(column).div_ceil(rows);
    let by_pages = pages_of(column).map_or(0, |pages| all.div_ceil(pages));
    let page = OPEN_COLUMN_BYTES.max(by_rows).max(by_pages).min(all);
    if page <= OPEN_COLUMN_BYTES {
        return page;
    }
    // A large page is there together with its compressed form, and with the one before it.
    let stored = u128::from(column.compressed_size().max(0) as u64) * u128::from(page);
    let stored = (stored / u128::from(all.max(1))) as u64;
    let while_read = match column.compression() {
        Compression::UNCOMPRESSED => 0,
        Compression::BROTLI(_) => stored + page,
        _ => stored,
    };
    page.saturating_add(while_read)
        .saturating_add(page.min(all - page))
}

/// The bytes of a row, decoded, on average: of some columns, by their leaves.
pub(super) fn row_bytes(
    group: &RowGroupMetaData,
    shapes: &[ColumnShape],
    wanted: impl Fn(usize) -> bool,
) -> u64 {
    let columns = group.columns().iter().zip(shapes).enumerate();
    let wanted = columns.filter(|(leaf, _)| wanted(*leaf));
    let bytes = wanted.map(|(_, (column, shape))| {
        let values = column.num_values().max(0) as u64;
        match shape.physical {
            PhysicalType::BYTE_ARRAY => {
                decoded_bytes(column).saturating_add(values.saturating_mul(OFFSET_BYTES))
            }
            // Pages may be far smaller than what they stand for: runs of one number.
            _ => encoded_bytes(column).max(values.saturating_mul(shape.value_bytes)),
        }
    });
    bytes.fold(0, u64::saturating_add).div_ceil(rows_of(group))
}

/// How many rows of some bytes to decode at once, of as many as are wanted: so many that
/// they stay near [`BATCH_BYTES`], and at least one.
pub(super) fn batch_rows(row_bytes: u64, wanted: u64) -> u64 {
    (BATCH_BYTES / row_bytes.max(1)).min(wanted).max(1)
}

fn rows_of(group: &RowGroupMetaData) -> u64 {
    group.num_rows().max(1) as u64
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

/// How many pages a column has, dictionaries included, if its footer counts them.
fn pages_of(column: &ColumnChunkMetaData) -> Option<u64> {
    let stats = column.page_encoding_stats()?.iter();
    let pages = stats.filter(|stats| stats.page_type != PageType::INDEX_PAGE);
    let pages: u64 = pages.map(|stats| stats.count.max(0) as u64).sum();
    (pages > 0).then_some(pages)
}
