//! The Postgres backend on a real server.

use std::time::Duration;

use durable::BootClock;
use model::SharedClock;
use tokio::sync::OnceCell;

use super::*;
use crate::conformance::{Backend, Damage};
use crate::every_promise;
use crate::store::CheckpointStore;
use crate::test_server::{PostgresServer, TestSchema};

pub(crate) struct InSchema {
    schema: OnceCell<TestSchema<'static>>,
}

pub(crate) fn schema() -> InSchema {
    InSchema {
        schema: OnceCell::new(),
    }
}

impl InSchema {
    async fn schema(&self) -> &TestSchema<'static> {
        self.schema
            .get_or_init(|| PostgresServer::shared().fresh_schema())
            .await
    }
}

#[async_trait]
impl Backend for InSchema {
    async fn open(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(PostgresStore::new(self.schema().await.dsn()).unwrap())
    }

    fn clock(&self) -> SharedClock {
        SharedClock::new(BootClock)
    }

    /// The server's clock cannot be moved.
    fn period(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn is_transactional(&self) -> bool {
        true
    }

    async fn damage(&self, key: &CursorKey, damage: Damage) {
        // The sequence goes on, or the trigger would take it for the existing producer's write.
        let change = match damage {
            Damage::Edited => "last_row_index = last_row_index + 1, sequence = sequence + 1",
            Damage::Torn => "plan_digest = NULL, sequence = sequence + 1",
            Damage::NewerVersion => "format_version = 4, sequence = sequence + 1",
        };
        let (pack_key, output_id) = (key.pack_key(), key.output_id().as_str());
        let update = format!(
            "UPDATE wsp_checkpoint SET {change}
            WHERE pack_key = '{pack_key}' AND output_id = '{output_id}'"
        );
        self.schema().await.execute(&update).await;
    }
}

every_promise!(schema);
