//! When each event is due: a pure function of the anchor, the pace and the event's own
//! time or number.
//!
//! ```text
//! by a speedup:  due(e) = wall₀ + (time(e) − time₀) / speedup
//! by a rate:     due(e) = the wall instant until which the rate, summed up from wall₀,
//!                         has come to the number of events before e
//! ```
//!
//! The schedule is absolute: each due time is computed from the anchor and never
//! from the previous event, so no error adds up over hours. Wall instants are
//! nanoseconds since the stream's start on the monotonic clock, negative before it;
//! nothing here reads a clock.
//!
//! | act | anchor |
//! |---|---|
//! | first event | wall₀ = now, or `start_at`; time₀ = its time, or `time_origin` |
//! | next output in `as_written` order, by a speedup | as for a first event; no change under a `time_origin` |
//! | pause from *p* to *r* | wall₀ moves by *r − p* |
//! | an event let through in a pause | wall₀ moves so that it was due at *p* |
//! | change of pace | wall₀ = now; what stood at now still does, where old and new pace count the same thing, else the next event is due now |
//! | late, and `slip` | wall₀ moves by the lateness |
//! | a gap longer than `max_gap`, by a speedup | wall₀ moves so that it is `max_gap` long |
//!
//! A cap bounds how many events a second leave, whatever the pace: an event is due when both allow
//! it. It counts from the last event that left and not from the anchor, so that what was not used
//! is gone, but for [`SLACK`].
//!
//! None of them makes a burst: after each, the next event is due as far from now
//! as it was before.
//!
//! A `start_at` that has passed is an anchor like any other: by a speedup, the stream is
//! late and catches up. By a rate it is not, since a rate says how many events a second
//! leave and not which: the step in force is that of the time since `start_at`, and
//! counting begins with the run.

use std::sync::Arc;
use std::time::Duration;

use envelope::EventTime;
use serde::{Deserialize, Serialize};

use crate::pace::{Pace, RateSteps, Speedup};
use crate::time::WallNs;

/// What a stream that is late does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenLate {
    /// Sends without waiting until it is on schedule again.
    CatchUp,
    /// Moves the schedule by what was lost.
    Slip,
}

/// Where a schedule begins, if not with its first event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// The wall instant of the anchor; `None` anchors at the moment of the first event.
    pub start_at: Option<WallNs>,
    /// The event time that is due at the anchor; `None` takes that of the first event.
    pub time: Option<EventTime>,
}

#[derive(Debug, Clone, Copy)]
struct TimeAnchor {
    wall: WallNs,
    event_ns: i128,
}

#[derive(Debug, Clone, Copy)]
struct CountAnchor {
    wall: WallNs,
    /// What the rate must come to for the first event behind the anchor.
    first: f64,
    /// Events that left since.
    left: u64,
}

/// How far behind an event may leave without the cap forgetting what was not used: threads wake a
/// little late.
const SLACK: WallNs = 20_000_000;

/// The most events a second that may leave.
#[derive(Debug, Clone)]
struct Cap {
    steps: Arc<RateSteps>,
    /// Where the steps count from; `None` before the first event.
    begins: Option<WallNs>,
    /// When the next event may leave.
    next: WallNs,
}

impl Cap {
    /// An event left at `now`: the next one may when the rate has come to one more.
    fn left(&mut self, now: WallNs) {
        let Some(begins) = self.begins else {
            return;
        };
        let used_at = self.next.max(now.saturating_sub(SLACK));
        let count = self.steps.count_at(used_at.saturating_sub(begins));
        self.next = begins.saturating_add(self.steps.wall_ns(count + 1.0));
    }
}

/// A pace, and where it is anchored: not yet, before the first event.
#[derive(Debug, Clone)]
enum Clockwork {
    Unpaced,
    ByTime(Speedup, Option<TimeAnchor>),
    ByCount(Arc<RateSteps>, Option<CountAnchor>),
}

impl Clockwork {
    fn new(pace: &Pace) -> Self {
        match pace {
            Pace::Speedup(speedup) if speedup.is_unpaced() => Self::Unpaced,
            Pace::Speedup(speedup) => Self::ByTime(*speedup, None),
            Pace::Rate(steps) => Self::ByCount(Arc::clone(steps), None),
        }
    }

    fn wall(&self) -> Option<WallNs> {
        match self {
            Self::Unpaced => None,
            Self::ByTime(_, anchor) => anchor.map(|anchor| anchor.wall),
            Self::ByCount(_, anchor) => anchor.map(|anchor| anchor.wall),
        }
    }

    fn shift(&mut self, by: WallNs) {
        let wall = match self {
            Self::ByTime(_, Some(anchor)) => &mut anchor.wall,
            Self::ByCount(_, Some(anchor)) => &mut anchor.wall,
            _ => return,
        };
        *wall = wall.saturating_add(by);
    }

