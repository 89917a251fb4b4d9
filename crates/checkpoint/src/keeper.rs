//! Renews a lease from a thread of its own, so that a busy stream never loses it by being busy.
//!
//! A lease counts from the start of the try that took it, and from the start of each renewal that
//! succeeded, for one period: every other producer starts to count later. Whoever is about to do
//! what only the holder may do asks [`LeaseWatch::is_held`] immediately before, so that a process
//! that was stopped, or a machine that slept, does nothing under a lease that is overdue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::error::{Error, unavailable};
use crate::key::CursorKey;
use crate::lease::{Holder, Lease, LeaseRequest};
use crate::store::{CheckpointStore, acquire_until};

/// The longest sleep before the clock is read again: a timer may stand still while the machine
/// sleeps, and the clock goes on.
const LOOK: Duration = Duration::from_secs(1);

/// Whether a producer may go on sending.
#[derive(Clone, Debug)]
pub enum LeaseStatus {
    /// The lease was renewed within the last period.
    Held,
    /// The lease was not renewed for a whole period: the store is away, or this process slept.
    /// Another producer may have taken the lease, so nothing may be sent until the status is
    /// `Held` again.
    Overdue,
    /// Another producer has the lease. The stream ends with this error.
    Lost(Arc<Error>),
    /// Nothing renews the lease any more: the thread that did has died, or the keeper was dropped.
    Unkept,
}

/// The renewing thread of a lease. It renews every third of the period, and tries again soon where
/// the store is away. It ends when this is dropped; the lease stays held until it is released.
#[derive(Debug)]
pub struct LeaseKeeper {
    watch: LeaseWatch,
    thread: Option<JoinHandle<()>>,
}

/// Tells whether a kept lease is held at present. Cheap to clone, for every thread that sends.
#[derive(Clone, Debug)]
pub struct LeaseWatch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    period: Duration,
    /// The clock's time in nanoseconds up to which the lease is held; 0 once it is not renewed
    /// any more.
    held_until: AtomicU64,
    ended: OnceLock<Ended>,
    stop: Notify,
}

/// Why a lease is not renewed any more.
#[derive(Debug)]
enum Ended {
    Lost(Arc<Error>),
    Unkept,
}

impl LeaseKeeper {
    /// Takes all leases, waiting up to one period for a living holder, and renews them from then
    /// on; `on_held` is called with each new holder that is in the way. Once `give_up` resolves,
    /// no further try is made, and the outcome of the last one is returned.
    ///
    /// To drop the future in the middle of a try is to give up what that try took: it is free at
    /// once where the store can tell that its holder is gone, else after its period.
    ///
    /// # Errors
    /// As [`CheckpointStore::acquire`]; `CHECKPOINT_UNAVAILABLE` if the machine gives no thread,
    /// and the leases were given back.
    pub async fn acquire(
        store: &Arc<dyn CheckpointStore>,
        request: &LeaseRequest,
        clock: Arc<dyn Clock>,
        on_held: impl FnMut(&CursorKey, &Holder) + Send,
        give_up: impl Future<Output = ()> + Send,
    ) -> Result<(Arc<Lease>, Self), Error> {
        let (lease, taken_at) = acquire_until(&**store, request, &*clock, on_held, give_up).await?;
        let lease = Arc::new(lease);
        match Self::start(Arc::clone(store), Arc::clone(&lease), clock, taken_at) {
            Ok(keeper) => Ok((lease, keeper)),
            Err(error) => {
                // What cannot be given back expires.
                let _ = store.release(&lease).await;
                Err(error)
            }
        }
    }

    /// Starts renewing a lease that was taken by a try that began at `taken_at` on the clock.
    fn start(
        store: Arc<dyn CheckpointStore>,
        lease: Arc<Lease>,
        clock: Arc<dyn Clock>,
        taken_at: Duration,
    ) -> Result<Self, Error> {
        let place = store.place();
        let no_thread = |source: std::io::Error| {
            unavailable(
                "start the thread that renews the lease",
                place,
                "Free some memory or threads on this machine",
            )
            .because(source)
        };
        let shared = Arc::new(Shared {
            clock,
            period: lease.period(),
            held_until: AtomicU64::new(0),
            ended: OnceLock::new(),
            stop: Notify::new(),
        });
        shared.renewed(taken_at);
        let renewing = Renewing(Arc::clone(&shared));
        let (began, has_begun) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("wsp-lease".to_owned())
            .spawn(move || {
                // Made here: a runtime that is dropped where its caller awaits is a panic.
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = match runtime.enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => return began.send(Err(error)).unwrap_or_default(),
                };
                let _ = began.send(Ok(()));
                runtime.block_on(renewing.run(&*store, &lease, taken_at));
                // A renewal that hangs holds nobody up.
                runtime.shutdown_background();
            });
        let thread = thread.and_then(|thread| {
            let died = |_| std::io::Error::other("it died as it began");
            has_begun.recv().map_err(died)??;
            Ok(thread)
        });
        let thread = thread.map_err(no_thread)?;
        Ok(Self {
            watch: LeaseWatch { shared },
            thread: Some(thread),
        })
    }

    /// A handle that tells whether the lease is held, for as long as this keeper renews it.
    pub fn watch(&self) -> LeaseWatch {
        self.watch.clone()
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.watch.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // Quick: a renewal in flight is given up, which is no harm.
            let _ = thread.join();
        }
    }
}

