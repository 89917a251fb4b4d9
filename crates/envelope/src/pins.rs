//! World pins: the part of an envelope that is the same for a whole run.
//!
//! [`PinValues`] is what a caller has at hand, [`Pins`] is what the envelope takes: checked once
//! against the field rules of the schema, so that framing need not look again.

use model::{EngineRunId, PlatformRunId, WorldKey};

use crate::error::{Error, field_invalid};
use crate::event_id::id_tail;

/// The values of the constant envelope fields, not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PinValues {
    /// The world's manifest fingerprint: 64 lowercase hex digits.
    pub manifest_fingerprint: String,
    /// The world's parameter hash: 64 lowercase hex digits.
    pub parameter_hash: String,
    /// The world's seed.
    pub seed: u64,
    /// The world's scenario: 1 to 256 characters.
    pub scenario_id: String,
    /// The engine run: 32 lowercase hex digits.
    pub run_id: String,
    /// The platform run, like `platform_20260128T090000Z`.
    pub platform_run_id: String,
    /// The scenario run: 32 lowercase hex digits; `None` takes `run_id`.
    pub scenario_run_id: Option<String>,
    /// The producer that sends the events: 1 to 128 characters.
    pub producer: String,
    /// The caller's trace: 1 to 128 characters; `None` leaves it to [`Pins::stamped`].
    pub trace_id: Option<String>,
    /// The caller's span: 1 to 128 characters; `None` leaves it to [`Pins::stamped`].
    pub span_id: Option<String>,
}

/// The checked values of the constant envelope fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    manifest_fingerprint: String,
    parameter_hash: String,
    seed: u64,
    scenario_id: String,
    run_id: String,
    platform_run_id: PlatformRunId,
    scenario_run_id: String,
    producer: String,
    trace_id: Option<String>,
    span_id: Option<String>,
}

impl Pins {
    /// The primary-key columns that name the world rather than something in it.
    pub const COLUMNS: [&'static str; 5] = [
        "manifest_fingerprint",
        "parameter_hash",
        "seed",
        "scenario_id",
        "run_id",
    ];

    /// Checks every value against the field that it fills.
    ///
    /// # Errors
    /// `ENVELOPE_FIELD_INVALID` with the first field that does not fit.
    pub fn new(values: PinValues) -> Result<Self, Error> {
        let run_id = hex("run_id", values.run_id, 32)?;
        let scenario_run_id = match values.scenario_run_id {
            Some(id) => hex("scenario_run_id", id, 32)?,
            None => run_id.clone(),
        };
        Ok(Self {
            manifest_fingerprint: hex("manifest_fingerprint", values.manifest_fingerprint, 64)?,
            parameter_hash: hex("parameter_hash", values.parameter_hash, 64)?,
            seed: values.seed,
            scenario_id: bounded("scenario_id", &values.scenario_id, 256)?,
            run_id,
            platform_run_id: platform_run_id(&values.platform_run_id)?,
            scenario_run_id,
            producer: bounded("producer", &values.producer, 128)?,
            trace_id: values
                .trace_id
                .map(|id| bounded("trace_id", &id, 128))
                .transpose()?,
            span_id: values
                .span_id
                .map(|id| bounded("span_id", &id, 128))
                .transpose()?,
        })
    }

    /// The pins of events of `world` that `run` made, which `producer` sends to a platform run.
    ///
    /// The scenario run is the engine run; trace and span are not set.
    ///
    /// # Errors
    /// `ENVELOPE_FIELD_INVALID` unless `producer` has 1 to 128 characters.
    pub fn for_world(
        world: &WorldKey,
        run: &EngineRunId,
        platform_run: &PlatformRunId,
        producer: &str,
    ) -> Result<Self, Error> {
        Ok(Self {
            manifest_fingerprint: world.manifest_fingerprint.to_string(),
            parameter_hash: world.parameter_hash.to_string(),
            seed: world.seed,
            scenario_id: world.scenario_id.to_string(),
            run_id: run.to_string(),
            platform_run_id: platform_run.clone(),
            scenario_run_id: run.to_string(),
            producer: bounded("producer", producer, 128)?,
            trace_id: None,
            span_id: None,
        })
    }

    /// Sets the scenario run, which is the engine run by default.
    #[must_use]
    pub fn with_scenario_run(mut self, run: &EngineRunId) -> Self {
        self.scenario_run_id = run.to_string();
        self
    }

    /// What the world adds to the text of each event's id.
    pub(crate) fn id_tail(&self) -> Vec<u8> {
        id_tail(
            &self.manifest_fingerprint,
            &self.parameter_hash,
            self.seed,
            &self.scenario_id,
        )
    }

    /// Fills `trace_id` and `span_id` with where the world came from, unless the caller set them.
    ///
    /// # Errors
    /// `ENVELOPE_FIELD_INVALID` if a stamp that is needed does not fit.
    pub fn stamped(mut self, provenance: &Provenance) -> Result<Self, Error> {
        if self.trace_id.is_none() {
            self.trace_id = Some(bounded("trace_id", &provenance.trace_id, 128)?);
        }
        if self.span_id.is_none() {
            let stamp = provenance.span_id.clone();
            self.span_id = stamp.map(|id| bounded("span_id", &id, 128)).transpose()?;
        }
        Ok(self)
    }

    /// The world's manifest fingerprint, hex64.
    pub fn manifest_fingerprint(&self) -> &str {
        &self.manifest_fingerprint
    }

    /// The world's parameter hash, hex64.
    pub fn parameter_hash(&self) -> &str {
        &self.parameter_hash
    }

    /// The world's seed.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The world's scenario.
    pub fn scenario_id(&self) -> &str {
        &self.scenario_id
    }

