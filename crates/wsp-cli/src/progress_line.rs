//! The progress of a stream: a line on a terminal, lines of the log elsewhere.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use indicatif::{FormattedDuration, HumanCount, ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wsp::Progress;
use wsp::profile::ProgressLines;
use wsp::replay::State;

use crate::face::Face;
use crate::logging::PROGRESS;
use crate::output;
use crate::progress_log::ProgressLog;

const REDRAW: Duration = Duration::from_millis(250);

/// The line, while it is drawn, or the lines of the log.
pub struct ProgressLine {
    drawing: Option<(JoinHandle<()>, ProgressBar)>,
    logging: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Draws a line if people watch standard error, and writes lines to the log if it is no
    /// terminal.
    pub fn start(
        mut progress: watch::Receiver<Progress>,
        face: Face,
        lines: ProgressLines,
    ) -> Self {
        // A dumb terminal cannot take a line back.
        let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        if is_dumb || !face.is_watched {
            let logging = face
                .logs_progress
                .then(|| tokio::spawn(log(progress, lines)));
            return Self {
                drawing: None,
                logging,
            };
        }
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message("looking at the evidence");
        bar.enable_steady_tick(REDRAW);
        let drawn = bar.clone();
        output::write_above(Some(bar.clone()));
        let task = tokio::spawn(async move {
            let mut before = (Instant::now(), 0);
            let mut rate = 0.0;
            while progress.changed().await.is_ok() {
                let now = progress.borrow_and_update().clone();
                let passed = before.0.elapsed().as_secs_f64();
                if passed > 0.5 {
                    rate = (now.meters.acknowledged - before.1) as f64 / passed;
                    before = (Instant::now(), now.meters.acknowledged);
                }
                drawn.set_message(line(&now, rate));
            }
        });
        Self {
            drawing: Some((task, bar)),
            logging: None,
        }
    }

    /// Takes the line off the terminal, or writes the last ones to the log.
    pub async fn finish(self) {
        if let Some(logging) = self.logging {
            // It ends with the stream.
            let _ = logging.await;
        }
        if let Some((task, bar)) = self.drawing {
            bar.finish_and_clear();
            output::write_above(None);
            task.abort();
            let _ = task.await;
        }
    }
}

/// Writes lines to the log until the stream is gone.
async fn log(mut progress: watch::Receiver<Progress>, lines: ProgressLines) {
    let mut log = ProgressLog::new(lines, Instant::now());
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        for line in log.due(&now, Instant::now()) {
            tracing::info!(target: PROGRESS, "{line}");
        }
    }
    let now = progress.borrow().clone();
    for line in ProgressLog::last(&now) {
        tracing::info!(target: PROGRESS, "{line}");
    }
}

fn line(now: &Progress, rate: f64) -> String {
    let acknowledged = now.meters.acknowledged;
    let done = acknowledged + now.meters.quarantined;
    if let (0, Some((rows, of))) = (done, now.sorting) {
        let percent = 100.0 * rows as f64 / of.max(1) as f64;
        return format!("sorting {} rows, {percent:.1} %", HumanCount(of));
    }
    let mut line = format!(
        "{} events, {} /s",
        HumanCount(acknowledged),
        HumanCount(rate as u64)
    );
    if now.meters.quarantined > 0 {
        let _ = write!(line, ", {} quarantined", HumanCount(now.meters.quarantined));
    }
    if let Some(time) = now.event_time {
        let _ = write!(line, ", at {time}");
    }
    match now.state {
        State::Running | State::Starting => {}
        State::HeldBack => line.push_str(", held back"),
        State::GateAway => line.push_str(", GATE AWAY"),
        State::StoreAway => line.push_str(", CHECKPOINT STORE AWAY"),
        State::WaitingForStart => line.push_str(", waiting for its start"),
        State::Paused => line.push_str(", PAUSED"),
        State::Ending => line.push_str(", ending"),
    }
    if let Some(due) = now.next_due_text() {
        let _ = write!(line, ", next event due {due}");
    }
    if !now.pace.is_unpaced() {
        let _ = write!(line, ", {}, {:.1} ms late", now.pace, now.lateness_ms);
    }
    if let Some(total) = now.total.filter(|total| *total > 0) {
        let percent = 100.0 * done as f64 / total as f64;
        let _ = write!(line, ", {percent:.1} %");
        if rate >= 1.0 {
            let left = Duration::from_secs((total.saturating_sub(done) as f64 / rate) as u64);
            let _ = write!(line, ", {} left", FormattedDuration(left));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use wsp::Pace;

    use super::*;

    #[test]
    fn a_line_says_percent_and_time_left_where_the_total_is_known() {
        let mut now = Progress {
            pace: Pace::UNPACED,
            ..Progress::default()
        };
        now.meters.acknowledged = 250;
        assert_eq!(line(&now, 100.0), "250 events, 100 /s");
        now.total = Some(1_000);
        assert_eq!(
            line(&now, 100.0),
            "250 events, 100 /s, 25.0 %, 00:00:07 left"
        );
        now.meters.quarantined = 50;
        assert_eq!(
            line(&now, 100.0),
            "250 events, 100 /s, 50 quarantined, 30.0 %, 00:00:07 left"
        );
    }

    #[test]
    fn a_line_says_what_the_stream_is_at_and_how_it_is_paced() {
        let now = Progress {
            state: State::Paused,
            ..Progress::default()
        };
        assert_eq!(
            line(&now, 0.0),
            "0 events, 0 /s, PAUSED, 1 times, 0.0 ms late"
        );
    }

    #[test]
    fn a_line_says_when_an_event_that_is_far_away_is_due() {
        let now = Progress {
            state: State::Running,
            next_due: Some(std::time::UNIX_EPOCH + Duration::from_millis(3_600_400)),
            ..Progress::default()
        };
        assert_eq!(
            line(&now, 0.0),
            "0 events, 0 /s, next event due 1970-01-01T01:00:00Z, 1 times, 0.0 ms late"
        );
    }
}
