//! The SQLite file itself: how it is opened, changed and read.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::{Disk, OsDisk, make_folders};
use model::{Clock as _, SharedClock, json_strictly};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior,
};

use crate::error::{Error, corrupt, unavailable, unsupported};
use crate::key::CursorKey;
use crate::lease::LeaseRecord;
use crate::path_fault;
use crate::record::json;

/// The schema that this release makes.
const SCHEMA_VERSION: u32 = 1;

/// How long to wait for another process's transaction.
const BUSY_WAIT: Duration = Duration::from_secs(5);

const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Lines of history kept a key.
const HISTORY_LINES: i64 = 1000;

const SCHEMA: &str = "
    CREATE TABLE wsp_checkpoint (
        pack_key TEXT NOT NULL, output_id TEXT NOT NULL, lease TEXT, record TEXT,
        PRIMARY KEY (pack_key, output_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE wsp_checkpoint_history (
        pack_key TEXT NOT NULL, output_id TEXT NOT NULL, entry INTEGER NOT NULL, line TEXT NOT NULL,
        PRIMARY KEY (pack_key, output_id, entry)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// An open file, and which file it was when it was opened.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    identity: Option<(u64, u64)>,
}

impl Database {
    /// Opens the file; `None` if there is none, or nothing in it yet.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let exists = path
            .try_exists()
            .map_err(|error| path_fault::at_path("open the checkpoint database", path, error))?;
        if !exists {
            return Ok(None);
        }
        let database = Self::connect(path, OpenFlags::empty())?;
        Ok((database.version(path)? != 0).then_some(database))
    }

    /// Opens the file, making it and its tables if need be.
    pub(super) fn create(path: &Path, clock: &SharedClock) -> Result<Self, Error> {
        make_folder_of(&OsDisk, path)
            .map_err(|error| path_fault::at_path("make the folder", path, error))?;
        let mut database = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        let operation = "make the checkpoint tables";
        database
            .write_ahead(clock)
            .map_err(|error| failed(operation, path, error))?;
        let is_new = database.version(path)? == 0;
        if is_new {
            database.transact(operation, path, |change| {
                // Another process may have made them since.
                let version: u32 = change
                    .pragma_query_value(None, "user_version", |row| row.get(0))
                    .map_err(|error| failed(operation, path, error))?;
                if version == 0 {
                    change
                        .execute_batch(SCHEMA)
                        .map_err(|error| failed(operation, path, error))?;
                }
                Ok(())
            })?;
        }
        Ok(database)
    }

    /// Switches to a write-ahead log, which the file remembers. SQLite does not wait for other
    /// connections with that: those that open a new file at once would fail.
    fn write_ahead(&self, clock: &SharedClock) -> rusqlite::Result<()> {
        // Pauses are counted, not timed, so that a clock that tests hold still ends them too.
        let mut waited = Duration::ZERO;
        loop {
            match self.connection.pragma_update(None, "journal_mode", "wal") {
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && waited < BUSY_WAIT =>
                {
                    clock.park(BUSY_PAUSE);
                    waited += BUSY_PAUSE;
                }
                switched => return switched,
            }
        }
    }

    fn connect(path: &Path, more: OpenFlags) -> Result<Self, Error> {
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags | more)?;
            connection.busy_timeout(BUSY_WAIT)?;
            connection.pragma_update(None, "synchronous", "full")?;
            Ok(connection)
        };
        let connection =
            open().map_err(|error| failed("open the checkpoint database", path, error))?;
        Ok(Self {
            connection,
            identity: identity(path),
        })
    }

    /// The schema version; 0 where there are no tables yet.
    fn version(&self, path: &Path) -> Result<u32, Error> {
        let version: u32 = self
            .connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|error| failed("open the checkpoint database", path, error))?;
        if version > SCHEMA_VERSION {
            return Err(unsupported(
                path.display().to_string(),
                version,
                SCHEMA_VERSION,
            ));
        }
        Ok(version)
    }

    /// Whether what is open is still what the path names, and so will be found after a restart.
    pub(super) fn is_in_place(&self, path: &Path) -> bool {
        self.identity.is_some() && identity(path) == self.identity
    }

    /// Runs `work` in one transaction that is durable on return.
    pub(super) fn transact<T>(
        &mut self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| failed(operation, path, error))?;
        let outcome = work(&transaction)?;
        transaction
            .commit()
            .map_err(|error| failed(operation, path, error))?;
        Ok(outcome)
    }
}

/// Makes the folder of a database: SQLite syncs the name of its file, and none above it.
fn make_folder_of(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |folder| make_folders(disk, folder, 1))
}

/// Which file a path names. By its name alone: closing a second handle on a database would drop
/// the locks that SQLite holds on it.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().ok().map(|file| (file.dev(), file.ino()))
}

/// Whether the file exists: an open one cannot be removed here.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|_| (0, 0))
}

/// What is stored for one key.
#[derive(Debug)]
pub(super) struct Row {
    /// `CHECKPOINT_CORRUPT` where it is no lease.
    pub(super) lease: Result<Option<LeaseRecord>, Error>,
    pub(super) record: Option<String>,
}

