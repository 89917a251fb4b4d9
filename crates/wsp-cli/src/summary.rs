//! What a run came to, in some fifteen lines for people.

use std::fmt::Write as _;

use indicatif::HumanCount;
use wsp::push::{Retries, RetryCause};
use wsp::replay::Percentiles;
use wsp::{Status, StreamReport, ThresholdKind, ThresholdReport, Verdict};

use crate::face::{Face, Tone};
use crate::quantities;

/// Outputs that have a line of their own; more are counted together.
const LISTED_OUTPUTS: usize = 6;

/// The summary of a run, a line each for what was asked, what came of it and what to do next.
pub fn summary(report: &StreamReport, face: Face) -> String {
    let mut lines = vec![headline(report, face)];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<9}{text}"));
    line("events", events(report));
    for output in report.per_output.iter().take(LISTED_OUTPUTS) {
        let cursor = output.cursor.as_ref();
        let at = cursor.and_then(|cursor| cursor.last_ts_utc.as_deref());
        let at = at.map_or_else(
            || "no cursor".to_owned(),
            |time| format!("cursor at {time}"),
        );
        let acknowledged = HumanCount(output.meters.acknowledged);
        line(
            "output",
            format!("{} {acknowledged}, {at}", output.output_id),
        );
    }
    if let Some(more @ 1..) = report.per_output.len().checked_sub(LISTED_OUTPUTS) {
        line("", format!("and {more} outputs more"));
    }
    if let (Some(first), Some(last)) = (&report.first_ts_utc, &report.last_ts_utc) {
        line("time", format!("{first} to {last}"));
    }
    line("took", pace(report));
    if let Some(late) = &report.lateness_ms.send {
        line("late", lateness(late));
    }
    if let Some(retries) = report.retries.filter(|retries| retries.total() > 0) {
        line("retries", repeated(retries));
    }
    let outages = [
        ("gate", &report.outages.ingestion_gate),
        ("store", &report.outages.checkpoint_store),
    ];
    for (name, outage) in outages.into_iter().filter(|(_, outage)| outage.times > 0) {
        let cause = outage.last_cause.as_deref().unwrap_or("no cause known");
        line(
            name,
            format!(
                "away {} times, {:.1} s: {cause}",
                outage.times, outage.seconds
            ),
        );
    }
    if let Some(aside) = &report.quarantine {
        let (events, waiting) = (HumanCount(aside.events), HumanCount(aside.waiting));
        line(
            "set aside",
            format!(" {events}, {waiting} wait in {}", aside.place),
        );
    }
    if let Some(quarantined) = &report.gate_quarantined {
        for reason in quarantined.by_reason.iter().take(LISTED_OUTPUTS) {
            let (events, output) = (HumanCount(reason.events), &reason.output_id);
            let first = reason.first.first().map_or("", |one| one.event_id.as_str());
            line(
                "gate",
                format!(
                    "quarantined {events} of {output}: {}, first {first:.12}",
                    reason.reason_code
                ),
            );
        }
    }
    for threshold in &report.thresholds {
        line("threshold", threshold_line(threshold));
    }
    if report.all_duplicates {
        line("note", "the gate had every event already".to_owned());
    }
    line("next", next(report));
    lines.join("\n") + "\n"
}

fn headline(report: &StreamReport, face: Face) -> String {
    let (word, tone) = match report.status {
        Status::Streamed if report.has_broken_threshold() => ("STREAMED", Tone::Bad),
        Status::Streamed => ("STREAMED", Tone::Good),
        Status::Stopped => ("STOPPED", Tone::Warning),
        Status::Failed => ("FAILED", Tone::Bad),
    };
    let mut line = face.painted(tone, word);
    if let Some(reason) = report.reason.filter(|reason| *reason != word) {
        let _ = write!(line, " {reason}");
    }
    if let Some(root) = &report.engine_run_root {
        let _ = write!(line, "  {root}");
    }
    if let Some(run) = &report.platform_run_id {
        let _ = write!(line, ", {run}");
    }
    line
}

fn events(report: &StreamReport) -> String {
    let decisions = &report.decisions;
    let mut text = format!("{} acknowledged", HumanCount(report.emitted));
    if decisions.duplicate + decisions.quarantine > 0 {
        let _ = write!(
            text,
            ": {} admitted, {} known to the gate, {} quarantined by it",
            HumanCount(decisions.admit),
            HumanCount(decisions.duplicate),
            HumanCount(decisions.quarantine),
        );
    }
    if report.unanswered > 0 {
        let _ = write!(
            text,
            ", {} without an answer",
            HumanCount(report.unanswered)
        );
    }
    text
}

