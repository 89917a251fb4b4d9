//! Small worlds for the tests, placed on disk or in a bucket.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use object_store::{ObjectStore, ObjectStoreExt};
use oracle_store::{
    Catalogue, EngineRunRoot, ObjectStoreConfig, OutputId, OutputLocator, RetryPolicy, RunReceipt,
    ScenarioId, Tokens, WorldStore, locate, resolve_engine_run_root,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

pub use crate::grants::granted;
use crate::s3_server::{BUCKET, S3Server};

/// The keys and bytes of a world before it is placed.
pub type Objects = Vec<(String, Vec<u8>)>;

/// Retries as in real life, but without the waiting.
pub const QUICK_RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 8,
    base_delay: Duration::from_micros(10),
    max_delay: Duration::from_micros(100),
};

/// A world that stands somewhere, and can be changed behind the reader's back.
pub struct TestWorld {
    pub store: WorldStore,
    place: Place,
}

enum Place {
    Disk(tempfile::TempDir),
    S3 {
        objects: Arc<dyn ObjectStore>,
        prefix: String,
        _server: S3Server,
    },
}

pub fn root_at(text: &str) -> EngineRunRoot {
    resolve_engine_run_root(text, None, Path::new("/")).unwrap()
}

impl TestWorld {
    pub async fn on_disk(objects: &[(String, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = root_at(folder.path().to_str().unwrap());
        let store = WorldStore::open(root, &ObjectStoreConfig::default()).unwrap();
        let world = Self {
            store,
            place: Place::Disk(folder),
        };
        world.put_all(objects).await;
        world
    }

    pub async fn on_s3(objects: &[(String, Vec<u8>)]) -> Self {
        let server = S3Server::start();
        let prefix = "engine runs/run=1".to_owned();
        let root = root_at(&format!("s3://{BUCKET}/{prefix}"));
        let store = WorldStore::with_object_store(root, server.store(), QUICK_RETRY);
        let place = Place::S3 {
            objects: server.store(),
            prefix,
            _server: server,
        };
        let world = Self { store, place };
        world.put_all(objects).await;
        world
    }

    pub async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let bytes: Vec<u8> = bytes.into();
        match &self.place {
            Place::Disk(folder) => {
                let path = folder.path().join(key);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            Place::S3 { objects, .. } => {
                objects
                    .put(&self.object_path(key), bytes.into())
                    .await
                    .unwrap();
            }
        }
    }

    pub async fn put_all(&self, objects: &[(String, Vec<u8>)]) {
        for (key, bytes) in objects {
            self.put(key, bytes.clone()).await;
        }
    }

    pub async fn remove(&self, key: &str) {
        match &self.place {
            Place::Disk(folder) => fs::remove_file(folder.path().join(key)).unwrap(),
            Place::S3 { objects, .. } => objects.delete(&self.object_path(key)).await.unwrap(),
        }
    }

    /// The folder of a world on disk.
    pub fn folder(&self) -> &Path {
        match &self.place {
            Place::Disk(folder) => folder.path(),
            Place::S3 { .. } => panic!("the world is not on disk"),
        }
    }

    fn object_path(&self, key: &str) -> object_store::path::Path {
        let Place::S3 { prefix, .. } = &self.place else {
            panic!("the world is on disk")
        };
        object_store::path::Path::parse(format!("{prefix}/{key}")).unwrap()
    }

    pub async fn locate(&self, output_id: &str) -> OutputLocator {
        let catalogue = catalogue();
        let entry = catalogue.output(&OutputId::new(output_id)).unwrap();
        locate(&self.store, entry, &tokens()).await.unwrap()
    }
}

/// Runs a test on local disk and on S3.
pub async fn on_each_backend(objects: &[(String, Vec<u8>)], test: impl AsyncFn(&str, TestWorld)) {
    test("disk", TestWorld::on_disk(objects).await).await;
    test("s3", TestWorld::on_s3(objects).await).await;
}

/// Runs blocking reads on a plain thread, as they are meant to be.
pub async fn on_a_thread<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = sender.send(read());
    });
    receiver.await.unwrap()
}

