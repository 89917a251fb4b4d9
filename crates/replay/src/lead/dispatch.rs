//! The dispatching thread: takes events in order, waits until each is due and
//! there is room for it, and hands it to its lane.
//!
//! An operating-system thread of its own, since an async timer wakes a
//! millisecond late where a parked thread wakes in tens of microseconds. Per
//! event it takes no lock and allocates nothing. When an event may leave is the
//! [`pilot`](crate::lead::pilot)'s business.

use std::time::SystemTime;

use envelope::EventTime;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::lead::pilot::{Left, Pilot};
use crate::order::EventOrder;
use crate::pace::Pace;
use crate::run::Run;
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

/// Hands the events of an order to their lanes, one after the other.
pub(crate) struct Dispatcher<K> {
    run: Run,
    order: Box<dyn EventOrder>,
    pilot: Pilot<K>,
    max_events: Option<u64>,
}

impl<K: Clock> Dispatcher<K> {
    /// A dispatcher that has handed nothing over. `max_events` bounds the stream; `None` streams all
    /// events of `order`.
    pub(crate) fn new(
        run: Run,
        order: Box<dyn EventOrder>,
        pilot: Pilot<K>,
        max_events: Option<u64>,
    ) -> Self {
        Self {
            run,
            order,
            pilot,
            max_events,
        }
    }

    /// Hands over events until the end, on the calling thread.
    pub(crate) fn run(mut self) -> Dispatched {
        self.run.ending().register_dispatcher();
        let mut hasher = Sha256::new();
        let mut times = (None, None);
        let mut last = Left::default();
        let end = loop {
            let handed_over = self.pilot.handed_over();
            if self.max_events.is_some_and(|most| handed_over >= most) {
                break DispatchEnd::MaxEvents;
            }
            if self.run.ending().is_winding_down() {
                break DispatchEnd::WoundDown;
            }
            let event = match self.order.next() {
                Ok(Some(event)) => event,
                Ok(None) => break DispatchEnd::Complete,
                Err(error) => break DispatchEnd::Failed(error),
            };
            self.run.meters().read(event.output, 1);
            if event.anchors {
                self.pilot.schedule().restart();
            }
            let (id, time) = (event.id, event.position.time);
            let departure = self.pilot.wait_to_leave(time);
            let Some(left) = departure.and_then(|departure| departure.hand_over(event)) else {
                break DispatchEnd::WoundDown;
            };
            last = left;
            hasher.update(id.as_bytes());
            times = (times.0.or(Some(time)), Some(time));
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

    fn scheduled(&mut self, last: Left) -> Option<Scheduled> {
        let schedule = self.pilot.schedule();
        let (wall, time_origin) = schedule.anchor()?;
        let seconds = |at: WallNs| at.saturating_sub(wall) as f64 / 1e9;
        Some(Scheduled {
            pace: schedule.pace().clone(),
            wall_origin: self.run.start().wall_time(wall),
            time_origin,
            last_due_s: seconds(last.due),
            last_handed_over_s: seconds(last.at),
        })
    }
}
