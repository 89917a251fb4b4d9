//! The lines on a control socket.

use serde::{Deserialize, Serialize};

use oracle_store::from_json;
use push::Away;
use replay::{Act, GateQuarantineReport, Pace, Progress, RateSteps, Reading, Speedup, State};

/// The only version of the protocol.
pub(super) const VERSION: u32 = 1;
/// A request is no longer than this, its line feed included.
pub(super) const LONGEST_REQUEST: u64 = 4_096;

/// A request of a client: an act, or a look.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A snapshot.
    Status,
    /// An act, and a snapshot from behind it.
    Act(Act),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    version: u32,
    act: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    speedup: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
}

impl Request {
    /// Reads a request from its line.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let line: Line = from_json(line).map_err(|error| format!("no request: {error}"))?;
        if line.version != VERSION {
            let theirs = line.version;
            return Err(format!(
                "version {theirs} is not spoken here, but {VERSION}"
            ));
        }
        let act = match (line.act.as_str(), line.events, line.speedup, line.rate) {
            ("status", None, None, None) => return Ok(Self::Status),
            ("pause", None, None, None) => Act::Pause,
            ("resume", None, None, None) => Act::Resume,
            ("stop", None, None, None) => Act::Stop,
            ("step", Some(events), None, None) => Act::Step(events),
            ("pause_after", Some(events), None, None) => Act::PauseAfter(events),
            ("pace", None, Some(factor), None) => {
                let speedup = Speedup::new(factor);
                Act::SetPace(speedup.ok_or("a speedup is at least 0")?.into())
            }
            ("pace", None, None, Some(rate)) => Act::SetPace(rate.parse::<RateSteps>()?.into()),
            (act, ..) => return Err(format!("`{act}` is no act, or its fields are others")),
        };
        Ok(Self::Act(act))
    }

    /// The request as one line of JSON, its line feed included.
    pub fn to_line(&self) -> String {
        let mut line = Line {
            version: VERSION,
            act: "status".to_owned(),
            events: None,
            speedup: None,
            rate: None,
        };
        if let Self::Act(act) = self {
            act.as_str().clone_into(&mut line.act);
            match act {
                Act::Step(events) | Act::PauseAfter(events) => line.events = Some(*events),
                Act::SetPace(Pace::Speedup(speedup)) => line.speedup = Some(speedup.factor()),
                Act::SetPace(Pace::Rate(steps)) => line.rate = Some(steps.to_string()),
                Act::Pause | Act::Resume | Act::Stop => {}
            }
        }
        // A struct of numbers and texts is always JSON.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }
}

/// What a stream is doing at one moment, for a client.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The id of the process that streams.
    pub pid: u32,
    /// The state of the stream.
    pub state: State,
    /// The pace that makes the next event due.
    pub pace: Pace,
    /// The meters of all outputs together.
    #[serde(flatten)]
    pub meters: Reading,
    /// The number of events that saved cursors cover.
    pub durable: u64,
    /// About how many events the run will come to; `None` until that is known.
    pub total: Option<u64>,
    /// The event time of the last acknowledgement.
    pub event_time: Option<String>,
    /// How late the last acknowledged event was sent, in milliseconds; absent if unpaced.
    pub lateness_ms: Option<f64>,
    /// When the next event is due, by the wall clock; absent where it is not waited for
    /// longer than a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due: Option<String>,
    /// What is wrong with the ingestion gate; absent while it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate_away: Option<Away>,
    /// What is wrong with the checkpoint store; absent while it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_away: Option<Away>,
    /// What the ingestion gate quarantined; absent as long as that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate_quarantined: Option<GateQuarantineReport>,
}

impl Snapshot {
    pub(super) fn of(progress: &Progress, state: State) -> Self {
        Self {
            pid: std::process::id(),
            state: progress.shown(state),
            pace: progress.pace.clone(),
            meters: progress.meters,
            durable: progress.durable,
            total: progress.total,
            event_time: progress.event_time.map(|time| time.to_string()),
            lateness_ms: (!progress.pace.is_unpaced()).then_some(progress.lateness_ms),
            next_due: progress.next_due_text(),
            gate_away: progress.gate_away.clone(),
            store_away: progress.store_away.clone(),
            gate_quarantined: progress.gate_quarantined.clone(),
        }
    }
}

/// The answer of a stream to one request.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    version: u32,
    /// Whether the request was carried out.
    pub applied: bool,
    /// Why the request was refused; `None` where it was carried out.
    pub refused: Option<String>,
    /// What the stream is doing after the request.
    pub stream: Snapshot,
}

impl Answer {
    pub(super) fn new(refused: Option<String>, stream: Snapshot) -> Self {
        Self {
            version: VERSION,
            applied: refused.is_none(),
            refused,
            stream,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_the_same() {
        let rate: RateSteps = "0:100,60:500.5".parse().unwrap();
        for request in [
            Request::Status,
            Request::Act(Act::Pause),
            Request::Act(Act::Resume),
            Request::Act(Act::Stop),
            Request::Act(Act::Step(7)),
            Request::Act(Act::PauseAfter(7)),
            Request::Act(Act::SetPace(Speedup::new(0.25).unwrap().into())),
            Request::Act(Act::SetPace(rate.into())),
            Request::Act(Act::SetPace("500".parse::<RateSteps>().unwrap().into())),
        ] {
            let line = request.to_line();
            assert_eq!(Request::parse(line.as_bytes()), Ok(request), "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_a_sentence() {
        for line in [
            "",
            "pause",
            "{}",
            r#"{"version":2,"act":"pause"}"#,
            r#"{"version":1,"act":"fly"}"#,
            r#"{"version":1,"act":"step"}"#,
            r#"{"version":1,"act":"pause","events":3}"#,
            r#"{"version":1,"act":"pace","speedup":-1}"#,
            r#"{"version":1,"act":"pace","speedup":1,"rate":"5"}"#,
            r#"{"version":1,"act":"pace","rate":"0:0"}"#,
            r#"{"version":1,"act":"pause","now":true}"#,
            r#"[1,"pause",null,null,null]"#,
        ] {
            assert!(Request::parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
