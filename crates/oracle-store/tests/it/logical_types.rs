//! Parquet's logical types, flat and nested, as rows have them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use oracle_store::{Error, ReadOptions, ReasonCode, Rows, footer, open_rows, read_column};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType as Physical, FixedLenByteArray, FixedLenByteArrayType,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::world::*;

type PartWriter = SerializedFileWriter<Vec<u8>>;

/// A part of one row group with that schema, its columns written one after the other.
pub fn part(schema: &str, columns: impl FnOnce(&mut Columns<'_, '_>)) -> Vec<u8> {
    part_with(schema, WriterProperties::builder().build(), columns)
}

/// The same with other properties.
pub fn part_with(
    schema: &str,
    properties: WriterProperties,
    columns: impl FnOnce(&mut Columns<'_, '_>),
) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(properties);
    let mut writer = PartWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    columns(&mut Columns(&mut group));
    group.close().unwrap();
    writer.into_inner().unwrap()
}

pub struct Columns<'a, 'b>(&'a mut SerializedRowGroupWriter<'b, Vec<u8>>);

impl Columns<'_, '_> {
    /// Writes a column; nested ones with their definition and repetition levels.
    pub fn add<T: Physical>(&mut self, values: &[T::T], levels: Option<(&[i16], &[i16])>) {
        let mut column = self.0.next_column().unwrap().unwrap();
        let (definitions, repetitions) = levels.unzip();
        column
            .typed::<T>()
            .write_batch(values, definitions, repetitions)
            .unwrap();
        column.close().unwrap();
    }
}

pub fn texts(values: &[&str]) -> Vec<ByteArray> {
    values.iter().map(|&value| ByteArray::from(value)).collect()
}

pub async fn rows_of(bytes: Vec<u8>, batch_rows: usize) -> Result<Vec<RecordBatch>, Error> {
    let world = TestWorld::on_disk(&[object("data/single.parquet", bytes)]).await;
    let located = world.locate("single").await;
    let store = world.store.clone();
    on_a_thread(move || {
        let grant = granted(&store, &located.output_id);
        let options = ReadOptions {
            from_row: 0,
            batch_rows,
        };
        let shown = footer(&store, &located.parts[0])?.schema;
        let rows = open_rows(&grant, &located.parts[0], &options)?;
        rows.map(|batch| match batch?.rows {
            Rows::Arrow(rows) => {
                assert_eq!(Some(rows.schema()), shown, "the footer says what rows have");
                Ok(rows)
            }
            Rows::JsonLines(_) => unreachable!("a Parquet part"),
        })
        .collect()
    })
    .await
}

#[tokio::test]
async fn enum_and_json_columns_are_text_and_bson_is_bytes() {
    let schema = "message m {
        required binary kind (ENUM);
        required binary doc (JSON);
        required binary raw (BSON);
        optional group tags (LIST) { repeated group list { optional binary element (ENUM); } }
    }";
    let bytes = part(schema, |columns| {
        columns.add::<ByteArrayType>(&texts(&["AUTH", "CLEARING"]), None);
        columns.add::<ByteArrayType>(&texts(&["{}", "[1]"]), None);
        columns.add::<ByteArrayType>(&texts(&["a", "b"]), None);
        columns.add::<ByteArrayType>(&texts(&["x", "y"]), Some((&[3, 3, 0], &[0, 1, 0])));
    });
    let rows = &rows_of(bytes, 10).await.unwrap()[0];
    for (column, values) in [(0, ["AUTH", "CLEARING"]), (1, ["{}", "[1]"])] {
        let found = rows.column(column).as_string::<i32>();
        assert_eq!(found.iter().flatten().collect::<Vec<_>>(), values);
    }
    assert_eq!(*rows.column(2).data_type(), DataType::Binary);
    let tags = rows.column(3).as_list::<i32>();
    assert_eq!(tags.value(0).as_string::<i32>().value(1), "y");
    assert!(tags.is_null(1));
}

#[tokio::test]
async fn an_enum_that_is_no_text_is_refused_with_its_file_and_row() {
    let bytes = part("message m { required binary kind (ENUM); }", |columns| {
        let values = [ByteArray::from("A"), ByteArray::from(vec![0xff, 0xfe])];
        columns.add::<ByteArrayType>(&values, None);
    });
    let error = rows_of(bytes, 1).await.unwrap_err();
    assert_eq!(error.code(), ReasonCode::OracleReadFailed);
    assert_eq!(error.row_index(), Some(1), "{error}");
    assert!(error.to_string().contains("data/single.parquet"), "{error}");
}

#[tokio::test]
async fn an_enum_event_time_is_read_as_text() {
    let schema = "message m { required binary ts_utc (ENUM); required binary u (ENUM); }";
    let bytes = part(schema, |columns| {
        columns.add::<ByteArrayType>(&texts(&["2026-01-28T09:00:00Z"]), None);
        columns.add::<ByteArrayType>(&texts(&["x"]), None);
    });
    let world = TestWorld::on_disk(&[object("data/single.parquet", bytes)]).await;
    let located = world.locate("single").await;
    let store = world.store.clone();
    let values = on_a_thread(move || {
        let options = ReadOptions::default();
        let mut column = read_column(&store, &located.parts[0], "ts_utc", &options).unwrap();
        column.next().unwrap().unwrap().1
    })
    .await;
    assert_eq!(values.as_string::<i32>().value(0), "2026-01-28T09:00:00Z");
}

#[tokio::test]
async fn uuids_are_text_of_36_characters_wherever_they_stand() {
    let schema = "message m {
        required fixed_len_byte_array(16) id (UUID);
        optional group one { optional fixed_len_byte_array(16) id (UUID); }
        optional group many (LIST) {
            repeated group list { optional fixed_len_byte_array(16) element (UUID); }
        }
        required group map (MAP) { repeated group key_value {
            required fixed_len_byte_array(16) key (UUID);
            required fixed_len_byte_array(16) value;
        } }
    }";
    let id = |last: u8| {
        let mut bytes: Vec<u8> = (0..16).collect();
        bytes[15] = last;
        FixedLenByteArray::from(bytes)
    };
    let text = |last: &str| format!("00010203-0405-0607-0809-0a0b0c0d0e{last}");
    let bytes = part(schema, |columns| {
        columns.add::<FixedLenByteArrayType>(&[id(1), id(2)], None);
        columns.add::<FixedLenByteArrayType>(&[id(3)], Some((&[2, 0], &[0, 0])));
        columns.add::<FixedLenByteArrayType>(&[id(4), id(5)], Some((&[3, 3, 2], &[0, 0, 1])));
        columns.add::<FixedLenByteArrayType>(&[id(6)], Some((&[1, 0], &[0, 0])));
        columns.add::<FixedLenByteArrayType>(&[id(7)], Some((&[1, 0], &[0, 0])));
    });
    let rows = &rows_of(bytes, 10).await.unwrap()[0];
    let ids = rows.column(0).as_string::<i32>();
    assert_eq!(ids.value(1), text("02"));
    let one = rows.column(1).as_struct();
    assert_eq!(one.column(0).as_string::<i32>().value(0), text("03"));
    assert!(one.is_null(1));
    let many = rows.column(2).as_list::<i32>().value(1);
    assert_eq!(many.as_string::<i32>().value(0), text("05"));
    assert!(many.is_null(1));
    let map = rows.column(3).as_map();
    assert_eq!(map.keys().as_string::<i32>().value(0), text("06"));
    assert_eq!(
        *map.values().data_type(),
        DataType::FixedSizeBinary(16),
        "bytes without the annotation stay bytes"
    );
}
