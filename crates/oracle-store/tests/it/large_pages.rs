//! Pages and rows that take more memory than readers may hold: read in smaller batches where
//! that helps, refused before they are decoded where it does not. Footers here say nothing of
//! it: as other writers leave them, or as a hostile one.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type as ArrowInt64;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray};
use oracle_store::{Error, ReadMemory, ReadOptions, ReasonCode, Rows, open_rows, read_column};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;

use crate::logical_types::part_with;
use crate::world::*;

const MIB: usize = 1 << 20;

/// Properties that put all values of a column on one page.
fn one_page() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_data_page_size_limit(1 << 30)
        .set_data_page_row_count_limit(usize::MAX)
        .set_dictionary_page_size_limit(1 << 30)
        .set_write_batch_size(1 << 20)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(1 << 20))
}

/// A part with a column `id`, and `value`; its footer does not say how large pages and values
/// are.
fn part_of(values: ArrayRef, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let ids: Int64Array = (0..values.len() as i64).collect();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("value", values)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = Some(properties.build());
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), properties).unwrap();
    writer.write(&batch).unwrap();
    silent(writer.into_inner().unwrap(), None)
}

/// The part with a footer that counts no pages, and of which each column says that it has the
/// bytes of its ids; or with other rows.
fn silent(part: Vec<u8>, rows: Option<i64>) -> Vec<u8> {
    let footer = u32::from_le_bytes(part[part.len() - 8..][..4].try_into().unwrap()) as usize;
    let data_end = part.len() - 8 - footer;
    let bytes = bytes::Bytes::from(part);
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&bytes)
        .unwrap();
    let groups = metadata.row_groups().iter().map(|group| {
        let columns = group.columns().iter().map(|column| {
            let column = column.clone().into_builder();
            let column = column.clear_page_encoding_stats();
            let column = column.set_unencoded_byte_array_data_bytes(None);
            column
                .set_total_uncompressed_size(8 * group.num_rows())
                .build()
                .unwrap()
        });
        let rows = rows.unwrap_or(group.num_rows());
        let group = group.clone().into_builder().set_num_rows(rows);
        group
            .set_column_metadata(columns.collect())
            .build()
            .unwrap()
    });
    let groups = groups.collect();
    let metadata = metadata.into_builder().set_row_groups(groups).build();
    let mut silent = bytes[..data_end].to_vec();
    ParquetMetaDataWriter::new(&mut silent, &metadata)
        .finish()
        .unwrap();
    silent
}

/// What came of reading a part with so much memory: the rows of each batch.
async fn read(part: Vec<u8>, memory: usize, from_row: u64) -> Result<Vec<RecordBatch>, Error> {
    let world = TestWorld::on_disk(&[object("data/single.parquet", part)]).await;
    let located = world.locate("single").await;
    let store = world
        .store
        .clone()
        .with_memory(ReadMemory::new(memory as u64));
    on_a_thread(move || {
        let grant = granted(&store, &located.output_id);
        let options = ReadOptions {
            from_row,
            batch_rows: 1_024,
        };
        let rows = open_rows(&grant, &located.parts[0], &options)?;
        let batches = rows.map(|batch| match batch?.rows {
            Rows::Arrow(rows) => Ok(rows),
            Rows::JsonLines(_) => unreachable!("a Parquet part"),
        });
        batches.collect()
    })
    .await
}

#[track_caller]
fn assert_exceeded(error: &Error, what: &str) {
    assert_eq!(error.code(), ReasonCode::MemoryBudgetExceeded, "{error}");
    let text = error.to_string();
    for part in [what, "data/single.parquet", "field `value"] {
        assert!(text.contains(part), "without {part}: {text}");
    }
    assert!(error.row_index().is_some(), "{text}");
}

fn ids_of(batches: &[RecordBatch]) -> Vec<i64> {
    let ids = batches
        .iter()
        .map(|batch| batch.column(0).as_primitive::<ArrowInt64>());
    ids.flat_map(|ids| ids.values().to_vec()).collect()
}

/// Texts of `bytes` bytes, each its own.
fn texts(rows: usize, bytes: usize) -> ArrayRef {
    let text = |row| format!("{row:08}{}", "x".repeat(bytes - 8));
    Arc::new(
        (0..rows)
            .map(|row| Some(text(row)))
            .collect::<StringArray>(),
    )
}

#[tokio::test]
async fn a_page_that_does_not_fit_is_refused_whatever_its_codec() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let properties = one_page()
                .set_dictionary_enabled(false)
                .set_compression(codec)
                .set_writer_version(version)
                .set_encoding(Encoding::PLAIN);
            // 24 MiB, and as much again for the form that it is stored in and a buffer.
            let part = part_of(texts(24, MIB), properties);
            let error = read(part.clone(), 16 * MIB, 0).await.unwrap_err();
            assert_exceeded(&error, "A page takes");
            let rows = read(part, 96 * MIB, 0).await.unwrap();
            assert_eq!(ids_of(&rows), (0..24).collect::<Vec<_>>(), "{codec}");
        }
    }
}

