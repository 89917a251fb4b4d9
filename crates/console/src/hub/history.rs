//! A stream over the last minutes: a point a snapshot.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use wsp::push::RetryCause;
use wsp::replay::{Counters, LatenessHistogram};

use super::snapshot::{Snapshot, millis};

/// Points that are kept of a stream: ten minutes of two a second.
const POINTS: usize = 1_200;

/// What a stream did between two snapshots. On the wire it is an array, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Seconds since 1970.
    at_s: f64,
    /// Events acknowledged a second.
    rate: f64,
    /// Lateness at sending of the events acknowledged meanwhile, in milliseconds; `None` of none.
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
    /// Posts made again a second.
    retries: f64,
    permits_in_use: u64,
    buffered: u64,
}

impl Serialize for Point {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let short = |number: f64| (number * 1e3).round() / 1e3;
        (
            short(self.at_s),
            short(self.rate),
            self.p50_ms.map(short),
            self.p99_ms.map(short),
            self.max_ms.map(short),
            short(self.retries),
            self.permits_in_use,
            self.buffered,
        )
            .serialize(serializer)
    }
}

/// The last points of a stream, numbered from its first.
#[derive(Debug, Default)]
pub(crate) struct History {
    points: VecDeque<Point>,
    /// The number of the first point that is kept.
    first: u64,
    before: Option<Before>,
}

/// What the last point was measured to.
#[derive(Debug)]
struct Before {
    at_s: f64,
    acknowledged: u64,
    retries: u64,
    lateness: LatenessHistogram,
}

impl History {
    /// Adds what the stream did up to a snapshot of this moment.
    pub(crate) fn add(&mut self, snapshot: &Snapshot, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_s = since.as_secs_f64();
        let counters = &snapshot.counters;
        let now = Before {
            at_s,
            acknowledged: counters.all_acknowledged(),
            retries: all_retries(counters),
            lateness: counters.lateness.send.clone(),
        };
        let Some(before) = self.before.replace(now) else {
            return;
        };
        let seconds = (at_s - before.at_s).max(1e-3);
        let a_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let late = counters.lateness.send.since(&before.lateness);
        let at = |quantile| late.at_quantile(quantile).map(millis);
        if self.points.len() == POINTS {
            self.points.pop_front();
            self.first += 1;
        }
        self.points.push_back(Point {
            at_s,
            rate: a_second(counters.all_acknowledged(), before.acknowledged),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: late.max().map(millis),
            retries: a_second(all_retries(counters), before.retries),
            permits_in_use: counters.permits_in_use,
            buffered: snapshot.buffered,
        });
    }

    /// The points from number `from` on, as far as they are kept, and the number of the next one.
    pub(crate) fn since(&self, from: u64) -> (Vec<Point>, u64) {
        let skipped = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let points = self.points.iter().skip(skipped).copied().collect();
        (points, self.first + self.points.len() as u64)
    }
}

fn all_retries(counters: &Counters) -> u64 {
    let causes = RetryCause::ALL.into_iter();
    causes.map(|cause| counters.retries.get(cause)).sum()
}
