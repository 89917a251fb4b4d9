//! Stopping pushes that are under way: one switch for all lanes, seen without a lock.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures::task::AtomicWaker;
use model::Bug;

/// A switch that ends every push under way at once, and every later one. Clones share it.
///
/// A stream that drains throws it only when the time for draining is over.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    thrown: AtomicBool,
    ears: Mutex<Vec<Arc<AtomicWaker>>>,
}

impl Stop {
    /// A switch that is not thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Throws the switch; it cannot be taken back.
    pub fn throw(&self) {
        self.shared.thrown.store(true, Ordering::Release);
        let ears = self
            .shared
            .ears
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !Bug::StopWakesNobody.is_planted() {
            ears.iter().for_each(|ear| ear.wake());
        }
    }

    /// Whether the switch is thrown.
    pub fn is_thrown(&self) -> bool {
        self.shared.thrown.load(Ordering::Acquire)
    }

    /// An ear of one lane's own: registering takes a lock, listening does not.
    pub(crate) fn ear(&self) -> Ear {
        let waker = Arc::new(AtomicWaker::new());
        let mut ears = self
            .shared
            .ears
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ears.push(Arc::clone(&waker));
        Ear {
            stop: self.clone(),
            waker,
        }
    }
}

/// Listens for a [`Stop`]; used by one task at a time.
#[derive(Debug)]
pub(crate) struct Ear {
    stop: Stop,
    waker: Arc<AtomicWaker>,
}

impl Ear {
    /// What `future` resolves to, or `None` once the switch is thrown. It is taken where it is
    /// pinned: a push is a future of some kilobytes, and each move of it copies them.
    pub(crate) async fn unless_stopped<F: Future>(
        &mut self,
        mut future: Pin<&mut F>,
    ) -> Option<F::Output> {
        poll_fn(|cx| {
            // Registered before the look: a throw in between wakes us.
            self.waker.register(cx.waker());
            if self.stop.is_thrown() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "the tests' pushes live on a runtime's tasks"
    )]

    use std::future::pending;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_throw_ends_every_wait_and_every_later_one() {
        let stop = Stop::new();
        let waits: Vec<_> = (0..4)
            .map(|_| {
                let mut ear = stop.ear();
                tokio::spawn(async move { ear.unless_stopped(pin!(pending::<()>())).await })
            })
            .collect();
        tokio::task::yield_now().await;
        stop.throw();
        for wait in waits {
            assert_eq!(wait.await.unwrap(), None);
        }
        assert_eq!(stop.ear().unless_stopped(pin!(async { 1 })).await, None);
    }

    #[tokio::test]
    async fn without_a_throw_nothing_is_lost() {
        assert_eq!(
            Stop::new().ear().unless_stopped(pin!(async { 1 })).await,
            Some(1)
        );
    }
}
