//! Lists, structs and maps, and the encodings that stand for other arrays.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type, Int64Type, RunEndIndexType};
use arrow_array::{
    AnyDictionaryArray, Array, FixedSizeListArray, GenericListArray, GenericListViewArray,
    MapArray, OffsetSizeTrait, RunArray, StructArray,
};
use arrow_schema::DataType;

use super::{AppendValue, Appended, Encoder, below, refuse, unsupported};
use crate::json_text;

fn append_items(items: &Encoder<'_>, range: Range<usize>, out: &mut Vec<u8>) -> Appended {
    out.push(b'[');
    for (place, item) in range.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        below(items.append(item, out), || format!("[{place}]"))?;
    }
    out.push(b']');
    Ok(())
}

pub(super) fn lists<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> AppendValue<'_> {
    let items = Encoder::new(array.values());
    let offsets = array.value_offsets();
    Box::new(move |row, out| {
        append_items(
            &items,
            offsets[row].as_usize()..offsets[row + 1].as_usize(),
            out,
        )
    })
}

pub(super) fn list_views<O: OffsetSizeTrait>(array: &GenericListViewArray<O>) -> AppendValue<'_> {
    let items = Encoder::new(array.values());
    let (offsets, sizes) = (array.value_offsets(), array.value_sizes());
    Box::new(move |row, out| {
        let start = offsets[row].as_usize();
        append_items(&items, start..start + sizes[row].as_usize(), out)
    })
}

pub(super) fn fixed_size_lists(array: &FixedSizeListArray) -> AppendValue<'_> {
    let items = Encoder::new(array.values());
    let length = array.value_length() as usize;
    Box::new(move |row, out| {
        let start = array.value_offset(row) as usize;
        append_items(&items, start..start + length, out)
    })
}

pub(super) fn structs(array: &StructArray) -> AppendValue<'_> {
    let mut names = HashSet::new();
    if let Some(twice) = array
        .fields()
        .iter()
        .find(|field| !names.insert(field.name()))
    {
        return Box::new(|_, _| unsupported(format!("has two fields named {}", twice.name())));
    }
    let mut before = b"{".to_vec();
    let mut fields = Vec::with_capacity(array.num_columns());
    for (field, column) in array.fields().iter().zip(array.columns()) {
        json_text::append_name(field.name(), &mut before);
        fields.push((
            std::mem::replace(&mut before, b",".to_vec()),
            field,
            Encoder::new(column),
        ));
    }
    Box::new(move |row, out| {
        if fields.is_empty() {
            out.push(b'{');
        }
        for (before, field, encoder) in &fields {
            out.extend_from_slice(before);
            below(encoder.append(row, out), || format!(".{}", field.name()))?;
        }
        out.push(b'}');
        Ok(())
    })
}

pub(super) fn maps(array: &MapArray) -> AppendValue<'_> {
    if !is_text(array.keys().data_type()) {
        return refuse(array);
    }
    let keys = Encoder::new(array.keys());
    let values = Encoder::new(array.values());
    let offsets = array.value_offsets();
    // Where the keys of one map lie in the output; kept between rows for its memory only.
    let written: RefCell<Vec<Range<usize>>> = RefCell::default();
    Box::new(move |row, out| {
        let mut written = written.borrow_mut();
        written.clear();
        out.push(b'{');
        for entry in offsets[row] as usize..offsets[row + 1] as usize {
            if !written.is_empty() {
                out.push(b',');
            }
            let start = out.len();
            keys.append(entry, out)?;
            if out[start] != b'"' {
                return unsupported("has a key that is null");
            }
            let key = start..out.len();
            written.push(key.clone());
            out.push(b':');
            let appended = values.append(entry, out);
            below(appended, || {
                format!("[{}]", String::from_utf8_lossy(&out[key]))
            })?;
        }
        out.push(b'}');
        written.sort_unstable_by(|a, b| out[a.clone()].cmp(&out[b.clone()]));
        if written
            .windows(2)
            .any(|pair| out[pair[0].clone()] == out[pair[1].clone()])
        {
            return unsupported("has the same key twice");
        }
        Ok(())
    })
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

pub(super) fn dictionaries(array: &dyn AnyDictionaryArray) -> AppendValue<'_> {
    let values = Encoder::new(array.values());
    if array.values().is_empty() {
        // Then every key is null, and the keys' nulls answer for every row.
        return refuse(array);
    }
    let keys = array.normalized_keys();
    Box::new(move |row, out| values.append(keys[row], out))
}

pub(super) fn runs(array: &dyn Array) -> AppendValue<'_> {
    fn of<R: RunEndIndexType>(array: &RunArray<R>) -> AppendValue<'_> {
        let values = Encoder::new(array.values());
        Box::new(move |row, out| values.append(array.get_physical_index(row), out))
    }
    if let Some(array) = array.as_run_opt::<Int16Type>() {
        of(array)
    } else if let Some(array) = array.as_run_opt::<Int32Type>() {
        of(array)
    } else if let Some(array) = array.as_run_opt::<Int64Type>() {
        of(array)
    } else {
        refuse(array)
    }
}
