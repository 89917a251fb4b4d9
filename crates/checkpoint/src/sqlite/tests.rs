//! The SQLite backend on a real file.

use model::SharedClock;
use tempfile::TempDir;

use super::*;
use crate::conformance::{Backend, Damage, ManualClock};
use crate::every_promise;
use crate::store::CheckpointStore;

pub(crate) struct InFile {
    folder: TempDir,
    clock: ManualClock,
}

pub(crate) fn file() -> InFile {
    InFile {
        folder: tempfile::tempdir().unwrap(),
        clock: ManualClock::default(),
    }
}

impl InFile {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("checkpoints/wsp.sqlite")
    }
}

#[async_trait]
impl Backend for InFile {
    async fn open(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(SqliteStore::with_observer(
            self.path(),
            self.clock.observer(),
        ))
    }

    fn clock(&self) -> SharedClock {
        SharedClock::new(self.clock.clone())
    }

    fn is_transactional(&self) -> bool {
        true
    }

    async fn damage(&self, key: &CursorKey, damage: Damage) {
        let database = Database::open(&self.path()).unwrap().unwrap();
        let row = Row::read(&database.connection, key, &self.path()).unwrap();
        let spoilt = damage.spoil(&row.record.unwrap());
        database
            .connection
            .execute(
                "UPDATE wsp_checkpoint SET record = ?1 WHERE output_id = ?2",
                (spoilt, key.output_id().as_str()),
            )
            .unwrap();
    }
}

every_promise!(file);
