//! The dispatching thread: takes events in order, waits until each is due and
//! there is room for it, and hands it to its lane.
//!
//! An operating-system thread of its own, since an async timer wakes a
//! millisecond late where a parked thread wakes in tens of microseconds. Per
//! event it takes no lock and allocates nothing. When an event may leave is the
//! [`pilot`](crate::lead::pilot)'s business.

use std::sync::Arc;
use std::time::SystemTime;

use envelope::EventTime;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::ending::Ending;
use crate::lanes::{HandedOver, Lanes};
use crate::lead::pilot::Pilot;
use crate::order::EventOrder;
use crate::pace::Pace;
use crate::tell::meters::Meters;
use crate::time::Start;
use crate::time::WallNs;
use model::Clock;

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
pub(crate) const DISPATCHER_DIED: &str = "The dispatching thread ended too early";

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
            let wait = |pause| pilot.wait_held_back(pause);
            if !self.lanes.hand_over(event.ordering_key, handed, wait) {
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
            digest: Some(oracle_store::Hex64::of_digest(hasher.finalize().into()).to_string()),
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
