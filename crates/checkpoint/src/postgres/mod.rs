//! Cursors in Postgres, in the table that the existing producer knows.
//!
//! ```text
//! wsp_checkpoint          the record of a key, in columns (the first six are the existing producer's)
//! wsp_checkpoint_lease    fence, session, holder, expiry of the last taker
//! wsp_checkpoint_history  one line a save, at least the last 1000 a key
//! wsp_checkpoint_schema   the version of these tables
//! ```
//!
//! Each change is one transaction that locks the lease rows of its keys in key order, reads the
//! records, and writes them in a statement that compares fence, session and sequence once more.
//! A lease also holds a session advisory lock on a connection of its own: when that is gone, so is
//! its holder, and the next may take the lease at once. The lease names the life of the server in
//! which the lock was taken, and only there does a missing lock say anything: after a restart, or
//! a failover to a standby, a holder is not known to be dead until it has taken its lock anew,
//! with its next renewal. Else a lease is over once its period has passed by the server's clock
//! and it was also seen unchanged for that long: neither a clock that was set forward nor that of
//! another server ends the lease of a holder that lives.
//!
//! Behind a pooler, session advisory locks need session pooling.
//!
//! A `wsp_checkpoint` that was dropped while the other tables stand is no table without cursors:
//! it is refused. Where a session lives that holds leases, its next save or renewal makes the table
//! again, with the rows of its keys as it last read or wrote them: its fences never went away.

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tls_tests;
#[cfg(test)]
mod troubles;
mod link;
mod rows;
mod schema;
mod fault;
mod tls;
mod dsn;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use deadpool_postgres::{Object, Transaction};
use tokio::sync::Mutex;
use tokio_postgres::Client;

use self::fault::{failed, says_no_table};
use self::link::Link;
use self::rows::{SERVER_LIFE, StoredLease, advisory_lock, read_leases, read_records};
use self::schema::Shape;
use crate::error::{Error, corrupt, lost, table_missing, unavailable};
use crate::key::CursorKey;
use crate::lease::{LeaseRecord, LeaseRequest, SessionId};
use crate::record::Wire;
use crate::slots::{
    Act, Change, Life, Needs, Observer, RecordChange, Slot, Slots, StoredRecord, decide_all,
};

/// A store of cursors in tables of a Postgres database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Link,
    /// Whether the tables are known to have this release's shape.
    is_current: AtomicBool,
    /// Whether they are known to have what this release adds to that shape, too.
    is_migrated: AtomicBool,
    /// How often a dropped table was made again.
    times_remade: AtomicU64,
    observer: Observer,
}

/// What a lease of a [`PostgresStore`] proves: a connection that holds the session's advisory lock.
pub struct Session {
    id: SessionId,
    /// Holds the advisory lock. Made anew when it broke.
    alive: Mutex<Alive>,
    /// The leases as they were taken: a release needs no look at them.
    taken: OnceLock<BTreeMap<CursorKey, LeaseRecord>>,
    /// Whether it makes a dropped table again without its rows.
    gives_up_deleted: bool,
    /// The rows of its keys, whole, as it last read or wrote them.
    rows: SyncMutex<BTreeMap<CursorKey, String>>,
}

impl Session {
    /// Remembers what stands in the table now, by a transaction that was committed.
    fn remember(&self, rows: Vec<rows::WholeRow>) {
        let mut known = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(rows);
    }

    fn forget(&self, keys: &[CursorKey]) {
        let mut known = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, _| !keys.contains(key));
    }

    /// Whether this session wrote the row of one of `keys` before.
    fn has_written_any(&self, keys: &[CursorKey]) -> bool {
        let known = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().any(|key| known.contains_key(key))
    }

    fn remembered(&self) -> Vec<(CursorKey, String)> {
        let known = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect()
    }
}

/// A connection that holds a session's advisory lock.
struct Alive {
    client: Client,
    /// The life of the server that it is connected to, in which the lock was taken.
    server_life: String,
}

