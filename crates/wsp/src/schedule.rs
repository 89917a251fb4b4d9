//! When each event is due: a pure function of the anchor, the speed and the
//! event's own time.
//!
//! ```text
//! due(e) = wall₀ + (time(e) − time₀) / speedup
//! ```
//!
//! The schedule is absolute: each due time is computed from the anchor and never
//! from the previous event, so no error adds up over hours. Wall instants are
//! nanoseconds since the stream's start on the monotonic clock; nothing here
//! reads a clock.
//!
//! | act | anchor |
//! |---|---|
//! | first event | wall₀ = now, time₀ = its time |
//! | next output in `as_written` order | as for a first event |
//! | pause of *d* | wall₀ moves by *d* |
//! | change of speed | wall₀ = now, time₀ = the event time that stood at now (anew with the next event, if it was unpaced) |
//! | late, and `slip` | wall₀ moves by the lateness |
//!
//! None of them makes a burst: after each, the next event is due as far from now
//! as it was before.

use std::str::FromStr;

use envelope::EventTime;

use crate::profile::WhenLate;

/// Event seconds per wall second; 0 means unpaced.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Speedup(f64);

impl Speedup {
    /// As fast as possible.
    pub const UNPACED: Self = Self(0.0);

    /// A speedup; `None` for a negative or non-finite one.
    pub fn new(factor: f64) -> Option<Self> {
        (factor.is_finite() && factor >= 0.0).then_some(Self(factor))
    }

    /// The factor.
    pub fn factor(self) -> f64 {
        self.0
    }

    /// Whether events wait for nothing.
    pub fn is_unpaced(self) -> bool {
        self.0 <= 0.0
    }

    /// Wall nanoseconds that `event_ns` of event time take, rounded up so that
    /// nothing is ever early. Saturates at 580 years.
    fn wall_ns(self, event_ns: i128) -> u64 {
        if event_ns <= 0 {
            return 0;
        }
        if (self.0 - 1.0).abs() < f64::EPSILON {
            return u64::try_from(event_ns).unwrap_or(u64::MAX);
        }
        // A float holds 104 days of nanoseconds exactly; beyond that the error is
        // a few nanoseconds of the whole, not of each step.
        (event_ns as f64 / self.0).ceil() as u64
    }
}

impl Default for Speedup {
    fn default() -> Self {
        Self(1.0)
    }
}

impl FromStr for Speedup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<f64>()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| format!("`{text}` is not a number of at least 0"))
    }
}

/// Nanoseconds since the stream's start, on the monotonic clock.
pub type WallNs = u64;

#[derive(Debug, Clone, Copy)]
struct Anchor {
    wall: WallNs,
    event_ns: i128,
}

/// The schedule of one run.
#[derive(Debug, Clone)]
pub struct Schedule {
    speedup: Speedup,
    when_late: WhenLate,
    anchor: Option<Anchor>,
    last_due: WallNs,
}

impl Schedule {
    /// A schedule that anchors at its first event.
    pub fn new(speedup: Speedup, when_late: WhenLate) -> Self {
        Self {
            speedup,
            when_late,
            anchor: None,
            last_due: 0,
        }
    }

    /// When the event is due. An unpaced event is due now; an event earlier than
    /// its predecessor is due with it.
    pub fn due(&mut self, time: EventTime, now: WallNs) -> WallNs {
        if self.speedup.is_unpaced() {
            return now;
        }
        let anchor = *self.anchor.get_or_insert(Anchor {
            wall: now,
            event_ns: time.nanos(),
        });
        let elapsed = time.nanos() - anchor.event_ns;
        let due = anchor.wall.saturating_add(self.speedup.wall_ns(elapsed));
        self.last_due = self.last_due.max(due);
        self.last_due
    }

    /// The event time that stands at a wall instant; absent before the first event and
    /// in an unpaced stream.
    pub fn anchor(&self) -> Option<(WallNs, EventTime)> {
        let anchor = self.anchor.filter(|_| !self.is_unpaced())?;
        Some((anchor.wall, EventTime::from_nanos(anchor.event_ns)?))
    }

    /// Whether events are sent without waiting.
    pub fn is_unpaced(&self) -> bool {
        self.speedup.is_unpaced()
    }

    /// Tells the schedule that an event due at `due` left at `now`; with `slip`
    /// the rest moves by what was lost.
    pub fn left(&mut self, due: WallNs, now: WallNs) {
        if self.when_late == WhenLate::Slip {
            self.shift(now.saturating_sub(due));
        }
    }

    /// Moves the rest of the schedule later, as after a pause.
    pub fn shift(&mut self, by: WallNs) {
        if let Some(anchor) = &mut self.anchor {
            anchor.wall = anchor.wall.saturating_add(by);
            self.last_due = self.last_due.saturating_add(by);
        }
    }

    /// Goes on at another speed from now.
    pub fn set_speedup(&mut self, speedup: Speedup, now: WallNs) {
        self.anchor = self
            .anchor
            .filter(|_| !self.speedup.is_unpaced())
            .map(|anchor| {
                let passed = now.saturating_sub(anchor.wall) as f64 * self.speedup.factor();
                Anchor {
                    wall: now,
                    event_ns: anchor.event_ns + passed as i128,
                }
            });
        self.speedup = speedup;
    }

    /// Forgets the anchor: the next event starts anew, as the first event of the
    /// next output does in `as_written` order.
    pub fn restart(&mut self) {
        self.anchor = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ns: i128) -> EventTime {
        EventTime::from_nanos(ns).unwrap()
    }

    fn paced(factor: f64) -> Schedule {
        Schedule::new(Speedup::new(factor).unwrap(), WhenLate::CatchUp)
    }

    #[test]
    fn the_first_event_is_due_at_once_and_the_rest_at_absolute_times() {
        let mut schedule = paced(600.0);
        assert_eq!(schedule.due(at(1_000_000), 50), 50);
        assert_eq!(schedule.due(at(1_000_000 + 600_000), 900_000), 1_050);
        assert_eq!(schedule.due(at(1_000_000 + 1_200_000), 0), 2_050);
    }

    #[test]
    fn an_event_earlier_than_its_predecessor_is_due_with_it() {
        let mut schedule = paced(1.0);
        schedule.due(at(100), 0);
        assert_eq!(schedule.due(at(600), 0), 500);
        assert_eq!(schedule.due(at(300), 0), 500);
        assert_eq!(schedule.due(at(700), 0), 600);
    }

    #[test]
    fn a_pause_shifts_the_rest_and_makes_no_burst() {
        let mut schedule = paced(1.0);
        schedule.due(at(0), 0);
        schedule.shift(10_000);
        assert_eq!(schedule.due(at(5), 10_001), 10_005);
    }

    #[test]
    fn a_change_of_speed_starts_from_where_the_schedule_stood() {
        let mut schedule = paced(2.0);
        schedule.due(at(0), 0);
        schedule.set_speedup(Speedup::new(4.0).unwrap(), 100);
        assert_eq!(schedule.due(at(200 + 400), 100), 200);
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

    #[test]
    fn a_negative_or_endless_speedup_is_refused() {
        for text in ["-1", "NaN", "inf", "fast"] {
            assert!(text.parse::<Speedup>().is_err(), "{text}");
        }
        assert!("0".parse::<Speedup>().unwrap().is_unpaced());
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
    }
}
