//! The machine's clocks.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use model::Clock;

use crate::runtime::in_runtime;

/// The machine's clock, sleeping by tokio's timer, under any executor, and a thread by the system's
/// own.
///
/// On Linux it stands still while the machine sleeps.
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
        in_runtime(async { tokio::time::sleep(delay).await }).await;
    }
}

/// The machine's clock, which goes on while the machine sleeps; leases expire by it. It sleeps as
/// [`TokioClock`] does.
///
/// By a clock that stood still, a producer that wakes would take its lease for held while another
/// has it. On Linux this one counts the time that the machine sleeps; elsewhere that is up to the
/// system.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Instant {
        /// One moment by both clocks: what `Instant` shows of the time since boot.
        static ANCHOR: LazyLock<(Instant, Duration)> =
            LazyLock::new(|| (Instant::now(), since_boot()));
        let (instant, at_boot) = *ANCHOR;
        instant + since_boot().saturating_sub(at_boot)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, delay: Duration) {
        in_runtime(async { tokio::time::sleep(delay).await }).await;
    }
}

/// The time since the machine was started.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(since_boot.tv_sec as u64, since_boot.tv_nsec as u32)
}

/// The time since the first reading.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_leases_counts_the_time_that_the_machine_slept() {
        // What the system says counts it too, in hundredths of a second.
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
            Duration::from_secs_f64(seconds)
        };
        let before = uptime();
        let now = since_boot();
        assert!(before <= now, "{before:?} {now:?}");
        assert!(now <= uptime() + Duration::from_millis(20));
    }

    #[test]
    fn the_clock_of_leases_never_goes_back() {
        let times: Vec<Instant> = (0..1_000).map(|_| BootClock.now()).collect();
        assert!(times.is_sorted());
        let passed = times[999] - times[0];
        assert!(passed < Duration::from_secs(10), "{passed:?}");
    }
}
