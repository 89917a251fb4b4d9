//! The Arrow schema that a Parquet footer may hold: what is not understood is refused, with
//! its file and column, and nothing in it makes a decoder panic.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, DurationMillisecondArray,
    FixedSizeBinaryArray, FixedSizeListArray, Int64Array, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oracle_store::{Error, ReasonCode, footer};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, encode_arrow_schema};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::logical_types::rows_of;
use crate::world::*;

/// A part whose footer holds that text as its Arrow schema; none at all without a text.
fn part_with(batch: &RecordBatch, hint: Option<String>) -> Vec<u8> {
    let pair = hint.map(|hint| KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), hint));
    let properties = WriterProperties::builder()
        .set_key_value_metadata(pair.map(|pair| vec![pair]))
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let schema = batch.schema();
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

/// The Arrow schema of a part's rows, or why there is none.
async fn schema_of(part: Vec<u8>) -> Result<Arc<Schema>, Error> {
    let world = TestWorld::on_disk(&[object("data/single.parquet", part)]).await;
    let located = world.locate("single").await;
    let store = world.store.clone();
    on_a_thread(move || Ok(footer(&store, &located.parts[0])?.schema.unwrap())).await
}

/// The encoded schema with one run of bytes instead of another, wherever it occurs.
fn patched(schema: &Schema, from: &[u8], to: &[u8]) -> String {
    let mut bytes = BASE64_STANDARD.decode(encode_arrow_schema(schema)).unwrap();
    let places: Vec<_> = (0..bytes.len() - from.len())
        .filter(|&at| bytes[at..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "nothing to replace");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    BASE64_STANDARD.encode(bytes)
}

fn wide_integers() -> RecordBatch {
    let values = [[0_u8; 16], [1; 16]].into_iter();
    let wide: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(values).unwrap());
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let inner = (
        Arc::new(Field::new("wide", wide.data_type().clone(), true)),
        wide.clone(),
    );
    let nested: ArrayRef = Arc::new(StructArray::from(vec![inner]));
    RecordBatch::try_from_iter([("name", names), ("amount", wide), ("nested", nested)]).unwrap()
}

/// The schema that Polars writes with 16 bytes for a column of `Int128`.
fn hint_of_wide_integers(nested: bool) -> String {
    let bytes = DataType::FixedSizeBinary(16);
    let (top, inner) = if nested {
        (bytes, DataType::Int64)
    } else {
        (DataType::Int64, bytes)
    };
    let inner = Field::new("wide", inner, true);
    let schema = Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", top, true),
        Field::new("nested", DataType::Struct(vec![inner].into()), true),
    ]);
    patched(&schema, &64_i32.to_le_bytes(), &128_i32.to_le_bytes())
}

#[tokio::test]
async fn an_integer_of_128_bits_is_refused_with_its_file_and_column() {
    for (nested, column) in [(false, "`amount`"), (true, "`nested.wide`")] {
        let part = part_with(&wide_integers(), Some(hint_of_wide_integers(nested)));
        let error = schema_of(part).await.expect_err("a type that is not known");
        assert_eq!(error.code(), ReasonCode::OracleReadFailed);
        let text = error.to_string();
        for what in [column, "data/single.parquet", "signed integer of 128 bits"] {
            assert!(text.contains(what), "{what}: {text}");
        }
    }
}

