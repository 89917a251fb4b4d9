//! The time that a stream goes by: injected, so that tests need not wait.

use std::future::Future;
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A clock that the dispatching thread and the lanes read and sleep on.
///
/// One that runs ahead of the machine's own makes a paced stream of hours a matter of
/// moments; nothing else of a stream depends on it but the beat of its saves.
pub trait Clock: Clone + Send + Sync + 'static {
    /// Monotonic time.
    fn now(&self) -> Instant;

    /// Wall time: read once for the schedule, and for a `retry-after` that names a moment.
    fn wall(&self) -> SystemTime;

    /// Resolves when `delay` has passed.
    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + Send;

    /// Puts the calling thread to sleep for at most `delay`, less if it is unparked. It may
    /// return early for no reason.
    fn park(&self, delay: Duration) {
        thread::park_timeout(delay);
    }
}

/// From now on the calling thread's own sleeps end as sharply as the system can. Linux adds
/// up to 50 µs to each otherwise, so as to wake for several at once.
pub(crate) fn sleep_sharply() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "the system keeps its slack in waking this thread");
    }
}

/// The machine's clock, sleeping by tokio's timer, and a thread by the system's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, delay: Duration) {
        tokio::time::sleep(delay).await;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_that_asks_sleeps_sharply() {
        let slack = || rustix::thread::current_timer_slack().unwrap();
        let before = slack();
        let sharp = thread::spawn(move || {
            sleep_sharply();
            slack()
        });
        assert_eq!(sharp.join().unwrap(), 1);
        assert_eq!(slack(), before);
        assert!(before > 1, "the system's own is {before} ns");
    }
}
