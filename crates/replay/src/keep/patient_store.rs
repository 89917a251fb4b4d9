//! A checkpoint store that is waited for at the start of a run, as it is in the middle of one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use checkpoint::{
    CheckpointStore, Cursor, CursorKey, Error, HistoryEntry, Lease, LeaseRequest, LeaseState,
    Record,
};

use crate::keep::patience::patiently;
use model::SharedClock;
use push::Trouble;

/// Asks a store for cursors and leases again while it is away, for up to `give_up_after`. Saves
/// and renewals are asked for once: whoever makes them has a patience of its own.
#[derive(Debug)]
pub struct PatientStore {
    clock: SharedClock,
    store: Arc<dyn CheckpointStore>,
    trouble: Trouble,
    give_up_after: Duration,
}

impl PatientStore {
    /// Waits up to `give_up_after`, by `clock`, for a store that is away, and tells `trouble` of it.
    pub fn new(
        store: Arc<dyn CheckpointStore>,
        clock: SharedClock,
        give_up_after: Duration,
        trouble: Trouble,
    ) -> Self {
        Self {
            clock,
            store,
            trouble,
            give_up_after,
        }
    }
}

#[async_trait]
impl CheckpointStore for PatientStore {
    fn place(&self) -> String {
        self.store.place()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        let load = || self.store.load(key);
        patiently(&self.clock, &self.trouble, self.give_up_after, &mut 0, load).await
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        self.store.lease_state(key).await
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        self.store.history(key, limit).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        let acquire = || self.store.acquire(request);
        patiently(
            &self.clock,
            &self.trouble,
            self.give_up_after,
            &mut 0,
            acquire,
        )
        .await
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        self.store.renew(lease).await
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        self.store.save_many(lease, cursors).await
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        self.store.reset(lease, key).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.store.release(lease).await
    }

    async fn server_time(&self) -> Result<Option<SystemTime>, Error> {
        self.store.server_time().await
    }

    fn times_remade(&self) -> u64 {
        self.store.times_remade()
    }
}
