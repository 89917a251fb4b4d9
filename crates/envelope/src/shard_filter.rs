//! Which rows of an output are of a shard, by their keys alone.
//!
//! Of a Parquet part only the columns of the key are looked at, so that whoever reads decodes the
//! other columns of the shard's rows only. A row whose key is faulty is of every shard: each of
//! them then refuses it, and none passes it over in silence.

use arrow_array::RecordBatch;
use model::{Shard, ShardBy};
use sha2::{Digest, Sha256};

use crate::batch_identity::KeyColumn;
use crate::error::{Error, RowPlace};
use crate::event_id::EventId;
use crate::frame::FrameSpec;
use crate::identity::Identity;
use crate::json_lines::LineReader;
use crate::ordering_key::ordering_key;

/// The number of an event that decides its shard, by its ordering key's hash and its id: it is of
/// the shard whose index is the number modulo the count.
pub fn shard_number(by: ShardBy, key_hash: u64, event_id: &EventId) -> u64 {
    match by {
        ShardBy::Key => Shard::number_of_key(key_hash),
        ShardBy::EventId => lane_number(event_id),
    }
}

/// Whether an event is of a shard, by its ordering key's hash and its id.
pub fn is_of_shard(shard: Shard, key_hash: u64, event_id: &EventId) -> bool {
    shard.is_whole() || shard.takes(shard_number(shard.by(), key_hash, event_id))
}

