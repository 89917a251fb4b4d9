//! What a run would hand over and how long that takes, if nothing made it late: the schedule, run
//! through in no time.

use envelope::EventTime;

use crate::Error;
use crate::lead::course::Bounds;
use crate::lead::schedule::Schedule;
use crate::order::TimesInOrder;
use crate::time::WallNs;

const SECOND: WallNs = 1_000_000_000;

/// What a run would hand over, and when.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Forecast {
    /// The number of events that the run would hand over.
    pub events: u64,
    /// The event time of the first event; `None` where there is none.
    pub first_time: Option<EventTime>,
    /// The event time of the last event; `None` where there is none.
    pub last_time: Option<EventTime>,
    /// Seconds from the start until the first event is due, 0 where it was due before; `None` for an
    /// unpaced stream and for one without events.
    pub starts_in_s: Option<f64>,
    /// Seconds from when the first event leaves until the last one is due; `None` for an unpaced
    /// stream, which takes as long as the gate does, and for one without events.
    pub duration_s: Option<f64>,
    /// Events a second over the duration; `None` without one, or where it is 0.
    pub mean_events_per_second: Option<f64>,
    /// The most events that are due within one second of the duration; `None` without one.
    pub peak_events_per_second: Option<u64>,
    /// The number of events that were due before the start, and leave as fast as the gate takes
    /// them.
    pub overdue: u64,
    /// Whether `--max-events` or its like ends the run before its outputs do.
    pub is_bounded: bool,
    /// Whether every event time was read; else some were spread evenly over their part's time.
    pub is_exact: bool,
    /// What would be handed over of each output, in list order.
    pub of_outputs: Vec<OutputForecast>,
}

/// What a run would hand over of one output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputForecast {
    /// The number of events.
    pub events: u64,
    /// The earliest event time; `None` where there is no event.
    pub first_time: Option<EventTime>,
    /// The latest event time; `None` where there is no event.
    pub last_time: Option<EventTime>,
}

impl OutputForecast {
    fn take(&mut self, time: EventTime) {
        self.events += 1;
        self.first_time = Some(self.first_time.map_or(time, |first| first.min(time)));
        self.last_time = Some(self.last_time.map_or(time, |last| last.max(time)));
    }
}

/// Runs a schedule through the times of `outputs` outputs, up to their end or the bounds. Blocks.
///
/// # Errors
/// `MISSING_EVENT_TIME`, `EVENT_TIME_INVALID`, `ORACLE_READ_FAILED`.
pub fn forecast(
    mut times: TimesInOrder,
    mut schedule: Schedule,
    bounds: Bounds,
    outputs: usize,
) -> Result<Forecast, Error> {
    let is_paced = !schedule.is_unpaced();
    let mut of_outputs = vec![OutputForecast::default(); outputs];
    let (mut all, mut seconds) = (OutputForecast::default(), Seconds::default());
    let (mut first_time, mut last_time) = (None, None);
    let mut is_bounded = false;
    loop {
        if bounds.events.is_some_and(|most| all.events >= most) {
            is_bounded = true;
            break;
        }
        let Some(row) = times.next()? else { break };
        if row.anchors {
            schedule.restart();
        }
        if is_paced {
            seconds.take(&mut schedule, row.time);
        }
        all.take(row.time);
        first_time.get_or_insert(row.time);
        last_time = Some(row.time);
        let of_output = &mut of_outputs[row.output];
        of_output.take(row.time);
        if bounds
            .events_per_output
            .is_some_and(|most| of_output.events >= most)
        {
            times.leave_out(row.output);
            is_bounded = true;
        }
    }
    let has_schedule = is_paced && all.events > 0;
    let duration_s = has_schedule.then(|| (seconds.now - seconds.first) as f64 / 1e9);
    Ok(Forecast {
        events: all.events,
        first_time,
        last_time,
        starts_in_s: has_schedule.then(|| seconds.first as f64 / 1e9),
        duration_s,
        mean_events_per_second: duration_s
            .filter(|duration| *duration > 0.0)
            .map(|duration| all.events as f64 / duration),
        peak_events_per_second: has_schedule.then(|| seconds.peak.max(seconds.in_second)),
        overdue: seconds.overdue,
        is_bounded,
        is_exact: times.is_exact(),
        of_outputs,
    })
}

/// The wall seconds of a schedule in which no event is late but those that are so from the start.
#[derive(Debug, Default)]
struct Seconds {
    begun: bool,
    /// When the first event leaves.
    first: WallNs,
    /// When the last event so far leaves.
    now: WallNs,
    /// The second, from the first event on, that is being counted.
    second: i64,
    in_second: u64,
    peak: u64,
    overdue: u64,
}

impl Seconds {
    fn take(&mut self, schedule: &mut Schedule, time: EventTime) {
        let mut due = schedule.due(time, self.now);
        if self.now < due && schedule.cap_gap(due).is_some() {
            due = schedule.due(time, self.now);
        }
        let is_overdue = due < 0;
        self.now = self.now.max(due);
        schedule.left(due, self.now);
        if !self.begun {
            (self.begun, self.first) = (true, self.now);
        }
        if is_overdue {
            self.overdue += 1;
            return;
        }
        let second = (self.now - self.first) / SECOND;
        if second != self.second {
            self.peak = self.peak.max(self.in_second);
            (self.second, self.in_second) = (second, 0);
        }
        self.in_second += 1;
    }
}
