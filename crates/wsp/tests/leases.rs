//! Whole streams over a store and a client of the test's own: what a stream does with its leases.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use checkpoint::{
    CheckpointStore, Cursor, CursorKey, Error, HistoryEntry, Holder, Lease, LeaseRequest,
    LeaseState, MemoryStore, ReasonCode, Record,
};
use sandbox::{ProfileOptions, World, WorldOptions};
use tempfile::TempDir;
use wsp::profile::Profile;
use wsp::push::{Answer, PushClient, PushFault, PushLane};
use wsp::{Cause, Ending};
use wsp::{Overrides, Status, Stream, StreamFailure, StreamReport, StreamRequest};
use wsp::{Pace, RateSteps, Speedup};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A store in memory that counts, and does to the stream what a test asks for.
#[derive(Debug, Default)]
struct Site {
    inner: MemoryStore,
    renewals: AtomicU64,
    releases: AtomicU64,
    /// The keys of the leases that the stream has taken.
    taken: Mutex<Vec<CursorKey>>,
    /// A read under the lease waits for so many renewals.
    reads_wait_for: u64,
    /// A renewal panics.
    renewals_panic: bool,
    /// A read under the lease fails.
    reads_fail: bool,
    /// The stream that a taking stops in its middle.
    taking_stops: Mutex<Option<Ending>>,
    posts: AtomicU64,
    /// When the last post began.
    posted_at: Mutex<Option<Instant>>,
    /// When the lease was found lost.
    lost_at: Mutex<Option<Instant>>,
    /// By how much the store's clock is ahead of this machine's; without it, the store has none.
    clock_ahead: Option<Duration>,
}

