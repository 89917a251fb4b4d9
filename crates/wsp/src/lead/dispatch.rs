//! The dispatching thread: takes events in order, waits until each is due and
//! there is room for it, and hands it to its lane.
//!
//! An operating-system thread of its own, since an async timer wakes a
//! millisecond late where a parked thread wakes in tens of microseconds. Per
//! event it takes no lock and allocates nothing. When an event may leave is the
//! [`pilot`](crate::lead::pilot)'s business.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use envelope::EventTime;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::clock::Clock;
use crate::keep::meters::Meters;
use crate::lanes::{HandedOver, Lanes};
use crate::lead::pace::Pace;
use crate::lead::pilot::Pilot;
use crate::lead::schedule::WallNs;
use crate::order::EventOrder;
use crate::run::ending::Ending;

/// The stream's start, from which wall times are counted.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    monotonic: Instant,
    wall: SystemTime,
}

impl Start {
    /// Now, by a clock.
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

/// How handing over ended.
#[derive(Debug)]
pub enum DispatchEnd {
    /// Every event was handed over.
    Complete,
    /// `max_events` were.
    MaxEvents,
    /// The stream is winding down.
    WoundDown,
    /// The next event cannot be had.
    Failed(Error),
}

/// What was handed over.
#[derive(Debug)]
pub struct Dispatched {
    /// Why it ended.
    pub end: DispatchEnd,
    /// SHA-256 over the event ids in schedule order, in lowercase hex; `None` if the dispatching
    /// thread died.
    pub digest: Option<String>,
    /// The time of the first event.
    pub first_time: Option<EventTime>,
    /// The time of the last one.
    pub last_time: Option<EventTime>,
    /// The schedule it was handed over by; absent if unpaced.
    pub schedule: Option<Scheduled>,
}

/// What became of a dispatching thread that is gone.
pub(crate) const DISPATCHER_DIED: &str = "The dispatching thread ended too early.";

impl Dispatched {
    /// What is known after the dispatching thread has died.
    pub(crate) fn died() -> Self {
        Self {
            end: DispatchEnd::Failed(Error::ended_early(DISPATCHER_DIED)),
            digest: None,
            first_time: None,
            last_time: None,
            schedule: None,
        }
    }
}

/// The schedule of a paced run at its end, as its report shows it.
///
/// By a speedup, an event at `time` was due at `wall_origin + (time − time_origin) /
/// speedup`. In `as_written` order it is the schedule of the last output; after a pause or
/// a change of pace, that of the events behind it.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// The pace.
    pub pace: Pace,
    /// The wall time of the anchor.
    pub wall_origin: SystemTime,
    /// The event time of the anchor; absent at a rate.
    pub time_origin: Option<EventTime>,
    /// Seconds from the anchor to the last event's due time.
    pub last_due_s: f64,
    /// Seconds from the anchor to the last event's handing over.
    pub last_handed_over_s: f64,
}

/// Everything the thread works with.
pub struct Dispatcher<K> {
    /// Where events come from.
    pub order: Box<dyn EventOrder>,
    /// When they may leave.
    pub pilot: Pilot<K>,
    /// Where they go.
    pub lanes: Lanes,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// When to end early.
    pub ending: Ending,
    /// How many at most.
    pub max_events: Option<u64>,
    /// The wall clock's origin.
    pub start: Start,
}

impl<K: Clock> Dispatcher<K> {
    /// Hands over events until the end, on the calling thread.
    pub fn run(mut self) -> Dispatched {
        self.ending.register_dispatcher();
        let mut hasher = Sha256::new();
        let mut times = (None, None);
        let mut last = (0, 0);
        let mut sequences = vec![0u64; self.meters.outputs()];
        let end = loop {
            let handed_over = self.pilot.handed_over();
            if self.max_events.is_some_and(|most| handed_over >= most) {
                break DispatchEnd::MaxEvents;
            }
            if self.ending.is_winding_down() {
                break DispatchEnd::WoundDown;
            }
            let event = match self.order.next() {
                Ok(Some(event)) => event,
                Ok(None) => break DispatchEnd::Complete,
                Err(error) => break DispatchEnd::Failed(error),
            };
            self.meters.read(event.output, 1);
            if event.anchors {
                self.pilot.schedule().restart();
            }
            let Some(due) = self.pilot.wait_to_leave(event.position.time) else {
                break DispatchEnd::WoundDown;
            };
            let is_unpaced = self.pilot.schedule().is_unpaced();
            let handed = HandedOver {
                output: event.output,
                sequence: sequences[event.output],
                position: event.position,
                due: (!is_unpaced).then_some(due),
                body: event.body,
            };
            self.meters.handed_over(event.output);
            let pilot = &mut self.pilot;
            let meanwhile = || pilot.while_held_back();
            if !self.lanes.hand_over(event.ordering_key, handed, meanwhile) {
                self.meters.handed_back(event.output);
                break DispatchEnd::WoundDown;
            }
            last = (due, self.pilot.left());
            sequences[event.output] += 1;
            hasher.update(event.id.as_bytes());
            times = (
                times.0.or(Some(event.position.time)),
                Some(event.position.time),
            );
        };
        self.pilot.end();
        let (first_time, last_time) = times;
        Dispatched {
            end,
            digest: Some(oracle_store::Hex64::of_hasher(hasher).to_string()),
            first_time,
            last_time,
            schedule: self.scheduled(last),
        }
    }

    fn scheduled(&mut self, (last_due, last_handed_over): (WallNs, WallNs)) -> Option<Scheduled> {
        let schedule = self.pilot.schedule();
        let (wall, time_origin) = schedule.anchor()?;
        let seconds = |at: WallNs| at.saturating_sub(wall) as f64 / 1e9;
        Some(Scheduled {
            pace: schedule.pace().clone(),
            wall_origin: self.start.wall_time(wall),
            time_origin,
            last_due_s: seconds(last_due),
            last_handed_over_s: seconds(last_handed_over),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TokioClock;

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
