//! Rows as a cache keeps them: what an envelope is made of, without what a run decides.
//!
//! Platform run, producer and provenance may differ from run to run; the id, the time, the ordering
//! key and the payload of a row do not. So rows that were framed once are framed again from these
//! alone, to the same bytes.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::event_id::EventId;
use crate::frame::{FrameSpec, Framer};
use crate::framed_batch::FramedBatch;
use model::{EventTime, Hex64, OutputId, WorldKey};

/// One row of a cache.
#[derive(Debug, Clone, Copy)]
pub struct StoredRow<'a> {
    /// The row's event time.
    pub time: EventTime,
    /// The event's identity.
    pub event_id: EventId,
    /// The number that decides the event's lane.
    pub ordering_key: u64,
    /// The JSON of the row.
    pub payload: &'a [u8],
}

impl FrameSpec {
    /// Digest of all that ids and ordering keys depend on besides the rows: output, primary key,
    /// world. Rows that were stored under one digest may be framed under an equal one only.
    pub fn identity_digest(&self) -> Hex64 {
        let pins = &self.pins;
        let world = [
            pins.manifest_fingerprint(),
            pins.parameter_hash(),
            pins.scenario_id(),
        ];
        digest(&self.output_id, &self.primary_key, world, pins.seed())
    }

    /// The same digest of an output of a world, without a run.
    pub fn identity_digest_of(
        output_id: &OutputId,
        primary_key: &[String],
        world: &WorldKey,
    ) -> Hex64 {
        let texts = [
            world.manifest_fingerprint.as_str(),
            world.parameter_hash.as_str(),
            world.scenario_id.as_str(),
        ];
        digest(output_id, primary_key, texts, world.seed)
    }
}

fn digest(output_id: &OutputId, primary_key: &[String], world: [&str; 3], seed: u64) -> Hex64 {
    let mut hasher = Sha256::new();
    let mut item = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    item(output_id.as_str());
    for column in primary_key {
        item(column);
    }
    world.into_iter().for_each(&mut item);
    item(&seed.to_string());
    Hex64::of_digest(hasher.finalize().into())
}

impl Framer {
    /// The rows of a batch that this framer made.
    pub fn stored<'a>(&self, framed: &'a FramedBatch) -> impl Iterator<Item = StoredRow<'a>> {
        let head = self.head.len();
        (0..framed.len()).map(move |index| {
            let start = index.checked_sub(1).map_or(0, |before| framed.ends[before]);
            StoredRow {
                time: framed.times[index],
                event_id: framed.event_ids[index],
                ordering_key: framed.ordering_keys[index],
                // What follows the payload is the closing brace of the envelope.
                payload: &framed.buffer[start + head..framed.ends[index] - 1],
            }
        })
    }

    /// Frames rows that were stored, until their envelopes have `most_bytes` together or none is
    /// left.
    pub fn frame_stored<'a>(
        &self,
        rows: impl Iterator<Item = StoredRow<'a>>,
        most_bytes: usize,
    ) -> FramedBatch {
        let mut framed = FramedBatch::default();
        let mut buffer = Vec::with_capacity(most_bytes + most_bytes / 8);
        for row in rows {
            self.head.append(row.event_id, row.time, &mut buffer);
            buffer.extend_from_slice(row.payload);
            buffer.push(b'}');
            framed.ends.push(buffer.len());
            framed.event_ids.push(row.event_id);
            framed.times.push(row.time);
            framed.ordering_keys.push(row.ordering_key);
            if buffer.len() >= most_bytes {
                break;
            }
        }
        framed.buffer = Bytes::from(buffer);
        framed
    }
}