impl PostgresStore {
    /// The store in a database, named by a libpq connection string. Connects when it is first
    /// used; makes or migrates the tables when the first lease is taken.
    ///
    /// # Errors
    /// `CHECKPOINT_CONFIG_INVALID` if the DSN or its TLS settings cannot be used.
    pub fn new(dsn: &str) -> Result<Self, Error> {
        Self::with_observer(dsn, Observer::default())
    }

    /// The store in a database, by another clock and chance than the machine's.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_observer(dsn: &str, observer: Observer) -> Result<Self, Error> {
        Ok(Self {
            inner: Arc::new(Inner {
                link: Link::new(dsn, observer.clock().clone())?,
                is_current: AtomicBool::new(false),
                is_migrated: AtomicBool::new(false),
                times_remade: AtomicU64::new(0),
                observer,
            }),
        })
    }

    /// Runs SQL that gives no rows.
    #[cfg(test)]
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), Error> {
        let place = &self.inner.link.place();
        let run = async |client: Object| {
            let done = client.batch_execute(sql).await;
            done.map_err(|error| failed("run SQL", place, error))
        };
        self.inner.link.run("run SQL", run).await
    }
}

#[async_trait]
impl Slots for PostgresStore {
    type Proof = Session;

    fn location(&self) -> String {
        self.inner.link.place()
    }

    fn observer(&self) -> &Observer {
        &self.inner.observer
    }

    async fn read(&self, key: &CursorKey, needs: Needs) -> Result<Slot, Error> {
        let (inner, place) = (&*self.inner, &self.location());
        let read = async |client: Object| {
            let shape = inner.shape(&client, place).await?;
            let mut slot = Slot::default();
            if needs.record && shape == Shape::Dropped {
                return Err(table_missing(place));
            }
            if needs.record && shape != Shape::Absent {
                let is_old = shape == Shape::Old;
                let rows = read_records(&client, &[key], is_old, place).await?;
                slot.record = rows.into_iter().next().flatten();
            }
            if needs.lease && shape == Shape::Current {
                let mut leases = read_leases(&client, &[key], false, place).await?;
                if let Some(lease) = leases.remove(key) {
                    slot.life = inner.life_of(&client, &lease, needs).await?;
                    slot.lease = Ok(Some(lease.row));
                }
            }
            Ok(slot)
        };
        let operation = if needs.record {
            "read the cursor"
        } else {
            "read the lease"
        };
        let outcome = inner.link.run(operation, read).await;
        inner.say_if_dropped(operation, outcome).await
    }

    async fn server_time(&self) -> Result<Option<SystemTime>, Error> {
        let (operation, place) = ("read the server's clock", &self.location());
        let read = async |client: Object| {
            let micros = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
            let row = client.query_one(micros, &[]).await;
            let row = row.map_err(|error| failed(operation, place, error))?;
            let micros = row.try_get::<_, i64>(0);
            micros.map_err(|error| corrupt(place, "its clock says no time").because(error))
        };
        let micros = self.inner.link.run(operation, read).await?;
        let since = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
        Ok(Some(SystemTime::UNIX_EPOCH + since))
    }

    async fn lines(&self, key: &CursorKey, limit: usize) -> Result<Vec<String>, Error> {
        let (inner, place) = (&*self.inner, &self.location());
        let read = async |client: Object| {
            if inner.shape(&client, place).await? != Shape::Current {
                return Ok(Vec::new());
            }
            rows::read_history(&client, key, limit, place).await
        };
        inner.link.run("read the history", read).await
    }

    fn remakes(&self) -> u64 {
        self.inner.times_remade.load(Ordering::Relaxed)
    }

    async fn begin(&self, session: &SessionId, request: &LeaseRequest) -> Result<Session, Error> {
        let inner = &*self.inner;
        let come_alive = || inner.come_alive(session);
        let alive = inner.link.persist("lock the session", come_alive).await?;
        Ok(Session {
            id: session.clone(),
            alive: Mutex::new(alive),
            taken: OnceLock::new(),
            gives_up_deleted: request.gives_up_deleted,
            rows: SyncMutex::default(),
        })
    }

