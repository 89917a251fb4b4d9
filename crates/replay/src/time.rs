//! The time of a stream: nanoseconds since its start.

use std::time::{Duration, Instant, SystemTime};

use envelope::EventTime;
use model::Clock;

/// Nanoseconds since the stream's start, on the monotonic clock; negative before it.
pub type WallNs = i64;

/// The stream's start, from which wall times are counted.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    monotonic: Instant,
    wall: SystemTime,
}

impl Start {
    /// The present moment, read from `clock`.
    ///
    /// Both its times are read a few times, and the tightest reading counts: a busy machine may
    /// turn to something else between two of them. Were they read apart all the same, the
    /// wall time's reading is the older one, so that no due time comes early.
    pub fn by(clock: &impl Clock) -> Self {
        let read = || {
            let began = clock.now();
            let wall = clock.wall();
            let monotonic = clock.now();
            (monotonic - began, Self { monotonic, wall })
        };
        let mut tightest = read();
        for _ in 0..8 {
            let another = read();
            if another.0 < tightest.0 {
                tightest = another;
            }
        }
        tightest.1
    }

    /// The wall clock's time at so many nanoseconds after the start: the wall clock is
    /// read once, so a step of it changes nothing.
    pub fn wall_time(self, at: WallNs) -> SystemTime {
        let distance = Duration::from_nanos(at.unsigned_abs());
        let time = if at < 0 {
            self.wall.checked_sub(distance)
        } else {
            self.wall.checked_add(distance)
        };
        time.unwrap_or(self.wall)
    }

    /// When a wall time lies, in nanoseconds since the start; negative before it, and
    /// no further away than a century.
    pub fn at_wall(self, time: EventTime) -> WallNs {
        const CENTURY: i128 = 36_525 * 86_400 * 1_000_000_000;
        let wall = match self.wall.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        (time.nanos() - wall).clamp(-CENTURY, CENTURY) as WallNs
    }

    /// When an instant lies, in nanoseconds since the start.
    pub fn at(self, instant: Instant) -> WallNs {
        instant.saturating_duration_since(self.monotonic).as_nanos() as WallNs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::TokioClock;

    #[test]
    fn a_wall_clock_that_steps_moves_no_time() {
        let start = Start::by(&TokioClock);
        // As far off as a clock can be that was set since, or before.
        let stepped = Start {
            wall: SystemTime::UNIX_EPOCH,
            ..start
        };
        let later = start.monotonic + Duration::from_secs(5);
        assert_eq!(start.at(later), 5_000_000_000);
        assert_eq!(stepped.at(later), start.at(later));
        let shown = start.wall_time(start.at(later));
        assert_eq!(shown.duration_since(start.wall).unwrap().as_secs(), 5);
    }
}
