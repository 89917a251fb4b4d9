//! A slot as one text, for stores that keep all of a key in one place.

use model::json_strictly;
use serde::{Deserialize, Serialize};

use super::slot::{Change, Life, RecordChange, Slot, StoredRecord};
use crate::error::{Error, ReasonCode, corrupt, unsupported};
use crate::key::CursorKey;
use crate::lease::LeaseRecord;
use crate::record::{SLOT_VERSION, json};

/// Lease, record and lines of history of one key, as a store keeps them in one file, blob or row.
/// Its JSON is an object with the fields below, keys sorted; the default is that of a new key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSlot {
    format_version: u32,
    /// Oldest first.
    history: Vec<String>,
    lease: Option<LeaseRecord>,
    /// The JSON of the record, or the text of what was damaged.
    pub(crate) record: Option<String>,
}

impl Default for StoredSlot {
    fn default() -> Self {
        Self {
            format_version: SLOT_VERSION,
            history: Vec::new(),
            lease: None,
            record: None,
        }
    }
}

impl StoredSlot {
    /// The lines of history that [`apply`](Self::apply) keeps of a key.
    pub const HISTORY_LINES: usize = 20;

    /// Reads the JSON that [`to_json`](Self::to_json) made. `place` is where it is stored, for
    /// error messages.
    ///
    /// # Errors
    /// `CHECKPOINT_CORRUPT`, `CHECKPOINT_VERSION_UNSUPPORTED`.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let not_whole = |error: serde_json::Error| {
            corrupt(place, "it is not one whole checkpoint slot").because(error)
        };
        let version: Version = json_strictly(bytes).map_err(not_whole)?;
        if version.format_version != u64::from(SLOT_VERSION) {
            return Err(unsupported(place, version.format_version, SLOT_VERSION));
        }
        json_strictly(bytes).map_err(not_whole)
    }

    /// The JSON to store.
    pub fn to_json(&self) -> String {
        json(self)
    }

    /// The slot to decide on. `life` is what the store knows of the session that the lease names.
    pub fn slot(&self, key: &CursorKey, place: &str, life: Life) -> Slot {
        let record = self.record.as_ref();
        let record = record.map(|text| StoredRecord::parse(text, key, place));
        Slot::new(self.lease.clone(), life, record)
    }

    /// The lines of history, newest first.
    pub fn lines(&self) -> Vec<String> {
        self.history.iter().rev().cloned().collect()
    }

    /// Makes the slot what was decided; `false` if that changes nothing. The newest
    /// [`HISTORY_LINES`](Self::HISTORY_LINES) lines of history are kept.
    pub fn apply(&mut self, change: Change) -> bool {
        let has_lease = change.lease.is_some();
        self.lease = change.lease.or(self.lease.take());
        let line = match change.record {
            RecordChange::Keep => return has_lease,
            RecordChange::Save(record) => {
                let record = record.to_json();
                self.record = Some(record.clone());
                record
            }
            RecordChange::Remove(line) => {
                self.record = None;
                line
            }
        };
        self.history.push(line);
        let surplus = self.history.len().saturating_sub(Self::HISTORY_LINES);
        self.history.drain(..surplus);
        true
    }

    /// The slot of a text that may be damaged, and what to go on from: a lease that cannot be read
    /// is for the protocol to judge, and a reset keeps the text in history.
    ///
    /// # Errors
    /// `CHECKPOINT_VERSION_UNSUPPORTED`.
    pub(crate) fn of_stored(
        bytes: Option<&[u8]>,
        key: &CursorKey,
        place: &str,
    ) -> Result<(Self, Slot), Error> {
        let stored = match bytes.map(|bytes| (bytes, Self::parse(bytes, place))) {
            None => Self::default(),
            Some((_, Ok(stored))) => stored,
            Some((bytes, Err(error))) if error.code() == ReasonCode::Corrupt => {
                let stored = Self {
                    record: Some(String::from_utf8_lossy(bytes).into_owned()),
                    ..Self::default()
                };
                let mut slot = stored.slot(key, place, Life::Unknown);
                slot.lease = Err(error);
                return Ok((stored, slot));
            }
            Some((_, Err(error))) => return Err(error),
        };
        let slot = stored.slot(key, place, Life::Unknown);
        Ok((stored, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_a_slots_values_is_no_slot_and_no_lease() {
        let whole = StoredSlot::default().to_json();
        assert!(StoredSlot::parse(whole.as_bytes(), "here").is_ok());
        let lease = r#"[3,{"host":"h","name":"n","pid":7},30000,false,2,"t","s"]"#;
        for wrong in [
            "[1,[],null,null]".to_owned(),
            whole.replace(r#""lease":null"#, &format!(r#""lease":{lease}"#)),
        ] {
            let error = StoredSlot::parse(wrong.as_bytes(), "here").unwrap_err();
            assert_eq!(error.code(), ReasonCode::Corrupt, "{wrong}");
        }
    }
}
