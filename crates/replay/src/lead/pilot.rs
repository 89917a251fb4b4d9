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
//!   │     room? ──────── none ──► rest ──┐
//!   │        ▼                           │
//!   │     departure ──► handed over ──► counted
//!   └────────────────────────────────────┘
//! ```
//!
//! The pilot owns the lanes, and only a [`Departure`] hands an event to one: so no event gets
//! there that is not due or has no room, and none that got there is left uncounted.
//!
//! What orders do to it is in `obeying`.
//!
//! An event that goes through costs two reads of the clock and a few of atomics.

mod obeying;

use std::collections::VecDeque;
use std::time::Duration;

use envelope::EventTime;
use tokio::sync::mpsc;

use crate::lanes::{FULL_PAUSE, HandedOver, Lanes, Offered};
use crate::lead::schedule::Schedule;
use crate::lead::steering::Helm;
use crate::order::Event;
use crate::run::Run;
use crate::tell::acts::{Asker, CutGap, Told};
use crate::tell::state::State;
use crate::time::WallNs;
use model::{Bug, Clock};

/// The longest the thread sleeps without looking around.
pub(crate) const LOOK_AROUND: Duration = Duration::from_millis(250);

/// A wait longer than this is told of: people see shorter ones in the rate.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// How long an event may wait in a lane's queue before a stream that slips hands over no other: all
/// that waits when a gate stalls leaves at once when it is back.
const QUEUED_FOR: WallNs = 20_000_000;
/// How soon such a stream looks at the queues again.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// Since when a stream is paused, and how many events may leave all the same.
#[derive(Debug, Clone, Copy)]
struct Pause {
    since: WallNs,
    steps: u64,
}

impl Pause {
    fn since(since: WallNs) -> Self {
        Self { since, steps: 0 }
    }
}

/// The event time before which the stream is to pause.
#[derive(Debug)]
struct PauseBefore {
    time: EventTime,
    by: Asker,
}

/// The wall instant at which a paused stream is to go on.
#[derive(Debug)]
struct ResumeAt {
    at: WallNs,
    by: Asker,
}

/// Says when an event may leave.
pub(crate) struct Pilot<K> {
    run: Run,
    clock: K,
    schedule: Schedule,
    lanes: Lanes,
    helm: Helm,
    /// Where acts and cut gaps are reported for the audit.
    acts: mpsc::UnboundedSender<Told>,
    pause: Option<Pause>,
    /// The stream is paused once this many events were handed over; `u64::MAX` for never.
    pause_at: u64,
    /// Who asked for that.
    pause_at_by: Asker,
    /// Where in event time the stream is to pause; `None` for nowhere.
    pause_before: Option<PauseBefore>,
    /// When the stream is to go on after its pause; `None` when somebody says so.
    resume_at: Option<ResumeAt>,
    /// When the last event was handed over, or the stream began.
    last_left_at: WallNs,
    /// The state that the keeper was told of last.
    told: State,
    handed_over: u64,
    /// When the last events were handed over, where the schedule slips; no further back than they
    /// may be queued.
    recent: VecDeque<WallNs>,
    /// The number of the next event of each output.
    sequences: Vec<u64>,
    /// Whether the progress says when the next event is due.
    is_next_due_told: bool,
}

