//! Strings and binary.

use arrow_array::{Array, ArrayAccessor, GenericStringArray, OffsetSizeTrait, StringViewArray};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{AppendValue, unsupported};
use crate::json_text;

pub(super) fn strings<O: OffsetSizeTrait>(array: &GenericStringArray<O>) -> AppendValue<'_> {
    // The texts of a column lie side by side, so one look at all of them tells whether any value
    // needs escapes; most columns have none.
    let offsets = array.value_offsets();
    let used = offsets[0].as_usize()..offsets[array.len()].as_usize();
    if json_text::needs_escape(&array.value_data()[used]) {
        Box::new(|row, out| {
            json_text::append_string(array.value(row), out);
            Ok(())
        })
    } else {
        Box::new(|row, out| {
            json_text::append_clean_string(array.value(row), out);
            Ok(())
        })
    }
}

pub(super) fn string_views(array: &StringViewArray) -> AppendValue<'_> {
    Box::new(|row, out| {
        json_text::append_string(array.value(row), out);
        Ok(())
    })
}

pub(super) fn base64<'a, A>(array: A) -> AppendValue<'a>
where
    A: ArrayAccessor<Item = &'a [u8]> + 'a,
{
    Box::new(move |row, out| {
        let value = array.value(row);
        out.push(b'"');
        let start = out.len();
        // Room for the worst case, then cut to what was written.
        out.resize(start + value.len().div_ceil(3) * 4, 0);
        let Ok(written) = STANDARD.encode_slice(value, &mut out[start..]) else {
            return unsupported("is too long for base64");
        };
        out.truncate(start + written);
        out.push(b'"');
        Ok(())
    })
}
