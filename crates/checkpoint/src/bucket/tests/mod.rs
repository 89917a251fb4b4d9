//! The object backend on a real S3 server.

mod faults;
pub(crate) mod s3_server;
mod take_overs;

use std::sync::Mutex as SyncMutex;

use self::s3_server::S3Server;
use super::*;
use crate::conformance::{Backend, Damage, ManualClock};
use crate::every_promise;
use crate::lease::Lease;
use crate::store::CheckpointStore;

pub(crate) struct InBucket {
    server: S3Server,
    clock: Arc<ManualClock>,
}

pub(crate) fn bucket() -> InBucket {
    InBucket {
        server: S3Server::start(),
        clock: Arc::default(),
    }
}

#[async_trait]
impl Backend for InBucket {
    async fn open(&self) -> Arc<dyn CheckpointStore> {
        let (store, clock) = (self.server.store(), self.clock.clone());
        Arc::new(BucketStore::with_clock(
            store,
            Path::from("a/prefix"),
            clock,
        ))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn knows_death(&self) -> bool {
        false
    }

    fn is_transactional(&self) -> bool {
        false
    }

    async fn damage(&self, key: &CursorKey, damage: Damage) {
        let objects = Objects::new(self.server.store(), Path::from("a/prefix"));
        objects.rewrite(key, |text| damage.spoil(text)).await;
    }
}

every_promise!(bucket);
