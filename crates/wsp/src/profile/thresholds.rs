//! Thresholds: conditions on the figures of a run, under which it has failed or is ended.
//!
//! ```text
//! condition = figure comparison number [unit]
//! abort     = condition ["for" duration] ["after" duration]
//!
//! comparison = "<" | "<=" | ">" | ">=" | "==" | "!="
//! unit       = "us" | "ms" | "s" | "min" | "h"      of a figure in milliseconds or seconds
//!            | "/s" | "/min"                        of a figure a second
//! duration   = number ("ms" | "s" | "min" | "h")
//! number     = digits ["." digits]
//! ```
//!
//! A number without a unit is in the unit of its figure. A condition says what is *bad*: a run
//! fails if the condition is true. What is printed is parsed to the same.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use replay::{OnReject, Pace};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::figure::{Figure, FigureUnit};
use super::places::shown as shown_text;

/// The longest stretch that an abort condition may look at.
const LONGEST_WINDOW: Duration = Duration::from_hours(24);
/// The shortest one: progress is told a few times a second.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
/// The longest that an abort condition may leave a run alone at first.
const LATEST_START: Duration = Duration::from_hours(24 * 7);
/// Larger numbers have no use, and fewer than all digits.
const LARGEST_NUMBER: f64 = 1e15;

/// The conditions under which a run has failed, or is ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thresholds {
    /// A streamed run fails if one of these is true of it; none by default.
    pub fail_if: Vec<Condition>,
    /// A run ends as soon as one of these is true of its last stretch; none by default.
    pub abort_if: Vec<AbortCondition>,
}

/// What is bad in a run: a figure beside a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// The figure that is looked at.
    pub figure: Figure,
    /// How the figure is compared with the number.
    pub comparison: Comparison,
    /// The number, in the unit of the figure.
    pub number: f64,
}

/// What is bad in a stretch of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AbortCondition {
    /// What is bad.
    pub condition: Condition,
    /// The length of the stretch, in time in which events might leave; 10 s by default.
    pub window: Duration,
    /// How much of that time passes before the first stretch begins; 30 s by default.
    pub after: Duration,
}

/// How a figure is compared with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Comparison {
    /// Longer ones before those that they begin with.
    const NAMED: [(&'static str, Self); 6] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("!=", Self::Unequal),
        ("<", Self::Below),
        (">", Self::Above),
    ];

    fn as_str(self) -> &'static str {
        let named = Self::NAMED.iter().find(|(_, known)| *known == self);
        named.map_or("", |(text, _)| text)
    }
}

impl Condition {
    /// Whether the condition is true of this value of its figure.
    #[expect(
        clippy::float_cmp,
        reason = "whoever writes `==` asks for the very number"
    )]
    pub fn is_true_of(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Below => value < self.number,
            Comparison::AtMost => value <= self.number,
            Comparison::Above => value > self.number,
            Comparison::AtLeast => value >= self.number,
            Comparison::Equal => value == self.number,
            Comparison::Unequal => value != self.number,
        }
    }

    /// Of two values, the one that is nearer to what the condition calls bad.
    pub(crate) fn worse_of(&self, one: f64, other: f64) -> f64 {
        match self.comparison {
            Comparison::Below | Comparison::AtMost => one.min(other),
            Comparison::Above | Comparison::AtLeast => one.max(other),
            Comparison::Equal | Comparison::Unequal => other,
        }
    }
}

impl AbortCondition {
    /// Ends a run whose figure is bad over 10 s, after its first 30 s.
    fn of(condition: Condition) -> Self {
        Self {
            condition,
            window: Duration::from_secs(10),
            after: Duration::from_secs(30),
        }
    }
}

impl Thresholds {
    /// Whether there is none.
    pub fn are_none(&self) -> bool {
        self.fail_if.is_empty() && self.abort_if.is_empty()
    }

