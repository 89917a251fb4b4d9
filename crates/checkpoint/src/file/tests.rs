//! The file backend on a real disk.

use tempfile::TempDir;

use super::*;
use crate::conformance::{Backend, Damage, ManualClock, every_promise};

struct InFolder {
    root: TempDir,
    clock: Arc<ManualClock>,
}

fn folder() -> InFolder {
    InFolder {
        root: tempfile::tempdir().unwrap(),
        clock: Arc::default(),
    }
}

#[async_trait]
impl Backend for InFolder {
    async fn open(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(FileStore::with_clock(self.root.path(), self.clock.clone()))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn is_transactional(&self) -> bool {
        false
    }

    async fn damage(&self, key: &CursorKey, damage: Damage) {
        let path = Place::new(self.root.path(), key).folder.join("cursor.json");
        let record = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, damage.spoil(&record)).unwrap();
    }
}

every_promise!(folder);
