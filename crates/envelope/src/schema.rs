//! The envelope's JSON Schema, and a validator of whole documents.

#[cfg(feature = "validate")]
use serde_json::Value;

#[cfg(feature = "validate")]
use crate::error::{Error, ReasonCode};

/// The JSON Schema (draft 2020-12) of the canonical event envelope, as YAML.
pub const CANONICAL_EVENT_ENVELOPE_SCHEMA: &str =
    include_str!("../../../contracts/canonical_event_envelope.schema.yaml");

/// Checks documents against [`CANONICAL_EVENT_ENVELOPE_SCHEMA`].
///
/// It is the schema itself, by a general validator, for tests and stand-in gates.
/// [`validate`](crate::validate) does the same many times faster and gives the envelope as a value;
/// the event path needs neither, because framing can only make envelopes.
#[cfg(feature = "validate")]
#[derive(Debug)]
pub struct EnvelopeValidator {
    schema: jsonschema::Validator,
}

#[cfg(feature = "validate")]
impl EnvelopeValidator {
    /// Compiles the schema.
    ///
    /// # Panics
    /// If the embedded schema is broken, which the tests of this crate rule out.
    pub fn new() -> Self {
        let schema: Value = serde_yaml::from_str(CANONICAL_EVENT_ENVELOPE_SCHEMA)
            .expect("the embedded envelope schema is YAML");
        let schema = jsonschema::draft202012::new(&schema)
            .expect("the embedded envelope schema is a schema");
        Self { schema }
    }

    /// Checks the bytes of one document.
    ///
    /// # Errors
    /// `ENVELOPE_INVALID` with the first fault.
    pub fn check(&self, body: &[u8]) -> Result<(), Error> {
        let document: Value = serde_json::from_slice(body).map_err(|fault| {
            let what = "The document is not JSON, and so no canonical event envelope";
            Error::new(ReasonCode::EnvelopeInvalid, what).because(fault)
        })?;
        self.schema.validate(&document).map_err(|fault| {
            let what = format!("No canonical event envelope: {}", fault.masked());
            let error = Error::new(ReasonCode::EnvelopeInvalid, what);
            match fault.instance_path().as_str() {
                "" => error,
                pointer => error.field(pointer),
            }
        })
    }
}

#[cfg(feature = "validate")]
impl Default for EnvelopeValidator {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, feature = "validate"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::error::ReasonCode;

    fn envelope() -> Value {
        json!({
            "event_id": "0a".repeat(32),
            "event_type": "s2_event_stream_baseline_6B",
            "ts_utc": "2026-01-28T08:55:40.100195Z",
            "manifest_fingerprint": "75".repeat(32),
        })
    }

    fn with(field: &str, value: Value) -> Result<(), Error> {
        let mut envelope = envelope();
        envelope[field] = value;
        check(&envelope)
    }

    /// What the schema says; reading the envelope as a value says the same.
    fn check(envelope: &Value) -> Result<(), Error> {
        let body = serde_json::to_vec(envelope).unwrap();
        let by_schema = EnvelopeValidator::new().check(&body);
        let as_value = crate::validate(&body);
        assert_eq!(by_schema.is_ok(), as_value.is_ok(), "{as_value:?}");
        by_schema
    }

    #[test]
    fn four_fields_make_an_envelope_and_each_is_needed() {
        check(&envelope()).unwrap();
        for field in ["event_id", "event_type", "ts_utc", "manifest_fingerprint"] {
            let mut envelope = envelope();
            envelope.as_object_mut().unwrap().remove(field);
            assert!(check(&envelope).is_err(), "without {field}");
        }
    }

    #[test]
    fn optional_fields_take_their_own_values_only() {
        let time = json!("2026-01-28T09:00:00.000000Z");
        let (hex32, hex64) = (json!("7f".repeat(16)), json!("7f".repeat(32)));
        for (field, right, wrong) in [
            ("schema_version", json!("v1"), json!("v".repeat(65))),
            ("emitted_at_utc", time, json!("2026-01-28T09:00:00Z")),
            ("parameter_hash", hex64.clone(), json!("7F".repeat(32))),
            ("seed", json!(u64::MAX), json!(-1)),
            ("seed", json!(0), json!(0.5)),
            ("seed", json!(0), json!("0")),
            ("scenario_id", json!("ü".repeat(256)), json!("")),
            ("scenario_id", json!(7), json!(-7)),
            ("run_id", hex32.clone(), hex64.clone()),
            (
                "platform_run_id",
                json!("platform_20260128T090000Z"),
                json!("platform_x"),
            ),
            ("scenario_run_id", hex32.clone(), Value::Null),
            ("producer", json!("svc:world_stream_producer"), json!("")),
            ("parent_event_id", hex64, hex32),
            ("trace_id", json!("t"), json!("t".repeat(129))),
            ("span_id", json!("s"), json!(1)),
            ("payload", json!({}), json!([])),
            ("event_type", json!("e".repeat(256)), json!("e".repeat(257))),
            (
                "ts_utc",
                json!("2026-01-28T08:55:40.100195Z"),
                json!("2026-01-28 08:55:40.100195Z"),
            ),
        ] {
            with(field, right).unwrap();
            assert!(with(field, wrong.clone()).is_err(), "{field}: {wrong}");
        }
    }

    #[test]
    fn a_field_outside_the_schema_is_refused_by_name() {
        let error = with("note", json!("a value not to be repeated")).unwrap_err();
        assert_eq!(error.code(), ReasonCode::EnvelopeInvalid);
        let text = error.to_string();
        assert!(
            text.contains("note") && !text.contains("repeated"),
            "{text}"
        );
        let error = EnvelopeValidator::new().check(b"{").unwrap_err();
        assert_eq!(error.code(), ReasonCode::EnvelopeInvalid);
    }
}
