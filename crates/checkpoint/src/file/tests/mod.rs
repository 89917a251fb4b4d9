//! The file backend: the conformance suite, crashes, and what only a folder can suffer.

mod crashes;
mod remake;
mod troubles;

use model::SharedClock;
use tempfile::TempDir;

use super::*;
use crate::conformance::{Backend, Damage, ManualClock};
use crate::every_promise;
use crate::lease::Lease;
use crate::store::CheckpointStore;

pub(crate) struct InFolder {
    root: TempDir,
    clock: ManualClock,
}

pub(crate) fn folder() -> InFolder {
    InFolder {
        root: tempfile::tempdir().unwrap(),
        clock: ManualClock::default(),
    }
}

impl InFolder {
    fn file_of(&self, key: &CursorKey, name: &str) -> PathBuf {
        Place::new(self.root.path(), key).folder.join(name)
    }
}

#[async_trait]
impl Backend for InFolder {
    async fn open(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(FileStore::with_observer(
            self.root.path(),
            self.clock.observer(),
        ))
    }

    fn clock(&self) -> SharedClock {
        SharedClock::new(self.clock.clone())
    }

    fn is_transactional(&self) -> bool {
        false
    }

    async fn damage(&self, key: &CursorKey, damage: Damage) {
        let path = self.file_of(key, "cursor.json");
        let record = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, damage.spoil(&record)).unwrap();
    }
}

every_promise!(folder);