/// The number that the platform's lanes take an event by.
fn lane_number(event_id: &EventId) -> u64 {
    let digest: [u8; 32] = Sha256::digest(event_id.hex()).into();
    digest
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

/// Tells which rows of one output are of a shard. Between rows it keeps only memory.
#[derive(Debug)]
pub struct ShardFilter {
    shard: Shard,
    identity: Identity,
    lines: LineReader,
    columns: Vec<String>,
    text: Vec<u8>,
}

impl ShardFilter {
    /// A filter of the rows that are framed by a spec.
    ///
    /// # Errors
    /// `PRIMARY_KEY_UNDEFINED` without key columns.
    pub fn new(spec: &FrameSpec, shard: Shard) -> Result<Self, Error> {
        let (key, tail) = (&spec.primary_key, spec.pins.id_tail());
        let identity = Identity::new(spec.output_id.as_str(), key, tail)?;
        let ordering = identity.ordering.map(|place| key[place].clone());
        let columns = match shard.by() {
            ShardBy::Key => ordering.into_iter().collect(),
            ShardBy::EventId => key.clone(),
        };
        Ok(Self {
            lines: LineReader::new(&spec.time_column, key),
            shard,
            identity,
            columns,
            text: Vec::new(),
        })
    }

    /// The columns that decide; none where all rows have one key, which is the output's.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether any row may be of the shard: `false` where all rows have one key, and it is of
    /// another shard.
    pub fn takes_any(&self) -> bool {
        !self.columns.is_empty() || self.takes_key(self.identity.output_key)
    }

    fn takes_key(&self, key_hash: u64) -> bool {
        self.shard.takes(Shard::number_of_key(key_hash))
    }

    /// Says of each row of a batch, in order, whether it is of the shard. The batch may have the
    /// filter's columns alone.
    pub fn rows(&mut self, batch: &RecordBatch, say: &mut dyn FnMut(bool)) {
        match self.shard.by() {
            ShardBy::Key => self.rows_by_key(batch, say),
            ShardBy::EventId => self.rows_by_event_id(batch, say),
        }
    }

    fn rows_by_key(&mut self, batch: &RecordBatch, say: &mut dyn FnMut(bool)) {
        let rows = batch.num_rows();
        let Some(name) = self.columns.first() else {
            let takes_all = self.takes_any();
            return (0..rows).for_each(|_| say(takes_all));
        };
        let constant = vec![false; batch.num_columns()];
        let Ok(key) = KeyColumn::find(name, batch, &constant) else {
            return (0..rows).for_each(|_| say(true));
        };
        for row in 0..rows {
            if key.is_null(row) {
                say(true);
                continue;
            }
            self.text.clear();
            key.append_to(row, &mut self.text);
            let number = Shard::number_of_key(ordering_key(&self.text));
            say(self.shard.takes(number));
        }
    }

    fn rows_by_event_id(&mut self, batch: &RecordBatch, say: &mut dyn FnMut(bool)) {
        let constant = vec![false; batch.num_columns()];
        let mut next = 0;
        while next < batch.num_rows() {
            let rest = batch.slice(next, batch.num_rows() - next);
            let (identities, fault) = self.identity.of_batch(&rest, &constant, rest.num_rows());
            next += identities.event_ids.len();
            for id in &identities.event_ids {
                say(self.shard.takes(lane_number(id)));
            }
            if fault.is_some() {
                say(true);
                next += 1;
            }
        }
    }

    /// Whether a line of a JSON Lines part is of the shard.
    pub fn line(&mut self, line: &[u8]) -> bool {
        let Ok(row) = self.lines.read(line) else {
            return true;
        };
        match self.identity.of_texts(row.key_texts()) {
            Ok((id, key_hash)) => is_of_shard(self.shard, key_hash, &id),
            Err(_) => true,
        }
    }
}

/// The keys of an output's rows: what tells them apart, and what orders them.
#[derive(Debug)]
pub struct RowKeys {
    identity: Identity,
    lines: LineReader,
}

impl RowKeys {
    /// The keys of rows that are framed by a spec.
    ///
    /// # Errors
    /// `PRIMARY_KEY_UNDEFINED` without key columns.
    pub fn new(spec: &FrameSpec) -> Result<Self, Error> {
        let (key, tail) = (&spec.primary_key, spec.pins.id_tail());
        Ok(Self {
            identity: Identity::new(spec.output_id.as_str(), key, tail)?,
            lines: LineReader::new(&spec.time_column, key),
        })
    }

    /// Calls `each` with the key hash and the id of each row of a batch, which may have the key's
    /// columns alone.
    ///
    /// # Errors
    /// `PRIMARY_KEY_MISSING`, `PRIMARY_KEY_TYPE_UNSUPPORTED` of the first faulty row, by its place in
    /// the batch.
    pub fn rows(
        &mut self,
        batch: &RecordBatch,
        each: &mut dyn FnMut(u64, &EventId),
    ) -> Result<(), Error> {
        let constant = vec![false; batch.num_columns()];
        let (found, fault) = self.identity.of_batch(batch, &constant, batch.num_rows());
        for (key_hash, id) in found.ordering_keys.iter().zip(&found.event_ids) {
            each(*key_hash, id);
        }
        let at = |row: usize| RowPlace {
            part: String::new(),
            row: row as u64,
        };
        fault.map_or(Ok(()), |fault| Err(fault.error(at)))
    }

    /// The key hash and the id of a line of a JSON Lines part.
    ///
    /// # Errors
    /// `PAYLOAD_VALUE_UNSUPPORTED`, `PRIMARY_KEY_MISSING`, `PRIMARY_KEY_TYPE_UNSUPPORTED`, without a
    /// place.
    pub fn line(&mut self, line: &[u8]) -> Result<(u64, EventId), Error> {
        let row = self.lines.read(line)?;
        let key = self.identity.of_texts(row.key_texts());
        let (id, key_hash) = key.map_err(|(column, fault)| fault.error(column))?;
        Ok((key_hash, id))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use model::{EngineRunId, Hex64, ScenarioId, WorldKey};

    use super::*;
    use crate::frame::Framer;
    use crate::pins::Pins;

    fn spec(key: &[&str]) -> FrameSpec {
        let world = WorldKey {
            manifest_fingerprint: Hex64::parse(&"75".repeat(32)).unwrap(),
            parameter_hash: Hex64::parse(&"f3".repeat(32)).unwrap(),
            scenario_id: ScenarioId::parse("baseline_v1").unwrap(),
            seed: 7,
        };
        let run = EngineRunId::parse(&"75".repeat(16)).unwrap();
        let platform_run = "platform_20260128T090000Z".parse().unwrap();
        let pins = Pins::for_world(&world, &run, &platform_run, "svc:test").unwrap();
        FrameSpec::new("flows", key.iter().copied(), pins)
    }

    fn batch(rows: i64) -> RecordBatch {
        let merchants: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..rows).map(|row| format!("m{}", row % 17)),
        ));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let times = (0..rows).map(|_| "2026-01-28T09:00:00Z");
        let times: ArrayRef = Arc::new(StringArray::from_iter_values(times));
        RecordBatch::try_from_iter([("m", merchants), ("n", numbers), ("ts_utc", times)]).unwrap()
    }

    fn said(filter: &mut ShardFilter, batch: &RecordBatch) -> Vec<bool> {
        let mut said = Vec::new();
        filter.rows(batch, &mut |takes| said.push(takes));
        said
    }

    #[test]
    fn a_filter_says_of_rows_and_lines_what_their_framed_events_say() {
        let batch = batch(200);
        for (key, by) in [
            (&["m", "n"][..], ShardBy::Key),
            (&["n"], ShardBy::Key),
            (&["seed"], ShardBy::Key),
            (&["m", "n"], ShardBy::EventId),
        ] {
            let spec = spec(key);
            let with_seed: ArrayRef = Arc::new(Int64Array::from(vec![7; 200]));
            let mut columns: Vec<_> = batch
                .schema()
                .fields()
                .iter()
                .cloned()
                .zip(batch.columns().to_vec())
                .map(|(f, c)| (f.name().clone(), c))
                .collect();
            columns.push(("seed".to_owned(), with_seed));
            let batch = RecordBatch::try_from_iter(columns).unwrap();
            let framed = Framer::new(&spec).unwrap().frame("p", 0, &batch).unwrap();
            for (index, count) in [(0, 1), (0, 2), (1, 2), (4, 5)] {
                let shard = Shard::new(index, count, by).unwrap();
                let mut filter = ShardFilter::new(&spec, shard).unwrap();
                let of_events: Vec<bool> = (0..framed.len())
                    .map(|row| is_of_shard(shard, framed.ordering_key(row), &framed.event_id(row)))
                    .collect();
                assert_eq!(said(&mut filter, &batch), of_events, "{key:?} {shard} {by}");
                for (row, of_event) in of_events.iter().enumerate() {
                    let line = format!(
                        r#"{{"m":"m{}","n":{row},"seed":7,"ts_utc":"2026-01-28T09:00:00Z"}}"#,
                        row % 17
                    );
                    assert_eq!(filter.line(line.as_bytes()), *of_event, "{line} {shard}");
                }
            }
        }
    }

    #[test]
    fn a_row_with_a_faulty_key_is_of_every_shard() {
        let keys: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b")]));
        let batch = RecordBatch::try_from_iter([("m", keys)]).unwrap();
        for by in [ShardBy::Key, ShardBy::EventId] {
            let mut takers = [0; 3];
            for index in 0..4 {
                let shard = Shard::new(index, 4, by).unwrap();
                let mut filter = ShardFilter::new(&spec(&["m"]), shard).unwrap();
                let said = said(&mut filter, &batch);
                for (takers, takes) in takers.iter_mut().zip(said) {
                    *takers += usize::from(takes);
                }
                assert!(filter.line(b"not JSON") && filter.line(br#"{"m":null}"#));
            }
            assert_eq!(takers, [1, 4, 1], "{by}");
        }
    }

    #[test]
    fn lanes_take_an_event_as_the_platform_computes_it() {
        // int.from_bytes(sha256(b"00…00").digest()[:8], "big") in Python.
        let id: EventId = EventId::parse(&"0".repeat(64)).unwrap();
        assert_eq!(lane_number(&id), 0x60e0_5bd1_b195_af2f);
    }
}
