//! What only a SQLite file can suffer.

use super::tests::file;
use super::*;
use crate::conformance::{
    Backend as _, assert_code, cursor, key, open_leased, position, request, save,
};
use crate::record::Wire;
use crate::{CheckpointStore as _, ReasonCode};

#[tokio::test]
async fn a_file_deleted_in_mid_run_is_not_written_into_nowhere() {
    let backend = file();
    let key = key("deleted", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    std::fs::remove_dir_all(backend.path().parent().unwrap()).unwrap();
    for _ in 0..2 {
        let outcome = save(&*store, &lease, &key, cursor("a", 2)).await;
        let error = assert_code(outcome, ReasonCode::Unavailable);
        assert!(error.to_string().contains("gone"), "{error}");
    }
    assert!(!backend.path().exists());
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_leaves_the_old_cursor() {
    let backend = file();
    let key = key("full", "o");
    let store = SqliteStore::new(backend.path());
    let lease = store
        .acquire(&request(&backend, "one", [&key]))
        .await
        .unwrap();
    save(&store, &lease, &key, cursor("a", 1)).await.unwrap();
    let pages = |count: u32| {
        let slot = store.inner.database();
        let connection = &slot.as_ref().unwrap().connection;
        connection
            .pragma_update(None, "max_page_count", count)
            .unwrap();
    };
    pages(1);
    let far = format!("part-{}", "x".repeat(10_000));
    let error = assert_code(
        save(&store, &lease, &key, cursor(&far, 2)).await,
        ReasonCode::Unavailable,
    );
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(position(&store, &key).await, Some(("a".to_owned(), 1)));
    pages(1_000_000);
    save(&store, &lease, &key, cursor(&far, 2)).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let backend = file();
    std::fs::create_dir_all(backend.path().parent().unwrap()).unwrap();
    std::fs::write(
        backend.path(),
        "not a database, but long enough to be read as one. ".repeat(99),
    )
    .unwrap();
    let (store, key) = (backend.open().await, key("garbage", "o"));
    let error = assert_code(store.load(&key).await, ReasonCode::Corrupt);
    assert!(error.to_string().contains("wsp.sqlite"), "{error}");
    let taken = store.acquire(&request(&backend, "one", [&key])).await;
    assert_code(taken, ReasonCode::Corrupt);
}

#[tokio::test]
async fn tables_of_a_newer_release_are_left_alone() {
    let backend = file();
    let key = key("newer tables", "o");
    let (store, _lease) = open_leased(&backend, &key).await;
    drop(store);
    rusqlite::Connection::open(backend.path())
        .unwrap()
        .pragma_update(None, "user_version", 2)
        .unwrap();
    let store = backend.open().await;
    assert_code(store.load(&key).await, ReasonCode::VersionUnsupported);
    let taken = store.acquire(&request(&backend, "two", [&key])).await;
    assert_code(taken, ReasonCode::VersionUnsupported);
}

#[tokio::test]
async fn looking_makes_no_file() {
    let backend = file();
    let store = backend.open().await;
    assert_eq!(store.load(&key("looking", "o")).await.unwrap(), None);
    assert!(!backend.path().parent().unwrap().exists());
}

#[tokio::test]
async fn history_keeps_the_last_thousand() {
    let backend = file();
    let key = key("bounded", "o");
    let store = SqliteStore::new(backend.path());
    let lease = store
        .acquire(&request(&backend, "one", [&key]))
        .await
        .unwrap();
    // The writer is what bounds it; a thousand synced saves would only take time.
    store
        .inner
        .change("fill the history", |inner, change| {
            for row in 0..1200 {
                let line = Wire::new(&key, &cursor("a", row), 1, 1, String::new()).to_json();
                Row::write_record(change, &key, None, &line, &inner.path)?;
            }
            Ok(())
        })
        .unwrap();
    save(&store, &lease, &key, cursor("a", 1200)).await.unwrap();
    let history = store.history(&key, usize::MAX).await.unwrap();
    assert_eq!(history.len(), 1000);
    assert_eq!(
        history[0].record.as_ref().unwrap().cursor.last_row_index(),
        1200
    );
}

#[tokio::test]
async fn a_cleaner_of_old_files_does_not_make_a_living_holder_look_dead() {
    let backend = file();
    let key = key("cleaned", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    let second = backend.open().await;
    let request = request(&backend, "two", [&key]);
    let sessions = backend.path().with_extension("sqlite.sessions");
    for _ in 0..3 {
        std::fs::remove_dir_all(&sessions).unwrap();
        assert_code(second.acquire(&request).await, ReasonCode::LeaseHeld);
        let seen = second.lease_state(&key).await.unwrap().unwrap();
        assert_eq!(seen.alive, None, "a missing file says nothing");
        backend.clock().sleep(backend.period() / 2).await;
        store.renew(&lease).await.unwrap();
        let seen = second.lease_state(&key).await.unwrap().unwrap();
        assert_eq!(seen.alive, Some(true), "its file is there again");
    }
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
}

#[tokio::test]
async fn a_dead_holder_whose_lock_file_is_gone_is_outlasted_in_one_period() {
    let backend = file();
    let key = key("dead and cleaned", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    drop((store, lease));
    std::fs::remove_dir_all(backend.path().with_extension("sqlite.sessions")).unwrap();
    let second = backend.open().await;
    let request = request(&backend, "two", [&key]);
    assert_code(second.acquire(&request).await, ReasonCode::LeaseHeld);
    backend.clock().sleep(backend.period()).await;
    second.acquire(&request).await.unwrap();
}

#[tokio::test]
async fn a_lease_taken_of_some_keys_of_a_dead_holder_leaves_the_others_free() {
    let backend = file();
    let keys = ["a", "b"].map(|id| key("dead in part", id));
    let first = backend.open().await;
    let held = first.acquire(&request(&backend, "one", &keys)).await;
    drop((first, held.unwrap()));
    let second = backend.open().await;
    for key in &keys {
        let one = request(&backend, "two", [key]);
        second.acquire(&one).await.unwrap();
    }
}
