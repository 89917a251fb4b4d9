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

/// Limits how many requests of all lanes may be in flight at once.
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
    /// A limit that always allows one request a lane.
    pub fn fixed() -> Self {
        Self(None)
    }

    /// A limit that starts with all of `lanes` and follows what the gate bears: fewer after 429,
    /// 503, timeouts and growing latency, more again after that.
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

    /// The most requests that may be in flight now; `None` for a fixed limit.
    pub fn current(&self) -> Option<u32> {
        self.0.as_ref().map(|adaptive| adaptive.limit.load(Relaxed))
    }

    /// Leave to have one request in flight. Fair: who waits longest is served first.
    pub(crate) async fn acquire(&self) -> Permit<'_> {
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
pub(crate) struct Permit<'a>(Option<Held<'a>>);

#[derive(Debug)]
struct Held<'a> {
    adaptive: &'a Adaptive,
    permit: Option<SemaphorePermit<'a>>,
    epoch: u32,
}

impl Permit<'_> {
    /// The request was answered after `latency`, at `now` since a fixed moment.
    pub(crate) fn answered(self, now: Duration, latency: Duration) {
        if let Some(held) = &self.0 {
            held.adaptive.answered(now, latency);
        }
    }

    /// The request met 429, 503 or a timeout.
    pub(crate) fn congested(self) {
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
        if answers < self.limit.load(Relaxed) {
            return;
        }
        // Of two that end a round together, one finds it taken.
        let answers = self.answers.swap(0, Relaxed);
        let nanos = self.nanos.swap(0, Relaxed);
        if let Some(mean) = nanos.checked_div(u64::from(answers)) {
            self.decide(|aimd| aimd.round(now, Duration::from_nanos(mean)));
        }
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn try_acquire(limit: &ConcurrencyLimit) -> Option<Permit<'_>> {
        limit.acquire().now_or_never()
    }

    /// Cuts `limit` until only `wanted` permits are left.
    fn narrow(limit: &ConcurrencyLimit, wanted: u32) {
        let adaptive = limit.0.as_ref().unwrap();
        while limit.current() > Some(wanted) {
            adaptive.decide(|aimd| aimd.congested(aimd.epoch()));
        }
        assert_eq!(limit.current(), Some(wanted));
    }

    #[test]
    fn a_fixed_limit_gives_leave_without_end() {
        let limit = ConcurrencyLimit::fixed();
        let permits: Vec<_> = (0..100).map_while(|_| try_acquire(&limit)).collect();
        assert_eq!(permits.len(), 100);
        assert_eq!(limit.current(), None);
    }

    #[test]
    fn a_narrowed_limit_is_kept_by_those_who_come_after() {
        let limit = ConcurrencyLimit::adaptive(8);
        let before = try_acquire(&limit);
        narrow(&limit, 2);
        let two: Vec<_> = (0..5).map_while(|_| try_acquire(&limit)).collect();
        assert_eq!(two.len(), 2);
        // One that had leave before the cut gives nothing back.
        drop(before);
        assert!(try_acquire(&limit).is_none());
        drop(two);
        assert!(try_acquire(&limit).is_some());
    }

    #[test]
    fn permits_in_flight_when_it_narrows_further_are_taken_back_as_they_end() {
        let limit = ConcurrencyLimit::adaptive(8);
        narrow(&limit, 5);
        let mut five: Vec<_> = (0..8).map_while(|_| try_acquire(&limit)).collect();
        assert_eq!(five.len(), 5);
        narrow(&limit, 2);
        for _ in 0..3 {
            five.pop();
            assert!(
                try_acquire(&limit).is_none(),
                "{} still in flight",
                five.len()
            );
        }
        five.pop();
        assert!(try_acquire(&limit).is_some());
    }

    #[test]
    fn a_debt_is_repaid_before_new_permits_are_made() {
        let limit = ConcurrencyLimit::adaptive(8);
        narrow(&limit, 5);
        let five: Vec<_> = (0..8).map_while(|_| try_acquire(&limit)).collect();
        narrow(&limit, 2);
        let adaptive = limit.0.as_ref().unwrap();
        adaptive.decide(|aimd| aimd.round(MS, MS));
        assert_eq!(limit.current(), Some(3));
        assert!(try_acquire(&limit).is_none());
        drop(five);
        let three: Vec<_> = (0..8).map_while(|_| try_acquire(&limit)).collect();
        assert_eq!(three.len(), 3);
    }

    #[test]
    fn good_answers_open_it_again_to_the_last_lane() {
        let limit = ConcurrencyLimit::adaptive(8);
        narrow(&limit, 1);
        let mut answers = 0;
        while limit.current() != Some(8) {
            try_acquire(&limit).unwrap().answered(MS, MS);
            answers += 1;
        }
        assert_eq!(answers, 1 + 2 + 3 + 4 + 5 + 6 + 7, "a round at each limit");
        let all: Vec<_> = (0..20).map_while(|_| try_acquire(&limit)).collect();
        assert_eq!(all.len(), 20, "wide open, nobody needs a permit");
    }

    #[test]
    fn a_storm_answering_requests_of_one_epoch_cuts_once() {
        let limit = ConcurrencyLimit::adaptive(32);
        let storm: Vec<_> = (0..32).map_while(|_| try_acquire(&limit)).collect();
        storm.into_iter().for_each(Permit::congested);
        assert_eq!(limit.current(), Some(22));
    }

    #[test]
    fn a_permit_given_up_is_served_to_who_waits() {
        let limit = ConcurrencyLimit::adaptive(4);
        narrow(&limit, 1);
        let held = try_acquire(&limit).unwrap();
        let mut first = Box::pin(limit.acquire());
        let mut second = Box::pin(limit.acquire());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(held);
        assert!(second.as_mut().now_or_never().is_none(), "in their order");
        assert!(first.as_mut().now_or_never().is_some());
    }
}
