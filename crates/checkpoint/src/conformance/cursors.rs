//! Promises about cursors: what was saved is what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Backend, assert_code, cursor, holder, key, open_leased, position, request, save};
use crate::{Cursor, CursorKey, HistoryEvent, OrderPosition, ReasonCode, RowSource, StoredCursor};

/// A key without a cursor loads as none, leased or not.
pub async fn a_missing_cursor_is_none(backend: &dyn Backend) {
    let store = backend.open().await;
    let key = key("missing", "o");
    assert_eq!(store.load(&key).await.unwrap(), None);
    let _lease = store
        .acquire(&request(backend, "one", [&key]))
        .await
        .unwrap();
    assert_eq!(store.load(&key).await.unwrap(), None);
}

/// All fields of a cursor come back, with the fence and a sequence number.
pub async fn a_saved_cursor_is_read_back(backend: &dyn Backend) {
    let key = key("round trip", "o");
    let (store, lease) = open_leased(backend, &key).await;
    let mut sequence = 0;
    for sort_time_ns in [
        i128::from(i64::MIN) * 1000,
        -1,
        0,
        1_769_590_800_123_456_789,
    ] {
        let saved = Cursor {
            last_part: "data/a b/part-00000 ü'\"\\.parquet".to_owned(),
            last_file: "s3://b/w 1/data/a b/part-00000 ü'\"\\.parquet".to_owned(),
            source: if sort_time_ns > 0 {
                RowSource::View
            } else {
                RowSource::Outputs
            },
            last_row_index: i64::MAX as u64,
            last_ts_utc: (sort_time_ns > 0).then(|| "2026-01-28T09:00:00.123456Z".to_owned()),
            order: OrderPosition::EventTime { sort_time_ns },
            ..cursor("", 0)
        };
        save(&*store, &lease, &key, saved.clone()).await.unwrap();
        let record = store.load(&key).await.unwrap().unwrap();
        sequence += 1;
        assert_eq!(record.key, key);
        assert_eq!(record.cursor, StoredCursor::Ours(saved));
        assert_eq!(record.fence, lease.fence(&key));
        assert_eq!(record.sequence, sequence);
    }
}

/// A save of many cursors saves each.
pub async fn every_cursor_of_a_save_is_saved(backend: &dyn Backend) {
    let keys: Vec<CursorKey> = (0..43).map(|n| key("many", &format!("o{n}"))).collect();
    let store = backend.open().await;
    let lease = store
        .acquire(&request(backend, "one", &keys))
        .await
        .unwrap();
    for row in [1, 2] {
        let cursors = keys
            .iter()
            .zip(0..)
            .map(|(key, n)| (key.clone(), cursor("a", row * 100 + n)));
        store.save_many(&lease, &cursors.collect()).await.unwrap();
    }
    for (key, n) in keys.iter().zip(0..) {
        assert_eq!(
            position(&*store, key).await,
            Some(("a".to_owned(), 200 + n))
        );
    }
}

/// A save or reset of one key changes no other.
pub async fn keys_do_not_disturb_each_other(backend: &dyn Backend) {
    let (one, two) = (key("isolation", "o"), key("isolation, another pack", "o"));
    let three = key("isolation", "o2");
    let store = backend.open().await;
    let keys = [&one, &two, &three];
    let lease = store.acquire(&request(backend, "one", keys)).await.unwrap();
    for (key, row) in keys.into_iter().zip(1..) {
        save(&*store, &lease, key, cursor("a", row)).await.unwrap();
    }
    store.reset(&lease, &three).await.unwrap();
    assert_eq!(position(&*store, &one).await, Some(("a".to_owned(), 1)));
    assert_eq!(position(&*store, &two).await, Some(("a".to_owned(), 2)));
    assert_eq!(position(&*store, &three).await, None);
    assert_eq!(store.history(&one, 10).await.unwrap().len(), 1);
}

