//! Parquet's logical types where Arrow's own reading of them is not the value.
//!
//! | Parquet | Arrow's reader gives | rows have |
//! |---|---|---|
//! | ENUM, by logical or converted type | bytes | text |
//! | UUID | 16 bytes | text of 36 characters |
//! | dictionaries of booleans, of bytes of one length, of decimals, by the Arrow schema | an error | the values |
//! | INT96 | a timestamp, wrapped outside the years 1677 to 2262 | the same, and one that is not exact is refused |
//!
//! Columns are found by their place among the leaves of the schema, so that it makes no
//! difference how deeply they are nested. A part without such a column is read as Arrow's
//! reader reads it.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch,
    RecordBatchOptions, StructArray,
};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::page_values::ColumnShape;
use super::pages::stored_bytes;

/// How a part's columns are read, and what becomes of them.
#[derive(Debug, Clone)]
pub(super) struct LogicalTypes {
    /// What Arrow's reader is asked for, where that is not what it gives unasked.
    pub(super) read: Option<SchemaRef>,
    /// What the rows have, where that is not what is read.
    shown: Option<SchemaRef>,
    /// INT96 leaves.
    int96: Vec<usize>,
    /// Whether all of those are read as nanoseconds.
    in_nanos: bool,
}

impl LogicalTypes {
    /// The types of a part, from its Parquet schema and Arrow's reading of it.
    pub(super) fn of(parquet: &SchemaDescriptor, arrow: &SchemaRef) -> Self {
        let read = with_leaves(arrow, |leaf, given| {
            let column = parquet.column(leaf);
            if is_enum(&column) && *given != DataType::Utf8 {
                Some(DataType::Utf8)
            } else if is_uuid(&column) && *given != DataType::FixedSizeBinary(16) {
                Some(DataType::FixedSizeBinary(16))
            } else {
                value_of_dictionary(&column, given)
            }
        });
        let shown = with_leaves(read.as_ref().unwrap_or(arrow), |leaf, _| {
            is_uuid(&parquet.column(leaf)).then_some(DataType::Utf8)
        });
        let (mut int96, mut in_nanos) = (Vec::new(), true);
        with_leaves(arrow, |leaf, given| {
            let is_int96 = parquet.column(leaf).physical_type() == PhysicalType::INT96;
            // A column annotated UNKNOWN has nulls only.
            if is_int96 && *given != DataType::Null {
                int96.push(leaf);
                in_nanos &= matches!(given, DataType::Timestamp(TimeUnit::Nanosecond, _));
            }
            None
        });
        Self {
            read,
            shown,
            int96,
            in_nanos,
        }
    }

    /// The shapes of a part's columns, from its Parquet schema and the types it is read in.
    pub(super) fn shapes(parquet: &SchemaDescriptor, read: &SchemaRef) -> Arc<[ColumnShape]> {
        let mut value_bytes = vec![LARGEST_NUMBER_BYTES; parquet.num_columns()];
        with_leaves(read, |leaf, given| {
            let shown_as_text = is_uuid(&parquet.column(leaf));
            let text = if shown_as_text { UUID_TEXT_BYTES } else { 0 };
            value_bytes[leaf] = text + bytes_of(given);
            None
        });
        let columns = (0..parquet.num_columns()).map(|leaf| {
            let column = parquet.column(leaf);
            ColumnShape {
                physical: column.physical_type(),
                stored_bytes: stored_bytes(column.physical_type(), column.type_length()),
                value_bytes: value_bytes[leaf],
                max_repetition: column.max_rep_level(),
                max_definition: column.max_def_level(),
            }
        });
        columns.collect()
    }

    /// The schema of the rows, where it is not that of what is read.
    pub(super) fn shown_schema(&self) -> Option<&SchemaRef> {
        self.shown.as_ref()
    }

