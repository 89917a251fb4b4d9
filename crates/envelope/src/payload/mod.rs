//! The payload: a row of an Arrow batch as one JSON object, column by column in file order.
//!
//! An encoder is built once a column and batch: it knows the column's type, nulls and buffers, so
//! that appending a value is one indirect call. Columns that are constant in the batch are rendered
//! once and lie in the literal text between the others.
//!
//! | Arrow type | JSON |
//! |---|---|
//! | integers | number, exact at 64 bits |
//! | floats | widened to 64 bits, the shortest digits that read back as the same; no NaN or infinity |
//! | decimals | number with all digits of the scale |
//! | booleans, null | `true`, `false`, `null` |
//! | strings | string |
//! | binary | string, base64 with padding |
//! | dates | string, `YYYY-MM-DD` |
//! | times of day | string, `HH:MM:SS` and the digits of the unit |
//! | timestamps | string, `YYYY-MM-DDTHH:MM:SS` and the digits of the unit, `Z` if there is a zone |
//! | lists | array |
//! | structs, maps with string keys | object |
//! | dictionaries, run-ends | their values |
//! | durations, intervals, unions | refused: there is no agreed text |

mod nested;
mod number;
mod temporal;
mod text;

use std::borrow::Cow;
use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use crate::error::{Error, ReasonCode, RowPlace};
use crate::json_text;

/// A value without an exact JSON form.
#[derive(Debug)]
pub(crate) struct Unsupported {
    /// The column and the place within its value, like `orders[3].amount`.
    path: String,
    /// The rest of a sentence that begins with the value.
    why: Cow<'static, str>,
}

impl Unsupported {
    pub(crate) fn at(self, at: RowPlace) -> Error {
        let Self { path: column, why } = self;
        let what = format!("The value {why}");
        at.error(ReasonCode::PayloadValueUnsupported, what)
            .field(column)
    }
}

/// Boxed, so that success is one word in a register.
type Appended = Result<(), Box<Unsupported>>;

type AppendValue<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> Appended + 'a>;

fn unsupported(why: impl Into<Cow<'static, str>>) -> Appended {
    Err(Box::new(Unsupported {
        path: String::new(),
        why: why.into(),
    }))
}

/// Adds a step to the place of a fault.
fn below(appended: Appended, step: impl FnOnce() -> String) -> Appended {
    appended.map_err(|mut fault| {
        fault.path.insert_str(0, &step());
        fault
    })
}

/// Renders the values of one column.
struct Encoder<'a> {
    nulls: Option<&'a NullBuffer>,
    append_value: AppendValue<'a>,
}

impl<'a> Encoder<'a> {
    fn new(array: &'a dyn Array) -> Self {
        Self {
            nulls: array.nulls(),
            append_value: append_value(array),
        }
    }

    fn append(&self, row: usize, out: &mut Vec<u8>) -> Appended {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        (self.append_value)(row, out)
    }
}

