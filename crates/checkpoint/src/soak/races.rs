//! Two producers on one key: never two that advance.

use std::sync::Arc;
use std::time::Duration;

use super::{Dice, rounds};
use model::Clock as _;

use crate::bucket::tests::bucket;
use crate::conformance::{Backend, cursor, holder, key, save};
use crate::file::tests::folder;
use crate::memory::tests::memory;
use crate::postgres::tests::schema;
use crate::sqlite::tests::file;
use crate::{CheckpointStore, CursorKey, Lease, LeaseRequest, ReasonCode};

/// Saves that each of the two tries to make: both together are fewer than any history keeps.
const SAVES: u64 = 9;

/// One producer's saves until it is told to stop: how many were acknowledged.
async fn produce(
    store: &dyn CheckpointStore,
    lease: &Lease,
    key: &CursorKey,
    pauses: Vec<Duration>,
) -> u64 {
    let at = store.load(key).await.unwrap();
    let mut row = at.map_or(0, |record| record.cursor.last_row_index() + 1);
    let mut acknowledged = 0;
    for pause in pauses {
        tokio::time::sleep(pause).await;
        match save(store, lease, key, cursor("a", row)).await {
            Ok(()) => acknowledged += 1,
            Err(error) if error.code() == ReasonCode::LeaseLost => break,
            Err(error) if error.is_retryable() => continue,
            // Anything else, a cursor that would move back included, says that both advanced.
            Err(error) => panic!("{error:?}"),
        }
        row += 1;
    }
    acknowledged
}

/// The second producer waits for the period to pass, or takes over, while the first is saving.
async fn take(
    store: &dyn CheckpointStore,
    backend: &dyn Backend,
    mut request: LeaseRequest,
) -> Lease {
    backend.clock().sleep(request.period).await;
    loop {
        match store.acquire(&request).await {
            Ok(lease) => return lease,
            // A clock that is moved by hand lets nobody renew in between, a real one does.
            Err(error) if error.code() == ReasonCode::LeaseHeld => request.take_over = true,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
}

async fn race(name: &str, backend: &dyn Backend, period: Duration, pace_ms: u64) {
    let (mut dice, mut interrupted, mut saves) = (Dice::new(), 0, 0);
    let rounds = rounds(20);
    for round in 0..rounds {
        let key = key(&format!("race {round}"), "o");
        let request = |name, take_over| LeaseRequest {
            period,
            take_over,
            ..LeaseRequest::new([key.clone()], holder(name))
        };
        let (first, second) = (backend.open().await, backend.open().await);
        let old = first.acquire(&request("one", false)).await.unwrap();
        let old_fence = old.fence(&key).unwrap();
        // A first look, from which a period can be counted; on a busy machine it may be over.
        let _ = second.acquire(&request("two", false)).await;
        let mut pauses = || (0..SAVES).map(|_| dice.millis(pace_ms)).collect::<Vec<_>>();
        let (pauses_of_old, pauses_of_new) = (pauses(), pauses());
        let delay = dice.millis(pace_ms);
        let slow = {
            let (first, key) = (Arc::clone(&first), key.clone());
            tokio::spawn(async move { produce(&*first, &old, &key, pauses_of_old).await })
        };
        tokio::time::sleep(delay).await;
        let new = take(&*second, backend, request("two", round % 2 == 0)).await;
        let by_new = produce(&*second, &new, &key, pauses_of_new).await;
        let by_old = slow.await.unwrap();

        // History is the order in which the saves took place.
        let mut history = second.history(&key, 100).await.unwrap();
        history.reverse();
        let records: Vec<_> = history
            .into_iter()
            .filter_map(|entry| entry.record)
            .collect();
        let told = || format!("{name}, round {round}: {records:?}");
        assert!(
            records.is_sorted_by_key(|record| record.fence),
            "{}",
            told()
        );
        assert!(
            records.is_sorted_by(|a, b| a.cursor.last_row_index() < b.cursor.last_row_index()),
            "{}",
            told()
        );
        let under_old = records
            .iter()
            .filter(|record| record.fence == Some(old_fence))
            .count() as u64;
        assert_eq!(
            (under_old, records.len() as u64),
            (by_old, by_old + by_new),
            "{}",
            told()
        );
        interrupted += u64::from(by_old < SAVES);
        saves += by_old + by_new;
    }
    assert!(interrupted > 0, "{name}: no race took place");
    println!(
        "race, {name}: {rounds} rounds, {saves} saves, {interrupted} first producers cut off, 0 that advanced after"
    );
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_producers_one_advances_in_memory() {
    race("memory", &memory(), LONG, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_producers_one_advances_in_a_folder() {
    race("file", &folder(), LONG, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_producers_one_advances_in_sqlite() {
    race("sqlite", &file(), LONG, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_producers_one_advances_in_postgres() {
    race("postgres", &schema(), Duration::from_millis(100), 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_producers_one_advances_in_a_bucket() {
    race("object", &bucket(), LONG, 60).await;
}
