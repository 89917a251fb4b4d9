//! Rows of a stream view that hold their payloads as JSON texts.
//!
//! A view has the columns of its output; or a column `payload_json`, whose value is the payload,
//! beside the columns that the view is sorted by.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};

use super::{JsonLines, Rows};
use crate::error::{Error, ReasonCode};

/// The column whose values are the payloads, in views that have it.
const PAYLOAD_COLUMN: &str = "payload_json";

/// Whether the rows of a view with these columns are payloads.
pub(super) fn has_payloads(schema: &Schema) -> bool {
    schema.column_with_name(PAYLOAD_COLUMN).is_some()
}

/// The rows of a batch: its columns, or the payloads that one of them holds. A payload that is
/// null is an empty line, which is no JSON object. `times` is the column of event times.
pub(super) fn rows_of(
    batch: RecordBatch,
    first_row: u64,
    name: &str,
    times: &str,
) -> Result<Rows, Error> {
    let Some(payloads) = batch.column_by_name(PAYLOAD_COLUMN) else {
        return Ok(Rows::Arrow(batch));
    };
    let mut lines = Lines::default();
    if !lines.append(payloads) {
        let what = format!(
            "The payloads of a stream view are of the type {}, not JSON texts",
            payloads.data_type()
        );
        let error = Error::new(ReasonCode::OracleReadFailed, what).object(name);
        return Err(error.row(first_row).field(PAYLOAD_COLUMN));
    }
    Ok(Rows::JsonLines(JsonLines {
        bytes: lines.bytes.into(),
        ranges: lines.ranges,
        times: batch.column_by_name(times).cloned(),
    }))
}

/// Texts one after the other.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    ranges: Vec<(u32, u32)>,
}

impl Lines {
    /// Appends the values of a column; false if they are no texts.
    fn append(&mut self, column: &ArrayRef) -> bool {
        match column.data_type() {
            DataType::Utf8 => self.push_all(column.as_string::<i32>().iter()),
            DataType::LargeUtf8 => self.push_all(column.as_string::<i64>().iter()),
            DataType::Utf8View => self.push_all(column.as_string_view().iter()),
            DataType::Binary => self.push_all(column.as_binary::<i32>().iter()),
            DataType::LargeBinary => self.push_all(column.as_binary::<i64>().iter()),
            DataType::BinaryView => self.push_all(column.as_binary_view().iter()),
            DataType::Dictionary(_, _) => return self.append_dictionary(column),
            _ => return false,
        }
        true
    }

    fn push_all<T: AsRef<[u8]>>(&mut self, texts: impl Iterator<Item = Option<T>>) {
        for text in texts {
            self.push(text.as_ref().map_or(&[], T::as_ref));
        }
    }

    fn push(&mut self, text: &[u8]) {
        // A batch stays near 4 MiB, so that places in it fit.
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        self.ranges.push((start, self.bytes.len() as u32));
    }

    fn append_dictionary(&mut self, column: &ArrayRef) -> bool {
        let dictionary = column.as_any_dictionary();
        let mut values = Self::default();
        if !values.append(dictionary.values()) {
            return false;
        }
        if dictionary.values().is_empty() {
            (0..column.len()).for_each(|_| self.push(&[]));
            return true;
        }
        for (row, key) in dictionary.normalized_keys().into_iter().enumerate() {
            let (start, end) = if dictionary.keys().is_valid(row) {
                values.ranges[key]
            } else {
                (0, 0)
            };
            self.push(&values.bytes[start as usize..end as usize]);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{BinaryArray, DictionaryArray, Int64Array, LargeStringArray, StringArray};
    use arrow_array::{StringViewArray, TimestampMicrosecondArray};

    use super::*;
    use crate::part::TIME_COLUMN;

    fn batch(payloads: ArrayRef) -> RecordBatch {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3]));
        RecordBatch::try_from_iter_with_nullable([
            (TIME_COLUMN, times, true),
            (PAYLOAD_COLUMN, payloads, true),
        ])
        .unwrap()
    }

    #[test]
    fn payloads_are_taken_out_of_every_column_of_texts() {
        let texts = vec![Some(r#"{"a":1}"#), None, Some("{}")];
        let bytes = texts.iter().map(|text| text.map(str::as_bytes)).collect();
        let dictionary: DictionaryArray<Int32Type> = texts.iter().copied().collect();
        let columns: [ArrayRef; 5] = [
            Arc::new(StringArray::from(texts.clone())),
            Arc::new(LargeStringArray::from(texts.clone())),
            Arc::new(StringViewArray::from(texts.clone())),
            Arc::new(BinaryArray::from_opt_vec(bytes)),
            Arc::new(dictionary),
        ];
        for column in columns {
            let kind = column.data_type().clone();
            let Rows::JsonLines(lines) = rows_of(batch(column), 0, "v", TIME_COLUMN).unwrap()
            else {
                panic!("{kind} is no payload");
            };
            let found: Vec<&[u8]> = lines.iter().collect();
            assert_eq!(found, [&br#"{"a":1}"#[..], b"", b"{}"], "{kind}");
            assert_eq!(lines.times().unwrap().len(), 3);
        }
    }

    #[test]
    fn a_column_of_other_values_is_refused_and_a_view_without_one_keeps_its_columns() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let error = rows_of(batch(numbers.clone()), 7, "v", TIME_COLUMN).unwrap_err();
        assert_eq!(error.code(), ReasonCode::OracleReadFailed);
        let plain = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        assert!(matches!(
            rows_of(plain, 0, "v", TIME_COLUMN).unwrap(),
            Rows::Arrow(_)
        ));
    }
}
