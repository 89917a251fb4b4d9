//! The record of a cursor in every form that is read, alone and in the slot of a store.
//!
//! The first byte of an input says what the rest is: a record as it stands, a record whose checksum
//! is put right before, or the whole slot of a store of blobs.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Mutex;

use checkpoint::slots::StoredSlot;
use checkpoint::{
    CheckpointStore as _, Cursor, CursorKey, Error, HistoryEntry, HistoryEvent, Holder,
    KeyedBlobStore, KeyedBlobs, LeaseRequest, PackKey, Record, StoredCursor,
};
use futures::FutureExt as _;
use serde_json::{Map, Value};
use wsp_fuzz::json::Tree;
use wsp_fuzz::{is_refusal, sha256_hex};

const CODES: [&str; 3] = [
    "CHECKPOINT_CORRUPT",
    "CHECKPOINT_VERSION_UNSUPPORTED",
    "CHECKPOINT_KEY_MISMATCH",
];
const PLACE: &str = "here/cursor.json";
const OURS: [&str; 17] = [
    "checksum",
    "done",
    "fence",
    "format_version",
    "last_file",
    "last_part",
    "last_row_index",
    "last_ts_utc",
    "order",
    "output_id",
    "pack_key",
    "plan_digest",
    "platform_run_id",
    "sequence",
    "sort_time_ns",
    "source",
    "updated_at_utc",
];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    match kind % 3 {
        0 => record(bytes),
        1 => record(&with_checksum(bytes).unwrap_or_else(|| bytes.to_vec())),
        _ => slot(bytes),
    }
});

/// The record's text with the checksum that its other fields have.
fn with_checksum(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut fields: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    fields.remove("checksum");
    let checksum = checksum_of(&fields);
    fields.insert("checksum".to_owned(), checksum.into());
    serde_json::to_vec(&fields).ok()
}

/// sha256 over the compact JSON of all other fields, keys sorted.
fn checksum_of(fields: &Map<String, Value>) -> String {
    let sorted: BTreeMap<_, _> = fields
        .iter()
        .filter(|(name, _)| *name != "checksum")
        .collect();
    sha256_hex(serde_json::to_string(&sorted).unwrap_or_default())
}

/// The key that the record names, so that most are read as records of the right key.
fn key_of(bytes: &[u8]) -> CursorKey {
    let tree = Tree::parse(bytes);
    let text = |name| tree.as_ref()?.get(name)?.text();
    let pack = text("pack_key").and_then(|pack| PackKey::parse(pack).ok());
    let pack = pack.unwrap_or_else(|| PackKey::of_root("w"));
    let key = CursorKey::new(pack.clone(), text("output_id").unwrap_or("o"));
    key.unwrap_or_else(|_| CursorKey::new(pack, "o").expect("a key"))
}

fn record(bytes: &[u8]) {
    let key = key_of(bytes);
    let parsed = Record::parse(bytes, &key, PLACE);
    match &parsed {
        Ok(record) => holds_the_laws(record, bytes, &key),
        Err(error) => {
            is_refusal(error, &CODES);
            assert_eq!(model::Refusal::place(error).object(), Some(PLACE));
        }
    }
    let other = CursorKey::new(PackKey::of_root("another world"), "o").expect("a key");
    assert!(
        Record::parse(bytes, &other, PLACE).is_err() || other == key,
        "read under another key"
    );
    if let Ok(line) = std::str::from_utf8(bytes) {
        let entry = HistoryEntry::parse(line, &key);
        if let Ok(record) = parsed {
            let entry = entry.expect("a record is a line of history");
            assert_eq!(
                (entry.event, entry.record),
                (HistoryEvent::Saved, Some(record))
            );
        } else if let Some(entry) = entry {
            let tree = Tree::parse_unique(bytes).expect("a line of history is one JSON object");
            assert!(tree.has_exactly(&["at_utc", "event", "record"]), "{line}");
            assert_eq!(entry.event, HistoryEvent::Reset);
            assert!(entry.record.is_none() || entry.damaged.is_none());
        }
    }
}

