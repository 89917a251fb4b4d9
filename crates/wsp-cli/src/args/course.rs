//! What is streamed, and when: the arguments that `stream` and `plan` have in common.

use std::time::Duration;

use clap::Args;
use wsp::profile::OrderMode;
use wsp::{Bounds, EventTime, Overrides, Pace, RateSteps, Speedup, TimeWindow};

use super::parse_order;

/// Which events are streamed, in which order and when.
#[derive(Debug, Args)]
pub struct CourseArgs {
    /// The order of the events: event_time or as_written.
    #[arg(long, value_name = "ORDER", value_parser = parse_order)]
    pub order: Option<OrderMode>,
    /// Nothing before this event time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub from: Option<EventTime>,
    /// Nothing at or after this event time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub to: Option<EventTime>,
    /// At most so many events, over all outputs.
    #[arg(long, value_name = "N")]
    pub max_events: Option<u64>,
    /// At most so many events of each output.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_events_per_output: Option<u64>,
    /// Event seconds per wall second; 0 is as fast as possible.
    #[arg(long, value_name = "X", conflicts_with = "rate")]
    pub speedup: Option<Speedup>,
    /// Events per wall second, whatever their times: 500, or steps OFFSET_S:RATE like 0:100,60:500, or
    /// with a ramp OFFSET_S:FROM..TO like 0:100..500,60:500.
    #[arg(long, value_name = "R")]
    pub rate: Option<RateSteps>,
    /// At most so many events a second, whatever the pace: 500, or steps and ramps as for --rate.
    #[arg(long, value_name = "R")]
    pub max_rate: Option<RateSteps>,
    /// When the schedule begins, by the wall clock (RFC 3339); a time that has passed counts too.
    #[arg(long, value_name = "TIME")]
    pub start_at: Option<EventTime>,
    /// Which event time is due when the schedule begins (RFC 3339); else the first event's.
    #[arg(long, value_name = "TIME", conflicts_with = "rate")]
    pub time_origin: Option<EventTime>,
    /// Wait at most this many seconds from one event to the next: a longer gap is cut, and the rest follows.
    #[arg(long, value_name = "S", value_parser = parse_seconds, conflicts_with_all = ["rate", "time_origin"])]
    pub max_gap: Option<Duration>,
}

impl CourseArgs {
    /// What these arguments set.
    pub fn overrides(self) -> Overrides {
        let rate = self.rate.map(Pace::from);
        Overrides {
            order: self.order,
            window: TimeWindow {
                from: self.from,
                to: self.to,
            },
            bounds: Bounds {
                events: self.max_events,
                events_per_output: self.max_events_per_output,
            },
            pace: rate.or(self.speedup.map(Pace::from)),
            max_rate: self.max_rate,
            start_at: self.start_at,
            time_origin: self.time_origin,
            max_gap: self.max_gap,
            ..Overrides::default()
        }
    }
}

/// Seconds, above zero.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("`{text}` is no number of seconds above zero"))
}
