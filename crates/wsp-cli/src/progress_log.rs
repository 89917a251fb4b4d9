//! How far a stream is, in the log: for launchers that read lines, where no terminal shows it.
//!
//! The form of a line is that of the platform's producer: its launcher looks for `output_id=` and
//! `emitted=` beside each other.

use std::collections::BTreeMap;
use std::time::Instant;

use wsp::Progress;
use wsp::profile::ProgressLines;
use wsp::replay::OutputProgress;

/// What was said of each output.
pub struct ProgressLog {
    lines: ProgressLines,
    began: Instant,
    /// By output id: the events and the time of its last line.
    said: BTreeMap<String, (u64, Instant)>,
}

impl ProgressLog {
    /// Nothing is said yet of a stream that begins now.
    pub fn new(lines: ProgressLines, began: Instant) -> Self {
        Self {
            lines,
            began,
            said: BTreeMap::new(),
        }
    }

    /// The lines that are due: of each output that went on by enough events, or for long enough.
    pub fn due(&mut self, progress: &Progress, now: Instant) -> Vec<String> {
        let mut due = Vec::new();
        for output in &progress.outputs {
            let said = self.said.get(output.output_id.as_str());
            let (events, at) = said.copied().unwrap_or((0, self.began));
            let more = output.emitted - events.min(output.emitted);
            let is_late = now.saturating_duration_since(at) >= self.lines.within;
            if more >= self.lines.every || more > 0 && is_late {
                let id = output.output_id.to_string();
                self.said.insert(id, (output.emitted, now));
                due.push(line("progress", output));
            }
        }
        due
    }

    /// The last lines of a stream that ended.
    pub fn last(progress: &Progress) -> Vec<String> {
        let outputs = progress.outputs.iter().filter(|output| output.emitted > 0);
        outputs.map(|output| line("stream ended", output)).collect()
    }
}

fn line(what: &str, output: &OutputProgress) -> String {
    let OutputProgress {
        output_id, emitted, ..
    } = output;
    let line = format!("WSP {what} output_id={output_id} emitted={emitted}");
    let Some(reached) = &output.reached else {
        return line;
    };
    let (file, row, time) = (&reached.file, reached.row, reached.time);
    format!("{line} last_file={file} row={row} ts={time}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn progress(emitted: u64) -> Progress {
        Progress {
            outputs: vec![OutputProgress {
                output_id: "arrivals".into(),
                emitted,
                reached: None,
            }],
            ..Progress::default()
        }
    }

    #[test]
    fn a_line_is_due_after_so_many_events_or_so_long_and_never_without_an_event() {
        let began = Instant::now();
        let lines = ProgressLines {
            every: 100,
            within: Duration::from_secs(30),
        };
        let mut log = ProgressLog::new(lines, began);
        let mut due = |emitted, seconds| {
            let now = began + Duration::from_secs(seconds);
            log.due(&progress(emitted), now).len()
        };
        assert_eq!(due(99, 1), 0);
        assert_eq!(due(100, 2), 1);
        assert_eq!(
            due(150, 31),
            0,
            "30 seconds after the line, not the beginning"
        );
        assert_eq!(due(150, 32), 1);
        assert_eq!(due(150, 99), 0);
        assert_eq!(due(400, 99), 1);
        assert_eq!(
            ProgressLog::last(&progress(400)),
            ["WSP stream ended output_id=arrivals emitted=400"]
        );
    }
}
