//! `run_receipt.json`: what the engine says of its own run.

use serde_json::{Map, Value};

use crate::error::{Error, ReasonCode};
use crate::json::from_json;
use crate::store::WorldStore;
use model::{EngineRunId, Hex64};
use model::{ScenarioId, WorldKey};

/// The receipt's key under an engine run root.
pub(crate) const RUN_RECEIPT: &str = "run_receipt.json";

/// The engine's own record of its run. The file may hold more fields, which are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunReceipt {
    /// The engine run's id.
    pub run_id: EngineRunId,
    /// Digest of the engine's inputs.
    pub manifest_fingerprint: Hex64,
    /// Digest of the engine's parameters.
    pub parameter_hash: Hex64,
    /// The engine's master seed.
    pub seed: u64,
}

impl RunReceipt {
    /// Reads the receipt of a world.
    ///
    /// # Errors
    /// `RUN_RECEIPT_UNREADABLE` if it is missing, no JSON object, or without a usable
    /// `run_id`; `WORLD_KEY_MISSING` without a usable fingerprint, hash or seed;
    /// `ENGINE_ROOT_MISSING` if the bucket does not exist; `ORACLE_READ_FAILED` if the
    /// storage fails.
    pub async fn load(store: &WorldStore) -> Result<Self, Error> {
        let object = store.get_if_exists(RUN_RECEIPT).await?.ok_or_else(|| {
            Error::new(ReasonCode::RunReceiptUnreadable, "There is no run receipt")
                .object(store.full_name(RUN_RECEIPT))
        })?;
        Self::parse(&object.bytes).map_err(|error| error.object(store.full_name(RUN_RECEIPT)))
    }

    /// Parses a receipt.
    ///
    /// # Errors
    /// As [`load`](Self::load), without those of the storage. A field that occurs twice, at
    /// any depth, says two things, of which a reader would take either: that is no receipt.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let fields: Map<String, Value> = from_json(bytes).map_err(|source| {
            Error::new(
                ReasonCode::RunReceiptUnreadable,
                format!("The run receipt is no JSON object ({source})"),
            )
            .because(source)
        })?;
        let refuse = |code, field: &str, wants: &str| {
            Error::new(code, format!("The run receipt's {field} is not {wants}")).field(field)
        };
        let text = |field: &str| fields.get(field).and_then(Value::as_str);
        let hex64 = |field: &str| {
            text(field).and_then(Hex64::parse).ok_or_else(|| {
                refuse(
                    ReasonCode::WorldKeyMissing,
                    field,
                    "64 lowercase hex digits",
                )
            })
        };
        let run_id = text("run_id").and_then(EngineRunId::parse).ok_or_else(|| {
            refuse(
                ReasonCode::RunReceiptUnreadable,
                "run_id",
                "32 lowercase hex digits",
            )
        })?;
        let seed = fields.get("seed").and_then(Value::as_u64).ok_or_else(|| {
            refuse(
                ReasonCode::WorldKeyMissing,
                "seed",
                "an unsigned 64-bit integer",
            )
        })?;
        Ok(Self {
            run_id,
            manifest_fingerprint: hex64("manifest_fingerprint")?,
            parameter_hash: hex64("parameter_hash")?,
            seed,
        })
    }

    /// The key of the world that this run and a scenario make.
    pub fn world_key(&self, scenario_id: ScenarioId) -> WorldKey {
        WorldKey {
            manifest_fingerprint: self.manifest_fingerprint.clone(),
            parameter_hash: self.parameter_hash.clone(),
            scenario_id,
            seed: self.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn receipt() -> Value {
        json!({
            "run_id": "0".repeat(32), "manifest_fingerprint": "a".repeat(64),
            "parameter_hash": "b".repeat(64), "seed": u64::MAX, "anything": {"else": 1},
        })
    }

    fn code(value: &Value) -> ReasonCode {
        RunReceipt::parse(value.to_string().as_bytes())
            .unwrap_err()
            .code()
    }

    #[test]
    fn a_receipt_is_read_with_its_whole_seed_and_extra_fields() {
        let parsed = RunReceipt::parse(receipt().to_string().as_bytes()).unwrap();
        assert_eq!(parsed.seed, u64::MAX);
        assert_eq!(parsed.run_id.as_str(), "0".repeat(32));
    }

    #[test]
    fn a_receipt_that_is_no_receipt_is_refused() {
        assert_eq!(
            RunReceipt::parse(b"{\"run_id\": ").unwrap_err().code(),
            ReasonCode::RunReceiptUnreadable
        );
        assert_eq!(code(&json!([1])), ReasonCode::RunReceiptUnreadable);
        let mut wrong = receipt();
        wrong["run_id"] = json!("0".repeat(31));
        assert_eq!(code(&wrong), ReasonCode::RunReceiptUnreadable);
    }

    #[test]
    fn a_field_that_occurs_twice_is_refused_even_where_both_say_the_same() {
        for again in [
            "\"seed\": 7",
            "\"seed\": 18446744073709551615",
            "\"anything\": 1",
            "\"x\": {\"a\": 1, \"a\": 2}",
            "\"x\": [{\"a\": {\"b\": 1, \"b\": 1}}]",
        ] {
            let text = receipt().to_string();
            let twice = format!("{}, {again}}}", text.strip_suffix('}').unwrap());
            let error = RunReceipt::parse(twice.as_bytes()).unwrap_err();
            assert_eq!(error.code(), ReasonCode::RunReceiptUnreadable);
            assert!(error.to_string().contains("occurs twice"), "{error}");
        }
    }

    #[test]
    fn a_receipt_without_a_world_key_is_named_so() {
        for (field, value) in [
            ("manifest_fingerprint", json!("A".repeat(64))),
            ("parameter_hash", Value::Null),
            ("seed", json!(-1)),
            ("seed", json!("1")),
            ("seed", json!(1.5)),
        ] {
            let mut wrong = receipt();
            wrong[field] = value;
            assert_eq!(code(&wrong), ReasonCode::WorldKeyMissing, "{field}");
        }
    }
}
