//! The tables of a report.

use wsp::StreamReport;
use wsp::push::RetryCause;
use wsp::replay::{Percentiles, TimelineReport};

use super::markup::{Cell, count, millis, name_of, table};

/// Rows of the table over time: buckets are put together until they are no more.
const TIME_ROWS: usize = 24;

/// What was run, and on what.
pub(super) fn facts(report: &StreamReport) -> String {
    let text = |value: Option<String>| value.unwrap_or_default();
    let shard = report.shard.as_ref();
    let facts = [
        (
            "Platform run",
            text(report.platform_run_id.as_ref().map(ToString::to_string)),
        ),
        (
            "Scenario",
            text(report.scenario_id.as_ref().map(ToString::to_string)),
        ),
        ("Started", text(report.started_at_utc.clone())),
        ("Ended", text(report.ended_at_utc.clone())),
        ("Took", format!("{:.1} s", report.wall_seconds)),
        (
            "Events a second",
            format!("{:.0}", report.events_per_second),
        ),
        ("Event time", event_times(report)),
        (
            "Pace",
            text(
                report
                    .schedule
                    .as_ref()
                    .map(|schedule| schedule.pace.to_string()),
            ),
        ),
        ("Order", text(report.order.map(str::to_owned))),
        ("Posture", name_of(&report.posture)),
        ("Data verified", name_of(&report.data_verified)),
        (
            "Shard",
            text(shard.map(|shard| format!("{} of {}", shard.index, shard.count))),
        ),
        ("Host", text(report.host.clone())),
        ("Version", version(report)),
        (
            "Profile digest",
            text(report.profile_digest.as_ref().map(ToString::to_string)),
        ),
        (
            "Pack key",
            text(report.pack_key.as_ref().map(ToString::to_string)),
        ),
        ("Stream digest", text(report.stream_digest.clone())),
    ];
    let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let rows: Vec<Vec<Cell>> = known
        .map(|(name, value)| vec![Cell::text(name), Cell::Text(value)])
        .collect();
    table("The run", &["", ""], &rows).replacen(
        "<thead><tr><th scope=\"col\"></th><th scope=\"col\"></th></tr></thead>\n",
        "",
        1,
    )
}

fn event_times(report: &StreamReport) -> String {
    let times = report.first_ts_utc.zip(report.last_ts_utc);
    times.map_or_else(String::new, |(first, last)| format!("{first} to {last}"))
}

fn version(report: &StreamReport) -> String {
    match &report.commit {
        Some(commit) => format!("{} ({commit})", report.version),
        None => report.version.clone(),
    }
}

/// All other tables.
pub(super) fn tables(report: &StreamReport) -> String {
    let tables = [
        counts(report),
        lateness(report),
        outputs(report),
        troubles(report),
        gate_quarantined(report),
        thresholds(report),
        gates(report),
        report.timeline.as_ref().map_or_else(String::new, over_time),
    ];
    tables.concat()
}

fn counts(report: &StreamReport) -> String {
    let decisions = &report.decisions;
    let aside = report.quarantine.as_ref();
    let rows = [
        ("Acknowledged", report.emitted),
        ("of these new to the gate", decisions.admit),
        ("of these known to the gate", decisions.duplicate),
        ("of these quarantined by the gate", decisions.quarantine),
        ("Refused by the gate", report.refused),
        ("Set aside here", aside.map_or(0, |aside| aside.events)),
        (
            "of these waiting for a redrive",
            aside.map_or(0, |aside| aside.waiting),
        ),
        ("Without an answer", report.unanswered),
    ];
    let rows = rows.map(|(name, number)| vec![Cell::text(name), Cell::count(number)]);
    table("Events", &["Events", "Number"], &rows)
}

fn lateness(report: &StreamReport) -> String {
    let row = |name: &str, late: &Percentiles| {
        let values = [late.p50, late.p90, late.p99, late.p999, late.max];
        let values = values.map(|value| Cell::Number(millis(Some(value))));
        [vec![Cell::text(name)], values.to_vec()].concat()
    };
    let lateness = &report.lateness_ms;
    let send = lateness.send.as_ref().map(|late| row("At send", late));
    let ack = lateness
        .ack
        .as_ref()
        .map(|late| row("At acknowledgement", late));
    let rows: Vec<_> = send.into_iter().chain(ack).collect();
    let heads = ["Lateness, ms", "p50", "p90", "p99", "p99.9", "at most"];
    table("Lateness", &heads, &rows)
}

