//! The report of a run: one JSON object, the same for people and programs.

use std::time::SystemTime;

use checkpoint::Cursor;
use chrono::{DateTime, SecondsFormat, Utc};
use envelope::EventTime;
use gates::DataVerified;
use model::{OutputId, PackKey, PlatformRunId, RefusalRecord, ScenarioId};
use oracle_store::{Posture, StreamView};
use push::Retries;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::plan::ViewReport;
use crate::plan::selection::Role;
use crate::run::shown::GatesReport;
use replay::{
    CheckpointCounts, CursorPlace, Decisions, GateQuarantineReport, LatenessReport, OutagesReport,
    Pace, QuarantineReport, Reading, Scheduled,
};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Every event, or as many as asked for, is acknowledged or set aside, and durable.
    Streamed,
    /// Refused before the first push, or failed in the middle.
    Failed,
    /// Stopped by a signal or the caller, after a clean drain.
    Stopped,
}

/// One output of the report.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct OutputReport {
    /// The id of the output, as the catalogue spells it.
    pub output_id: OutputId,
    /// What the output is to the platform.
    pub role: Role,
    /// What the rows were read from.
    #[serde(flatten)]
    pub source: SourceReport,
    /// The events of the output that this run read, acknowledged and set aside.
    #[serde(flatten)]
    pub meters: Reading,
    /// The number of events by the ingestion gate's decision.
    pub decisions: Decisions,
    /// The saved cursor: a later run starts behind it; `None` where nothing is saved.
    #[serde(serialize_with = "shown_cursor")]
    pub cursor: Option<Cursor>,
}

/// What the rows of an output are read from.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SourceReport {
    /// `outputs` or `view`.
    pub stream_source: &'static str,
    /// The stream view; absent where rows are read from the output itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewReport>,
}

impl SourceReport {
    /// What an output of a plan is read from.
    pub(crate) fn of(view: Option<&StreamView>) -> Self {
        Self {
            stream_source: view.map_or("outputs", |_| "view"),
            view: view.map(ViewReport::of),
        }
    }
}

/// The schedule of a paced run, as it stood at its end.
///
/// By a speedup, an event at `time` was due at
/// `wall_origin_utc + (time − time_origin_utc) / speedup`.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ScheduleReport {
    /// The pace of the stream: `speedup`, event seconds per wall second, or `rate`, its steps.
    #[serde(flatten)]
    pub pace: Pace,
    /// The wall time of the anchor; written in UTC, to the nanosecond.
    #[serde(serialize_with = "in_nanoseconds")]
    pub wall_origin_utc: SystemTime,
    /// The event time of the anchor; absent at a rate.
    pub time_origin_utc: Option<EventTime>,
    /// Seconds from the anchor to the last event's due time.
    pub last_due_s: f64,
    /// Seconds from the anchor to the last event's handing over.
    pub last_handed_over_s: f64,
}

impl ScheduleReport {
    /// The schedule of a run as it stood at the run's end.
    pub fn new(scheduled: &Scheduled) -> Self {
        Self {
            pace: scheduled.pace.clone(),
            wall_origin_utc: scheduled.wall_origin,
            time_origin_utc: scheduled.time_origin,
            last_due_s: scheduled.last_due_s,
            last_handed_over_s: scheduled.last_handed_over_s,
        }
    }
}