impl LeaseWatch {
    /// Whether the lease is held at this moment: one atomic load and one read of the clock, cheap
    /// enough to ask immediately before every post.
    pub fn is_held(&self) -> bool {
        let held_until = self.shared.held_until.load(Ordering::Acquire);
        held_until != 0 && self.shared.clock.monotonic().as_nanos() <= u128::from(held_until)
    }

    /// Whether the stream may go on, and if not, why.
    pub fn status(&self) -> LeaseStatus {
        match self.shared.ended.get() {
            Some(Ended::Lost(error)) => LeaseStatus::Lost(Arc::clone(error)),
            Some(Ended::Unkept) => LeaseStatus::Unkept,
            None if self.is_held() => LeaseStatus::Held,
            None => LeaseStatus::Overdue,
        }
    }
}

impl Shared {
    /// Notes that a renewal which began at `started` succeeded.
    fn renewed(&self, started: Duration) {
        let held_until = (started + self.period).as_nanos() as u64;
        self.held_until.store(held_until, Ordering::Release);
    }

    /// Notes that the lease is not renewed any more. Only the first reason counts.
    fn end(&self, why: Ended) {
        let _ = self.ended.set(why);
        self.held_until.store(0, Ordering::Release);
    }
}

/// The work of the renewing thread. However it ends, a panic included, the lease then counts as
/// held no more.
struct Renewing(Arc<Shared>);

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.end(Ended::Unkept);
    }
}

impl Renewing {
    async fn run(self, store: &dyn CheckpointStore, lease: &Lease, taken_at: Duration) {
        tokio::select! {
            () = self.0.stop.notified() => {}
            error = self.renew_until_lost(store, lease, taken_at) => {
                self.0.end(Ended::Lost(Arc::new(error)));
            }
        }
    }

    async fn renew_until_lost(
        &self,
        store: &dyn CheckpointStore,
        lease: &Lease,
        taken_at: Duration,
    ) -> Error {
        let (clock, period) = (&self.0.clock, self.0.period);
        let mut next = taken_at + period / 3;
        loop {
            self.sleep_until(next).await;
            let started = clock.monotonic();
            next = match store.renew(lease).await {
                Ok(()) => {
                    self.0.renewed(started);
                    started + period / 3
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the lease could not be renewed; trying again");
                    clock.monotonic() + period / 15
                }
                Err(error) => return error,
            };
        }
    }

    async fn sleep_until(&self, moment: Duration) {
        loop {
            let left = moment.saturating_sub(self.0.clock.monotonic());
            if left.is_zero() {
                return;
            }
            self.0.clock.sleep(left.min(LOOK)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicBool;

    use async_trait::async_trait;
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::conformance::{cursor, holder, key, save};
    use crate::{Cursor, HistoryEntry, LeaseState, MemoryStore, ReasonCode, Record, SystemClock};

    const PERIOD: Duration = Duration::from_millis(300);

    /// The machine's clock, which can be set forward as if the machine had slept.
    #[derive(Debug, Default)]
    struct Leaping {
        inner: SystemClock,
        slept_ms: AtomicU64,
    }

    impl Leaping {
        fn leap(&self, over: Duration) {
            self.slept_ms
                .fetch_add(over.as_millis() as u64, Ordering::SeqCst);
        }
    }

    #[async_trait]
    impl Clock for Leaping {
        fn utc_now(&self) -> DateTime<Utc> {
            self.inner.utc_now()
        }

        fn monotonic(&self) -> Duration {
            let slept = self.slept_ms.load(Ordering::SeqCst);
            self.inner.monotonic() + Duration::from_millis(slept)
        }

        async fn sleep(&self, delay: Duration) {
            self.inner.sleep(delay).await;
        }
    }

    /// A store whose renewals can be made to fail, and whose takings to last.
    #[derive(Debug, Default)]
    struct Flaky {
        inner: MemoryStore,
        is_away: AtomicBool,
        panics: AtomicBool,
        renewals: AtomicU64,
        clock: Arc<Leaping>,
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
        let clock: Arc<dyn Clock> = store.clock.clone();
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
            let clock = Arc::new(SystemClock::default());
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
}
