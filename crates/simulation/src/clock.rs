//! Simulated time: it goes on only when the stage says so.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use model::Clock;

/// An instant cannot be made of a number, so all simulated ones are counted from this one.
// Only distances from it are ever used.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// 2026-01-28T09:00:00Z since 1970.
const WALL_BEGINNING: Duration = Duration::from_hours(491_553);

/// A clock of the simulated world. Clones show the same time; the wall time of each machine may be
/// off by its own amount.
#[derive(Clone, Default)]
pub(crate) struct SimClock {
    world: Arc<Mutex<World>>,
    /// How far the wall clock of this machine is off, in nanoseconds.
    skew: Arc<AtomicI64>,
    /// How long this machine has slept, in nanoseconds: its timers stood still, and time went on.
    slept: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct World {
    now: Duration,
    alarms: BTreeMap<(Duration, u64), Option<Waker>>,
    set: u64,
}

impl fmt::Debug for SimClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimClock({:?})", self.elapsed())
    }
}

impl SimClock {
    /// The time since the world began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.world().now
    }

    /// The clock of another machine, whose wall clock may be stepped on its own.
    pub(crate) fn of_another_machine(&self) -> Self {
        Self {
            world: Arc::clone(&self.world),
            skew: Arc::default(),
            slept: Arc::default(),
        }
    }

    /// Has the timers of this machine stand still for `time`, as while it sleeps; its clock goes on.
    pub(crate) fn sleeps_for(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.slept.fetch_add(time, Relaxed);
    }

    /// How far the wall clock of this machine is off, in nanoseconds.
    pub(crate) fn skew(&self) -> i64 {
        self.skew.load(Relaxed)
    }

    /// The time since the world began at which a wall clock that is off by `skew` shows `wall`.
    pub(crate) fn elapsed_at(wall: SystemTime, skew: i64) -> Duration {
        let shown = wall.duration_since(SystemTime::UNIX_EPOCH + WALL_BEGINNING);
        let shown = shown.map_or_else(|before| -nanos(before.duration()), nanos);
        let elapsed = u64::try_from(shown - i128::from(skew)).unwrap_or(0);
        Duration::from_nanos(elapsed)
    }

    /// Steps the wall clock of this machine.
    pub(crate) fn step_wall(&self, nanos: i64) {
        self.skew.fetch_add(nanos, Relaxed);
    }

    /// Lets `time` pass, and wakes whoever waited for less.
    pub(crate) fn pass(&self, time: Duration) {
        let now = {
            let mut world = self.world();
            world.now += time;
            world.now
        };
        self.ring_until(now);
    }

    /// Goes to the next alarm; `false` if there is none.
    pub(crate) fn to_next_alarm(&self) -> bool {
        let next = {
            let mut world = self.world();
            let Some((&(at, _), _)) = world.alarms.first_key_value() else {
                return false;
            };
            world.now = world.now.max(at);
            world.now
        };
        self.ring_until(next);
        true
    }

    /// Has time not pass `at` without a look around.
    pub(crate) fn look_at(&self, at: Duration) {
        let mut world = self.world();
        world.set += 1;
        let number = world.set;
        world.alarms.insert((at, number), None);
    }

    fn ring_until(&self, now: Duration) {
        loop {
            let waker = {
                let mut world = self.world();
                match world.alarms.first_entry() {
                    Some(alarm) if alarm.key().0 <= now => alarm.remove(),
                    _ => return,
                }
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn slept(&self) -> Duration {
        Duration::from_nanos(self.slept.load(Relaxed))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        *BEGINNING + self.elapsed()
    }

    fn wall(&self) -> SystemTime {
        let skew = self.skew.load(Relaxed);
        let true_time = SystemTime::UNIX_EPOCH + WALL_BEGINNING + self.elapsed();
        if skew < 0 {
            true_time - Duration::from_nanos(skew.unsigned_abs())
        } else {
            true_time + Duration::from_nanos(skew.unsigned_abs())
        }
    }

    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + Send {
        Sleep {
            clock: self.clone(),
            at: self
                .elapsed()
                .saturating_add(delay)
                .saturating_sub(self.slept()),
            alarm: None,
        }
    }

    fn park(&self, _: Duration) {
        unreachable!("nothing blocks a thread in a simulated world");
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

struct Sleep {
    clock: SimClock,
    /// When it ends, counted without the time for which the machine slept.
    at: Duration,
    alarm: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        // The machine may have slept since.
        let at = self.at + clock.slept();
        let mut world = clock.world();
        if let Some(alarm) = self.alarm.take() {
            world.alarms.remove(&alarm);
        }
        if world.now >= at {
            return Poll::Ready(());
        }
        world.set += 1;
        let alarm = (at, world.set);
        world.alarms.insert(alarm, Some(context.waker().clone()));
        self.alarm = Some(alarm);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            self.clock.world().alarms.remove(&alarm);
        }
    }
}
