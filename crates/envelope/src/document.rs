//! Envelopes as values: what a gate, a backfill or a test reads of one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, ReasonCode};
use crate::event_id::EventId;
use crate::json_lines::check_object;
use model::{EngineRunId, EventTime, Hex64, PlatformRunId, ScenarioId, WorldKey};

/// One canonical event envelope, with texts borrowed from its bytes.
///
/// Its `Deserialize` holds every field to the rules of the schema; `serde_json` alone can give the
/// payload. An optional field is `None` if the envelope has no such field: `null` is no value of
/// any field. Stricter than the schema, a name that occurs twice, a time that is on no calendar
/// and an integer that is written with a fraction are refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Envelope<'a> {
    /// The event's identity; see [`EventId::of_payload`].
    pub event_id: EventId,
    /// The output that the event belongs to; 1 to 256 characters.
    #[serde(borrow, deserialize_with = "text::<256, _>")]
    pub event_type: Cow<'a, str>,
    /// The version of the envelope format; 1 to 64 characters.
    #[serde(borrow, default, deserialize_with = "some_text::<64, _>")]
    pub schema_version: Option<Cow<'a, str>>,
    /// When the event happened in the world.
    #[serde(deserialize_with = "time")]
    pub ts_utc: EventTime,
    /// When a producer emitted the event.
    #[serde(default, deserialize_with = "some_time")]
    pub emitted_at_utc: Option<EventTime>,
    /// The world's manifest fingerprint.
    pub manifest_fingerprint: Hex64,
    /// The world's parameter hash.
    #[serde(default, deserialize_with = "some")]
    pub parameter_hash: Option<Hex64>,
    /// The world's seed.
    #[serde(default, deserialize_with = "some")]
    pub seed: Option<u64>,
    /// The world's scenario; one that is an integer is given in decimal.
    #[serde(borrow, default, deserialize_with = "some_scenario")]
    pub scenario_id: Option<Cow<'a, str>>,
    /// The engine run.
    #[serde(default, deserialize_with = "some")]
    pub run_id: Option<EngineRunId>,
    /// The platform run that the event belongs to.
    #[serde(default, deserialize_with = "some_platform_run")]
    pub platform_run_id: Option<PlatformRunId>,
    /// The scenario run.
    #[serde(default, deserialize_with = "some")]
    pub scenario_run_id: Option<EngineRunId>,
    /// The producer that sends the event; 1 to 128 characters.
    #[serde(borrow, default, deserialize_with = "some_text::<128, _>")]
    pub producer: Option<Cow<'a, str>>,
    /// The event that caused this one.
    #[serde(default, deserialize_with = "some")]
    pub parent_event_id: Option<EventId>,
    /// The trace; 1 to 128 characters.
    #[serde(borrow, default, deserialize_with = "some_text::<128, _>")]
    pub trace_id: Option<Cow<'a, str>>,
    /// The span; 1 to 128 characters.
    #[serde(borrow, default, deserialize_with = "some_text::<128, _>")]
    pub span_id: Option<Cow<'a, str>>,
    /// The row as the JSON text of an object.
    #[serde(borrow, default, deserialize_with = "some_payload")]
    pub payload: Option<&'a str>,
}

impl Envelope<'_> {
    /// The world that the event happened in; `None` if the envelope leaves a part of its key out,
    /// as the schema allows.
    pub fn world_key(&self) -> Option<WorldKey> {
        Some(WorldKey {
            manifest_fingerprint: self.manifest_fingerprint.clone(),
            parameter_hash: self.parameter_hash.clone()?,
            scenario_id: ScenarioId::parse(self.scenario_id.as_deref()?).ok()?,
            seed: self.seed?,
        })
    }
}

/// Reads the bytes of one envelope and checks each field against the rules of the schema.
///
/// # Errors
/// `ENVELOPE_INVALID` with the first fault; no value of the payload is repeated in it.
pub fn validate(body: &[u8]) -> Result<Envelope<'_>, Error> {
    let invalid = |what: String| Error::new(ReasonCode::EnvelopeInvalid, what);
    // serde reads a struct from a JSON array, too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(invalid(
            "No canonical event envelope: it is not a JSON object".to_owned(),
        ));
    }
    serde_json::from_slice(body).map_err(|fault| {
        if fault.is_data() {
            invalid(format!("No canonical event envelope: {fault}"))
        } else {
            invalid("The document is not JSON, and so no canonical event envelope".to_owned())
                .because(fault)
        }
    })
}

/// A value of a field that is there: `null` is none.
fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(json: D) -> Result<Option<T>, D::Error> {
    T::deserialize(json).map(Some)
}

