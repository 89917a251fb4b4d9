//! The constant text of an output's envelopes.

use crate::event_id::EventId;
use crate::json_text::{append_name, append_string};
use crate::pins::Pins;
use model::EventTime;

/// The version of the envelope format.
const SCHEMA_VERSION: &str = "v1";

/// Everything of an envelope but its id, time and payload, rendered once.
#[derive(Debug)]
pub(crate) struct EnvelopeHead {
    opening: Vec<u8>,
    after_id: Vec<u8>,
    after_time: Vec<u8>,
}

impl EnvelopeHead {
    pub(crate) fn new(output_id: &str, pins: &Pins) -> Self {
        let opening = b"{\"event_id\":\"".to_vec();

        let mut after_id = b"\"".to_vec();
        append_text_field("event_type", output_id, &mut after_id);
        append_text_field("schema_version", SCHEMA_VERSION, &mut after_id);
        after_id.extend_from_slice(b",\"ts_utc\":\"");

        let mut text = b"\"".to_vec();
        append_text_field(
            "manifest_fingerprint",
            pins.manifest_fingerprint(),
            &mut text,
        );
        append_text_field("parameter_hash", pins.parameter_hash(), &mut text);
        text.push(b',');
        append_name("seed", &mut text);
        text.extend_from_slice(pins.seed().to_string().as_bytes());
        append_text_field("scenario_id", pins.scenario_id(), &mut text);
        append_text_field("run_id", pins.run_id(), &mut text);
        append_text_field(
            "platform_run_id",
            pins.platform_run_id().as_str(),
            &mut text,
        );
        append_text_field("scenario_run_id", pins.scenario_run_id(), &mut text);
        append_text_field("producer", pins.producer(), &mut text);
        for (name, value) in [("trace_id", pins.trace_id()), ("span_id", pins.span_id())] {
            if let Some(value) = value {
                append_text_field(name, value, &mut text);
            }
        }
        text.push(b',');
        append_name("payload", &mut text);
        Self {
            opening,
            after_id,
            after_time: text,
        }
    }

    /// The bytes of an envelope before its payload.
    pub(crate) fn len(&self) -> usize {
        let around = self.opening.len() + self.after_id.len() + self.after_time.len();
        around + 64 + EventTime::TEXT_LEN
    }

    /// Appends an envelope up to its payload; the payload and a `}` complete it.
    pub(crate) fn append(&self, id: EventId, time: EventTime, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.opening);
        out.extend_from_slice(&id.hex());
        out.extend_from_slice(&self.after_id);
        out.extend_from_slice(&time.text());
        out.extend_from_slice(&self.after_time);
    }
}

/// Appends `,"name":"value"`.
fn append_text_field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b',');
    append_name(name, out);
    append_string(value, out);
}
