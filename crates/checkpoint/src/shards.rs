//! How a stream is divided into shards: the layout that all its producers agree on.
//!
//! Shards of one stream must agree on how many they are and what decides; else events would be
//! sent twice, or not at all. The **layout** is a record of its own under the unsharded key, so
//! every store keeps it by the one protocol of leases and records. Its number of generations is the
//! row, so that a layout only follows an earlier one; its text is the place of the last file.
//!
//! ```text
//! unsharded key ──┬── wsp:shards   {count, by, key hash, frozen}     the layout
//!                 └── <output>     cursors of the whole stream       (count = 1)
//! key|shard K/N ───── <output>     cursors of shard K of N
//! ```
//!
//! Invariants:
//! - A layout is made by who holds the lease of it and those of the whole stream's cursors. A
//!   stream in one piece reads the layout again under its leases. So of a stream in one piece and
//!   one in shards that begin at once, one is refused.
//! - A stream goes on in other shards by one write: the layout that **freezes** the cursors of all
//!   shards before, under the leases of all cursors, old and new. A crash before it leaves the old
//!   layout, one after it the new one; both are whole.
//! - A row is done iff the cursor of its shard says so, or that of its shard in a frozen division.

use std::collections::BTreeMap;

use model::{Clock, Hex64, KEY_HASH_VERSION, OutputId, Shard, ShardBy, SharedClock, json_strictly};
use serde::{Deserialize, Serialize};

use crate::cursor::{Cursor, OrderPosition, RowSource, StoredCursor};
use crate::error::{Error, ReasonCode, corrupt, shards_mismatch, unsupported};
use crate::key::{CursorKey, LAYOUT, PackKey};
use crate::lease::{Holder, Lease, LeaseRequest};
use crate::record::{Record, json};
use crate::store::CheckpointStore;

/// The format of a layout's text.
const LAYOUT_VERSION: u32 = 1;

/// How a stream is divided into shards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardLayout {
    /// The number of shards.
    pub count: u32,
    /// What decides which shard an event is of.
    pub by: ShardBy,
    /// How often the stream was divided; 1 for its first layout.
    pub generation: u64,
    /// The divisions before, the oldest first.
    pub frozen: Vec<FrozenShards>,
}

/// A division that a stream had before, and how far each of its shards was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrozenShards {
    /// The number of shards.
    pub count: u32,
    /// What decided which shard an event was of.
    pub by: ShardBy,
    /// The cursors, each with its shard. An output without a cursor had no event done.
    pub records: Vec<(u32, Record)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutText {
    by: ShardBy,
    count: u32,
    format_version: u32,
    frozen: Vec<FrozenText>,
    key_hash_version: u32,
}