    /// This pace from `now` on, going on from where another stands.
    fn after(self, before: &Self, now: WallNs) -> Self {
        match (self, before) {
            (Self::ByTime(speedup, _), Self::ByTime(old, Some(anchor))) => {
                // A schedule that has not begun begins when it would have.
                let wall = now.max(anchor.wall);
                let passed = (wall - anchor.wall) as f64 * old.factor();
                let event_ns = anchor.event_ns + passed as i128;
                Self::ByTime(speedup, Some(TimeAnchor { wall, event_ns }))
            }
            (Self::ByCount(steps, _), Self::ByCount(old, Some(anchor))) => {
                let wall = now.max(anchor.wall);
                let reached = old.count_at(wall - anchor.wall);
                let first = anchor.first + anchor.left as f64 - reached;
                let left = 0;
                Self::ByCount(steps, Some(CountAnchor { wall, first, left }))
            }
            (fresh, _) => fresh,
        }
    }
}

/// The schedule of one run.
#[derive(Debug, Clone)]
pub struct Schedule {
    pace: Pace,
    when_late: WhenLate,
    clockwork: Clockwork,
    /// Where the next anchor is, if somebody said so; taken by it.
    origin: Origin,
    /// One clock for all outputs, and for other producers.
    is_shared: bool,
    last_due: WallNs,
    /// The most events a second, if somebody bounded them.
    cap: Option<Cap>,
    /// The longest wait from one event to the next, if somebody bounded it.
    max_gap: Option<WallNs>,
    /// Where a wait for the next event began: when the last one was due, or the pace changed;
    /// `None` before the first event.
    gap_from: Option<WallNs>,
}

impl Schedule {
    /// A schedule that anchors at its first event.
    pub fn new(pace: impl Into<Pace>, when_late: WhenLate) -> Self {
        let pace = pace.into();
        Self {
            clockwork: Clockwork::new(&pace),
            pace,
            when_late,
            origin: Origin::default(),
            is_shared: false,
            last_due: WallNs::MIN,
            cap: None,
            max_gap: None,
            gap_from: None,
        }
    }

    /// The same schedule, anchored at `origin`.
    #[must_use]
    pub fn from_origin(mut self, origin: Origin) -> Self {
        self.is_shared = origin.time.is_some();
        self.origin = origin;
        self
    }

    /// Bounds how many events a second leave; `None` bounds nothing. Offsets of its steps count from
    /// where the schedule begins.
    #[must_use]
    pub fn capped(mut self, cap: Option<RateSteps>) -> Self {
        self.cap = cap.map(|steps| Cap {
            steps: Arc::new(steps),
            begins: None,
            next: WallNs::MIN,
        });
        self
    }

    /// Has the offsets of the cap's steps count from this moment, which may have passed; `None`
    /// leaves them to count from where the schedule begins. Nothing leaves before it.
    #[must_use]
    pub fn cap_counts_from(mut self, at: Option<WallNs>) -> Self {
        if let (Some(cap), Some(at)) = (&mut self.cap, at) {
            cap.begins = Some(at);
            cap.next = at.saturating_add(cap.steps.wall_ns(0.0));
        }
        self
    }

    /// When the next event is due: when its time has come and the cap allows it. Asking again
    /// changes nothing.
    pub fn due(&mut self, time: EventTime, now: WallNs) -> WallNs {
        let start_at = self.origin.start_at;
        let due = self.due_by_pace(time, now);
        let Some(cap) = &mut self.cap else {
            return due;
        };
        if cap.begins.is_none() {
            let begins = start_at.unwrap_or(now);
            cap.begins = Some(begins);
            cap.next = begins.saturating_add(cap.steps.wall_ns(0.0));
        }
        due.max(cap.next)
    }

    /// When the next event is due by its pace. An unpaced event is due now; an event earlier than
    /// its predecessor is due with it. Asking again changes nothing.
    fn due_by_pace(&mut self, time: EventTime, now: WallNs) -> WallNs {
        let origin = &mut self.origin;
        let wall = origin.start_at.unwrap_or(now);
        let due = match &mut self.clockwork {
            Clockwork::Unpaced => return now.max(wall),
            Clockwork::ByTime(speedup, anchor) => {
                let anchor = anchor.get_or_insert_with(|| {
                    origin.start_at = None;
                    let event_ns = origin.time.take().unwrap_or(time).nanos();
                    TimeAnchor { wall, event_ns }
                });
                let waits = speedup.wall_ns(time.nanos() - anchor.event_ns);
                anchor.wall.saturating_add(waits)
            }
            Clockwork::ByCount(steps, anchor) => {
                let anchor = anchor.get_or_insert_with(|| {
                    origin.start_at = None;
                    let first = steps.count_at(now - wall);
                    let left = 0;
                    CountAnchor { wall, first, left }
                });
                let waits = steps.wall_ns(anchor.first + anchor.left as f64);
                anchor.wall.saturating_add(waits)
            }
        };
        due.max(self.last_due)
    }

    /// Bounds how long the next event is waited for, from where its predecessor was due. The
    /// bound is for a pace that goes by event time: a rate has the gaps that it says.
    #[must_use]
    pub fn with_max_gap(mut self, max_gap: Option<Duration>) -> Self {
        let nanos = |gap: Duration| WallNs::try_from(gap.as_nanos()).unwrap_or(WallNs::MAX);
        self.max_gap = max_gap.map(nanos);
        self
    }

