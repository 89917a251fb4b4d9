//! What reading a world costs: `cargo bench -p oracle-store`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub
)]

#[path = "../tests/it/s3_server.rs"]
mod s3_server;
#[path = "../tests/it/grants.rs"]
mod grants;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use divan::counter::{BytesCount, ItemsCount};
use grants::granted;
use object_store::ObjectStoreExt;
use oracle_store::{
    Catalogue, Hex64, ObjectStoreConfig, OutputId, Part, ReadOptions, RetryPolicy, RunReceipt,
    Tokens, WorldStore, locate, open_rows, read_column, resolve_engine_run_root,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use s3_server::S3Server;
use sha2::{Digest, Sha256};

const ROWS: i64 = 5_000_000;
const GROUP_ROWS: usize = 1_000_000;
const BLOB_BYTES: usize = 256 << 20;

fn main() {
    divan::main();
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// One part of 5 million rows and one large file, written once for all benches; the part
/// also on an S3 server on loopback.
struct World {
    store: WorldStore,
    part: Part,
    remote: WorldStore,
    remote_part: Part,
    _folder: tempfile::TempDir,
    _server: S3Server,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    write_part(&folder.path().join("part-0.parquet"));
    std::fs::write(folder.path().join("blob"), vec![7; BLOB_BYTES]).unwrap();
    let root = folder.path().display().to_string();
    let root = resolve_engine_run_root(&root, None, Path::new("/")).unwrap();
    let store = WorldStore::open(root, &ObjectStoreConfig::default()).unwrap();
    let part = locate_part(&store);

    let server = S3Server::start();
    let bytes = std::fs::read(folder.path().join("part-0.parquet")).unwrap();
    let path = object_store::path::Path::from("run/part-0.parquet");
    block_on(server.store().put(&path, bytes.into())).unwrap();
    let root = resolve_engine_run_root("s3://worlds/run", None, Path::new("/")).unwrap();
    let remote = WorldStore::with_object_store(root, server.store(), RetryPolicy::default());
    let remote_part = locate_part(&remote);
    World {
        store,
        part,
        remote,
        remote_part,
        _folder: folder,
        _server: server,
    }
});

fn locate_part(store: &WorldStore) -> Part {
    let catalogue = Catalogue::parse(
        b"outputs: [{output_id: o, class: stream, path_template: part-*.parquet, read_requires_gates: []}]",
    )
    .unwrap();
    let receipt = format!(
        r#"{{"run_id":"{}","manifest_fingerprint":"{2}","parameter_hash":"{2}","seed":{1}}}"#,
        "0".repeat(32),
        1,
        "a".repeat(64)
    );
    let tokens = Tokens::of_run(&RunReceipt::parse(receipt.as_bytes()).unwrap());
    let entry = catalogue.output(&OutputId::new("o")).unwrap();
    block_on(locate(store, entry, &tokens))
        .unwrap()
        .parts
        .remove(0)
}

fn write_part(path: &Path) {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = None;
    for first in (0..ROWS).step_by(100_000) {
        let ids = first..first + 100_000;
        let times = ids
            .clone()
            .map(|id| format!("2026-01-28T09:{:02}:00.{:06}Z", id % 60, id % 1_000_000));
        let columns: [(&str, ArrayRef); 4] = [
            ("flow_id", Arc::new(ids.clone().collect::<Int64Array>())),
            ("ts_utc", Arc::new(StringArray::from_iter_values(times))),
            (
                "amount",
                Arc::new(
                    ids.clone()
                        .map(|id| id * 31 % 100_003)
                        .collect::<Int64Array>(),
                ),
            ),
            (
                "kind",
                Arc::new(StringArray::from_iter_values(
                    ids.map(|id| if id % 3 == 0 { "auth" } else { "clear" }),
                )),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let writer = writer.get_or_insert_with(|| {
            let file = std::fs::File::create(path).unwrap();
            ArrowWriter::try_new(file, batch.schema(), Some(properties.clone())).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
}

fn first_batch(from_row: u64) -> usize {
    let grant = granted(&WORLD.store, WORLD.part.output_id());
    let options = ReadOptions {
        from_row,
        batch_rows: 1024,
    };
    let mut rows = open_rows(&grant, &WORLD.part, &options).unwrap();
    rows.next().unwrap().unwrap().rows.len()
}

/// The first batch of a part, from its start and from near its end.
#[divan::bench(args = [0, 4_900_000, 4_999_000])]
fn resume(bencher: divan::Bencher<'_, '_>, from_row: u64) {
    LazyLock::force(&WORLD);
    bencher.bench_local(|| first_batch(from_row));
}

fn count_rows(store: &WorldStore, part: &Part) -> usize {
    let grant = granted(store, part.output_id());
    let rows = open_rows(&grant, part, &ReadOptions::default()).unwrap();
    rows.map(|batch| batch.unwrap().rows.len()).sum()
}

/// Every row of a part of 5 million, on local disk.
#[divan::bench(sample_count = 3)]
fn rows_from_disk(bencher: divan::Bencher<'_, '_>) {
    LazyLock::force(&WORLD);
    let bencher = bencher.counter(ItemsCount::new(ROWS as u64));
    bencher.bench_local(|| count_rows(&WORLD.store, &WORLD.part));
}

/// The same rows, from an S3 server on loopback (which has one thread, of this process).
#[divan::bench(sample_count = 3)]
fn rows_from_s3(bencher: divan::Bencher<'_, '_>) {
    LazyLock::force(&WORLD);
    let bencher = bencher.counter(ItemsCount::new(ROWS as u64));
    bencher.bench_local(|| count_rows(&WORLD.remote, &WORLD.remote_part));
}

/// The time column of a part of 5 million rows.
#[divan::bench(sample_count = 3)]
fn time_column(bencher: divan::Bencher<'_, '_>) {
    LazyLock::force(&WORLD);
    bencher
        .counter(ItemsCount::new(ROWS as u64))
        .bench_local(|| {
            let options = ReadOptions {
                from_row: 0,
                batch_rows: 8192,
            };
            let times = read_column(&WORLD.store, &WORLD.part, "ts_utc", &options).unwrap();
            times.map(|batch| batch.unwrap().1.len()).sum::<usize>()
        });
}

/// Hashing an object on disk; compare with [`sha256_of_memory`].
#[divan::bench(sample_count = 5)]
fn sha256_of_an_object(bencher: divan::Bencher<'_, '_>) {
    let store = &WORLD.store;
    let pin = block_on(store.head("blob")).unwrap();
    bencher
        .counter(BytesCount::new(BLOB_BYTES))
        .bench_local(|| block_on(store.sha256("blob", &pin)).unwrap());
}

/// The hash alone, as fast as this machine does it.
#[divan::bench(sample_count = 5)]
fn sha256_of_memory(bencher: divan::Bencher<'_, '_>) {
    let chunk = vec![7; 256 << 10];
    bencher
        .counter(BytesCount::new(BLOB_BYTES))
        .bench_local(|| {
            let mut hasher = Sha256::new();
            for _ in 0..BLOB_BYTES / chunk.len() {
                hasher.update(&chunk);
            }
            Hex64::of_digest(hasher.finalize().into())
        });
}

/// A catalogue of the real one's size: 340 outputs.
#[divan::bench]
fn catalogue(bencher: divan::Bencher<'_, '_>) {
    let entries = (0..340).map(|n| {
        format!(
            "- output_id: output_{n}\n  class: surface\n  exposure: internal\n  \
             scope: scope_seed_parameter_hash\n  owner_segment: 1A\n  \
             path_template: data/layer1/1A/output_{n}/seed={{seed}}/parameter_hash={{parameter_hash}}/\n  \
             partitions:\n  - seed\n  - parameter_hash\n  schema_ref: schemas.yaml#/alloc/output_{n}\n  \
             dictionary_ref: docs/contracts/1A/dataset_dictionary.layer1.1A.yaml#output_{n}\n  \
             primary_key: [seed, merchant_id]\n  join_keys: []\n  read_requires_gates:\n  \
             - gate.layer1.1A.validation\n  immutability:\n    immutable_once_written: true\n  \
             description: A table of about the length of text that a real description has,\n    \
             which goes over two lines and says what consumers must know of it.\n"
        )
    });
    let text = format!("version: '1.0'\noutputs:\n{}", entries.collect::<String>());
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| Catalogue::parse(text.as_bytes()).unwrap());
}