#[derive(Deserialize)]
struct LayoutVersion {
    format_version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrozenText {
    by: ShardBy,
    count: u32,
    records: Vec<ShardRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShardRecord {
    record: String,
    shard: u32,
}

impl FrozenShards {
    /// The cursors of one of the shards.
    pub fn records_of(&self, shard: u32) -> impl Iterator<Item = &Record> {
        let records = self.records.iter();
        records.filter_map(move |(of, record)| (*of == shard).then_some(record))
    }
}

impl ShardLayout {
    fn first(shard: Shard) -> Self {
        Self {
            count: shard.count(),
            by: shard.by(),
            generation: 1,
            frozen: Vec::new(),
        }
    }

    /// Checks that a shard is one of the layout.
    ///
    /// # Errors
    /// `CHECKPOINT_SHARDS_MISMATCH`.
    pub fn check(&self, pack_key: &PackKey, shard: Shard) -> Result<(), Error> {
        let is_same = (self.count, self.by) == (shard.count(), shard.by());
        if is_same || (self.count == 1 && shard.is_whole()) {
            return Ok(());
        }
        let stored = format!("{} shards by {}", self.count, self.by);
        Err(shards_mismatch(pack_key, &stored, shard))
    }

    fn to_text(&self) -> String {
        let frozen = self.frozen.iter().map(|frozen| FrozenText {
            by: frozen.by,
            count: frozen.count,
            records: frozen
                .records
                .iter()
                .map(|(shard, record)| ShardRecord {
                    record: record.to_json(),
                    shard: *shard,
                })
                .collect(),
        });
        json(&LayoutText {
            by: self.by,
            count: self.count,
            format_version: LAYOUT_VERSION,
            frozen: frozen.collect(),
            key_hash_version: KEY_HASH_VERSION,
        })
    }

    fn of_record(record: &Record, pack_key: &PackKey, place: &str) -> Result<Self, Error> {
        let StoredCursor::Ours(cursor) = &record.cursor else {
            return Err(corrupt(
                place,
                "the layout of the shards is no record of ours",
            ));
        };
        let no_layout = |error| corrupt(place, "it is no layout of shards").because(error);
        let text = cursor.last_file.as_bytes();
        // Before all else: the fields of a later format may be others.
        let version: LayoutVersion = json_strictly(text).map_err(no_layout)?;
        if version.format_version != LAYOUT_VERSION {
            return Err(unsupported(place, version.format_version, LAYOUT_VERSION));
        }
        let text: LayoutText = json_strictly(text).map_err(no_layout)?;
        let hash = text.key_hash_version;
        if hash != KEY_HASH_VERSION {
            return Err(unsupported(place, hash, KEY_HASH_VERSION));
        }
        let no_shards = |_| corrupt(place, "it divides into shards that there are not");
        Shard::new(0, text.count, text.by).map_err(no_shards)?;
        let frozen = text.frozen.into_iter().map(|frozen| {
            let records = frozen.records.into_iter().map(|of_shard| {
                let shard = Shard::new(of_shard.shard, frozen.count, frozen.by);
                let shard = shard.map_err(no_shards)?;
                let key = pack_key.scoped_to_shard(shard);
                let output_id = output_of(&of_shard.record, place)?;
                let key = CursorKey::new(key, output_id)?;
                let record = Record::parse(of_shard.record.as_bytes(), &key, place)?;
                Ok((of_shard.shard, record))
            });
            Shard::new(0, frozen.count, frozen.by).map_err(no_shards)?;
            Ok(FrozenShards {
                count: frozen.count,
                by: frozen.by,
                records: records.collect::<Result<_, Error>>()?,
            })
        });
        Ok(Self {
            count: text.count,
            by: text.by,
            generation: cursor.last_row_index,
            frozen: frozen.collect::<Result<_, Error>>()?,
        })
    }

    /// All numbers of shards that the stream was ever divided into.
    fn counts(&self) -> impl Iterator<Item = u32> {
        let frozen = self.frozen.iter().map(|frozen| frozen.count);
        frozen.chain([self.count])
    }
}

/// The output that the text of a record names.
fn output_of(record: &str, place: &str) -> Result<OutputId, Error> {
    #[derive(Deserialize)]
    struct Named {
        output_id: OutputId,
    }
    let named: Named = serde_json::from_str(record)
        .map_err(|error| corrupt(place, "it freezes what is no record").because(error))?;
    Ok(named.output_id)
}

fn layout_key(pack_key: &PackKey) -> Result<CursorKey, Error> {
    CursorKey::new(pack_key.clone(), LAYOUT)
}

/// The keys of all shards' cursors of some outputs.
fn keys_of(pack_key: &PackKey, outputs: &[OutputId], count: u32) -> Result<Vec<CursorKey>, Error> {
    let mut keys = Vec::with_capacity(outputs.len() * count as usize);
    for index in 0..count {
        // The key is the same whatever decides.
        let shard = Shard::new(index, count, ShardBy::Key);
        let shard = shard.map_err(|fault| shards_invalid(&fault))?;
        let pack_key = pack_key.scoped_to_shard(shard);
        for output in outputs {
            keys.push(CursorKey::new(pack_key.clone(), output.clone())?);
        }
    }
    Ok(keys)
}

fn shards_invalid(fault: &model::InvalidShard) -> Error {
    Error::new(
        ReasonCode::ConfigInvalid,
        format!("There are no such shards: {fault}"),
    )
}

/// The layout of a stream by its unsharded key; `None` for one that was never divided.
///
/// # Errors
/// As [`CheckpointStore::load`].
pub async fn shard_layout(
    store: &dyn CheckpointStore,
    pack_key: &PackKey,
) -> Result<Option<ShardLayout>, Error> {
    let record = store.load(&layout_key(pack_key)?).await?;
    let parse = |record: Record| ShardLayout::of_record(&record, pack_key, &store.place());
    record.map(parse).transpose()
}

/// Who asks for the layout of a stream, and for which outputs.
#[derive(Clone, Debug)]
pub struct ShardRequest<'a> {
    /// The unsharded key.
    pub pack_key: &'a PackKey,
    /// The outputs that the shard streams.
    pub outputs: &'a [OutputId],
    /// The shard.
    pub shard: Shard,
    /// Who asks.
    pub holder: Holder,
    /// How long the leases last that a new layout is made under.
    pub period: std::time::Duration,
}

impl ShardRequest<'_> {
    /// Checks a layout, and that no cursor of the whole stream is passed over.
    async fn check(&self, store: &dyn CheckpointStore, layout: &ShardLayout) -> Result<(), Error> {
        layout.check(self.pack_key, self.shard)?;
        if self.shard.is_whole() || layout.frozen.iter().any(|frozen| frozen.count == 1) {
            return Ok(());
        }
        self.check_not_whole(store).await
    }

