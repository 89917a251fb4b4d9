//! Columns that hold one value throughout a batch.
//!
//! World pins repeat in every row of most outputs. What is constant is rendered and hashed once a
//! batch instead of once a row.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrowPrimitiveType, GenericStringArray, OffsetSizeTrait, StringViewArray,
};
use arrow_schema::DataType;

/// Whether every row is known to hold the same value, or null. May say no of a column that is
/// constant: looking further would cost more than it saves.
pub(crate) fn is_constant(column: &dyn Array) -> bool {
    if column.is_empty() {
        return false;
    }
    match column.null_count() {
        0 => {}
        nulls => return nulls == column.len(),
    }
    match column.data_type() {
        DataType::Int8 => same_number::<Int8Type>(column),
        DataType::Int16 => same_number::<Int16Type>(column),
        DataType::Int32 => same_number::<Int32Type>(column),
        DataType::Int64 => same_number::<Int64Type>(column),
        DataType::UInt8 => same_number::<UInt8Type>(column),
        DataType::UInt16 => same_number::<UInt16Type>(column),
        DataType::UInt32 => same_number::<UInt32Type>(column),
        DataType::UInt64 => same_number::<UInt64Type>(column),
        DataType::Utf8 => same_text(column.as_string::<i32>()),
        DataType::LargeUtf8 => same_text(column.as_string::<i64>()),
        DataType::Utf8View => same_view(column.as_string_view()),
        DataType::Dictionary(_, _) => is_constant(column.as_any_dictionary().keys()),
        DataType::Boolean => {
            let trues = column.as_boolean().true_count();
            trues == 0 || trues == column.len()
        }
        _ => false,
    }
}

fn all_same<T: PartialEq>(values: &[T]) -> bool {
    match values {
        [first, .., last] => first == last && values.iter().all(|value| value == first),
        _ => true,
    }
}

fn same_number<T: ArrowPrimitiveType>(column: &dyn Array) -> bool {
    all_same(column.as_primitive::<T>().values())
}

fn same_text<O: OffsetSizeTrait>(column: &GenericStringArray<O>) -> bool {
    let (first, last) = (column.value(0), column.value(column.len() - 1));
    first == last && column.iter().all(|value| value == Some(first))
}

fn same_view(column: &StringViewArray) -> bool {
    // Equal views are equal texts; unequal ones may still be equal if the text is not inline.
    if all_same(column.views()) {
        return true;
    }
    let (first, last) = (column.value(0), column.value(column.len() - 1));
    first == last && column.iter().all(|value| value == Some(first))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::{
        ArrayRef, BooleanArray, DictionaryArray, Int8Array, Int64Array, LargeStringArray,
        StringArray, StringViewArray,
    };

    use super::*;

    #[test]
    fn one_value_in_every_row_is_seen_in_every_kind_of_column() {
        let long = "a text that is too long to lie within a view";
        let constant: [ArrayRef; 8] = [
            Arc::new(Int64Array::from(vec![7; 5])),
            Arc::new(StringArray::from(vec!["one"; 5])),
            Arc::new(LargeStringArray::from(vec![""; 5])),
            Arc::new(StringViewArray::from(vec![long; 5])),
            Arc::new(BooleanArray::from(vec![false; 5])),
            Arc::new(Int64Array::from(vec![None; 5])),
            Arc::new(DictionaryArray::new(
                Int8Array::from(vec![1; 5]),
                Arc::new(StringArray::from(vec!["zero", "one"])),
            )),
            Arc::new(StringArray::from(vec!["one", "two", "two"]).slice(1, 2)),
        ];
        for column in constant {
            assert!(is_constant(&column), "{column:?}");
        }
    }

    #[test]
    fn a_second_value_anywhere_is_seen() {
        let dictionary: DictionaryArray<Int8Type> = ["a", "b", "a"].into_iter().collect();
        let varying: [ArrayRef; 7] = [
            Arc::new(Int64Array::from(vec![7, 8, 7])),
            Arc::new(Int64Array::from(vec![Some(7), None, Some(7)])),
            Arc::new(StringArray::from(vec!["a", "b", "a"])),
            Arc::new(StringArray::from(vec!["aa", "a", "aa"])),
            Arc::new(StringViewArray::from(vec!["a", "b", "a"])),
            Arc::new(BooleanArray::from(vec![true, false, true])),
            Arc::new(dictionary),
        ];
        for column in varying {
            assert!(!is_constant(&column), "{column:?}");
        }
    }
}