/// Keys with slashes, unicode or 256 characters have cursors of their own.
pub async fn strange_keys_are_kept_apart(backend: &dyn Backend) {
    let strange = [
        "a/b/../c",
        "..",
        ".",
        " ",
        "a b",
        "A B",
        "%2F",
        "a%2Fb",
        "ключ",
        "🦀",
        "a\\b",
        "a:b",
        "a\nb",
        "'; drop table wsp_checkpoint; --",
        "\"",
        "a=b&c",
        "output_id=o",
        "*",
        "~",
        "#?",
        &"é".repeat(256),
        &"x".repeat(256),
        &"/".repeat(256),
    ];
    let keys: Vec<CursorKey> = strange.iter().map(|id| key("strange", id)).collect();
    let store = backend.open().await;
    let lease = store
        .acquire(&request(backend, "one", &keys))
        .await
        .unwrap();
    for (key, row) in keys.iter().zip(0..) {
        save(&*store, &lease, key, cursor("a", row)).await.unwrap();
    }
    let reopened = backend.open().await;
    for (key, row) in keys.iter().zip(0..) {
        assert_eq!(
            position(&*reopened, key).await,
            Some(("a".to_owned(), row)),
            "{key}"
        );
    }
}

/// Another handle finds the cursor, and its bounds.
pub async fn reopening_finds_the_same_cursor(backend: &dyn Backend) {
    let key = key("reopening", "o");
    let (store, lease) = open_leased(backend, &key).await;
    save(&*store, &lease, &key, cursor("b", 5)).await.unwrap();
    store.release(&lease).await.unwrap();
    drop((store, lease));

    let (store, lease) = open_leased(backend, &key).await;
    assert_eq!(position(&*store, &key).await, Some(("b".to_owned(), 5)));
    assert_code(
        save(&*store, &lease, &key, cursor("b", 4)).await,
        ReasonCode::Regression,
    );
    save(&*store, &lease, &key, cursor("b", 6)).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap().unwrap().sequence, 2);
}

/// `CHECKPOINT_REGRESSION`, within a part and across parts.
pub async fn a_cursor_never_moves_backwards(backend: &dyn Backend) {
    let key = key("monotonic", "o");
    let (store, lease) = open_leased(backend, &key).await;
    for (part, row) in [("a", 0), ("a", 9), ("b", 0), ("b", 7)] {
        save(&*store, &lease, &key, cursor(part, row))
            .await
            .unwrap();
    }
    for (part, row) in [("a", 100), ("b", 6)] {
        assert_code(
            save(&*store, &lease, &key, cursor(part, row)).await,
            ReasonCode::Regression,
        );
        assert_eq!(position(&*store, &key).await, Some(("b".to_owned(), 7)));
    }
}

/// A refused save leaves each key at the old cursor or the new one.
pub async fn a_refused_save_leaves_what_was_there(backend: &dyn Backend) {
    let (one, two) = (key("refused", "o1"), key("refused", "o2"));
    let store = backend.open().await;
    let lease = store
        .acquire(&request(backend, "one", [&one, &two]))
        .await
        .unwrap();
    let at = |a, b| BTreeMap::from([(one.clone(), cursor("a", a)), (two.clone(), cursor("a", b))]);
    store.save_many(&lease, &at(5, 5)).await.unwrap();
    assert_code(
        store.save_many(&lease, &at(6, 4)).await,
        ReasonCode::Regression,
    );

    assert_eq!(position(&*store, &two).await, Some(("a".to_owned(), 5)));
    let first = position(&*store, &one).await.unwrap().1;
    assert!(
        first == 5 || (first == 6 && !backend.is_transactional()),
        "{first}"
    );
}

/// A save made twice counts once.
pub async fn the_same_cursor_may_be_saved_again(backend: &dyn Backend) {
    let key = key("again", "o");
    let (store, lease) = open_leased(backend, &key).await;
    for _ in 0..3 {
        save(&*store, &lease, &key, cursor("a", 5)).await.unwrap();
    }
    assert_eq!(position(&*store, &key).await, Some(("a".to_owned(), 5)));
    assert_eq!(store.load(&key).await.unwrap().unwrap().sequence, 1);
}

/// `CHECKPOINT_ORDER_MISMATCH` for a cursor of another stream order.
pub async fn a_cursor_keeps_its_order(backend: &dyn Backend) {
    let key = key("order", "o");
    let (store, lease) = open_leased(backend, &key).await;
    save(&*store, &lease, &key, cursor("a", 5)).await.unwrap();
    let by_time = Cursor {
        order: OrderPosition::EventTime { sort_time_ns: 1 },
        ..cursor("b", 9)
    };
    assert_code(
        save(&*store, &lease, &key, by_time).await,
        ReasonCode::OrderMismatch,
    );
    assert_eq!(position(&*store, &key).await, Some(("a".to_owned(), 5)));
}

