//! A stream that keeps its place in a store of our own: cursors live in memory here, and every
//! save is noted.
//!
//! ```text
//! cargo run -p wsp --example own_checkpoint_store
//! ```
//!
//! It adds to a store of the `checkpoint` crate: only that crate makes a [`Lease`], so a
//! store of one's own stands around one of its stores, whose promises it keeps.

mod playground;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use checkpoint::{
    CheckpointStore, Cursor, CursorKey, Error, HistoryEntry, Lease, LeaseRequest, LeaseState,
    MemoryStore, Record,
};
use playground::{Anything, Playground};
use wsp::push::{ClientOptions, HyperClient, PushEndpoint};
use wsp::{Overrides, Status, Stream};

/// Cursors in memory, and a count of the saves.
#[derive(Debug, Default)]
struct CountedStore {
    inner: MemoryStore,
    saves: AtomicU64,
}

#[async_trait::async_trait]
impl CheckpointStore for CountedStore {
    fn place(&self) -> String {
        "memory, counted".to_owned()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        self.inner.load(key).await
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        self.inner.lease_state(key).await
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        self.inner.history(key, limit).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        self.inner.acquire(request).await
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        self.inner.renew(lease).await
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        self.inner.save_many(lease, cursors).await?;
        self.saves.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        self.inner.reset(lease, key).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.inner.release(lease).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let playground = Playground::new()?;
    let store = Arc::new(CountedStore::default());
    let endpoint = PushEndpoint::parse(&playground.gate.url())?;
    // Half of the world, then the rest: the second run begins where the store says.
    for max_events in [Some(2_500), None] {
        let request = playground.request(Overrides {
            max_events,
            ..Overrides::default()
        })?;
        let client = HyperClient::new(&endpoint, ClientOptions::default())?;
        let report = Stream::new(request)
            .run_with(
                Arc::clone(&store) as Arc<dyn CheckpointStore>,
                client,
                endpoint.as_str(),
            )
            .await;
        assert_eq!(report.status, Status::Streamed, "{:?}", report.detail);
        println!(
            "{} events, {} saves so far",
            report.emitted,
            store.saves.load(Ordering::Relaxed)
        );
    }
    assert_eq!(playground.gate.stats().duplicates, 0);
    Ok(())
}
