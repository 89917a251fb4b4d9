//! What only a folder can suffer: full disks, deleted folders, other producers' files.

use std::io::ErrorKind;

use durable::simulated::FailingDisk;

use super::*;
use crate::conformance::{assert_code, cursor, holder, key, open_leased, position, request, save};
use crate::{PackKey, ReasonCode};

#[tokio::test]
async fn a_full_or_forbidden_disk_is_unavailable_and_says_where_and_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let sessions = Sessions::new(root.path().join(".sessions"));
    let store = FileStore::on_disk(
        root.path().into(),
        Observer::default(),
        disk.clone(),
        sessions,
    );
    let key = key("full", "o");
    let request = LeaseRequest::new([key.clone()], holder("one"));
    let lease = store.acquire(&request).await.unwrap();
    save(&store, &lease, &key, cursor("a", 1)).await.unwrap();
    for (kind, advice) in [
        (ErrorKind::StorageFull, "free some space"),
        (ErrorKind::QuotaExceeded, "free some space"),
        (ErrorKind::PermissionDenied, "Let this user"),
        (ErrorKind::ReadOnlyFilesystem, "mount it"),
        (ErrorKind::Other, "Look after the disk"),
    ] {
        *disk.fault.lock().unwrap() = Some(kind);
        let outcome = save(&store, &lease, &key, cursor("a", 2)).await;
        let error = assert_code(outcome, ReasonCode::Unavailable);
        assert!(error.is_retryable());
        let text = error.to_string();
        assert!(
            text.contains("cursor.json") && text.contains(advice),
            "{text}"
        );
        assert_code(store.renew(&lease).await, ReasonCode::Unavailable);
        assert_eq!(position(&store, &key).await, Some(("a".to_owned(), 1)));
    }
    *disk.fault.lock().unwrap() = None;
    save(&store, &lease, &key, cursor("a", 2)).await.unwrap();
}

#[tokio::test]
async fn a_save_whose_folder_was_not_synced_is_durable_only_once_it_was() {
    let root = tempfile::tempdir().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let sessions = Sessions::new(root.path().join(".sessions"));
    let store = FileStore::on_disk(
        root.path().into(),
        Observer::default(),
        disk.clone(),
        sessions,
    );
    let key = key("unsynced", "o");
    let request = LeaseRequest::new([key.clone()], holder("one"));
    let lease = store.acquire(&request).await.unwrap();
    *disk.failing_folder_syncs.lock().unwrap() = 3;
    // The record is there after the first try, and the later ones find it.
    for _ in 0..3 {
        let outcome = save(&store, &lease, &key, cursor("a", 1)).await;
        assert_code(outcome, ReasonCode::Unavailable);
    }
    save(&store, &lease, &key, cursor("a", 1)).await.unwrap();
}

