//! Time, injected, so that tests need not wait.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
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

/// A clock of any kind, shared. Cheap to clone; each sleep is an allocation, so it is for what
/// happens a few times a second.
#[derive(Clone)]
pub struct SharedClock(Arc<dyn DynClock>);

trait DynClock: Send + Sync {
    fn now(&self) -> Instant;
    fn wall(&self) -> SystemTime;
    fn sleep(&self, delay: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    fn park(&self, delay: Duration);
}

impl<K: Clock> DynClock for K {
    fn now(&self) -> Instant {
        Clock::now(self)
    }

    fn wall(&self) -> SystemTime {
        Clock::wall(self)
    }

    fn sleep(&self, delay: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = self.clone();
        Box::pin(async move { Clock::sleep(&clock, delay).await })
    }

    fn park(&self, delay: Duration) {
        Clock::park(self, delay);
    }
}

impl SharedClock {
    /// Shares a clock.
    pub fn new(clock: impl Clock) -> Self {
        Self(Arc::new(clock))
    }

    /// The time since `then`; zero where that lies ahead.
    pub fn since(&self, then: Instant) -> Duration {
        Clock::now(self).saturating_duration_since(then)
    }

    /// What `work` gives, unless `limit` passes first; the work is then dropped where it stands.
    ///
    /// # Errors
    /// [`Elapsed`] once the limit has passed.
    pub async fn timeout<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let (mut work, mut limit) = (pin!(work), pin!(Clock::sleep(self, limit)));
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            limit.as_mut().poll(context).map(|()| Err(Elapsed(())))
        })
        .await
    }
}

/// Something took longer than its limit.
#[derive(Debug)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

impl fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedClock")
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall(&self) -> SystemTime {
        self.0.wall()
    }

    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + Send {
        self.0.sleep(delay)
    }

    fn park(&self, delay: Duration) {
        self.0.park(delay);
    }
}

/// A beat: ticks at once, then each time that a period has passed since the last tick.
#[derive(Debug)]
pub struct Beat {
    clock: SharedClock,
    period: Duration,
    next: Instant,
}

impl Beat {
    /// A beat whose first tick is now.
    pub fn new(clock: &SharedClock, period: Duration) -> Self {
        Self {
            clock: clock.clone(),
            period,
            next: Clock::now(clock),
        }
    }

    /// Whether it is time for a tick; if so, the next one comes a period from now.
    pub fn is_due(&mut self) -> bool {
        let now = Clock::now(&self.clock);
        let is_due = now >= self.next;
        if is_due {
            self.next = now + self.period;
        }
        is_due
    }

    /// Resolves when it is time for a tick. To drop the future loses none.
    pub async fn wait(&self) {
        let left = self.next.saturating_duration_since(Clock::now(&self.clock));
        if !left.is_zero() {
            Clock::sleep(&self.clock, left).await;
        }
    }
}
