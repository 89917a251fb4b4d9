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

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use model::Clock as _;
use rusqlite::{Connection, Transaction};

use self::database::{Database, Row, failed};
use crate::blocking::blocking;
use crate::error::{Error, unavailable};
use crate::key::CursorKey;
use crate::lease::{LeaseRequest, SessionId};
use crate::path_fault;
use crate::sessions::{SessionLock, Sessions};
use crate::slots::{
    Act, Change, Life, Needs, Observer, RecordChange, Slot, Slots, StoredRecord, decide_all,
};

/// What the name of the sessions' folder adds to the file's.
const SESSIONS: &str = ".sessions";

/// The path with an ending added to its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}

/// A store of cursors in one SQLite file. Clones share the open file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    sessions: Sessions,
    observer: Observer,
    database: Mutex<Option<Database>>,
}

impl SqliteStore {
    /// The store in a file, which is made when the first lease is taken.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_observer(path, Observer::default())
    }

    /// The store in a file, by another clock and chance than the machine's.
    pub fn with_observer(path: impl Into<PathBuf>, observer: Observer) -> Self {
        let path = path.into();
        Self {
            inner: Arc::new(Inner {
                sessions: Sessions::new(beside(&path, SESSIONS)),
                path,
                observer,
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

    /// Reads by `work`; its default where there is no file yet.
    async fn look<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let mut slot = inner.database();
            if slot.is_none() {
                *slot = Database::open(&inner.path)?;
            }
            slot.as_ref()
                .map_or_else(|| Ok(T::default()), |open| work(&inner, &open.connection))
        })
        .await
    }
}

#[async_trait]
impl Slots for SqliteStore {
    type Proof = SessionLock;

    fn location(&self) -> String {
        self.inner.path.display().to_string()
    }

    fn observer(&self) -> &Observer {
        &self.inner.observer
    }

    async fn read(&self, key: &CursorKey, needs: Needs) -> Result<Slot, Error> {
        let key = key.clone();
        self.look(move |inner, open| inner.slot(open, &key, needs))
            .await
    }

    async fn lines(&self, key: &CursorKey, limit: usize) -> Result<Vec<String>, Error> {
        let key = key.clone();
        self.look(move |inner, open| {
            database::history(open, &key, limit)
                .map_err(|error| failed("read the history", &inner.path, error))
        })
        .await
    }

    async fn begin(
        &self,
        session: &SessionId,
        _request: &LeaseRequest,
    ) -> Result<SessionLock, Error> {
        let (inner, session) = (Arc::clone(&self.inner), session.clone());
        blocking(move || inner.start(&session)).await
    }

    async fn edit<T, F>(
        &self,
        act: Act,
        _proof: &Arc<SessionLock>,
        keys: Vec<CursorKey>,
        decide: F,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static,
    {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            inner.change(act.operation(), |inner, change| {
                let mut slots = Vec::with_capacity(keys.len());
                for key in keys {
                    let slot = inner.slot(change, &key, act.needs())?;
                    slots.push((key, slot));
                }
                let mut told = Vec::with_capacity(slots.len());
                for (key, to, said) in decide_all(slots, &decide)? {
                    inner.write(change, &key, to)?;
                    told.push(said);
                }
                Ok(told)
            })
        })
        .await
    }

    fn set_named(&self, proof: &SessionLock, is_named: bool) {
        proof.set_named(is_named);
    }

    fn renewed(&self, proof: &SessionLock) {
        proof.keep();
    }
}

impl Inner {
    fn database(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, open: &Connection, key: &CursorKey, needs: Needs) -> Result<Slot, Error> {
        let row = Row::read(open, key, &self.path)?;
        let life = match &row.lease {
            Ok(Some(lease)) if needs.life => self.life_of(&lease.session)?,
            _ => Life::Unknown,
        };
        let place = format!("{} row {key}", self.path.display());
        let record = row.record.filter(|_| needs.record);
        let lease = row.lease.as_ref().ok().and_then(Option::as_ref);
        Ok(Slot {
            stamp: lease.map_or(0, |lease| lease.renewals),
            record: record.map(|text| StoredRecord::parse(text, key, &place)),
            lease: row.lease,
            life,
            may_expire: true,
        })
    }

    fn write(&self, change: &Transaction<'_>, key: &CursorKey, to: Change) -> Result<(), Error> {
        if let Some(lease) = &to.lease {
            Row::write_lease(change, key, lease, &self.path)?;
        }
        match to.record {
            RecordChange::Keep => Ok(()),
            RecordChange::Save(record) => {
                let record = record.to_json();
                Row::write_record(change, key, Some(&record), &record, &self.path)
            }
            RecordChange::Remove(line) => Row::write_record(change, key, None, &line, &self.path),
        }
    }

    fn life_of(&self, session: &SessionId) -> Result<Life, Error> {
        self.sessions.life(session).map_err(|error| {
            path_fault::at_path("look at the holder's lock", self.sessions.folder(), error)
        })
    }

    /// Makes the file if need be, and the session's lock.
    fn start(&self, session: &SessionId) -> Result<SessionLock, Error> {
        let mut slot = self.database();
        if slot
            .as_ref()
            .is_none_or(|database| !database.is_in_place(&self.path))
        {
            *slot = Some(Database::create(&self.path, self.observer.clock())?);
        }
        self.sessions
            .start(session, self.observer.clock().wall())
            .map_err(|error| path_fault::at_path("lock the session", self.sessions.folder(), error))
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
}

fn gone(operation: &'static str, path: &Path) -> Error {
    unavailable(
        operation,
        path.display().to_string(),
        "The database file is gone: bring it back, or start the stream anew",
    )
}
