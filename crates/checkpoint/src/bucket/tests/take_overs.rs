//! Take-overs of holders that go on saving, in a store that takes its time for each request.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::time::Instant;

use futures::future::join_all;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use tokio::task::JoinHandle;

use crate::conformance::{assert_code, cursor, holder, key, position, save};
use crate::{ReasonCode, acquire_or_wait};

use super::*;

/// Rounds of each race; they run at the same time.
const ROUNDS: u64 = 20;
/// A holder renews, and so reads claims, every second.
const PERIOD: Duration = Duration::from_secs(3);
/// Longer than any take-over may last, on a machine that is busy with other things.
const BOUND: Duration = Duration::from_mins(1);

/// One producer's way to a store: each request takes 15 to 40 ms, or a share of that.
#[derive(Debug)]
struct Slow {
    /// By how much it is faster than the others.
    nearness: u64,
    inner: Arc<InMemory>,
    seed: AtomicU64,
    requests: AtomicU64,
    /// A part of the paths that may not be written.
    forbidden: &'static str,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slow")
    }
}

impl Slow {
    /// Half of the request's time: it happens in the middle.
    async fn half(&self) {
        let step = 6_364_136_223_846_793_005;
        let seed = self.seed.fetch_add(step, Ordering::SeqCst);
        let mixed = (seed ^ (seed >> 29)).wrapping_mul(step) >> 40;
        tokio::time::sleep(Duration::from_micros(
            (7_500 + mixed % 12_500) / self.nearness,
        ))
        .await;
    }
}

