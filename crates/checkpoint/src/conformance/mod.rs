//! The contract of [`CheckpointStore`] as tests: one async function a promise, run on every
//! backend of this crate, and on anybody's own under the feature `conformance`.
//!
//! A store is tested by implementing [`Backend`] for a way to open it and naming that to
//! [`every_promise!`](crate::every_promise).

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "it is a test: it panics where a promise is broken, and runs tasks beside each other"
)]

mod cursors;
mod damage;
mod leases;
mod shards;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use durable::SystemRandom;
use model::{Clock, SharedClock};

pub use self::cursors::*;
pub use self::damage::*;
pub use self::leases::*;
pub use self::shards::*;
use crate::slots::{Observer, StoredSlot};
use crate::{
    CheckpointStore, Cursor, CursorKey, Error, Holder, Lease, LeaseRequest, OrderPosition, PackKey,
    ReasonCode, RowSource,
};

/// A store under test.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Another handle on the same store, as another process would open it.
    async fn open(&self) -> Arc<dyn CheckpointStore>;

    /// The clock that leases expire by.
    fn clock(&self) -> SharedClock;

    /// A lease period that this backend's clock passes quickly.
    fn period(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Whether a dead holder is known at once.
    fn knows_death(&self) -> bool {
        true
    }

    /// Whether `save_many` saves all or none.
    fn is_transactional(&self) -> bool;

    /// Spoils the stored record of a key.
    async fn damage(&self, key: &CursorKey, damage: Damage);
}

/// How a record is spoilt.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    /// Its content was changed by hand.
    Edited,
    /// Only its beginning is there.
    Torn,
    /// It says that a newer release wrote it.
    NewerVersion,
}

impl Damage {
    /// The JSON of a record, spoilt.
    pub fn spoil(self, record: &str) -> String {
        match self {
            Damage::Edited => record.replace("\"last_row_index\":", "\"last_row_index\":1"),
            Damage::Torn => record[..record.len() / 2].to_owned(),
            Damage::NewerVersion => record.replace("\"format_version\":3", "\"format_version\":4"),
        }
    }

    /// Spoils the record of a slot that has one.
    pub fn spoil_slot(self, slot: &mut StoredSlot) {
        slot.record = slot.record.take().map(|record| self.spoil(&record));
    }
}

/// Makes a test of every promise: `every_promise!(constructor)`, with a function that gives a new
/// [`Backend`] for each. Needs `tokio` with its `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! every_promise {
    ($backend:path) => {
        $crate::every_promise! { $backend =>
            a_missing_cursor_is_none,
            a_saved_cursor_is_read_back,
            every_cursor_of_a_save_is_saved,
            keys_do_not_disturb_each_other,
            strange_keys_are_kept_apart,
            reopening_finds_the_same_cursor,
            a_cursor_never_moves_backwards,
            a_refused_save_leaves_what_was_there,
            the_same_cursor_may_be_saved_again,
            a_cursor_keeps_its_order,
            concurrent_savers_end_at_the_furthest,
            a_reset_lets_the_cursor_start_anew,
            history_is_newest_first_and_bounded,
            reading_needs_no_lease_and_makes_none,
            a_save_shows_a_lease_of_its_key,
            a_held_lease_names_its_holder,
            leases_are_taken_all_or_none,
            of_many_takers_one_wins,
            a_released_lease_is_free_at_once,
            a_released_lease_saves_nothing,
            a_fence_grows_with_every_take,
            a_producer_that_was_taken_over_changes_nothing,
            an_expired_lease_may_be_taken,
            an_expired_lease_that_nobody_took_is_still_good,
            a_renewal_starts_the_period_anew,
            a_dead_holder_is_known_at_once,
            a_waiting_producer_outlasts_a_silent_holder,
            a_waiting_producer_gives_up_on_a_living_holder,
            a_reset_between_two_saves_is_not_overwritten,
            a_damaged_record_is_refused,
            a_newer_record_is_refused,
            a_damaged_record_can_be_reset_and_stays_in_history,
            what_became_of_events_is_read_back,
            shards_that_begin_at_once_agree_on_one_layout,
            other_shards_than_the_layouts_are_refused,
            shards_pass_over_no_cursor_of_the_whole_stream,
            a_stream_is_divided_anew_by_one_write,
            a_division_of_before_leaves_no_cursor_behind,
        }
    };
    ($backend:path => $($promise:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let backend = $backend();
                $crate::conformance::$promise(&backend).await;
            }
        )*

        #[test]
        fn the_promises_are_counted() {
            let count = [$(stringify!($promise)),*].len();
            println!("conformance: {count} promises in {}", module_path!());
            assert_eq!(count, $crate::conformance::PROMISES);
        }
    };
}