    /// The engine run, hex32.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The platform run that the events belong to.
    pub const fn platform_run_id(&self) -> &PlatformRunId {
        &self.platform_run_id
    }

    /// The scenario run, hex32.
    pub fn scenario_run_id(&self) -> &str {
        &self.scenario_run_id
    }

    /// The producer that sends the events.
    pub fn producer(&self) -> &str {
        &self.producer
    }

    /// The trace; `None` if it is neither set nor stamped.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// The span; `None` if it is neither set nor stamped.
    pub fn span_id(&self) -> Option<&str> {
        self.span_id.as_deref()
    }
}

/// Where the events of a world come from, for the fields that a caller left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The pack id, or the pack key of a world without one; goes into `trace_id`.
    pub trace_id: String,
    /// The engine release, which goes into `span_id`; `None` if it is not known.
    pub span_id: Option<String>,
}

fn platform_run_id(text: &str) -> Result<PlatformRunId, Error> {
    let invalid =
        |invalid: model::InvalidId| field_invalid("platform_run_id", text, invalid.expected());
    text.parse().map_err(invalid)
}

fn hex(field: &'static str, text: String, digits: usize) -> Result<String, Error> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == digits && text.bytes().all(is_hex) {
        return Ok(text);
    }
    let expected = format!("{digits} lowercase hex digits");
    Err(field_invalid(field, &text, &expected))
}

pub(crate) fn bounded(field: &'static str, text: &str, most: usize) -> Result<String, Error> {
    if (1..=most).contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    let expected = format!("1 to {most} characters long");
    Err(field_invalid(field, text, &expected))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn values() -> PinValues {
        PinValues {
            manifest_fingerprint: "ab".repeat(32),
            parameter_hash: "01".repeat(32),
            seed: u64::MAX,
            scenario_id: "baseline_v1".into(),
            run_id: "7f".repeat(16),
            platform_run_id: "platform_20260128T090000Z".into(),
            producer: "svc:world_stream_producer".into(),
            ..PinValues::default()
        }
    }

    fn refused_field(values: PinValues) -> String {
        let error = Pins::new(values).unwrap_err();
        assert_eq!(error.code(), crate::ReasonCode::EnvelopeFieldInvalid);
        error.place().field().unwrap().to_owned()
    }

    #[test]
    fn a_scenario_run_without_override_is_the_engine_run() {
        let pins = Pins::new(values()).unwrap();
        assert_eq!(pins.scenario_run_id(), pins.run_id());

        let scenario_run_id = Some("00".repeat(16));
        let pins = Pins::new(PinValues {
            scenario_run_id,
            ..values()
        })
        .unwrap();
        assert_eq!(pins.scenario_run_id(), "00".repeat(16));
    }

    #[test]
    fn each_field_refuses_what_the_schema_would() {
        let wrong = [
            (
                "manifest_fingerprint",
                PinValues {
                    manifest_fingerprint: "AB".repeat(32),
                    ..values()
                },
            ),
            (
                "parameter_hash",
                PinValues {
                    parameter_hash: "0".repeat(63),
                    ..values()
                },
            ),
            (
                "scenario_id",
                PinValues {
                    scenario_id: String::new(),
                    ..values()
                },
            ),
            (
                "scenario_id",
                PinValues {
                    scenario_id: "ü".repeat(257),
                    ..values()
                },
            ),
            (
                "run_id",
                PinValues {
                    run_id: "7f".repeat(32),
                    ..values()
                },
            ),
            (
                "platform_run_id",
                PinValues {
                    platform_run_id: "platform_1".into(),
                    ..values()
                },
            ),
            (
                "scenario_run_id",
                PinValues {
                    scenario_run_id: Some("x".into()),
                    ..values()
                },
            ),
            (
                "producer",
                PinValues {
                    producer: "p".repeat(129),
                    ..values()
                },
            ),
            (
                "trace_id",
                PinValues {
                    trace_id: Some(String::new()),
                    ..values()
                },
            ),
            (
                "span_id",
                PinValues {
                    span_id: Some("s".repeat(129)),
                    ..values()
                },
            ),
        ];
        for (field, values) in wrong {
            assert_eq!(refused_field(values), field);
        }
        // Lengths count characters, as JSON Schema does, not bytes.
        assert!(
            Pins::new(PinValues {
                scenario_id: "ü".repeat(256),
                ..values()
            })
            .is_ok()
        );
    }

    #[test]
    fn a_platform_run_id_has_exactly_one_shape() {
        assert!("platform_20260128T090000Z".parse::<PlatformRunId>().is_ok());
        for text in [
            "",
            "platform_",
            "platform_20260128T090000",
            "platform_20260128t090000Z",
            "platform_20260128T090000Z ",
            "Platform_20260128T090000Z",
            "platform_2026O128T090000Z",
            "platform_２026128T090000Z",
        ] {
            assert!(text.parse::<PlatformRunId>().is_err(), "{text}");
        }
    }

    #[test]
    fn provenance_never_overwrites_what_a_caller_set() {
        let provenance = Provenance {
            trace_id: "pack".into(),
            span_id: Some("engine-1.4.0".into()),
        };
        let stamped = Pins::new(values()).unwrap().stamped(&provenance).unwrap();
        assert_eq!(
            (stamped.trace_id(), stamped.span_id()),
            (Some("pack"), Some("engine-1.4.0"))
        );

        let own = PinValues {
            trace_id: Some("mine".into()),
            ..values()
        };
        let stamped = Pins::new(own).unwrap().stamped(&provenance).unwrap();
        assert_eq!(
            (stamped.trace_id(), stamped.span_id()),
            (Some("mine"), Some("engine-1.4.0"))
        );
    }
}
