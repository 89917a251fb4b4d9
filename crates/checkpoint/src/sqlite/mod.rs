//! Cursors in one SQLite file: WAL, `synchronous = FULL`, one transaction a save.
//!
//! ```text
//! <path>                        table wsp_checkpoint          lease and record a key, as JSON
//!                               table wsp_checkpoint_history  one line a save, the last 1000 a key
//! <path>.sessions/<id>.lock     OS lock, held while its lease lives
//! ```
//!
//! Every change is one `BEGIN IMMEDIATE` transaction that first compares the fence. SQLite goes on
//! writing into a file that was deleted under it; so after each commit the path is looked at
//! again, and a save into nowhere is `CHECKPOINT_UNAVAILABLE`.

mod database;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod troubles;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rusqlite::Transaction;

use self::database::{Database, Row, failed};
use crate::blocking::blocking;
use crate::clock::{Clock, SystemClock, utc_text};
use crate::cursor::Cursor;
use crate::error::Error;
use crate::key::CursorKey;
use crate::lease::{
    Evidence, Lease, LeaseRecord, LeaseRequest, LeaseState, Observations, SessionId, check_free,
    check_shown,
};
use crate::record::{HistoryEntry, Record, Wire, reset_line};
use crate::sessions::{Life, SessionLock, Sessions};
use crate::store::CheckpointStore;
use crate::unavailable;

/// What the name of the sessions' folder adds to the file's.
const SESSIONS: &str = ".sessions";

/// The path with an ending added to its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}

/// Cursors in one SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    sessions: Sessions,
    observed: Mutex<Observations>,
    database: Mutex<Option<Database>>,
}

impl SqliteStore {
    /// The store in a file, which is made when the first lease is taken.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_clock(path, Arc::new(SystemClock::default()))
    }

    /// The same, by another clock.
    pub fn with_clock(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let path = path.into();
        Self {
            inner: Arc::new(Inner {
                sessions: Sessions::new(beside(&path, SESSIONS)),
                path,
                clock,
                observed: Mutex::default(),
                database: Mutex::default(),
            }),
        }
    }

    /// Every file and folder that the store writes, so that a caller can look where symlinks
    /// lead them.
    pub fn places(&self) -> Vec<PathBuf> {
        let path = &self.inner.path;
        let besides = [SESSIONS, "-wal", "-shm", "-journal"].map(|ending| beside(path, ending));
        [path.clone()].into_iter().chain(besides).collect()
    }

    /// Runs `work` in one transaction on a blocking thread.
    async fn change<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Inner, &Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.change(operation, |inner, change| work(inner, change))).await
    }

    /// Reads by `work`; its default where there is no file yet.
    async fn read<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let mut slot = inner.database();
            if slot.is_none() {
                *slot = Database::open(&inner.path)?;
            }
            slot.as_ref()
                .map_or_else(|| Ok(T::default()), |database| work(&inner, database))
        })
        .await
    }
}

