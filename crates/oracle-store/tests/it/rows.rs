//! Rows from a position, on both backends.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::DataType;
use oracle_store::{
    Error, Part, PartFormat, ReadOptions, ReasonCode, Rows, WorldStore, footer, open_rows,
    read_column,
};
use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};
use proptest::prelude::*;

use crate::world::*;

/// Every id from a position on, or the error it ended with.
pub fn ids_from(store: &WorldStore, part: &Part, options: ReadOptions) -> Result<Vec<i64>, Error> {
    let grant = granted(store, part.output_id());
    let mut ids = Vec::new();
    for batch in open_rows(&grant, part, &options)? {
        let batch = batch?;
        assert_eq!(batch.first_row, options.from_row + ids.len() as u64);
        assert!(batch.rows.len() <= options.batch_rows && !batch.rows.is_empty());
        match batch.rows {
            Rows::Arrow(rows) => {
                let values = rows.column(0).as_primitive::<Int64Type>();
                let texts = rows.column(2).as_string::<i32>();
                for (id, text) in values.values().iter().zip(texts) {
                    assert_eq!(text, Some(text_of(*id).as_str()));
                    ids.push(*id);
                }
            }
            Rows::JsonLines(lines) => ids.extend(lines.iter().map(|line| {
                let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                value["id"].as_i64().unwrap()
            })),
        }
    }
    Ok(ids)
}

async fn read(
    world: &TestWorld,
    part: &Part,
    from_row: u64,
    batch_rows: usize,
) -> Result<Vec<i64>, Error> {
    let (store, part) = (world.store.clone(), part.clone());
    on_a_thread(move || {
        ids_from(
            &store,
            &part,
            ReadOptions {
                from_row,
                batch_rows,
            },
        )
    })
    .await
}