/// What holds of every record that is accepted.
fn holds_the_laws(record: &Record, bytes: &[u8], key: &CursorKey) {
    let tree = Tree::parse_unique(bytes).expect("a record is one JSON object with distinct fields");
    assert!(
        record.cursor.last_row_index() <= i64::MAX as u64,
        "no row has this index"
    );
    match &record.cursor {
        StoredCursor::Ours(cursor) => {
            assert!(tree.fields().all(|(name, _)| OURS.contains(&name)));
            assert_eq!(tree.get("fence").and_then(Tree::unsigned), record.fence);
            // The checksum is over what the record says, however it was spelt.
            let saved: Map<String, Value> = serde_json::from_slice(bytes).expect("an object");
            let nulls = |name: &str| saved.get(name) == Some(&Value::Null);
            if !nulls("last_part")
                && !nulls("source")
                && saved.contains_key("sort_time_ns")
                && saved.contains_key("last_ts_utc")
            {
                assert_eq!(saved["checksum"].as_str(), Some(&*checksum_of(&saved)));
            }
            assert!(cursor.is_done(&cursor.last_part, cursor.last_row_index, time_of(cursor)));
            if let Some(open) = cursor.first_open_row(&cursor.last_part) {
                assert!(open == 0 || open == cursor.last_row_index + 1);
            }
            assert!(
                cursor.check_follows(key, &record.cursor).is_ok(),
                "a save may be repeated"
            );
        }
        StoredCursor::Foreign(_) => assert!(record.fence.is_none() && record.sequence == 0),
    }
    // In the slot of a store, the record is loaded as it is, and what follows it is saved.
    let slot = serde_json::json!({
        "format_version": 1, "history": [], "lease": null, "record": String::from_utf8_lossy(bytes),
    });
    let loaded = in_store(slot.to_string().as_bytes(), key);
    assert_eq!(loaded.as_ref(), Some(record), "a store reads it otherwise");
}

fn time_of(cursor: &Cursor) -> i128 {
    match cursor.order {
        checkpoint::OrderPosition::AsWritten => 0,
        checkpoint::OrderPosition::EventTime { sort_time_ns } => sort_time_ns,
    }
}

fn slot(bytes: &[u8]) {
    match StoredSlot::parse(bytes, PLACE) {
        Ok(slot) => {
            let tree = Tree::parse_unique(bytes).expect("a slot is one JSON object");
            let fields = ["format_version", "history", "lease", "record"];
            assert!(tree.fields().all(|(name, _)| fields.contains(&name)));
            let again = slot.to_json();
            let again = StoredSlot::parse(again.as_bytes(), PLACE).expect("written again");
            assert_eq!(again.to_json(), slot.to_json());
            let record = tree.get("record").and_then(Tree::text).unwrap_or_default();
            in_store(bytes, &key_of(record.as_bytes()));
        }
        Err(error) => {
            is_refusal(&error, &CODES[..2]);
            in_store(bytes, &key_of(b""));
        }
    }
}

/// What a store of one blob holds: its record is loaded, its lease taken over, the same cursor saved
/// and read back, and reset. Returns the record that was loaded.
fn in_store(blob: &[u8], key: &CursorKey) -> Option<Record> {
    let store = KeyedBlobStore::new(OneBlob(Mutex::new((Some(blob.to_vec()), 0))));
    let now = |future: futures::future::BoxFuture<'_, Result<(), Error>>| {
        future.now_or_never().expect("nothing waits in memory")
    };
    let load = || {
        store
            .load(key)
            .now_or_never()
            .expect("nothing waits in memory")
    };
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(error) => {
            is_refusal(&error, &CODES);
            None
        }
    };
    let request = LeaseRequest::new([key.clone()], Holder::this_process("svc:fuzz")).taking_over();
    let lease = store
        .acquire(&request)
        .now_or_never()
        .expect("nothing waits in memory");
    let lease = match lease {
        Ok(lease) => lease,
        Err(error) => {
            is_refusal(&error, &CODES);
            return loaded;
        }
    };
    let fence = lease.fence(key).expect("a fence of its key");
    if let Some(record) = &loaded {
        assert!(
            record.fence.is_none_or(|saved| saved < fence),
            "a fence grows with every take"
        );
        if let StoredCursor::Ours(cursor) = &record.cursor {
            let saved = BTreeMap::from([(key.clone(), cursor.clone())]);
            now(Box::pin(store.save_many(&lease, &saved))).expect("the same position may be saved");
            let again = load().expect("it was saved").expect("it was saved");
            assert_eq!((&again.cursor, again.fence), (&record.cursor, Some(fence)));
            assert_eq!(again.sequence, record.sequence + 1);
        }
    }
    now(Box::pin(store.renew(&lease))).expect("the lease is held");
    now(Box::pin(store.reset(&lease, key))).expect("what is damaged can be reset");
    assert_eq!(load().expect("it was reset"), None);
    now(Box::pin(store.release(&lease))).expect("the lease is held");
    loaded
}

/// A store of one blob, whatever its name.
#[derive(Debug)]
struct OneBlob(Mutex<(Option<Vec<u8>>, u64)>);

#[async_trait::async_trait]
impl KeyedBlobs for OneBlob {
    type Version = u64;

    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn get(&self, _: &str) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let blob = self.0.lock().expect("one thread");
        Ok(blob.0.clone().map(|bytes| (bytes, blob.1)))
    }

    async fn put(&self, _: &str, bytes: Vec<u8>, over: Option<&u64>) -> Result<bool, Error> {
        let mut blob = self.0.lock().expect("one thread");
        let is_there = over == blob.0.is_some().then_some(&blob.1);
        if is_there {
            *blob = (Some(bytes), blob.1 + 1);
        }
        Ok(is_there)
    }
}
