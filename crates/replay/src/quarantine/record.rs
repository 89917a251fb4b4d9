//! One line of the quarantine file.
//!
//! A JSON object, `contracts/quarantine_record.schema.yaml`:
//!
//! | field | value |
//! |---|---|
//! | `format_version` | 1 |
//! | `event_id` | hex64, that of the envelope |
//! | `output_id`, `pack_key` | whose event it is |
//! | `position` | `{file, row, ts_utc}`: the part relative to the engine run root, the row from 0 |
//! | `reason` | `rejected`, `failed_alone` (the gate failed on it again and again while others passed), or `in_doubt` (the gate does not know whether it is on its bus) |
//! | `status` | HTTP status of the last answer; 0 if the connection failed |
//! | `body_excerpt` | first 256 characters of its body, control characters escaped, the token struck out; the fault in words if there was no answer |
//! | `reason_codes` | the reason codes of that answer, if it gave any |
//! | `attempts` | posts made; 0 if the envelope is too large to be sent |
//! | `quarantined_at_utc` | RFC 3339 UTC, 6 digits |
//! | `envelope_sha256` | hex64 of the envelope's bytes |
//! | `envelope` | the envelope, byte for byte as it was pushed |

use std::borrow::Cow;

use bytes::Bytes;
use checkpoint::CursorKey;
use chrono::{DateTime, SecondsFormat, Utc};
use envelope::{EventTime, PlatformRunId};
use model::json_strictly;
use oracle_store::Hex64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use push::GateRefusal;

/// The format that this release writes.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Why an event was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The gate refused the event for good.
    Rejected,
    /// The gate failed on this event again and again, and took others in the same time.
    FailedAlone,
    /// The gate does not know whether the event is on its bus.
    InDoubt,
}

/// An event that the gate will not have, on its way to the quarantine.
#[derive(Debug, Clone)]
pub struct RejectedEvent {
    /// The cursor key of the event: its output and its pack.
    pub key: CursorKey,
    /// The part, relative to the engine run root.
    pub file: String,
    /// The row in the part, counted from 0.
    pub row: u64,
    /// The row's event time.
    pub time: EventTime,
    /// Why the event was rejected.
    pub reason: RejectReason,
    /// The gate's last answer.
    pub refusal: GateRefusal,
    /// Posts made of this event.
    pub attempts: u32,
    /// The envelope as it was pushed.
    pub envelope: Bytes,
}

/// Where an event stands in its world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The part, relative to the engine run root.
    pub file: String,
    /// The row in it, from 0.
    pub row: u64,
    /// The row's event time.
    pub ts_utc: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    format_version: u32,
    event_id: Hex64,
    #[serde(borrow)]
    output_id: Cow<'a, str>,
    #[serde(borrow)]
    pack_key: Cow<'a, str>,
    position: Place,
    reason: RejectReason,
    status: u16,
    #[serde(borrow)]
    body_excerpt: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reason_codes: Vec<String>,
    attempts: u32,
    #[serde(borrow)]
    quarantined_at_utc: Cow<'a, str>,
    envelope_sha256: Hex64,
    #[serde(borrow)]
    envelope: &'a RawValue,
}

/// What of an envelope the quarantine needs to know.
#[derive(Deserialize)]
struct Head {
    event_id: Hex64,
    #[serde(default)]
    platform_run_id: Option<String>,
}

impl RejectedEvent {
    /// The row's identity, as [`QuarantinedEvent::row_id`] gives it, and the event's line,
    /// without the line's end.
    ///
    /// # Errors
    /// In words, if the envelope is no JSON object on one line with a hex64 `event_id`.
    pub fn to_line(&self, now: DateTime<Utc>) -> Result<(Hex64, Vec<u8>), String> {
        let envelope: &RawValue = serde_json::from_slice(&self.envelope)
            .map_err(|error| format!("its envelope is no JSON: {error}"))?;
        let head: Head = json_strictly(&self.envelope)
            .map_err(|error| format!("its envelope has no usable event_id: {error}"))?;
        if envelope.get().contains('\n') || envelope.get().len() != self.envelope.len() {
            return Err("its envelope does not stand on one line".to_owned());
        }
        let line = Line {
            format_version: FORMAT_VERSION,
            event_id: head.event_id.clone(),
            output_id: self.key.output_id().as_str().into(),
            pack_key: self.key.pack_key().as_str().into(),
            position: Place {
                file: self.file.clone(),
                row: self.row,
                ts_utc: self.time.to_string(),
            },
            reason: self.reason,
            status: self.refusal.status,
            body_excerpt: self.refusal.excerpt.as_str().into(),
            reason_codes: self.refusal.reason_codes.clone(),
            attempts: self.attempts,
            quarantined_at_utc: now.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
            envelope_sha256: Hex64::sha256_of(&self.envelope),
            envelope,
        };
        let line = serde_json::to_vec(&line).map_err(|error| error.to_string())?;
        Ok((
            row_id(
                &head.event_id,
                self.key.output_id().as_str(),
                &self.file,
                self.row,
            ),
            line,
        ))
    }
}

