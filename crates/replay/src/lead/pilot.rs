//! The pilot: decides, on the dispatching thread, when the next event may leave.
//!
//! ```text
//!            ┌── winding down? ── yes ──► no event leaves any more
//!            ▼
//!   ┌──► orders? obey them
//!   │        ▼
//!   │     paused? ── no steps left ─┐
//!   │        ▼                      │
//!   │     due? ───────── not yet ───┤   (a gap that is too long is cut first)
//!   │        ▼                      ▼
//!   │     room? ──────── none ──► park ──┐
//!   │        ▼                           │
//!   │     the event leaves               │
//!   └────────────────────────────────────┘
//! ```
//!
//! An event that goes through costs two reads of the clock and a few of atomics.

use std::sync::Arc;
use std::time::Duration;

use envelope::EventTime;
use tokio::sync::{mpsc, watch};

use crate::ending::Ending;
use crate::keep::window::Window;
use crate::lanes::sending::Sending;
use crate::lead::schedule::Schedule;
use crate::lead::steering::{Helm, Order};
use crate::tell::acts::{Act, CutGap, Refused, Steered, Told};
use crate::tell::meters::Meters;
use crate::tell::progress::Progress;
use crate::tell::state::State;
use crate::time::Start;
use crate::time::WallNs;
use model::Clock;

/// The longest the thread sleeps without looking around.
const LOOK_AROUND: Duration = Duration::from_millis(250);

/// A wait longer than this is told of: people see shorter ones in the rate.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Since when a stream is paused, and how many events may leave all the same.
#[derive(Debug, Clone, Copy)]
struct Pause {
    since: WallNs,
    steps: u64,
}

/// How the event that is about to leave stands to the schedule.
#[derive(Debug, Clone, Copy, Default)]
struct Leaving {
    due: WallNs,
    is_step: bool,
}

/// Everything that a pilot works with.
pub struct Piloting<K> {
    /// When events are due.
    pub schedule: Schedule,
    /// How far ahead of the checkpoints they may go.
    pub window: Arc<Window>,
    /// When to end early.
    pub ending: Ending,
    /// Holds the lanes back while the stream is paused.
    pub sending: Sending,
    /// Who steers.
    pub helm: Helm,
    /// Where acts and cut gaps are told of.
    pub acts: mpsc::UnboundedSender<Told>,
    /// What is counted, for snapshots.
    pub meters: Arc<Meters>,
    /// Told with every act.
    pub progress: watch::Sender<Progress>,
    /// What time it is.
    pub clock: K,
    /// The wall clock's origin.
    pub start: Start,
}

/// Says when an event may leave.
pub struct Pilot<K> {
    with: Piloting<K>,
    pause: Option<Pause>,
    leaving: Leaving,
    handed_over: u64,
    /// Whether the progress says when the next event is due.
    is_next_due_told: bool,
}

impl<K: Clock> Pilot<K> {
    /// The pilot of a stream that has not begun.
    pub fn new(with: Piloting<K>) -> Self {
        Self {
            with,
            pause: None,
            leaving: Leaving::default(),
            handed_over: 0,
            is_next_due_told: false,
        }
    }

