//! Event ids and ordering keys of whole batches.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayAccessor, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use crate::error::{Error, RowPlace};
use crate::event_id::EventId;
use crate::identity::{Identity, KeyFaultKind, boolean_text};
use crate::ordering_key::ordering_key;

impl Identity {
    /// Identifies the first `rows` rows of a batch, up to the first one with a faulty key.
    /// `constant` tells which columns of the batch are known to hold one value.
    pub(crate) fn of_batch(
        &mut self,
        batch: &RecordBatch,
        constant: &[bool],
        rows: usize,
    ) -> (Identities, Option<KeyFault>) {
        let mut keys = Vec::with_capacity(self.columns.len());
        let mut rows = rows;
        let mut fault = None;
        for name in &self.columns {
            let (row, kind) = match KeyColumn::find(name, batch, constant) {
                Err(kind) => (0, kind),
                Ok(key) => {
                    let null = key.first_null(rows);
                    keys.push(key);
                    match null {
                        Some(row) => (row, KeyFaultKind::Null),
                        None => continue,
                    }
                }
            };
            // Of several columns that are faulty in one row, the first one counts.
            if row < rows {
                rows = row;
                fault = Some(KeyFault {
                    row,
                    column: name.clone(),
                    kind,
                });
            }
        }
        if rows == 0 {
            return (Identities::default(), fault);
        }
        (self.of_keys(&keys, rows), fault)
    }

    fn of_keys(&mut self, keys: &[KeyColumn<'_>], rows: usize) -> Identities {
        let leading = keys.iter().take_while(|key| key.constant).count();
        let (leading, varying) = keys.split_at(leading);
        let mut order = self.output_key;
        self.text.clear();
        for (place, key) in leading.iter().enumerate() {
            let start = self.text.len();
            (key.append)(0, &mut self.text);
            if self.ordering == Some(place) {
                order = ordering_key(&self.text[start..]);
            }
            self.text.push(b'|');
        }
        let head = self.head.with(&self.text);
        let ordering = self
            .ordering
            .and_then(|place| place.checked_sub(leading.len()));

        let mut event_ids = Vec::with_capacity(rows);
        let mut ordering_keys = Vec::with_capacity(rows);
        for row in 0..rows {
            self.text.clear();
            for (place, key) in varying.iter().enumerate() {
                let start = self.text.len();
                (key.append)(row, &mut self.text);
                if ordering == Some(place) {
                    order = ordering_key(&self.text[start..]);
                }
                self.text.push(b'|');
            }
            self.text.extend_from_slice(&self.tail);
            event_ids.push(head.finish(&self.text));
            ordering_keys.push(order);
        }
        Identities {
            event_ids,
            ordering_keys,
        }
    }
}

/// Ids and ordering keys of consecutive rows.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    pub(crate) event_ids: Vec<EventId>,
    pub(crate) ordering_keys: Vec<u64>,
}

/// Why a row has no identity.
#[derive(Debug)]
pub(crate) struct KeyFault {
    /// The row of the batch.
    row: usize,
    column: String,
    kind: KeyFaultKind,
}

impl KeyFault {
    pub(crate) fn error(self, at: impl FnOnce(usize) -> RowPlace) -> Error {
        at(self.row).of(self.kind.error(&self.column))
    }
}

type AppendText<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

/// One key column of a batch.
pub(crate) struct KeyColumn<'a> {
    constant: bool,
    /// Those of dictionary values too.
    nulls: Option<NullBuffer>,
    append: AppendText<'a>,
}

impl<'a> KeyColumn<'a> {
    pub(crate) fn find(
        name: &str,
        batch: &'a RecordBatch,
        constant: &[bool],
    ) -> Result<Self, KeyFaultKind> {
        let index = batch
            .schema_ref()
            .index_of(name)
            .map_err(|_| KeyFaultKind::NoColumn)?;
        let column = batch.column(index);
        let append = append_text(column)
            .ok_or_else(|| KeyFaultKind::Type(format!("of type {}", column.data_type())))?;
        let nulls = column
            .logical_nulls()
            .filter(|nulls| nulls.null_count() > 0);
        Ok(Self {
            constant: constant[index],
            nulls,
            append,
        })
    }

    /// Whether a row has no value.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the text of a row's value, which is there.
    pub(crate) fn append_to(&self, row: usize, text: &mut Vec<u8>) {
        (self.append)(row, text);
    }

    /// The first null among some rows.
    fn first_null(&self, rows: usize) -> Option<usize> {
        let nulls = self.nulls.as_ref()?;
        (0..rows).find(|&row| nulls.is_null(row))
    }
}

/// How to write the values of a key column, if its type has an agreed text.
fn append_text(column: &dyn Array) -> Option<AppendText<'_>> {
    Some(match column.data_type() {
        DataType::Utf8 => strings(column.as_string::<i32>()),
        DataType::LargeUtf8 => strings(column.as_string::<i64>()),
        DataType::Utf8View => strings(column.as_string_view()),
        DataType::Int8 => integers(column.as_primitive::<Int8Type>()),
        DataType::Int16 => integers(column.as_primitive::<Int16Type>()),
        DataType::Int32 => integers(column.as_primitive::<Int32Type>()),
        DataType::Int64 => integers(column.as_primitive::<Int64Type>()),
        DataType::UInt8 => integers(column.as_primitive::<UInt8Type>()),
        DataType::UInt16 => integers(column.as_primitive::<UInt16Type>()),
        DataType::UInt32 => integers(column.as_primitive::<UInt32Type>()),
        DataType::UInt64 => integers(column.as_primitive::<UInt64Type>()),
        DataType::Boolean => {
            let values = column.as_boolean();
            Box::new(|row, text| text.extend_from_slice(boolean_text(values.value(row))))
        }
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_any_dictionary();
            let append = append_text(dictionary.values())?;
            if dictionary.values().is_empty() {
                return Some(append);
            }
            let keys = dictionary.normalized_keys();
            Box::new(move |row, text| append(keys[row], text))
        }
        // Without a value there is nothing to write; the nulls are found as such.
        DataType::Null => Box::new(|_, _| ()),
        _ => return None,
    })
}

fn strings<'a, A>(values: A) -> AppendText<'a>
where
    A: ArrayAccessor<Item = &'a str> + 'a,
{
    Box::new(move |row, text| text.extend_from_slice(values.value(row).as_bytes()))
}

fn integers<T>(column: &PrimitiveArray<T>) -> AppendText<'_>
where
    T: ArrowPrimitiveType<Native: itoa::Integer>,
{
    let values = column.values();
    Box::new(|row, text| {
        text.extend_from_slice(itoa::Buffer::new().format(values[row]).as_bytes());
    })
}
