//! The report of a run: one JSON object, the same for people and programs.

use std::time::SystemTime;

use chrono::DateTime;
use envelope::EventTime;
use gates::DataVerified;
use model::{
    DoneTally, Hex64, OutputId, PackKey, PlatformRunId, RefusalRecord, ScenarioId, ShardBy,
};
use oracle_store::{Posture, StreamView};
use push::Retries;
use serde::{Deserialize, Serialize};

use crate::build::BUILD;
use crate::plan::ViewReport;
use crate::plan::selection::Role;
use crate::run::clock_skew::ClockSkew;
use crate::run::report_text::{
    FORMAT_VERSION, KnownText, OutputText, ScheduleText, UnreadableReport, first_format,
    known_code, known_order, no_fields_or, or_no_fields,
};
use crate::run::shown::GatesReport;
use crate::run::threshold_report::{ThresholdReport, Verdict};
use replay::{
    CheckpointCounts, CursorPlace, Decisions, GateQuarantineReport, LatenessLogs, LatenessReport,
    OutagesReport, Pace, QuarantineReport, Reading, Scheduled, TimelineReport,
};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "OutputText")]
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
    pub cursor: Option<CursorPlace>,
}

/// What the rows of an output are read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ScheduleText")]
#[non_exhaustive]
pub struct ScheduleReport {
    /// The pace of the stream: `speedup`, event seconds per wall second, or `rate`, its steps.
    #[serde(flatten)]
    pub pace: Pace,
    /// The wall time of the anchor; written in UTC, to the nanosecond.
    #[serde(serialize_with = "crate::run::report_text::in_nanoseconds")]
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
///
/// Its schema is [`STREAM_REPORT_SCHEMA`](crate::schema::STREAM_REPORT_SCHEMA); `docs/report.md`
/// explains each field. [`StreamReport::read`] reads one that was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StreamReport {
    /// The version of the report's format: 2. Of 1 are the reports that do not say it.
    #[serde(default = "first_format")]
    pub format_version: u32,
    /// The version of the program that ran.
    pub version: String,
    /// The commit that the program was built of, 12 digits of its hash; `None` where the build did
    /// not know it.
    pub commit: Option<String>,
    /// The name of the machine; `None` where it has none.
    pub host: Option<String>,
    /// SHA-256 of the profile's settings, secrets struck out; `None` without a profile.
    pub profile_digest: Option<Hex64>,
    /// The shard that this run streamed; `None` for a run that is not divided.
    pub shard: Option<ShardReport>,
    /// When the run began, in UTC, to the millisecond; `None` until it has.
    pub started_at_utc: Option<String>,
    /// When the run ended, in UTC, to the millisecond; `None` until it has.
    pub ended_at_utc: Option<String>,
    /// How the run ended.
    pub status: Status,
    /// The reason code; `None` where every event was streamed.
    #[serde(deserialize_with = "known_code")]
    pub reason: Option<KnownText>,
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
    #[serde(deserialize_with = "known_order")]
    pub order: Option<KnownText>,
    /// The number of events that the gate acknowledged in this run.
    pub emitted: u64,
    /// The number of events handed over that had no answer when the drain ended; the next run pushes
    /// them again.
    pub unanswered: u64,
    /// Events that the gate would not have: those that were set aside, and the one that ended the
    /// run.
    pub refused: u64,
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
    #[serde(serialize_with = "or_no_fields", deserialize_with = "no_fields_or")]
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
    /// The lateness of all events as HdrHistogram logs, in microseconds; absent for an unpaced stream.
    pub lateness_logs: LatenessLogs,
    /// The run over time; `None` for a run that ended before its first event.
    pub timeline: Option<TimelineReport>,
    /// The thresholds that the run was judged by; empty without any.
    pub thresholds: Vec<ThresholdReport>,
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
            format_version: FORMAT_VERSION,
            version: BUILD.version.to_owned(),
            commit: BUILD.commit.map(str::to_owned),
            host: durable::host_name(),
            profile_digest: None,
            shard: None,
            started_at_utc: None,
            ended_at_utc: None,
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
            refused: 0,
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
            lateness_logs: LatenessLogs::default(),
            timeline: None,
            thresholds: Vec::new(),
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

    /// Reads a report that was written as JSON.
    ///
    /// # Errors
    /// [`UnreadableReport`] with the line, the column and the field of what is damaged: no JSON, a
    /// field that is missing, unknown or occurs twice, or a value that is none. Of a report of a later
    /// format nothing is read ([`UnreadableReport::is_newer`]).
    pub fn read(json: &[u8]) -> Result<Self, UnreadableReport> {
        crate::run::report_text::read_known(json)
    }