#[tokio::test]
async fn a_dictionary_that_does_not_fit_is_refused() {
    let part = part_of(texts(24, MIB), one_page());
    let error = read(part.clone(), 48 * MIB, 0).await.unwrap_err();
    assert_exceeded(&error, "A page takes");
    let rows = read(part, 128 * MIB, 0).await.unwrap();
    assert_eq!(ids_of(&rows), (0..24).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_large_text_of_a_dictionary_in_every_row_makes_batches_small() {
    let text = "x".repeat(MIB);
    let texts: StringArray = (0..300).map(|_| Some(text.as_str())).collect();
    for from_row in [0, 7, 299] {
        let part = part_of(Arc::new(texts.clone()), one_page());
        let rows = read(part, 16 * MIB, from_row).await.unwrap();
        assert_eq!(ids_of(&rows), (from_row as i64..300).collect::<Vec<_>>());
        assert!(rows.iter().all(|batch| batch.num_rows() <= 8));
        let values = rows
            .iter()
            .flat_map(|batch| batch.column(1).as_string::<i32>());
        assert!(values.into_iter().all(|value| value == Some(text.as_str())));
    }
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_refused_and_the_rows_before_it_are_read() {
    let mut rows: Vec<String> = (0..2_000).map(|row| row.to_string()).collect();
    rows.push("x".repeat(12 * MIB));
    let values: ArrayRef = Arc::new(StringArray::from(rows));
    let properties = || one_page().set_dictionary_enabled(false);
    let part = part_of(Arc::clone(&values), properties());
    let read_some = async |memory: usize| {
        let world = TestWorld::on_disk(&[object("data/single.parquet", part.clone())]).await;
        let located = world.locate("single").await;
        let store = world
            .store
            .clone()
            .with_memory(ReadMemory::new(memory as u64));
        on_a_thread(move || {
            let grant = granted(&store, &located.output_id);
            let rows = open_rows(&grant, &located.parts[0], &ReadOptions::default()).unwrap();
            let (mut read, mut failure) = (0, None);
            for batch in rows {
                match batch {
                    Ok(batch) => read += batch.rows.len(),
                    Err(error) => failure = Some(error),
                }
            }
            (read, failure)
        })
        .await
    };
    let (read, failure) = read_some(64 * MIB).await;
    assert_eq!((read, failure.is_none()), (2_001, true));
    let (read, failure) = read_some(20 * MIB).await;
    assert_exceeded(&failure.unwrap(), "A row takes");
    assert_eq!(
        read, 0,
        "the page as a whole is looked at before its first row"
    );
}

fn lists(lengths: &[usize]) -> ArrayRef {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for &length in lengths {
        lists.values().append_slice(&vec![7; length]);
        lists.append(true);
    }
    Arc::new(lists.finish())
}

#[tokio::test]
async fn a_list_of_many_equal_numbers_is_refused_and_many_short_lists_are_read() {
    let mut lengths = [0; 1_000];
    lengths[500] = 4_000_000;
    let part = part_of(lists(&lengths), one_page());
    assert!(part.len() < 64 << 10, "{} bytes", part.len());
    let error = read(part, 64 * MIB, 0).await.unwrap_err();
    assert_exceeded(&error, "A row takes");
    // As many values, in as small a page, of many rows.
    let part = part_of(lists(&[4_000; 1_000]), one_page());
    let rows = read(part, MIB, 0).await.unwrap();
    assert_eq!(ids_of(&rows), (0..1_000).collect::<Vec<_>>());
    assert!(rows.iter().all(|batch| batch.num_rows() < 300));
}

#[tokio::test]
async fn a_row_that_goes_over_many_pages_is_counted_as_a_whole() {
    let schema = "message m {
        optional group value (LIST) { repeated group list { optional binary element (UTF8); } }
    }";
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(MIB)
        .set_write_batch_size(10)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let texts = vec![ByteArray::from("x".repeat(100 << 10).as_str()); 400];
    let repetitions: Vec<i16> = (0..400).map(|value| i16::from(value % 10 > 0)).collect();
    let mut part = part_with(schema, properties, |columns| {
        columns.add::<ByteArrayType>(&texts, Some((&[3; 400], &repetitions)));
    });
    // Each page has two rows of ten texts. All but the first become the continuation of the
    // row before them, as writers may leave one: their repetition levels are bits.
    let levels = [4, 0, 0, 0, 7, 0xfe, 0xfb, 0x0f];
    let places = part.windows(8).enumerate();
    let places = places.filter(|(_, bytes)| *bytes == levels);
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    assert_eq!(places.len(), 20);
    for (page, at) in places.into_iter().enumerate() {
        part[at + 5] |= u8::from(page > 0);
        part[at + 6] = 0xff;
    }
    let part = silent(part, Some(1));
    let error = read(part.clone(), 32 * MIB, 0).await.unwrap_err();
    assert_exceeded(&error, "A row takes");
    let rows = read(part, 128 * MIB, 0).await.unwrap();
    assert_eq!(rows[0].num_rows(), 1);
    assert_eq!(rows[0].column(0).as_list::<i32>().value_length(0), 400);
}

#[tokio::test]
async fn texts_that_share_their_beginning_are_counted_at_their_length() {
    let start = "x".repeat(MIB);
    let texts: StringArray = (0..200).map(|row| Some(format!("{start}{row}"))).collect();
    let properties = one_page()
        .set_dictionary_enabled(false)
        .set_column_encoding(ColumnPath::from("value"), Encoding::DELTA_BYTE_ARRAY);
    let part = part_of(Arc::new(texts), properties);
    assert!(part.len() < 2 * MIB, "{} bytes", part.len());
    let rows = read(part, 32 * MIB, 0).await.unwrap();
    assert_eq!(ids_of(&rows), (0..200).collect::<Vec<_>>());
    assert!(rows.iter().all(|batch| batch.num_rows() <= 8));
}

#[tokio::test]
async fn large_values_of_a_fixed_length_make_batches_small() {
    let value = vec![1_u8; MIB];
    let values = (0..100).map(|_| value.clone());
    let values = FixedSizeBinaryArray::try_from_iter(values).unwrap();
    // Only the second version of pages has dictionaries of them.
    let properties = one_page().set_writer_version(WriterVersion::PARQUET_2_0);
    let part = part_of(Arc::new(values), properties);
    let rows = read(part, 16 * MIB, 0).await.unwrap();
    assert_eq!(ids_of(&rows), (0..100).collect::<Vec<_>>());
    assert!(rows.iter().all(|batch| batch.num_rows() <= 8));
}

#[tokio::test]
async fn a_time_column_is_held_to_the_same_memory() {
    let part = part_of(texts(24, MIB), one_page().set_dictionary_enabled(false));
    let world = TestWorld::on_disk(&[object("data/single.parquet", part)]).await;
    let located = world.locate("single").await;
    let store = world.store.clone().with_memory(ReadMemory::new(8 << 20));
    let error = on_a_thread(move || {
        let options = ReadOptions::default();
        let mut times = read_column(&store, &located.parts[0], "value", &options).unwrap();
        times.find_map(Result::err).unwrap()
    })
    .await;
    assert_exceeded(&error, "A page takes");
}

#[tokio::test]
async fn memory_is_free_again_once_a_part_is_read_or_refused() {
    let properties = || one_page().set_dictionary_enabled(false);
    let part = part_of(texts(24, MIB), properties());
    let small = part_of(texts(24, 20), properties());
    let objects = [object("data/single.parquet", part)];
    let world = TestWorld::on_disk(&objects).await;
    let memory = ReadMemory::new(40 << 20);
    let store = world.store.clone().with_memory(memory.clone());
    for round in 0..3 {
        let bytes = if round == 1 {
            small.clone()
        } else {
            objects[0].1.clone()
        };
        world.put("data/single.parquet", bytes).await;
        let (located, store) = (world.locate("single").await, store.clone());
        let read = on_a_thread(move || {
            let grant = granted(&store, &located.output_id);
            let rows = open_rows(&grant, &located.parts[0], &ReadOptions::default()).unwrap();
            rows.map(|batch| batch.map(drop))
                .collect::<Result<Vec<_>, _>>()
        })
        .await;
        assert!(read.is_ok(), "round {round}: {:?}", read.err());
        assert!(memory.hold(40 << 20, String::new).is_ok(), "all is free");
    }
}

#[tokio::test]
async fn a_long_line_is_held_to_the_same_memory() {
    let line = format!("{{\"id\":1,\"text\":\"{}\"}}\n", "x".repeat(10 * MIB));
    let path = format!("{LINES}/a.jsonl");
    let world = TestWorld::on_disk(&[object(path, line)]).await;
    let located = world.locate("lines").await;
    for (memory, fits) in [(64, true), (8, false)] {
        let memory = ReadMemory::new(memory << 20);
        let store = world.store.clone().with_memory(memory);
        let part = located.parts[0].clone();
        let read = on_a_thread(move || {
            let grant = granted(&store, part.output_id());
            let mut rows = open_rows(&grant, &part, &ReadOptions::default()).unwrap();
            rows.next().unwrap().map(|batch| batch.rows.len())
        })
        .await;
        match read {
            Ok(rows) => assert!(fits && rows == 1),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.code(), ReasonCode::MemoryBudgetExceeded);
                assert!(error.to_string().contains("A line takes"), "{error}");
            }
        }
    }
}