    /// Why a run of this pace, and with this end of rejected events, cannot have one of the
    /// figures; `None` if it can have them all.
    pub(crate) fn impossible(&self, pace: &Pace, on_reject: OnReject) -> Option<String> {
        let aborting = self.abort_if.iter().map(|abort| abort.condition.figure);
        let failing = self.fail_if.iter().map(|condition| condition.figure);
        failing.chain(aborting).find_map(|figure| match figure {
            Figure::Lateness(..) if pace.is_unpaced() => Some(format!(
                "`{figure}` is a figure of a paced run: without a pace no event is due at any time"
            )),
            Figure::Quarantined if on_reject == OnReject::Stop => Some(format!(
                "`{figure}` is a figure of a run that sets rejected events aside, and the first one \
                 ends this run"
            )),
            _ => None,
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = self.comparison.as_str();
        write!(f, "{} {comparison} {}", self.figure, self.number)
    }
}

impl fmt::Display for AbortCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (window, after) = (shown(self.window), shown(self.after));
        write!(f, "{} for {window} after {after}", self.condition)
    }
}

fn shown(time: Duration) -> String {
    let millis = time.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl<'de> Deserialize<'de> for AbortCondition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

fn parsed<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    let refused = |problem| D::Error::custom(format_args!("is {}: {problem}", shown_text(&text)));
    text.parse().map_err(refused)
}

impl FromStr for Condition {
    type Err = String;

    /// # Errors
    /// A sentence that says what is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = Words(text);
        let condition = words.condition()?;
        words.end()?;
        Ok(condition)
    }
}

impl FromStr for AbortCondition {
    type Err = String;

    /// # Errors
    /// A sentence that says what is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = Words(text);
        let mut abort = Self::of(words.condition()?);
        let figure = abort.condition.figure;
        if !figure.has_window() {
            return Err(format!(
                "`{figure}` is a figure of a whole run: judge it by fail_if"
            ));
        }
        if words.take("for") {
            abort.window = words.duration("for")?;
        }
        if words.take("after") {
            abort.after = words.duration("after")?;
        }
        words.end()?;
        if !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&abort.window) {
            let window = shown(abort.window);
            return Err(format!("a stretch of {window} is not between 1s and 24h"));
        }
        if abort.after > LATEST_START {
            let after = shown(abort.after);
            return Err(format!("it begins after {after}, and 7 days are the most"));
        }
        Ok(abort)
    }
}

/// What is left of a condition to be read.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn rest(&mut self) -> &'a str {
        self.0 = self.0.trim_start();
        self.0
    }

    /// The characters up to the first that is none of these.
    fn run_of(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        self.0 = behind;
        run
    }

    /// Passes over a word, if it is the next.
    fn take(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let behind = rest.strip_prefix(word);
        let behind = behind.filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()));
        self.0 = behind.unwrap_or(rest);
        behind.is_some()
    }

    fn end(&mut self) -> Result<(), String> {
        match self.rest() {
            "" => Ok(()),
            rest => Err(format!(
                "`{rest}` is too much: FIGURE COMPARISON NUMBER, and for a run to be aborted `for TIME after TIME`"
            )),
        }
    }

    fn condition(&mut self) -> Result<Condition, String> {
        let name = self.run_of(|c| c.is_alphanumeric() || c == '_');
        let figure: Figure = name.parse()?;
        let rest = self.rest();
        let found = Comparison::NAMED
            .iter()
            .find_map(|(text, comparison)| Some((rest.strip_prefix(text)?, *comparison)));
        let Some((behind, comparison)) = found else {
            return Err(format!(
                "a comparison stands behind `{figure}`: one of <, <=, >, >=, ==, !="
            ));
        };
        self.0 = behind;
        let number = self.number()?;
        let (times, over) = self.unit_of(figure)?;
        Ok(Condition {
            figure,
            comparison,
            number: checked(number * times / over)?,
        })
    }

    fn number(&mut self) -> Result<f64, String> {
        let digits = self.run_of(|c| c.is_ascii_digit() || c == '.');
        let is_plain = digits.starts_with(|c: char| c.is_ascii_digit()) && !digits.ends_with('.');
        let number = digits.parse().ok().filter(|_| is_plain);
        let number: f64 = number.ok_or_else(|| {
            let what = if digits.is_empty() {
                self.rest()
            } else {
                digits
            };
            format!("`{what}` is no number: digits, and at most one point between them")
        })?;
        checked(number)
    }

    /// By what a number is multiplied, and then divided, to be in the unit of its figure.
    fn unit_of(&mut self, figure: Figure) -> Result<(f64, f64), String> {
        let rest = self.rest();
        if rest.is_empty() || rest.starts_with("for ") || rest.starts_with("after ") {
            return Ok((1.0, 1.0));
        }
        let unit = self.run_of(|c| c.is_alphabetic() || c == '/');
        let factors = match figure.unit() {
            FigureUnit::Milliseconds => millis_of(unit),
            FigureUnit::Seconds => millis_of(unit).map(|(times, over)| (times, over * 1_000.0)),
            FigureUnit::PerSecond if unit == "/s" => Some((1.0, 1.0)),
            FigureUnit::PerSecond if unit == "/min" => Some((1.0, 60.0)),
            FigureUnit::PerSecond | FigureUnit::Count => None,
        };
        factors.ok_or_else(|| format!("`{unit}{}` is no unit of `{figure}`", self.0))
    }

    fn duration(&mut self, word: &str) -> Result<Duration, String> {
        let number = self.number()?;
        let unit = self.run_of(char::is_alphabetic);
        let factors = millis_of(unit).filter(|_| unit != "us");
        let (times, over) = factors.ok_or_else(|| {
            format!("a time with its unit stands behind `{word}`: 500ms, 10s, 2min or 1h")
        })?;
        Ok(Duration::from_millis((number * times / over).round() as u64))
    }
}