#[async_trait]
impl CheckpointStore for SqliteStore {
    fn place(&self) -> String {
        self.inner.path.display().to_string()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        let key = key.clone();
        self.read(move |inner, database| {
            let row = Row::read(&database.connection, &key, &inner.path)?;
            inner.parse(&key, row.record.as_deref())
        })
        .await
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        let key = key.clone();
        self.read(move |inner, database| {
            let Some(row) = Row::read(&database.connection, &key, &inner.path)?.lease else {
                return Ok(None);
            };
            let life = inner.life_of(&row.session)?;
            Ok(row.to_state(life.is_alive()))
        })
        .await
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let key = key.clone();
        self.read(move |inner, database| {
            let lines = database::history(&database.connection, &key, limit)
                .map_err(|error| failed("read the history", &inner.path, error))?;
            Ok(lines
                .iter()
                .filter_map(|line| HistoryEntry::parse(line, &key))
                .collect())
        })
        .await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        let (inner, request) = (Arc::clone(&self.inner), request.clone());
        blocking(move || {
            let session = SessionId::new();
            let proof = inner.start(&session)?;
            proof.will_be_named();
            let taken = inner.change("take the lease", |inner, change| {
                inner.acquire(change, &request, &session)
            });
            if matches!(taken, Err(Error::LeaseHeld { .. })) {
                proof.will_be_named_no_more();
            }
            Ok(Lease::granted(session, taken?, request.period, proof))
        })
        .await
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let lease = lease.share();
        self.change("renew the lease", move |inner, change| {
            for key in lease.keys() {
                let row = Row::read(change, key, &inner.path)?;
                let mut renewed = check_shown(key, row.lease, &lease)?;
                renewed.renew(inner.now_text());
                Row::write_lease(change, key, &renewed, &inner.path)?;
            }
            lease.proof::<SessionLock>()?.keep();
            Ok(())
        })
        .await
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        let (lease, cursors) = (lease.share(), cursors.clone());
        self.change("save the cursors", move |inner, change| {
            cursors
                .iter()
                .try_for_each(|(key, cursor)| inner.save(change, &lease, key, cursor))
        })
        .await
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        let (lease, key) = (lease.share(), key.clone());
        self.change("reset the cursor", move |inner, change| {
            lease.fence_to_show(&key)?;
            let row = Row::read(change, &key, &inner.path)?;
            check_shown(&key, row.lease, &lease)?;
            let Some(record) = row.record else {
                return Ok(());
            };
            let line = reset_line(inner.now_text(), record.as_bytes());
            Row::write_record(change, &key, None, &line, &inner.path)
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let released = lease.share();
        self.change("release the lease", move |inner, change| {
            let lease = released;
            for key in lease.keys() {
                if let Some(mut row) = Row::read(change, key, &inner.path)?.lease
                    && row.release(&lease)
                {
                    Row::write_lease(change, key, &row, &inner.path)?;
                }
            }
            Ok(())
        })
        .await?;
        lease.proof::<SessionLock>()?.will_be_named_no_more();
        Ok(())
    }
}

impl Inner {
    fn database(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_text(&self) -> String {
        utc_text(self.clock.utc_now())
    }

    fn parse(&self, key: &CursorKey, record: Option<&str>) -> Result<Option<Record>, Error> {
        let place = || format!("{} row {key}", self.path.display());
        record
            .map(|text| Record::parse(text.as_bytes(), key, &place()))
            .transpose()
    }

    fn life_of(&self, session: &SessionId) -> Result<Life, Error> {
        self.sessions.life(session).map_err(|error| {
            unavailable::at_path("look at the holder's lock", self.sessions.folder(), error)
        })
    }

    /// Makes the file if need be, and the session's lock.
    fn start(&self, session: &SessionId) -> Result<SessionLock, Error> {
        let mut slot = self.database();
        if slot
            .as_ref()
            .is_none_or(|database| !database.is_in_place(&self.path))
        {
            *slot = Some(Database::create(&self.path)?);
        }
        self.sessions.start(session).map_err(|error| {
            unavailable::at_path("lock the session", self.sessions.folder(), error)
        })
    }

    fn change<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Inner, &Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut slot = self.database();
        if slot
            .as_ref()
            .is_none_or(|database| !database.is_in_place(&self.path))
        {
            *slot = Database::open(&self.path)?;
        }
        let Some(database) = slot.as_mut() else {
            return Err(gone(operation, &self.path));
        };
        let outcome = database.transact(operation, &self.path, |change| work(self, change))?;
        if !database.is_in_place(&self.path) {
            return Err(gone(operation, &self.path));
        }
        Ok(outcome)
    }

    fn acquire(
        &self,
        change: &Transaction<'_>,
        request: &LeaseRequest,
        session: &SessionId,
    ) -> Result<BTreeMap<CursorKey, u64>, Error> {
        let mut free = Ok(());
        let mut takes = Vec::with_capacity(request.keys.len());
        // Every lease is looked at before one in the way is told of: all are watched for
        // their expiry from the first try on.
        for key in &request.keys {
            let row = Row::read(change, key, &self.path)?;
            let this = check_free(key, row.lease.as_ref(), request.take_over, |row| {
                if self.life_of(&row.session)? == Life::Ended {
                    return Ok(Evidence::Dead);
                }
                let now = self.clock.monotonic();
                let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
                let is_expired = observed.is_expired(key, row, row.renewals, now);
                Ok(if is_expired {
                    Evidence::Expired
                } else {
                    Evidence::Current
                })
            });
            free = free.and(this);
            takes.push((key, row));
        }
        free?;
        let mut fences = BTreeMap::new();
        for (key, row) in takes {
            let fence = row.lease.map_or(0, |row| row.fence) + 1;
            let taken = LeaseRecord::taken(request, session, fence, self.now_text());
            Row::write_lease(change, key, &taken, &self.path)?;
            fences.insert(key.clone(), fence);
        }
        Ok(fences)
    }

    fn save(
        &self,
        change: &Transaction<'_>,
        lease: &Lease,
        key: &CursorKey,
        cursor: &Cursor,
    ) -> Result<(), Error> {
        lease.fence_to_show(key)?;
        let row = Row::read(change, key, &self.path)?;
        check_shown(key, row.lease, lease)?;
        let stored = self.parse(key, row.record.as_deref())?;
        let next = Wire::following(stored.as_ref(), key, cursor, lease, || self.now_text())?;
        next.map_or(Ok(()), |wire| {
            let record = wire.to_json();
            Row::write_record(change, key, Some(&record), &record, &self.path)
        })
    }
}

fn gone(operation: &'static str, path: &Path) -> Error {
    Error::Unavailable {
        operation,
        place: path.display().to_string(),
        advice: "The database file is gone: bring it back, or start the stream anew",
        source: None,
    }
}
