//! Time, injected, so that tests need not wait.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A clock to read and to sleep by, injected so that tests and simulations need not wait.
///
/// A clock that runs ahead of the machine's streams hours of paced events in moments: schedule,
/// waits, timeouts and saves all go by the injected one.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The monotonic time, which never runs backwards.
    fn now(&self) -> Instant;

    /// The wall time, which may be set at any moment.
    fn wall(&self) -> SystemTime;

    /// Resolves when `delay` has passed.
    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + Send;

    /// Blocks the calling thread until it is unparked, for at most `delay`. It may return early
    /// without a reason.
    fn park(&self, delay: Duration) {
        thread::park_timeout(delay);
    }
}

/// A clock of any type, shared by its clones. Each sleep allocates, so it is for waits of a few
/// times a second.
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
    /// Wraps a clock.
    pub fn new(clock: impl Clock) -> Self {
        Self(Arc::new(clock))
    }

    /// The time since `then`; zero if `then` is in the future.
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

/// Ticks at once, and again whenever a period has passed since the last tick.
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

    /// Resolves when it is time for a tick. Dropping the future loses no tick.
    pub async fn wait(&self) {
        let left = self.next.saturating_duration_since(Clock::now(&self.clock));
        if !left.is_zero() {
            Clock::sleep(&self.clock, left).await;
        }
    }
}
