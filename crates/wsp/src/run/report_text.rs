//! How a report is written and read where serde's own way is another.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use envelope::EventTime;
use model::OutputId;
use oracle_store::from_json;
use push::Retries;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::all_reason_codes;
use crate::plan::ViewReport;
use crate::plan::selection::Role;
use crate::profile::OrderMode;
use replay::{CursorPlace, Decisions, RateStep};

/// Why a text is no report of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}, field `{field}`: {problem}")]
#[non_exhaustive]
pub struct UnreadableReport {
    /// Whether a later release wrote the report in a format that this one does not know.
    pub is_newer: bool,
    /// The line of what is damaged, from 1.
    pub line: usize,
    /// Its column, from 1; 0 at the end of a line.
    pub column: usize,
    /// The field, with those around it: `per_output[0].cursor`; `.` for the whole report, `?`
    /// where the damage lies between two fields.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The format of reports that this release writes.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// The format of a report that does not say its format: only the first did not.
pub(super) fn first_format() -> u32 {
    1
}

/// Reads a report of a format that this release knows; whatever else a later one holds.
pub(super) fn read_known<T: DeserializeOwned>(json: &[u8]) -> Result<T, UnreadableReport> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(default = "first_format")]
        format_version: u32,
    }
    match serde_json::from_slice(json) {
        Ok(Version { format_version }) if !(1..=FORMAT_VERSION).contains(&format_version) => {
            Err(of_format(json, format_version))
        }
        // What cannot be read so is damaged, and the strict reader says where.
        _ => read(json),
    }
}

fn of_format(json: &[u8], version: u32) -> UnreadableReport {
    let text = String::from_utf8_lossy(json);
    let before = text.split("\"format_version\"").next().unwrap_or_default();
    UnreadableReport {
        is_newer: version > FORMAT_VERSION,
        line: before.matches('\n').count() + 1,
        column: before
            .chars()
            .rev()
            .take_while(|char| *char != '\n')
            .count()
            + 1,
        field: "format_version".to_owned(),
        problem: format!(
            "the report is of format version {version}, and this release reads 1 to {FORMAT_VERSION}"
        ),
    }
}

/// Reads a report strictly: each field once, objects for structs, nothing unknown.
fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, UnreadableReport> {
    let mut track = serde_path_to_error::Track::new();
    let mut parser = serde_json::Deserializer::from_slice(json);
    let tracked = serde_path_to_error::Deserializer::new(&mut parser, &mut track);
    let report = model::read_strictly(tracked);
    let report = report.map_err(|error| unreadable(&error, track.path().to_string()))?;
    // What serde does not notice: a field that occurs twice in a map, and what stands behind.
    match from_json::<IgnoredAny>(json) {
        Ok(_) => Ok(report),
        Err(error) => Err(unreadable(&error, ".".to_owned())),
    }
}

fn unreadable(error: &serde_json::Error, field: String) -> UnreadableReport {
    let text = error.to_string();
    // Line and column have fields of their own.
    let at = format!(" at line {} column {}", error.line(), error.column());
    UnreadableReport {
        is_newer: false,
        line: error.line(),
        column: error.column(),
        field,
        problem: text.strip_suffix(&at).unwrap_or(&text).to_owned(),
    }
}

/// One of the texts that this program writes. By another name than a reference to a text, which
/// serde would borrow from what it reads.
pub(super) type KnownText = &'static str;

/// An output of a report, field by field.
#[derive(Deserialize)]
#[serde(rename = "OutputReport", deny_unknown_fields)]
pub(super) struct OutputText {
    pub(super) output_id: OutputId,
    pub(super) role: Role,
    #[serde(deserialize_with = "known_source")]
    pub(super) stream_source: KnownText,
    pub(super) view: Option<ViewReport>,
    pub(super) read: u64,
    pub(super) buffered: u64,
    pub(super) in_flight: u64,
    pub(super) acknowledged: u64,
    pub(super) quarantined: u64,
    pub(super) decisions: Decisions,
    pub(super) cursor: Option<CursorPlace>,
}

/// The schedule of a report, field by field.
#[derive(Deserialize)]
#[serde(rename = "ScheduleReport", deny_unknown_fields)]
pub(super) struct ScheduleText {
    pub(super) speedup: Option<f64>,
    pub(super) rate: Option<Vec<RateStep>>,
    pub(super) wall_origin_utc: String,
    pub(super) time_origin_utc: Option<EventTime>,
    pub(super) last_due_s: f64,
    pub(super) last_handed_over_s: f64,
}

/// A time as reports tell when something happened: in UTC, to the millisecond.
pub(super) fn in_milliseconds(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn in_nanoseconds<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    let time = DateTime::<Utc>::from(*time);
    to.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Nanos, true))
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

/// As [`or_no_fields`] writes it.
pub(super) fn no_fields_or<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Retries>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename = "Retries", deny_unknown_fields)]
    struct Text {
        connection_lost: Option<u64>,
        gate_unhealthy: Option<u64>,
        http_408: Option<u64>,
        http_429: Option<u64>,
        http_503: Option<u64>,
        http_5xx: Option<u64>,
        in_doubt: Option<u64>,
        not_connected: Option<u64>,
        timeout: Option<u64>,
    }
    let text = Text::deserialize(from)?;
    let counts = [
        text.connection_lost,
        text.gate_unhealthy,
        text.http_408,
        text.http_429,
        text.http_503,
        text.http_5xx,
        text.in_doubt,
        text.not_connected,
        text.timeout,
    ];
    if counts.iter().all(Option::is_none) {
        return Ok(None);
    }
    if counts.iter().any(Option::is_none) {
        return Err(D::Error::custom(
            "retries of some causes, and of others none",
        ));
    }
    let mut retries = Retries::default();
    let of = Option::unwrap_or_default;
    retries.connection_lost = of(text.connection_lost);
    retries.gate_unhealthy = of(text.gate_unhealthy);
    retries.http_408 = of(text.http_408);
    retries.http_429 = of(text.http_429);
    retries.http_503 = of(text.http_503);
    retries.http_5xx = of(text.http_5xx);
    retries.in_doubt = of(text.in_doubt);
    retries.not_connected = of(text.not_connected);
    retries.timeout = of(text.timeout);
    Ok(Some(retries))
}

/// A reason code of this program, or nothing.
pub(super) fn known_code<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<&'static str>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    let codes = all_reason_codes();
    let known = codes.into_iter().find(|code| *code == text);
    let unknown = || D::Error::custom(format_args!("`{text}` is no reason code of this version"));
    known.map(Some).ok_or_else(unknown)
}

/// The name of an order, or nothing.
pub(super) fn known_order<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<&'static str>, D::Error> {
    let order = Option::<OrderMode>::deserialize(from)?;
    Ok(order.map(OrderMode::as_str))
}

fn known_source<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    match String::deserialize(from)?.as_str() {
        "outputs" => Ok("outputs"),
        "view" => Ok("view"),
        text => Err(D::Error::custom(format_args!(
            "`{text}` is no source of rows"
        ))),
    }
}
