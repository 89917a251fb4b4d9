//! The id of an event whose payload is at hand, as a gate or a backfill has it.

use crate::error::Error;
use crate::event_id::{EventId, id_tail};
use crate::identity::Identity;
use crate::json_lines::LineReader;
use crate::time_fault::TIME_COLUMN;
use model::{OutputId, WorldKey};

impl EventId {
    /// The id of the event whose payload is given, as JSON text of an object.
    ///
    /// It is that of the envelope which carries the row: a [`Framer`](crate::Framer) gives the
    /// same for the row itself, whatever the types of its columns.
    ///
    /// ```
    /// use envelope::{EventId, Hex64, OutputId, ScenarioId, WorldKey};
    ///
    /// let world = WorldKey {
    ///     manifest_fingerprint: Hex64::parse(&"75".repeat(32)).unwrap(),
    ///     parameter_hash: Hex64::parse(&"f3".repeat(32)).unwrap(),
    ///     scenario_id: ScenarioId::parse("baseline_v1").unwrap(),
    ///     seed: 20_260_128,
    /// };
    /// let (flows, key) = (OutputId::new("flows"), ["flow_id".to_owned()]);
    /// let id = |payload: &str| EventId::of_payload(&flows, &key, &world, payload.as_bytes());
    /// assert_eq!(id(r#"{"flow_id":7}"#)?, id(r#"{"amount":1.5,"flow_id":7}"#)?);
    /// assert_eq!(id("{}").unwrap_err().code().as_str(), "PRIMARY_KEY_MISSING");
    /// # Ok::<(), envelope::Error>(())
    /// ```
    ///
    /// # Errors
    /// `PRIMARY_KEY_UNDEFINED` without key columns, `PAYLOAD_VALUE_UNSUPPORTED` if the payload is
    /// not one JSON object with distinct names, `PRIMARY_KEY_MISSING` and
    /// `PRIMARY_KEY_TYPE_UNSUPPORTED` with the column.
    pub fn of_payload(
        output_id: &OutputId,
        primary_key: &[String],
        world: &WorldKey,
        payload: &[u8],
    ) -> Result<Self, Error> {
        let tail = id_tail(
            world.manifest_fingerprint.as_str(),
            world.parameter_hash.as_str(),
            world.seed,
            world.scenario_id.as_str(),
        );
        let mut identity = Identity::new(output_id.as_str(), primary_key, tail)?;
        let mut reader = LineReader::new(TIME_COLUMN, primary_key);
        let row = reader.read(payload)?;
        match identity.of_texts(row.key_texts()) {
            Ok((id, _)) => Ok(id),
            Err((column, fault)) => Err(fault.error(column)),
        }
    }
}
