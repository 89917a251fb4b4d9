//! A checkpoint store that is waited for at the start of a run, as it is in the middle of one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkpoint::{
    CheckpointStore, Cursor, CursorKey, Error, HistoryEntry, Lease, LeaseRequest, LeaseState,
    Record,
};

use crate::keep::keeper::patiently;
use model::SharedClock;
use push::Trouble;

/// Asks a store for cursors and leases again while it is away, for up to `give_up_after`. Saves
/// and renewals are asked for once: whoever makes them has a patience of its own.
#[derive(Debug)]
pub struct PatientStore {
    /// What pauses are counted by.
    pub clock: SharedClock,
    /// The store that is asked.
    pub store: Arc<dyn CheckpointStore>,
    /// Told of a store that is away.
    pub trouble: Trouble,
    /// How long the store may be away.
    pub give_up_after: Duration,
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
}
