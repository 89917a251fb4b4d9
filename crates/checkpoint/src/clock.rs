//! Time, injected: leases expire in tests without waiting.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};

/// Where a store and a waiting producer read the time.
#[async_trait]
pub trait Clock: Debug + Send + Sync {
    /// Wall time, for people: nothing is decided by it.
    fn utc_now(&self) -> DateTime<Utc>;
    /// Time since some fixed moment; never goes back, and goes on while the process is stopped.
    fn monotonic(&self) -> Duration;
    /// Returns once `delay` has passed.
    async fn sleep(&self, delay: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn utc_now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn sleep(&self, delay: Duration) {
        tokio::time::sleep(delay).await;
    }
}

/// RFC 3339 in UTC with six fractional digits and `Z`: how records and leases spell times.
pub fn utc_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