#[tokio::test]
async fn rows_come_whole_and_in_order_from_any_position() {
    on_each_backend(&small_world(), async |backend, world| {
        let flows = world.locate("flows").await;
        for from in [0, 1, 49, 50, 119, 120, 121, 239, 240, 299, 300] {
            for batch_rows in [1, 7, 1000] {
                let ids = read(&world, &flows.parts[0], from, batch_rows)
                    .await
                    .unwrap();
                assert_eq!(
                    ids,
                    (from as i64..300).collect::<Vec<_>>(),
                    "{backend} from {from}"
                );
            }
        }
        let lines = world.locate("lines").await;
        for from in 0..=5 {
            let ids = read(&world, &lines.parts[0], from, 2).await.unwrap();
            assert_eq!(
                ids,
                (from as i64..5).collect::<Vec<_>>(),
                "{backend} from {from}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_position_past_the_end_is_an_error_and_not_an_empty_part() {
    on_each_backend(&small_world(), async |_, world| {
        for (output, rows) in [("flows", 300), ("lines", 5)] {
            let part = &world.locate(output).await.parts[0];
            let error = read(&world, part, rows + 1, 10).await.unwrap_err();
            assert_eq!(error.code(), ReasonCode::OracleReadFailed);
            assert_eq!(error.row_index(), Some(rows + 1));
            assert!(
                error
                    .to_string()
                    .contains(&world.store.full_name(part.path())),
                "{error}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn the_time_column_is_read_alone_from_any_position() {
    on_each_backend(&small_world(), async |backend, world| {
        for (output, rows, from) in [("flows", 300, 130), ("lines", 5, 2)] {
            let (store, part) = (
                world.store.clone(),
                world.locate(output).await.parts[0].clone(),
            );
            let times: Vec<(u64, String)> = on_a_thread(move || {
                let options = ReadOptions {
                    from_row: from,
                    batch_rows: 64,
                };
                let column = read_column(&store, &part, "ts_utc", &options).unwrap();
                let batches = column.map(Result::unwrap);
                batches
                    .flat_map(|(first_row, values)| {
                        let values = values.as_string::<i32>().clone();
                        let texts = (0..values.len()).map(move |i| values.value(i).to_owned());
                        (first_row..).zip(texts.collect::<Vec<_>>())
                    })
                    .collect()
            })
            .await;
            assert_eq!(times.len() as u64, rows - from, "{backend}");
            for (row, time) in times {
                let expected = match output {
                    "flows" => format!("2026-01-28T09:00:00.{row:06}Z"),
                    _ => format!("t{row}"),
                };
                assert_eq!(time, expected);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_column_that_is_not_there_reads_as_nulls_for_every_row() {
    on_each_backend(&small_world(), async |_, world| {
        for (output, rows) in [("flows", 300), ("lines", 5)] {
            let (store, part) = (
                world.store.clone(),
                world.locate(output).await.parts[0].clone(),
            );
            let nulls = on_a_thread(move || {
                let column = read_column(&store, &part, "gone", &ReadOptions::default()).unwrap();
                column
                    .map(|batch| batch.unwrap().1.logical_null_count())
                    .sum::<usize>()
            });
            assert_eq!(nulls.await, rows, "{output}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_footer_says_rows_groups_and_columns() {
    on_each_backend(&small_world(), async |_, world| {
        let (store, part) = (
            world.store.clone(),
            world.locate("flows").await.parts[0].clone(),
        );
        let size = part.pin().size;
        let footer = on_a_thread(move || footer(&store, &part).unwrap()).await;
        assert_eq!(
            (footer.rows, footer.row_groups, footer.bytes),
            (Some(300), 3, size)
        );
        assert_eq!(footer.schema.unwrap().field(1).data_type(), &DataType::Utf8);

        let (store, part) = (
            world.store.clone(),
            world.locate("lines").await.parts[0].clone(),
        );
        let footer = on_a_thread(move || oracle_store::footer(&store, &part).unwrap()).await;
        assert_eq!(footer.rows, None);
    })
    .await;
}

#[tokio::test]
async fn a_grant_opens_its_own_output_only() {
    let world = TestWorld::on_disk(&small_world()).await;
    let part = world.locate("flows").await.parts[0].clone();
    let grant = granted(
        &world.store,
        world.locate("lines").await.parts[0].output_id(),
    );
    let error = open_rows(&grant, &part, &ReadOptions::default()).unwrap_err();
    assert_eq!(error.code(), ReasonCode::ReadGrantMismatch);

    let other = TestWorld::on_disk(&small_world()).await;
    let grant = granted(&other.store, part.output_id());
    let error = open_rows(&grant, &part, &ReadOptions::default()).unwrap_err();
    assert_eq!(
        error.code(),
        ReasonCode::OracleReadFailed,
        "another world's part is another object"
    );
}

#[tokio::test]
async fn a_part_that_changed_since_it_was_located_is_not_read() {
    on_each_backend(&small_world(), async |backend, world| {
        for output in ["flows", "lines"] {
            let part = world.locate(output).await.parts[0].clone();
            let bytes = match output {
                "flows" => parquet_part(1..301, 120),
                _ => json_lines(1..6),
            };
            world.put(part.path(), bytes).await;
            let error = read(&world, &part, 0, 10).await.unwrap_err();
            assert_eq!(error.code(), ReasonCode::OracleReadFailed, "{backend}");
            assert!(error.to_string().contains("changed"), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_part_rewritten_in_place_with_its_times_restored_is_not_read() {
    let world = TestWorld::on_disk(&small_world()).await;
    for output in ["flows", "lines"] {
        let part = world.locate(output).await.parts[0].clone();
        let path = world.folder().join(part.path());
        let before = std::fs::metadata(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let times = std::fs::FileTimes::new()
            .set_accessed(before.accessed().unwrap())
            .set_modified(before.modified().unwrap());
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_times(times).unwrap();
        let after = file.metadata().unwrap();
        assert_eq!(after.modified().unwrap(), before.modified().unwrap());
        assert_eq!(after.len(), before.len());
        let error = read(&world, &part, 0, 10).await.unwrap_err();
        assert!(error.to_string().contains("changed"), "{output}: {error}");
    }
}

#[tokio::test]
async fn a_part_that_changes_while_it_is_read_ends_in_an_error_and_never_in_mixed_rows() {
    let world = TestWorld::on_disk(&[object(
        format!("{FLOWS}/part-0.parquet"),
        parquet_part(0..3000, 100),
    )])
    .await;
    let part = world.locate("flows").await.parts[0].clone();
    let grant = granted(&world.store, part.output_id());
    let mut rows = open_rows(
        &grant,
        &part,
        &ReadOptions {
            from_row: 0,
            batch_rows: 50,
        },
    )
    .unwrap();
    rows.next().unwrap().unwrap();
    std::fs::write(
        world.folder().join(part.path()),
        parquet_part(5000..8000, 100),
    )
    .unwrap();
    let error = rows.find_map(Result::err).expect("the change is seen");
    assert_eq!(error.code(), ReasonCode::OracleReadFailed);
    assert!(error.to_string().contains("changed"), "{error}");
    assert!(rows.next().is_none(), "an error ends the rows");
}

#[tokio::test]
async fn a_part_that_cannot_be_read_is_named_in_full() {
    on_each_backend(&small_world(), async |_, world| {
        let part = world.locate("flows").await.parts[0].clone();
        world.remove(part.path()).await;
        let error = read(&world, &part, 0, 10).await.unwrap_err();
        assert_eq!(error.code(), ReasonCode::OracleReadFailed);
        assert!(
            error
                .to_string()
                .contains(&world.store.full_name(part.path())),
            "{error}"
        );
    })
    .await;
}

/// Writes a JSON lines part and reads it all.
async fn read_lines(text: &[u8]) -> (Vec<i64>, Option<Error>) {
    let world = TestWorld::on_disk(&[object(format!("{LINES}/a.jsonl"), text)]).await;
    let part = world.locate("lines").await.parts[0].clone();
    let grant = granted(&world.store, part.output_id());
    let mut ids = Vec::new();
    for batch in open_rows(&grant, &part, &ReadOptions::default()).unwrap() {
        match batch {
            Ok(batch) => {
                let Rows::JsonLines(lines) = batch.rows else {
                    panic!("not lines")
                };
                ids.extend(lines.iter().map(|line| {
                    serde_json::from_slice::<serde_json::Value>(line).unwrap()["id"]
                        .as_i64()
                        .unwrap()
                }));
            }
            Err(error) => return (ids, Some(error)),
        }
    }
    (ids, None)
}

#[tokio::test]
async fn line_ends_of_all_kinds_are_read() {
    for text in [
        "{\"id\":1}\n{\"id\":2}\n",
        "{\"id\":1}\n{\"id\":2}",
        "{\"id\":1}\r\n{\"id\":2}\r\n",
        "{\"id\":1}\n{\"id\":2}\n\n",
        "{\"id\":1}\r\n{\"id\":2}\r\n\r\n",
    ] {
        let (ids, error) = read_lines(text.as_bytes()).await;
        assert_eq!((ids, error.is_none()), (vec![1, 2], true), "{text:?}");
    }
    let (ids, error) = read_lines(b"").await;
    assert!(
        ids.is_empty() && error.is_none(),
        "an empty part has no rows"
    );
}

#[tokio::test]
async fn a_bad_line_ends_the_rows_after_all_before_it_with_file_and_row() {
    let good = "{\"id\":1}\n{\"id\":2}\n";
    for (bad, why) in [
        (&b"\n{\"id\":3}\n"[..], "blank"),
        (b"[3]\n", "no object"),
        (b"{\"id\":3\n", "cut short"),
        (b"{\"id\":3} x\n", "trailing text"),
        (b"{\"id\":\"\xff\"}\n", "not UTF-8"),
    ] {
        let (ids, error) = read_lines(&[good.as_bytes(), bad].concat()).await;
        let error = error.expect(why);
        assert_eq!(ids, [1, 2], "{why}");
        assert_eq!(
            (error.code(), error.row_index()),
            (ReasonCode::OracleReadFailed, Some(2)),
            "{why}"
        );
        assert!(error.to_string().contains("a.jsonl"), "{error}");
    }
}

#[tokio::test]
async fn lines_longer_than_a_block_are_read_and_endless_ones_are_refused() {
    let long = |n: usize| format!("{{\"id\":1,\"x\":\"{}\"}}\n{{\"id\":2}}\n", "y".repeat(n));
    let (ids, error) = read_lines(long(1_000_000).as_bytes()).await;
    assert_eq!((ids, error.is_none()), (vec![1, 2], true));
    let (ids, error) = read_lines(long(20 << 20).as_bytes()).await;
    assert!(ids.is_empty());
    assert_eq!(error.unwrap().code(), ReasonCode::OracleReadFailed);
}

/// A small part with every encoding that matters here.
fn fragile_part() -> Vec<u8> {
    parquet_part(0..40, 20)
}

/// Reads damaged bytes from row 10 on to the end: how many rows, or a named error.
fn read_damaged(folder: &std::path::Path, bytes: &[u8]) -> Result<usize, Error> {
    let key = "data/single.parquet";
    std::fs::create_dir_all(folder.join("data")).unwrap();
    std::fs::write(folder.join(key), bytes).unwrap();
    let root = root_at(folder.to_str().unwrap());
    let store = WorldStore::open(root, &oracle_store::ObjectStoreConfig::default()).unwrap();
    let catalogue = catalogue();
    let entry = catalogue
        .output(&oracle_store::OutputId::new("single"))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let located = runtime.block_on(oracle_store::locate(&store, entry, &tokens()))?;
    assert_eq!(located.format, PartFormat::Parquet);
    let grant = granted(&store, &located.output_id);
    let options = ReadOptions {
        from_row: 10,
        batch_rows: 32,
    };
    open_rows(&grant, &located.parts[0], &options)?
        .map(|batch| Ok(batch?.rows.len()))
        .sum()
}

#[test]
fn a_part_cut_short_anywhere_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fragile_part();
    for length in (0..bytes.len()).step_by(7) {
        let error = read_damaged(folder.path(), &bytes[..length]).expect_err("a cut part");
        assert_eq!(error.code(), ReasonCode::OracleReadFailed);
        assert!(error.to_string().contains("data/single.parquet"), "{error}");
    }
}

/// The part with a footer whose first row group states other `rows`.
fn with_group_rows(part: Vec<u8>, rows: i64) -> Vec<u8> {
    let footer_bytes = u32::from_le_bytes(part[part.len() - 8..][..4].try_into().unwrap()) as usize;
    let data_end = part.len() - 8 - footer_bytes;
    let bytes = bytes::Bytes::from(part);
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&bytes)
        .unwrap();
    let mut groups = metadata.row_groups().to_vec();
    groups[0] = groups[0]
        .clone()
        .into_builder()
        .set_num_rows(rows)
        .build()
        .unwrap();
    let metadata = metadata.into_builder().set_row_groups(groups).build();
    let mut damaged = bytes[..data_end].to_vec();
    ParquetMetaDataWriter::new(&mut damaged, &metadata)
        .finish()
        .unwrap();
    damaged
}

#[test]
fn a_row_group_that_states_fewer_rows_than_it_has_is_refused_and_not_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    let same = with_group_rows(fragile_part(), 20);
    assert_eq!(
        read_damaged(folder.path(), &same).unwrap(),
        30,
        "the footer is written well"
    );
    for rows in [15, 25, 0, -1] {
        let error = read_damaged(folder.path(), &with_group_rows(fragile_part(), rows));
        let error = error.expect_err("other row counts");
        assert_eq!(error.code(), ReasonCode::OracleReadFailed, "{error}");
    }
}

#[tokio::test]
async fn a_batch_of_large_rows_has_few_of_them_and_at_least_one() {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    for (row_bytes, most) in [(100, 40), (1 << 20, 4), (3 << 20, 1), (9 << 20, 1)] {
        let ids: ArrayRef = Arc::new((0..40).collect::<Int64Array>());
        let text = "x".repeat(row_bytes);
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..40).map(|_| &text)));
        let batch = RecordBatch::try_from_iter([("id", ids), ("text", texts)]).unwrap();
        let properties = parquet::file::properties::WriterProperties::builder()
            .set_compression(parquet::basic::Compression::SNAPPY)
            .build();
        let schema = batch.schema();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let part = writer.into_inner().unwrap();
        let world = TestWorld::on_disk(&[object("data/single.parquet", part)]).await;
        let located = world.locate("single").await;
        let store = world.store.clone();
        let lengths = on_a_thread(move || {
            let grant = granted(&store, &located.output_id);
            let rows = open_rows(&grant, &located.parts[0], &ReadOptions::default()).unwrap();
            rows.map(|batch| batch.unwrap().rows.len())
                .collect::<Vec<_>>()
        })
        .await;
        assert_eq!(lengths.iter().sum::<usize>(), 40);
        assert!(
            lengths.iter().all(|&rows| rows <= most),
            "{row_bytes}: {lengths:?}"
        );
    }
}

#[tokio::test]
async fn what_reading_holds_is_estimated_from_bytes_and_not_from_columns_alone() {
    use arrow_array::{ArrayRef, Int32Array, RecordBatch};
    let columns = (0..10_000).map(|n| {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(n), None]));
        (format!("c{n}"), values)
    });
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let part = writer.into_inner().unwrap();
    let world = TestWorld::on_disk(&[object("data/single.parquet", part)]).await;
    let located = world.locate("single").await;
    let store = world.store.clone();
    let bytes = on_a_thread(move || {
        let options = ReadOptions::default();
        let column = read_column(&store, &located.parts[0], "c0", &options).unwrap();
        column.read_bytes().unwrap()
    })
    .await;
    assert!((16 << 20..80 << 20).contains(&bytes), "{} MiB", bytes >> 20);
}

/// CRC-32 as in gzip, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A part of one plain page of 64-bit ids whose header states a checksum, and where the
/// page's bytes begin.
fn part_with_a_checksum(ids: std::ops::Range<i64>) -> (Vec<u8>, usize) {
    let values: arrow_array::Int64Array = ids.collect();
    let column: arrow_array::ArrayRef = Arc::new(values);
    let batch = arrow_array::RecordBatch::try_from_iter([("id", column)]).unwrap();
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .build();
    let schema = batch.schema();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let plain = bytes::Bytes::from(writer.into_inner().unwrap());
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&plain)
        .unwrap();
    let column = metadata.row_group(0).column(0);
    let page_bytes = 8 * batch.num_rows();
    let header = 4..4 + column.compressed_size() as usize - page_bytes;
    let page = &plain[header.end..][..page_bytes];
    // Thrift's compact form: the page header's field 5, a struct, two after field 3. Field 4
    // goes in between: a zigzag varint.
    let at = header.start
        + plain[header.clone()]
            .iter()
            .position(|&b| b == 0x2c)
            .unwrap();
    let crc = crc32(page) as i32;
    let mut zigzag = ((crc << 1) ^ (crc >> 31)) as u32;
    let mut field = vec![0x15];
    while zigzag >= 0x80 {
        field.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    field.extend([zigzag as u8, 0x1c]);
    let mut part = [&plain[..at], &field, &plain[at + 1..header.end], page].concat();
    let (begin, longer) = (header.end + field.len() - 1, field.len() as i64 - 1);
    let mut groups = metadata.row_groups().to_vec();
    let longer_column = column
        .clone()
        .into_builder()
        .set_total_compressed_size(column.compressed_size() + longer)
        .build()
        .unwrap();
    groups[0] = groups[0]
        .clone()
        .into_builder()
        .set_column_metadata(vec![longer_column])
        .build()
        .unwrap();
    let metadata = metadata.into_builder().set_row_groups(groups).build();
    ParquetMetaDataWriter::new(&mut part, &metadata)
        .finish()
        .unwrap();
    (part, begin)
}

#[test]
fn a_page_that_does_not_match_its_checksum_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (part, page) = part_with_a_checksum(0..40);
    assert_eq!(read_damaged(folder.path(), &part).unwrap(), 30);
    for at in [page, page + 99, page + 40 * 8 - 1] {
        let mut damaged = part.clone();
        damaged[at] ^= 0x10;
        let error = read_damaged(folder.path(), &damaged).expect_err("a flipped bit");
        assert_eq!(error.code(), ReasonCode::OracleReadFailed);
        assert!(error.to_string().contains("CRC"), "{error}");
        assert!(error.to_string().contains("data/single.parquet"), "{error}");
    }
}

#[test]
fn a_flipped_byte_anywhere_never_panics_and_never_loses_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fragile_part();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= [0x01, 0x80, 0xff][at % 3];
        match read_damaged(folder.path(), &damaged) {
            Ok(rows) => assert_eq!(rows, 30, "byte {at}"),
            Err(error) => {
                assert_eq!(
                    error.code(),
                    ReasonCode::OracleReadFailed,
                    "byte {at}: {error}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let folder = tempfile::tempdir().unwrap();
        let mut garbage = b"PAR1".to_vec();
        garbage.extend(bytes);
        garbage.extend(b"\x20\0\0\0PAR1");
        let error = read_damaged(folder.path(), &garbage).expect_err("garbage");
        prop_assert_eq!(error.code(), ReasonCode::OracleReadFailed);
    }
}