#[async_trait]
impl ObjectStore for Slow {
    async fn put_opts(
        &self,
        path: &Path,
        bytes: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.half().await;
        let put = if !self.forbidden.is_empty() && path.as_ref().contains(self.forbidden) {
            Err(StoreError::PermissionDenied {
                path: path.to_string(),
                source: "AccessDenied".into(),
            })
        } else {
            self.inner.put_opts(path, bytes, options).await
        };
        self.half().await;
        put
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.half().await;
        let got = self.inner.get_opts(path, options).await;
        self.half().await;
        got
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
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

/// One shared store; `a` is an idle output, `b` and `c` are busy ones.
struct Scene {
    objects: Arc<InMemory>,
    round: u64,
    keys: [CursorKey; 3],
}

impl Scene {
    fn new(round: u64) -> Self {
        Self {
            objects: Arc::default(),
            round,
            keys: ["a", "b", "c"].map(|id| key("take-overs", id)),
        }
    }

    fn way(&self, name: &str, forbidden: &'static str) -> Arc<Slow> {
        let seed = name.bytes().map(u64::from).sum::<u64>() + 1_000 * self.round;
        Arc::new(Slow {
            inner: Arc::clone(&self.objects),
            seed: AtomicU64::new(seed),
            requests: AtomicU64::new(0),
            forbidden,
            // The holder saves several times between a taker's get and its put.
            nearness: if name == "one" { 5 } else { 1 },
        })
    }

    fn producer(&self, name: &str) -> BucketStore {
        BucketStore::new(self.way(name, ""), Path::from("p"))
    }

    fn request(&self, name: &str, take_over: bool) -> LeaseRequest {
        LeaseRequest {
            period: PERIOD,
            take_over,
            ..LeaseRequest::new(self.keys.clone(), holder(name))
        }
    }

    /// A producer that holds all keys, saves `b` and `c` without a pause and renews in time.
    async fn busy_holder(&self) -> BusyHolder {
        let store = self.producer("one");
        let lease = store.acquire(&self.request("one", false)).await.unwrap();
        let saved = Arc::new(AtomicU64::new(0));
        let (counter, [_, b, c]) = (Arc::clone(&saved), self.keys.clone());
        let task = tokio::spawn(async move {
            let renewing = async {
                loop {
                    tokio::time::sleep(PERIOD / 3).await;
                    if let Err(error) = store.renew(&lease).await {
                        return error;
                    }
                }
            };
            let saving = async {
                for row in 1.. {
                    let cursors = [&b, &c].map(|key| (key.clone(), cursor("a", row)));
                    if let Err(error) = store.save_many(&lease, &BTreeMap::from(cursors)).await {
                        return error;
                    }
                    counter.store(row, Ordering::SeqCst);
                }
                unreachable!("it saves for ever")
            };
            let error = tokio::select! {
                error = renewing => error,
                error = saving => error,
            };
            (store, lease, error)
        });
        BusyHolder { saved, task }
    }

    /// Everything that a producer does is done under this lease.
    async fn assert_holds(&self, store: &BucketStore, lease: &Lease) {
        store.renew(lease).await.unwrap();
        let row = 1_000_000;
        for key in &self.keys {
            save(store, lease, key, cursor("a", row)).await.unwrap();
            let at = position(store, key).await;
            assert_eq!(at, Some(("a".to_owned(), row)));
        }
    }
}

struct BusyHolder {
    saved: Arc<AtomicU64>,
    task: JoinHandle<(BucketStore, Lease, Error)>,
}

impl BusyHolder {
    fn saved(&self) -> u64 {
        self.saved.load(Ordering::SeqCst)
    }

    /// It ends with `LEASE_LOST`, naming who took over.
    async fn assert_lost_to(self, name: &str) {
        let ended = tokio::time::timeout(BOUND, self.task).await;
        let (_, _, error) = ended.expect("it ends").unwrap();
        assert_eq!(error.code(), ReasonCode::LeaseLost, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }

    /// It goes on saving and renewing, for longer than a claim is heeded.
    async fn assert_goes_on(self) {
        let began = Instant::now();
        let enough = self.saved() + 10;
        while self.saved() < enough {
            assert!(!self.task.is_finished(), "{:?}", self.task.await);
            assert!(began.elapsed() < BOUND, "it saves no more");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(PERIOD / 2).await;
        assert!(!self.task.is_finished(), "{:?}", self.task.await);
        self.task.abort();
    }
}

async fn in_rounds<F: Future<Output = ()> + Send + 'static>(round: impl Fn(Scene) -> F) {
    let rounds = (0..ROUNDS).map(|number| tokio::spawn(round(Scene::new(number))));
    for round in join_all(rounds).await {
        round.unwrap();
    }
}

fn within_its_bound(began: Instant) {
    assert!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_of_a_busy_holder_wins_all_keys_within_its_bound() {
    in_rounds(|scene| async move {
        let busy = scene.busy_holder().await;
        tokio::time::sleep(Duration::from_millis(50 * scene.round)).await;
        let (taker, began) = (scene.producer("two"), Instant::now());
        let lease = taker.acquire(&scene.request("two", true)).await.unwrap();
        within_its_bound(began);
        let saved = busy.saved();
        busy.assert_lost_to("two").await;
        // What the old holder saved before is there.
        let at = position(&taker, &scene.keys[1]).await.unwrap();
        assert!(at.1 >= saved, "{at:?} after {saved}");
        scene.assert_holds(&taker, &lease).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_take_overs_at_once_one_wins_and_the_other_is_told_who() {
    in_rounds(|scene| async move {
        let busy = scene.busy_holder().await;
        let takers = [scene.producer("two"), scene.producer("three")];
        let mut requests = ["two", "three"].map(|name| scene.request(name, true));
        if scene.round % 2 == 1 {
            // They share but one key.
            requests[0].keys = BTreeSet::from_iter(scene.keys[..2].to_vec());
            requests[1].keys = BTreeSet::from_iter(scene.keys[1..].to_vec());
        }
        let began = Instant::now();
        let clock = BootClock;
        let take = |n: usize| acquire_or_wait(&takers[n], &requests[n], &clock, |_, _| {});
        let outcomes = tokio::join!(take(0), take(1));
        within_its_bound(began);
        let (winner, lease, refused) = match outcomes {
            (Ok(lease), refused) => (0, lease, refused),
            (refused, Ok(lease)) => (1, lease, refused),
            neither => panic!("both were refused: {neither:?}"),
        };
        let name = &requests[winner].holder.name;
        let error = assert_code(refused, ReasonCode::LeaseHeld);
        assert!(error.to_string().contains(name), "{error}");
        busy.assert_lost_to(name).await;
        takers[winner].renew(&lease).await.unwrap();
        for key in lease.keys() {
            let far = cursor("a", 1_000_000);
            save(&takers[winner], &lease, key, far).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taker_that_dies_after_its_claim_leaves_the_holder_all_its_leases() {
    in_rounds(|scene| async move {
        let busy = scene.busy_holder().await;
        let (taker, request) = (scene.producer("two"), scene.request("two", true));
        let taking = tokio::spawn(async move { taker.acquire(&request).await });
        // From before its claim to the middle of its taking.
        tokio::time::sleep(Duration::from_millis(60 + 45 * scene.round)).await;
        taking.abort();
        match taking.await {
            Ok(taken) => drop(taken.unwrap()),
            Err(_) if busy.task.is_finished() => busy.assert_lost_to("two").await,
            Err(_) => {
                let reader = scene.producer("reader");
                let pack = scene.keys[0].pack_key();
                let claim = reader.inner.objects.claim(pack).await.unwrap();
                let state = claim.and_then(|found| Some(found.claim?.state));
                if state != Some(claim::ClaimState::Taken) {
                    busy.assert_goes_on().await;
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_claim_of_a_dead_taker_is_replaced_by_the_next() {
    in_rounds(|scene| async move {
        let busy = scene.busy_holder().await;
        let (dead, request) = (scene.producer("two"), scene.request("two", true));
        let taking = tokio::spawn(async move { dead.acquire(&request).await });
        tokio::time::sleep(Duration::from_millis(150 + 10 * scene.round)).await;
        taking.abort();
        let _ = taking.await;
        let (taker, began) = (scene.producer("three"), Instant::now());
        let lease = taker.acquire(&scene.request("three", true)).await.unwrap();
        within_its_bound(began);
        scene.assert_holds(&taker, &lease).await;
        busy.assert_lost_to("t").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_that_may_not_write_one_key_takes_none() {
    in_rounds(|scene| async move {
        let busy = scene.busy_holder().await;
        let forbidden = ["output_id=a", "output_id=b", "output_id=c"][scene.round as usize % 3];
        let taker = BucketStore::new(scene.way("two", forbidden), Path::from("p"));
        let outcome = taker.acquire(&scene.request("two", true)).await;
        assert_code(outcome, ReasonCode::ConfigInvalid);
        busy.assert_goes_on().await;
        let reader = scene.producer("reader");
        for key in &scene.keys {
            let state = reader.lease_state(key).await.unwrap().unwrap();
            assert_eq!(state.holder.name, "one", "{key}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_heeds_no_claim_is_not_taken_over_by_half() {
    let scene = Scene::new(0);
    let old = scene.producer("one");
    let request = LeaseRequest {
        period: Duration::from_millis(300),
        ..scene.request("one", false)
    };
    let lease = old.acquire(&request).await.unwrap();
    let quick = Objects::new(scene.objects.clone(), Path::from("p"), pace());
    let busy = scene.keys[1].clone();
    let saving = tokio::spawn(async move {
        let objects = &quick;
        let mut found = objects.get(&busy).await.unwrap().unwrap();
        loop {
            let mut next = found.object.clone();
            next.count_on(Observer::default().new_session());
            let version = objects.put(&busy, &next, Some(&found)).await.unwrap();
            found = Found {
                object: next,
                version,
            };
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let taker = scene.producer("two");
    let take_over = LeaseRequest {
        take_over: true,
        holder: holder("two"),
        ..request
    };
    let began = Instant::now();
    let error = assert_code(taker.acquire(&take_over).await, ReasonCode::LeaseHeld);
    within_its_bound(began);
    assert!(error.to_string().contains("one"), "{error}");
    saving.abort();
    let idle = &scene.keys[0];
    save(&old, &lease, idle, cursor("a", 1)).await.unwrap();
}

#[tokio::test]
async fn a_save_is_one_request_and_a_renewal_one_more_than_its_keys() {
    let scene = Scene::new(0);
    let way = scene.way("one", "");
    let store = BucketStore::new(way.clone(), Path::from("p"));
    let lease = store.acquire(&scene.request("one", false)).await.unwrap();
    let requests = || way.requests.swap(0, Ordering::SeqCst);
    requests();
    save(&store, &lease, &scene.keys[0], cursor("a", 1))
        .await
        .unwrap();
    assert_eq!(requests(), 1);
    store.renew(&lease).await.unwrap();
    assert_eq!(requests(), 1 + 3);
}