    /// The schedule, as it stands.
    pub fn schedule(&mut self) -> &mut Schedule {
        &mut self.with.schedule
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> WallNs {
        self.with.start.at(self.with.clock.now())
    }

    /// Events that left.
    pub fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// Waits until the next event may leave, obeying orders meanwhile: the moment from which
    /// it is late, or `None` if the stream winds down first.
    pub fn wait_to_leave(&mut self, time: EventTime) -> Option<WallNs> {
        loop {
            self.obey();
            if self.with.ending.is_winding_down() {
                return None;
            }
            let now = self.now();
            let due = self.with.schedule.due(time, now);
            if let Some(pause) = &mut self.pause {
                if pause.steps == 0 {
                    self.forget_next_due();
                    self.park(State::Paused, LOOK_AROUND);
                } else if self.with.window.has_room(self.handed_over) {
                    pause.steps -= 1;
                    self.with.schedule.advance(due, pause.since);
                    let due = due.min(pause.since);
                    return Some(self.leave(due, true, now));
                } else {
                    self.park(State::Paused, LOOK_AROUND);
                }
            } else if now < due {
                if let Some(earlier) = self.with.schedule.cap_gap(due) {
                    self.tell_of_cut_gap(time, earlier);
                    continue;
                }
                let state = if self.with.schedule.begins_after(now) {
                    State::WaitingForStart
                } else {
                    State::Running
                };
                let left = Duration::from_nanos((due - now) as u64);
                if left > WORTH_TELLING {
                    self.tell_next_due(Some(due));
                }
                self.park(state, LOOK_AROUND.min(left));
            } else if self.with.window.has_room(self.handed_over) {
                self.with.helm.state().set(State::Running);
                return Some(self.leave(due, false, due));
            } else {
                self.park(State::HeldBack, LOOK_AROUND);
            }
        }
    }

    fn tell_of_cut_gap(&self, next: EventTime, earlier: WallNs) {
        let cut = CutGap {
            next,
            earlier: Duration::from_nanos(earlier.unsigned_abs()),
            handed_over: self.handed_over,
        };
        // A keeper that is gone has nothing left to write to.
        let _ = self.with.acts.send(Told::GapCut(cut));
    }

    /// Tells when the next event is due, or that it is not waited for any more.
    fn tell_next_due(&mut self, due: Option<WallNs>) {
        self.is_next_due_told = due.is_some();
        let due = due.map(|due| self.with.start.wall_time(due));
        self.with
            .progress
            .send_if_modified(|progress| std::mem::replace(&mut progress.next_due, due) != due);
    }

    fn forget_next_due(&mut self) {
        if self.is_next_due_told {
            self.tell_next_due(None);
        }
    }

    /// Obeys orders while the event that is leaving finds no place, and rests for at most `pause`.
    pub fn wait_held_back(&mut self, pause: Duration) {
        if self.pause.is_none() {
            self.with.helm.state().set(State::HeldBack);
        }
        self.obey();
        self.with.clock.park(pause);
    }

    /// Counts an event that left, and answers when that was.
    pub fn left(&mut self) -> WallNs {
        let now = self.now();
        let Leaving { due, is_step } = self.leaving;
        // A step is never late: the schedule stands still for it.
        self.with
            .schedule
            .left(due, if is_step { due } else { now });
        self.handed_over += 1;
        now
    }

    /// Obeys the orders that wait.
    pub fn obey(&mut self) {
        while let Some(order) = self.with.helm.next_order() {
            self.carry_out(order, None);
        }
    }

    /// Ends the steering: what waits is answered, and nothing else is taken.
    pub fn end(&mut self) {
        self.with.helm.state().set(State::Ending);
        self.with.helm.close();
        while let Some(order) = self.with.helm.next_order() {
            let refused = (order.act != Act::Stop).then_some(Refused::Ended);
            self.carry_out(order, refused);
        }
    }

    fn leave(&mut self, due: WallNs, is_step: bool, late_from: WallNs) -> WallNs {
        self.forget_next_due();
        self.leaving = Leaving { due, is_step };
        late_from
    }

    fn park(&mut self, state: State, at_most: Duration) {
        self.with.helm.state().set(state);
        self.with.clock.park(at_most);
    }

    fn carry_out(&mut self, order: Order, mut refused: Option<Refused>) {
        let now = self.now();
        let pace_before = self.with.schedule.pace().clone();
        if refused.is_none() {
            refused = self.apply(&order.act, now).err();
        }
        let pace = self.with.schedule.pace().clone();
        let state = self.state();
        let steered = Steered {
            act: order.act,
            by: order.by,
            refused,
            state,
            pace_before,
            pace: pace.clone(),
            handed_over: self.handed_over,
        };
        // A keeper that is gone has nothing left to write to.
        let _ = self.with.acts.send(Told::Steered(steered));
        let meters = self.with.meters.read_all();
        self.with.progress.send_modify(|progress| {
            progress.state = state;
            progress.pace = pace;
            progress.meters = meters;
        });
        let answer = refused.map_or_else(|| Ok(self.with.progress.borrow().clone()), Err);
        // Whoever asked may have gone.
        let _ = order.answer.send(answer);
    }

    fn apply(&mut self, act: &Act, now: WallNs) -> Result<(), Refused> {
        match act {
            Act::Pause => self.with.sending.pause(),
            Act::Resume => self.with.sending.resume(),
            Act::Step(events) if self.pause.is_some() => self.with.sending.step(*events),
            Act::Step(_) | Act::SetPace(_) | Act::Stop => {}
        }
        match (act, &mut self.pause) {
            (Act::Pause, Some(pause)) => pause.steps = 0,
            (Act::Pause, paused @ None) => {
                *paused = Some(Pause {
                    since: now,
                    steps: 0,
                });
            }
            (Act::Resume, paused) => {
                if let Some(pause) = paused.take() {
                    // An event that is leaving meanwhile is not late for the pause.
                    self.leaving.due += self.with.schedule.resume(pause.since, now);
                }
            }
            (Act::SetPace(pace), None) => self.with.schedule.set_pace(pace.clone(), now),
            // The schedule stands where it was paused.
            (Act::SetPace(pace), Some(pause)) => {
                self.with.schedule.set_pace(pace.clone(), pause.since);
            }
            (Act::Step(events), Some(pause)) => pause.steps = pause.steps.saturating_add(*events),
            (Act::Step(_), None) => return Err(Refused::NotPaused),
            (Act::Stop, _) => {}
        }
        self.with.helm.state().set(self.state());
        Ok(())
    }

    fn state(&self) -> State {
        if self.with.ending.is_winding_down() {
            State::Ending
        } else if self.pause.is_some() {
            State::Paused
        } else if self.with.schedule.begins_after(self.now()) {
            State::WaitingForStart
        } else {
            State::Running
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "the test goes by the machine's clock"
    )]

    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::{Instant, SystemTime};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::lead::schedule::WhenLate;
    use crate::pace::Speedup;

    /// Goes on only while the pilot sleeps, and wakes it early again and again.
    #[derive(Clone)]
    struct Restless {
        began: Instant,
        passed_ns: Arc<AtomicU64>,
    }

    impl Clock for Restless {
        fn now(&self) -> Instant {
            self.began + Duration::from_nanos(self.passed_ns.load(Relaxed))
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        async fn sleep(&self, _: Duration) {
            unreachable!("a pilot parks");
        }

        fn park(&self, delay: Duration) {
            let part = delay.as_nanos().div_ceil(3) as u64;
            self.passed_ns.fetch_add(part, Relaxed);
        }
    }

    fn pilot(speedup: f64) -> Pilot<Restless> {
        let clock = Restless {
            began: Instant::now(),
            passed_ns: Arc::default(),
        };
        Pilot::new(Piloting {
            schedule: Schedule::new(Speedup::new(speedup).unwrap(), WhenLate::CatchUp),
            window: Arc::new(Window::new(1_000, 8)),
            ending: Ending::default(),
            sending: Sending::default(),
            helm: Helm::unmanned(),
            acts: mpsc::unbounded_channel().0,
            meters: Arc::new(Meters::new(1)),
            progress: watch::Sender::new(Progress::default()),
            start: Start::by(&clock),
            clock,
        })
    }

    proptest! {
        #[test]
        fn an_event_leaves_at_its_nanosecond_however_often_the_thread_wakes(
            gaps in vec(0..2_000_000_000_i64, 1..40),
            speedup in prop_oneof![Just(1), Just(3), Just(1_000)],
        ) {
            let mut pilot = pilot(f64::from(speedup));
            let mut time = 0;
            for (index, gap) in gaps.into_iter().enumerate() {
                // The first one is due at once.
                time += if index == 0 { 0 } else { gap };
                let at = EventTime::from_nanos(time.into()).unwrap();
                pilot.wait_to_leave(at).unwrap();
                let left = pilot.left();
                let exact = time as f64 / f64::from(speedup);
                prop_assert!(left as f64 >= exact, "{left} for {exact}");
                prop_assert!(left as f64 - exact <= 1.0, "{left} for {exact}");
            }
        }
    }
}