fn some_text<'de, const MOST: usize, D: Deserializer<'de>>(
    json: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    text::<MOST, _>(json).map(Some)
}

fn text<'de, const MOST: usize, D: Deserializer<'de>>(json: D) -> Result<Cow<'de, str>, D::Error> {
    let text = json.deserialize_str(Text { integers: false })?;
    bounded(text, MOST)
}

fn some_scenario<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let text = json.deserialize_any(Text { integers: true })?;
    bounded(text, 256).map(Some)
}

fn bounded<E: de::Error>(text: Cow<'_, str>, most: usize) -> Result<Cow<'_, str>, E> {
    if (1..=most).contains(&text.chars().count()) {
        Ok(text)
    } else {
        Err(E::custom(format_args!(
            "a text is not 1 to {most} characters long"
        )))
    }
}

/// Takes a text, or, for a scenario, a whole number in decimal.
struct Text {
    integers: bool,
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.integers {
            "a text or a whole number of at least 0"
        } else {
            "a text"
        })
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        if self.integers {
            Ok(Cow::Owned(number.to_string()))
        } else {
            Err(E::invalid_type(de::Unexpected::Unsigned(number), &self))
        }
    }
}

fn time<'de, D: Deserializer<'de>>(json: D) -> Result<EventTime, D::Error> {
    let text = json.deserialize_str(Text { integers: false })?;
    EventTime::parse(&text)
        .ok()
        .filter(|time| time.text()[..] == *text.as_bytes())
        .ok_or_else(|| de::Error::custom("a time is not like 2026-01-28T08:55:40.100195Z"))
}

fn some_time<'de, D: Deserializer<'de>>(json: D) -> Result<Option<EventTime>, D::Error> {
    time(json).map(Some)
}

fn some_platform_run<'de, D: Deserializer<'de>>(
    json: D,
) -> Result<Option<PlatformRunId>, D::Error> {
    let text = json.deserialize_str(Text { integers: false })?;
    let run = text.parse().map_err(|invalid: model::InvalidId| {
        de::Error::custom(format_args!("a platform run is not {}", invalid.expected()))
    });
    run.map(Some)
}

fn some_payload<'de, D: Deserializer<'de>>(json: D) -> Result<Option<&'de str>, D::Error> {
    let payload = <&RawValue>::deserialize(json)?.get();
    check_object(payload)
        .map_err(|_| de::Error::custom("the payload is not an object that can be read"))?;
    Ok(Some(payload))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const FIRST: &str = r#"{"event_id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","event_type":"flows","ts_utc":"2026-01-28T08:55:40.100195Z","manifest_fingerprint":"7575757575757575757575757575757575757575757575757575757575757575""#;

    fn envelope(rest: &str) -> String {
        format!("{FIRST}{rest}}}")
    }

    #[test]
    fn an_envelope_is_read_without_copying_its_texts() {
        let text = envelope(r#","seed":7,"scenario_id":3,"producer":"a\u0062","payload":{"k": 1}"#);
        let read = validate(text.as_bytes()).unwrap();
        assert!(matches!(read.event_type, Cow::Borrowed("flows")));
        assert_eq!(read.event_id.to_string(), "0a".repeat(32));
        assert_eq!(
            (read.seed, read.scenario_id.as_deref()),
            (Some(7), Some("3"))
        );
        assert_eq!(read.producer.as_deref(), Some("ab"));
        assert_eq!(read.payload, Some(r#"{"k": 1}"#));
        assert_eq!((read.run_id, read.trace_id), (None, None));
    }

    #[test]
    fn what_the_schema_does_not_know_is_refused() {
        assert!(validate(envelope("").as_bytes()).is_ok());
        for wrong in [
            r#","note":1"#,
            r#","seed":null"#,
            r#","seed":-1"#,
            r#","seed":18446744073709551616"#,
            r#","seed":1.0"#,
            r#","scenario_id":"""#,
            r#","scenario_id":-1"#,
            r#","run_id":"75""#,
            r#","platform_run_id":"platform_x""#,
            r#","emitted_at_utc":"2026-01-28T08:55:40Z""#,
            r#","emitted_at_utc":"2026-02-30T08:55:40.000000Z""#,
            r#","payload":[]"#,
            r#","payload":{"k":1e999}"#,
            r#","payload":{"k":"\ud800"}"#,
            r#","event_type":"twice""#,
            "} {",
        ] {
            let text = envelope(wrong);
            let error = validate(text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), ReasonCode::EnvelopeInvalid, "{wrong}");
        }
        for wrong in ["", "[]", "null", "{}", "\"a\""] {
            assert!(validate(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