    async fn edit<T, F>(
        &self,
        act: Act,
        proof: &Arc<Session>,
        keys: Vec<CursorKey>,
        decide: F,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static,
    {
        let (inner, keys, decide) = (&*self.inner, &keys, &decide);
        let edit = async |client: Object| match act {
            Act::Release => inner.release(client, proof, keys, decide).await,
            _ => inner.edit(client, act, proof, keys, decide).await,
        };
        let mut outcome = inner.link.run(act.operation(), edit).await;
        let is_held = matches!(act, Act::Save | Act::Renew);
        if is_held && outcome.as_ref().is_err_and(says_no_table) {
            let remake = async |client: Object| inner.remake(client, proof).await;
            inner
                .link
                .run("make the dropped table again", remake)
                .await?;
            outcome = inner.link.run(act.operation(), edit).await;
        }
        inner.say_if_dropped(act.operation(), outcome).await
    }
}

/// What an edit writes, told apart by statement.
#[derive(Default)]
struct Writes {
    leases: BTreeMap<CursorKey, LeaseRecord>,
    records: Vec<(CursorKey, Wire)>,
    removed: Vec<(CursorKey, String)>,
}

impl Writes {
    fn add(&mut self, key: CursorKey, change: Change) {
        if let Some(lease) = change.lease {
            self.leases.insert(key.clone(), lease);
        }
        match change.record {
            RecordChange::Keep => {}
            RecordChange::Save(record) => self.records.push((key, *record.0)),
            RecordChange::Remove(line) => self.removed.push((key, line)),
        }
    }

    /// Writes records and lines of history, where the session still has the lease of each; gives
    /// the rows as they stand then.
    async fn write_records(
        &self,
        change: &Transaction<'_>,
        session: &SessionId,
        place: &str,
    ) -> Result<rows::Saved, Error> {
        let mut saved = rows::Saved::default();
        if let Some((first, _)) = self.records.first() {
            saved = rows::write_records(change, session, &self.records, place).await?;
            if saved.rows.len() != self.records.len() {
                let fault = "another writer changed its row in the same moment";
                return Err(lost(first, fault));
            }
        }
        for (key, line) in &self.removed {
            rows::remember(change, &[(key, line.as_str())], place).await?;
            rows::delete_record(change, key, place).await?;
        }
        Ok(saved)
    }
}

impl Inner {
    /// The shape of the tables; asked once they are current, no more.
    async fn shape(&self, client: &Object, place: &str) -> Result<Shape, Error> {
        if self.is_current.load(Ordering::Relaxed) {
            return Ok(Shape::Current);
        }
        let shape = schema::shape(client, place).await?;
        self.is_current
            .store(shape == Shape::Current, Ordering::Relaxed);
        Ok(shape)
    }

    /// A connection that holds the session's advisory lock, before anyone hears of the session.
    async fn come_alive(&self, session: &SessionId) -> Result<Alive, Error> {
        let operation = "lock the session";
        let client = self.link.connect(operation).await?;
        let lock = format!("SELECT pg_try_advisory_lock($1), {SERVER_LIFE}");
        let row = client
            .query_one(&lock, &[&advisory_lock(session)])
            .await
            .map_err(|error| failed(operation, &self.link.place(), error))?;
        if row.get(0) {
            let server_life = row.get(1);
            return Ok(Alive {
                client,
                server_life,
            });
        }
        Err(unavailable(
            operation,
            self.link.place(),
            "The server has not yet noticed that the connection before it ended: wait",
        ))
    }

    /// What the server says of a lease's holder, if that is needed and anybody holds it.
    async fn life_of(
        &self,
        client: &impl deadpool_postgres::GenericClient,
        lease: &StoredLease,
        needs: Needs,
    ) -> Result<Life, Error> {
        if !needs.life || lease.row.released {
            return Ok(Life::Unknown);
        }
        let is_alive = rows::is_alive(client, lease, &self.link.place()).await?;
        Ok(match is_alive {
            Some(true) => Life::Living,
            Some(false) => Life::Ended,
            None => Life::Unknown,
        })
    }

