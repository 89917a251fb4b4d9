//! The dispatching thread: takes events in order, waits until each is due and
//! there is room for it, and hands it to its lane.
//!
//! An operating-system thread of its own, since an async timer wakes a
//! millisecond late where a parked thread wakes in tens of microseconds. Per
//! event it takes no lock and allocates nothing.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use envelope::EventTime;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::ending::Ending;
use crate::lanes::{HandedOver, Lanes};
use crate::meters::Meters;
use crate::order::EventOrder;
use crate::schedule::{Schedule, WallNs};
use crate::window::Window;

/// The longest the thread sleeps without looking around.
const LOOK_AROUND: Duration = Duration::from_millis(250);

/// The stream's start, from which wall times are counted.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    monotonic: Instant,
    wall: SystemTime,
}

impl Start {
    /// Now.
    ///
    /// Both clocks are read a few times, and the tightest reading counts: a busy machine may
    /// turn to something else between two of them. Were they read apart all the same, the
    /// wall clock's reading is the older one, so that no due time comes early.
    pub fn now() -> Self {
        let read = || {
            let began = Instant::now();
            let wall = SystemTime::now();
            let monotonic = Instant::now();
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

    /// Nanoseconds since the start.
    pub fn elapsed(self) -> WallNs {
        self.at(Instant::now())
    }

    /// The wall clock's time at so many nanoseconds after the start: the wall clock is
    /// read once, so a step of it changes nothing.
    pub fn wall_time(self, at: WallNs) -> SystemTime {
        self.wall + Duration::from_nanos(at)
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
    /// SHA-256 over the event ids in schedule order, in lowercase hex.
    pub digest: String,
    /// The time of the first event.
    pub first_time: Option<EventTime>,
    /// The time of the last one.
    pub last_time: Option<EventTime>,
    /// The schedule it was handed over by; absent if unpaced.
    pub schedule: Option<Scheduled>,
}

/// The schedule of a paced run, as its report shows it.
///
/// An event at `time` was due at `wall_origin + (time − time_origin) / speedup`. In
/// `as_written` order it is the schedule of the last output.
#[derive(Debug, Clone, Copy)]
pub struct Scheduled {
    /// The wall time of the anchor.
    pub wall_origin: SystemTime,
    /// The event time of the anchor.
    pub time_origin: EventTime,
    /// From the anchor to the last event's due time.
    pub last_due: Duration,
    /// From the anchor to the last event's handing over.
    pub last_handed_over: Duration,
}

/// Everything the thread works with.
pub struct Dispatcher {
    /// Where events come from.
    pub order: Box<dyn EventOrder>,
    /// When they are due.
    pub schedule: Schedule,
    /// Where they go.
    pub lanes: Lanes,
    /// How far ahead of the checkpoints they may go.
    pub window: Arc<Window>,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// When to end early.
    pub ending: Ending,
    /// How many at most.
    pub max_events: Option<u64>,
    /// The wall clock's origin.
    pub start: Start,
}

impl Dispatcher {
    /// Hands over events until the end, on the calling thread.
    pub fn run(mut self) -> Dispatched {
        self.ending.register_dispatcher();
        let mut hasher = Sha256::new();
        let mut times = (None, None);
        let mut handed_over = 0;
        let mut last = (0, 0);
        let mut sequences = vec![0u64; self.meters.outputs()];
        let end = loop {
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
                self.schedule.restart();
            }
            let due = self.schedule.due(event.position.time, self.start.elapsed());
            if !self.wait_until(due) || !self.wait_for_room(handed_over) {
                break DispatchEnd::WoundDown;
            }
            let sequence = sequences[event.output];
            let handed = HandedOver {
                output: event.output,
                sequence,
                position: event.position,
                due: (!self.schedule.is_unpaced()).then_some(due),
                body: event.body,
            };
            self.meters.handed_over(event.output);
            if !self.lanes.hand_over(event.ordering_key, handed) {
                self.meters.handed_back(event.output);
                break DispatchEnd::WoundDown;
            }
            last = (due, self.start.elapsed());
            self.schedule.left(due, last.1);
            sequences[event.output] += 1;
            handed_over += 1;
            hasher.update(event.id.as_bytes());
            times = (
                times.0.or(Some(event.position.time)),
                Some(event.position.time),
            );
        };
        let (first_time, last_time) = times;
        Dispatched {
            end,
            digest: oracle_store::Hex64::of_hasher(hasher).to_string(),
            first_time,
            last_time,
            schedule: self.scheduled(last),
        }
    }

    fn scheduled(&self, (last_due, last_handed_over): (WallNs, WallNs)) -> Option<Scheduled> {
        let (wall, time_origin) = self.schedule.anchor()?;
        Some(Scheduled {
            wall_origin: self.start.wall_time(wall),
            time_origin,
            last_due: Duration::from_nanos(last_due.saturating_sub(wall)),
            last_handed_over: Duration::from_nanos(last_handed_over.saturating_sub(wall)),
        })
    }

    /// Sleeps until an event is due; false if the stream winds down first.
    fn wait_until(&self, due: WallNs) -> bool {
        loop {
            let now = self.start.elapsed();
            if now >= due {
                return true;
            }
            if self.ending.is_winding_down() {
                return false;
            }
            thread::park_timeout(LOOK_AROUND.min(Duration::from_nanos(due - now)));
        }
    }

    /// Waits until the window has room; false if the stream winds down first.
    fn wait_for_room(&self, handed_over: u64) -> bool {
        loop {
            if self.window.has_room(handed_over) {
                return true;
            }
            if self.ending.is_winding_down() {
                return false;
            }
            thread::park_timeout(LOOK_AROUND);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_steps_moves_no_time() {
        let start = Start::now();
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
