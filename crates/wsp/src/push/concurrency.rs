//! Permits over the lanes: how many of them may have a request in flight.
//!
//! The fixed mode is nothing at all. The adaptive one costs an answer two atomic additions while
//! it is wide open, since then nobody needs a permit; only a narrowed limit hands
//! out permits, by a fair semaphore. Requests that were in flight without a permit when the
//! limit narrowed end in their own time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::adaptive::Aimd;

/// How many requests may be in flight.
#[derive(Debug)]
pub struct ConcurrencyLimit(Option<Adaptive>);

#[derive(Debug)]
struct Adaptive {
    lanes: u32,
    /// Copies of the core's, to be read without its lock.
    limit: AtomicU32,
    epoch: AtomicU32,
    /// The answers of the round so far, and the sum of their latencies.
    answers: AtomicU32,
    nanos: AtomicU64,
    permits: Semaphore,
    core: Mutex<Core>,
}

#[derive(Debug)]
struct Core {
    aimd: Aimd,
    /// Permits that the narrowed limit has yet to take back from requests in flight.
    debt: u32,
}

impl ConcurrencyLimit {
    /// One request a lane, always.
    pub fn fixed() -> Self {
        Self(None)
    }

    /// As many of `lanes` at once as the gate bears, starting with all.
    pub fn adaptive(lanes: u32) -> Self {
        let aimd = Aimd::new(lanes);
        let lanes = aimd.limit();
        Self(Some(Adaptive {
            lanes,
            limit: AtomicU32::new(lanes),
            epoch: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            nanos: AtomicU64::new(0),
            permits: Semaphore::new(lanes as usize),
            core: Mutex::new(Core { aimd, debt: 0 }),
        }))
    }

    /// The present limit; `None` if it is fixed to the lanes.
    pub fn current(&self) -> Option<u32> {
        self.0.as_ref().map(|adaptive| adaptive.limit.load(Relaxed))
    }

    /// Leave to have one request in flight. Fair: who waits longest is served first.
    pub(super) async fn acquire(&self) -> Permit<'_> {
        let Some(adaptive) = &self.0 else {
            return Permit(None);
        };
        let held = if adaptive.limit.load(Relaxed) == adaptive.lanes {
            None
        } else {
            // The semaphore is never closed.
            adaptive.permits.acquire().await.ok()
        };
        let epoch = adaptive.epoch.load(Relaxed);
        Permit(Some(Held {
            adaptive,
            permit: held,
            epoch,
        }))
    }
}

/// Leave for one request; ends when dropped.
#[derive(Debug)]
pub(super) struct Permit<'a>(Option<Held<'a>>);

#[derive(Debug)]
struct Held<'a> {
    adaptive: &'a Adaptive,
    permit: Option<SemaphorePermit<'a>>,
    epoch: u32,
}

impl Permit<'_> {
    /// The request was answered after `latency`, at `now` since a fixed moment.
    pub(super) fn answered(self, now: Duration, latency: Duration) {
        if let Some(held) = &self.0 {
            held.adaptive.answered(now, latency);
        }
    }

    /// The request met 429, 503 or a timeout.
    pub(super) fn congested(self) {
        if let Some(held) = &self.0 {
            held.adaptive.decide(|aimd| aimd.congested(held.epoch));
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let mut core = self.adaptive.core();
        if core.debt > 0 {
            core.debt -= 1;
            permit.forget();
        }
    }
}

impl Adaptive {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, now: Duration, latency: Duration) {
        self.nanos.fetch_add(latency.as_nanos() as u64, Relaxed);
        let answers = self.answers.fetch_add(1, Relaxed) + 1;
        // Exactly one answer ends a round; the few that come meanwhile go to either.
        if answers != self.limit.load(Relaxed).max(1) {
            return;
        }
        let answers = self.answers.swap(0, Relaxed).max(1);
        let mean = Duration::from_nanos(self.nanos.swap(0, Relaxed) / u64::from(answers));
        self.decide(|aimd| aimd.round(now, mean));
    }

    fn decide(&self, decision: impl FnOnce(&mut Aimd)) {
        let mut core = self.core();
        let before = core.aimd.limit();
        decision(&mut core.aimd);
        let after = core.aimd.limit();
        if after > before {
            let repaid = core.debt.min(after - before);
            core.debt -= repaid;
            self.permits.add_permits((after - before - repaid) as usize);
        } else if after < before {
            let forgotten = self.permits.forget_permits((before - after) as usize);
            core.debt += before - after - forgotten as u32;
        }
        if after < before {
            // A round under the old limit says nothing about the new one.
            self.answers.store(0, Relaxed);
            self.nanos.store(0, Relaxed);
        }
        self.limit.store(after, Relaxed);
        self.epoch.store(core.aimd.epoch(), Relaxed);
    }
}