/// Of saves at once, the furthest is never refused and stands at the end.
pub async fn concurrent_savers_end_at_the_furthest(backend: &dyn Backend) {
    let key = key("concurrent", "o");
    let (store, lease) = open_leased(backend, &key).await;
    let lease = Arc::new(lease);
    let savers = (0..16_u64).map(|row| {
        let (store, lease, key) = (Arc::clone(&store), Arc::clone(&lease), key.clone());
        tokio::spawn(async move { save(&*store, &lease, &key, cursor("a", row)).await })
    });
    let mut saved = Vec::new();
    for (row, saver) in savers.collect::<Vec<_>>().into_iter().enumerate() {
        match saver.await.unwrap() {
            Ok(()) => saved.push(row as u64),
            refused => drop(assert_code(refused, ReasonCode::Regression)),
        }
    }
    assert_eq!(saved.last(), Some(&15), "the furthest is never refused");
    assert_eq!(position(&*store, &key).await, Some(("a".to_owned(), 15)));
}

/// After a reset there is no cursor, and the old one is in history.
pub async fn a_reset_lets_the_cursor_start_anew(backend: &dyn Backend) {
    let key = key("reset", "o");
    let (store, lease) = open_leased(backend, &key).await;
    save(&*store, &lease, &key, cursor("b", 5)).await.unwrap();
    let given_up = store.load(&key).await.unwrap();
    store.reset(&lease, &key).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), None);
    store.reset(&lease, &key).await.unwrap();
    save(&*store, &lease, &key, cursor("a", 0)).await.unwrap();
    assert_eq!(position(&*store, &key).await, Some(("a".to_owned(), 0)));

    let history = store.history(&key, 10).await.unwrap();
    let events: Vec<_> = history.iter().map(|entry| entry.event).collect();
    assert_eq!(
        events,
        [
            HistoryEvent::Saved,
            HistoryEvent::Reset,
            HistoryEvent::Saved
        ]
    );
    assert_eq!(history[1].record, given_up);
}

/// History is newest first, as many lines as asked for.
pub async fn history_is_newest_first_and_bounded(backend: &dyn Backend) {
    let key = key("history", "o");
    let (store, lease) = open_leased(backend, &key).await;
    for row in 0..12 {
        save(&*store, &lease, &key, cursor("a", row)).await.unwrap();
    }
    let rows = |history: Vec<crate::HistoryEntry>| -> Vec<u64> {
        let records = history.into_iter().filter_map(|entry| entry.record);
        records
            .map(|record| record.cursor.last_row_index())
            .collect()
    };
    assert_eq!(rows(store.history(&key, 3).await.unwrap()), [11, 10, 9]);
    assert_eq!(rows(store.history(&key, 0).await.unwrap()), [] as [u64; 0]);
    let reopened = backend.open().await;
    assert_eq!(
        rows(reopened.history(&key, 5).await.unwrap()),
        [11, 10, 9, 8, 7]
    );
}

/// Reading creates nothing, and sees what is saved and who holds the lease.
pub async fn reading_needs_no_lease_and_makes_none(backend: &dyn Backend) {
    let key = key("reading", "o");
    let reader = backend.open().await;
    assert_eq!(reader.load(&key).await.unwrap(), None);
    assert_eq!(reader.lease_state(&key).await.unwrap(), None);
    assert_eq!(reader.history(&key, 10).await.unwrap(), []);

    let (store, lease) = open_leased(backend, &key).await;
    save(&*store, &lease, &key, cursor("a", 5)).await.unwrap();
    assert_eq!(position(&*reader, &key).await, Some(("a".to_owned(), 5)));
    let seen = reader.lease_state(&key).await.unwrap().unwrap();
    assert_eq!(
        (seen.holder, Some(seen.fence)),
        (holder("one"), lease.fence(&key))
    );
    assert_eq!(seen.alive, backend.knows_death().then_some(true));
    save(&*store, &lease, &key, cursor("a", 6)).await.unwrap();
}