/// By what a number of a unit of time is multiplied, and then divided, to be in milliseconds.
fn millis_of(unit: &str) -> Option<(f64, f64)> {
    match unit {
        "us" => Some((1.0, 1_000.0)),
        "ms" => Some((1.0, 1.0)),
        "s" => Some((1_000.0, 1.0)),
        "min" => Some((60_000.0, 1.0)),
        "h" => Some((3_600_000.0, 1.0)),
        _ => None,
    }
}

fn checked(number: f64) -> Result<f64, String> {
    let is_usable = number.is_finite() && number <= LARGEST_NUMBER;
    is_usable
        .then_some(number)
        .ok_or_else(|| format!("{number} is more than {LARGEST_NUMBER}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use replay::{RateSteps, Speedup};

    use super::*;

    fn condition() -> impl Strategy<Value = Condition> {
        let figure = prop::sample::select(Figure::NAMED.map(|(_, figure)| figure).to_vec());
        let comparison = prop::sample::select(Comparison::NAMED.map(|(_, of)| of).to_vec());
        let number = prop_oneof![
            (0_u32..100_000).prop_map(f64::from),
            0.0..1e6,
            0.0..LARGEST_NUMBER,
            Just(0.0),
            Just(f64::MIN_POSITIVE),
        ];
        (figure, comparison, number).prop_map(|(figure, comparison, number)| Condition {
            figure,
            comparison,
            number,
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed_to_the_same(
            condition in condition(),
            window_ms in 1_000_u64..=86_400_000,
            after_ms in 0_u64..=604_800_000,
        ) {
            prop_assert_eq!(condition.to_string().parse(), Ok(condition));
            let abort = AbortCondition {
                condition,
                window: Duration::from_millis(window_ms),
                after: Duration::from_millis(after_ms),
            };
            let parsed = abort.to_string().parse::<AbortCondition>();
            if condition.figure.has_window() {
                prop_assert_eq!(parsed, Ok(abort));
            } else {
                prop_assert!(parsed.is_err());
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_is_printed_and_taken_again(
            text in "(lateness_ack_p99_ms|retries|events_per_second|[a-z_]{0,9}) ?[<>=!é]{0,2} ?[0-9.]{0,20} ?(ms|s|/s|/min|µs)? ?(for ?[0-9]{0,30}(s|h)?)?( after .{0,8})?",
        ) {
            if let Ok(abort) = text.parse::<AbortCondition>() {
                prop_assert_eq!(abort.to_string().parse(), Ok(abort));
            }
            if let Ok(condition) = text.parse::<Condition>() {
                prop_assert_eq!(condition.to_string().parse(), Ok(condition));
            }
        }
    }

    #[test]
    fn units_spaces_and_defaults_are_understood() {
        let shown = |text: &str| text.parse::<AbortCondition>().unwrap().to_string();
        for (text, expected) in [
            ("retries>0", "retries > 0 for 10s after 30s"),
            (
                " lateness_send_p99_ms  >= 0.05s for 2min",
                "lateness_send_p99_ms >= 50 for 120s after 30s",
            ),
            (
                "lateness_ack_max_ms > 1500us after 0s",
                "lateness_ack_max_ms > 1.5 for 10s after 0s",
            ),
            (
                "events_per_second < 6000/min for 1500ms after 1h",
                "events_per_second < 100 for 1500ms after 3600s",
            ),
            ("outages_s > 2min", "outages_s > 120 for 10s after 30s"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_a_sentence() {
        for (text, part) in [
            ("", "is no figure"),
            ("latency > 5", "known are lateness_send_p50_ms"),
            ("retries", "a comparison stands behind"),
            ("retries = 5", "a comparison stands behind"),
            ("retries > many", "`many` is no number"),
            ("retries > -1", "is no number"),
            ("retries > 1.2.3", "is no number"),
            ("retries > 1e3", "is no unit of `retries`"),
            ("retries > 5 ms", "`ms` is no unit of `retries`"),
            ("events_per_second < 5 s", "is no unit of"),
            ("retries > 9999999999999999", "is more than"),
            ("retries > 5 for 5", "a time with its unit"),
            ("retries > 5 for 10us", "a time with its unit"),
            ("retries > 5 for 999ms", "is not between 1s and 24h"),
            ("retries > 5 for 25h", "is not between 1s and 24h"),
            ("retries > 5 after 200h", "7 days are the most"),
            ("retries > 5 after 1s for 2s", "`for 2s` is too much"),
            ("wall_s > 5", "judge it by fail_if"),
        ] {
            let refused = text.parse::<AbortCondition>().unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
        let refused = "retries > 5 for 10s".parse::<Condition>().unwrap_err();
        assert!(refused.contains("is too much"), "{refused}");
    }

    #[test]
    fn each_comparison_is_true_of_what_it_says() {
        let is_true = |text: &str, value| text.parse::<Condition>().unwrap().is_true_of(value);
        for (text, below, at, above) in [
            ("retries < 5", true, false, false),
            ("retries <= 5", true, true, false),
            ("retries > 5", false, false, true),
            ("retries >= 5", false, true, true),
            ("retries == 5", false, true, false),
            ("retries != 5", true, false, true),
        ] {
            assert_eq!(is_true(text, 4.0), below, "{text}");
            assert_eq!(is_true(text, 5.0), at, "{text}");
            assert_eq!(is_true(text, 6.0), above, "{text}");
        }
    }

    #[test]
    fn a_figure_that_a_run_cannot_have_is_named() {
        let of = |text: &str| Thresholds {
            fail_if: Vec::new(),
            abort_if: vec![text.parse().unwrap()],
        };
        let rate: RateSteps = "5".parse().unwrap();
        let (late, aside) = (of("lateness_send_p99_ms > 5"), of("quarantined > 0"));
        let unpaced = Pace::from(Speedup::UNPACED);
        let why = late.impossible(&unpaced, OnReject::Quarantine).unwrap();
        assert!(why.contains("`lateness_send_p99_ms`"), "{why}");
        assert_eq!(late.impossible(&rate.into(), OnReject::Stop), None);
        let why = aside.impossible(&unpaced, OnReject::Stop).unwrap();
        assert!(why.contains("`quarantined`"), "{why}");
        assert_eq!(aside.impossible(&unpaced, OnReject::Quarantine), None);
    }
}
