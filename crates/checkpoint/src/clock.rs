//! Time, injected: leases expire in tests without waiting.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};

/// Where a store and a waiting producer read the time.
#[async_trait]
pub trait Clock: Debug + Send + Sync {
    /// Wall time, for people: nothing is decided by it.
    fn utc_now(&self) -> DateTime<Utc>;
    /// Time since some fixed moment; never goes back, and goes on while the process is stopped and
    /// while the machine sleeps.
    fn monotonic(&self) -> Duration;
    /// Returns once `delay` has passed.
    async fn sleep(&self, delay: Duration);
}

/// The machine's clock. On Linux it counts the time that the machine sleeps; elsewhere that is up
/// to the system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Duration,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { origin: reading() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn utc_now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        reading().saturating_sub(self.origin)
    }

    async fn sleep(&self, delay: Duration) {
        tokio::time::sleep(delay).await;
    }
}

/// Time since the machine was started. The usual monotonic clock stands still while the machine
/// sleeps: a producer that wakes would take its lease for held, and another has it.
#[cfg(target_os = "linux")]
fn reading() -> Duration {
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(since_boot.tv_sec as u64, since_boot.tv_nsec as u32)
}

/// Time since the first reading.
#[cfg(not(target_os = "linux"))]
fn reading() -> Duration {
    static FIRST: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    FIRST.elapsed()
}

/// RFC 3339 in UTC with six fractional digits and `Z`: how records and leases spell times.
pub fn utc_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clock_counts_the_time_that_it_slept() {
        // What the system says counts it too, in hundredths of a second.
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
            Duration::from_secs_f64(seconds)
        };
        let before = uptime();
        let now = reading();
        assert!(before <= now, "{before:?} {now:?}");
        assert!(now <= uptime() + Duration::from_millis(20));
    }
}
