//! Wakes callers that wait until events are done.

use std::sync::Arc;

use crate::sync::Notify;
use crate::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
struct Shared {
    rung: Notify,
    over: AtomicBool,
}

/// Rings whenever answers were counted. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct DoneBell(Arc<Shared>);

impl DoneBell {
    /// Has callers that wait look again. Called once for many answers.
    pub(crate) fn ring(&self) {
        self.0.rung.notify_waiters();
    }

    /// Ends all waits when the guard is dropped: no event will be done any more.
    pub(crate) fn until_dropped(&self) -> Over {
        Over(self.clone())
    }

    /// Waits until `is_so`; `false` if no event will be done any more and it is not so.
    pub(crate) async fn until(&self, is_so: impl Fn() -> bool) -> bool {
        loop {
            // Made before the look: what is counted behind it wakes it.
            let rung = self.0.rung.notified();
            let over = self.0.over.load(Ordering::Acquire);
            if is_so() {
                return true;
            }
            if over {
                return false;
            }
            rung.await;
        }
    }
}

/// Ends all waits for events to be done when it is dropped.
#[must_use]
pub(crate) struct Over(DoneBell);

impl Drop for Over {
    fn drop(&mut self) {
        let Self(DoneBell(shared)) = self;
        shared.over.store(true, Ordering::Release);
        shared.rung.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[tokio::test]
    async fn a_wait_ends_once_it_is_so_or_once_nothing_more_comes() {
        let (bell, done) = (DoneBell::default(), Arc::new(AtomicU64::new(0)));
        let wait = |goal: u64| {
            let (bell, done) = (bell.clone(), Arc::clone(&done));
            tokio::spawn(async move { bell.until(|| done.load(Ordering::Acquire) >= goal).await })
        };
        let over = bell.until_dropped();
        let (near, far) = (wait(2), wait(3));
        for _ in 0..2 {
            tokio::task::yield_now().await;
            done.fetch_add(1, Ordering::AcqRel);
            bell.ring();
        }
        assert!(near.await.unwrap());
        tokio::task::yield_now().await;
        assert!(!far.is_finished());
        drop(over);
        assert!(!far.await.unwrap());
    }
}
