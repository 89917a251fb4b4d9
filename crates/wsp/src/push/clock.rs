//! The time that retries go by: injected, so that tests need not wait.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

/// A clock that retries read and sleep on.
pub trait Clock: Clone + Send + Sync + 'static {
    /// Monotonic time.
    fn now(&self) -> Instant;

    /// Wall time, for a `retry-after` that names a moment.
    fn wall(&self) -> SystemTime;

    /// Resolves when `delay` has passed.
    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clock, sleeping by tokio's timer.
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