impl<K: Clock> Pilot<K> {
    /// The pilot of a stream that has not begun, and what it tells the keeper.
    pub(crate) fn new(
        run: Run,
        clock: K,
        schedule: Schedule,
        lanes: Lanes,
        helm: Helm,
    ) -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (acts, told) = mpsc::unbounded_channel();
        let pilot = Self {
            sequences: vec![0; run.meters().outputs()],
            run,
            clock,
            schedule,
            lanes,
            helm,
            acts,
            pause: None,
            pause_at: u64::MAX,
            pause_at_by: Asker::default(),
            pause_before: None,
            resume_at: None,
            last_left_at: 0,
            told: State::Starting,
            handed_over: 0,
            recent: VecDeque::new(),
            is_next_due_told: false,
        };
        (pilot, told)
    }

    /// The schedule, as it stands.
    pub(crate) fn schedule(&mut self) -> &mut Schedule {
        &mut self.schedule
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> WallNs {
        self.run.at(self.clock.now())
    }

    /// Events that were handed over.
    pub(crate) fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// Obeys the orders that wait, and says whether an event at `time` may leave.
    pub(crate) fn leave(&mut self, time: EventTime) -> Leave<'_, K> {
        self.obey();
        if self.run.ending().is_winding_down() {
            return Leave::Never;
        }
        let mut now = self.now();
        if Bug::OneNanosecondEarly.is_planted() {
            now += 1;
        }
        let mut due = self.schedule.due(time, now);
        if self.pause.is_none()
            && now < due
            && let Some(earlier) = self.schedule.cap_gap(due)
        {
            self.tell_of_cut_gap(time, earlier);
            due = self.schedule.due(time, now);
        }
        if let Some(rest) = self.pause_before(time, due, now) {
            return Leave::After(rest);
        }
        let has_room = self.run.window().has_room(self.handed_over);
        let is_stalled = self.are_lanes_stalled(now);
        match self.pause {
            Some(Pause { steps, since }) if steps > 0 && has_room => {
                self.schedule.advance(due, since);
                Leave::Now(self.departure(due.min(since), now, true))
            }
            Some(Pause { steps, .. }) => {
                if steps == 0 {
                    self.forget_next_due();
                }
                let resumes = self.resume_at.as_ref().map(|resume| resume.at);
                self.rest_in(State::Paused, at_most_until(resumes, now))
            }
            None if now < due => Leave::After(self.wait(due, due, now)),
            None if is_stalled => self.rest_in(State::HeldBack, QUEUE_PAUSE),
            None if has_room => {
                self.be(State::Running);
                Leave::Now(self.departure(due, due, false))
            }
            None => self.rest_in(State::HeldBack, LOOK_AROUND),
        }
    }

    /// Waits for an event that is due at `due`, but no longer than until `until`.
    fn wait(&mut self, due: WallNs, until: WallNs, now: WallNs) -> Duration {
        if due.saturating_sub(now) > WORTH_TELLING.as_nanos() as WallNs {
            self.tell_next_due(Some(due));
        }
        self.be(if self.schedule.begins_after(now) {
            State::WaitingForStart
        } else {
            State::Running
        });
        at_most_until(Some(until), now)
    }

    /// Pauses the stream once its schedule comes to the event time that somebody named, where the
    /// next event is not before it. Until then it says how long to rest.
    fn pause_before(&mut self, time: EventTime, due: WallNs, now: WallNs) -> Option<Duration> {
        let before = self.pause_before.as_ref()?;
        if time < before.time || self.pause.is_some() {
            return None;
        }
        // A pace that counts events has no wall instant for an event time.
        let at = self.schedule.wall_of(before.time).unwrap_or(now).min(due);
        if now < at {
            return Some(self.wait(due, at, now));
        }
        // What the stream is late by stays: only the rest of the thread is taken back.
        let since = at.max(self.last_left_at).min(now);
        let by = self.pause_before.take()?.by;
        self.pause_behind_the_last(since, by);
        None
    }

    /// Whether a schedule that slips waits for the lanes: an event has been queued for too long.
    fn are_lanes_stalled(&mut self, now: WallNs) -> bool {
        if !self.schedule.slips() {
            return false;
        }
        let is_old = |at: &WallNs| now.saturating_sub(*at) > QUEUED_FOR;
        while self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
        self.lanes.waiting() > self.recent.len()
    }

    /// Rests for at most `delay`, less if somebody wakes the dispatching thread.
    pub(crate) fn rest(&self, delay: Duration) {
        self.clock.park(delay);
    }

    /// Resolves when `delay` has passed, for a dispatcher that is a task.
    pub(crate) async fn sleep(&self, delay: Duration) {
        self.clock.sleep(delay).await;
    }

    fn tell_of_cut_gap(&self, next: EventTime, earlier: WallNs) {
        let cut = CutGap {
            next,
            earlier: Duration::from_nanos(earlier.unsigned_abs()),
            handed_over: self.handed_over,
        };
        // A keeper that is gone has nothing left to write to.
        let _ = self.acts.send(Told::GapCut(cut));
    }

    /// Tells when the next event is due, or that it is not waited for any more.
    fn tell_next_due(&mut self, due: Option<WallNs>) {
        self.is_next_due_told = due.is_some();
        let due = due.map(|due| self.run.start().wall_time(due));
        self.run
            .progress()
            .send_if_modified(|progress| std::mem::replace(&mut progress.next_due, due) != due);
    }

    fn forget_next_due(&mut self) {
        if self.is_next_due_told {
            self.tell_next_due(None);
        }
    }

    fn departure(&mut self, due: WallNs, late_from: WallNs, is_step: bool) -> Departure<'_, K> {
        self.forget_next_due();
        Departure {
            pilot: self,
            due,
            late_from,
            is_step,
        }
    }

    fn rest_in(&mut self, state: State, at_most: Duration) -> Leave<'_, K> {
        self.be(state);
        Leave::After(at_most)
    }

    /// Is at a state from now on, and tells the keeper of one that lasts.
    fn be(&mut self, state: State) {
        self.helm.state().set(state);
        let lasting = match state {
            State::HeldBack => State::Running,
            state => state,
        };
        if lasting != self.told {
            self.told = lasting;
            // A keeper that is gone has nobody left to tell.
            let _ = self.acts.send(Told::State(lasting));
        }
    }

    fn state(&self) -> State {
        if self.run.ending().is_winding_down() {
            State::Ending
        } else if self.pause.is_some() {
            State::Paused
        } else if self.schedule.begins_after(self.now()) {
            State::WaitingForStart
        } else {
            State::Running
        }
    }
}

