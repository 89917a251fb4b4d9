//! The dispatching thread: takes events in order, waits until each is due and
//! there is room for it, and hands it to its lane.
//!
//! An operating-system thread of its own, since an async timer wakes a
//! millisecond late where a parked thread wakes in tens of microseconds. Per
//! event it takes no lock and allocates nothing. When an event may leave is the
//! [`pilot`](crate::lead::pilot)'s business.

use std::task::Poll;
use std::time::{Duration, SystemTime};

use envelope::EventTime;
use sha2::{Digest, Sha256};
use tokio::task::yield_now;

use crate::Error;
use crate::lead::course::Bounds;
use crate::lead::pilot::{HandOver, LOOK_AROUND, Leave, Left, Pilot};
use crate::order::{Event, EventOrder};
use crate::pace::Pace;
use crate::run::Run;
use crate::time::WallNs;
use model::Clock;

/// How handing over ended.
#[derive(Debug)]
pub enum DispatchEnd {
    /// Every event was handed over.
    Complete,
    /// As many events as the run was bounded to were handed over.
    MaxEvents,
    /// The stream is winding down.
    WoundDown,
    /// The next event cannot be read.
    Failed(Error),
}

/// What was handed over.
#[derive(Debug)]
pub struct Dispatched {
    /// Why handing over ended.
    pub end: DispatchEnd,
    /// SHA-256 over the event ids in schedule order, in lowercase hex; `None` if the dispatching
    /// thread died.
    pub digest: Option<String>,
    /// The event time of the first event handed over; `None` if there was none.
    pub first_time: Option<EventTime>,
    /// The event time of the last event handed over; `None` if there was none.
    pub last_time: Option<EventTime>,
    /// The schedule that events were handed over by; `None` in an unpaced stream.
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
    /// The pace at the end.
    pub pace: Pace,
    /// The wall time of the anchor.
    pub wall_origin: SystemTime,
    /// The event time of the anchor; `None` at a rate.
    pub time_origin: Option<EventTime>,
    /// Seconds from the anchor to the last event's due time.
    pub last_due_s: f64,
    /// Seconds from the anchor to the last event's handing over.
    pub last_handed_over_s: f64,
}

/// Hands the events of an order to their lanes, one after the other, in steps that never wait.
pub(crate) struct Dispatcher<K> {
    run: Run,
    order: Box<dyn EventOrder>,
    pilot: Pilot<K>,
    bounds: Bounds,
    /// What was handed over of each output; empty where nothing bounds an output.
    of_outputs: Vec<u64>,
    /// Whether an output was left before its end.
    left_out: bool,
    /// The event that waits to leave.
    next: Option<Event>,
    hasher: Sha256,
    first_time: Option<EventTime>,
    last_time: Option<EventTime>,
    last: Left,
}

/// What a step of the dispatcher came to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// An event left.
    Left,
    /// There is nothing to do for this long, unless the dispatching thread is woken.
    Rest(Duration),
    /// Nothing more is handed over.
    Ended(DispatchEnd),
}

impl<K: Clock> Dispatcher<K> {
    /// A dispatcher that has handed nothing over of the events of `order`.
    pub(crate) fn new(
        run: Run,
        order: Box<dyn EventOrder>,
        pilot: Pilot<K>,
        bounds: Bounds,
    ) -> Self {
        Self {
            run,
            order,
            pilot,
            bounds,
            of_outputs: Vec::new(),
            left_out: false,
            next: None,
            hasher: Sha256::new(),
            first_time: None,
            last_time: None,
            last: Left::default(),
        }
    }

    /// Hands over events until the end, on the calling thread.
    pub(crate) fn run(mut self) -> Dispatched {
        self.run.ending().register_dispatcher();
        loop {
            match self.step() {
                Turn::Left => {}
                Turn::Rest(delay) => self.pilot.rest(delay),
                Turn::Ended(end) => return self.dispatched(end),
            }
        }
    }

    /// Hands over events until the end, as a task that gives way after each.
    pub(crate) async fn run_as_task(mut self) -> Dispatched {
        let woken = self.run.ending().register_dispatching_task();
        loop {
            match self.step() {
                Turn::Left => yield_now().await,
                Turn::Rest(delay) => {
                    tokio::select! {
                        biased;
                        () = woken.notified() => {}
                        () = self.pilot.sleep(delay) => {}
                    }
                }
                Turn::Ended(end) => return self.dispatched(end),
            }
        }
    }

    /// Hands over the next event, if it is there, may leave and has a place.
    pub(crate) fn step(&mut self) -> Turn {
        let event = match self.next.take() {
            Some(event) => event,
            None => match self.read() {
                Ok(event) => event,
                Err(turn) => return turn,
            },
        };
        let (id, time, output) = (event.id, event.position.time, event.output);
        let handed_over = match self.pilot.leave(time) {
            Leave::Now(departure) => departure.hand_over(event),
            Leave::After(rest) => HandOver::HeldBack(event, rest),
            Leave::Never => HandOver::Gone,
        };
        match handed_over {
            HandOver::Left(left) => self.last = left,
            HandOver::HeldBack(event, rest) => {
                self.next = Some(event);
                return Turn::Rest(rest);
            }
            HandOver::Gone => return Turn::Ended(DispatchEnd::WoundDown),
        }
        self.hasher.update(id.as_bytes());
        self.first_time.get_or_insert(time);
        self.last_time = Some(time);
        if let Some(most) = self.bounds.events_per_output {
            self.bound_output(output, most);
        }
        Turn::Left
    }

