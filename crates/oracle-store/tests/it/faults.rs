//! An object store that fails, is slow, or changes, under the same reads; and what is
//! asked of it.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use model::{Clock, Random, SharedClock};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use oracle_store::{
    Error, OutputId, OutputLocator, PackOutcome, PackRequest, Part, ReadOptions, ReasonCode,
    RetryPolicy, RunReceipt, SealStatus, Tokens, WorldStore, footer, locate, open_rows, pack,
    read_column, resolve_scenario_id,
};

use crate::rows::ids_from;
use crate::world::*;

/// How a [`FaultyStore`] behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    /// As it should.
    Well,
    /// About every second request fails in one of the ways that pass.
    Flaky,
    /// Every request fails.
    Down,
    /// Listings show an empty object for every folder, as consoles leave one whose key ends
    /// in `/`.
    Marked,
}

#[derive(Debug)]
struct FaultyStore {
    inner: InMemory,
    mood: Mood,
    dice: AtomicU64,
    requests: Mutex<Vec<String>>,
    longest_get: AtomicU64,
}

enum Fault {
    Reset,
    SlowDown,
    Cut,
    BreaksOff,
    Late,
}

impl FaultyStore {
    fn new(mood: Mood, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            mood,
            dice: AtomicU64::new(seed),
            requests: Mutex::default(),
            longest_get: AtomicU64::default(),
        })
    }

    fn note(&self, request: String) {
        self.requests.lock().unwrap().push(request);
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    fn roll(&self) -> Option<Fault> {
        match self.mood {
            Mood::Well | Mood::Marked => None,
            Mood::Down => Some(Fault::SlowDown),
            Mood::Flaky => {
                let n = self
                    .dice
                    .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
                let mixed = (n ^ (n >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                match (mixed >> 32) % 10 {
                    0 => Some(Fault::Reset),
                    1 => Some(Fault::SlowDown),
                    2 => Some(Fault::Cut),
                    3 => Some(Fault::BreaksOff),
                    4 => Some(Fault::Late),
                    _ => None,
                }
            }
        }
    }

    async fn before(&self) -> Result<Option<Fault>> {
        match self.roll() {
            Some(Fault::Reset) => Err(failed("connection reset by peer")),
            Some(Fault::SlowDown) => Err(failed(
                "Server returned non-2xx status code: 503 Service Unavailable: SlowDown",
            )),
            Some(Fault::Late) => {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok(None)
            }
            other => Ok(other),
        }
    }
}

fn failed(text: &str) -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: text.into(),
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        to: &Path,
        body: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.note(format!("PUT {to}"));
        let fault = self.before().await?;
        let put = self.inner.put_opts(to, body, options).await?;
        // Written, but the answer is lost.
        if fault.is_some() {
            Err(failed("connection closed before the answer"))
        } else {
            Ok(put)
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("nothing here is written in parts")
    }

    async fn get_opts(&self, from: &Path, mut options: GetOptions) -> Result<GetResult> {
        let kind = if options.head { "HEAD" } else { "GET" };
        let range = match &options.range {
            Some(GetRange::Bounded(Range { start, end })) => {
                self.longest_get.fetch_max(end - start, Ordering::Relaxed);
                format!(" {start}..{end}")
            }
            _ => String::new(),
        };
        self.note(format!("{kind} {from}{range}"));
        let fault = self.before().await?;
        options.if_match = None; // As servers do that do not know it.
        let mut result = self.inner.get_opts(from, options).await?;
        if let Some(fault) = fault {
            let meta_and_range = (result.meta.clone(), result.range.clone());
            let attributes = result.attributes.clone();
            let bytes = result.bytes().await?;
            let half = bytes.slice(..bytes.len() / 2);
            let parts: Vec<Result<Bytes>> = match fault {
                Fault::Cut => vec![Ok(half)],
                _ => vec![
                    Ok(half),
                    Err(failed("connection reset while reading the body")),
                ],
            };
            result = GetResult {
                payload: GetResultPayload::Stream(futures::stream::iter(parts).boxed()),
                meta: meta_and_range.0,
                range: meta_and_range.1,
                attributes,
            };
        }
        Ok(result)
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        unreachable!("nothing is ever deleted")
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note(format!("LIST {}", prefix.unwrap()));
        let listed = self.inner.list(prefix);
        if self.mood == Mood::Marked {
            let folders = ["", "/data", "/data/layer3", "/data/empty"];
            let folders = folders.map(|folder| format!("runs/r{folder}"));
            let below = prefix.unwrap().as_ref().to_owned();
            let markers = folders
                .into_iter()
                .filter(move |key| key.starts_with(&below));
            return futures::stream::iter(markers.map(|key| Ok(marker(&key))))
                .chain(listed)
                .boxed();
        }
        match self.roll() {
            None | Some(Fault::Late) => listed,
            Some(_) => listed
                .take(1)
                .chain(futures::stream::iter([Err(failed("reset"))]))
                .boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.note(format!("LIST {}/", prefix.unwrap()));
        match self.before().await? {
            None => {
                let mut listed = self.inner.list_with_delimiter(prefix).await?;
                if self.mood == Mood::Marked {
                    listed.objects.insert(0, marker(prefix.unwrap().as_ref()));
                }
                Ok(listed)
            }
            Some(_) => Err(failed("reset while listing")),
        }
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("nothing is ever copied")
    }
}

/// What a listing shows of the empty object `<key>/`.
fn marker(key: &str) -> ObjectMeta {
    ObjectMeta {
        location: Path::parse(key).unwrap(),
        last_modified: chrono::Utc::now(),
        size: 0,
        e_tag: Some("\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned()),
        version: None,
    }
}

/// A patient policy for a store where every second request fails.
const PATIENT: RetryPolicy = RetryPolicy {
    max_attempts: 60,
    ..QUICK_RETRY
};

async fn world_on(
    store: &Arc<FaultyStore>,
    objects: &[(String, Vec<u8>)],
    retry: RetryPolicy,
) -> WorldStore {
    for (key, bytes) in objects {
        let path = Path::parse(format!("runs/r/{key}")).unwrap();
        store.inner.put(&path, bytes.clone().into()).await.unwrap();
    }
    WorldStore::with_object_store(root_at("s3://b/runs/r"), store.clone(), retry)
}

async fn located(store: &WorldStore, output_id: &str) -> OutputLocator {
    let catalogue = catalogue();
    let entry = catalogue.output(&OutputId::new(output_id)).unwrap();
    locate(store, entry, &tokens()).await.unwrap()
}

async fn all_ids(store: &WorldStore, part: &Part, from_row: u64) -> Result<Vec<i64>, Error> {
    let (store, part) = (store.clone(), part.clone());
    on_a_thread(move || {
        ids_from(
            &store,
            &part,
            ReadOptions {
                from_row,
                batch_rows: 100,
            },
        )
    })
    .await
}

#[tokio::test]
async fn a_flaky_store_gives_the_same_rows_and_the_same_pack() {
    for seed in 0..12 {
        let faulty = FaultyStore::new(Mood::Flaky, seed);
        let store = world_on(&faulty, &small_world(), PATIENT).await;
        RunReceipt::load(&store).await.unwrap();
        let flows = located(&store, "flows").await;
        let mut ids = Vec::new();
        for part in &flows.parts {
            ids.extend(all_ids(&store, part, 0).await.unwrap());
        }
        assert_eq!(ids, (0..700).collect::<Vec<_>>());

        let request = PackRequest {
            facts: crate::evidence::facts(),
            seal_status: SealStatus::SealedOk,
            with_contents: true,
            dry_run: false,
            now: SystemTime::now(),
        };
        let report = pack(&store, &request).await.unwrap();
        assert_eq!((report.outcome, report.objects), (PackOutcome::Packed, 6));
    }
}

#[tokio::test]
async fn folder_markers_are_no_objects_of_a_world() {
    let marked = FaultyStore::new(Mood::Marked, 0);
    let mut objects = small_world();
    objects.push(object("data/nothing.txt", ""));
    let store = world_on(&marked, &objects, QUICK_RETRY).await;
    assert_eq!(located(&store, "flows").await.parts.len(), 3);
    assert_eq!(located(&store, "lines").await.parts.len(), 2);
    for (folder, count) in [("", objects.len()), ("data", objects.len() - 1)] {
        let listed = store.list_under(folder).await.unwrap();
        assert_eq!(listed.len(), count, "{folder}: {listed:?}");
    }
    let folders = store.list_tree("").await.unwrap().folders;
    assert!(folders.contains(&"data/empty".to_owned()), "{folders:?}");
    let of_data = folders.iter().filter(|folder| *folder == "data");
    assert_eq!(of_data.count(), 1);
    let request = PackRequest {
        facts: crate::evidence::facts(),
        seal_status: SealStatus::SealedOk,
        with_contents: true,
        dry_run: false,
        now: SystemTime::now(),
    };
    let report = pack(&store, &request).await.unwrap();
    assert_eq!(report.objects, objects.len() as u64);
}

#[tokio::test]
async fn a_store_that_stays_down_is_a_named_failure_after_the_last_attempt() {
    let faulty = FaultyStore::new(Mood::Down, 0);
    let store = world_on(&faulty, &small_world(), QUICK_RETRY).await;
    let error = store.get("run_receipt.json").await.unwrap_err();
    assert_eq!(error.code(), ReasonCode::OracleReadFailed);
    assert!(error.is_retryable());
    assert!(
        error.to_string().contains("s3://b/runs/r/run_receipt.json"),
        "{error}"
    );
    assert_eq!(faulty.requests().len(), QUICK_RETRY.max_attempts as usize);
}

#[tokio::test]
async fn what_is_final_is_not_tried_again() {
    let faulty = FaultyStore::new(Mood::Well, 0);
    let store = world_on(&faulty, &[], QUICK_RETRY).await;
    assert!(!store.get("gone").await.unwrap_err().is_retryable());
    assert_eq!(faulty.requests(), ["GET runs/r/gone"]);
}

#[tokio::test]
async fn only_the_levels_that_the_law_allows_are_listed() {
    let faulty = FaultyStore::new(Mood::Well, 0);
    let store = world_on(&faulty, &small_world(), QUICK_RETRY).await;
    let catalogue = catalogue();
    let selected = [catalogue.output(&OutputId::new("flows")).unwrap()];
    let receipt = RunReceipt::load(&store).await.unwrap();
    let scenario = resolve_scenario_id(&store, &[], &selected, &Tokens::of_run(&receipt))
        .await
        .unwrap();
    assert_eq!(scenario.as_str(), SCENARIO);
    located(&store, "flows").await;
    assert_eq!(
        faulty.requests(),
        [
            "GET runs/r/run_receipt.json".to_owned(),
            "GET runs/r/_oracle_pack_manifest.json".to_owned(),
            "LIST runs/r/data/layer3/6B/flows/seed=7/".to_owned(),
            format!("LIST runs/r/{FLOWS}/"),
        ]
    );
}

#[tokio::test]
async fn a_small_part_is_one_request_however_often_it_is_opened() {
    let faulty = FaultyStore::new(Mood::Well, 0);
    let store = world_on(&faulty, &small_world(), QUICK_RETRY).await;
    let part = located(&store, "flows").await.parts[0].clone();
    faulty.requests();
    let (reader, located) = (store.clone(), part.clone());
    on_a_thread(move || {
        footer(&reader, &located).unwrap();
        let times = read_column(&reader, &located, "ts_utc", &ReadOptions::default()).unwrap();
        assert_eq!(
            times.map(|batch| batch.unwrap().1.len()).sum::<usize>(),
            300
        );
    })
    .await;
    assert_eq!(all_ids(&store, &part, 0).await.unwrap().len(), 300);
    assert_eq!(faulty.requests().len(), 1);
}

/// One row group of about 9 MiB.
fn large_part() -> Vec<u8> {
    parquet_part(0..120_000, 1 << 20)
}

#[tokio::test]
async fn a_huge_row_group_is_read_in_windows_and_never_whole() {
    let faulty = FaultyStore::new(Mood::Well, 0);
    let bytes = large_part();
    let size = bytes.len() as u64;
    let objects = [object(format!("{FLOWS}/part-0.parquet"), bytes)];
    let store = world_on(&faulty, &objects, QUICK_RETRY).await;
    let part = located(&store, "flows").await.parts[0].clone();
    faulty.requests();
    assert_eq!(
        all_ids(&store, &part, 0).await.unwrap(),
        (0..120_000).collect::<Vec<_>>()
    );
    let requests = faulty.requests().len() as u64;
    assert!(faulty.longest_get.load(Ordering::Relaxed) <= 1 << 20);
    let fewest = size / (1 << 20);
    assert!(
        (fewest..=2 * fewest + 8).contains(&requests),
        "{requests} requests for {size} bytes"
    );
}

#[tokio::test]
async fn a_late_position_is_reached_without_reading_what_is_before_it() {
    let faulty = FaultyStore::new(Mood::Well, 0);
    let objects = [object(format!("{FLOWS}/part-0.parquet"), large_part())];
    let store = world_on(&faulty, &objects, QUICK_RETRY).await;
    let part = located(&store, "flows").await.parts[0].clone();
    faulty.requests();
    assert_eq!(
        all_ids(&store, &part, 119_000).await.unwrap(),
        (119_000..120_000).collect::<Vec<_>>()
    );
    let requests = faulty.requests();
    assert!(requests.len() <= 12, "{requests:#?}");
}

#[tokio::test]
async fn a_part_that_changes_between_two_windows_is_never_mixed() {
    let faulty = FaultyStore::new(Mood::Well, 0);
    let key = format!("{FLOWS}/part-0.parquet");
    let store = world_on(&faulty, &[object(key.clone(), large_part())], QUICK_RETRY).await;
    let part = located(&store, "flows").await.parts[0].clone();
    let grant = granted(&store, part.output_id());
    let (first, mut rows) = on_a_thread(move || {
        let options = ReadOptions {
            from_row: 0,
            batch_rows: 1000,
        };
        let mut rows = open_rows(&grant, &part, &options).unwrap();
        (rows.next().unwrap().is_ok(), rows)
    })
    .await;
    assert!(first);
    let path = Path::parse(format!("runs/r/{key}")).unwrap();
    faulty.inner.put(&path, large_part().into()).await.unwrap();
    let error = on_a_thread(move || rows.find_map(Result::err))
        .await
        .expect("the change is seen");
    assert_eq!(error.code(), ReasonCode::OracleReadFailed);
    assert!(error.to_string().contains("changed"), "{error}");
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_streamed_is_never_mixed() {
    let faulty = FaultyStore::new(Mood::Well, 0);
    let store = world_on(&faulty, &[object("big", vec![1; 20 << 20])], QUICK_RETRY).await;
    let pin = store.head("big").await.unwrap();
    let mut chunks = store.stream("big", &pin);
    assert!(chunks.next().await.unwrap().is_ok());
    faulty
        .inner
        .put(&Path::from("runs/r/big"), vec![2; 20 << 20].into())
        .await
        .unwrap();
    let rest: Result<Vec<Bytes>, Error> = chunks.try_collect().await;
    assert_eq!(rest.unwrap_err().code(), ReasonCode::OracleReadFailed);
}

/// A clock on which every wait is over at once, and is noted.
#[derive(Clone, Default)]
struct NotedWaits(Arc<Mutex<Vec<Duration>>>);

impl Clock for NotedWaits {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    async fn sleep(&self, delay: Duration) {
        self.0.lock().unwrap().push(delay);
    }
}

/// Randomness that always draws the middle.
struct Middle;

impl Random for Middle {
    fn bits(&mut self) -> u64 {
        1 << 63
    }
}

#[tokio::test]
async fn retries_wait_by_the_clock_and_the_randomness_that_the_store_was_given() {
    let waits = NotedWaits::default();
    let down = FaultyStore::new(Mood::Down, 1);
    let root = root_at("s3://worlds/run");
    let store = WorldStore::with_object_store(root, down, RetryPolicy::default())
        .with_time_and_chance(SharedClock::new(waits.clone()), Middle);
    let error = store.head("part-0.parquet").await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let waited = waits.0.lock().unwrap().clone();
    let half = [50, 100, 200, 400, 800, 1600, 2500].map(Duration::from_millis);
    assert_eq!(waited, half);
}