    /// The INT96 leaves among the wanted columns.
    pub(super) fn int96_of(&self, columns: &ProjectionMask) -> Vec<usize> {
        let wanted = self.int96.iter().copied();
        wanted.filter(|&leaf| columns.leaf_included(leaf)).collect()
    }

    /// Whether all INT96 leaves are read as nanoseconds.
    pub(super) fn are_in_nanos(&self) -> bool {
        self.in_nanos
    }

    /// A schema that reads INT96 leaves in a unit.
    pub(super) fn int96_in(&self, unit: TimeUnit, read: &SchemaRef) -> SchemaRef {
        let in_unit = with_leaves(read, |leaf, _| {
            let timestamp = DataType::Timestamp(unit, None);
            self.int96.contains(&leaf).then_some(timestamp)
        });
        in_unit.unwrap_or_else(|| read.clone())
    }

    /// The rows of a batch as they are shown.
    pub(super) fn show(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Some(shown) = &self.shown else {
            return Ok(batch);
        };
        let whole = batch.num_columns() == shown.fields().len();
        let schema = batch.schema();
        let mut fields = Vec::with_capacity(batch.num_columns());
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (index, column) in batch.columns().iter().enumerate() {
            // A batch has every column, or one that was found by its name.
            let field = if whole {
                &shown.fields()[index]
            } else {
                let name = schema.field(index).name();
                let (_, found) = shown
                    .fields()
                    .find(name)
                    .unwrap_or((0, &schema.fields()[index]));
                found
            };
            columns.push(show(column, field.data_type())?);
            fields.push(FieldRef::clone(field));
        }
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
    }
}

/// The largest fixed-size number: a decimal of 256 bits.
const LARGEST_NUMBER_BYTES: u64 = 32;
/// The text of a UUID and its offset.
const UUID_TEXT_BYTES: u64 = 36 + 8;

/// Bytes of a decoded value that is no text.
fn bytes_of(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Null => 0,
        DataType::Boolean => 1,
        DataType::FixedSizeBinary(bytes) => (*bytes).max(0) as u64,
        DataType::Dictionary(key, value) => bytes_of(key) + bytes_of(value),
        flat => flat
            .primitive_width()
            .map_or(LARGEST_NUMBER_BYTES, |bytes| bytes as u64),
    }
}

fn is_enum(column: &ColumnDescriptor) -> bool {
    column.physical_type() == PhysicalType::BYTE_ARRAY
        && (matches!(column.logical_type_ref(), Some(LogicalType::Enum))
            || column.logical_type_ref().is_none()
                && column.converted_type() == ConvertedType::ENUM)
}

fn is_uuid(column: &ColumnDescriptor) -> bool {
    column.physical_type() == PhysicalType::FIXED_LEN_BYTE_ARRAY
        && column.type_length() == 16
        && matches!(column.logical_type_ref(), Some(LogicalType::Uuid))
}

/// The values' type of a dictionary that the reader cannot build: it knows dictionaries of text,
/// of bytes and of numbers, and gives up at others, which pyarrow writes too.
fn value_of_dictionary(column: &ColumnDescriptor, given: &DataType) -> Option<DataType> {
    let DataType::Dictionary(_, value) = given else {
        return None;
    };
    let is_built = match column.physical_type() {
        PhysicalType::BOOLEAN | PhysicalType::FIXED_LEN_BYTE_ARRAY => false,
        PhysicalType::BYTE_ARRAY => matches!(
            **value,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary
        ),
        _ => !value.is_decimal(),
    };
    (!is_built).then(|| DataType::clone(value))
}