    /// The slots of keys, their leases locked in the order of the keys.
    ///
    /// One after the other: a record read before its lease is locked may be another's by then.
    async fn slots(
        &self,
        change: &Transaction<'_>,
        keys: &[CursorKey],
        needs: Needs,
    ) -> Result<Vec<(CursorKey, Slot)>, Error> {
        let place = &self.link.place();
        let keys: Vec<&CursorKey> = keys.iter().collect();
        let mut leases = read_leases(change, &keys, true, place).await?;
        let mut records: Vec<Option<StoredRecord>> = keys.iter().map(|_| None).collect();
        if needs.record {
            records = read_records(change, &keys, false, place).await?;
        }
        let mut slots = Vec::with_capacity(keys.len());
        for (key, record) in keys.into_iter().zip(records) {
            let mut slot = Slot::new(None, Life::Unknown, record);
            if let Some(lease) = leases.remove(key) {
                slot.life = self.life_of(change, &lease, needs).await?;
                slot.stamp = lease.row.renewals;
                // Its clock alone condemns nobody: one that was set forward, or the other one of a
                // standby that was promoted, would end every lease.
                slot.may_expire = lease.is_expired;
                slot.lease = Ok(Some(lease.row));
            }
            slots.push((key.clone(), slot));
        }
        Ok(slots)
    }

    async fn edit<T>(
        &self,
        mut client: Object,
        act: Act,
        session: &Session,
        keys: &[CursorKey],
        decide: &(impl Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Sync),
    ) -> Result<Vec<T>, Error> {
        let place = &self.link.place();
        if act == Act::Reset {
            // Before it is done: a renewal at the same time must not put the rows back.
            session.forget(keys);
        }
        let writes_leases = matches!(act, Act::Take | Act::Renew);
        // Held to the end: the lease names the life of the server that the lock is held in.
        let mut alive = None;
        if writes_leases {
            let mut held = session.alive.lock().await;
            if held.client.is_closed() {
                *held = self.come_alive(&session.id).await?;
            }
            alive = Some(held);
        }
        if act == Act::Take && !self.is_migrated.load(Ordering::Relaxed) {
            schema::migrate(&mut client, session.gives_up_deleted, place).await?;
            self.is_current.store(true, Ordering::Relaxed);
            self.is_migrated.store(true, Ordering::Relaxed);
        }
        let change = begin(&mut client, place).await?;
        if act == Act::Take {
            rows::ensure_leases(&change, keys, place).await?;
        }
        let slots = self.slots(&change, keys, act.needs()).await?;
        let (mut writes, mut told) = (Writes::default(), Vec::with_capacity(keys.len()));
        for (key, to, said) in decide_all(slots, decide)? {
            writes.add(key, to);
            told.push(said);
        }
        if let Some(alive) = &alive {
            let server_life = &alive.server_life;
            if act == Act::Take {
                rows::take_leases(&change, &writes.leases, server_life, place).await?;
            } else {
                let keys = writes.leases.keys();
                // Both go out at once.
                let ((), ()) = tokio::try_join!(
                    rows::renew_leases(&change, &session.id, keys, server_life, place),
                    self.put_back_missing(&change, session),
                )?;
            }
        }
        let mut saved = writes.write_records(&change, &session.id, place).await?;
        if act == Act::Take {
            saved.rows = rows::whole_rows(&change, keys, place).await?;
        }
        if session.has_written_any(&saved.new) {
            // Another session made the table again without the rows of this one.
            self.put_back_missing(&change, session).await?;
        }
        commit(change, place).await?;
        session.remember(saved.rows);
        if act == Act::Take {
            // Set once: a session takes its leases once.
            let _ = session.taken.set(writes.leases);
        }
        Ok(told)
    }