#[async_trait]
impl CheckpointStore for Site {
    fn place(&self) -> String {
        "in this test".to_owned()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        let is_taken = !self.taken.lock().unwrap().is_empty();
        if is_taken {
            let began = Instant::now();
            while self.renewals.load(SeqCst) < self.reads_wait_for {
                assert!(began.elapsed() < PATIENCE, "nothing renews the lease");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if self.reads_fail {
                return Err(Error::new(
                    ReasonCode::ConfigInvalid,
                    "The store refuses it",
                ));
            }
        }
        self.inner.load(key).await
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        self.inner.lease_state(key).await
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        self.inner.history(key, limit).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        if let Some(ending) = &*self.taking_stops.lock().unwrap() {
            ending.wind_down(Cause::Asked);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let lease = self.inner.acquire(request).await;
        *self.taken.lock().unwrap() = request.keys.iter().cloned().collect();
        lease
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        assert!(!self.renewals_panic, "as asked");
        self.renewals.fetch_add(1, SeqCst);
        let renewed = self.inner.renew(lease).await;
        if renewed.is_err() {
            let lost_at = &mut *self.lost_at.lock().unwrap();
            lost_at.get_or_insert_with(Instant::now);
        }
        renewed
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        self.inner.save_many(lease, cursors).await
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        self.inner.reset(lease, key).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.releases.fetch_add(1, SeqCst);
        self.inner.release(lease).await
    }

    async fn server_time(&self) -> Result<Option<SystemTime>, Error> {
        Ok(self.clock_ahead.map(|ahead| SystemTime::now() + ahead))
    }
}

/// How the gate answers.
#[derive(Clone, Copy, PartialEq)]
enum Gate {
    Admits,
    /// It fails on everything after so many posts.
    FailsFrom(u64),
    /// The client cannot even make a lane to it.
    Unthinkable,
}

#[derive(Clone)]
struct Client {
    site: Arc<Site>,
    gate: Gate,
}

impl PushClient for Client {
    type Lane = Client;

    fn lane(&self) -> Client {
        assert!(self.gate != Gate::Unthinkable, "as asked");
        self.clone()
    }
}

impl PushLane for Client {
    async fn post(&mut self, _: Bytes) -> Result<Answer, PushFault> {
        let number = self.site.posts.fetch_add(1, SeqCst);
        *self.site.posted_at.lock().unwrap() = Some(Instant::now());
        tokio::time::sleep(Duration::from_millis(1)).await;
        let fails = matches!(self.gate, Gate::FailsFrom(from) if number >= from);
        let status = if fails { 503 } else { 200 };
        Ok(Answer::new(status, r#"{"decision":"ADMIT"}"#))
    }
}

/// A sample world, and the store that its cursors are in.
struct Bench {
    _folder: TempDir,
    world: World,
    site: Arc<Site>,
}

impl Bench {
    fn new(site: Site) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = WorldOptions::sample();
        let world = world.build(&folder.path().join("world")).unwrap();
        Self {
            _folder: folder,
            world,
            site: Arc::new(site),
        }
    }

    fn stream(&self, overrides: Overrides) -> Stream {
        let profile = ProfileOptions::local(&self.world, "http://127.0.0.1:9/")
            .set("wiring.wsp_checkpoint.lease_s", "1")
            .set("wiring.wsp_push.lanes", "8")
            .set("wiring.wsp_retry.base_delay_ms", "1")
            .set("wiring.wsp_retry.max_delay_ms", "5")
            .write()
            .unwrap();
        let profile = Profile::load(&profile, &|_| None).unwrap();
        Stream::new(StreamRequest::of_process(profile, overrides).unwrap())
    }

    async fn run(&self, stream: Stream, gate: Gate) -> StreamReport {
        let client = Client {
            site: Arc::clone(&self.site),
            gate,
        };
        let store: Arc<dyn CheckpointStore> = self.site.clone();
        let ran = Box::pin(stream.run_with(store, client, "this test")).await;
        ran.unwrap_or_else(StreamFailure::into_report)
    }

    fn count(&self, of: impl Fn(&Site) -> &AtomicU64) -> u64 {
        of(&self.site).load(SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_renewed_from_their_taking_on_however_long_the_first_event_takes() {
    let bench = Bench::new(Site {
        reads_wait_for: 3,
        ..Site::default()
    });
    let report = bench
        .run(bench.stream(Overrides::default()), Gate::Admits)
        .await;
    assert_eq!(report.status, Status::Streamed, "{:?}", report.detail);
    assert!(bench.count(|site| &site.renewals) >= 3);
    assert_eq!(bench.count(|site| &site.releases), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_after_the_leases_were_taken_gives_them_back() {
    let no_id = Overrides {
        scenario_run_id: Some("no id".to_owned()),
        ..Overrides::default()
    };
    let failing = Site {
        reads_fail: true,
        ..Site::default()
    };
    for (site, overrides, reason) in [
        (Site::default(), no_id, "ENVELOPE_FIELD_INVALID"),
        (failing, Overrides::default(), "CHECKPOINT_CONFIG_INVALID"),
    ] {
        let bench = Bench::new(site);
        let report = bench.run(bench.stream(overrides), Gate::Admits).await;
        assert_eq!(report.reason, Some(reason), "{:?}", report.detail);
        assert_eq!(bench.count(|site| &site.releases), 1, "{reason}");
        assert_eq!(bench.count(|site| &site.posts), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_a_taking_gives_the_leases_back() {
    let bench = Bench::new(Site::default());
    let stream = bench.stream(Overrides::default());
    *bench.site.taking_stops.lock().unwrap() = Some(stream.ending());
    let report = bench.run(stream, Gate::Admits).await;
    assert_eq!(report.status, Status::Stopped, "{:?}", report.detail);
    assert_eq!(bench.count(|site| &site.releases), 1);
    assert_eq!(bench.count(|site| &site.posts), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewing_thread_that_dies_ends_the_stream() {
    let bench = Bench::new(Site {
        renewals_panic: true,
        ..Site::default()
    });
    // It would go on for hours.
    let paced = Overrides {
        pace: Some(Pace::Speedup(Speedup::new(0.1).unwrap())),
        ..Overrides::default()
    };
    let running = bench.run(bench.stream(paced), Gate::Admits);
    let report = tokio::time::timeout(PATIENCE, running).await.unwrap();
    assert_eq!(report.reason, Some("STREAM_INTERNAL"));
    let detail = report.detail.unwrap();
    assert!(detail.contains("renews the lease"), "{detail}");
    assert_eq!(bench.count(|site| &site.releases), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fails_before_its_first_event_says_so_in_the_audit() {
    let bench = Bench::new(Site::default());
    let stream = bench.stream(Overrides::default());
    let report = bench.run(stream, Gate::Unthinkable).await;
    assert_eq!(report.reason, Some("STREAM_INTERNAL"));
    assert_eq!(bench.count(|site| &site.releases), 1);
    let run = report.platform_run_id.unwrap();
    let log = bench
        .world
        .runs_root()
        .join(run.as_str())
        .join("session.jsonl");
    let log = std::fs::read_to_string(log).unwrap();
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("stream_failed") && last.contains("STREAM_INTERNAL"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_retry_post_no_more_once_the_lease_is_lost() {
    let bench = Bench::new(Site::default());
    let overrides = Overrides::default();
    let running = bench.run(bench.stream(overrides), Gate::FailsFrom(100));
    let taking = async {
        while bench.count(|site| &site.posts) < 300 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let keys = bench.site.taken.lock().unwrap().clone();
        let take_over = LeaseRequest::new(keys, Holder::this_process("another")).taking_over();
        bench.site.inner.acquire(&take_over).await.unwrap()
    };
    let (report, _taken) = tokio::join!(running, taking);
    assert_eq!(report.reason, Some("LEASE_LOST"), "{:?}", report.detail);
    let moment = |at: &Mutex<Option<Instant>>| at.lock().unwrap().unwrap();
    let (posted, lost) = (moment(&bench.site.posted_at), moment(&bench.site.lost_at));
    // The lanes are told at once, however late a busy machine lets them hear it; a drain has 10 s.
    let since = posted.saturating_duration_since(lost);
    assert!(
        since < Duration::from_secs(5),
        "a post {since:?} after the lease was lost"
    );
}

/// Shards of one schedule go by clocks of their own, and the store's is what they compare with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paced_shard_whose_clock_is_wrong_is_refused_and_an_unpaced_one_says_how_wrong() {
    let shard = |pace: Pace| Overrides {
        shard: Some("0/2".to_owned()),
        pace: Some(pace),
        ..Overrides::default()
    };
    let paced = || shard(RateSteps::fixed(1e6).unwrap().into());
    let unpaced = || shard(Pace::Speedup(Speedup::UNPACED));
    for (ahead, is_right) in [(Some(5_000), false), (Some(0), true), (None, true)] {
        let bench = Bench::new(Site {
            clock_ahead: ahead.map(Duration::from_millis),
            ..Site::default()
        });
        let report = bench.run(bench.stream(paced()), Gate::Admits).await;
        let refused = (!is_right).then_some("SHARD_CLOCK_SKEWED");
        assert_eq!(report.reason, refused, "{ahead:?}: {:?}", report.detail);
        assert_eq!(bench.count(|site| &site.posts) > 0, is_right);

        let bench = Bench::new(Site {
            clock_ahead: ahead.map(Duration::from_millis),
            ..Site::default()
        });
        let report = bench.run(bench.stream(unpaced()), Gate::Admits).await;
        assert_eq!(report.status, Status::Streamed, "{:?}", report.detail);
        let skew = report.shard.unwrap().clock_skew;
        let is_near = |ahead: u64| {
            let skew = skew.unwrap();
            (skew.ahead_ms + ahead as f64).abs() <= skew.within_ms + 1.0
        };
        assert!(ahead.map_or(skew.is_none(), is_near), "{ahead:?} {skew:?}");
    }
}
