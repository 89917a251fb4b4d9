//! The machine's clock.

use std::time::{Duration, Instant, SystemTime};

use model::Clock;

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