    /// Puts back the rows that this session wrote and that went away with a table, which another
    /// session made again without them. A row of the existing producer the trigger would keep out.
    async fn put_back_missing(
        &self,
        change: &Transaction<'_>,
        session: &Session,
    ) -> Result<(), Error> {
        let place = &self.link.place();
        let known = session.remembered();
        let keys: Vec<CursorKey> = known.iter().map(|(key, _)| key.clone()).collect();
        let there = rows::whole_rows(change, &keys, place).await?;
        if there.len() == known.len() {
            return Ok(());
        }
        let is_ours = |row: &str| !row.contains("\"sequence\": null");
        let missing = known
            .into_iter()
            .filter(|(key, row)| is_ours(row) && !there.iter().any(|(found, _)| found == key));
        let missing: Vec<String> = missing.map(|(_, row)| row).collect();
        if missing.is_empty() {
            return Ok(());
        }
        rows::put_back(change, &missing, place).await?;
        self.times_remade.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a dropped table again with the session's rows, under the leases that it holds.
    async fn remake(&self, mut client: Object, session: &Session) -> Result<(), Error> {
        let place = &self.link.place();
        let change = begin(&mut client, place).await?;
        // First of all: sessions that each hold rows and wait for the other's table would deadlock.
        schema::lock_migrations(&change, place).await?;
        let known = session.remembered();
        let keys: Vec<&CursorKey> = known.iter().map(|(key, _)| key).collect();
        let leases = read_leases(&change, &keys, true, place).await?;
        let is_held = |key: &&&CursorKey| {
            let lease = leases.get(**key).map(|stored| &stored.row);
            lease.is_some_and(|row| row.session == session.id && !row.released)
        };
        if let Some(key) = keys.iter().find(|key| !is_held(key)) {
            return Err(lost(key, "another took it, and the table was dropped"));
        }
        let rows: Vec<String> = known.iter().map(|(_, row)| row.clone()).collect();
        let put_back = async |change: &Transaction<'_>| rows::put_back(change, &rows, place).await;
        let is_remade = schema::remake(&change, put_back, place).await?;
        commit(change, place).await?;
        if is_remade {
            self.times_remade.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                place,
                cursors = rows.len(),
                "the table wsp_checkpoint was dropped; it was made again with the cursors of this run"
            );
        }
        Ok(())
    }

    /// The outcome of an operation; `CHECKPOINT_TABLE_MISSING` where it failed since the table was
    /// dropped.
    async fn say_if_dropped<T>(
        &self,
        operation: &'static str,
        outcome: Result<T, Error>,
    ) -> Result<T, Error> {
        if !outcome.as_ref().is_err_and(says_no_table) {
            return outcome;
        }
        self.is_current.store(false, Ordering::Relaxed);
        self.is_migrated.store(false, Ordering::Relaxed);
        let place = &self.link.place();
        let look = async |client: Object| schema::shape(&client, place).await;
        match self.link.run(operation, look).await? {
            Shape::Dropped => Err(table_missing(place)),
            _ => outcome,
        }
    }

    /// Gives leases back by one statement, which writes those that are still the session's. It is
    /// decided on the leases as they were taken.
    async fn release<T>(
        &self,
        client: Object,
        session: &Session,
        keys: &[CursorKey],
        decide: &(impl Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Sync),
    ) -> Result<Vec<T>, Error> {
        let slots = keys.iter().map(|key| {
            let lease = session.taken.get().and_then(|taken| taken.get(key));
            (key.clone(), Slot::new(lease.cloned(), Life::Unknown, None))
        });
        let (mut writes, mut told) = (Writes::default(), Vec::new());
        for (key, to, said) in decide_all(slots, decide)? {
            writes.add(key, to);
            told.push(said);
        }
        let keys = writes.leases.keys();
        rows::release_leases(&client, &session.id, keys, &self.link.place()).await?;
        Ok(told)
    }
}

async fn begin<'c>(client: &'c mut Object, place: &str) -> Result<Transaction<'c>, Error> {
    let begun = client.transaction().await;
    begun.map_err(|error| failed("begin a transaction", place, error))
}

async fn commit(change: Transaction<'_>, place: &str) -> Result<(), Error> {
    let committed = change.commit().await;
    committed.map_err(|error| failed("commit the transaction", place, error))
}
