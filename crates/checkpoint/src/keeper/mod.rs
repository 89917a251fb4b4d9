//! Renews a lease from a thread of its own, so that a busy stream never loses it by being busy.
//!
//! A lease counts from the start of the try that took it, and from the start of each renewal that
//! succeeded, for one period: every other producer starts to count later. Whoever is about to do
//! what only the holder may do asks [`LeaseWatch::is_held`] immediately before, so that a process
//! that was stopped, or a machine that slept, does nothing under a lease that is overdue.

mod thread;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::{Bug, Clock, SharedClock};
use tokio::sync::Notify;

use crate::error::{Error, unavailable};
use crate::key::CursorKey;
use crate::lease::{Holder, Lease, LeaseRequest};
use crate::store::{CheckpointStore, acquire_until};

/// The longest sleep before the clock is read again: a timer may stand still while the machine
/// sleeps, and the clock goes on.
const LOOK: Duration = Duration::from_secs(1);

/// Whether a producer may go on sending, as its [`LeaseWatch`] says.
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

/// The renewal of a lease: every third of the period, and again soon where the store is away. It
/// ends when the keeper is dropped; the lease stays held until it is released.
#[derive(Debug)]
pub struct LeaseKeeper {
    watch: LeaseWatch,
    thread: Option<JoinHandle<()>>,
}

/// The renewal of a lease as a future. It ends once the lease is lost or its keeper dropped.
pub type Renewal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells whether a kept lease is held at present. Cheap to clone, for every thread that sends.
#[derive(Clone, Debug)]
pub struct LeaseWatch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: SharedClock,
    period: Duration,
    /// The clock's time at which the first lease was taken.
    taken_at: Instant,
    /// Nanoseconds after `taken_at` up to which the lease is held; 0 once it is not renewed any
    /// more.
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
        clock: SharedClock,
        on_held: impl FnMut(&CursorKey, &Holder) + Send,
        give_up: impl Future<Output = ()> + Send,
    ) -> Result<(Arc<Lease>, Self), Error> {
        let (lease, mut keeper, renewal) =
            Self::acquire_undriven(store, request, clock, on_held, give_up).await?;
        match thread::drive(renewal) {
            Ok(thread) => {
                keeper.thread = Some(thread);
                Ok((lease, keeper))
            }
            Err(error) => {
                // What cannot be given back expires.
                let _ = store.release(&lease).await;
                let operation = "start the thread that renews the lease";
                let advice = "Free some memory or threads on this machine";
                Err(unavailable(operation, store.place(), advice).because(error))
            }
        }
    }

    /// As [`acquire`](Self::acquire), and starts no thread: the lease is renewed while the caller
    /// polls the [`Renewal`], and counts as lost once that is dropped.
    ///
    /// # Errors
    /// As [`CheckpointStore::acquire`].
    pub async fn acquire_undriven(
        store: &Arc<dyn CheckpointStore>,
        request: &LeaseRequest,
        clock: SharedClock,
        on_held: impl FnMut(&CursorKey, &Holder) + Send,
        give_up: impl Future<Output = ()> + Send,
    ) -> Result<(Arc<Lease>, Self, Renewal), Error> {
        let (lease, taken_at) = acquire_until(&**store, request, &clock, on_held, give_up).await?;
        let lease = Arc::new(lease);
        let shared = Arc::new(Shared {
            clock,
            period: lease.period(),
            taken_at,
            held_until: AtomicU64::new(0),
            ended: OnceLock::new(),
            stop: Notify::new(),
        });
        shared.renewed(taken_at);
        let renewing = Renewing(Arc::clone(&shared));
        let (store, renewed) = (Arc::clone(store), Arc::clone(&lease));
        let keeper = Self {
            watch: LeaseWatch { shared },
            thread: None,
        };
        let renewal = Box::pin(async move { renewing.run(&*store, &renewed, taken_at).await });
        Ok((lease, keeper, renewal))
    }

    /// A handle that tells whether the lease is held, for as long as this keeper renews it.
    pub fn watch(&self) -> LeaseWatch {
        self.watch.clone()
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.watch.shared.end(Ended::Unkept);
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
        held_until != 0
            && self.shared.clock.since(self.shared.taken_at).as_nanos() <= u128::from(held_until)
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
    fn renewed(&self, started: Instant) {
        let after = started.saturating_duration_since(self.taken_at) + self.period;
        let held_until = after.as_nanos() as u64;
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
    async fn run(self, store: &dyn CheckpointStore, lease: &Lease, taken_at: Instant) {
        tokio::select! {
            biased;
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
        taken_at: Instant,
    ) -> Error {
        let (clock, period) = (&self.0.clock, self.0.period);
        let mut next = taken_at + period / 3;
        loop {
            self.sleep_until(next).await;
            let started = clock.now();
            next = match store.renew(lease).await {
                Ok(()) => {
                    if Bug::RenewalCountsFromItsEnd.is_planted() {
                        self.0.renewed(clock.now() + period / 3);
                    } else {
                        self.0.renewed(started);
                    }
                    if Bug::RenewedLate.is_planted() {
                        started + period * 2
                    } else {
                        started + period / 3
                    }
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the lease could not be renewed; trying again");
                    clock.now() + period / 15
                }
                Err(error) => return error,
            };
        }
    }

    async fn sleep_until(&self, moment: Instant) {
        loop {
            let left = moment.saturating_duration_since(self.0.clock.now());
            if left.is_zero() {
                return;
            }
            self.0.clock.sleep(left.min(LOOK)).await;
        }
    }
}
