//! The pace of a stream: what makes the next event due.
//!
//! | pace | an event is due | written |
//! |---|---|---|
//! | speedup | when the event time that passed since the anchor, divided by the speedup, has passed on the wall | `600`; `0`: at once |
//! | rate | when as many events are due as came before it since the anchor: the rate, summed up over the wall time, is its number | `500`, or steps `0:100,60:500`, or a ramp `0:100..500,60:500` |
//!
//! Everything here is a pure function of numbers; [`schedule`](crate::lead::schedule) holds
//! the anchor.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RateStep {
    /// Seconds after the schedule's wall origin.
    pub offset_s: f64,
    /// Events a second at the offset; 0 holds the stream still.
    pub rate: f64,
    /// Events a second just before the next step, to which the rate goes in a straight line;
    /// `None` keeps it until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ramp_to: Option<f64>,
}

impl RateStep {
    /// A rate that is kept until the next step.
    pub const fn new(offset_s: f64, rate: f64) -> Self {
        Self {
            offset_s,
            rate,
            ramp_to: None,
        }
    }

    /// The same step, on which the rate goes in a straight line to `rate` until the next step; `None`
    /// keeps it.
    #[must_use]
    pub const fn ramping_to(mut self, rate: Option<f64>) -> Self {
        self.ramp_to = rate;
        self
    }

    fn end(self) -> f64 {
        self.ramp_to.unwrap_or(self.rate)
    }

    /// Whether no event is due for as long as it lasts.
    fn holds_still(self) -> bool {
        self.rate <= 0.0 && self.end() <= 0.0
    }
}

/// A rate that may change in steps and on ramps. The first step begins at 0, each later one after
/// the one before, and the last one keeps a rate above 0.
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
        Self::new(vec![RateStep::new(0.0, rate)])
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
            if ![step.offset_s, step.rate, step.end()]
                .into_iter()
                .all(is_usable)
            {
                return Err(format!(
                    "{step} is no step: offset and rates are numbers of at least 0"
                ));
            }
        }
        if last.ramp_to.is_some() {
            return Err(format!(
                "the last step, {last}, is a ramp without an end: a step behind it says where it ends"
            ));
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
            let mean_rate = f64::midpoint(pair[0].rate, pair[0].end());
            before.push(before[before.len() - 1] + lasts * mean_rate);
        }
        Ok(Self { steps, before })
    }

    /// The same schedule at an equal part of each rate; of 0 parts, the whole.
    #[must_use]
    pub fn divided_by(&self, parts: u32) -> Self {
        let parts = f64::from(parts.max(1));
        self.with_rates(|rate| rate / parts)
    }

    /// The same schedule at a multiple of each rate: undoes [`RateSteps::divided_by`]; of 0, the
    /// same.
    #[must_use]
    pub fn multiplied_by(&self, times: u32) -> Self {
        let times = f64::from(times.max(1));
        self.with_rates(|rate| rate * times)
    }

    fn with_rates(&self, of: impl Fn(f64) -> f64) -> Self {
        let steps = self.steps.iter().map(|step| RateStep {
            rate: of(step.rate),
            ramp_to: step.ramp_to.map(&of),
            ..*step
        });
        Self {
            steps: steps.collect(),
            before: self.before.iter().map(|count| of(*count)).collect(),
        }
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
        let into = offset_s - self.steps[index].offset_s;
        let mean_rate = self.steps[index].rate + self.slope(index) * into / 2.0;
        self.before[index] + into * mean_rate
    }

    /// By how much the rate changes in a second of a step.
    fn slope(&self, index: usize) -> f64 {
        let step = self.steps[index];
        match (step.ramp_to, self.steps.get(index + 1)) {
            (Some(end), Some(next)) => (end - step.rate) / (next.offset_s - step.offset_s),
            _ => 0.0,
        }
    }

    /// The seconds from the beginning of a step until `count` events of it are due.
    fn seconds_into(&self, index: usize, count: f64) -> f64 {
        let (rate, slope) = (self.steps[index].rate, self.slope(index));
        if count <= 0.0 {
            return 0.0;
        }
        if slope.abs() <= 0.0 {
            return count / rate;
        }
        // Of rate × t + slope / 2 × t² = count, the root that keeps its digits where the slope is
        // small.
        let at_count = (rate * rate + 2.0 * slope * count).max(0.0).sqrt();
        2.0 * count / (rate + at_count)
    }

    /// The nanoseconds after the origin at which `count` events are due, rounded up so
    /// that nothing is ever early; 0 for a negative count.
    pub(crate) fn wall_ns(&self, count: f64) -> i64 {
        if count <= 0.0 && !self.steps[0].holds_still() {
            return 0;
        }
        let reaches = |index: &usize| {
            let ends = self.before.get(index + 1).copied();
            !self.steps[*index].holds_still() && ends.is_none_or(|ends| count <= ends)
        };
        let index = (0..self.steps.len()).find(reaches);
        let index = index.unwrap_or(self.steps.len() - 1);
        let into = self.seconds_into(index, count - self.before[index]);
        ((self.steps[index].offset_s + into) * NANOS).ceil() as i64
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
            let (offset, rate) = text.split_once(':').ok_or_else(|| {
                format!("`{text}` is no step: OFFSET_S:RATE or OFFSET_S:FROM..TO")
            })?;
            let (rate, ramp_to) = match rate.split_once("..") {
                Some((from, to)) => (number(from)?, Some(number(to)?)),
                None => (number(rate)?, None),
            };
            Ok(RateStep::new(number(offset)?, rate).ramping_to(ramp_to))
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
            write!(f, "{comma}{step}")?;
        }
        Ok(())
    }
}

/// As it is parsed.
impl fmt::Display for RateStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.offset_s, self.rate)?;
        match self.ramp_to {
            Some(rate) => write!(f, "..{rate}"),
            None => Ok(()),
        }
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

    /// The pace of the one that is given: a speedup, or the steps of a rate.
    ///
    /// # Errors
    /// A sentence, if both are given or none, or the one that is given is no pace.
    pub fn of(speedup: Option<f64>, rate: Option<Vec<RateStep>>) -> Result<Self, String> {
        match (speedup, rate) {
            (Some(factor), None) => {
                let speedup = Speedup::new(factor);
                Ok(speedup.ok_or("a speedup is at least 0")?.into())
            }
            (None, Some(steps)) => Ok(RateSteps::new(steps)?.into()),
            _ => Err("a pace is a speedup or a rate".to_owned()),
        }
    }

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

/// `{"speedup": X}`, or `{"rate": [{"offset_s": S, "rate": R}, …]}`, a ramp with its `ramp_to`.
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

/// As it is serialized.
impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Pace", deny_unknown_fields)]
        struct Written {
            speedup: Option<f64>,
            rate: Option<Vec<RateStep>>,
        }
        let Written { speedup, rate } = Written::deserialize(deserializer)?;
        Self::of(speedup, rate).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