/// How to render the values of an array that are not null.
fn append_value(array: &dyn Array) -> AppendValue<'_> {
    match array.data_type() {
        DataType::Null => Box::new(|_, out| {
            out.extend_from_slice(b"null");
            Ok(())
        }),
        DataType::Boolean => number::booleans(array.as_boolean()),
        DataType::Int8 => number::integers(array.as_primitive::<Int8Type>()),
        DataType::Int16 => number::integers(array.as_primitive::<Int16Type>()),
        DataType::Int32 => number::integers(array.as_primitive::<Int32Type>()),
        DataType::Int64 => number::integers(array.as_primitive::<Int64Type>()),
        DataType::UInt8 => number::integers(array.as_primitive::<UInt8Type>()),
        DataType::UInt16 => number::integers(array.as_primitive::<UInt16Type>()),
        DataType::UInt32 => number::integers(array.as_primitive::<UInt32Type>()),
        DataType::UInt64 => number::integers(array.as_primitive::<UInt64Type>()),
        DataType::Float16 => number::floats(array.as_primitive::<Float16Type>()),
        DataType::Float32 => number::floats(array.as_primitive::<Float32Type>()),
        DataType::Float64 => number::floats(array.as_primitive::<Float64Type>()),
        DataType::Decimal32(_, scale) => {
            number::decimals(array.as_primitive::<Decimal32Type>(), *scale)
        }
        DataType::Decimal64(_, scale) => {
            number::decimals(array.as_primitive::<Decimal64Type>(), *scale)
        }
        DataType::Decimal128(_, scale) => {
            number::decimals(array.as_primitive::<Decimal128Type>(), *scale)
        }
        DataType::Decimal256(_, scale) => number::wide_decimals(array.as_primitive(), *scale),
        DataType::Utf8 => text::strings(array.as_string::<i32>()),
        DataType::LargeUtf8 => text::strings(array.as_string::<i64>()),
        DataType::Utf8View => text::string_views(array.as_string_view()),
        DataType::Binary => text::base64(array.as_binary::<i32>()),
        DataType::LargeBinary => text::base64(array.as_binary::<i64>()),
        DataType::FixedSizeBinary(_) => text::base64(array.as_fixed_size_binary()),
        DataType::BinaryView => text::base64(array.as_binary_view()),
        DataType::Timestamp(unit, zone) => temporal::timestamps(array, *unit, zone.is_some()),
        DataType::Date32 => temporal::dates(array.as_primitive()),
        DataType::Date64 => temporal::millisecond_dates(array.as_primitive()),
        DataType::Time32(unit) | DataType::Time64(unit) => temporal::times_of_day(array, *unit),
        DataType::List(_) => nested::lists(array.as_list::<i32>()),
        DataType::LargeList(_) => nested::lists(array.as_list::<i64>()),
        DataType::ListView(_) => nested::list_views(array.as_list_view::<i32>()),
        DataType::LargeListView(_) => nested::list_views(array.as_list_view::<i64>()),
        DataType::FixedSizeList(_, _) => nested::fixed_size_lists(array.as_fixed_size_list()),
        DataType::Struct(_) => nested::structs(array.as_struct()),
        DataType::Map(_, _) => nested::maps(array.as_map()),
        DataType::Dictionary(_, _) => nested::dictionaries(array.as_any_dictionary()),
        DataType::RunEndEncoded(_, _) => nested::runs(array),
        DataType::Duration(_) | DataType::Interval(_) | DataType::Union(_, _) => refuse(array),
    }
}

/// Refuses every value of an array, so that its nulls still pass.
fn refuse(array: &dyn Array) -> AppendValue<'_> {
    Box::new(|_, _| unsupported(format!("is of type {}", array.data_type())))
}

/// Renders the rows of one batch.
pub(crate) struct PayloadEncoder<'a> {
    columns: Vec<Column<'a>>,
    /// What follows the last varying column.
    end: Vec<u8>,
}

struct Column<'a> {
    /// What stands between the varying column before this one and this one's value.
    before: Vec<u8>,
    name: &'a str,
    encoder: Encoder<'a>,
}

impl<'a> PayloadEncoder<'a> {
    /// Builds the encoders; `constant` tells which columns are known to hold one value.
    ///
    /// # Errors
    /// A column whose name occurs twice: an object cannot hold both.
    pub(crate) fn new(batch: &'a RecordBatch, constant: &[bool]) -> Result<Self, Box<Unsupported>> {
        let mut names = HashSet::new();
        let mut columns = Vec::with_capacity(batch.num_columns());
        let mut literal = b"{".to_vec();
        for (index, array) in batch.columns().iter().enumerate() {
            let name = batch.schema_ref().field(index).name();
            if !names.insert(name) {
                let why = "stands beside another column of that name";
                below(unsupported(why), || name.clone())?;
            }
            if index > 0 {
                literal.push(b',');
            }
            json_text::append_name(name, &mut literal);
            let encoder = Encoder::new(array);
            let value = literal.len();
            if constant[index] && encoder.append(0, &mut literal).is_ok() {
                continue;
            }
            literal.truncate(value);
            columns.push(Column {
                before: std::mem::take(&mut literal),
                name,
                encoder,
            });
        }
        literal.push(b'}');
        Ok(Self {
            columns,
            end: literal,
        })
    }

    /// Appends the object of one row. After an error `out` holds a part of it.
    ///
    /// # Errors
    /// The column and why its value has no exact JSON form.
    pub(crate) fn append(&self, row: usize, out: &mut Vec<u8>) -> Appended {
        for column in &self.columns {
            out.extend_from_slice(&column.before);
            below(column.encoder.append(row, out), || column.name.to_owned())?;
        }
        out.extend_from_slice(&self.end);
        Ok(())
    }
}
