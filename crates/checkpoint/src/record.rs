//! The record: one cursor as every backend stores it.
//!
//! One JSON object, keys sorted. The first six fields of the table are the existing producer's;
//! with only those, the record is that producer's and is read as [`StoredCursor::Foreign`].
//!
//! | field | value |
//! |---|---|
//! | `last_file` | place of the part (of the view's file) as text, as the platform's producers compare it |
//! | `last_row_index` | integer, from 0 |
//! | `last_ts_utc` | string or null |
//! | `output_id`, `pack_key` | the key |
//! | `updated_at_utc` | when it was saved, RFC 3339 UTC, 6 digits |
//! | `done` | what became of all events up to here: `{acknowledged, quarantined}`, each `{events, ids_sum}`; left out where it is not known |
//! | `checksum` | sha256 hex of the compact JSON of all other fields, keys sorted |
//! | `fence` | fence of the lease it was saved under |
//! | `format_version` | 3; 1 and 2 are read too |
//! | `last_part` | the part's name: relative to the engine run root, or to the base of stream views |
//! | `order` | `as_written` or `event_time` |
//! | `plan_digest` | hex64 |
//! | `platform_run_id` | text |
//! | `source` | `outputs` or `view` |
//! | `sequence` | 1 for the key's first record, then one more each save |
//! | `sort_time_ns` | nanoseconds since 1970 as a decimal string in `event_time`, else null |
//!
//! Version 1 had no `last_part` and no `source`: its `last_file` was the part's name, and rows were
//! read from outputs. Version 2 had no `done`.
//!
//! SQL backends store the same fields as columns and compute the same checksum.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::count::{count, next_count};
use crate::cursor::{Cursor, ForeignCursor, OrderMode, OrderPosition, RowSource, StoredCursor};
use crate::error::{Error, corrupt, key_mismatch, lost, unsupported};
use model::{DoneTally, Hex64, PackKey, json_strictly};

use crate::key::CursorKey;
use crate::lease::Lease;

/// The record format this release writes.
pub(crate) const FORMAT_VERSION: u32 = 3;

/// The format without tallies.
pub(crate) const WITHOUT_TALLIES: u32 = 2;

/// The format of what stands around records: slots, objects of a bucket, claims.
pub(crate) const SLOT_VERSION: u32 = 1;

/// The format whose `last_file` was the part's name.
const PART_AS_FILE: u32 = 1;

/// Whether this release reads a format.
pub(crate) const fn is_known(version: u32) -> bool {
    matches!(version, PART_AS_FILE | WITHOUT_TALLIES | FORMAT_VERSION)
}

/// The record that a store holds for a key: a cursor, and how it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The key that the record is of.
    pub key: CursorKey,
    /// The position of the output.
    pub cursor: StoredCursor,
    /// The fence of the lease that it was saved under; `None` for the existing producer's.
    pub fence: Option<u64>,
    /// The number of this record among the key's, from 1; 0 for the existing producer's.
    pub sequence: u64,
    /// When the record was saved, as its writer spelled the time.
    pub updated_at_utc: String,
}

/// One line of a key's history: a save, or a reset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Whether the line tells of a save or of a reset.
    pub event: HistoryEvent,
    /// When it happened, as its writer spelled the time.
    pub at_utc: String,
    /// The record that was saved, or that a reset gave up; `None` if that was damaged.
    pub record: Option<Record>,
    /// The text of a damaged record that a reset gave up.
    pub damaged: Option<String>,
}

/// What a line of history tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryEvent {
    /// A cursor was saved.
    Saved,
    /// A position was given up on purpose.
    Reset,
}

impl HistoryEvent {
    /// The name of the kind in reports: `saved` or `reset`.
    pub const fn as_str(self) -> &'static str {
        match self {
            HistoryEvent::Saved => "saved",
            HistoryEvent::Reset => "reset",
        }
    }
}

