//! The pace of a stream: what makes the next event due.
//!
//! | pace | an event is due | written |
//! |---|---|---|
//! | speedup | when the event time that passed since the anchor, divided by the speedup, has passed on the wall | `600`; `0`: at once |
//! | rate | when as many events are due as came before it since the anchor: the rate, summed up over the wall time, is its number | `500`, or steps `0:100,60:500` |
//!
//! Everything here is a pure function of numbers; [`schedule`](crate::lead::schedule) holds
//! the anchor.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

const NANOS: f64 = 1e9;

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
    /// nothing is ever early; 0 for a negative time. Saturates at 292 years.
    pub(crate) fn wall_ns(self, event_ns: i128) -> i64 {
        if event_ns <= 0 {
            return 0;
        }
        if (self.0 - 1.0).abs() < f64::EPSILON {
            return i64::try_from(event_ns).unwrap_or(i64::MAX);
        }
        // A float holds 104 days of nanoseconds exactly; beyond that the error is
        // a few nanoseconds of the whole, not of each step.
        (event_ns as f64 / self.0).ceil() as i64
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

/// From an offset on, so many events a wall second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RateStep {
    /// Seconds after the schedule's wall origin.
    pub offset_s: f64,
    /// Events a second; 0 holds the stream still until the next step.
    pub rate: f64,
}

/// A rate that may change in steps. The first step begins at 0, each later one after
/// the one before, and the last one's rate is above 0.
#[derive(Debug, Clone, PartialEq)]
pub struct RateSteps {
    steps: Vec<RateStep>,
    /// Events due before each step begins.
    before: Vec<f64>,
}

impl RateSteps {
    /// One rate for good.
    ///
    /// # Errors
    /// A sentence, if the rate is not above 0.
    pub fn fixed(rate: f64) -> Result<Self, String> {
        let offset_s = 0.0;
        Self::new(vec![RateStep { offset_s, rate }])
    }

    /// Steps, each with its offset.
    ///
    /// # Errors
    /// A sentence that says which step is wrong.
    pub fn new(steps: Vec<RateStep>) -> Result<Self, String> {
        let Some((first, last)) = steps.first().zip(steps.last()) else {
            return Err("a rate schedule has at least one step".to_owned());
        };
        if first.offset_s.abs() > 0.0 {
            return Err("the first step of a rate schedule begins at offset 0".to_owned());
        }
        for step in &steps {
            let is_usable = |number: f64| number.is_finite() && number >= 0.0;
            if !is_usable(step.rate) || !is_usable(step.offset_s) {
                return Err(format!(
                    "{}:{} is no step: offset and rate are numbers of at least 0",
                    step.offset_s, step.rate
                ));
            }
        }
        if last.rate <= 0.0 {
            return Err("the last rate is not above 0: the stream would never end".to_owned());
        }
        let mut before = vec![0.0];
        for pair in steps.windows(2) {
            let lasts = pair[1].offset_s - pair[0].offset_s;
            if lasts <= 0.0 {
                return Err(format!(
                    "the step at {} s does not come after the one at {} s",
                    pair[1].offset_s, pair[0].offset_s
                ));
            }
            before.push(before[before.len() - 1] + lasts * pair[0].rate);
        }
        Ok(Self { steps, before })
    }

    /// The steps.
    pub fn steps(&self) -> &[RateStep] {
        &self.steps
    }

    /// How many events are due until `wall_ns` after the origin, fractions included.
    pub(crate) fn count_at(&self, wall_ns: i64) -> f64 {
        let offset_s = wall_ns as f64 / NANOS;
        let begun = self.steps.partition_point(|step| step.offset_s <= offset_s);
        let Some(index) = begun.checked_sub(1) else {
            return 0.0;
        };
        let step = self.steps[index];
        self.before[index] + (offset_s - step.offset_s) * step.rate
    }

    /// The nanoseconds after the origin at which `count` events are due, rounded up so
    /// that nothing is ever early; 0 for a negative count.
    pub(crate) fn wall_ns(&self, count: f64) -> i64 {
        if count <= 0.0 && self.steps[0].rate > 0.0 {
            return 0;
        }
        let reaches = |index: &usize| {
            let ends = self.before.get(index + 1).copied();
            self.steps[*index].rate > 0.0 && ends.is_none_or(|ends| count <= ends)
        };
        let index = (0..self.steps.len()).find(reaches);
        let index = index.unwrap_or(self.steps.len() - 1);
        let step = self.steps[index];
        let into = (count - self.before[index]).max(0.0) / step.rate;
        ((step.offset_s + into) * NANOS).ceil() as i64
    }
}

impl FromStr for RateSteps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let parsed = text.trim().parse::<f64>();
            parsed.map_err(|_| format!("`{text}` is not a number"))
        };
        if !text.contains(':') {
            return Self::fixed(number(text)?);
        }
        let step = |text: &str| {
            let (offset, rate) = text
                .split_once(':')
                .ok_or_else(|| format!("`{text}` is no step: OFFSET_S:RATE"))?;
            Ok(RateStep {
                offset_s: number(offset)?,
                rate: number(rate)?,
            })
        };
        let steps: Result<Vec<_>, String> = text.split(',').map(step).collect();
        Self::new(steps?)
    }
}

