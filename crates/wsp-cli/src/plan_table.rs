//! What a run would do, as a table for people.

use std::fmt::Write as _;

use wsp::{IdOutline, Outline, Pace};

use crate::face::{Face, Tone};
use crate::quantities::{bytes, count, count_or_unknown, rate, seconds};

/// The heads of the table of outputs; the last column is not aligned.
const HEADS: [&str; 6] = ["TO SEND", "DONE", "LEFT OUT", "PARTS", "BYTES", "OUTPUT"];

/// The table of a plan: the world, each output, how long it takes, and what it takes.
pub fn plan_table(outline: &Outline, face: Face) -> String {
    let mut lines = vec![
        format!(
            "{}  {}",
            face.painted(Tone::Good, outline.status),
            outline.engine_run_root
        ),
        format!(
            "  run      {}, {} posture, order {}",
            outline.platform_run_id,
            format!("{:?}", outline.posture).to_lowercase(),
            outline.order
        ),
        format!("  cursors  {}", outline.checkpoint_store),
    ];
    lines.extend(outputs(outline));
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<9}{text}"));
    if let Some(forecast) = &outline.forecast {
        if let Some((first, last)) = forecast.first_ts_utc.zip(forecast.last_ts_utc) {
            line("time", format!("{first} to {last}"));
        }
        line("takes", duration(outline));
        if forecast.overdue > 0 {
            let overdue = count(forecast.overdue);
            let text = format!("{overdue} events are due before the start, and leave at once");
            line("overdue", text);
        }
        if let Some(reason) = forecast.reason {
            line("ends by", format!("{reason}, before its outputs do"));
        }
        if forecast.basis == "estimate" {
            let text = "times of parts out of order are spread evenly: too many to sort here";
            line("note", text.to_owned());
        }
    }
    let resources = &outline.resources;
    line(
        "needs",
        format!(
            "{} of {} memory, {} open files, {} to read",
            bytes(resources.memory_bytes),
            bytes(resources.memory_budget_bytes),
            count(resources.file_handles),
            bytes(resources.read_bytes)
        ),
    );
    if let Some((divided, ids)) = outline.shards.as_ref().zip(outline.ids.as_ref()) {
        let by = divided.by;
        line(
            "shards",
            format!("{} by {by}: {}", divided.count, shares(ids)),
        );
        if let Some((start, origin)) = divided.start_at_utc.zip(divided.time_origin_utc) {
            let text = format!("--start-at {start} --time-origin {origin}, the same for all");
            line("together", text);
        }
    }
    if let Some(sorting) = &outline.sorting {
        line(
            "sorts",
            format!(
                "{} parts of {} rows in about {}, {} on disk; {} were sorted before",
                count(sorting.parts as u64),
                count(sorting.rows),
                seconds(sorting.seconds),
                bytes(sorting.disk_bytes),
                sorting.sorted_already
            ),
        );
    }
    if !outline.begin_anew.is_empty() {
        let ids: Vec<&str> = outline
            .begin_anew
            .iter()
            .map(oracle_store::OutputId::as_str)
            .collect();
        let warning = face.painted(Tone::Warning, "from the first row, beside cursors");
        line("anew", format!("{warning}: {}", ids.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// A line for each output, and one for all of them where there are several.
fn outputs(outline: &Outline) -> Vec<String> {
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(outline.outputs.iter().map(|output| {
        [
            count_or_unknown(output.to_send),
            count_or_unknown(output.skipped),
            count_or_unknown(output.left_out),
            count(output.parts as u64),
            bytes(output.bytes),
            output.output_id.to_string(),
        ]
    }));
    let all = &outline.outputs;
    if all.len() > 1 {
        let sum = |of: fn(&wsp::OutputOutline) -> Option<u64>| {
            count_or_unknown(all.iter().map(of).sum::<Option<u64>>())
        };
        rows.push([
            sum(|output| output.to_send),
            sum(|output| output.skipped),
            sum(|output| output.left_out),
            count(all.iter().map(|output| output.parts as u64).sum()),
            bytes(all.iter().map(|output| output.bytes).sum()),
            "all".to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len() - 1).map(width).collect();
    let shown = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:>width$}"))
            .collect();
        format!("  {}  {}", cells.join("  "), row[HEADS.len() - 1])
    });
    shown.collect()
}

/// How evenly the shards divide the events.
fn shares(ids: &IdOutline) -> String {
    let events = ids.of_shards.iter().map(|shard| shard.tally.events);
    let least = events.clone().min().unwrap_or_default();
    let most = events.max().unwrap_or_default();
    format!(
        "{} to {} events each, the largest has {:.1} % of all",
        count(least),
        count(most),
        ids.largest_share * 100.0
    )
}

fn duration(outline: &Outline) -> String {
    let pace = match &outline.pace {
        Pace::Speedup(speedup) if speedup.is_unpaced() => {
            "as fast as the gate takes them".to_owned()
        }
        Pace::Speedup(speedup) => format!("at {} times the speed of the world", speedup.factor()),
        Pace::Rate(steps) => format!("at {steps} events a second"),
    };
    let Some(forecast) = &outline.forecast else {
        return pace;
    };
    let Some(lasts) = forecast.duration_s else {
        return pace;
    };
    let mut text = format!("{} {pace}", seconds(lasts));
    if let Some(mean) = forecast.mean_events_per_second {
        let _ = write!(text, ": {} a second", rate(mean));
    }
    if let Some(peak) = forecast.peak_events_per_second {
        let _ = write!(text, ", {} in the busiest", count(peak));
    }
    match forecast.starts_in_s {
        Some(starts_in) if starts_in > 0.0 => format!("{text}; begins in {}", seconds(starts_in)),
        _ => text,
    }
}
