//! Judges a run by its thresholds: the last stretch while it runs, the whole at its end.
//!
//! A stretch is measured in time in which events might leave: what was paused, or had not begun, is
//! no part of it. Its figures are differences of two readings of the stream's counters, so that a
//! reading that was missed changes nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use replay::{Cause, Counters, Ending, LatenessReport, Percentiles, Progress, State};
use tokio::sync::watch;

use crate::profile::{AbortCondition, Condition, Figure, LatenessEnd, Percentile, Thresholds};
use crate::run::report::{Status, StreamReport};
use crate::run::threshold_report::{ThresholdKind, ThresholdReport, Verdict};
use crate::{Error, ReasonCode};

/// Readings that a stretch is made of: its length is known to within this share.
const READINGS: u32 = 32;

/// Judges a running stream by the conditions under which it is ended. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Judge(Arc<Mutex<Vec<Watched>>>);

/// One condition, and the readings that its last stretch is made of.
#[derive(Debug)]
struct Watched {
    abort: AbortCondition,
    readings: VecDeque<Counters>,
    worst: Option<f64>,
    is_broken: bool,
}

impl Judge {
    pub(crate) fn new(thresholds: &Thresholds) -> Self {
        let watched = thresholds.abort_if.iter().map(|&abort| Watched {
            abort,
            readings: VecDeque::new(),
            worst: None,
            is_broken: false,
        });
        Self(Arc::new(Mutex::new(watched.collect())))
    }

    /// Whether there is a condition to look at.
    pub(crate) fn has_work(&self) -> bool {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !watched.is_empty()
    }

    /// Looks at every snapshot until the stream is gone, and ends it in good order as soon as a
    /// condition is true.
    pub(crate) async fn watch(self, mut progress: watch::Receiver<Progress>, ending: Ending) {
        while progress.changed().await.is_ok() {
            let now = progress.borrow_and_update().clone();
            if ending.is_winding_down() || now.state == State::Ending {
                return;
            }
            if self.is_broken_by(&now.counters) {
                // A real failure while the stream drains is the one to report.
                ending.wind_down(Cause::Asked);
                return;
            }
        }
    }

    /// Takes a reading; whether a condition is true of the stretch that ends with it.
    fn is_broken_by(&self, now: &Counters) -> bool {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Each takes the reading, also behind one that is true.
        watched.iter_mut().fold(false, |is_broken, watched| {
            watched.take(now);
            is_broken || watched.is_broken
        })
    }

    /// Why the run was ended; `None` if no condition ended it.
    pub(crate) fn verdict(&self) -> Option<Error> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let broken = watched.iter().find(|watched| watched.is_broken)?;
        let value = broken.worst.unwrap_or_default();
        Some(Error::new(
            ReasonCode::ThresholdAborted,
            format!(
                "The threshold `{}` was broken: {} was {}",
                broken.abort,
                broken.abort.condition.figure,
                rounded(value)
            ),
            "Find out why, or mend the threshold; a rerun goes on behind the cursors.",
        ))
    }

    fn reports(&self) -> Vec<ThresholdReport> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reports = watched.iter().map(|watched| ThresholdReport {
            kind: ThresholdKind::AbortIf,
            condition: watched.abort.to_string(),
            value: watched.worst.map(rounded),
            verdict: match (watched.is_broken, watched.worst) {
                (true, _) => Verdict::Aborted,
                (false, Some(_)) => Verdict::Held,
                (false, None) => Verdict::NotJudged,
            },
        });
        reports.collect()
    }
}

impl Watched {
    fn take(&mut self, now: &Counters) {
        let active = now.active();
        if active < self.abort.after || self.is_broken {
            return;
        }
        let first_behind = |reading: &Counters| reading.active() + self.abort.window <= active;
        // The last reading before the stretch is where it begins.
        while self.readings.get(1).is_some_and(first_behind) {
            self.readings.pop_front();
        }
        let begin = self.readings.front().filter(|begin| first_behind(begin));
        let stretch = begin.map(|begin| Stretch { begin, end: now });
        let figure = self.abort.condition.figure;
        if let Some(value) = stretch.and_then(|stretch| stretch.value(figure)) {
            self.judge(value);
        }
        let step = self.abort.window / READINGS;
        let is_due = |last: &Counters| last.active() + step <= active;
        if self.readings.back().is_none_or(is_due) {
            self.readings.push_back(now.clone());
        }
    }