/// Everything but the checksum, keys in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<DoneTally>,
    fence: u64,
    format_version: u32,
    last_file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_part: Option<&'a str>,
    last_row_index: u64,
    last_ts_utc: Option<&'a str>,
    order: OrderMode,
    output_id: &'a str,
    pack_key: &'a str,
    plan_digest: &'a str,
    platform_run_id: &'a str,
    sequence: u64,
    sort_time_ns: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<RowSource>,
    updated_at_utc: &'a str,
}

/// A record of ours, field by field: the JSON object, or a row of SQL columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wire {
    pub(crate) checksum: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<DoneTally>,
    #[serde(deserialize_with = "count")]
    pub(crate) fence: u64,
    pub(crate) format_version: u32,
    pub(crate) last_file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_part: Option<String>,
    #[serde(deserialize_with = "count")]
    pub(crate) last_row_index: u64,
    pub(crate) last_ts_utc: Option<String>,
    pub(crate) order: OrderMode,
    pub(crate) output_id: String,
    pub(crate) pack_key: String,
    pub(crate) plan_digest: String,
    pub(crate) platform_run_id: String,
    #[serde(deserialize_with = "count")]
    pub(crate) sequence: u64,
    pub(crate) sort_time_ns: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<RowSource>,
    pub(crate) updated_at_utc: String,
}

/// A record of the existing producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForeignWire {
    pub(crate) last_file: String,
    #[serde(deserialize_with = "count")]
    pub(crate) last_row_index: u64,
    #[serde(default)]
    pub(crate) last_ts_utc: Option<String>,
    pub(crate) output_id: String,
    pub(crate) pack_key: String,
    pub(crate) updated_at_utc: String,
}

/// The fields that only this crate writes.
const OUR_FIELDS: [&str; 11] = [
    "checksum",
    "done",
    "fence",
    "format_version",
    "last_part",
    "order",
    "plan_digest",
    "platform_run_id",
    "sequence",
    "sort_time_ns",
    "source",
];

impl Wire {
    /// The record of `cursor`, with its checksum.
    pub(crate) fn new(
        key: &CursorKey,
        cursor: &Cursor,
        fence: u64,
        sequence: u64,
        updated_at_utc: String,
    ) -> Self {
        let mut wire = Self {
            checksum: String::new(),
            done: cursor.done,
            fence,
            format_version: FORMAT_VERSION,
            last_file: cursor.last_file.clone(),
            last_part: Some(cursor.last_part.clone()),
            last_row_index: cursor.last_row_index,
            last_ts_utc: cursor.last_ts_utc.clone(),
            order: cursor.order.mode(),
            output_id: key.output_id().to_string(),
            pack_key: key.pack_key().as_str().to_owned(),
            plan_digest: cursor.plan_digest.clone(),
            platform_run_id: cursor.platform_run_id.clone(),
            sequence,
            sort_time_ns: match cursor.order {
                OrderPosition::AsWritten => None,
                OrderPosition::EventTime { sort_time_ns } => Some(sort_time_ns.to_string()),
            },
            source: Some(cursor.source),
            updated_at_utc,
        };
        wire.checksum = wire.expected_checksum();
        wire
    }

    /// The record that saves `cursor` over `stored` under the lease; `None` if it is there already.
    ///
    /// # Errors
    /// `LEASE_LOST`, `CHECKPOINT_REGRESSION`, `CHECKPOINT_ORDER_MISMATCH`.
    pub(crate) fn following(
        stored: Option<&Record>,
        key: &CursorKey,
        cursor: &Cursor,
        lease: &Lease,
        now_utc: impl FnOnce() -> String,
    ) -> Result<Option<Self>, Error> {
        let fence = lease.fence_to_show(key)?;
        let Some(stored) = stored else {
            return Ok(Some(Self::new(key, cursor, fence, 1, now_utc())));
        };
        cursor.check_follows(key, &stored.cursor)?;
        let is_there = stored.fence == Some(fence)
            && matches!(&stored.cursor, StoredCursor::Ours(there) if there == cursor);
        if is_there {
            return Ok(None);
        }
        let sequence = next_count(stored.sequence, key)?;
        Ok(Some(Self::new(key, cursor, fence, sequence, now_utc())))
    }