/// How long to rest: until a moment, but no longer than without looking around.
fn at_most_until(moment: Option<WallNs>, now: WallNs) -> Duration {
    let left = moment.map(|at| Duration::from_nanos(at.saturating_sub(now).max(0) as u64));
    left.unwrap_or(LOOK_AROUND).min(LOOK_AROUND)
}

/// Whether an event may leave.
pub(crate) enum Leave<'p, K> {
    /// It may leave now.
    Now(Departure<'p, K>),
    /// Ask again after this long, or when the dispatching thread is woken.
    After(Duration),
    /// No event leaves any more: the stream winds down.
    Never,
}

/// Leave for one event: it is due, and the window has room for it.
///
/// It holds the pilot until the event is handed over and counted. To drop it is to keep the event:
/// nothing left, and nothing is counted.
#[must_use = "the event has not left: hand it over"]
pub(crate) struct Departure<'p, K> {
    pilot: &'p mut Pilot<K>,
    /// When the event was due by the schedule.
    due: WallNs,
    /// The moment from which it is late.
    late_from: WallNs,
    /// Whether it leaves while the stream is paused.
    is_step: bool,
}

/// What became of an event that was to be handed over.
pub(crate) enum HandOver {
    /// Its lane has it, and it is counted.
    Left(Left),
    /// There is no place for it: it asks for a departure again after so long.
    HeldBack(Event, Duration),
    /// The lanes are gone, which is how they tell that the stream winds down.
    Gone,
}

/// When an event left.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Left {
    /// The moment from which it is late.
    pub(crate) due: WallNs,
    /// When its lane had it.
    pub(crate) at: WallNs,
}

impl<K: Clock> Departure<'_, K> {
    /// Hands the event to the lane of its key, if there is a place for it, and counts it.
    pub(crate) fn hand_over(self, event: Event) -> HandOver {
        let pilot = self.pilot;
        let output = event.output;
        let is_paced = !pilot.schedule.is_unpaced();
        let handed = HandedOver {
            output,
            sequence: pilot.sequences[output],
            position: event.position,
            id: event.id,
            due: is_paced.then_some(self.late_from),
            body: event.body,
        };
        // Before the lane has it: an event is never acknowledged that was not handed over.
        pilot.run.meters().handed_over(output);
        match pilot.lanes.offer(event.ordering_key, handed) {
            Offered::Taken => {}
            Offered::Full(HandedOver { body, .. }) => {
                pilot.run.meters().handed_back(output);
                if pilot.pause.is_none() {
                    pilot.be(State::HeldBack);
                }
                return HandOver::HeldBack(Event { body, ..event }, FULL_PAUSE);
            }
            Offered::Gone => {
                pilot.run.meters().handed_back(output);
                return HandOver::Gone;
            }
        }
        pilot.run.meters().handed_over_at(event.position.time);
        pilot.sequences[output] += 1;
        pilot.handed_over += 1;
        if let Some(pause) = &mut pilot.pause {
            pause.steps -= 1;
        }
        let at = pilot.now();
        pilot.last_left_at = at;
        // A step is never late: the schedule stands still for it.
        let counted_at = if self.is_step { self.due } else { at };
        pilot.schedule.left(self.due, counted_at);
        if pilot.schedule.slips() {
            pilot.recent.push_back(at);
        }
        // Here and now: the next event may be long in coming.
        if pilot.handed_over == pilot.pause_at {
            pilot.pause_as_counted(at);
        }
        HandOver::Left(Left {
            due: self.late_from,
            at,
        })
    }
}

#[cfg(test)]
mod tests;
