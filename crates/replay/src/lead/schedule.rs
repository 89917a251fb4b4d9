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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: WallNs = 1_000_000_000;

    fn at(ns: i128) -> EventTime {
        EventTime::from_nanos(ns).unwrap()
    }

    fn speedup(factor: f64) -> Pace {
        Speedup::new(factor).unwrap().into()
    }

    fn rate(text: &str) -> Pace {
        text.parse::<RateSteps>().unwrap().into()
    }

    fn paced(factor: f64) -> Schedule {
        Schedule::new(speedup(factor), WhenLate::CatchUp)
    }

    fn rated(text: &str) -> Schedule {
        Schedule::new(rate(text), WhenLate::CatchUp)
    }

    /// Asks for an event's due time, and lets it leave then.
    fn leave(schedule: &mut Schedule, time: i128, now: WallNs) -> WallNs {
        let due = schedule.due(at(time), now);
        schedule.left(due, due.max(now));
        due
    }

    #[test]
    fn the_first_event_is_due_at_once_and_the_rest_at_absolute_times() {
        let mut schedule = paced(600.0);
        assert_eq!(leave(&mut schedule, 1_000_000, 50), 50);
        assert_eq!(leave(&mut schedule, 1_600_000, 900_000), 1_050);
        assert_eq!(leave(&mut schedule, 2_200_000, 0), 2_050);
    }

    #[test]
    fn a_cap_and_the_pace_must_both_allow_an_event() {
        let cap = "10".parse::<RateSteps>().ok();
        let mut schedule = paced(1.0).capped(cap);
        // A crowd: one every tenth of a second; then the pace is the slower of the two.
        let crowd: Vec<_> = (0..4).map(|_| leave(&mut schedule, 0, 0)).collect();
        let tenth = SECOND / 10;
        assert_eq!(crowd, [0, tenth, 2 * tenth, 3 * tenth]);
        let later = leave(&mut schedule, (5 * SECOND).into(), 0);
        assert_eq!(later, 5 * SECOND);
        // What was not used meanwhile is gone.
        let next = leave(&mut schedule, (5 * SECOND).into(), later);
        assert!(next >= later + tenth - SLACK, "{next}");
    }

    #[test]
    fn a_cap_makes_no_burst_after_a_stall_nor_at_the_edge_of_a_step() {
        let cap = "0:100,2:10,4:50".parse::<RateSteps>().ok();
        let mut schedule = Schedule::new(Pace::UNPACED, WhenLate::CatchUp).capped(cap);
        let mut left = Vec::new();
        let mut now = 0;
        for event in 0..300 {
            // A stall of half a second in the middle of the first step.
            now = if event == 50 { now + SECOND / 2 } else { now };
            now = schedule.due(at(0), now).max(now);
            schedule.left(now, now);
            left.push(now);
        }
        for (from, rate) in left.iter().map(|from| (*from, 100.0)) {
            let within = |at: &&WallNs| (from..from + SECOND / 4).contains(*at);
            let count = left.iter().filter(within).count() as f64;
            assert!(count <= rate * 0.25 * 1.1 + 1.0, "{count} from {from}");
        }
        let between =
            |from: WallNs, to: WallNs| left.iter().filter(|at| (from..to).contains(*at)).count();
        assert!((19..=21).contains(&between(2 * SECOND, 4 * SECOND)));
        assert!((49..=51).contains(&between(4 * SECOND, 5 * SECOND)));
    }

    #[test]
    fn an_event_earlier_than_its_predecessor_is_due_with_it() {
        let mut schedule = paced(1.0);
        leave(&mut schedule, 100, 0);
        assert_eq!(leave(&mut schedule, 600, 0), 500);
        assert_eq!(leave(&mut schedule, 300, 0), 500);
        assert_eq!(leave(&mut schedule, 700, 0), 600);
    }

    #[test]
    fn asking_again_changes_nothing() {
        for mut schedule in [paced(1.0), rated("10")] {
            leave(&mut schedule, 0, 0);
            let due = schedule.due(at(SECOND.into()), 5);
            assert_eq!(schedule.due(at(SECOND.into()), 77), due);
        }
    }

    #[test]
    fn a_pause_shifts_the_rest_and_makes_no_burst() {
        let mut schedule = paced(1.0);
        leave(&mut schedule, 0, 0);
        schedule.resume(1, 10_001);
        assert_eq!(schedule.due(at(5), 10_001), 10_005);
        let mut schedule = rated("1000");
        leave(&mut schedule, 0, 0);
        schedule.resume(SECOND, 61 * SECOND);
        assert_eq!(schedule.due(at(0), 61 * SECOND), 60 * SECOND + 1_000_000);
    }

    #[test]
    fn a_gap_longer_than_its_bound_is_cut_to_it_and_the_rest_follows() {
        let hour = 3_600 * SECOND;
        let mut schedule = paced(1.0).with_max_gap(Some(Duration::from_secs(10)));
        leave(&mut schedule, 0, 5);
        assert_eq!(leave(&mut schedule, (9 * SECOND).into(), 5), 5 + 9 * SECOND);
        let due = schedule.due(at((9 * hour).into()), 6);
        assert_eq!(schedule.cap_gap(due), Some(9 * hour - 19 * SECOND));
        let due = schedule.due(at((9 * hour).into()), 7);
        assert_eq!(due, 5 + 19 * SECOND);
        assert_eq!(schedule.cap_gap(due), None, "it is cut once");
        schedule.left(due, due);
        let after = schedule.due(at((9 * hour + SECOND).into()), due);
        assert_eq!(after, due + SECOND);
    }

    #[test]
    fn a_gap_is_counted_without_pauses_and_anew_from_a_change_of_pace() {
        let hour = 3_600 * SECOND;
        let mut schedule = paced(1.0).with_max_gap(Some(Duration::from_secs(10)));
        leave(&mut schedule, 0, 0);
        schedule.resume(2 * SECOND, 7 * SECOND);
        let due = schedule.due(at(hour.into()), 7 * SECOND);
        schedule.cap_gap(due);
        assert_eq!(schedule.due(at(hour.into()), 0), 15 * SECOND);
        schedule.set_pace(speedup(0.001), 9 * SECOND);
        let due = schedule.due(at(hour.into()), 9 * SECOND);
        schedule.cap_gap(due);
        assert_eq!(schedule.due(at(hour.into()), 0), 19 * SECOND);
    }

    #[test]
    fn no_gap_is_cut_before_the_first_event_nor_at_a_rate() {
        let bound = Some(Duration::from_secs(1));
        let origin = Origin {
            start_at: Some(900 * SECOND),
            time: None,
        };
        let mut late = paced(1.0).from_origin(origin).with_max_gap(bound);
        let due = late.due(at(0), 0);
        assert_eq!((due, late.cap_gap(due)), (900 * SECOND, None));
        let mut rated = rated("0:1,1:0,60:1").with_max_gap(bound);
        leave(&mut rated, 0, 0);
        leave(&mut rated, 0, 0);
        let due = rated.due(at(0), 0);
        assert!(due >= 60 * SECOND, "{due}");
        assert_eq!(rated.cap_gap(due), None);
    }

    #[test]
    fn a_pause_before_the_beginning_moves_nothing() {
        let origin = Origin {
            start_at: Some(100),
            time: None,
        };
        let mut schedule = paced(1.0).from_origin(origin);
        assert_eq!(schedule.due(at(7), 0), 100);
        assert!(schedule.begins_after(50));
        schedule.resume(10, 90);
        assert_eq!(schedule.due(at(7), 90), 100);
        schedule.resume(90, 150);
        assert_eq!(schedule.due(at(7), 150), 150);
    }

    #[test]
    fn an_event_let_through_in_a_pause_takes_the_schedule_with_it() {
        for mut schedule in [paced(1.0), rated("1")] {
            leave(&mut schedule, 0, 0);
            // Paused at 2 ns; the next event is due at a second and let through.
            let due = schedule.due(at(SECOND.into()), 2);
            assert_eq!(due, SECOND);
            schedule.advance(due, 2);
            schedule.left(2, 5_000);
            schedule.resume(2, 9_000);
            // Its successor, a second later, is due a second after the pause.
            let after = schedule.due(at((2 * SECOND).into()), 9_000);
            assert_eq!(after, 9_000 + SECOND);
        }
    }

    #[test]
    fn a_change_of_speed_starts_from_where_the_schedule_stood() {
        let mut schedule = paced(2.0);
        leave(&mut schedule, 0, 0);
        assert_eq!(
            schedule.due(at(600), 100),
            300,
            "waited for before the change"
        );
        schedule.set_pace(speedup(4.0), 100);
        assert_eq!(schedule.due(at(200 + 400), 100), 200);
    }

    #[test]
    fn a_change_of_rate_keeps_the_part_of_an_event_that_has_come() {
        let mut schedule = rated("1");
        leave(&mut schedule, 0, 0);
        // Three quarters of the way to the second event.
        schedule.set_pace(rate("0.5"), SECOND * 3 / 4);
        assert_eq!(leave(&mut schedule, 0, SECOND), SECOND * 5 / 4);
        assert_eq!(leave(&mut schedule, 0, SECOND), SECOND * 13 / 4);
    }

    #[test]
    fn a_change_to_what_counts_otherwise_has_the_next_event_due_now() {
        let hour = 3_600 * i128::from(SECOND);
        let mut schedule = paced(1.0);
        leave(&mut schedule, 0, 0);
        schedule.set_pace(rate("10"), 5);
        assert_eq!(leave(&mut schedule, hour, 5), 5);
        assert_eq!(leave(&mut schedule, hour, 5), 5 + SECOND / 10);
        schedule.set_pace(speedup(1.0), SECOND);
        assert_eq!(leave(&mut schedule, 9 * hour, SECOND), SECOND);
        assert_eq!(leave(&mut schedule, 9 * hour + 5, SECOND), SECOND + 5);
        schedule.set_pace(Pace::UNPACED, SECOND);
        assert_eq!(leave(&mut schedule, 99 * hour, 7 * SECOND), 7 * SECOND);
    }

    #[test]
    fn several_producers_share_one_clock() {
        let origin = Origin {
            start_at: Some(-SECOND),
            time: Some(at(1_000)),
        };
        let mut schedule = paced(2.0).from_origin(origin);
        // A second of wall time at twice the speed has passed before the run began.
        assert_eq!(leave(&mut schedule, 3_000, 40), -SECOND + 1_000);
        assert_eq!(
            leave(&mut schedule, 1_000 + 4 * i128::from(SECOND), 40),
            SECOND
        );
        schedule.restart();
        assert_eq!(
            leave(&mut schedule, 1_000 + 6 * i128::from(SECOND), 40),
            2 * SECOND
        );
    }

    #[test]
    fn a_rate_whose_start_has_passed_counts_from_the_run_in_the_step_in_force() {
        let origin = Origin {
            start_at: Some(-10 * SECOND),
            time: None,
        };
        let mut schedule = rated("0:1000,10:5,20:1").from_origin(origin);
        assert_eq!(leave(&mut schedule, 0, 0), 0, "no burst of what was before");
        assert_eq!(leave(&mut schedule, 0, 0), SECOND / 5);
    }

    #[test]
    fn an_unpaced_stream_waits_for_its_start_only() {
        let origin = Origin {
            start_at: Some(50),
            time: None,
        };
        let mut schedule = Schedule::new(Pace::UNPACED, WhenLate::CatchUp).from_origin(origin);
        assert_eq!(schedule.due(at(9), 3), 50);
        assert_eq!(schedule.due(at(99), 60), 60);
    }

    #[test]
    fn slip_moves_the_schedule_and_catch_up_does_not() {
        let mut slipping = Schedule::new(Speedup::default(), WhenLate::Slip);
        let mut catching = paced(1.0);
        for schedule in [&mut slipping, &mut catching] {
            let due = schedule.due(at(0), 0);
            schedule.left(due, 30);
        }
        assert_eq!(slipping.due(at(10), 30), 40);
        assert_eq!(catching.due(at(10), 30), 10);
    }

    /// What an operator may do to a schedule.
    #[derive(Debug, Clone)]
    enum Steer {
        Wait(WallNs),
        Pause(WallNs),
        Step(WallNs),
        SetPace(Pace),
    }

    fn steers() -> impl Strategy<Value = Vec<Steer>> {
        let span = 0..3 * SECOND;
        let pace = prop_oneof![
            (0.5f64..2_000.0).prop_map(speedup),
            (0.5f64..2_000.0).prop_map(|r| RateSteps::fixed(r).unwrap().into()),
            Just(rate("0:50,1:0,2:400")),
        ];
        let steer = prop_oneof![
            span.clone().prop_map(Steer::Wait),
            span.clone().prop_map(Steer::Pause),
            span.prop_map(Steer::Step),
            pace.prop_map(Steer::SetPace),
        ];
        proptest::collection::vec(steer, 1..30)
    }

    proptest! {
        /// Law: never before due. The wall time passed, run at the speedup, is at
        /// least the event time passed (to float precision).
        #[test]
        fn no_event_is_due_before_its_share_of_wall_time(
            factor in prop_oneof![Just(0.01), Just(1.0), Just(600.0), Just(1_000_000.0), 0.01f64..1e6],
            elapsed in 0i128..10_000_000_000_000_000,
        ) {
            let mut schedule = paced(factor);
            schedule.due(at(0), 7);
            let due = schedule.due(at(elapsed), 7) - 7;
            let replayed = due as f64 * factor;
            prop_assert!(replayed >= elapsed as f64 * (1.0 - 1e-12), "{replayed} < {elapsed}");
            prop_assert!(replayed <= (elapsed as f64 + factor) * (1.0 + 1e-12));
        }

        /// However a stream is steered: events an even event second apart never leave
        /// faster than the pace in force says, from one to the next.
        #[test]
        fn no_steering_makes_a_burst(first in steers(), seed in 1u64..1_000) {
            let mut schedule = paced(100.0);
            let (mut now, mut event) = (i64::try_from(seed).unwrap(), 0i128);
            let mut last: Option<WallNs> = None;
            let mut crossed = true;
            for steer in first {
                match steer {
                    Steer::Wait(span) => {
                        let until = now + span;
                        loop {
                            let due = schedule.due(at(event), now);
                            if due > until { break; }
                            prop_assert!(due <= until && due + 2 >= now, "late without a reason");
                            now = due.max(now);
                            if let (Some(last), false, Pace::Speedup(speedup)) =
                                (last, crossed, schedule.pace())
                            {
                                let gap = SECOND as f64 / speedup.factor();
                                prop_assert!((now - last) as f64 >= gap - 3.0, "{} after {last}", now);
                            }
                            schedule.left(due, now);
                            last = Some(now);
                            crossed = false;
                            event += i128::from(SECOND);
                        }
                        now = until;
                    }
                    Steer::Pause(span) => {
                        schedule.resume(now, now + span);
                        now += span;
                    }
                    Steer::Step(span) => {
                        let due = schedule.due(at(event), now);
                        schedule.advance(due, now);
                        schedule.left(now, now);
                        event += i128::from(SECOND);
                        schedule.resume(now, now + span);
                        now += span;
                        last = Some(now);
                        crossed = false;
                    }
                    Steer::SetPace(pace) => {
                        schedule.set_pace(pace, now);
                        // Between two paces a gap belongs to both.
                        crossed = true;
                    }
                }
            }
        }
    }
}
