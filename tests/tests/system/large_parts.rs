//! Parts that take more memory than a run may: refused before the first push where their
//! footers show it, before it is allocated where they do not.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use sandbox::{GateOptions, OutputOptions, SampleOutput, WorldOptions};
use system_tests::{Ran, Rig};

const OUTPUT: SampleOutput = SampleOutput::EventStreamBaseline;
const ROWS: u64 = 600;

fn rig(order: &str) -> Rig {
    rig_of(order, ROWS)
}

fn rig_of(order: &str, rows_per_part: u64) -> Rig {
    let output = OutputOptions {
        parts: 2,
        rows_per_part,
        ..OutputOptions::of(OUTPUT)
    };
    let world = WorldOptions::sample().with_outputs([output]);
    let keys = [("policy.stream_order", order)];
    Rig::new(&world, GateOptions::default(), &keys)
}

fn second_part(rig: &Rig) -> PathBuf {
    rig.world.parts(OUTPUT.id())[1].clone()
}

/// All rows of a part.
fn rows_of(part: &Path) -> RecordBatch {
    let file = std::fs::File::open(part).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let rows = reader.with_batch_size(1 << 20).build().unwrap();
    let mut rows = rows.map(|rows| rows.unwrap());
    let whole = rows.next().unwrap();
    assert!(rows.next().is_none(), "one batch of all rows");
    whole
}

fn with_columns(
    rows: &RecordBatch,
    added: impl IntoIterator<Item = (String, ArrayRef)>,
) -> RecordBatch {
    let (mut fields, mut columns) = (rows.schema().fields().to_vec(), rows.columns().to_vec());
    for (name, column) in added {
        fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn write(part: &Path, rows: &RecordBatch, properties: WriterProperties) {
    let file = std::fs::File::create(part).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

/// Gives each row of a part another text of so many bytes, all of them on one page.
fn add_texts(part: &Path, bytes: usize) {
    let whole = rows_of(part);
    let text = |row| format!("{row:08}{}", "x".repeat(bytes - 8));
    let texts = (0..whole.num_rows()).map(|row| Some(text(row)));
    let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
    let whole = with_columns(&whole, [("text".to_owned(), texts)]);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(1 << 30)
        .set_write_batch_size(1 << 20)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    write(part, &whole, properties);
}

/// Takes out of a part's footer what shows how large its pages and texts are.
fn silence(part: &Path) {
    let bytes = bytes::Bytes::from(std::fs::read(part).unwrap());
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap());
    let data_end = bytes.len() - 8 - footer as usize;
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&bytes)
        .unwrap();
    let groups = metadata.row_groups().iter().map(|group| {
        let columns = group.columns().iter().map(|column| {
            let column = column.clone().into_builder().clear_page_encoding_stats();
            let column = column.set_unencoded_byte_array_data_bytes(None);
            column.set_total_uncompressed_size(10_000).build().unwrap()
        });
        let columns = columns.collect();
        let group = group.clone().into_builder();
        group.set_column_metadata(columns).build().unwrap()
    });
    let groups = groups.collect();
    let metadata = metadata.into_builder().set_row_groups(groups).build();
    let mut silent = bytes[..data_end].to_vec();
    ParquetMetaDataWriter::new(&mut silent, &metadata)
        .finish()
        .unwrap();
    std::fs::write(part, silent).unwrap();
}

/// Whether the program under test carries jemalloc, by what all its messages begin with.
fn runs_jemalloc() -> bool {
    static FOUND: LazyLock<bool> = LazyLock::new(|| {
        let program = std::fs::read(system_tests::wsp_cli()).unwrap();
        let begin = b"<jemalloc>: ";
        program
            .split(|&byte| byte == begin[0])
            .any(|behind| behind.starts_with(&begin[1..]))
    });
    *FOUND
}

/// Waits for a stream, and says the most memory it had, in MiB: with the allocator whose figures the
/// documentation gives.
fn finish(mut stream: Child) -> (Ran, u64) {
    assert!(runs_jemalloc(), "wsp-cli was built without its allocator");
    let mut peak = 0;
    while stream.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", stream.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) >> 10);
        std::thread::sleep(Duration::from_millis(2));
    }
    (Rig::finish(stream), peak)
}

#[test]
fn a_page_that_its_footer_shows_is_refused_before_the_first_push() {
    for order in ["as_written", "event_time"] {
        let rig = rig(order);
        let part = second_part(&rig);
        // 600 MiB in a file of some hundred KiB.
        add_texts(&part, 1 << 20);
        assert!(std::fs::metadata(&part).unwrap().len() < 1 << 20);
        let (ran, peak) = finish(rig.start_stream(&[]));
        ran.expect(1, "MEMORY_BUDGET_EXCEEDED");
        assert_eq!(rig.gate.stats().posts, 0, "{order}");
        assert!(peak < 200, "{order}: {peak} MiB");
        let detail = ran.report["detail"].as_str().unwrap();
        let name = part.file_name().unwrap().to_str().unwrap();
        assert!(detail.contains(name), "{detail}");
    }
}

#[test]
fn a_page_that_its_footer_hides_ends_the_run_before_it_is_allocated() {
    for order in ["as_written", "event_time"] {
        let rig = rig(order);
        let part = second_part(&rig);
        add_texts(&part, 1 << 20);
        silence(&part);
        let (ran, peak) = finish(rig.start_stream(&[]));
        ran.expect(1, "MEMORY_BUDGET_EXCEEDED");
        assert!(peak < 200, "{order}: {peak} MiB");
        assert_eq!(
            rig.gate.stats().unique,
            ROWS,
            "what comes before it is pushed"
        );
        assert_eq!(ran.report["emitted"], ROWS);
        let detail = ran.report["detail"].as_str().unwrap();
        for what in [part.to_str().unwrap(), "field `text`"] {
            assert!(detail.contains(what), "without {what}: {detail}");
        }
    }
}

#[test]
fn a_large_page_within_the_budget_is_streamed_within_it() {
    for order in ["as_written", "event_time"] {
        let rig = rig(order);
        add_texts(&second_part(&rig), 150 << 10);
        let (ran, peak) = finish(rig.start_stream(&[]));
        ran.expect(0, "");
        assert_eq!(rig.gate.stats().unique, 2 * ROWS);
        assert!(peak < 400, "{order}: {peak} MiB");
    }
}

#[test]
fn ten_thousand_columns_stream_in_the_default_budget_whatever_compresses_them() {
    let rig = rig_of("event_time", 2);
    let parts = rig.world.parts(OUTPUT.id());
    let narrow: Vec<RecordBatch> = parts.iter().map(|part| rows_of(part)).collect();
    for (codec, most) in [
        (Compression::ZSTD(ZstdLevel::default()), 480),
        (Compression::GZIP(GzipLevel::default()), 200),
        (Compression::BROTLI(BrotliLevel::default()), 200),
        (Compression::SNAPPY, 200),
        (Compression::LZ4_RAW, 200),
    ] {
        for (part, rows) in parts.iter().zip(&narrow).skip(1) {
            let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
            let added = (0..10_000).map(|at| (format!("c{at}"), numbers.clone()));
            let properties = WriterProperties::builder().set_compression(codec);
            write(part, &with_columns(rows, added), properties.build());
        }
        let (ran, peak) = finish(rig.start_stream(&[]));
        ran.expect(0, "");
        assert!(peak < most, "{codec}: {peak} MiB");
        let reset = rig.run(&["checkpoint", "reset"], &["--yes"]);
        reset.expect(0, "");
    }
    assert_eq!(rig.gate.stats().unique, 4);
}
