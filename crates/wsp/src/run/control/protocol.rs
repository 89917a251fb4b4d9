//! The requests on a control socket.

use std::time::Duration;

use envelope::EventTime;
use serde::{Deserialize, Serialize};

use oracle_store::from_json;
use replay::{Act, OnBehalfOf, Pace, RateSteps, Speedup, TapSettings};

/// The only version of the protocol.
pub(super) const VERSION: u32 = 1;
/// What a refusal begins with where the two ends speak different versions.
pub const VERSION_UNSUPPORTED: &str = "CONTROL_VERSION_UNSUPPORTED";
/// A request is no longer than this, its line feed included.
pub(super) const LONGEST_REQUEST: u64 = 4_096;

/// A request of a client: an act, or a look.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// A snapshot.
    Status,
    /// A snapshot now and every so often, until the client goes.
    Watch(WatchInterval),
    /// An act, and a snapshot from behind it; of a tap, copies behind that.
    Act {
        /// What is to be done.
        act: Act,
        /// For whom the client says to ask; `None` names nobody.
        on_behalf_of: Option<OnBehalfOf>,
    },
}

impl From<Act> for Request {
    /// Asks for nobody else.
    fn from(act: Act) -> Self {
        Self::Act {
            act,
            on_behalf_of: None,
        }
    }
}

/// How often a watcher gets a snapshot: every 100 ms to every minute, in whole milliseconds. The
/// default is a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchInterval(u64);

impl WatchInterval {
    /// An interval of whole milliseconds.
    ///
    /// # Errors
    /// A sentence, for less than 100 and more than 60,000.
    pub fn of_millis(millis: u64) -> Result<Self, String> {
        if (100..=60_000).contains(&millis) {
            return Ok(Self(millis));
        }
        Err(format!(
            "a watcher gets a snapshot every 100 to 60,000 ms, and not every {millis}"
        ))
    }

    /// The interval.
    pub fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Default for WatchInterval {
    fn default() -> Self {
        Self(1_000)
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    version: u32,
    act: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    speedup: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wall_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<String>,
}

impl Line {
    fn of(act: &str) -> Self {
        Self {
            version: VERSION,
            act: act.to_owned(),
            ..Self::default()
        }
    }

    /// Takes what the act needs out of the line.
    fn take_request(&mut self) -> Result<Request, String> {
        let act = self.act.clone();
        let missing = || format!("`{act}` is no act, or its fields are others");
        let time = |text: Option<String>| {
            let text = text.ok_or_else(missing)?;
            EventTime::parse(&text).map_err(|error| format!("`{text}` is no time: {error}"))
        };
        let asked = match act.as_str() {
            "status" => return Ok(Request::Status),
            "watch" => {
                let every = self.every_ms.take().map(WatchInterval::of_millis);
                return Ok(Request::Watch(every.transpose()?.unwrap_or_default()));
            }
            "pause" => Act::Pause,
            "resume" => Act::Resume,
            "stop" => Act::Stop,
            "pause_at" => Act::PauseAt(time(self.event_time.take())?),
            "resume_at" => Act::ResumeAt(time(self.wall_time.take())?),
            "step" => Act::Step(self.events.take().ok_or_else(missing)?),
            "pause_after" => Act::PauseAfter(self.events.take().ok_or_else(missing)?),
            "tap" => {
                let events = self.events.take().ok_or_else(missing)?;
                let with_envelopes = self.payload.take().unwrap_or(false);
                Act::Tap(TapSettings::new(events, with_envelopes)?)
            }
            "pace" => match (self.speedup.take(), self.rate.take()) {
                (Some(factor), None) => {
                    let speedup = Speedup::new(factor);
                    Act::SetPace(speedup.ok_or("a speedup is at least 0")?.into())
                }
                (None, Some(rate)) => Act::SetPace(rate.parse::<RateSteps>()?.into()),
                _ => return Err(missing()),
            },
            _ => return Err(missing()),
        };
        let on_behalf_of = self.on_behalf_of.take().map(OnBehalfOf::new).transpose()?;
        Ok(Request::Act {
            act: asked,
            on_behalf_of,
        })
    }

    /// Puts what an act needs into the line.
    fn put(&mut self, act: &Act) {
        match act {
            Act::Step(events) | Act::PauseAfter(events) => self.events = Some(*events),
            Act::PauseAt(time) => self.event_time = Some(nanosecond_text(*time)),
            Act::ResumeAt(time) => self.wall_time = Some(nanosecond_text(*time)),
            Act::SetPace(Pace::Speedup(speedup)) => self.speedup = Some(speedup.factor()),
            Act::SetPace(Pace::Rate(steps)) => self.rate = Some(steps.to_string()),
            Act::Tap(tap) => {
                self.events = Some(tap.events);
                self.payload = Some(tap.with_envelopes);
            }
            Act::Pause | Act::Resume | Act::Stop => {}
        }
    }
}

/// The version of a line, whatever else it holds: the fields of a later version may be others.
pub(super) fn version_of(line: &[u8]) -> serde_json::Result<u64> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    from_json::<Versioned>(line).map(|line| line.version)
}

/// Refuses a line of another version.
pub(super) fn check_version(theirs: u64) -> Result<(), String> {
    if theirs == u64::from(VERSION) {
        return Ok(());
    }
    Err(format!(
        "{VERSION_UNSUPPORTED}: the other side speaks version {theirs} of the control protocol, and \
         version {VERSION} is spoken here; use the client and the stream of one release"
    ))
}

/// A time with all nine digits, where its text form cuts off three.
fn nanosecond_text(time: EventTime) -> String {
    let text = time.to_string();
    let micros = text.trim_end_matches('Z');
    format!("{micros}{:03}Z", time.nanos().rem_euclid(1_000))
}

impl Request {
    /// Reads a request from its line.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let no_request = |error| format!("no request: {error}");
        check_version(version_of(line).map_err(no_request)?)?;
        let mut line: Line = from_json(line).map_err(no_request)?;
        let request = line.take_request()?;
        if line != Line::of(&line.act) {
            return Err(format!("`{}` has fields that are not its own", line.act));
        }
        Ok(request)
    }