/// The report of a run: one JSON object, the same for people and programs.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StreamReport {
    /// How the run ended.
    pub status: Status,
    /// The reason code; `None` where every event was streamed.
    pub reason: Option<&'static str>,
    /// The reason in words: what happened, where, and what to do.
    pub detail: Option<String>,
    /// What ended a failed run, with its class, place and advice; `None` unless the status is
    /// `FAILED`. Not part of the JSON, which has `reason` and `detail`.
    #[serde(skip)]
    pub failure: Option<RefusalRecord>,
    /// The engine run root of the world; `None` until it is located.
    pub engine_run_root: Option<String>,
    /// The scenario of the world; `None` until it is known.
    pub scenario_id: Option<ScenarioId>,
    /// The ids of the outputs that were streamed, in the order of the list.
    pub output_ids: Vec<OutputId>,
    /// The pack key that the cursors are kept under; `None` until it is known.
    pub pack_key: Option<PackKey>,
    /// The platform run that events were sent under; `None` until it is known.
    pub platform_run_id: Option<PlatformRunId>,
    /// The posture: how much evidence the run needed.
    pub posture: Posture,
    /// The verdicts of the gates; `None` until they are read.
    pub gates: Option<GatesReport>,
    /// How the data itself, beside the gates' bundles, was verified.
    pub data_verified: DataVerified,
    /// The order that events were sent in: `as_written` or `event_time`.
    pub order: Option<&'static str>,
    /// The number of events that the gate acknowledged in this run.
    pub emitted: u64,
    /// The number of events handed over that had no answer when the drain ended; the next run pushes
    /// them again.
    pub unanswered: u64,
    /// Where rejected events were set aside, and how many; absent if none were.
    pub quarantine: Option<QuarantineReport>,
    /// The number of events by the ingestion gate's decision.
    pub decisions: Decisions,
    /// What the ingestion gate quarantined; `None` if that is nothing.
    pub gate_quarantined: Option<GateQuarantineReport>,
    /// Whether all answers were DUPLICATE: the gate had every event already, and the run brought
    /// it nothing.
    pub all_duplicates: bool,
    /// The number of posts that were made again, by cause; `None`, written `{}`, for a run that
    /// ended before its first event.
    #[serde(serialize_with = "or_no_fields")]
    pub retries: Option<Retries>,
    /// What became of each output.
    pub per_output: Vec<OutputReport>,
    /// The event time of the first event handed over.
    pub first_ts_utc: Option<EventTime>,
    /// The event time of the last event handed over.
    pub last_ts_utc: Option<EventTime>,
    /// Seconds from the first look at the evidence to the last save.
    pub wall_seconds: f64,
    /// Acknowledged events over the time from the first event to the last save.
    pub events_per_second: f64,
    /// The schedule events were due by; absent for an unpaced stream.
    pub schedule: Option<ScheduleReport>,
    /// Lateness in milliseconds; absent for an unpaced stream.
    pub lateness_ms: LatenessReport,
    /// The number and the durations of the saves.
    pub checkpoints: CheckpointCounts,
    /// How often the ingestion gate and the checkpoint store were away, and for how long.
    pub outages: OutagesReport,
    /// SHA-256 over the event ids in schedule order, as handed over by this run.
    pub stream_digest: Option<String>,
}

impl StreamReport {
    /// The report of a run that has done nothing yet.
    pub fn empty(posture: Posture) -> Self {
        Self {
            status: Status::Failed,
            reason: None,
            detail: None,
            failure: None,
            engine_run_root: None,
            scenario_id: None,
            output_ids: Vec::new(),
            pack_key: None,
            platform_run_id: None,
            posture,
            gates: None,
            data_verified: DataVerified::None,
            order: None,
            emitted: 0,
            unanswered: 0,
            quarantine: None,
            decisions: Decisions::default(),
            gate_quarantined: None,
            all_duplicates: false,
            retries: None,
            per_output: Vec::new(),
            first_ts_utc: None,
            last_ts_utc: None,
            wall_seconds: 0.0,
            events_per_second: 0.0,
            schedule: None,
            lateness_ms: LatenessReport::default(),
            checkpoints: CheckpointCounts::default(),
            outages: OutagesReport::default(),
            stream_digest: None,
        }
    }

    /// The same report of a run that ended with this error.
    #[must_use]
    pub fn failed(mut self, error: &crate::Error) -> Self {
        self.status = Status::Failed;
        self.reason = Some(error.code());
        self.detail = Some(error.detail());
        self.failure = Some(RefusalRecord::of(error));
        self
    }

    /// The process's exit status: 0 streamed, 1 failed, 2 unusable arguments or
    /// profile, 3 stopped.
    pub fn exit_status(&self) -> u8 {
        match self.status {
            Status::Streamed => 0,
            Status::Failed if self.reason.is_some_and(|code| code.starts_with("PROFILE_")) => 2,
            Status::Failed => 1,
            Status::Stopped => 3,
        }
    }
}

fn in_nanoseconds<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    let time = DateTime::<Utc>::from(*time);
    to.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Nanos, true))
}