    fn judge(&mut self, value: f64) {
        let condition = self.abort.condition;
        self.is_broken = condition.is_true_of(value);
        self.worst = Some(match self.worst {
            Some(worst) if !self.is_broken => condition.worse_of(worst, value),
            _ => value,
        });
    }
}

/// The run between two readings.
struct Stretch<'a> {
    begin: &'a Counters,
    end: &'a Counters,
}

impl Stretch<'_> {
    /// The figure of the stretch; `None` where no event of it has it.
    fn value(&self, figure: Figure) -> Option<f64> {
        let grown = |of: fn(&Counters) -> u64| of(self.end).saturating_sub(of(self.begin)) as f64;
        Some(match figure {
            Figure::Lateness(end, percentile) => return self.lateness_ms(end, percentile),
            Figure::EventsPerSecond => {
                let seconds = self
                    .end
                    .active()
                    .saturating_sub(self.begin.active())
                    .as_secs_f64();
                grown(Counters::all_acknowledged) / seconds.max(1e-9)
            }
            Figure::Acknowledged => grown(Counters::all_acknowledged),
            Figure::Duplicates => grown(|now| now.acknowledged.duplicate),
            Figure::GateQuarantined => grown(|now| now.acknowledged.quarantine),
            Figure::Refused => grown(|now| now.refused),
            Figure::Quarantined => grown(Counters::quarantined),
            Figure::Retries => grown(|now| now.retries.total()),
            Figure::RetriesFor(cause) => {
                let (end, begin) = (self.end.retries.get(cause), self.begin.retries.get(cause));
                end.saturating_sub(begin) as f64
            }
            Figure::SaveRetries => grown(|now| now.checkpoints.retried),
            Figure::Outages => grown(|now| now.outages.times()),
            Figure::OutageSeconds => grown(|now| now.outages.seconds()),
            // Refused where it is parsed.
            Figure::WallSeconds => return None,
        })
    }

    fn lateness_ms(&self, end: LatenessEnd, percentile: Percentile) -> Option<f64> {
        let (now, before) = match end {
            LatenessEnd::Send => (&self.end.lateness.send, &self.begin.lateness.send),
            LatenessEnd::Ack => (&self.end.lateness.ack, &self.begin.lateness.ack),
        };
        let late = now.since(before).at_quantile(percentile.quantile())?;
        Some(late.as_secs_f64() * 1_000.0)
    }
}

/// All thresholds of a run, judged by its report.
pub(crate) fn judge_report(
    thresholds: &Thresholds,
    judge: &Judge,
    report: &StreamReport,
) -> Vec<ThresholdReport> {
    let is_streamed = report.status == Status::Streamed;
    let failing = thresholds.fail_if.iter().map(|condition| {
        let value = value_of(report, condition.figure).filter(|_| is_streamed);
        ThresholdReport {
            kind: ThresholdKind::FailIf,
            condition: condition.to_string(),
            value: value.map(rounded),
            verdict: judged(condition, value, is_streamed),
        }
    });
    failing.chain(judge.reports()).collect()
}

fn judged(condition: &Condition, value: Option<f64>, is_streamed: bool) -> Verdict {
    match value {
        _ if !is_streamed => Verdict::NotJudged,
        None => Verdict::NoValue,
        Some(value) if condition.is_true_of(value) => Verdict::Failed,
        Some(_) => Verdict::Held,
    }
}

/// The figure of a whole run; `None` where no event of it has it.
fn value_of(report: &StreamReport, figure: Figure) -> Option<f64> {
    let count = match figure {
        Figure::Lateness(end, percentile) => {
            return lateness_ms(&report.lateness_ms, end, percentile);
        }
        // Nothing was left to stream: that is no slow run.
        Figure::EventsPerSecond => {
            return (report.emitted > 0).then_some(report.events_per_second);
        }
        Figure::WallSeconds => return Some(report.wall_seconds),
        Figure::Acknowledged => report.emitted,
        Figure::Duplicates => report.decisions.duplicate,
        Figure::GateQuarantined => report.decisions.quarantine,
        Figure::Refused => report.refused,
        Figure::Quarantined => report.quarantine.as_ref().map_or(0, |aside| aside.events),
        Figure::Retries => report.retries.unwrap_or_default().total(),
        Figure::RetriesFor(cause) => report.retries.unwrap_or_default().get(cause),
        Figure::SaveRetries => report.checkpoints.retried,
        Figure::Outages => report.outages.times(),
        Figure::OutageSeconds => report.outages.seconds(),
    };
    Some(count as f64)
}

