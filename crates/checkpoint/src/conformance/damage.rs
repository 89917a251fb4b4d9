//! Promises about damaged records: refused, never read as "no cursor".

use super::{Backend, Damage, assert_code, cursor, key, open_leased, save};
use crate::{CursorKey, HistoryEvent, ReasonCode};

async fn spoilt(backend: &dyn Backend, key: &CursorKey, damage: Damage) {
    let (store, lease) = open_leased(backend, key).await;
    save(&*store, &lease, key, cursor("a", 5)).await.unwrap();
    store.release(&lease).await.unwrap();
    backend.damage(key, damage).await;
}

/// `CHECKPOINT_CORRUPT` for an edited or torn record, and nothing is saved over it.
pub async fn a_damaged_record_is_refused(backend: &dyn Backend) {
    for (damage, id) in [(Damage::Edited, "edited"), (Damage::Torn, "torn")] {
        let key = key("damaged", id);
        spoilt(backend, &key, damage).await;
        let (store, lease) = open_leased(backend, &key).await;
        let error = assert_code(store.load(&key).await, ReasonCode::Corrupt);
        assert!(
            error.to_string().contains("reset"),
            "says what to do: {error}"
        );
        let over = save(&*store, &lease, &key, cursor("a", 100)).await;
        assert_code(over, ReasonCode::Corrupt);
        store.renew(&lease).await.unwrap();
        assert_code(store.load(&key).await, ReasonCode::Corrupt);
    }
}

/// `CHECKPOINT_VERSION_UNSUPPORTED`.
pub async fn a_newer_record_is_refused(backend: &dyn Backend) {
    let key = key("newer", "o");
    spoilt(backend, &key, Damage::NewerVersion).await;
    let store = backend.open().await;
    assert_code(store.load(&key).await, ReasonCode::VersionUnsupported);
}

/// A damaged record can be reset, and its text is in history.
pub async fn a_damaged_record_can_be_reset_and_stays_in_history(backend: &dyn Backend) {
    let key = key("damaged, then reset", "o");
    spoilt(backend, &key, Damage::Edited).await;
    let (store, lease) = open_leased(backend, &key).await;
    store.reset(&lease, &key).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), None);
    save(&*store, &lease, &key, cursor("a", 0)).await.unwrap();
    let history = store.history(&key, 10).await.unwrap();
    assert_eq!(history[1].event, HistoryEvent::Reset);
    assert_eq!(history[1].record, None);
    let kept = history[1].damaged.as_deref().unwrap();
    assert!(kept.contains("last_row_index"), "{kept}");
}