    /// Counts an event of an output, which is left out once it has had its share.
    fn bound_output(&mut self, output: usize, most: u64) {
        if self.of_outputs.len() <= output {
            self.of_outputs.resize(output + 1, 0);
        }
        let handed_over = &mut self.of_outputs[output];
        *handed_over += 1;
        if *handed_over >= most {
            self.order.leave_out(output);
            self.left_out = true;
        }
    }

    /// Takes the next event from the order; what else the step comes to where there is none.
    fn read(&mut self) -> Result<Event, Turn> {
        let handed_over = self.pilot.handed_over();
        if self.bounds.events.is_some_and(|most| handed_over >= most) {
            return Err(Turn::Ended(DispatchEnd::MaxEvents));
        }
        if self.run.ending().is_winding_down() {
            return Err(Turn::Ended(DispatchEnd::WoundDown));
        }
        let event = match self.order.poll() {
            Poll::Ready(Ok(Some(event))) => event,
            Poll::Ready(Ok(None)) if self.left_out => {
                return Err(Turn::Ended(DispatchEnd::MaxEvents));
            }
            Poll::Ready(Ok(None)) => return Err(Turn::Ended(DispatchEnd::Complete)),
            Poll::Ready(Err(error)) => return Err(Turn::Ended(DispatchEnd::Failed(error))),
            Poll::Pending => {
                self.pilot.obey();
                return Err(Turn::Rest(LOOK_AROUND));
            }
        };
        self.run.meters().read(event.output, 1);
        if event.anchors {
            self.pilot.schedule().restart();
        }
        Ok(event)
    }

    fn dispatched(mut self, end: DispatchEnd) -> Dispatched {
        self.pilot.end();
        Dispatched {
            end,
            schedule: self.scheduled(self.last),
            digest: Some(oracle_store::Hex64::of_digest(self.hasher.finalize().into()).to_string()),
            first_time: self.first_time,
            last_time: self.last_time,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use durable::TokioClock;
    use tokio::sync::watch;

    use super::*;
    use crate::ending::{Cause, Ending};
    use crate::lanes::{Concurrency, LaneCount, LaneOrdering, LaneQueue, LaneSettings, Lanes};
    use crate::lead::schedule::{Schedule, WhenLate};
    use crate::lead::steering::Steering;
    use crate::tell::progress::Progress;
    use crate::tell::state::State;
    use crate::time::Start;
    use crate::window::Window;

    /// Rows that are being read for ever.
    struct Hanging;

    impl EventOrder for Hanging {
        fn poll(&mut self) -> Poll<Result<Option<Event>, Error>> {
            Poll::Pending
        }

        fn leave_out(&mut self, _: usize) {}
    }

    fn dispatcher(ending: &Ending) -> (Dispatcher<TokioClock>, Steering, Vec<LaneQueue>) {
        let (lanes, queues) = Lanes::new(&LaneSettings {
            count: LaneCount::ONE,
            ordering: LaneOrdering::Strict,
            concurrency: Concurrency::Fixed,
            drain_timeout: Duration::ZERO,
            in_flight_bytes: 1,
            transient_errors: Vec::new(),
            max_event_bytes: 1,
            stamps_emission: false,
        });
        let (steering, helm) = Steering::new(ending.clone());
        let progress = watch::Sender::new(Progress::default());
        let (start, window) = (Start::by(&TokioClock), Arc::new(Window::new(1, 1)));
        let run = Run::new(start, ending.clone(), window, 1, progress);
        let schedule = Schedule::new(Pace::UNPACED, WhenLate::CatchUp);
        let (pilot, _) = Pilot::new(run.clone(), TokioClock, schedule, lanes, helm);
        let dispatcher = Dispatcher::new(run, Box::new(Hanging), pilot, Bounds::default());
        (dispatcher, steering, queues)
    }

    #[tokio::test]
    async fn a_read_that_hangs_holds_up_neither_orders_nor_a_stop() {
        let ending = Ending::default();
        let (mut dispatcher, steering, _queues) = dispatcher(&ending);
        assert!(matches!(dispatcher.step(), Turn::Rest(_)));
        let asked = tokio::spawn({
            let steering = steering.clone();
            async move { steering.pause("me").await }
        });
        while !asked.is_finished() {
            tokio::task::yield_now().await;
            assert!(matches!(dispatcher.step(), Turn::Rest(_)));
        }
        assert_eq!(asked.await.unwrap().unwrap().state, State::Paused);
        ending.wind_down(Cause::Asked);
        assert!(matches!(
            dispatcher.step(),
            Turn::Ended(DispatchEnd::WoundDown)
        ));
    }
}