fn outputs(report: &StreamReport) -> String {
    let rows: Vec<Vec<Cell>> = report
        .per_output
        .iter()
        .map(|output| {
            let cursor = output.cursor.as_ref();
            let at = cursor.and_then(|cursor| cursor.last_ts_utc.clone());
            vec![
                Cell::text(&output.output_id),
                Cell::text(name_of(&output.role)),
                Cell::count(output.meters.read),
                Cell::count(output.meters.acknowledged),
                Cell::count(output.decisions.duplicate),
                Cell::count(output.meters.quarantined),
                Cell::Text(at.unwrap_or_else(|| "–".to_owned())),
            ]
        })
        .collect();
    let heads = [
        "Output",
        "Role",
        "Read",
        "Acknowledged",
        "Known",
        "Set aside",
        "Cursor",
    ];
    table("Outputs", &heads, &rows)
}

fn troubles(report: &StreamReport) -> String {
    let mut rows = Vec::new();
    if let Some(retries) = report.retries {
        for cause in RetryCause::ALL {
            let times = retries.get(cause);
            if times > 0 {
                let name = format!("Posts made again: {}", cause.as_str().replace('_', " "));
                rows.push(vec![Cell::Text(name), Cell::count(times), Cell::text("")]);
            }
        }
    }
    let outages = [
        ("Ingestion gate away", &report.outages.ingestion_gate),
        ("Checkpoint store away", &report.outages.checkpoint_store),
    ];
    for (name, outage) in outages.into_iter().filter(|(_, outage)| outage.times > 0) {
        let cause = outage.last_cause.as_deref().unwrap_or("no cause known");
        let told = format!("{} s in all; last: {cause}", count(outage.seconds));
        rows.push(vec![
            Cell::text(name),
            Cell::count(outage.times),
            Cell::Text(told),
        ]);
    }
    let saves = &report.checkpoints;
    rows.push(vec![
        Cell::text("Saves of cursors"),
        Cell::count(saves.saves),
        Cell::Text(format!("{} made again", count(saves.retried))),
    ]);
    table("Retries, outages, saves", &["What", "Times", ""], &rows)
}

fn gate_quarantined(report: &StreamReport) -> String {
    let reasons = report.gate_quarantined.iter();
    let rows: Vec<Vec<Cell>> = reasons
        .flat_map(|quarantined| &quarantined.by_reason)
        .map(|reason| {
            let first = reason.first.first().map(|one| one.event_id.clone());
            vec![
                Cell::text(&reason.reason_code),
                Cell::text(&reason.output_id),
                Cell::count(reason.events),
                Cell::Text(first.unwrap_or_default()),
            ]
        })
        .collect();
    let heads = ["Reason", "Output", "Events", "First event"];
    table("Quarantined by the gate", &heads, &rows)
}

fn thresholds(report: &StreamReport) -> String {
    let rows: Vec<Vec<Cell>> = report
        .thresholds
        .iter()
        .map(|threshold| {
            let value = threshold.value.map(|value| value.to_string());
            vec![
                Cell::text(&threshold.condition),
                Cell::text(name_of(&threshold.kind)),
                Cell::Number(value.unwrap_or_else(|| "–".to_owned())),
                Cell::text(name_of(&threshold.verdict).replace('_', " ")),
            ]
        })
        .collect();
    table(
        "Thresholds",
        &["Condition", "Kind", "Value", "Verdict"],
        &rows,
    )
}

fn gates(report: &StreamReport) -> String {
    let receipts = report.gates.iter().flat_map(|gates| &gates.receipts);
    let rows: Vec<Vec<Cell>> = receipts
        .map(|gate| {
            vec![
                Cell::text(&gate.gate_id),
                Cell::text(name_of(&gate.status)),
                Cell::text(name_of(&gate.mode)),
            ]
        })
        .collect();
    table(
        "Gates of the engine",
        &["Gate", "Status", "Verified by"],
        &rows,
    )
}

/// The run over time, in at most [`TIME_ROWS`] rows.
fn over_time(timeline: &TimelineReport) -> String {
    let step = timeline.buckets.div_ceil(TIME_ROWS).max(1);
    let starts = (0..timeline.buckets).step_by(step);
    let rows: Vec<Vec<Cell>> = starts
        .map(|from| {
            let to = (from + step).min(timeline.buckets);
            let sum = |column: &[u64]| column.get(from..to).unwrap_or_default().iter().sum();
            let late = timeline.lateness_send_ms.as_ref();
            let late = late.and_then(|late| largest(late.p99.get(from..to).unwrap_or_default()));
            let retries = timeline.retries.values().map(|column| sum(column)).sum();
            let begins_s = (from as u64 * timeline.width_ms) as f64 / 1e3;
            vec![
                Cell::Text(format!("{begins_s:.1} s")),
                Cell::count(sum(&timeline.acknowledged)),
                Cell::count(retries),
                Cell::count(sum(&timeline.refused)),
                Cell::Number(millis(late)),
            ]
        })
        .collect();
    let heads = [
        "From",
        "Acknowledged",
        "Posts made again",
        "Refused",
        "Lateness p99, ms",
    ];
    table("Over time", &heads, &rows)
}

fn largest(values: &[Option<f64>]) -> Option<f64> {
    values.iter().flatten().copied().reduce(f64::max)
}