    pub(crate) fn to_json(&self) -> String {
        json(self)
    }

    fn expected_checksum(&self) -> String {
        let content = Content {
            done: self.done,
            fence: self.fence,
            format_version: self.format_version,
            last_file: &self.last_file,
            last_part: self.last_part.as_deref(),
            last_row_index: self.last_row_index,
            last_ts_utc: self.last_ts_utc.as_deref(),
            order: self.order,
            output_id: &self.output_id,
            pack_key: &self.pack_key,
            plan_digest: &self.plan_digest,
            platform_run_id: &self.platform_run_id,
            sequence: self.sequence,
            sort_time_ns: self.sort_time_ns.clone(),
            source: self.source,
            updated_at_utc: &self.updated_at_utc,
        };
        Hex64::sha256_of(json(&content)).to_string()
    }

    /// Checks version, checksum and key, and gives the record.
    pub(crate) fn into_record(self, key: &CursorKey, place: &str) -> Result<Record, Error> {
        if !is_known(self.format_version) {
            return Err(unsupported(place, self.format_version, FORMAT_VERSION));
        }
        if self.checksum != self.expected_checksum() {
            return Err(corrupt(place, "its checksum does not match its content"));
        }
        check_key(key, &self.pack_key, &self.output_id, place)?;
        if self.done.is_some() && self.format_version != FORMAT_VERSION {
            return Err(corrupt(place, "its version knows no `done`"));
        }
        let order = match (self.order, self.sort_time_ns.as_deref().map(str::parse)) {
            (OrderMode::AsWritten, None) => OrderPosition::AsWritten,
            (OrderMode::EventTime, Some(Ok(sort_time_ns))) => {
                OrderPosition::EventTime { sort_time_ns }
            }
            _ => return Err(corrupt(place, "`sort_time_ns` does not fit its `order`")),
        };
        let (last_part, source) = match (self.format_version, self.last_part, self.source) {
            (PART_AS_FILE, None, None) => (self.last_file.clone(), RowSource::Outputs),
            (WITHOUT_TALLIES | FORMAT_VERSION, Some(last_part), Some(source)) => {
                (last_part, source)
            }
            _ => {
                return Err(corrupt(
                    place,
                    "`last_part` and `source` do not fit its version",
                ));
            }
        };
        Ok(Record {
            key: key.clone(),
            cursor: StoredCursor::Ours(Cursor {
                last_part,
                source,
                last_file: self.last_file,
                last_row_index: self.last_row_index,
                last_ts_utc: self.last_ts_utc,
                order,
                platform_run_id: self.platform_run_id,
                plan_digest: self.plan_digest,
                done: self.done,
            }),
            fence: Some(self.fence),
            sequence: self.sequence,
            updated_at_utc: self.updated_at_utc,
        })
    }
}

impl ForeignWire {
    pub(crate) fn into_record(self, key: &CursorKey, place: &str) -> Result<Record, Error> {
        check_key(key, &self.pack_key, &self.output_id, place)?;
        Ok(Record {
            key: key.clone(),
            cursor: StoredCursor::Foreign(ForeignCursor {
                last_file: self.last_file,
                last_row_index: self.last_row_index,
                last_ts_utc: self.last_ts_utc,
            }),
            fence: None,
            sequence: 0,
            updated_at_utc: self.updated_at_utc,
        })
    }
}

impl Record {
    /// Whether the existing producer wrote it.
    pub fn is_foreign(&self) -> bool {
        matches!(self.cursor, StoredCursor::Foreign(_))
    }

    /// The JSON of the record, as a store keeps it.
    pub(crate) fn to_json(&self) -> String {
        match &self.cursor {
            StoredCursor::Ours(cursor) => {
                let (fence, saved_at) = (self.fence.unwrap_or(1), self.updated_at_utc.clone());
                Wire::new(&self.key, cursor, fence, self.sequence, saved_at).to_json()
            }
            StoredCursor::Foreign(cursor) => json(&ForeignWire {
                last_file: cursor.last_file.clone(),
                last_row_index: cursor.last_row_index,
                last_ts_utc: cursor.last_ts_utc.clone(),
                output_id: self.key.output_id().to_string(),
                pack_key: self.key.pack_key().as_str().to_owned(),
                updated_at_utc: self.updated_at_utc.clone(),
            }),
        }
    }

