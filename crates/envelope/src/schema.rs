//! The envelope's JSON Schema, and a validator of whole documents.

use serde_json::Value;

use crate::error::Error;

/// The JSON Schema (draft 2020-12) of the canonical event envelope, as YAML.
pub const CANONICAL_EVENT_ENVELOPE_SCHEMA: &str =
    include_str!("../../../contracts/canonical_event_envelope.schema.yaml");

/// Checks documents against [`CANONICAL_EVENT_ENVELOPE_SCHEMA`].
///
/// For gates and tests: it parses each document. The event path needs no validator, because
/// framing can only make envelopes.
#[derive(Debug)]
pub struct EnvelopeValidator {
    schema: jsonschema::Validator,
}

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

    /// Parses and checks the bytes of one envelope.
    ///
    /// # Errors
    /// `ENVELOPE_INVALID` with the first fault.
    pub fn parse(&self, body: &[u8]) -> Result<Value, Error> {
        let document = serde_json::from_slice(body).map_err(|fault| Error::EnvelopeInvalid {
            place: "the document".into(),
            why: format!("is not JSON: {fault}"),
        })?;
        self.check(&document)?;
        Ok(document)
    }

    /// Checks one document.
    ///
    /// # Errors
    /// `ENVELOPE_INVALID` with the first fault.
    pub fn check(&self, document: &Value) -> Result<(), Error> {
        self.schema.validate(document).map_err(|fault| {
            let place = match fault.instance_path().as_str() {
                "" => "the document".to_owned(),
                pointer => pointer.to_owned(),
            };
            Error::EnvelopeInvalid {
                place,
                why: format!("is wrong: {}", fault.masked()),
            }
        })
    }
}

impl Default for EnvelopeValidator {
    fn default() -> Self {
        Self::new()
    }
}