#[tokio::test]
async fn a_folder_deleted_in_mid_run_is_not_made_anew() {
    let backend = folder();
    let key = key("deleted", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    std::fs::remove_dir_all(backend.root.path()).unwrap();
    let error = assert_code(
        save(&*store, &lease, &key, cursor("a", 2)).await,
        ReasonCode::Unavailable,
    );
    assert!(error.to_string().contains("gone"), "{error}");
    assert_code(store.renew(&lease).await, ReasonCode::Unavailable);
    assert!(!backend.root.path().exists());
}

/// What the existing producer writes, byte for byte as Python's `json.dumps(…, sort_keys=True)`.
fn foreign_record(key: &CursorKey, row: u64) -> String {
    format!(
        "{{\"last_file\": \"/w/data/part-0.parquet\", \"last_row_index\": {row}, \"last_ts_utc\": \"2026-01-01T00:00:00.000000Z\", \"output_id\": \"{}\", \"pack_key\": \"{}\", \"updated_at_utc\": \"2026-01-28T09:00:00.000000+00:00\"}}\n",
        key.output_id(),
        key.pack_key()
    )
}

#[tokio::test]
async fn the_existing_producers_cursor_is_found_where_it_left_it() {
    let backend = folder();
    let key = CursorKey::new(PackKey::of_root("r"), "s2/events").unwrap();
    let folder = backend
        .root
        .path()
        .join(key.pack_key().as_str())
        .join("output_id=s2_events");
    std::fs::create_dir_all(&folder).unwrap();
    let text = foreign_record(&key, 41);
    std::fs::write(folder.join("cursor.json"), &text).unwrap();
    std::fs::write(folder.join("cursor.jsonl"), &text).unwrap();

    let (store, lease) = open_leased(&backend, &key).await;
    let record = store.load(&key).await.unwrap().unwrap();
    assert!(record.is_foreign());
    assert_eq!(record.cursor.last_row_index(), 41);
    save(&*store, &lease, &key, cursor("data/part-0.parquet", 42))
        .await
        .unwrap();
    let history = store.history(&key, 10).await.unwrap();
    assert_eq!(history.len(), 2);
    assert!(history[1].record.as_ref().unwrap().is_foreign());
    let text = std::fs::read_to_string(folder.join("cursor.json")).unwrap();
    let fields: serde_json::Value = serde_json::from_str(&text).unwrap();
    for known in [
        "pack_key",
        "output_id",
        "last_file",
        "last_row_index",
        "last_ts_utc",
        "updated_at_utc",
    ] {
        assert!(
            fields.get(known).is_some(),
            "the existing producer reads {known}"
        );
    }
}

#[tokio::test]
async fn a_producer_without_fences_is_noticed_not_overwritten() {
    let backend = folder();
    let key = key("foreign writer", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    let text = foreign_record(&key, 7);
    std::fs::write(backend.file_of(&key, "cursor.json"), &text).unwrap();
    let error = assert_code(
        save(&*store, &lease, &key, cursor("a", 2)).await,
        ReasonCode::LeaseLost,
    );
    assert!(error.to_string().contains("shows no lease"), "{error}");
    assert_eq!(
        std::fs::read_to_string(backend.file_of(&key, "cursor.json")).unwrap(),
        text
    );
}

#[tokio::test]
async fn two_ids_that_share_a_folder_are_told_apart_by_the_id_inside() {
    let backend = folder();
    let (slash, underscore) = (key("collision", "a/b"), key("collision", "a_b"));
    let (store, lease) = open_leased(&backend, &slash).await;
    save(&*store, &lease, &slash, cursor("a", 1)).await.unwrap();
    let error = assert_code(store.load(&underscore).await, ReasonCode::KeyMismatch);
    assert!(
        error.to_string().contains("a/b") && error.to_string().contains("a_b"),
        "{error}"
    );
    assert_code(
        store
            .acquire(&request(&backend, "two", [&underscore]))
            .await,
        ReasonCode::KeyMismatch,
    );
    let both = request(&folder(), "three", [&slash, &underscore]);
    assert_code(store.acquire(&both).await, ReasonCode::KeyMismatch);
}

#[tokio::test]
async fn a_line_of_history_cut_short_harms_no_other() {
    let backend = folder();
    let key = key("torn history", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    let path = backend.file_of(&key, "cursor.jsonl");
    let line = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{line}{}", &line[..30])).unwrap();
    save(&*store, &lease, &key, cursor("a", 2)).await.unwrap();
    assert_eq!(store.history(&key, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn history_is_rotated_before_it_grows_for_ever() {
    let backend = folder();
    let key = key("rotated", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    let path = backend.file_of(&key, "cursor.jsonl");
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    std::fs::write(&path, "x".repeat(1 << 20)).unwrap();
    for row in 2..5 {
        save(&*store, &lease, &key, cursor("a", row)).await.unwrap();
    }
    assert!(path.with_extension("jsonl.1").metadata().unwrap().len() > 1 << 20);
    assert!(path.metadata().unwrap().len() < 2_000);
    assert_eq!(store.history(&key, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_lease_file_that_is_no_lease_is_passed_over_on_purpose_only() {
    let backend = folder();
    let key = key("damaged lease", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    std::fs::write(backend.file_of(&key, "lease.json"), "{").unwrap();
    let mut request = request(&backend, "two", [&key]);
    let error = assert_code(store.acquire(&request).await, ReasonCode::Corrupt);
    assert!(error.to_string().contains("lease.json"), "{error}");
    request.take_over = true;
    let taken = store.acquire(&request).await.unwrap();
    assert!(taken.fence(&key) > lease.fence(&key));
    assert_code(
        save(&*store, &lease, &key, cursor("a", 2)).await,
        ReasonCode::LeaseLost,
    );
}

#[tokio::test]
async fn a_process_stopped_between_read_and_rename_lets_nobody_else_write() {
    let backend = folder();
    let key = key("stopped", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    let stopped = durable::OsLock::try_take(&backend.file_of(&key, "cursor.lock")).unwrap();
    let outcome = save(&*store, &lease, &key, cursor("a", 1)).await;
    let error = assert_code(outcome, ReasonCode::Unavailable);
    assert!(error.to_string().contains("stopped"), "{error}");
    drop(stopped);
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
}

#[tokio::test]
async fn a_save_whose_caller_left_keeps_its_locks_until_the_last_key_is_written() {
    let backend = folder();
    let keys = ["a", "b"].map(|id| key("left", id));
    let store = backend.open().await;
    let lease = store.acquire(&request(&backend, "one", &keys)).await;
    let lease = lease.unwrap();
    // What is written into this pipe is not written before somebody reads it.
    let hanging = backend.file_of(&keys[1], "cursor.json.tmp");
    let made = std::process::Command::new("mkfifo").arg(&hanging).status();
    assert!(made.unwrap().success());
    let cursors = keys.clone().map(|key| (key, cursor("p", 1)));
    let saver = Arc::clone(&store);
    let saving = tokio::spawn(async move { saver.save_many(&lease, &cursors.into()).await });
    let pause = || tokio::time::sleep(std::time::Duration::from_millis(5));
    while position(&*store, &keys[0]).await.is_none() {
        pause().await;
    }
    saving.abort();
    assert!(saving.await.unwrap_err().is_cancelled());
    let locks = keys.map(|key| backend.file_of(&key, "cursor.lock"));
    let is_held = |lock: &PathBuf| durable::OsLock::is_held(lock).unwrap() == Some(true);
    let were_held = locks.iter().all(is_held);
    // Before it is judged: a thread that hangs would keep the test from failing.
    let read = tokio::task::spawn_blocking(move || std::fs::read(hanging));
    assert!(!read.await.unwrap().unwrap().is_empty());
    assert!(were_held, "the disk was still at work");
    while locks.iter().any(is_held) {
        pause().await;
    }
}

#[tokio::test]
async fn sessions_leave_nothing_behind() {
    let backend = folder();
    let key = key("sessions", "o");
    for _ in 0..3 {
        let (store, lease) = open_leased(&backend, &key).await;
        store.release(&lease).await.unwrap();
    }
    let left = std::fs::read_dir(backend.root.path().join(".sessions")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_cleaner_of_old_files_does_not_make_a_living_holder_look_dead() {
    let backend = folder();
    let key = key("cleaned", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    let second = backend.open().await;
    let request = request(&backend, "two", [&key]);
    let sessions = backend.root.path().join(".sessions");
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
    let backend = folder();
    let key = key("dead and cleaned", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    drop((store, lease));
    std::fs::remove_dir_all(backend.root.path().join(".sessions")).unwrap();
    let second = backend.open().await;
    let request = request(&backend, "two", [&key]);
    assert_code(second.acquire(&request).await, ReasonCode::LeaseHeld);
    backend.clock().sleep(backend.period()).await;
    second.acquire(&request).await.unwrap();
}

#[tokio::test]
async fn a_lease_taken_of_some_keys_of_a_dead_holder_leaves_the_others_free() {
    let backend = folder();
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

#[tokio::test]
async fn the_lock_of_a_cursor_does_not_grow_old_under_a_living_holder() {
    let backend = folder();
    let key = key("old lock", "o");
    let (store, lease) = open_leased(&backend, &key).await;
    let path = backend.file_of(&key, "cursor.lock");
    let then = std::time::SystemTime::UNIX_EPOCH;
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(then).unwrap();
    store.renew(&lease).await.unwrap();
    assert_ne!(path.metadata().unwrap().modified().unwrap(), then);
}