impl Row {
    pub(super) fn read(
        connection: &Connection,
        key: &CursorKey,
        path: &Path,
    ) -> Result<Self, Error> {
        let found = connection
            .prepare_cached(
                "SELECT lease, record FROM wsp_checkpoint WHERE pack_key = ?1 AND output_id = ?2",
            )
            .and_then(|mut select| {
                let key = (key.pack_key().as_str(), key.output_id().as_str());
                select
                    .query_row(key, |row| {
                        Ok((row.get::<_, Option<String>>(0)?, row.get(1)?))
                    })
                    .optional()
            })
            .map_err(|error| failed("read the cursor", path, error))?;
        let Some((lease, record)) = found else {
            return Ok(Self {
                lease: Ok(None),
                record: None,
            });
        };
        let lease: Option<String> = lease;
        let lease = lease
            .map(|text| json_strictly(text.as_bytes()))
            .transpose()
            .map_err(|error| {
                let place = format!("{} row {key}", path.display());
                corrupt(&place, format!("its lease is not one: {error}"))
            });
        Ok(Self { lease, record })
    }

    pub(super) fn write_lease(
        change: &Transaction<'_>,
        key: &CursorKey,
        lease: &LeaseRecord,
        path: &Path,
    ) -> Result<(), Error> {
        change
            .prepare_cached(
                "INSERT INTO wsp_checkpoint (pack_key, output_id, lease) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET lease = excluded.lease",
            )
            .and_then(|mut write| {
                write.execute((
                    key.pack_key().as_str(),
                    key.output_id().as_str(),
                    json(lease),
                ))
            })
            .map_err(|error| failed("write the lease", path, error))?;
        Ok(())
    }

    /// Replaces the record, and adds a line of history.
    pub(super) fn write_record(
        change: &Transaction<'_>,
        key: &CursorKey,
        record: Option<&str>,
        line: &str,
        path: &Path,
    ) -> Result<(), Error> {
        let (pack_key, output_id) = (key.pack_key().as_str(), key.output_id().as_str());
        let write = || {
            change
                .prepare_cached(
                    "UPDATE wsp_checkpoint SET record = ?3 WHERE pack_key = ?1 AND output_id = ?2",
                )?
                .execute((pack_key, output_id, record))?;
            let entry: i64 = change
                .prepare_cached(
                    "INSERT INTO wsp_checkpoint_history
                     SELECT ?1, ?2, 1 + coalesce(max(entry), 0), ?3 FROM wsp_checkpoint_history
                     WHERE pack_key = ?1 AND output_id = ?2 RETURNING entry",
                )?
                .query_row((pack_key, output_id, line), |row| row.get(0))?;
            change
                .prepare_cached(
                    "DELETE FROM wsp_checkpoint_history
                     WHERE pack_key = ?1 AND output_id = ?2 AND entry <= ?3",
                )?
                .execute((pack_key, output_id, entry - HISTORY_LINES))
        };
        write().map_err(|error| failed("write the cursor", path, error))?;
        Ok(())
    }
}

/// The newest lines of a key, newest first.
pub(super) fn history(
    connection: &Connection,
    key: &CursorKey,
    limit: usize,
) -> rusqlite::Result<Vec<String>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT line FROM wsp_checkpoint_history WHERE pack_key = ?1 AND output_id = ?2
             ORDER BY entry DESC LIMIT ?3",
        )?
        .query_map(
            (key.pack_key().as_str(), key.output_id().as_str(), limit),
            |row| row.get(0),
        )?
        .collect()
}

/// SQLite's error as ours, with what to do about it.
pub(super) fn failed(operation: &'static str, path: &Path, source: rusqlite::Error) -> Error {
    let place = path.display().to_string();
    let advice = match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            return corrupt(place, "it is not a whole SQLite database").because(source);
        }
        Some(ErrorCode::DiskFull) => path_fault::advice(io::ErrorKind::StorageFull),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            path_fault::advice(io::ErrorKind::PermissionDenied)
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            // In WAL mode the locks are on the index beside the database.
            let beside = |ending: &str| {
                let mut name = path.as_os_str().to_owned();
                name.push(ending);
                PathBuf::from(name)
            };
            let (index, log) = (beside("-shm"), beside("-wal"));
            return path_fault::locked(operation, path, &[&index, path, &log]);
        }
        _ => path_fault::advice(io::ErrorKind::Other),
    };
    unavailable(operation, place, advice).because(source)
}

#[cfg(test)]
mod tests {
    use durable::simulated::{Careless, CrashDisk};

    use super::*;

    #[test]
    fn no_crash_loses_the_folders_of_a_database() {
        let path = Path::new("/checkpoints/of/wsp.sqlite");
        for careless in [Careless::Not, Careless::AboutNames] {
            let disk = CrashDisk::new(careless);
            make_folder_of(&disk, path).unwrap();
            disk.promise(1);
            let mut lost = false;
            disk.each_crash(|promised, crashed| {
                lost |= promised == 1 && !crashed.is_dir(path.parent().unwrap()).unwrap();
                !lost
            });
            assert_eq!(lost, careless == Careless::AboutNames, "{careless:?}");
        }
    }
}