fn lateness_ms(report: &LatenessReport, end: LatenessEnd, percentile: Percentile) -> Option<f64> {
    let percentiles: Percentiles = match end {
        LatenessEnd::Send => report.send,
        LatenessEnd::Ack => report.ack,
    }?;
    Some(match percentile {
        Percentile::P50 => percentiles.p50,
        Percentile::P90 => percentiles.p90,
        Percentile::P99 => percentiles.p99,
        Percentile::P999 => percentiles.p999,
        Percentile::Max => percentiles.max,
    })
}

/// To a thousandth, which is a microsecond of what is in milliseconds.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters after so many seconds of active time, and so many acknowledged events.
    fn at(seconds: f64, admit: u64) -> Counters {
        let mut counters = Counters::default();
        counters.active_ns = (seconds * 1e9) as u64;
        counters.acknowledged.admit = admit;
        counters
    }

    fn judge(text: &str) -> Judge {
        Judge::new(&Thresholds {
            fail_if: Vec::new(),
            abort_if: vec![text.parse().unwrap()],
        })
    }

    #[test]
    fn a_stretch_is_judged_once_it_is_whole_and_behind_the_first_time() {
        let judge = judge("events_per_second < 50 for 2s after 3s");
        for (seconds, events, is_broken) in [
            (0.0, 0, false),
            (1.0, 0, false),
            (3.0, 0, false),
            (4.0, 100, false),
            (4.9, 199, false),
            (5.0, 200, false),
            (6.0, 250, false),
            (7.0, 299, true),
        ] {
            assert_eq!(
                judge.is_broken_by(&at(seconds, events)),
                is_broken,
                "{seconds}"
            );
        }
        let reports = judge.reports();
        assert_eq!(
            (reports[0].value, reports[0].verdict),
            (Some(49.5), Verdict::Aborted)
        );
        assert!(judge.verdict().unwrap().to_string().contains("was 49.5"));
    }

    #[test]
    fn time_that_does_not_count_ends_no_stretch_and_events_after_it_do_not_either() {
        let judge = judge("events_per_second < 50 for 1s after 0s");
        assert!(!judge.is_broken_by(&at(0.0, 0)));
        assert!(!judge.is_broken_by(&at(0.9, 90)));
        // A pause of any length: the active time stands still.
        for _ in 0..1_000 {
            assert!(!judge.is_broken_by(&at(0.9, 90)));
        }
        assert!(!judge.is_broken_by(&at(1.9, 190)));
        assert_eq!(judge.reports()[0].verdict, Verdict::Held);
        assert!(judge.verdict().is_none());
    }

    #[test]
    fn readings_are_few_however_many_snapshots_there_are() {
        let judge = judge("retries > 5 for 1h after 0s");
        for snapshot in 0..200_000_u32 {
            let mut now = at(f64::from(snapshot) / 4.0, 0);
            now.retries.http_429 = u64::from(snapshot / 14_400);
            assert!(!judge.is_broken_by(&now), "{snapshot}");
        }
        let watched = judge.0.lock().unwrap();
        assert!(watched[0].readings.len() <= READINGS as usize + 2);
        assert_eq!(watched[0].worst, Some(1.0));
    }

    #[test]
    fn a_run_too_short_for_a_stretch_is_not_judged() {
        let judge = judge("retries > 0 for 10s after 30s");
        let mut now = at(39.0, 0);
        now.retries.timeout = 7;
        assert!(!judge.is_broken_by(&now));
        assert_eq!(judge.reports()[0].verdict, Verdict::NotJudged);
    }

    #[test]
    fn a_whole_run_is_judged_by_its_report_and_only_if_it_was_streamed() {
        let thresholds = Thresholds {
            fail_if: vec![
                "acknowledged < 5".parse().unwrap(),
                "duplicates > 0".parse().unwrap(),
                "lateness_send_p99_ms > 1".parse().unwrap(),
            ],
            abort_if: Vec::new(),
        };
        let judge = Judge::new(&thresholds);
        let mut report = StreamReport::empty(oracle_store::Posture::Local);
        report.emitted = 4;
        report.status = Status::Stopped;
        let verdicts = |report: &StreamReport| {
            let all = judge_report(&thresholds, &judge, report);
            all.iter()
                .map(|one| (one.value, one.verdict))
                .collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&report), [(None, Verdict::NotJudged); 3]);
        report.status = Status::Streamed;
        let expected = [
            (Some(4.0), Verdict::Failed),
            (Some(0.0), Verdict::Held),
            (None, Verdict::NoValue),
        ];
        assert_eq!(verdicts(&report), expected);
    }
}