    /// Reads a record's JSON: ours, or the existing producer's. `place` is where it was found, for
    /// errors.
    ///
    /// # Errors
    /// `CHECKPOINT_CORRUPT`, `CHECKPOINT_VERSION_UNSUPPORTED`, `CHECKPOINT_KEY_MISMATCH`.
    pub fn parse(bytes: &[u8], key: &CursorKey, place: &str) -> Result<Self, Error> {
        let fields: BTreeMap<String, Value> =
            json_strictly(bytes).map_err(|error| not_a_record(place, error))?;
        let known = |version: &Value| {
            let version = version
                .as_u64()
                .and_then(|version| u32::try_from(version).ok());
            version.is_some_and(is_known)
        };
        if let Some(version) = fields.get("format_version")
            && !known(version)
        {
            return Err(unsupported(place, version, FORMAT_VERSION));
        }
        if OUR_FIELDS.iter().any(|field| fields.contains_key(*field)) {
            let wire: Wire = json_strictly(bytes).map_err(|error| not_a_record(place, error))?;
            return wire.into_record(key, place);
        }
        let wire: ForeignWire = json_strictly(bytes).map_err(|error| not_a_record(place, error))?;
        wire.into_record(key, place)
    }
}

/// The history line of a save is the record itself, as the existing producer's is.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ResetLine {
    at_utc: String,
    event: HistoryEvent,
    /// The record's text as it was, whole or damaged.
    record: String,
}

/// The history line of a reset that gives up `record`.
pub(crate) fn reset_line(at_utc: String, record: &[u8]) -> String {
    json(&ResetLine {
        at_utc,
        event: HistoryEvent::Reset,
        record: String::from_utf8_lossy(record).into_owned(),
    })
}

impl HistoryEntry {
    /// Reads one line, a record's JSON or a line of a reset; `None` if it is cut short or not ours.
    pub fn parse(line: &str, key: &CursorKey) -> Option<Self> {
        if let Ok(reset) = json_strictly::<ResetLine>(line.as_bytes())
            && reset.event == HistoryEvent::Reset
        {
            let record = Record::parse(reset.record.as_bytes(), key, "history").ok();
            return Some(Self {
                event: reset.event,
                at_utc: reset.at_utc,
                damaged: record.is_none().then_some(reset.record),
                record,
            });
        }
        let record = Record::parse(line.as_bytes(), key, "history").ok()?;
        Some(Self {
            event: HistoryEvent::Saved,
            at_utc: record.updated_at_utc.clone(),
            record: Some(record),
            damaged: None,
        })
    }
}

pub(crate) fn check_key(
    key: &CursorKey,
    pack_key: &str,
    output_id: &str,
    place: &str,
) -> Result<(), Error> {
    if pack_key == key.pack_key().as_str() && output_id == key.output_id().as_str() {
        return Ok(());
    }
    let found = PackKey::parse(pack_key).ok();
    let found = found.and_then(|pack| CursorKey::new(pack, output_id).ok());
    Err(key_mismatch(
        place,
        key,
        found.map_or_else(|| format!("{output_id:?}"), |found| found.to_string()),
    ))
}

fn not_a_record(place: &str, source: serde_json::Error) -> Error {
    corrupt(place, "it is not one whole record").because(source)
}

/// Compact JSON of a value that always has one: text keys, no floats.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Checks that the existing producer, which shows no lease, has not written since this one was
/// taken: `adopted` are its records as they were then.
///
/// # Errors
/// `LEASE_LOST`
pub(crate) fn check_not_foreign(
    key: &CursorKey,
    stored: Option<&Record>,
    adopted: &BTreeMap<CursorKey, Record>,
) -> Result<(), Error> {
    if stored.is_some_and(Record::is_foreign) && stored != adopted.get(key) {
        return Err(lost(
            key,
            "a producer that shows no lease has written its own cursor there",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