/// How many promises each backend keeps.
pub const PROMISES: usize = 38;

/// A clock that passes no time but what is slept. Clones share it. A parked thread really waits,
/// and passes none of its time: it waits for another thread, not for a moment.
#[derive(Clone, Debug)]
pub struct ManualClock {
    began: Instant,
    passed: Arc<Mutex<Duration>>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            passed: Arc::default(),
        }
    }
}

impl ManualClock {
    /// An observer that goes by this clock, and by the machine's chance.
    pub fn observer(&self) -> Observer {
        Observer::new(self.clone(), SystemRandom::default())
    }

    fn passed(&self) -> Duration {
        *self.passed.lock().unwrap()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.began + self.passed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.passed()
    }

    async fn sleep(&self, delay: Duration) {
        *self.passed.lock().unwrap() += delay;
        // Others get their turn, however often somebody sleeps.
        tokio::task::yield_now().await;
    }
}

/// A key of its own for each promise, so that promises may share a server.
pub fn key(promise: &str, output_id: &str) -> CursorKey {
    CursorKey::new(PackKey::of_root(promise), output_id).unwrap()
}

/// A cursor in `as_written` order.
pub fn cursor(part: &str, row: u64) -> Cursor {
    Cursor {
        last_part: part.to_owned(),
        last_file: format!("runs/w1/{part}"),
        source: RowSource::Outputs,
        last_row_index: row,
        last_ts_utc: Some("2026-01-01T00:00:00.000000Z".to_owned()),
        order: OrderPosition::AsWritten,
        platform_run_id: "platform_20260128T090000Z".to_owned(),
        plan_digest: "ab".repeat(32),
        done: None,
    }
}

/// A holder of that name, on another machine.
pub fn holder(name: &str) -> Holder {
    Holder {
        name: name.to_owned(),
        host: "host-1".to_owned(),
        pid: 7,
    }
}

/// A request for keys, for the backend's period.
pub fn request<'a>(
    backend: &dyn Backend,
    name: &str,
    keys: impl IntoIterator<Item = &'a CursorKey>,
) -> LeaseRequest {
    LeaseRequest {
        period: backend.period(),
        ..LeaseRequest::new(keys.into_iter().cloned(), holder(name))
    }
}

/// Opens a handle and takes the lease of one key.
pub async fn open_leased(
    backend: &dyn Backend,
    key: &CursorKey,
) -> (Arc<dyn CheckpointStore>, Lease) {
    let store = backend.open().await;
    let lease = store
        .acquire(&request(backend, "one", [key]))
        .await
        .unwrap();
    (store, lease)
}

/// Saves one cursor.
///
/// # Errors
/// Those of [`CheckpointStore::save_many`].
pub async fn save(
    store: &dyn CheckpointStore,
    lease: &Lease,
    key: &CursorKey,
    cursor: Cursor,
) -> Result<(), Error> {
    store
        .save_many(lease, &BTreeMap::from([(key.clone(), cursor)]))
        .await
}

/// The part and row that a key stands at.
pub async fn position(store: &dyn CheckpointStore, key: &CursorKey) -> Option<(String, u64)> {
    let record = store.load(key).await.unwrap()?;
    let cursor = &record.cursor;
    Some((cursor.part_text().to_owned(), cursor.last_row_index()))
}

/// The error, which must have that code.
#[track_caller]
pub fn assert_code<T: std::fmt::Debug>(outcome: Result<T, Error>, code: ReasonCode) -> Error {
    match outcome {
        Err(error) if error.code() == code => error,
        other => panic!("expected {code}, got {other:?}"),
    }
}