    /// The wall instant at which an event of this time would be due by its pace; `None` where the
    /// pace does not go by event time, and before the first event.
    pub fn wall_of(&self, time: EventTime) -> Option<WallNs> {
        match &self.clockwork {
            Clockwork::ByTime(speedup, Some(anchor)) => {
                let waits = speedup.wall_ns(time.nanos() - anchor.event_ns);
                Some(anchor.wall.saturating_add(waits))
            }
            _ => None,
        }
    }

    /// Moves the schedule where the event due at `due` would be waited for longer than the
    /// bound allows. Answers by how many nanoseconds it and all after it come earlier.
    pub fn cap_gap(&mut self, due: WallNs) -> Option<WallNs> {
        let (Clockwork::ByTime(..), Some(from), Some(max)) =
            (&self.clockwork, self.gap_from, self.max_gap)
        else {
            return None;
        };
        let earlier = due.saturating_sub(from.saturating_add(max));
        if earlier <= 0 {
            return None;
        }
        self.clockwork.shift(-earlier);
        self.last_due = self.last_due.saturating_sub(earlier);
        Some(earlier)
    }

    /// Tells the schedule that the event due at `due` left at `now`; with `slip`
    /// the rest moves by what was lost.
    pub fn left(&mut self, due: WallNs, now: WallNs) {
        if let Some(cap) = &mut self.cap {
            cap.left(now);
        }
        if matches!(self.clockwork, Clockwork::Unpaced) {
            return;
        }
        self.last_due = due;
        self.gap_from = Some(due);
        if let Clockwork::ByCount(_, Some(anchor)) = &mut self.clockwork {
            anchor.left += 1;
        }
        if self.when_late == WhenLate::Slip {
            self.shift(now.saturating_sub(due).max(0));
        }
    }

    /// The pace in force.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The wall instant of the anchor, and the event time that stands there where the
    /// pace goes by event time; absent before the first event and in an unpaced stream.
    pub fn anchor(&self) -> Option<(WallNs, Option<EventTime>)> {
        let time = match &self.clockwork {
            Clockwork::ByTime(_, Some(anchor)) => EventTime::from_nanos(anchor.event_ns),
            _ => None,
        };
        self.clockwork.wall().map(|wall| (wall, time))
    }

    /// Whether events are sent without waiting.
    pub fn is_unpaced(&self) -> bool {
        matches!(self.clockwork, Clockwork::Unpaced) && self.cap.is_none()
    }

    /// Whether what was lost moves the schedule instead of being caught up.
    pub(crate) fn slips(&self) -> bool {
        self.when_late == WhenLate::Slip && !self.is_unpaced()
    }

    /// Whether the schedule begins only later.
    pub fn begins_after(&self, now: WallNs) -> bool {
        self.clockwork
            .wall()
            .or(self.origin.start_at)
            .is_some_and(|wall| wall > now)
    }

    /// Goes on at `now` after a pause since `since`: the rest moves by the part of it
    /// that lay behind the schedule's beginning. Answers by how much.
    pub fn resume(&mut self, since: WallNs, now: WallNs) -> WallNs {
        let begins = self.clockwork.wall().unwrap_or(now);
        let by = (now - since.max(begins)).max(0);
        self.shift(by);
        if let Some(Cap {
            begins: Some(begins),
            next,
            ..
        }) = &mut self.cap
        {
            *begins = begins.saturating_add(by);
            *next = next.saturating_add(by);
        }
        by
    }

    /// Lets an event that is due at `due` through while the schedule stands still since
    /// `since`: the schedule is then where that event was due.
    pub fn advance(&mut self, due: WallNs, since: WallNs) {
        if due > since {
            self.shift(since - due);
        }
    }

    /// Goes on at another pace from `now`.
    pub fn set_pace(&mut self, pace: Pace, now: WallNs) {
        if let Some(wall) = self.clockwork.wall().filter(|wall| *wall > now) {
            self.origin.start_at = Some(wall);
        }
        self.clockwork = Clockwork::new(&pace).after(&self.clockwork, now);
        self.pace = pace;
        self.last_due = WallNs::MIN;
        self.gap_from = self.gap_from.map(|_| now);
    }

    /// Forgets the anchor of a speedup: the next event starts anew, as the first event of
    /// the next output does in `as_written` order. A rate goes on, and so does a
    /// schedule with a time origin of its own.
    pub fn restart(&mut self) {
        if let Clockwork::ByTime(_, anchor) = &mut self.clockwork
            && !self.is_shared
        {
            *anchor = None;
            self.last_due = WallNs::MIN;
            self.gap_from = None;
        }
    }

    fn shift(&mut self, by: WallNs) {
        self.clockwork.shift(by);
        self.last_due = self.last_due.saturating_add(by);
        self.gap_from = self.gap_from.map(|from| from.saturating_add(by));
    }
}

#[cfg(test)]
mod tests;