#[tokio::test]
async fn garbage_and_cut_arrow_schemas_are_refused_with_their_file() {
    let batch = wide_integers();
    let whole = encode_arrow_schema(&batch.schema());
    let cut = (0..whole.len()).step_by(4).map(|at| whole[..at].to_owned());
    let garbage = ["", "no base64!", "AAAA", "/////wAAAAA=", "/////////////w=="];
    for hint in garbage.map(str::to_owned).into_iter().chain(cut) {
        let shown = hint.clone();
        // A cut schema may still be whole where only its padding is gone.
        if let Err(error) = schema_of(part_with(&batch, Some(hint))).await {
            assert_eq!(error.code(), ReasonCode::OracleReadFailed);
            let text = error.to_string();
            assert!(text.contains("data/single.parquet"), "{shown:?}: {text}");
            assert!(!text.contains("gave up"), "{shown:?}: {text}");
        }
    }
    assert!(
        schema_of(part_with(&batch, Some("AAAA".to_owned())))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_arrow_schema_of_other_columns_is_refused() {
    let batch = wide_integers();
    let two = Schema::new(batch.schema().fields()[..2].to_vec());
    let hint = Some(encode_arrow_schema(&two));
    let error = schema_of(part_with(&batch, hint)).await.unwrap_err();
    assert!(
        error.to_string().contains("expected 3 struct fields got 2"),
        "{error}"
    );
    // One column that cannot be what its schema says is named.
    let mut fields = batch.schema().fields().to_vec();
    fields[2] = Arc::new(Field::new("nested", DataType::Int64, true));
    let hint = Some(encode_arrow_schema(&Schema::new(fields)));
    let error = schema_of(part_with(&batch, hint)).await.unwrap_err();
    assert!(error.to_string().contains("field `nested`"), "{error}");
}

/// One column of every kind that Parquet alone does not tell apart.
fn every_hinted_type() -> RecordBatch {
    let dictionary: DictionaryArray<Int32Type> = ["x", "y"].into_iter().collect();
    let times = TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("Europe/Paris");
    let item = Arc::new(Field::new("element", DataType::Int64, true));
    let pairs = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
    let columns: [(&str, ArrayRef); 5] = [
        (
            "duration",
            Arc::new(DurationMillisecondArray::from(vec![1, 2])),
        ),
        ("zoned", Arc::new(times)),
        ("kind", Arc::new(dictionary)),
        (
            "pair",
            Arc::new(FixedSizeListArray::new(item, 2, pairs, None)),
        ),
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test]
async fn types_that_only_the_arrow_schema_tells_are_kept() {
    let batch = every_hinted_type();
    let hint = encode_arrow_schema(&batch.schema());
    let read = schema_of(part_with(&batch, Some(hint))).await.unwrap();
    let types = |schema: &Schema| -> Vec<DataType> {
        schema
            .fields()
            .iter()
            .map(|field| field.data_type().clone())
            .collect()
    };
    assert_eq!(types(&read), types(&batch.schema()));
    let read = schema_of(part_with(&batch, None)).await.unwrap();
    assert_eq!(*read.field(0).data_type(), DataType::Int64);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(*read.field(1).data_type(), utc);
    assert_eq!(*read.field(2).data_type(), DataType::Utf8);
}

#[tokio::test]
async fn dictionaries_that_the_reader_cannot_build_are_read_by_value() {
    let bytes = [b"ABCDEFGH".as_slice(), b"abcdefgh"].into_iter();
    let bytes = FixedSizeBinaryArray::try_from_iter(bytes).unwrap();
    let decimals = |precision| {
        let values = Decimal128Array::from(vec![150, -275]);
        values.with_precision_and_scale(precision, 2).unwrap()
    };
    let columns: [(&str, ArrayRef); 5] = [
        ("fixed", Arc::new(bytes)),
        ("flag", Arc::new(BooleanArray::from(vec![true, false]))),
        ("in_32_bits", Arc::new(decimals(9))),
        ("in_64_bits", Arc::new(decimals(18))),
        ("in_bytes", Arc::new(decimals(38))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let hinted = batch.schema();
    let hinted = hinted.fields().iter().map(|field| {
        let value = Box::new(field.data_type().clone());
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), value);
        field.as_ref().clone().with_data_type(dictionary)
    });
    let hint = encode_arrow_schema(&Schema::new(hinted.collect::<Vec<_>>()));
    let part = part_with(&batch, Some(hint));
    let read = rows_of(part, 10).await.unwrap();
    assert_eq!(read.len(), 1);
    for (column, written) in read[0].columns().iter().zip(batch.columns()) {
        assert_eq!(column, written);
    }
}

#[tokio::test]
async fn no_byte_of_an_arrow_schema_makes_a_decoder_panic() {
    let batch = every_hinted_type();
    let bytes = BASE64_STANDARD
        .decode(encode_arrow_schema(&batch.schema()))
        .unwrap();
    let (mut refused, mut tried) = (0, 0);
    for at in 0..bytes.len() {
        for value in [0, 1, 3, 17, 127, 255] {
            let mut bytes = bytes.clone();
            if std::mem::replace(&mut bytes[at], value) == value {
                continue;
            }
            let hint = BASE64_STANDARD.encode(&bytes);
            let read = schema_of(part_with(&batch, Some(hint))).await;
            tried += 1;
            if let Err(error) = read {
                refused += 1;
                let text = error.to_string();
                assert!(!text.contains("gave up"), "byte {at} as {value}: {text}");
            }
        }
    }
    assert!(refused > 500 && refused < tried, "{refused} of {tried}");
}