    /// Checks that there is no cursor of the stream in one piece.
    async fn check_not_whole(&self, store: &dyn CheckpointStore) -> Result<(), Error> {
        for key in keys_of(self.pack_key, self.outputs, 1)? {
            if store.load(&key).await?.is_some() {
                return Err(shards_mismatch(self.pack_key, "one piece", self.shard));
            }
        }
        Ok(())
    }

    /// Makes the layout, unless somebody has made it.
    async fn make(&self, store: &dyn CheckpointStore, lease: &Lease) -> Result<ShardLayout, Error> {
        if let Some(layout) = shard_layout(store, self.pack_key).await? {
            self.check(store, &layout).await?;
            return Ok(layout);
        }
        self.check_not_whole(store).await?;
        let layout = ShardLayout::first(self.shard);
        save_layout(store, lease, self.pack_key, &layout).await?;
        Ok(layout)
    }
}

/// The layout that a shard is to stream by, made if it is absent; `None` for a stream in one piece
/// that was never divided. Before any lease of the shard's cursors, and again under them, since the
/// stream may be divided anew in between.
///
/// # Errors
/// `CHECKPOINT_SHARDS_MISMATCH`; `LEASE_HELD` while the stream runs in one piece; the store's.
pub async fn agree_on_shards(
    store: &dyn CheckpointStore,
    request: &ShardRequest<'_>,
    clock: &SharedClock,
) -> Result<Option<ShardLayout>, Error> {
    let mut keys = keys_of(request.pack_key, request.outputs, 1)?;
    keys.push(layout_key(request.pack_key)?);
    let wanted = LeaseRequest::new(keys, request.holder.clone()).lasting(request.period);
    // Of several shards that begin at once one makes the layout, within some milliseconds.
    let pause = (request.period / 100).max(std::time::Duration::from_millis(1));
    let give_up = clock.now() + request.period + pause;
    loop {
        if let Some(layout) = shard_layout(store, request.pack_key).await? {
            request.check(store, &layout).await?;
            return Ok(Some(layout));
        }
        if request.shard.is_whole() {
            return Ok(None);
        }
        match store.acquire(&wanted).await {
            Ok(lease) => {
                let made = request.make(store, &lease).await;
                // What cannot be given back is free after a period.
                let _ = store.release(&lease).await;
                return made.map(Some);
            }
            Err(held) if held.code() == ReasonCode::LeaseHeld && clock.now() < give_up => {
                clock.sleep(pause).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn save_layout(
    store: &dyn CheckpointStore,
    lease: &Lease,
    pack_key: &PackKey,
    layout: &ShardLayout,
) -> Result<(), Error> {
    let text = layout.to_text();
    let cursor = Cursor {
        last_part: LAYOUT.to_owned(),
        plan_digest: Hex64::sha256_of(&text).to_string(),
        last_file: text,
        source: RowSource::Outputs,
        last_row_index: layout.generation,
        last_ts_utc: None,
        order: OrderPosition::AsWritten,
        platform_run_id: String::new(),
        done: None,
    };
    let cursors = BTreeMap::from([(layout_key(pack_key)?, cursor)]);
    store.save_many(lease, &cursors).await
}

/// The keys whose leases it takes to divide a stream anew into `to` shards, or, for `None`, to give
/// up all of its cursors: those of every division that it ever had, and the layout's.
///
/// # Errors
/// `CHECKPOINT_CONFIG_INVALID` for a number of shards that there is not; the key's.
pub fn keys_of_all_shards(
    pack_key: &PackKey,
    outputs: &[OutputId],
    layout: Option<&ShardLayout>,
    to: Option<u32>,
) -> Result<Vec<CursorKey>, Error> {
    let mut counts = vec![1];
    counts.extend(layout.into_iter().flat_map(ShardLayout::counts));
    counts.extend(to);
    counts.sort_unstable();
    counts.dedup();
    let mut keys = vec![layout_key(pack_key)?];
    for count in counts {
        keys.extend(keys_of(pack_key, outputs, count)?);
    }
    Ok(keys)
}

/// Divides a stream anew into `to` shards, under the leases of
/// [`keys_of_all_shards`]: the cursors of the shards so far are frozen into the new layout, and a
/// new shard passes over what they say is done. Nothing is repeated. Into as many shards as before,
/// nothing is changed.
///
/// `outputs` are all outputs of the stream: a cursor of another one would be forgotten.
///
/// # Errors
/// `CHECKPOINT_SHARDS_MISMATCH` where a cursor is a platform producer's, which no shard can take
/// over; `LEASE_LOST`; the store's. Before the layout is written nothing is changed that counts.
pub async fn reshard(
    store: &dyn CheckpointStore,
    lease: &Lease,
    (pack_key, outputs): (&PackKey, &[OutputId]),
    (to, by): (u32, ShardBy),
) -> Result<ShardLayout, Error> {
    let before = shard_layout(store, pack_key).await?;
    let before = before.unwrap_or(ShardLayout {
        by,
        ..ShardLayout::first(Shard::WHOLE)
    });
    if before.count == to {
        return Ok(before);
    }
    let mut records = Vec::new();
    for (place, key) in keys_of(pack_key, outputs, before.count)?.iter().enumerate() {
        let Some(record) = store.load(key).await? else {
            continue;
        };
        if record.is_foreign() {
            return Err(
                shards_mismatch(pack_key, "a platform producer's cursor", Shard::WHOLE)
                    .advise("Stream one event with it first, in one piece: that adopts it."),
            );
        }
        records.push(((place / outputs.len().max(1)) as u32, record));
    }
    // A number of shards that was left before: what its cursors say is frozen too.
    for key in keys_of(pack_key, outputs, to)? {
        if store.load(&key).await?.is_some() {
            store.reset(lease, &key).await?;
        }
    }
    let mut frozen = before.frozen;
    frozen.push(FrozenShards {
        count: before.count,
        by: before.by,
        records,
    });
    let layout = ShardLayout {
        count: to,
        by: before.by,
        generation: before.generation + 1,
        frozen,
    };
    // No shard may have begun in the meantime: a lease that was taken ends this here.
    store.renew(lease).await?;
    save_layout(store, lease, pack_key, &layout).await?;
    Ok(layout)
}

/// Has the layout of a stream forget what was done of some outputs before it was divided anew,
/// under the layout's lease: after a reset they are streamed again from the beginning.
///
/// # Errors
/// The store's.
pub async fn forget_frozen(
    store: &dyn CheckpointStore,
    lease: &Lease,
    pack_key: &PackKey,
    outputs: &[OutputId],
) -> Result<(), Error> {
    let Some(mut layout) = shard_layout(store, pack_key).await? else {
        return Ok(());
    };
    for frozen in &mut layout.frozen {
        let is_kept = |(_, record): &(u32, Record)| !outputs.contains(record.key.output_id());
        frozen.records.retain(is_kept);
    }
    layout.generation += 1;
    save_layout(store, lease, pack_key, &layout).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_of_a_later_format_is_refused_before_its_fields_are_read() {
        let pack_key = PackKey::of_root("world");
        let shard = Shard::new(0, 2, ShardBy::Key).unwrap();
        let text = ShardLayout::first(shard).to_text();
        let read = |text: String| {
            let cursor = Cursor {
                last_part: LAYOUT.to_owned(),
                plan_digest: "ab".repeat(32),
                last_file: text,
                source: RowSource::Outputs,
                last_row_index: 1,
                last_ts_utc: None,
                order: OrderPosition::AsWritten,
                platform_run_id: String::new(),
                done: None,
            };
            let record = Record {
                key: layout_key(&pack_key).unwrap(),
                cursor: StoredCursor::Ours(cursor),
                fence: Some(1),
                sequence: 1,
                updated_at_utc: String::new(),
            };
            ShardLayout::of_record(&record, &pack_key, "here")
        };
        assert_eq!(read(text.clone()).unwrap().count, 2);
        let now = format!("\"format_version\":{LAYOUT_VERSION}");
        let next = format!("\"format_version\":{},\"later\":true", LAYOUT_VERSION + 1);
        let error = read(text.replace(&now, &next)).unwrap_err();
        assert_eq!(error.code(), ReasonCode::VersionUnsupported);
        let error = read(text.replace(&now, &format!("{now},\"later\":true"))).unwrap_err();
        assert_eq!(error.code(), ReasonCode::Corrupt);
    }
}
