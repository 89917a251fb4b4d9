//! Named blobs in one table of a database: what a store of cursors is made of.

use std::sync::{Mutex, MutexGuard, PoisonError};

use checkpoint::{Error, KeyedBlobs, unavailable};
use rusqlite::{Connection, OptionalExtension as _, params};

/// Blobs in a table, each with a version that counts its writes.
#[derive(Debug)]
pub(crate) struct Table(Mutex<Connection>);

impl Table {
    /// The table in a database, made if need be.
    pub(crate) fn in_database(database: Connection) -> rusqlite::Result<Self> {
        database.execute_batch(
            "PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS blobs (name TEXT PRIMARY KEY, blob BLOB, version INTEGER)",
        )?;
        Ok(Self(Mutex::new(database)))
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn away(error: rusqlite::Error) -> Error {
    unavailable("reach the blobs", "table blobs", "Look after the database").because(error)
}

#[async_trait::async_trait]
impl KeyedBlobs for Table {
    type Version = i64;

    fn place(&self) -> String {
        "table blobs".to_owned()
    }

    async fn get(&self, name: &str) -> Result<Option<(Vec<u8>, i64)>, Error> {
        let select = "SELECT blob, version FROM blobs WHERE name = ?1";
        let database = self.database();
        let found = database.query_row(select, [name], |row| Ok((row.get(0)?, row.get(1)?)));
        found.optional().map_err(away)
    }

    async fn put(&self, name: &str, blob: Vec<u8>, over: Option<&i64>) -> Result<bool, Error> {
        let (write, version) = match over {
            None => (
                "INSERT INTO blobs VALUES (?1, ?2, ?3 + 1) ON CONFLICT DO NOTHING",
                0,
            ),
            Some(version) => (
                "UPDATE blobs SET blob = ?2, version = ?3 + 1 WHERE name = ?1 AND version = ?3",
                *version,
            ),
        };
        let written = self.database().execute(write, params![name, blob, version]);
        written.map(|rows| rows == 1).map_err(away)
    }
}
