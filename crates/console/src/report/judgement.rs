//! Whether a run was whole, on time and undisturbed.
//!
//! | question | good | a warning | bad |
//! |---|---|---|---|
//! | whole? | `STREAMED`, nothing set aside, nothing without an answer | bounded by `--max-events`; set aside, here or by the gate; stopped | failed |
//! | on time? | p99 of lateness at send at most [`ON_TIME_MS`], or unpaced | later | – |
//! | undisturbed? | no retry, no outage, no failed save, nothing refused | any of them | – |
//!
//! A threshold that was broken is bad, whichever question it belongs to.

use wsp::replay::Percentiles;
use wsp::{Status, StreamReport, Verdict};

use super::markup::count;

/// The p99 of lateness at send up to which a run counts as on time, in milliseconds.
const ON_TIME_MS: f64 = 100.0;

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warning,
    Bad,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warn",
            Self::Bad => "bad",
        }
    }
}

/// The answer to one question.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) tone: Tone,
    pub(super) word: &'static str,
    pub(super) why: String,
}

/// How the run ended, in a word.
pub(super) fn status_words(report: &StreamReport) -> &'static str {
    match report.status {
        Status::Streamed => "STREAMED",
        Status::Failed => "FAILED",
        Status::Stopped => "STOPPED",
    }
}

/// The answers to the three questions, and one for broken thresholds.
pub(super) fn judgements(report: &StreamReport) -> Vec<Judgement> {
    let mut all = vec![whole(report), on_time(report), undisturbed(report)];
    let broken = |verdict: Verdict| matches!(verdict, Verdict::Failed | Verdict::Aborted);
    let thresholds = report.thresholds.iter();
    let broken: Vec<&str> = thresholds
        .filter(|threshold| broken(threshold.verdict))
        .map(|threshold| threshold.condition.as_str())
        .collect();
    if !broken.is_empty() {
        all.push(Judgement {
            tone: Tone::Bad,
            word: "Threshold broken",
            why: broken.join(", "),
        });
    }
    all
}

fn whole(report: &StreamReport) -> Judgement {
    let acknowledged = count(report.emitted);
    let set_aside = report.quarantine.as_ref().map_or(0, |aside| aside.events);
    let by_gate = report.decisions.quarantine;
    let (tone, word, why) = match (report.status, report.reason) {
        (Status::Failed, _) => (
            Tone::Bad,
            "Not whole",
            format!("{acknowledged} events acknowledged before it failed"),
        ),
        (Status::Stopped, _) => (
            Tone::Warning,
            "Not whole",
            format!("stopped after {acknowledged} events"),
        ),
        (Status::Streamed, Some(_)) => (
            Tone::Warning,
            "Bounded",
            format!("{acknowledged} events, as many as were asked for"),
        ),
        (Status::Streamed, None) if set_aside + by_gate > 0 => (
            Tone::Warning,
            "Set aside",
            format!(
                "{acknowledged} events acknowledged; {} set aside, {} quarantined by the gate",
                count(set_aside),
                count(by_gate)
            ),
        ),
        (Status::Streamed, None) => (
            Tone::Good,
            "Whole",
            format!("all {acknowledged} events acknowledged"),
        ),
    };
    Judgement { tone, word, why }
}

fn on_time(report: &StreamReport) -> Judgement {
    let Some(Percentiles { p99, max, .. }) = report.lateness_ms.send else {
        return Judgement {
            tone: Tone::Good,
            word: "Unpaced",
            why: "no event had a time to be late for".to_owned(),
        };
    };
    let why = format!("p99 {p99:.2} ms, at most {max:.2} ms behind the schedule");
    let (tone, word) = if p99 <= ON_TIME_MS {
        (Tone::Good, "On time")
    } else {
        (Tone::Warning, "Late")
    };
    Judgement { tone, word, why }
}

fn undisturbed(report: &StreamReport) -> Judgement {
    let outages = report.outages.times();
    let retries = report.retries.map_or(0, |retries| retries.total());
    let troubles = [
        (retries, "posts made again"),
        (outages, "outages"),
        (report.checkpoints.retried, "saves made again"),
        (report.refused, "events refused"),
        (report.unanswered, "events without an answer"),
    ];
    let troubles = troubles.into_iter().filter(|(times, _)| *times > 0);
    let told: Vec<String> = troubles
        .map(|(times, what)| format!("{} {what}", count(times)))
        .collect();
    if told.is_empty() {
        return Judgement {
            tone: Tone::Good,
            word: "Undisturbed",
            why: "no retry, no outage, nothing refused".to_owned(),
        };
    }
    Judgement {
        tone: Tone::Warning,
        word: "Disturbed",
        why: told.join(", "),
    }
}