/// An event of a quarantine file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedEvent {
    /// The event's id.
    pub event_id: Hex64,
    /// The output that the event is a row of.
    pub output_id: String,
    /// Where the row stands in its world.
    pub position: Place,
    /// Why the event was set aside.
    pub reason: RejectReason,
    /// HTTP status of the gate's last answer.
    pub status: u16,
    /// The platform run that the event belongs to; `None` where its envelope names none.
    pub platform_run_id: Option<PlatformRunId>,
    /// The envelope, byte for byte as it was pushed.
    pub envelope: Bytes,
}

/// Tells the rows of a world apart, also those that share a primary key and so an event id.
fn row_id(event_id: &Hex64, output_id: &str, file: &str, row: u64) -> Hex64 {
    // A name may hold anything, a line feed too: its length says where it ends.
    let length = output_id.len();
    Hex64::sha256_of(format!("{event_id}\n{length}\n{output_id}\n{file}\n{row}"))
}

/// Refuses a line of another format before anything else of it is read: the fields of a later one
/// may be others.
pub(super) fn check_version(line: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u64,
    }
    let version: Version = json_strictly(line).map_err(not_whole)?;
    if version.format_version == u64::from(FORMAT_VERSION) {
        return Ok(());
    }
    Err(format!(
        "its format version is {}, and this release reads {FORMAT_VERSION}",
        version.format_version
    ))
}

/// What a line is that is no record, in words.
pub(super) fn not_whole(error: serde_json::Error) -> String {
    format!("it is not one whole record: {error}")
}

impl QuarantinedEvent {
    /// The identity of the event's row in its world: sha256 over event id, output, part and row.
    pub fn row_id(&self) -> Hex64 {
        let Place { file, row, .. } = &self.position;
        row_id(&self.event_id, &self.output_id, file, *row)
    }