pub const FINGERPRINT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const PARAMETERS: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub const SCENARIO: &str = "baseline v1";
pub const FLOWS: &str = "data/layer3/6B/flows/seed=7/scenario_id=baseline v1";
pub const LINES: &str = "data/layer3/6B/lines/scenario_id=baseline v1";

pub fn catalogue_bytes() -> &'static [u8] {
    b"version: '1.0'
outputs:
- output_id: flows
  class: stream
  path_template: data/layer3/6B/flows/seed={seed}/scenario_id={scenario_id}/part-*.parquet
  partitions: [seed, scenario_id]
  primary_key: [id]
  read_requires_gates: []
- output_id: lines
  class: stream
  path_template: |
    data/layer3/6B/lines/scenario_id={scenario_id}/
  partitions: [scenario_id]
  primary_key: [id]
  read_requires_gates: []
- {output_id: single, class: surface, path_template: data/single.parquet, primary_key: [id], read_requires_gates: []}
- {output_id: daily, class: surface, path_template: 'data/{utc_day}/', primary_key: [id], read_requires_gates: []}
- {output_id: nowhere, class: surface, primary_key: [id], read_requires_gates: []}
"
}

pub fn catalogue() -> Catalogue {
    Catalogue::parse(catalogue_bytes()).unwrap()
}

pub fn receipt_json() -> Value {
    json!({
        "run_id": "0123456789abcdef0123456789abcdef", "manifest_fingerprint": FINGERPRINT,
        "parameter_hash": PARAMETERS, "seed": 7, "created_utc": "2026-01-28T09:00:00Z",
    })
}

pub fn receipt() -> RunReceipt {
    RunReceipt::parse(receipt_json().to_string().as_bytes()).unwrap()
}

pub fn tokens() -> Tokens {
    Tokens::of_run(&receipt()).with_scenario(&ScenarioId::parse(SCENARIO).unwrap())
}

pub fn object(key: impl Into<String>, bytes: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (key.into(), bytes.into())
}

/// The text that row `id` has, long enough for pages to count.
pub fn text_of(id: i64) -> String {
    format!("row {id} {}", "x".repeat((id % 37) as usize))
}

/// A Parquet part with rows `ids`, small pages, and row groups of `group_rows`.
pub fn parquet_part(ids: std::ops::Range<i64>, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(50)
        .set_write_batch_size(50)
        .build();
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(ids.clone().collect::<Int64Array>())),
        (
            "ts_utc",
            Arc::new(StringArray::from_iter_values(
                ids.clone()
                    .map(|id| format!("2026-01-28T09:00:00.{id:06}Z")),
            )),
        ),
        (
            "text",
            Arc::new(StringArray::from_iter_values(ids.map(text_of))),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

pub fn json_lines(ids: std::ops::Range<i64>) -> Vec<u8> {
    let lines = ids.map(|id| format!("{}\n", json!({"id": id, "ts_utc": format!("t{id}")})));
    lines.collect::<String>().into_bytes()
}

/// A world of two outputs: 3 Parquet parts and 2 JSON lines parts.
pub fn small_world() -> Objects {
    vec![
        object("run_receipt.json", receipt_json().to_string()),
        object(
            format!("{FLOWS}/part-000001.parquet"),
            parquet_part(300..600, 100),
        ),
        object(
            format!("{FLOWS}/part-000000.parquet"),
            parquet_part(0..300, 120),
        ),
        object(
            format!("{FLOWS}/part-000010.parquet"),
            parquet_part(600..700, 1000),
        ),
        object(format!("{LINES}/a.jsonl"), json_lines(0..5)),
        object(format!("{LINES}/b.jsonl"), json_lines(5..7)),
    ]
}
