//! One report of all shards: what they came to together, held against what the plan counted.
//!
//! Counts come from cursors, which survive crashes and count no repeat: a shard's last report has
//! them for all of its attempts. What the gate decided is in the reports alone; where an attempt
//! was killed, nobody knows what it heard, and decisions are lower bounds.
//!
//! | field | says |
//! |---|---|
//! | `complete` | counts and sums of ids are those of `plan --ids`: nothing is missing, nothing is strange |
//! | `delivered` | complete, and nothing was quarantined, here or by the gate |

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use model::{DoneTally, IdTally, OutputId, PackKey, PlatformRunId, Shard, ShardBy, json_strictly};
use replay::{Decisions, HdrLog, LatenessReport, Percentiles};
use serde::{Deserialize, Serialize};

use crate::run::id_outline::{IdOutline, PLAN_FORMAT};
use crate::run::report::StreamReport;
use crate::{Error, ReasonCode};

/// What all shards of a stream came to.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct MergedReport {
    /// The version of the report's format: 1.
    pub format_version: u32,
    /// `COMPLETE`, `INCOMPLETE`, or `UNKNOWN` where a cursor does not say what it counts.
    pub status: &'static str,
    /// The reason code; `None` where the stream is complete.
    pub reason: Option<&'static str>,
    /// The reason in words; `None` where the stream is complete.
    pub detail: Option<String>,
    /// The pack key of the whole stream.
    pub pack_key: PackKey,
    /// The platform run that all shards sent under; `None` without a report.
    pub platform_run_id: Option<PlatformRunId>,
    /// The number of shards.
    pub shards: u32,
    /// What decides which shard an event is of.
    pub by: ShardBy,
    /// The number of reports that were merged.
    pub reports: usize,
    /// The shards that no report is of.
    pub missing_shards: Vec<u32>,
    /// The attempts that left no report: their shards, and how many events were done in them.
    pub lost: Vec<LostAttempts>,
    /// Whether every event of the plan is done, and nothing else; `None` where that is not known.
    pub complete: Option<bool>,
    /// Whether all events are complete and none was quarantined, here or by the gate; `None` where
    /// that is not known.
    pub delivered: Option<bool>,
    /// The events that the gate acknowledged, with the sum of their ids.
    pub acknowledged: IdTally,
    /// The events that were set aside, with the sum of their ids.
    pub quarantined: IdTally,
    /// The number of events by the gate's decision, of all reports.
    pub decisions: Decisions,
    /// Whether attempts are lost, so that there may have been more decisions.
    pub decisions_are_lower_bounds: bool,
    /// Lateness of all events of all reports; absent for an unpaced stream.
    pub lateness_ms: LatenessReport,
    /// What became of each output, in the order of the plan.
    pub per_output: Vec<MergedOutput>,
}

/// Attempts of a shard that left no report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LostAttempts {
    /// The shard.
    pub shard: u32,
    /// The events that its cursors count and no report tells of.
    pub events: u64,
}

/// One output over all shards.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct MergedOutput {
    /// The id of the output.
    pub output_id: OutputId,
    /// What the plan counted.
    pub planned: IdTally,
    /// What became of the output's events; `None` where a cursor does not say.
    pub done: Option<DoneTally>,
    /// Whether what is done is what was planned; `None` where that is not known.
    pub complete: Option<bool>,
}

/// The plan, of which the merge needs the ids alone.
#[derive(Deserialize)]
struct PlanText {
    ids: Option<IdOutline>,
}

/// The format of a plan; `None` for one of the first, which did not say it.
#[derive(Deserialize)]
struct PlanVersion {
    format_version: Option<u64>,
}

/// Merges the reports of all shards of one plan, several attempts of each.
///
/// # Errors
/// `MERGE_REPORT_UNREADABLE` for a plan without ids and for what is no report;
/// `MERGE_PLAN_MISMATCH` for a report of another stream, division or platform run.
pub fn merge_reports(plan: &Path, reports: &[PathBuf]) -> Result<MergedReport, Error> {
    let ids = read_plan(plan)?;
    let mut attempts: Vec<(PathBuf, StreamReport)> = Vec::new();
    for path in reports {
        let report = read_report(path)?;
        check(
            &ids,
            path,
            &report,
            attempts.first().map(|(_, first)| first),
        )?;
        // One report that is named twice is one attempt.
        if !attempts.iter().any(|(_, other)| *other == report) {
            attempts.push((path.clone(), report));
        }
    }
    let attempts: Vec<StreamReport> = attempts.into_iter().map(|(_, report)| report).collect();
    Ok(merged(&ids, &attempts))
}

fn unreadable(path: &Path, what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(
        ReasonCode::MergeReportUnreadable,
        format!("{} is not {what}: {why}", path.display()),
        "Name the JSON that `wsp-cli plan --ids` printed, and reports that `stream` printed or kept.",
    )
}