    /// Reads a line, without its end, and checks it against itself.
    ///
    /// # Errors
    /// In words: what about the line is not as it was written.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        check_version(line)?;
        let line: Line<'_> = json_strictly(line).map_err(not_whole)?;
        let envelope = line.envelope.get();
        if Hex64::sha256_of(envelope) != line.envelope_sha256 {
            return Err("its envelope is not the one that was set aside".to_owned());
        }
        let head: Head = json_strictly(envelope.as_bytes()).map_err(not_whole)?;
        if head.event_id != line.event_id {
            return Err("its event_id is not its envelope's".to_owned());
        }
        Ok(Self {
            platform_run_id: head.platform_run_id.and_then(|run| run.parse().ok()),
            event_id: line.event_id,
            output_id: line.output_id.into_owned(),
            position: line.position,
            reason: line.reason,
            status: line.status,
            envelope: Bytes::copy_from_slice(envelope.as_bytes()),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use checkpoint::PackKey;
    use serde_json::Value;

    use super::*;

    /// A rejected event whose id is `digit` 64 times.
    pub(crate) fn rejected(digit: char) -> RejectedEvent {
        let id = digit.to_string().repeat(64);
        let envelope = format!(
            r#"{{"event_id":"{id}","platform_run_id":"platform_20260128T090000Z", "payload":{{"amount":1.10,"n":18446744073709551615}}}}"#
        );
        RejectedEvent {
            key: CursorKey::new(PackKey::of_root("world"), "events").unwrap(),
            file: "data/part-0.parquet".to_owned(),
            row: 7,
            time: EventTime::from_nanos(0).unwrap(),
            reason: RejectReason::Rejected,
            refusal: GateRefusal {
                status: 422,
                excerpt: r#"no "amount"\n"#.to_owned(),
                reason_codes: vec!["SCHEMA_FAIL".to_owned()],
            },
            attempts: 1,
            envelope: envelope.into(),
        }
    }

    fn line(event: &RejectedEvent) -> Vec<u8> {
        event.to_line(Utc::now()).unwrap().1
    }

    #[test]
    fn an_envelope_comes_back_byte_for_byte() {
        let event = rejected('a');
        let line = line(&event);
        assert!(!line.contains(&b'\n'));
        let read = QuarantinedEvent::parse(&line).unwrap();
        assert_eq!(read.envelope, event.envelope);
        assert_eq!((read.status, read.position.row), (422, 7));
        assert_eq!(read.event_id.as_str(), "a".repeat(64));
    }

    #[test]
    fn a_line_is_as_its_schema_says() {
        let schema: Value =
            serde_yaml::from_str(crate::quarantine::QUARANTINE_RECORD_SCHEMA).unwrap();
        let fields = schema["properties"].as_object().unwrap();
        let record: Value = serde_json::from_slice(&line(&rejected('a'))).unwrap();
        let written: Vec<&String> = record.as_object().unwrap().keys().collect();
        let described: Vec<&String> = fields.keys().collect();
        assert_eq!(written, described);
    }

    #[test]
    fn a_line_that_was_changed_is_refused() {
        let whole = String::from_utf8(line(&rejected('a'))).unwrap();
        for (from, to, why) in [
            ("1.10", "1.1", "not the one that was set aside"),
            (
                r#""format_version":1"#,
                r#""format_version":2"#,
                "format version is 2",
            ),
            (r#"_id":"a"#, r#"_id":"b"#, "event_id is not its envelope's"),
            (r#""status""#, r#""state""#, "whole record"),
            ("}}}", "}}", "whole record"),
        ] {
            let changed = whole.replacen(from, to, 1);
            assert_ne!(changed, whole);
            let error = QuarantinedEvent::parse(changed.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{from}: {error}");
        }
    }

    #[test]
    fn rows_whose_names_hold_line_feeds_are_told_apart() {
        let id = Hex64::sha256_of("e");
        assert_ne!(row_id(&id, "a\nb", "c", 1), row_id(&id, "a", "b\nc", 1));
        assert_ne!(row_id(&id, "a", "b\n1", 1), row_id(&id, "a", "b", 1));
    }

    #[test]
    fn a_list_of_values_is_no_line_no_position_and_no_envelope() {
        let whole = line(&rejected('a'));
        let fields: Vec<(&str, &RawValue)> = fields_of(&whole);
        let values: Vec<&RawValue> = fields.iter().map(|(_, value)| *value).collect();
        let list = serde_json::to_vec(&values).unwrap();
        assert!(QuarantinedEvent::parse(&list).is_err());
        let text = String::from_utf8(whole.clone()).unwrap();
        let position = fields
            .iter()
            .find(|(name, _)| *name == "position")
            .unwrap()
            .1;
        let placed = text.replace(position.get(), r#"["f",7,"1970-01-01T00:00:00.000000Z"]"#);
        assert!(
            QuarantinedEvent::parse(placed.as_bytes()).is_err(),
            "{placed}"
        );
        let envelope = format!(r#"["{}"]"#, "a".repeat(64));
        let event = std::str::from_utf8(&rejected('a').envelope)
            .unwrap()
            .to_owned();
        let digest = |envelope: &str| Hex64::sha256_of(envelope).to_string();
        let other = text
            .replace(&event, &envelope)
            .replace(&digest(&event), &digest(&envelope));
        assert!(
            QuarantinedEvent::parse(other.as_bytes()).is_err(),
            "{other}"
        );
    }

    /// The fields of a line, in the order in which they are written.
    fn fields_of(line: &[u8]) -> Vec<(&str, &RawValue)> {
        let fields: std::collections::BTreeMap<&str, &RawValue> =
            serde_json::from_slice(line).unwrap();
        let text = std::str::from_utf8(line).unwrap();
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_by_key(|(name, _)| text.find(&format!("\"{name}\":")));
        fields
    }

    #[test]
    fn an_envelope_that_would_break_the_line_is_refused() {
        let list = format!(r#"["{}"]"#, "a".repeat(64));
        for envelope in ["", "{", "[1]", &list, "{\n}", r#"{"event_id":"x"}"#] {
            let event = RejectedEvent {
                envelope: envelope.to_owned().into(),
                ..rejected('a')
            };
            assert!(event.to_line(Utc::now()).is_err(), "{envelope}");
        }
        let event = rejected('a');
        let broken = RejectedEvent {
            envelope: [b"\n", &event.envelope[..]].concat().into(),
            ..event
        };
        assert!(broken.to_line(Utc::now()).is_err());
    }
}
