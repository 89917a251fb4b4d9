//! Renews a lease from a thread of its own, so that a busy stream never loses it by being busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::error::Error;
use crate::lease::Lease;
use crate::store::CheckpointStore;

/// Whether a producer may go on sending.
#[derive(Clone, Debug)]
pub enum LeaseStatus {
    /// Renewed within the last period.
    Held,
    /// Not renewed for a whole period: the store is away, or this process slept. Another may have
    /// taken the lease, so hold new events back until this is `Held` or `Lost`.
    Overdue,
    /// Another has it. Stop with this error.
    Lost(Arc<Error>),
}

/// The renewing thread: renews every third of the period, and tries again soon where the store is
/// away. Ends when dropped; the lease stays held until it is released.
#[derive(Debug)]
pub struct LeaseKeeper {
    shared: Arc<Shared>,
    lost: watch::Receiver<Option<Arc<Error>>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    origin: Instant,
    period: Duration,
    /// Milliseconds after `origin` of the last renewal that succeeded, as of its start.
    renewed_ms: AtomicU64,
    is_lost: AtomicBool,
    stop: Notify,
}

impl LeaseKeeper {
    /// Starts renewing. The lease counts as renewed now: start the keeper as soon as it is taken.
    ///
    /// # Errors
    /// `CHECKPOINT_UNAVAILABLE` if the machine gives no thread.
    pub fn start(store: Arc<dyn CheckpointStore>, lease: Arc<Lease>) -> Result<Self, Error> {
        let no_thread = |place: String, source: std::io::Error| Error::Unavailable {
            operation: "start the thread that renews the lease",
            place,
            advice: "Free some memory or threads on this machine",
            source: Some(Box::new(source)),
        };
        let place = store.place();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| no_thread(place.clone(), source))?;
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            period: lease.period(),
            renewed_ms: AtomicU64::new(0),
            is_lost: AtomicBool::new(false),
            stop: Notify::new(),
        });
        let (report, lost) = watch::channel(None);
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wsp-lease".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = for_thread.stop.notified() => {}
                        error = for_thread.renew_until_lost(store.as_ref(), &lease) => {
                            report.send_replace(Some(Arc::new(error)));
                            for_thread.is_lost.store(true, Ordering::Release);
                        }
                    }
                });
            })
            .map_err(|source| no_thread(place, source))?;
        Ok(Self {
            shared,
            lost,
            thread: Some(thread),
        })
    }

    /// Whether the stream may go on: two atomic loads and a clock read, cheap enough for every
    /// batch handed over.
    pub fn status(&self) -> LeaseStatus {
        if self.shared.is_lost.load(Ordering::Acquire)
            && let Some(error) = self.lost.borrow().as_ref()
        {
            return LeaseStatus::Lost(Arc::clone(error));
        }
        let renewed = Duration::from_millis(self.shared.renewed_ms.load(Ordering::Acquire));
        if self.shared.origin.elapsed().saturating_sub(renewed) > self.shared.period {
            return LeaseStatus::Overdue;
        }
        LeaseStatus::Held
    }

    /// Resolves once the lease is lost; never otherwise.
    pub async fn lost(&self) -> Arc<Error> {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(error)) => Arc::clone(error),
            _ => std::future::pending().await,
        }
    }
}

impl Shared {
    async fn renew_until_lost(&self, store: &dyn CheckpointStore, lease: &Lease) -> Error {
        let mut pause = self.period / 3;
        loop {
            tokio::time::sleep(pause).await;
            let started = self.origin.elapsed();
            pause = match store.renew(lease).await {
                Ok(()) => {
                    self.renewed_ms
                        .store(started.as_millis() as u64, Ordering::Release);
                    self.period / 3
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the lease could not be renewed; trying again");
                    self.period / 15
                }
                Err(error) => return error,
            };
        }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // Quick: a renewal in flight is given up, which is no harm.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::conformance::{cursor, holder, key, save};
    use crate::{
        Cursor, CursorKey, HistoryEntry, LeaseRequest, LeaseState, MemoryStore, ReasonCode, Record,
    };

    const PERIOD: Duration = Duration::from_millis(300);

    /// A store whose renewals can be made to fail as if it were away.
    #[derive(Debug, Default)]
    struct Flaky {
        inner: MemoryStore,
        is_away: AtomicBool,
        renewals: Mutex<u32>,
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
            self.inner.acquire(request).await
        }

        async fn renew(&self, lease: &Lease) -> Result<(), Error> {
            if self.is_away.load(Ordering::SeqCst) {
                return Err(Error::Unavailable {
                    operation: "renew the lease",
                    place: self.place(),
                    advice: "Wait",
                    source: None,
                });
            }
            *self.renewals.lock().unwrap() += 1;
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

    async fn kept() -> Kept {
        let store = Arc::new(Flaky::default());
        let request = LeaseRequest {
            period: PERIOD,
            ..LeaseRequest::new([key("kept", "o")], holder("one"))
        };
        let lease = Arc::new(store.acquire(&request).await.unwrap());
        let keeper = LeaseKeeper::start(store.clone(), Arc::clone(&lease)).unwrap();
        Kept {
            store,
            lease,
            keeper,
            request,
        }
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
        while *kept.store.renewals.lock().unwrap() < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        until(|| matches!(kept.keeper.status(), LeaseStatus::Held)).await;
    }

    #[tokio::test]
    async fn a_lost_lease_is_told_with_its_reason() {
        let kept = kept().await;
        let take_over = LeaseRequest {
            take_over: true,
            ..kept.request
        };
        let _taken = kept.store.acquire(&take_over).await.unwrap();
        let error = kept.keeper.lost().await;
        assert_eq!(error.code(), ReasonCode::LeaseLost);
        until(|| matches!(kept.keeper.status(), LeaseStatus::Lost(_))).await;
    }

    #[tokio::test]
    async fn a_store_that_is_away_makes_the_lease_overdue_and_a_return_makes_it_good() {
        let kept = kept().await;
        kept.store.is_away.store(true, Ordering::SeqCst);
        until(|| matches!(kept.keeper.status(), LeaseStatus::Overdue)).await;
        kept.store.is_away.store(false, Ordering::SeqCst);
        until(|| matches!(kept.keeper.status(), LeaseStatus::Held)).await;
        save(&*kept.store, &kept.lease, &key("kept", "o"), cursor("a", 1))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_keeper_that_is_dropped_renews_no_more() {
        let Kept { store, keeper, .. } = kept().await;
        until(|| *store.renewals.lock().unwrap() > 0).await;
        drop(keeper);
        let renewals = *store.renewals.lock().unwrap();
        tokio::time::sleep(PERIOD).await;
        assert_eq!(*store.renewals.lock().unwrap(), renewals);
    }
}
