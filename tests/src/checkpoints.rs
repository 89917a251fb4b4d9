//! Where a rig keeps its cursors: the profile's keys for it, and the store behind them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use checkpoint::{
    CheckpointStore, CursorKey, FileStore, HistoryEntry, HistoryEvent, OrderPosition, PackKey,
    PostgresStore, Record, SqliteStore,
};
use tempfile::TempDir;

use crate::postgres::{PostgresOptions, PostgresServer};

/// The backends that whole-system tests run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A folder.
    File,
    /// One SQLite file.
    Sqlite,
    /// A private PostgreSQL cluster.
    Postgres,
}

/// A home of cursors that one test has for itself.
#[derive(Debug)]
pub struct Checkpoints {
    backend: Backend,
    folder: TempDir,
    server: Option<PostgresServer>,
}

impl Checkpoints {
    /// A fresh home.
    pub fn on(backend: Backend) -> Self {
        let server = (backend == Backend::Postgres)
            .then(|| PostgresServer::start(&PostgresOptions::default()));
        Self {
            backend,
            folder: tempfile::tempdir().expect("a temporary folder"),
            server,
        }
    }

    /// Where it is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// What `wsp_checkpoint.root` names: a folder, or SQLite's file.
    pub fn root(&self) -> PathBuf {
        match self.backend {
            Backend::Sqlite => self.folder.path().join("cursors.db"),
            _ => self.folder.path().join("cursors"),
        }
    }

    /// The private cluster.
    pub fn server(&self) -> &PostgresServer {
        self.server.as_ref().expect("this home is in Postgres")
    }

    /// The profile's keys for it.
    pub fn keys(&self) -> Vec<(&'static str, String)> {
        let backend = match self.backend {
            Backend::File => "file",
            Backend::Sqlite => "sqlite",
            Backend::Postgres => "postgres",
        };
        let mut keys = vec![
            ("wiring.wsp_checkpoint.backend", backend.to_owned()),
            (
                "wiring.wsp_checkpoint.root",
                self.root().display().to_string(),
            ),
        ];
        if let Some(server) = &self.server {
            keys.push(("wiring.wsp_checkpoint.dsn", server.dsn().to_owned()));
        }
        keys
    }

    /// The store itself, to look into.
    pub fn store(&self) -> Arc<dyn CheckpointStore> {
        match self.backend {
            Backend::File => Arc::new(FileStore::new(self.root())),
            Backend::Sqlite => Arc::new(SqliteStore::new(self.root())),
            Backend::Postgres => {
                Arc::new(PostgresStore::new(self.server().dsn()).expect("a connection string"))
            }
        }
    }

    /// Each output's history, oldest first.
    pub fn histories(
        &self,
        pack_key: &str,
        outputs: &[String],
    ) -> BTreeMap<String, Vec<HistoryEntry>> {
        let store = self.store();
        let pack_key = PackKey::parse(pack_key).expect("a pack key");
        let of = |output: &String| {
            let key = CursorKey::new(pack_key.clone(), output).expect("a key");
            let mut entries = wait_for(store.history(&key, 10_000)).expect("a readable history");
            entries.reverse();
            (output.clone(), entries)
        };
        outputs.iter().map(of).collect()
    }
}

/// Panics unless a key's saves were made by one writer after the other: the number grows by
/// one, the fence and the position never go back. Answers how many fences saved.
#[track_caller]
pub fn assert_one_writer_at_a_time(output: &str, history: &[HistoryEntry]) -> usize {
    let saved = |entry: &HistoryEntry| entry.event == HistoryEvent::Saved;
    let records: Vec<_> = history
        .iter()
        .filter(|entry| saved(entry))
        .filter_map(|entry| entry.record.as_ref())
        .collect();
    for pair in records.windows(2) {
        let [before, after] = pair else { continue };
        assert_eq!(
            after.sequence,
            before.sequence + 1,
            "{output}: a save was overwritten"
        );
        assert!(
            after.fence >= before.fence,
            "{output}: an older fence saved: {pair:?}"
        );
        let place = |record: &Record| {
            let time = match record.cursor.order() {
                OrderPosition::AsWritten => 0,
                OrderPosition::EventTime { sort_time_ns } => sort_time_ns,
            };
            let (file, row) = (record.cursor.part_text(), record.cursor.last_row_index());
            (time, file.to_owned(), row)
        };
        assert!(
            place(after) >= place(before),
            "{output} went back: {pair:?}"
        );
    }
    let mut fences: Vec<_> = records.iter().map(|record| record.fence).collect();
    fences.dedup();
    fences.len()
}

/// Runs one asynchronous call to its end.
pub fn wait_for<T>(call: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(call)
}