    /// The request as one line of JSON, its line feed included.
    pub fn to_line(&self) -> String {
        let line = match self {
            Self::Status => Line::of("status"),
            Self::Watch(WatchInterval(millis)) => Line {
                every_ms: Some(*millis),
                ..Line::of("watch")
            },
            Self::Act { act, on_behalf_of } => {
                let mut line = Line::of(act.as_str());
                line.put(act);
                let name = on_behalf_of.as_ref();
                line.on_behalf_of = name.map(|name| name.as_given().to_owned());
                line
            }
        };
        // A struct of numbers and texts is always JSON.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_the_same() {
        let rate: RateSteps = "0:100,60:500.5".parse().unwrap();
        let time = EventTime::parse("2026-01-28T08:00:00.123456789Z").unwrap();
        let acts = [
            Act::Pause,
            Act::Resume,
            Act::Stop,
            Act::Step(7),
            Act::PauseAfter(7),
            Act::PauseAt(time),
            Act::ResumeAt(time),
            Act::Tap(TapSettings::new(9, true).unwrap()),
            Act::Tap(TapSettings::new(9, false).unwrap()),
            Act::SetPace(Speedup::new(0.25).unwrap().into()),
            Act::SetPace(rate.into()),
            Act::SetPace("500".parse::<RateSteps>().unwrap().into()),
        ];
        let for_nobody = acts.clone().map(Request::from);
        let for_somebody = acts.map(|act| Request::Act {
            act,
            on_behalf_of: Some(OnBehalfOf::new("Ann\u{1b}\"\n é").unwrap()),
        });
        let every = WatchInterval::of_millis(250).unwrap();
        let looks = [Request::Status, Request::Watch(every)];
        for request in for_nobody.into_iter().chain(for_somebody).chain(looks) {
            let line = request.to_line();
            assert_eq!(Request::parse(line.as_bytes()), Ok(request), "{line}");
        }
        let bare = Request::parse(br#"{"version":1,"act":"watch"}"#);
        assert_eq!(bare, Ok(Request::Watch(WatchInterval::default())));
    }

    #[test]
    fn what_is_no_request_is_refused_with_a_sentence() {
        for line in [
            "",
            "pause",
            "{}",
            r#"{"act":"pause"}"#,
            r#"{"version":1,"act":"fly"}"#,
            r#"{"version":1,"act":"step"}"#,
            r#"{"version":1,"act":"pause","events":3}"#,
            r#"{"version":1,"act":"pause_at"}"#,
            r#"{"version":1,"act":"pause_at","event_time":"soon"}"#,
            r#"{"version":1,"act":"pause_at","wall_time":"2026-01-28T08:00:00Z"}"#,
            r#"{"version":1,"act":"resume_at","event_time":"2026-01-28T08:00:00Z"}"#,
            r#"{"version":1,"act":"tap","events":0}"#,
            r#"{"version":1,"act":"tap","events":100001}"#,
            r#"{"version":1,"act":"tap","payload":true}"#,
            r#"{"version":1,"act":"watch","every_ms":99}"#,
            r#"{"version":1,"act":"watch","every_ms":60001}"#,
            r#"{"version":1,"act":"watch","on_behalf_of":"Ann"}"#,
            r#"{"version":1,"act":"status","on_behalf_of":"Ann"}"#,
            r#"{"version":1,"act":"pause","on_behalf_of":""}"#,
            r#"{"version":1,"act":"pace","speedup":-1}"#,
            r#"{"version":1,"act":"pace","speedup":1,"rate":"5"}"#,
            r#"{"version":1,"act":"pace","rate":"0:0"}"#,
            r#"{"version":1,"act":"pause","now":true}"#,
            r#"[1,"pause",null,null,null]"#,
        ] {
            assert!(Request::parse(line.as_bytes()).is_err(), "{line}");
        }
        let newer = br#"{"version":2,"act":"pause","until":"noon"}"#;
        let refused = Request::parse(newer).unwrap_err();
        assert!(refused.starts_with(VERSION_UNSUPPORTED), "{refused}");
        let long = "x".repeat(OnBehalfOf::MOST_CHARS + 1);
        let line = format!(r#"{{"version":1,"act":"pause","on_behalf_of":"{long}"}}"#);
        assert!(Request::parse(line.as_bytes()).is_err());
    }
}
