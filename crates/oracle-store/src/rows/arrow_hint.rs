//! The Arrow schema that a Parquet footer may hold under `ARROW:schema`.
//!
//! Writers leave it so that readers know what Parquet's own types cannot say: durations,
//! time zones, dictionaries, timestamps in seconds. Payloads depend on it, so a schema that
//! is not understood is refused and never passed over. The Parquet reader decodes it with
//! code that panics on every type it does not know (a Polars `Int128` is one), so each field
//! is looked at here first, by the same rules.

use std::fmt;

use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::{
    DateUnit, Endianness, Field, Int, IntervalUnit, Precision, Schema, TimeUnit, Type,
    root_as_message,
};
use arrow_schema::Fields;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::file::metadata::FileMetaData;

/// What is not understood of a footer's Arrow schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotUnderstood {
    /// The column, with the names of its parents; none if it is the schema as a whole.
    pub(super) column: Option<String>,
    what: String,
}

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for NotUnderstood {}

impl NotUnderstood {
    fn whole(what: impl Into<String>) -> Self {
        Self {
            column: None,
            what: what.into(),
        }
    }
}

/// Refuses a footer whose Arrow schema the Parquet reader would not decode.
pub(super) fn check(footer: &FileMetaData) -> Result<(), NotUnderstood> {
    schemas_of(footer).try_for_each(|encoded| {
        let bytes = decoded(encoded)?;
        check_schema(schema_in(&bytes)?)
    })
}

/// The columns of a footer's Arrow schema, once [`check`] has found nothing.
pub(super) fn fields(footer: &FileMetaData) -> Option<Fields> {
    let bytes = decoded(schemas_of(footer).last()?).ok()?;
    Some(fb_to_schema(schema_in(&bytes).ok()?).fields)
}

fn schemas_of(footer: &FileMetaData) -> impl Iterator<Item = &str> {
    let pairs = footer.key_value_metadata().into_iter().flatten();
    pairs
        .filter(|pair| pair.key == ARROW_SCHEMA_META_KEY)
        .filter_map(|pair| pair.value.as_deref())
}

fn decoded(schema: &str) -> Result<Vec<u8>, NotUnderstood> {
    let bytes = BASE64_STANDARD.decode(schema);
    bytes.map_err(|error| NotUnderstood::whole(format!("it is no base64: {error}")))
}

fn schema_in(bytes: &[u8]) -> Result<Schema<'_>, NotUnderstood> {
    // A message may come with the marker and the length that it has in a stream.
    let is_framed = bytes.len() > 8 && bytes.starts_with(&[0xff; 4]);
    let message = if is_framed { &bytes[8..] } else { bytes };
    root_as_message(message)
        .map_err(|error| NotUnderstood::whole(format!("it is no Arrow message: {error}")))?
        .header_as_schema()
        .ok_or_else(|| NotUnderstood::whole("the Arrow message is no schema"))
}

fn check_schema(schema: Schema<'_>) -> Result<(), NotUnderstood> {
    let fields = schema
        .fields()
        .ok_or_else(|| NotUnderstood::whole("it has no fields"))?;
    for field in fields {
        let is_big = schema.endianness() == Endianness::Big;
        let known = if is_big && field.type_type() == Type::Decimal {
            Err(Unknown::here("a big-endian decimal"))
        } else {
            known(field)
        };
        known.map_err(|unknown| NotUnderstood {
            column: Some(unknown.path_from(field)),
            what: format!("its type is {}", unknown.what),
        })?;
    }
    Ok(())
}

/// A type that is not known, and the fields that lead to it from below.
struct Unknown {
    what: String,
    names: Vec<String>,
}

impl Unknown {
    fn here(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            names: Vec::new(),
        }
    }

    /// The same, found inside a child.
    fn under(mut self, child: Field<'_>) -> Self {
        self.names.push(name_of(child));
        self
    }

    fn path_from(&self, field: Field<'_>) -> String {
        let mut path = name_of(field);
        for name in self.names.iter().rev() {
            path.push('.');
            path.push_str(name);
        }
        path
    }
}

fn name_of(field: Field<'_>) -> String {
    field.name().unwrap_or_default().to_owned()
}