#[expect(clippy::ref_option, reason = "serde hands a field over by reference")]
fn shown_cursor<S: Serializer>(cursor: &Option<Cursor>, to: S) -> Result<S::Ok, S::Error> {
    cursor.as_ref().map(CursorPlace::from).serialize(to)
}

/// The counts, or an object without a field.
#[expect(clippy::ref_option, reason = "serde hands a field over by reference")]
pub(crate) fn or_no_fields<S: Serializer>(
    retries: &Option<Retries>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match retries {
        Some(retries) => retries.serialize(to),
        None => to.serialize_map(Some(0))?.end(),
    }
}

/// The ids of outputs, as the platform's own producer lists them in the audit.
#[derive(Debug, Default)]
pub(crate) struct OutputLists<'a> {
    /// All of them, in the order of the list.
    pub(crate) all: Vec<&'a OutputId>,
    /// Those of the traffic.
    pub(crate) traffic: Vec<&'a OutputId>,
    /// Those of the context.
    pub(crate) context: Vec<&'a OutputId>,
}

impl<'a> OutputLists<'a> {
    pub(crate) fn of(outputs: impl Iterator<Item = (&'a OutputId, Role)>) -> Self {
        let mut lists = Self::default();
        for (id, role) in outputs {
            lists.all.push(id);
            match role {
                Role::BusinessTraffic => lists.traffic.push(id),
                Role::BehaviouralContext => lists.context.push(id),
            }
        }
        lists
    }
}

#[cfg(test)]
mod tests {
    use checkpoint::{OrderPosition, RowSource};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn typed_fields_are_written_as_the_text_that_programs_read() {
        let mut report = StreamReport::empty(Posture::Local);
        let unwritten = serde_json::to_value(&report).unwrap();
        assert_eq!(unwritten["retries"], json!({}), "no lane was made");
        assert_eq!(unwritten["first_ts_utc"], Value::Null);
        report.retries = Some(Retries::default());
        report.first_ts_utc = Some("2026-01-28T08:55:40.100195999Z".parse().unwrap());
        let report = report.failed(&crate::Error::new(
            crate::ReasonCode::NoTrafficOutputs,
            "a",
            "B.",
        ));
        assert_eq!(report.failure.as_ref().unwrap().advice, "B.");
        let written = serde_json::to_value(&report).unwrap();
        assert_eq!(written["retries"]["http_429"], 0);
        assert_eq!(written["first_ts_utc"], "2026-01-28T08:55:40.100195Z");
        assert_eq!(written["reason"], "NO_TRAFFIC_OUTPUTS");
        assert_eq!(written.get("failure"), None);
        let fields = |report: &Value| {
            report
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(fields(&written), fields(&unwritten));
    }

    #[test]
    fn a_cursor_and_an_anchor_are_written_as_the_text_that_programs_read() {
        let scheduled = Scheduled {
            pace: Pace::default(),
            wall_origin: SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1),
            time_origin: EventTime::from_nanos(0),
            last_due_s: 0.0,
            last_handed_over_s: 0.0,
        };
        let schedule = serde_json::to_value(ScheduleReport::new(&scheduled)).unwrap();
        assert_eq!(
            schedule["wall_origin_utc"],
            "1970-01-01T00:00:00.000000001Z"
        );
        assert_eq!(schedule["time_origin_utc"], "1970-01-01T00:00:00.000000Z");
        let output = OutputReport {
            output_id: OutputId::new("o"),
            role: Role::BusinessTraffic,
            source: SourceReport::of(None),
            meters: Reading::default(),
            decisions: Decisions::default(),
            cursor: Some(Cursor {
                last_part: "a.parquet".to_owned(),
                last_file: "/w/a.parquet".to_owned(),
                source: RowSource::Outputs,
                last_row_index: 7,
                last_ts_utc: None,
                order: OrderPosition::AsWritten,
                platform_run_id: "r".to_owned(),
                plan_digest: "d".to_owned(),
            }),
        };
        assert_eq!(
            serde_json::to_value(output).unwrap()["cursor"].to_string(),
            r#"{"last_file":"/w/a.parquet","last_part":"a.parquet","last_row_index":7,"last_ts_utc":null}"#
        );
    }
}