fn read_plan(path: &Path) -> Result<IdOutline, Error> {
    let what = "a plan with ids";
    let text = fs::read(path).map_err(|error| unreadable(path, what, error))?;
    let not_whole = |error| unreadable(path, what, error);
    let version: PlanVersion = json_strictly(&text).map_err(not_whole)?;
    let version = version.format_version.unwrap_or(u64::from(PLAN_FORMAT));
    if version != u64::from(PLAN_FORMAT) {
        let why = format!("its format version is {version}, and this release reads {PLAN_FORMAT}");
        return Err(unreadable(path, what, why));
    }
    let plan: PlanText = json_strictly(&text).map_err(not_whole)?;
    plan.ids
        .ok_or_else(|| unreadable(path, what, "it was made without --ids"))
}

fn read_report(path: &Path) -> Result<StreamReport, Error> {
    let what = "a report of a stream";
    let text = fs::read(path).map_err(|error| unreadable(path, what, error))?;
    StreamReport::read(&text).map_err(|error| unreadable(path, what, error))
}

/// The shard that a report is of.
fn shard_of(report: &StreamReport) -> (u32, u32) {
    let shard = report.shard.as_ref();
    shard.map_or((0, 1), |shard| (shard.index, shard.count))
}

/// Refuses a report of another stream than the plan's, or of another run than the first report's.
fn check(
    ids: &IdOutline,
    path: &Path,
    report: &StreamReport,
    first: Option<&StreamReport>,
) -> Result<(), Error> {
    let (index, count) = shard_of(report);
    let shard = Shard::new(index, count, ids.by).ok();
    let key = shard.and_then(|shard| ids.key_of(shard));
    let outputs: Vec<&OutputId> = ids.outputs.iter().map(|output| &output.output_id).collect();
    let fault = if count != ids.shards {
        format!("it is of {count} shards, and the plan of {}", ids.shards)
    } else if key.is_some() && report.pack_key != key {
        "its cursors are of another world, scope or run".to_owned()
    } else if report.output_ids.iter().collect::<Vec<_>>() != outputs {
        "it streamed other outputs".to_owned()
    } else if first.is_some_and(|first| first.platform_run_id != report.platform_run_id) {
        "it is of another platform run than the reports before it".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::new(
        ReasonCode::MergePlanMismatch,
        format!("{} is no report of this plan: {fault}", path.display()),
        "Merge the reports of one stream, against the plan of its world, outputs and shards.",
    ))
}

/// What became of an output's events by a shard's cursors: the furthest of all attempts.
fn done_of(attempts: &[&StreamReport], output: &OutputId) -> Option<DoneTally> {
    let outputs = attempts.iter().flat_map(|report| &report.per_output);
    let cursors = outputs
        .filter(|of| of.output_id == *output)
        .filter_map(|of| of.cursor.as_ref());
    let tallies: Option<Vec<DoneTally>> = cursors.map(|cursor| cursor.done).collect();
    let furthest = tallies?.into_iter().max_by_key(|done| done.all().events);
    Some(furthest.unwrap_or_default())
}

/// Events that were done in the attempts themselves, by their reports.
fn told_of(attempts: &[&StreamReport]) -> u64 {
    let outputs = attempts.iter().flat_map(|report| &report.per_output);
    let done = outputs.map(|of| of.meters.acknowledged + of.meters.quarantined);
    done.sum()
}

fn merged(ids: &IdOutline, reports: &[StreamReport]) -> MergedReport {
    let mut of_shards: BTreeMap<u32, Vec<&StreamReport>> = BTreeMap::new();
    for report in reports {
        let (index, _) = shard_of(report);
        of_shards.entry(index).or_default().push(report);
    }
    let missing_shards: Vec<u32> = (0..ids.shards)
        .filter(|index| !of_shards.contains_key(index))
        .collect();
    let mut lost = Vec::new();
    let mut of_outputs: Vec<Option<DoneTally>> =
        vec![Some(DoneTally::default()); ids.outputs.len()];
    for (&shard, attempts) in &of_shards {
        let mut all = 0;
        for (of_output, output) in of_outputs.iter_mut().zip(&ids.outputs) {
            let done = done_of(attempts, &output.output_id);
            all += done.map_or(0, |done| done.all().events);
            *of_output = of_output.zip(done).map(|(mut sum, done)| {
                sum.add(done);
                sum
            });
        }
        let events = all.saturating_sub(told_of(attempts));
        if events > 0 {
            lost.push(LostAttempts { shard, events });
        }
    }
    add_before(ids, reports, &mut of_outputs);
    let outputs = ids.outputs.iter().zip(&of_outputs);
    let per_output: Vec<MergedOutput> = outputs
        .map(|(output, done)| MergedOutput {
            output_id: output.output_id.clone(),
            planned: output.tally,
            done: *done,
            complete: done.map(|done| done.all() == output.tally),
        })
        .collect();
    conclude(ids, reports, missing_shards, lost, per_output)
}