fn pace(report: &StreamReport) -> String {
    let seconds = report.wall_seconds;
    let took = quantities::seconds(seconds);
    let rate = HumanCount(report.events_per_second as u64);
    match &report.schedule {
        Some(schedule) => format!("{took}, {rate} events a second, at {}", schedule.pace),
        None => format!("{took}, {rate} events a second"),
    }
}

fn lateness(late: &Percentiles) -> String {
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms",
        late.p50, late.p99, late.max
    )
}

/// The causes that posts were made again for, by name.
fn repeated(retries: Retries) -> String {
    let causes = RetryCause::ALL.map(|cause| (cause.as_str(), retries.get(cause)));
    let causes = causes.iter().filter(|(_, count)| *count > 0);
    let mut named: Vec<String> = causes
        .map(|(cause, count)| format!("{} {count}", cause.replace('_', " ")))
        .collect();
    named.sort_unstable();
    format!("{} ({})", HumanCount(retries.total()), named.join(", "))
}

/// A threshold, what became of it, and the value that it was judged by.
fn threshold_line(threshold: &ThresholdReport) -> String {
    let verdict = match threshold.verdict {
        Verdict::Held => "held",
        Verdict::Failed => "BROKEN",
        Verdict::Aborted => "BROKEN, ended the run",
        Verdict::NotJudged => "not judged",
        Verdict::NoValue => "no event has the figure",
    };
    let kind = match threshold.kind {
        ThresholdKind::FailIf => "fail if",
        ThresholdKind::AbortIf => "abort if",
    };
    let value = threshold.value.map(|value| format!(" ({value})"));
    format!(
        " {verdict}{}: {kind} {}",
        value.unwrap_or_default(),
        threshold.condition
    )
}

fn next(report: &StreamReport) -> String {
    let waits = report
        .quarantine
        .as_ref()
        .is_some_and(|aside| aside.waiting > 0);
    match (report.status, report.reason) {
        (Status::Streamed, None) if report.has_broken_threshold() => {
            "all is streamed; find out why a threshold was broken".to_owned()
        }
        (Status::Streamed, None) if waits => {
            "push what was set aside again: wsp-cli redrive".to_owned()
        }
        (Status::Streamed, None) => "nothing is left; a rerun finds nothing to send".to_owned(),
        (Status::Streamed, Some(_)) => "the same command goes on with the next events".to_owned(),
        (Status::Stopped, _) => "the same command goes on behind the cursors".to_owned(),
        (Status::Failed, reason) => format!(
            "mend it and run again; docs/reason-codes.md tells of {}",
            reason.unwrap_or("each code")
        ),
    }
}

#[cfg(test)]
mod tests {
    use oracle_store::Posture;

    use super::*;

    fn streamed() -> StreamReport {
        let mut report = StreamReport::empty(Posture::Local);
        report.status = Status::Streamed;
        report.engine_run_root = Some("runs/a".to_owned());
        report.emitted = 12_345;
        report.decisions.admit = 12_345;
        report.wall_seconds = 12.34;
        report.events_per_second = 1_000.4;
        report
    }

    #[test]
    fn a_run_without_troubles_is_told_in_few_lines() {
        let text = summary(&streamed(), Face::plain());
        assert_eq!(
            text,
            "STREAMED  runs/a\n  events   12,345 acknowledged\n  took     12.3 s, 1,000 events a \
             second\n  next     nothing is left; a rerun finds nothing to send\n"
        );
    }

    #[test]
    fn what_went_wrong_has_a_line_each_and_the_next_step_is_named() {
        let mut report = streamed();
        report.status = Status::Failed;
        report.reason = Some("IG_PUSH_REJECTED");
        report.decisions.duplicate = 5;
        let mut retries = Retries::default();
        retries.http_503 = 3;
        report.retries = Some(retries);
        report.outages.ingestion_gate.times = 2;
        let text = summary(&report, Face::plain());
        for part in [
            "FAILED IG_PUSH_REJECTED",
            "5 known to the gate",
            "retries  3 (http 503 3)",
            "gate     away 2 times",
            "docs/reason-codes.md tells of IG_PUSH_REJECTED",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn each_threshold_has_a_line_with_its_verdict_and_its_value() {
        let mut report = streamed();
        let threshold = |condition: &str, value, verdict| {
            let mut one = ThresholdReport::new(ThresholdKind::FailIf, condition, verdict);
            one.value = value;
            one
        };
        report.thresholds = vec![
            threshold("retries > 0", Some(0.0), Verdict::Held),
            threshold("lateness_send_p99_ms > 50", Some(83.25), Verdict::Failed),
            threshold("duplicates > 0", None, Verdict::NotJudged),
        ];
        let text = summary(&report, Face::plain());
        for line in [
            "threshold held (0): fail if retries > 0",
            "threshold BROKEN (83.25): fail if lateness_send_p99_ms > 50",
            "threshold not judged: fail if duplicates > 0",
            "all is streamed; find out why a threshold was broken",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
