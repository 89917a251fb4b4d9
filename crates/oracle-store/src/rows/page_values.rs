//! What decoding some rows of a page takes, at most, from the page's bytes alone.
//!
//! A page of a few bytes can stand for gigabytes: a dictionary's one large text, used in
//! every row; a list of a hundred million equal numbers; a text that shares all but its end
//! with the one before it. So a page is looked at before it is decoded. The bounds are upper
//! ones, first by the page's counts, and by a look at its levels and lengths where these do
//! not suffice.

use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::column::page::Page;

/// What a text or a list element takes beside its bytes: its offset, and its levels.
const OFFSET_BYTES: u64 = 8;
const LEVEL_BYTES: u64 = 4;
/// What the decoder of delta-encoded texts holds of every one on the page.
const DELTA_LENGTH_BYTES: u64 = 8;

/// A column, as far as its pages' sizes depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnShape {
    pub(super) physical: PhysicalType,
    /// Bytes of a value of the physical type, as a dictionary has it; 0 for texts.
    pub(super) stored_bytes: u64,
    /// Bytes of a decoded value that is no text.
    pub(super) value_bytes: u64,
    pub(super) max_repetition: i16,
    pub(super) max_definition: i16,
}

/// What values take, once decoded.
#[derive(Debug, Clone, Copy)]
enum Size {
    /// Each at most so many bytes.
    Each(u64),
    /// All of the page together at most so many.
    Together(u64),
}

/// A dictionary that states what it cannot have, or delta-encoded texts that do.
pub(super) const IMPLAUSIBLE: &str = "A page states more values than its bytes can hold";

impl ColumnShape {
    /// The largest value of a dictionary page, decoded; an error if it states more values
    /// than it has bytes for.
    pub(super) fn largest_of(&self, dictionary: &Page) -> Result<u64, &'static str> {
        let (bytes, count) = (dictionary.buffer(), u64::from(dictionary.num_values()));
        let smallest = match self.physical {
            PhysicalType::BYTE_ARRAY => 4,
            _ => self.stored_bytes,
        };
        if count.saturating_mul(smallest) > bytes.len() as u64 {
            return Err(IMPLAUSIBLE);
        }
        if self.physical != PhysicalType::BYTE_ARRAY {
            return Ok(self.value_bytes);
        }
        Ok(lengths(bytes).max().unwrap_or(0))
    }

    /// An upper bound of what decoding so many rows takes of a page, by its counts.
    pub(super) fn bound(&self, page: &Page, largest: u64, rows: u64) -> u64 {
        let values = u64::from(page.num_values());
        let values = if self.is_repeated() {
            values
        } else {
            values.min(rows)
        };
        self.bytes_of(page, values, self.size_of(page, largest))
    }

    /// A closer bound, by a look at the page; `open_row` values of the first row stood on
    /// earlier pages.
    pub(super) fn close_bound(&self, page: &Page, largest: u64, rows: u64, open_row: u64) -> u64 {
        let values = u64::from(page.num_values());
        let parts = PageParts::of(self, page);
        let values = if self.is_repeated() {
            let row = parts.as_ref().and_then(|parts| {
                let rows = row_lengths(parts.repetition?, self.max_repetition, values, open_row)?;
                Some(rows.longest)
            });
            row.map_or(values, |row| values.min(row.saturating_mul(rows)))
        } else {
            values.min(rows)
        };
        let size = match (self.size_of(page, largest), page.encoding()) {
            (Size::Together(all), Encoding::PLAIN) => {
                let window = parts.map(|parts| largest_window(parts.values, values));
                Size::Together(window.unwrap_or(all))
            }
            (size, _) => size,
        };
        self.bytes_of(page, values, size)
    }

    /// How many values of the row that is open at the page's end have been seen, on this
    /// page and, if no row starts here, on the `open_row` before it.
    pub(super) fn open_row_after(&self, page: &Page, open_row: u64) -> u64 {
        let values = u64::from(page.num_values());
        if !self.is_repeated() {
            return 0;
        }
        let repetition = PageParts::of(self, page).and_then(|parts| parts.repetition);
        let rows = repetition
            .and_then(|levels| row_lengths(levels, self.max_repetition, values, open_row));
        rows.map_or(open_row + values, |rows| rows.last)
    }

    /// Whether a page of delta-encoded texts has as many as its header says.
    pub(super) fn is_plausible(&self, page: &Page) -> bool {
        let is_delta = matches!(
            page.encoding(),
            Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY
        );
        let counted = || delta_count(PageParts::of(self, page)?.values);
        !is_delta || counted().is_none_or(|count| count <= u64::from(page.num_values()))
    }

    fn is_repeated(&self) -> bool {
        self.max_repetition > 0
    }

    fn size_of(&self, page: &Page, largest: u64) -> Size {
        let all = page.buffer().len() as u64;
        if self.physical != PhysicalType::BYTE_ARRAY {
            return Size::Each(self.value_bytes);
        }
        #[allow(deprecated)] // Old writers name their dictionaries so.
        match page.encoding() {
            Encoding::PLAIN | Encoding::DELTA_LENGTH_BYTE_ARRAY => Size::Together(all),
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => Size::Each(largest),
            // A text is a prefix of the one before it, and some of the page.
            _ => Size::Each(all),
        }
    }

    fn bytes_of(&self, page: &Page, values: u64, size: Size) -> u64 {
        let mut beside = 0;
        if self.physical == PhysicalType::BYTE_ARRAY {
            beside += OFFSET_BYTES;
        }
        if self.is_repeated() {
            beside += LEVEL_BYTES;
        }
        let bytes = match size {
            Size::Each(bytes) => values.saturating_mul(bytes),
            Size::Together(bytes) => bytes,
        };
        let lengths = match page.encoding() {
            Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY => {
                u64::from(page.num_values()) * DELTA_LENGTH_BYTES
            }
            _ => 0,
        };
        bytes
            .saturating_add(values.saturating_mul(beside))
            .saturating_add(lengths)
    }
}