/// Adds what was done before the stream was divided as it is: every report of the last division
/// tells of it, and it counts once.
fn add_before(ids: &IdOutline, reports: &[StreamReport], of_outputs: &mut [Option<DoneTally>]) {
    let shards = reports.iter().filter_map(|report| report.shard.as_ref());
    let Some(last) = shards.max_by_key(|shard| shard.generation) else {
        return;
    };
    for (of_output, output) in of_outputs.iter_mut().zip(&ids.outputs) {
        let mut before = last.before.iter();
        let Some(before) = before.find(|before| before.output_id == output.output_id) else {
            continue;
        };
        *of_output = of_output.zip(before.done).map(|(mut sum, done)| {
            sum.add(done);
            sum
        });
    }
}

fn conclude(
    ids: &IdOutline,
    reports: &[StreamReport],
    missing_shards: Vec<u32>,
    lost: Vec<LostAttempts>,
    per_output: Vec<MergedOutput>,
) -> MergedReport {
    let mut done = DoneTally::default();
    per_output
        .iter()
        .filter_map(|output| output.done)
        .for_each(|of_output| done.add(of_output));
    let mut decisions = Decisions::default();
    for report in reports {
        decisions.admit += report.decisions.admit;
        decisions.duplicate += report.decisions.duplicate;
        decisions.quarantine += report.decisions.quarantine;
    }
    let verdicts: BTreeSet<Option<bool>> =
        per_output.iter().map(|output| output.complete).collect();
    let complete = if verdicts.contains(&Some(false)) || !missing_shards.is_empty() {
        Some(false)
    } else if verdicts.contains(&None) {
        None
    } else {
        Some(true)
    };
    let nothing_quarantined = done.quarantined.events == 0 && decisions.quarantine == 0;
    let delivered = match complete {
        Some(true) if !nothing_quarantined => Some(false),
        // The gate may have quarantined an event of an attempt that left no report.
        Some(true) if !lost.is_empty() => None,
        complete => complete,
    };
    let (status, reason, detail) = verdict(complete, &missing_shards, &per_output);
    MergedReport {
        format_version: 1,
        status,
        reason,
        detail,
        pack_key: ids.pack_key.clone(),
        platform_run_id: reports
            .first()
            .and_then(|report| report.platform_run_id.clone()),
        shards: ids.shards,
        by: ids.by,
        reports: reports.len(),
        missing_shards,
        complete,
        delivered,
        acknowledged: done.acknowledged,
        quarantined: done.quarantined,
        decisions,
        decisions_are_lower_bounds: !lost.is_empty(),
        lost,
        lateness_ms: lateness(reports),
        per_output,
    }
}

fn verdict(
    complete: Option<bool>,
    missing_shards: &[u32],
    per_output: &[MergedOutput],
) -> (&'static str, Option<&'static str>, Option<String>) {
    match complete {
        Some(true) => ("COMPLETE", None, None),
        _ if !missing_shards.is_empty() => {
            let shards: Vec<String> = missing_shards.iter().map(u32::to_string).collect();
            let detail = format!("No report is of the shards {}.", shards.join(", "));
            let reason = ReasonCode::MergeReportMissing.as_str();
            ("INCOMPLETE", Some(reason), Some(detail))
        }
        Some(false) => {
            let differing = per_output
                .iter()
                .filter(|output| output.complete == Some(false));
            let differing = differing.map(|output| {
                let done = output.done.unwrap_or_default().all();
                let (done, planned) = (done.events, output.planned.events);
                format!("{}: {done} of {planned} events", output.output_id)
            });
            let differing: Vec<String> = differing.collect();
            let detail = format!("Not what was planned: {}.", differing.join("; "));
            let reason = ReasonCode::MergeIncomplete.as_str();
            ("INCOMPLETE", Some(reason), Some(detail))
        }
        None => {
            let detail = "A cursor does not say what it counts: an earlier release or a platform \
                          producer wrote it.";
            let reason = ReasonCode::MergeIncomplete.as_str();
            ("UNKNOWN", Some(reason), Some(detail.to_owned()))
        }
    }
}

/// Percentiles of one histogram of all events of all reports.
fn lateness(reports: &[StreamReport]) -> LatenessReport {
    let percentiles = |log: fn(&StreamReport) -> Option<&HdrLog>| {
        let mut all = HdrLog::histogram();
        for log in reports.iter().filter_map(log) {
            // A report with a log that is none is not read in the first place.
            let _ = log.add_to(&mut all);
        }
        Percentiles::of(&all)
    };
    LatenessReport {
        send: percentiles(|report| report.lateness_logs.send.as_ref()),
        ack: percentiles(|report| report.lateness_logs.ack.as_ref()),
    }
}