    /// Whether a threshold was broken.
    pub fn has_broken_threshold(&self) -> bool {
        self.broken_thresholds().next().is_some()
    }

    fn broken_thresholds(&self) -> impl Iterator<Item = &ThresholdReport> {
        let thresholds = self.thresholds.iter();
        thresholds.filter(|one| matches!(one.verdict, Verdict::Failed | Verdict::Aborted))
    }

    /// Says in words which thresholds a streamed run has broken.
    pub(crate) fn tell_of_failed_thresholds(&mut self) {
        let broken = self.broken_thresholds().map(|threshold| {
            let value = threshold.value.unwrap_or_default();
            format!("`{}` (it was {value})", threshold.condition)
        });
        let broken: Vec<String> = broken.collect();
        if self.status == Status::Streamed && !broken.is_empty() {
            let told = format!("Thresholds that were broken: {}.", broken.join(", "));
            let before = self.detail.take().map(|detail| format!("{detail} "));
            self.detail = Some(before.unwrap_or_default() + &told);
        }
    }

    /// The process's exit status: 0 streamed, 1 failed, 2 unusable arguments or
    /// profile, 3 stopped, 4 streamed or ended with a broken threshold.
    pub fn exit_status(&self) -> u8 {
        let aborted = crate::ReasonCode::ThresholdAborted.as_str();
        match self.status {
            Status::Streamed if self.has_broken_threshold() => 4,
            Status::Failed if self.reason == Some(aborted) => 4,
            Status::Streamed => 0,
            Status::Failed
                if self.reason.is_some_and(|code| {
                    code.starts_with("PROFILE_")
                        || code.starts_with("SHARD_SCHEDULE")
                        || code == "SHARD_INVALID"
                }) =>
            {
                2
            }
            Status::Failed => 1,
            Status::Stopped => 3,
        }
    }
}

impl From<OutputText> for OutputReport {
    fn from(text: OutputText) -> Self {
        Self {
            output_id: text.output_id,
            role: text.role,
            source: SourceReport {
                stream_source: text.stream_source,
                view: text.view,
            },
            meters: Reading {
                read: text.read,
                buffered: text.buffered,
                in_flight: text.in_flight,
                acknowledged: text.acknowledged,
                quarantined: text.quarantined,
            },
            decisions: text.decisions,
            cursor: text.cursor,
        }
    }
}

impl TryFrom<ScheduleText> for ScheduleReport {
    type Error = String;

    fn try_from(text: ScheduleText) -> Result<Self, String> {
        let wall = DateTime::parse_from_rfc3339(&text.wall_origin_utc);
        let wall = wall.map_err(|error| format!("`wall_origin_utc`: {error}"))?;
        Ok(Self {
            pace: Pace::of(text.speedup, text.rate)?,
            wall_origin_utc: SystemTime::from(wall),
            time_origin_utc: text.time_origin_utc,
            last_due_s: text.last_due_s,
            last_handed_over_s: text.last_handed_over_s,
        })
    }
}

/// The shard that a run streamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ShardReport {
    /// The number of the shard, from 0.
    pub index: u32,
    /// The number of shards.
    pub count: u32,
    /// What decides which shard an event is of.
    pub by: ShardBy,
    /// How often the stream was divided before and with this division; 0 for the platform's lanes.
    pub generation: u64,
    /// What became of each output's events before the stream was divided so; empty if it was not
    /// divided before.
    pub before: Vec<OutputDoneBefore>,
    /// How far this machine's clock was from the checkpoint store's at the start; `None` where it is
    /// not known.
    pub clock_skew: Option<ClockSkew>,
    /// The part that this shard has of the rates of profile and flags: 1 / count. Rates from the
    /// environment are not divided.
    pub rate_part: f64,
}

/// What became of an output's events before the stream was divided as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OutputDoneBefore {
    /// The id of the output.
    pub output_id: OutputId,
    /// Its events by what became of them; `None` where a cursor does not say.
    pub done: Option<DoneTally>,
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
    use checkpoint::{Cursor, OrderPosition, RowSource};
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
            cursor: Some(CursorPlace::from(&Cursor {
                last_part: "a.parquet".to_owned(),
                last_file: "/w/a.parquet".to_owned(),
                source: RowSource::Outputs,
                last_row_index: 7,
                last_ts_utc: None,
                order: OrderPosition::AsWritten,
                platform_run_id: "r".to_owned(),
                plan_digest: "d".to_owned(),
                done: None,
            })),
        };
        assert_eq!(
            serde_json::to_value(output).unwrap()["cursor"].to_string(),
            r#"{"last_file":"/w/a.parquet","last_part":"a.parquet","last_row_index":7,"last_ts_utc":null}"#
        );
    }
}
