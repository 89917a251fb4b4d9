//! Writes whose answer is lost, refused or late: each is settled by reading back.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result as StoreResult,
};

use super::*;
use crate::ReasonCode;
use crate::conformance::{assert_code, cursor, holder, key, position, save};

/// What happens to one put.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is made, and its answer lost.
    AnswerLost,
    /// It is not made, and no answer comes.
    RequestLost,
    /// It is not made; S3 says 409 while other writes are in flight.
    Conflict409,
    /// It is made, but the client's own repetition of it is refused with 412.
    RepeatedByClient,
    /// It is made only after the next put was tried.
    Late,
}

/// An object store with faults in line for its next puts.
#[derive(Debug, Default)]
struct Faulty {
    inner: InMemory,
    faults: SyncMutex<VecDeque<Fault>>,
    late: SyncMutex<Option<(Path, PutPayload, PutOptions)>>,
    /// Takes every put, whatever it demands.
    is_careless: bool,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn generic(text: &'static str) -> StoreError {
    StoreError::Generic {
        store: "Faulty",
        source: text.into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        path: &Path,
        bytes: PutPayload,
        mut options: PutOptions,
    ) -> StoreResult<PutResult> {
        if self.is_careless {
            options.mode = PutMode::Overwrite;
        }
        let fault = self.faults.lock().unwrap().pop_front();
        let late = self.late.lock().unwrap().take();
        if let Some((path, bytes, options)) = late {
            // It arrives first after all, and what it demands still holds.
            self.inner.put_opts(&path, bytes, options).await?;
        }
        let put = |bytes| self.inner.put_opts(path, bytes, options.clone());
        match fault {
            None => put(bytes).await,
            Some(Fault::AnswerLost) => {
                put(bytes).await?;
                Err(generic("timed out"))
            }
            Some(Fault::RequestLost) => Err(generic("connection refused")),
            Some(Fault::Conflict409) => Err(StoreError::AlreadyExists {
                path: path.to_string(),
                source: "409 ConditionalRequestConflict".into(),
            }),
            Some(Fault::RepeatedByClient) => {
                put(bytes.clone()).await?;
                put(bytes).await
            }
            Some(Fault::Late) => {
                *self.late.lock().unwrap() = Some((path.clone(), bytes, options));
                Err(generic("timed out"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(
        &self,
        path: &Path,
        ranges: &[Range<u64>],
    ) -> StoreResult<Vec<bytes::Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

struct Scene {
    faulty: Arc<Faulty>,
    store: BucketStore,
    key: CursorKey,
}

impl Scene {
    fn new() -> Self {
        let faulty = Arc::new(Faulty::default());
        let observer = ManualClock::default().observer();
        Self {
            store: paced_by_the_machine(faulty.clone(), "p", observer),
            faulty,
            key: key("faults", "o"),
        }
    }

    fn next(&self, faults: &[Fault]) {
        self.faulty.faults.lock().unwrap().extend(faults);
    }

    async fn acquire(&self, name: &str) -> Result<Lease, Error> {
        let request = LeaseRequest::new([self.key.clone()], holder(name));
        self.store.acquire(&request).await
    }
}

const FAULTS: [Fault; 5] = [
    Fault::AnswerLost,
    Fault::RequestLost,
    Fault::Conflict409,
    Fault::RepeatedByClient,
    Fault::Late,
];

#[tokio::test]
async fn a_409_on_the_first_put_of_the_proof_is_no_sign_of_a_careless_store() {
    for conflicts in 1..4 {
        let store = Arc::new(Faulty::default());
        store
            .faults
            .lock()
            .unwrap()
            .extend(vec![Fault::Conflict409; conflicts]);
        let bucket = BucketStore::new(store, Path::from("p"));
        let request = LeaseRequest::new([key("proof", "o")], holder("one"));
        bucket.acquire(&request).await.unwrap();
    }
}

#[tokio::test]
async fn a_save_without_a_clear_answer_is_made_exactly_once() {
    for first in FAULTS {
        for second in FAULTS {
            let scene = Scene::new();
            let lease = scene.acquire("one").await.unwrap();
            save(&scene.store, &lease, &scene.key, cursor("a", 1))
                .await
                .unwrap();
            scene.next(&[first, second]);
            save(&scene.store, &lease, &scene.key, cursor("a", 2))
                .await
                .unwrap();
            assert_eq!(
                position(&scene.store, &scene.key).await,
                Some(("a".to_owned(), 2))
            );
            scene.faulty.faults.lock().unwrap().clear();
            save(&scene.store, &lease, &scene.key, cursor("a", 3))
                .await
                .unwrap();
            let record = scene.store.load(&scene.key).await.unwrap().unwrap();
            assert_eq!(record.sequence, 3, "{first:?}, {second:?}");
            assert_eq!(scene.store.history(&scene.key, 10).await.unwrap().len(), 3);
        }
    }
}

#[tokio::test]
async fn a_lease_taken_without_a_clear_answer_is_taken_once() {
    for fault in FAULTS {
        let scene = Scene::new();
        // The condition test of a fresh store comes first.
        let before = scene.acquire("one").await.unwrap();
        scene.store.release(&before).await.unwrap();
        scene.next(&[fault]);
        let lease = scene.acquire("one").await.unwrap();
        save(&scene.store, &lease, &scene.key, cursor("a", 1))
            .await
            .unwrap();
        scene.next(&[fault]);
        scene.store.renew(&lease).await.unwrap();
        assert_code(scene.acquire("two").await, ReasonCode::LeaseHeld);
    }
}

#[tokio::test]
async fn a_store_that_stays_away_is_unavailable_and_the_save_can_be_made_later() {
    let scene = Scene::new();
    let lease = scene.acquire("one").await.unwrap();
    scene.next(&[Fault::RequestLost; 5]);
    let outcome = save(&scene.store, &lease, &scene.key, cursor("a", 1)).await;
    let error = assert_code(outcome, ReasonCode::Unavailable);
    assert!(error.to_string().contains("cursor.json"), "{error}");
    save(&scene.store, &lease, &scene.key, cursor("a", 2))
        .await
        .unwrap();
    assert_eq!(
        position(&scene.store, &scene.key).await,
        Some(("a".to_owned(), 2))
    );
}

#[tokio::test]
async fn a_late_save_of_a_producer_that_was_taken_over_is_refused_by_the_store() {
    let scene = Scene::new();
    let old = scene.acquire("one").await.unwrap();
    save(&scene.store, &old, &scene.key, cursor("a", 1))
        .await
        .unwrap();
    let request = LeaseRequest {
        take_over: true,
        ..LeaseRequest::new([scene.key.clone()], holder("two"))
    };
    let new = scene.store.acquire(&request).await.unwrap();
    // The old producer still believes in the object it wrote last: only the ETag keeps it out.
    let outcome = save(&scene.store, &old, &scene.key, cursor("a", 9)).await;
    assert_code(outcome, ReasonCode::LeaseLost);
    save(&scene.store, &new, &scene.key, cursor("a", 2))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused_before_the_first_lease() {
    let careless = Arc::new(Faulty {
        is_careless: true,
        ..Faulty::default()
    });
    let store = BucketStore::new(careless, Path::from("p"));
    let request = LeaseRequest::new([key("careless", "o")], holder("one"));
    let error = assert_code(store.acquire(&request).await, ReasonCode::ConfigInvalid);
    assert!(error.to_string().contains("conditional put"), "{error}");
}

#[tokio::test]
async fn a_folder_as_an_object_store_has_no_conditional_put() {
    let folder = tempfile::tempdir().unwrap();
    let local = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let store = BucketStore::new(Arc::new(local), Path::from("p"));
    let request = LeaseRequest::new([key("folder", "o")], holder("one"));
    assert_code(store.acquire(&request).await, ReasonCode::ConfigInvalid);
}

#[tokio::test]
async fn an_object_deleted_in_mid_run_is_not_made_anew() {
    let scene = Scene::new();
    let lease = scene.acquire("one").await.unwrap();
    save(&scene.store, &lease, &scene.key, cursor("a", 1))
        .await
        .unwrap();
    let path = scene.store.inner.objects.path(&scene.key);
    object_store::ObjectStoreExt::delete(&scene.faulty.inner, &path)
        .await
        .unwrap();
    let outcome = save(&scene.store, &lease, &scene.key, cursor("a", 2)).await;
    assert_code(outcome, ReasonCode::Unavailable);
    assert_eq!(scene.store.load(&scene.key).await.unwrap(), None);
}

#[tokio::test]
async fn an_object_that_is_not_whole_is_kept_until_a_reset() {
    let scene = Scene::new();
    let lease = scene.acquire("one").await.unwrap();
    save(&scene.store, &lease, &scene.key, cursor("a", 1))
        .await
        .unwrap();
    scene
        .store
        .inner
        .objects
        .rewrite(&scene.key, |text| text[..40].to_owned())
        .await;
    assert_code(scene.store.load(&scene.key).await, ReasonCode::Corrupt);
    let lease = scene.acquire("two").await.unwrap();
    assert_code(scene.store.load(&scene.key).await, ReasonCode::Corrupt);
    scene.store.reset(&lease, &scene.key).await.unwrap();
    assert_eq!(scene.store.load(&scene.key).await.unwrap(), None);
    let history = scene.store.history(&scene.key, 10).await.unwrap();
    assert!(history[0].damaged.as_deref().unwrap().starts_with('{'));
}