/// As it is parsed.
impl fmt::Display for RateSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [step] = self.steps() {
            return write!(f, "{}", step.rate);
        }
        for (index, step) in self.steps.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", step.offset_s, step.rate)?;
        }
        Ok(())
    }
}

/// What makes the next event due. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// Its own time, so many times as fast.
    Speedup(Speedup),
    /// Its number, at a rate.
    Rate(Arc<RateSteps>),
}

impl Pace {
    /// Events that never wait.
    pub const UNPACED: Self = Self::Speedup(Speedup::UNPACED);

    /// Whether events wait for nothing.
    pub fn is_unpaced(&self) -> bool {
        matches!(self, Self::Speedup(speedup) if speedup.is_unpaced())
    }
}

impl Default for Pace {
    /// One event second a wall second.
    fn default() -> Self {
        Self::Speedup(Speedup::default())
    }
}

impl From<Speedup> for Pace {
    fn from(speedup: Speedup) -> Self {
        Self::Speedup(speedup)
    }
}

impl From<RateSteps> for Pace {
    fn from(steps: RateSteps) -> Self {
        Self::Rate(Arc::new(steps))
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Speedup(speedup) if speedup.is_unpaced() => f.write_str("unpaced"),
            Self::Speedup(speedup) => write!(f, "{} times", speedup.factor()),
            Self::Rate(rate) => match rate.steps() {
                [step] => write!(f, "{} /s", step.rate),
                steps => write!(f, "{} /s in {} steps", steps[0].rate, steps.len()),
            },
        }
    }
}

/// `{"speedup": X}`, or `{"rate": [{"offset_s": S, "rate": R}, …]}`.
impl Serialize for Pace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Speedup(speedup) => map.serialize_entry("speedup", &speedup.factor())?,
            Self::Rate(rate) => map.serialize_entry("rate", rate.steps())?,
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_negative_or_endless_speedup_is_refused() {
        for text in ["-1", "NaN", "inf", "fast"] {
            assert!(text.parse::<Speedup>().is_err(), "{text}");
        }
        assert!("0".parse::<Speedup>().unwrap().is_unpaced());
    }

    #[test]
    fn rates_that_never_end_or_make_no_sense_are_refused() {
        for text in [
            "0",
            "-5",
            "inf",
            "",
            "fast",
            "5:100",
            "0:100,0:200",
            "0:100,60:0",
            "0:1,x:2",
            "0:10,60:5,30:7",
            "0:-1,5:3",
            "0:1;2",
        ] {
            assert!(text.parse::<RateSteps>().is_err(), "{text}");
        }
        assert_eq!("500".parse::<RateSteps>().unwrap().steps().len(), 1);
        assert_eq!("0:0, 60:500".parse::<RateSteps>().unwrap().steps().len(), 2);
    }

    #[test]
    fn steps_add_up_and_a_rate_of_zero_holds_still() {
        let steps: RateSteps = "0:10,2:0,5:100".parse().unwrap();
        let due = [0.0, 1.0, 20.0, 21.0, 120.0].map(|count| steps.wall_ns(count) / 1_000_000);
        assert_eq!(due, [0, 100, 2_000, 5_010, 6_000]);
        let counts = [-1, 0, 1_000_000_000, 4_000_000_000, 6_000_000_000];
        let counts = counts.map(|ns| steps.count_at(ns) as u64);
        assert_eq!(counts, [0, 0, 10, 20, 120]);
        let held: RateSteps = "0:0,3:5".parse().unwrap();
        assert_eq!(
            [0.0, 5.0].map(|n| held.wall_ns(n)),
            [3_000_000_000, 4_000_000_000]
        );
    }

    fn any_steps() -> impl Strategy<Value = RateSteps> {
        let step = (0.1f64..100.0, prop_oneof![Just(0.0), 0.1f64..50_000.0]);
        (proptest::collection::vec(step, 0..6), 0.1f64..50_000.0).prop_map(|(parts, last)| {
            let mut offset_s = 0.0;
            let mut steps: Vec<_> = parts
                .into_iter()
                .map(|(lasts, rate)| {
                    let step = RateStep { offset_s, rate };
                    offset_s += lasts;
                    step
                })
                .collect();
            let rate = last;
            steps.push(RateStep { offset_s, rate });
            RateSteps::new(steps).unwrap()
        })
    }

    proptest! {
        /// Law: never before due. When an event leaves, as many are due as came before it.
        #[test]
        fn no_event_is_due_before_the_rate_has_come_to_it(
            steps in any_steps(), number in 0u32..3_000_000,
        ) {
            let count = f64::from(number);
            let due = steps.wall_ns(count);
            let reached = steps.count_at(due);
            prop_assert!(reached >= count * (1.0 - 1e-12) - 1e-9, "{reached} < {count}");
            // Nor a moment later than need be: a nanosecond before, it was not reached, or
            // only just.
            let before = steps.count_at(due - 2);
            prop_assert!(due <= 2 || before <= count + 1e-3, "{before} > {count}");
        }

        #[test]
        fn due_times_never_go_back(steps in any_steps(), number in 0u32..3_000_000) {
            let count = f64::from(number);
            prop_assert!(steps.wall_ns(count) <= steps.wall_ns(count + 1.0));
        }
    }
}
