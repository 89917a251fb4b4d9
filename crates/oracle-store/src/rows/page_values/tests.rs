//! How many bytes the values of a page take, before they are decoded.

use bytes::Bytes;

use super::*;

const TEXTS: ColumnShape = ColumnShape {
    physical: PhysicalType::BYTE_ARRAY,
    stored_bytes: 0,
    value_bytes: 0,
    max_repetition: 0,
    max_definition: 0,
};
const NUMBERS: ColumnShape = ColumnShape {
    physical: PhysicalType::INT64,
    stored_bytes: 8,
    value_bytes: 8,
    ..TEXTS
};

fn plain(texts: &[&str]) -> Vec<u8> {
    let bytes = texts.iter().flat_map(|text| {
        let length = (text.len() as u32).to_le_bytes();
        length.into_iter().chain(text.bytes())
    });
    bytes.collect()
}

fn data(bytes: Vec<u8>, num_values: u32, encoding: Encoding) -> Page {
    Page::DataPage {
        buf: Bytes::from(bytes),
        num_values,
        encoding,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    }
}

fn dictionary(bytes: Vec<u8>, num_values: u32) -> Page {
    Page::DictionaryPage {
        buf: Bytes::from(bytes),
        num_values,
        encoding: Encoding::PLAIN,
        is_sorted: false,
    }
}

#[test]
fn a_dictionary_has_its_largest_value_and_not_more_values_than_bytes() {
    let page = dictionary(plain(&["a", "four", ""]), 3);
    assert_eq!(TEXTS.largest_of(&page), Ok(4));
    assert!(TEXTS.largest_of(&dictionary(plain(&["a"]), 2)).is_err());
    assert_eq!(NUMBERS.largest_of(&dictionary(vec![0; 16], 2)), Ok(8));
    assert!(NUMBERS.largest_of(&dictionary(vec![0; 16], 3)).is_err());
}

#[test]
fn a_large_text_of_a_dictionary_may_be_in_every_row() {
    let page = data(vec![1], 1_000, Encoding::RLE_DICTIONARY);
    assert_eq!(TEXTS.bound(&page, 1_000, 100), 100 * 1_008);
    assert_eq!(TEXTS.close_bound(&page, 1_000, 100, 0), 100 * 1_008);
    assert_eq!(NUMBERS.bound(&page, 8, 100), 800);
}

#[test]
fn plain_texts_take_what_the_largest_rows_beside_each_other_have() {
    let page = data(
        plain(&["aaaa", "b", "cc", "ddddd", "e"]),
        5,
        Encoding::PLAIN,
    );
    assert_eq!(TEXTS.bound(&page, 0, 2), 33 + 2 * 8);
    assert_eq!(TEXTS.close_bound(&page, 0, 2, 0), 7 + 2 * 8);
    assert_eq!(TEXTS.close_bound(&page, 0, 1, 0), 5 + 8);
    assert_eq!(TEXTS.close_bound(&page, 0, 9, 0), 13 + 5 * 8);
}

#[test]
fn a_text_with_a_shared_prefix_may_be_as_long_as_the_page() {
    let page = data(vec![0; 50], 10, Encoding::DELTA_BYTE_ARRAY);
    assert_eq!(TEXTS.bound(&page, 0, 4), 4 * 58 + 80);
}

#[test]
fn delta_encoded_texts_have_as_many_lengths_as_the_page_has_values() {
    let block = |count: u8| vec![0x80, 1, 4, count, 0];
    let page = |count| data(block(count), 10, Encoding::DELTA_LENGTH_BYTE_ARRAY);
    assert!(TEXTS.is_plausible(&page(10)));
    assert!(!TEXTS.is_plausible(&page(11)));
    let numbers = data(block(99), 10, Encoding::DELTA_BINARY_PACKED);
    assert!(TEXTS.is_plausible(&numbers), "read value by value");
}

const LISTS: ColumnShape = ColumnShape {
    max_repetition: 1,
    max_definition: 3,
    ..NUMBERS
};

/// A page of lists: run-length encoded levels, and nothing to read.
fn lists(levels: &[u8], num_values: u32) -> Page {
    let length = (levels.len() as u32).to_le_bytes();
    let bytes = [&length[..], levels, &[2, 0, 0, 0, 0xfe, 3]].concat();
    data(bytes, num_values, Encoding::RLE_DICTIONARY)
}

#[test]
fn rows_are_measured_by_their_repetition_levels() {
    // One row of 1 + 100 values.
    let one = lists(&[2, 0, 0xc8, 1, 1], 101);
    assert_eq!(LISTS.close_bound(&one, 8, 1, 0), 101 * 12);
    assert_eq!(LISTS.open_row_after(&one, 7), 101);
    // Eight levels in one byte, the first bit first: rows of 3, 1 and 4 values.
    let three = lists(&[3, 0b1110_0110], 8);
    assert_eq!(
        LISTS.bound(&three, 8, 1),
        8 * 12,
        "every value could be of one row"
    );
    assert_eq!(LISTS.close_bound(&three, 8, 1, 0), 4 * 12);
    assert_eq!(LISTS.close_bound(&three, 8, 2, 0), 8 * 12);
    assert_eq!(LISTS.open_row_after(&three, 0), 4);
    // The row goes on from an earlier page.
    let middle = lists(&[20, 1], 10);
    assert_eq!(LISTS.open_row_after(&middle, 90), 100);
    assert_eq!(
        row_lengths(&[20, 1, 6, 0], 1, 13, 90),
        Some(RowLengths {
            longest: 100,
            last: 1
        })
    );
    // Levels that are cut, or of no values, are not trusted.
    for levels in [&[][..], &[3], &[0, 1], &[1]] {
        assert_eq!(row_lengths(levels, 1, 8, 0), None, "{levels:?}");
    }
}

#[test]
fn levels_of_several_bits_are_told_apart() {
    // Levels 0, 2, 1, 0, 3, 0, 0, 0 of two bits each.
    let levels = [3, 0b0001_1000, 0b0000_0011];
    let rows = row_lengths(&levels, 3, 8, 0).unwrap();
    assert_eq!(
        rows,
        RowLengths {
            longest: 3,
            last: 1
        }
    );
}
