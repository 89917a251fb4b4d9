//! The columns that the plots are drawn from.

use serde::Serialize;
use wsp::StreamReport;
use wsp::replay::{HdrLog, LatenessColumns, TimelineReport};

/// Where the script draws; without one they say so.
pub(super) const PLACES: &str = "<section class=\"plots\" id=\"places\" aria-label=\"Plots\">\
<noscript><p class=\"sub\">The plots need JavaScript; the tables below have their figures.</p></noscript>\
</section>\n";

/// What the script reads.
#[derive(Debug, Serialize)]
pub(super) struct Plots {
    /// Seconds from the beginning of the run to each bucket.
    seconds: Vec<f64>,
    plots: Vec<Plot>,
}

/// One plot: lines over the seconds, or bars over named classes.
#[derive(Debug, Serialize)]
struct Plot {
    title: &'static str,
    /// What the values are of.
    unit: &'static str,
    /// The names of the bars; absent where the values are over time.
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<String>>,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    values: Vec<Option<f64>>,
}

impl Line {
    fn new(name: impl Into<String>, values: Vec<Option<f64>>) -> Self {
        let name = name.into();
        Self { name, values }
    }

    /// A column of counts, as a rate.
    fn rate(name: impl Into<String>, counts: &[u64], width_s: f64) -> Self {
        let rate = |count: &u64| Some(rounded(*count as f64 / width_s));
        Self::new(name, counts.iter().map(rate).collect())
    }
}

/// The plots of a run; `None` for one that ended before its first event.
pub(super) fn data(report: &StreamReport) -> Option<Plots> {
    let timeline = report.timeline.as_ref()?;
    let width_s = timeline.width_ms.max(1) as f64 / 1e3;
    let mut plots = vec![throughput(timeline, width_s)];
    let lateness = [
        ("Lateness at send", &timeline.lateness_send_ms),
        ("Lateness at acknowledgement", &timeline.lateness_ack_ms),
    ];
    for (title, columns) in lateness {
        plots.extend(columns.as_ref().map(|columns| late(title, columns)));
    }
    plots.extend(distribution(report));
    if !timeline.retries.is_empty() {
        plots.push(retries(timeline));
    }
    plots.push(Plot {
        title: "Permits",
        unit: "requests",
        classes: None,
        lines: vec![
            Line::new("in use", timeline.permits_in_use.clone()),
            Line::new("allowed", timeline.permits_allowed.clone()),
        ],
    });
    plots.push(progress(timeline));
    let bucket = |bucket: usize| rounded(bucket as f64 * width_s);
    Some(Plots {
        seconds: (0..timeline.buckets).map(bucket).collect(),
        plots,
    })
}

/// A number with as many digits as a plot shows.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn throughput(timeline: &TimelineReport, width_s: f64) -> Plot {
    let mut lines = vec![Line::rate("acknowledged", &timeline.acknowledged, width_s)];
    let columns = [
        ("duplicates", &timeline.duplicates),
        ("refused", &timeline.refused),
        ("quarantined by the gate", &timeline.gate_quarantined),
    ];
    let seen = columns
        .into_iter()
        .filter(|(_, column)| column.iter().any(|count| *count > 0));
    lines.extend(seen.map(|(name, column)| Line::rate(name, column, width_s)));
    Plot {
        title: "Throughput",
        unit: "events a second",
        classes: None,
        lines,
    }
}

fn late(title: &'static str, columns: &LatenessColumns) -> Plot {
    let lines = [
        ("p50", &columns.p50),
        ("p99", &columns.p99),
        ("max", &columns.max),
    ];
    Plot {
        title,
        unit: "ms",
        classes: None,
        lines: lines
            .map(|(name, column)| Line::new(name, column.clone()))
            .into(),
    }
}

/// How many events were how late, in classes that each reach twice as far as the one before.
fn distribution(report: &StreamReport) -> Option<Plot> {
    let logs = &report.lateness_logs;
    let named = [("at send", &logs.send), ("at acknowledgement", &logs.ack)];
    let named = named
        .into_iter()
        .filter_map(|(name, log)| Some((name, classes(log.as_ref()?)?)));
    let named: Vec<(&str, Vec<u64>)> = named.collect();
    let most = named.iter().map(|(_, counts)| counts.len()).max()?;
    let lines = named.iter().map(|(name, counts)| {
        let values =
            (0..most).map(|class| Some(counts.get(class).map_or(0.0, |count| *count as f64)));
        Line::new(*name, values.collect())
    });
    Some(Plot {
        title: "Lateness distribution",
        unit: "events",
        classes: Some((0..most).map(class_name).collect()),
        lines: lines.collect(),
    })
}

/// Events by class: class *n* holds lateness up to 2ⁿ / 8 ms.
fn classes(log: &HdrLog) -> Option<Vec<u64>> {
    let mut histogram = HdrLog::histogram();
    log.add_to(&mut histogram).ok()?;
    let mut counts = Vec::new();
    for recorded in histogram.iter_recorded() {
        let eighths = recorded.value_iterated_to().div_ceil(125).max(1);
        let class = eighths.next_power_of_two().ilog2() as usize;
        if counts.len() <= class {
            counts.resize(class + 1, 0);
        }
        counts[class] += recorded.count_at_value();
    }
    Some(counts)
}

fn class_name(class: usize) -> String {
    let millis = 0.125 * 2.0_f64.powi(class as i32);
    if millis < 1_000.0 {
        format!("≤ {millis} ms")
    } else {
        format!("≤ {:.0} s", millis / 1e3)
    }
}

fn retries(timeline: &TimelineReport) -> Plot {
    let lines = timeline.retries.iter().map(|(cause, column)| {
        let values = column.iter().map(|count| Some(*count as f64));
        Line::new(cause.replace('_', " "), values.collect())
    });
    Plot {
        title: "Posts made again",
        unit: "posts",
        classes: None,
        lines: lines.collect(),
    }
}

/// The events of each output so far.
fn progress(timeline: &TimelineReport) -> Plot {
    let outputs = timeline.outputs.iter();
    let outputs = outputs.map(|output| (output.output_id.to_string(), &output.acknowledged));
    let others = timeline.other_outputs.iter();
    let others = others.map(|column| ("other outputs".to_owned(), column));
    let lines = outputs.chain(others).map(|(name, column)| {
        let so_far = column.iter().scan(0, |sum, count| {
            *sum += count;
            Some(Some(*sum as f64))
        });
        Line::new(name, so_far.collect())
    });
    Plot {
        title: "Progress of each output",
        unit: "events so far",
        classes: None,
        lines: lines.collect(),
    }
}