fn known(field: Field<'_>) -> Result<(), Unknown> {
    if let Some(dictionary) = field.dictionary() {
        let index = dictionary
            .indexType()
            .ok_or_else(|| Unknown::here("a dictionary without an index type"))?;
        known_integer(index)?;
    }
    let is_known = match field.type_type() {
        Type::Null
        | Type::Bool
        | Type::Binary
        | Type::BinaryView
        | Type::LargeBinary
        | Type::Utf8
        | Type::Utf8View
        | Type::LargeUtf8 => true,
        Type::Int => {
            let int = field.type_as_int();
            return int.map_or_else(|| Err(Unknown::here(described(field))), known_integer);
        }
        Type::FixedSizeBinary => field
            .type_as_fixed_size_binary()
            .is_some_and(|bytes| bytes.byteWidth() >= 0),
        Type::FloatingPoint => field.type_as_floating_point().is_some_and(|float| {
            matches!(
                float.precision(),
                Precision::HALF | Precision::SINGLE | Precision::DOUBLE
            )
        }),
        Type::Date => field
            .type_as_date()
            .is_some_and(|date| matches!(date.unit(), DateUnit::DAY | DateUnit::MILLISECOND)),
        Type::Time => field.type_as_time().is_some_and(|time| {
            matches!(
                (time.bitWidth(), time.unit()),
                (32, TimeUnit::SECOND | TimeUnit::MILLISECOND)
                    | (64, TimeUnit::MICROSECOND | TimeUnit::NANOSECOND)
            )
        }),
        Type::Timestamp => field
            .type_as_timestamp()
            .is_some_and(|time| is_unit(time.unit())),
        Type::Duration => field
            .type_as_duration()
            .is_some_and(|duration| is_unit(duration.unit())),
        Type::Interval => field.type_as_interval().is_some_and(|interval| {
            matches!(
                interval.unit(),
                IntervalUnit::YEAR_MONTH | IntervalUnit::DAY_TIME | IntervalUnit::MONTH_DAY_NANO
            )
        }),
        Type::Decimal => field.type_as_decimal().is_some_and(|decimal| {
            matches!(decimal.bitWidth(), 32 | 64 | 128 | 256)
                && u8::try_from(decimal.precision()).is_ok()
                && i8::try_from(decimal.scale()).is_ok()
        }),
        Type::List | Type::LargeList | Type::ListView | Type::LargeListView | Type::Map => {
            return known_children(field, Some(1));
        }
        Type::FixedSizeList => {
            let list = field.type_as_fixed_size_list();
            if list.is_some_and(|list| list.listSize() >= 0) {
                return known_children(field, Some(1));
            }
            false
        }
        Type::RunEndEncoded => return known_children(field, Some(2)),
        Type::Struct_ => return known_children(field, None),
        // No writer of Parquet has unions; their ids need checks of their own.
        _ => false,
    };
    if is_known {
        return Ok(());
    }
    Err(Unknown::here(described(field)))
}

fn known_integer(int: Int<'_>) -> Result<(), Unknown> {
    match int.bitWidth() {
        8 | 16 | 32 | 64 => Ok(()),
        bits => {
            let sign = if int.is_signed() {
                "a signed"
            } else {
                "an unsigned"
            };
            Err(Unknown::here(format!("{sign} integer of {bits} bits")))
        }
    }
}

fn known_children(field: Field<'_>, wanted: Option<usize>) -> Result<(), Unknown> {
    let children = field.children();
    let count = children.map_or(0, |children| children.len());
    if wanted.is_some_and(|wanted| wanted != count) {
        let what = format!("{} with {count} children", described(field));
        return Err(Unknown::here(what));
    }
    for child in children.into_iter().flatten() {
        known(child).map_err(|unknown| unknown.under(child))?;
    }
    Ok(())
}

fn is_unit(unit: TimeUnit) -> bool {
    matches!(
        unit,
        TimeUnit::SECOND | TimeUnit::MILLISECOND | TimeUnit::MICROSECOND | TimeUnit::NANOSECOND
    )
}

/// The name of a field's type, for error texts.
fn described(field: Field<'_>) -> String {
    let type_type = field.type_type();
    match type_type.variant_name() {
        Some(name) => format!("an unknown form of {name}"),
        None => format!("of the unknown kind {}", type_type.0),
    }
}
