//! How sharply a thread of the system wakes.

#[cfg(target_os = "linux")]
use std::num::NonZeroU64;

/// From now on the calling thread's own sleeps end as sharply as the system can. Linux adds
/// up to 50 µs to each otherwise, so as to wake for several at once.
pub(crate) fn sleep_sharply() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "the system keeps its slack in waking this thread");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

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
