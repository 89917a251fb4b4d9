//! Time, injected, so that tests need not wait.

use std::future::Future;
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
