//! Leases that are renewed, lost, overdue and given up.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use async_trait::async_trait;
use durable::BootClock;

use super::*;
use crate::conformance::{ManualClock, cursor, holder, key, save};
use crate::{Cursor, HistoryEntry, LeaseState, MemoryStore, ReasonCode, Record};

const PERIOD: Duration = Duration::from_millis(300);

/// The machine's clock, which can be set forward as if the machine had slept.
#[derive(Clone, Debug, Default)]
struct Leaping {
    slept_ms: Arc<AtomicU64>,
}

impl Leaping {
    fn leap(&self, over: Duration) {
        self.slept_ms
            .fetch_add(over.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for Leaping {
    fn now(&self) -> Instant {
        let slept = self.slept_ms.load(Ordering::SeqCst);
        BootClock.now() + Duration::from_millis(slept)
    }

    fn wall(&self) -> SystemTime {
        BootClock.wall()
    }

    async fn sleep(&self, delay: Duration) {
        BootClock.sleep(delay).await;
    }
}

/// A store whose renewals can be made to fail, and whose takings to last.
#[derive(Debug, Default)]
struct Flaky {
    inner: MemoryStore,
    is_away: AtomicBool,
    panics: AtomicBool,
    renewals: AtomicU64,
    clock: Leaping,
    taking_lasts: Duration,
}

#[async_trait]
impl CheckpointStore for Flaky {
    fn place(&self) -> String {
        self.inner.place()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        self.inner.load(key).await
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        self.inner.lease_state(key).await
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        self.inner.history(key, limit).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        let lease = self.inner.acquire(request).await;
        self.clock.leap(self.taking_lasts);
        lease
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        assert!(!self.panics.load(Ordering::SeqCst), "as asked");
        if self.is_away.load(Ordering::SeqCst) {
            return Err(unavailable("renew the lease", self.place(), "Wait"));
        }
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.inner.renew(lease).await
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
        self.inner.release(lease).await
    }
}

struct Kept {
    store: Arc<Flaky>,
    lease: Arc<Lease>,
    keeper: LeaseKeeper,
    request: LeaseRequest,
}

impl Kept {
    fn status(&self) -> LeaseStatus {
        self.keeper.watch().status()
    }

    fn renewals(&self) -> u64 {
        self.store.renewals.load(Ordering::SeqCst)
    }
}

async fn kept_for(period: Duration, store: Flaky) -> Kept {
    let store = Arc::new(store);
    let request = LeaseRequest {
        period,
        ..LeaseRequest::new([key("kept", "o")], holder("one"))
    };
    let as_store: Arc<dyn CheckpointStore> = store.clone();
    let clock = SharedClock::new(store.clock.clone());
    let taking = LeaseKeeper::acquire(
        &as_store,
        &request,
        clock,
        |_, _| {},
        std::future::pending(),
    );
    let (lease, keeper) = taking.await.unwrap();
    Kept {
        store,
        lease,
        keeper,
        request,
    }
}

async fn kept() -> Kept {
    kept_for(PERIOD, Flaky::default()).await
}

/// Waits for what must come, however slow this machine is.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_lease_is_renewed_while_its_stream_is_busy() {
    let kept = kept().await;
    // The stream's only thread does not yield.
    while kept.renewals() < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    until(|| kept.keeper.watch().is_held()).await;
    assert!(matches!(kept.status(), LeaseStatus::Held));
}

#[tokio::test]
async fn a_lost_lease_is_told_with_its_reason_and_is_held_no_more() {
    let kept = kept().await;
    let take_over = LeaseRequest {
        take_over: true,
        ..kept.request.clone()
    };
    let _taken = kept.store.acquire(&take_over).await.unwrap();
    until(|| matches!(kept.status(), LeaseStatus::Lost(_))).await;
    let LeaseStatus::Lost(error) = kept.status() else {
        panic!("it was lost");
    };
    assert_eq!(error.code(), ReasonCode::LeaseLost);
    assert!(!kept.keeper.watch().is_held());
}

#[tokio::test]
async fn a_store_that_is_away_makes_the_lease_overdue_and_a_return_makes_it_good() {
    let kept = kept().await;
    kept.store.is_away.store(true, Ordering::SeqCst);
    until(|| matches!(kept.status(), LeaseStatus::Overdue)).await;
    assert!(!kept.keeper.watch().is_held());
    kept.store.is_away.store(false, Ordering::SeqCst);
    until(|| matches!(kept.status(), LeaseStatus::Held)).await;
    save(&*kept.store, &kept.lease, &key("kept", "o"), cursor("a", 1))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_machine_that_slept_wakes_under_an_overdue_lease_and_renews_it_soon() {
    // Its timers would not end for hours.
    let kept = kept_for(Duration::from_hours(9), Flaky::default()).await;
    let watch = kept.keeper.watch();
    assert!(watch.is_held());
    kept.store.clock.leap(Duration::from_hours(10));
    assert!(!watch.is_held(), "at once");
    until(|| kept.renewals() == 1).await;
    until(|| watch.is_held()).await;
}

#[tokio::test]
async fn a_lease_counts_from_the_start_of_the_try_that_took_it() {
    let slow = Flaky {
        taking_lasts: Duration::from_hours(1),
        is_away: AtomicBool::new(true),
        ..Flaky::default()
    };
    let kept = kept_for(Duration::from_mins(59), slow).await;
    assert!(!kept.keeper.watch().is_held());
    kept.store.is_away.store(false, Ordering::SeqCst);
    // A renewal that fails is made again in four minutes, which begin once it has failed.
    until(|| {
        kept.store.clock.leap(Duration::from_mins(4));
        kept.keeper.watch().is_held()
    })
    .await;
}

#[tokio::test]
async fn a_renewing_thread_that_dies_is_noticed() {
    let kept = kept().await;
    kept.store.panics.store(true, Ordering::SeqCst);
    until(|| matches!(kept.status(), LeaseStatus::Unkept)).await;
    assert!(!kept.keeper.watch().is_held());
}

#[tokio::test]
async fn who_gives_up_waiting_is_told_of_the_holder_and_a_try_under_way_is_ended() {
    let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::default());
    let acquire = || async {
        let request = LeaseRequest::new([key("kept", "o")], holder("one"));
        let clock = SharedClock::new(BootClock);
        LeaseKeeper::acquire(&store, &request, clock, |_, _| {}, async {}).await
    };
    let first = acquire().await.unwrap();
    assert_eq!(acquire().await.unwrap_err().code(), ReasonCode::LeaseHeld);
    drop(first);
    acquire().await.unwrap();
}

#[tokio::test]
async fn a_keeper_that_is_dropped_renews_no_more() {
    let kept = kept().await;
    until(|| kept.renewals() > 0).await;
    let Kept { store, keeper, .. } = kept;
    let watch = keeper.watch();
    drop(keeper);
    assert!(!watch.is_held());
    assert!(matches!(watch.status(), LeaseStatus::Unkept));
    let renewals = store.renewals.load(Ordering::SeqCst);
    tokio::time::sleep(PERIOD).await;
    assert_eq!(store.renewals.load(Ordering::SeqCst), renewals);
}

/// No thread, no timer and no moment of the machine takes part.
#[test]
fn a_renewal_that_its_caller_drives_goes_by_the_injected_clock_alone() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    runtime.block_on(async {
        let clock = ManualClock::default();
        let store = Arc::new(Flaky {
            inner: MemoryStore::new(clock.observer()),
            ..Flaky::default()
        });
        let as_store: Arc<dyn CheckpointStore> = store.clone();
        let period = Duration::from_hours(1);
        let request = LeaseRequest {
            period,
            ..LeaseRequest::new([key("driven", "o")], holder("one"))
        };
        let shared = SharedClock::new(clock.clone());
        let never = std::future::pending();
        let taking = LeaseKeeper::acquire_undriven(&as_store, &request, shared, |_, _| {}, never);
        let (_lease, keeper, mut renewal) = taking.await.unwrap();
        clock.sleep(period * 2).await;
        assert!(!keeper.watch().is_held());
        // Nobody else makes the time pass, so a renewal that had to wait would never end its wait.
        let polled = std::future::poll_fn(|context| {
            for _ in 0..2_000 {
                assert!(renewal.as_mut().poll(context).is_pending());
            }
            std::task::Poll::Ready(())
        });
        polled.await;
        assert!(store.renewals.load(Ordering::SeqCst) > 1);
        assert!(keeper.watch().is_held());
        drop(renewal);
        assert!(matches!(keeper.watch().status(), LeaseStatus::Unkept));
    });
}