/// A schema with other types for some leaves; none if no leaf changes.
fn with_leaves(
    schema: &SchemaRef,
    mut change: impl FnMut(usize, &DataType) -> Option<DataType>,
) -> Option<SchemaRef> {
    let mut leaf = 0;
    let fields = fields_with_leaves(schema.fields(), &mut leaf, &mut change);
    let changed = fields != *schema.fields();
    changed.then(|| Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

type Change<'a> = &'a mut dyn FnMut(usize, &DataType) -> Option<DataType>;

fn fields_with_leaves(fields: &Fields, leaf: &mut usize, change: Change<'_>) -> Fields {
    let fields = fields.iter();
    fields
        .map(|field| field_with_leaves(field, leaf, &mut *change))
        .collect()
}

fn field_with_leaves(field: &Field, leaf: &mut usize, change: Change<'_>) -> FieldRef {
    let mut child = |field: &Field| field_with_leaves(field, leaf, &mut *change);
    let data_type = match field.data_type() {
        DataType::Struct(fields) => {
            DataType::Struct(fields_with_leaves(fields, leaf, &mut *change))
        }
        DataType::List(item) => DataType::List(child(item)),
        DataType::LargeList(item) => DataType::LargeList(child(item)),
        DataType::ListView(item) => DataType::ListView(child(item)),
        DataType::LargeListView(item) => DataType::LargeListView(child(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(child(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(child(entries), *sorted),
        flat => {
            let changed = change(*leaf, flat);
            *leaf += 1;
            changed.unwrap_or_else(|| flat.clone())
        }
    };
    Arc::new(field.clone().with_data_type(data_type))
}

/// An array with its UUIDs as text.
fn show(array: &ArrayRef, shown: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == shown {
        return Ok(array.clone());
    }
    let nulls = array.nulls().cloned();
    Ok(match (array.data_type(), shown) {
        (DataType::FixedSizeBinary(16), DataType::Utf8) => uuid_texts(array),
        (DataType::Struct(_), DataType::Struct(fields)) => {
            Arc::new(show_struct(array.as_struct(), fields)?)
        }
        (DataType::List(_), DataType::List(item)) => show_list::<i32>(array, item)?,
        (DataType::LargeList(_), DataType::LargeList(item)) => show_list::<i64>(array, item)?,
        (DataType::FixedSizeList(..), DataType::FixedSizeList(item, size)) => {
            let values = show(array.as_fixed_size_list().values(), item.data_type())?;
            let lists = FixedSizeListArray::try_new(item.clone(), *size, values, nulls)?;
            Arc::new(lists)
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let maps = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else {
                return Ok(array.clone());
            };
            let shown = show_struct(maps.entries(), fields)?;
            let offsets = maps.offsets().clone();
            Arc::new(MapArray::try_new(
                entries.clone(),
                offsets,
                shown,
                nulls,
                *sorted,
            )?)
        }
        (read, shown) => {
            let what = format!("a UUID inside {read} cannot be shown as {shown}");
            return Err(ArrowError::NotYetImplemented(what));
        }
    })
}

fn show_struct(array: &StructArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let columns = array.columns().iter().zip(fields);
    let columns = columns.map(|(column, field)| show(column, field.data_type()));
    StructArray::try_new(
        fields.clone(),
        columns.collect::<Result<_, _>>()?,
        array.nulls().cloned(),
    )
}

fn show_list<O: OffsetSizeTrait>(
    array: &ArrayRef,
    item: &FieldRef,
) -> Result<ArrayRef, ArrowError> {
    let lists = array.as_list::<O>();
    let values = show(lists.values(), item.data_type())?;
    let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
    let shown = GenericListArray::<O>::try_new(item.clone(), offsets, values, nulls)?;
    Ok(Arc::new(shown))
}

/// The usual text of UUIDs: lowercase hex digits in groups of 8, 4, 4, 4 and 12.
fn uuid_texts(array: &ArrayRef) -> ArrayRef {
    let values = array.as_fixed_size_binary();
    let mut texts = StringBuilder::with_capacity(values.len(), values.len() * 36);
    let mut text = String::with_capacity(36);
    for value in values {
        text.clear();
        for (at, byte) in value.into_iter().flatten().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            let _ = write!(text, "{byte:02x}");
        }
        texts.append_option(value.map(|_| &text));
    }
    Arc::new(texts.finish())
}
