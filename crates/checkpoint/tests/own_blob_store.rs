//! The conformance suite on the blobs of the example `own_blob_store`, and on blobs whose writes
//! meet others or get lost.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../examples/own_blob_store/blobs.rs"]
mod blobs;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use blobs::Table;
use checkpoint::conformance::{
    Backend, Damage, ManualClock, assert_code, cursor, holder, key, open_leased, position, save,
};
use checkpoint::slots::StoredSlot;
use checkpoint::{
    CheckpointStore, CursorKey, Error, KeyedBlobStore, KeyedBlobs, LeaseRequest, ReasonCode,
    every_promise, unavailable,
};
use model::SharedClock;

/// What comes between a producer and a table that others write too.
#[derive(Debug)]
struct Weather {
    table: Table,
    /// Writes that another comes before.
    overtaken: AtomicU32,
    /// Writes that are made, and whose answer gets lost.
    unanswered: AtomicU32,
}

/// Counts down; `true` while there was something left.
fn takes_one(left: &AtomicU32) -> bool {
    let less = |left: u32| left.checked_sub(1);
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

#[async_trait::async_trait]
impl KeyedBlobs for Weather {
    type Version = i64;

    fn place(&self) -> String {
        self.table.place()
    }

    async fn get(&self, name: &str) -> Result<Option<(Vec<u8>, i64)>, Error> {
        self.table.get(name).await
    }

    async fn put(&self, name: &str, blob: Vec<u8>, over: Option<&i64>) -> Result<bool, Error> {
        if let (Some(version), true) = (over, takes_one(&self.overtaken)) {
            let (same, _) = self.table.get(name).await?.unwrap();
            assert!(self.table.put(name, same, Some(version)).await?);
        }
        let is_written = self.table.put(name, blob, over).await?;
        if takes_one(&self.unanswered) {
            return Err(unavailable("write the blob", self.place(), "Wait"));
        }
        Ok(is_written)
    }
}

struct InTable {
    store: KeyedBlobStore<Weather>,
    clock: ManualClock,
}

fn table() -> InTable {
    let clock = ManualClock::default();
    let database = rusqlite::Connection::open_in_memory().unwrap();
    let blobs = Weather {
        table: Table::in_database(database).unwrap(),
        overtaken: AtomicU32::new(0),
        unanswered: AtomicU32::new(0),
    };
    InTable {
        store: KeyedBlobStore::with_observer(blobs, clock.observer()),
        clock,
    }
}

#[async_trait::async_trait]
impl Backend for InTable {
    async fn open(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(self.store.clone())
    }

    fn clock(&self) -> SharedClock {
        SharedClock::new(self.clock.clone())
    }

    fn knows_death(&self) -> bool {
        false
    }

    fn is_transactional(&self) -> bool {
        false
    }

    async fn damage(&self, key: &CursorKey, damage: Damage) {
        let name = KeyedBlobStore::<Weather>::name_of(key);
        let table = &self.store.blobs().table;
        let (blob, version) = table.get(&name).await.unwrap().unwrap();
        let mut slot = StoredSlot::parse(&blob, &name).unwrap();
        damage.spoil_slot(&mut slot);
        let blob = slot.to_json().into_bytes();
        assert!(table.put(&name, blob, Some(&version)).await.unwrap());
    }
}

every_promise!(table);

#[tokio::test]
async fn a_write_that_others_come_before_is_decided_again() {
    let (backend, key) = (table(), key("overtaken", "o"));
    let (store, lease) = open_leased(&backend, &key).await;
    backend.store.blobs().overtaken.store(3, Ordering::SeqCst);
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    assert_eq!(position(&*store, &key).await, Some(("a".to_owned(), 1)));
    backend
        .store
        .blobs()
        .overtaken
        .store(u32::MAX, Ordering::SeqCst);
    let outcome = save(&*store, &lease, &key, cursor("a", 2)).await;
    assert!(assert_code(outcome, ReasonCode::Unavailable).is_retryable());
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_no_second_one_when_it_is_made_again() {
    let (backend, key) = (table(), key("unanswered", "o"));
    let (store, lease) = open_leased(&backend, &key).await;
    backend.store.blobs().unanswered.store(1, Ordering::SeqCst);
    let outcome = save(&*store, &lease, &key, cursor("a", 1)).await;
    assert_code(outcome, ReasonCode::Unavailable);
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    assert_eq!(store.history(&key, 10).await.unwrap().len(), 1);
    store.release(&lease).await.unwrap();
    // A lease whose taking nobody answered is given back.
    backend.store.blobs().unanswered.store(1, Ordering::SeqCst);
    let request = LeaseRequest::new([key.clone()], holder("two"));
    let outcome = store.acquire(&request).await;
    assert_code(outcome, ReasonCode::Unavailable);
    store.acquire(&request).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_is_not_whole_is_refused_until_it_is_taken_over_and_reset() {
    let (backend, key) = (table(), key("torn", "o"));
    let (store, lease) = open_leased(&backend, &key).await;
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    let name = KeyedBlobStore::<Weather>::name_of(&key);
    let table = &backend.store.blobs().table;
    let (blob, version) = table.get(&name).await.unwrap().unwrap();
    let torn = blob[..blob.len() / 2].to_vec();
    assert!(table.put(&name, torn, Some(&version)).await.unwrap());
    assert_code(store.load(&key).await, ReasonCode::Corrupt);
    let mut request = LeaseRequest::new([key.clone()], holder("two"));
    assert_code(store.acquire(&request).await, ReasonCode::Corrupt);
    request.take_over = true;
    let lease = store.acquire(&request).await.unwrap();
    assert_code(store.load(&key).await, ReasonCode::Corrupt);
    store.reset(&lease, &key).await.unwrap();
    let history = store.history(&key, 1).await.unwrap();
    assert!(history[0].damaged.is_some());
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
}
