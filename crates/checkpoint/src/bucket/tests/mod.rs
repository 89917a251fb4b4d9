//! The object backend on a real S3 server.

mod faults;
pub(crate) mod s3_server;
mod take_overs;

use std::sync::Mutex as SyncMutex;

use durable::BootClock;

use self::s3_server::S3Server;
use super::*;
use crate::conformance::{Backend, Damage, ManualClock};
use crate::every_promise;
use crate::lease::Lease;
use crate::store::CheckpointStore;

pub(crate) struct InBucket {
    server: S3Server,
    clock: ManualClock,
}

/// The clock of requests: a server takes its own time, whatever the clock of leases says.
fn pace() -> SharedClock {
    SharedClock::new(BootClock)
}

/// A store whose requests go by the machine's clock.
fn paced_by_the_machine(
    store: Arc<dyn ObjectStore>,
    prefix: &str,
    observer: Observer,
) -> BucketStore {
    BucketStore::paced_by(store, Path::from(prefix), observer, pace())
}

pub(crate) fn bucket() -> InBucket {
    InBucket {
        server: S3Server::start(),
        clock: ManualClock::default(),
    }
}

#[async_trait]
impl Backend for InBucket {
    async fn open(&self) -> Arc<dyn CheckpointStore> {
        let store = self.server.store();
        Arc::new(paced_by_the_machine(
            store,
            "a/prefix",
            self.clock.observer(),
        ))
    }

    fn clock(&self) -> SharedClock {
        SharedClock::new(self.clock.clone())
    }

    fn knows_death(&self) -> bool {
        false
    }

    fn is_transactional(&self) -> bool {
        false
    }

    async fn damage(&self, key: &CursorKey, damage: Damage) {
        let objects = Objects::new(self.server.store(), Path::from("a/prefix"), pace());
        objects.rewrite(key, |text| damage.spoil(text)).await;
    }
}

every_promise!(bucket);