/// A data page's repetition levels, and its values.
struct PageParts<'a> {
    repetition: Option<&'a [u8]>,
    values: &'a [u8],
}

impl<'a> PageParts<'a> {
    /// The parts of a data page; none if they are not where they should be.
    fn of(shape: &ColumnShape, page: &'a Page) -> Option<Self> {
        let bytes: &[u8] = page.buffer();
        match page {
            Page::DataPage {
                num_values,
                rep_level_encoding,
                def_level_encoding,
                ..
            } => {
                let values = u64::from(*num_values);
                let (repetition, bytes) =
                    levels_of(bytes, *rep_level_encoding, shape.max_repetition, values)?;
                let (_, values) =
                    levels_of(bytes, *def_level_encoding, shape.max_definition, values)?;
                Some(Self { repetition, values })
            }
            Page::DataPageV2 {
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let repetition = bytes.get(..*rep_levels_byte_len as usize)?;
                let levels = *rep_levels_byte_len as usize + *def_levels_byte_len as usize;
                Some(Self {
                    repetition: Some(repetition),
                    values: bytes.get(levels..)?,
                })
            }
            Page::DictionaryPage { .. } => None,
        }
    }
}

/// Splits a page at the end of its levels; levels that are not run-length encoded are none.
#[allow(deprecated, clippy::type_complexity)]
fn levels_of(
    bytes: &[u8],
    encoding: Encoding,
    max: i16,
    values: u64,
) -> Option<(Option<&[u8]>, &[u8])> {
    if max == 0 {
        return Some((None, bytes));
    }
    if encoding == Encoding::BIT_PACKED {
        let length = values.checked_mul(u64::from(bits(max)))?.div_ceil(8);
        let (_, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        return Some((None, rest));
    }
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (levels, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((Some(levels), rest))
}

fn bits(max: i16) -> u32 {
    i16::BITS - max.leading_zeros()
}

/// The lengths of texts that stand one after the other, each behind its length.
fn lengths(mut bytes: &[u8]) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        bytes = rest.get(length as usize..)?;
        Some(u64::from(length))
    })
}

/// The most bytes that so many texts in a row have.
fn largest_window(bytes: &[u8], values: u64) -> u64 {
    let (mut first, mut within, mut largest) = (lengths(bytes), 0, 0);
    for (at, length) in (0_u64..).zip(lengths(bytes)) {
        within += length;
        if at >= values {
            within -= first.next().unwrap_or(0);
        }
        largest = largest.max(within);
    }
    largest
}

/// How many values rows have.
#[derive(Debug, PartialEq, Eq)]
struct RowLengths {
    longest: u64,
    /// The row that is open at the end.
    last: u64,
}

/// Measures the rows of a page by its repetition levels: a level of 0 starts a row. Those
/// before the first belong to a row that had `open_row` values already.
fn row_lengths(levels: &[u8], max: i16, values: u64, open_row: u64) -> Option<RowLengths> {
    let width = bits(max);
    let mut rest = levels;
    let (mut left, mut row, mut longest) = (values, open_row, open_row);
    while left > 0 {
        let header = varint(&mut rest)?;
        if header & 1 == 0 {
            let run = (header >> 1).min(left);
            let (level, after) = rest.split_at_checked(width.div_ceil(8) as usize)?;
            rest = after;
            if level.iter().any(|&byte| byte != 0) {
                row += run;
            } else if run > 0 {
                longest = longest.max(row);
                row = 1;
            }
            left -= run;
            // A run of no values would not end.
            if run == 0 {
                return None;
            }
        } else {
            let groups = usize::try_from(header >> 1).ok()?;
            let packed = groups.checked_mul(width as usize)?;
            let packed = packed.min(rest.len());
            let (packed, after) = rest.split_at(packed);
            rest = after;
            let stored = packed.len() as u64 * 8 / u64::from(width);
            for at in 0..stored.min(left) {
                if is_zero(packed, at * u64::from(width), width) {
                    longest = longest.max(row);
                    row = 1;
                } else {
                    row += 1;
                }
            }
            left -= stored.min(left);
            if stored == 0 {
                return None;
            }
        }
    }
    Some(RowLengths {
        longest: longest.max(row),
        last: row,
    })
}

/// Whether so many bits from one on are all zero.
fn is_zero(bytes: &[u8], from: u64, width: u32) -> bool {
    (from..from + u64::from(width)).all(|bit| {
        let byte = bytes.get((bit / 8) as usize).copied().unwrap_or(0);
        byte >> (bit % 8) & 1 == 0
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The number of values that a delta-encoded block states: its third integer.
fn delta_count(mut values: &[u8]) -> Option<u64> {
    varint(&mut values)?;
    varint(&mut values)?;
    varint(&mut values)
}

#[cfg(test)]
mod tests;
