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

mod dsn;
mod fault;
mod link;
mod rows;
mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
#[cfg(test)]
mod tls_tests;
#[cfg(test)]
mod troubles;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use async_trait::async_trait;
use chrono::Utc;
use deadpool_postgres::{Object, Transaction};
use tokio::sync::Mutex;
use tokio_postgres::Client;

use self::fault::failed;
use self::link::Link;
use self::rows::{SERVER_LIFE, StoredRow, advisory_lock, read_leases, read_records};
use self::schema::Shape;
use crate::clock::{Clock as _, SystemClock, utc_text};
use crate::cursor::Cursor;
use crate::error::Error;
use crate::key::CursorKey;
use crate::lease::{
    Evidence, Lease, LeaseRecord, LeaseRequest, LeaseState, Observations, SessionId, check_free,
    check_not_foreign, check_shown, lost,
};
use crate::record::{HistoryEntry, Record, Wire, reset_line};
use crate::store::CheckpointStore;

/// Cursors in Postgres.
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
    suspects: Suspects,
}

/// What a lease of this store proves.
struct Proof {
    /// Holds the advisory lock. Made anew when it broke.
    alive: Mutex<Alive>,
    /// Each key's record as the lease found it, if the existing producer wrote it.
    adopted: BTreeMap<CursorKey, Record>,
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
        Ok(Self {
            inner: Arc::new(Inner {
                link: Link::new(dsn)?,
                is_current: AtomicBool::new(false),
                is_migrated: AtomicBool::new(false),
                suspects: Suspects::default(),
            }),
        })
    }

    /// Runs SQL that gives no rows.
    #[cfg(any(test, feature = "test-support"))]
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), Error> {
        let place = &self.place();
        let run = async |client: Object| {
            let done = client.batch_execute(sql).await;
            done.map_err(|error| failed("run SQL", place, error))
        };
        self.inner.link.run("run SQL", run).await
    }
}

#[async_trait]
impl CheckpointStore for PostgresStore {
    fn place(&self) -> String {
        self.inner.link.place()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        let (inner, place) = (&*self.inner, &self.place());
        let read = async |client: Object| {
            let is_old = match inner.shape(&client, place).await? {
                Shape::Absent => return Ok(None),
                shape => shape == Shape::Old,
            };
            let row = read_records(&client, &[key], is_old, place).await?.pop();
            row.flatten().map(|row| row.record).transpose()
        };
        inner.link.run("read the cursor", read).await
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        let (inner, place) = (&*self.inner, &self.place());
        let read = async |client: Object| {
            if inner.shape(&client, place).await? != Shape::Current {
                return Ok(None);
            }
            let leases = read_leases(&client, &[key], false, place).await?;
            let Some(lease) = leases.get(key).filter(|lease| !lease.row.released) else {
                return Ok(None);
            };
            let is_alive = rows::is_alive(&client, lease, place).await?;
            Ok(lease.row.to_state(is_alive))
        };
        inner.link.run("read the lease", read).await
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let (inner, place) = (&*self.inner, &self.place());
        let read = async |client: Object| {
            if inner.shape(&client, place).await? != Shape::Current {
                return Ok(Vec::new());
            }
            rows::read_history(&client, key, limit, place).await
        };
        inner.link.run("read the history", read).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        let session = &SessionId::new();
        let inner = &*self.inner;
        let take = async |client: Object| {
            let alive = inner.come_alive(session).await?;
            let taken = inner.take(client, request, session, &alive).await?;
            Ok((alive, taken))
        };
        let (alive, (fences, adopted)) = inner.link.run("take the leases", take).await?;
        let proof = Proof {
            alive: Mutex::new(alive),
            adopted,
        };
        let session = session.clone();
        Ok(Lease::granted(session, fences, request.period, proof))
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let (inner, place) = (&*self.inner, &self.place());
        let proof = lease.proof::<Proof>()?;
        let renew = async |mut client: Object| {
            let mut alive = proof.alive.lock().await;
            if alive.client.is_closed() {
                *alive = inner.come_alive(lease.session()).await?;
            }
            let change = begin(&mut client, place).await?;
            lock_shown(&change, lease, lease.keys(), place).await?;
            rows::renew_leases(&change, lease, &alive.server_life, place).await?;
            commit(change, place).await
        };
        inner.link.run("renew the leases", renew).await
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        let place = &self.place();
        let save = async |mut client: Object| {
            let change = begin(&mut client, place).await?;
            save(&change, lease, cursors, place).await?;
            commit(change, place).await
        };
        self.inner.link.run("save the cursors", save).await
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        let place = &self.place();
        let reset = async |mut client: Object| {
            lease.fence_to_show(key)?;
            let change = begin(&mut client, place).await?;
            lock_shown(&change, lease, [key], place).await?;
            let stored = read_records(&change, &[key], false, place).await?.pop();
            if let Some(StoredRow { text, .. }) = stored.flatten() {
                let line = reset_line(utc_text(Utc::now()), text.as_bytes());
                rows::remember(&change, &[(key, line)], place).await?;
                rows::delete_record(&change, key, place).await?;
            }
            commit(change, place).await
        };
        self.inner.link.run("reset the cursor", reset).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let place = &self.place();
        let release = async |client: Object| rows::release_leases(&client, lease, place).await;
        self.inner.link.run("release the leases", release).await
    }
}

/// How long leases have been seen unchanged from here: what counts where the server's clock says
/// that a lease is over and the holder's lock that it lives.
#[derive(Debug, Default)]
struct Suspects {
    seen: StdMutex<Observations>,
    clock: SystemClock,
}

impl Suspects {
    /// Whether a lease has stood unchanged for its own period since it was first seen here.
    fn stands_still(&self, key: &CursorKey, lease: &LeaseRecord) -> bool {
        let now = self.clock.monotonic();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_expired(key, lease, lease.renewals, now)
    }
}

type Taken = (BTreeMap<CursorKey, u64>, BTreeMap<CursorKey, Record>);

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
        Err(Error::Unavailable {
            operation,
            place: self.link.place(),
            advice: "The server has not yet noticed that the connection before it ended: wait",
            source: None,
        })
    }

    /// What the server can say about a lease's holder. Its clock alone condemns nobody: one that
    /// was set forward, or the other one of a standby that was promoted, would end every lease.
    /// The holder must have renewed nothing for a whole period, as seen from here.
    async fn evidence(
        &self,
        change: &Transaction<'_>,
        lease: &rows::StoredLease,
        stands_still: bool,
    ) -> Result<Evidence, Error> {
        if lease.row.released {
            return Ok(Evidence::Expired);
        }
        let place = &self.link.place();
        Ok(match rows::is_alive(change, lease, place).await? {
            Some(false) => Evidence::Dead,
            _ if lease.is_expired && stands_still => Evidence::Expired,
            _ => Evidence::Current,
        })
    }

    async fn take(
        &self,
        mut client: Object,
        request: &LeaseRequest,
        session: &SessionId,
        alive: &Alive,
    ) -> Result<Taken, Error> {
        let place = &self.link.place();
        if !self.is_migrated.load(Ordering::Relaxed) {
            schema::migrate(&mut client, place).await?;
            self.is_current.store(true, Ordering::Relaxed);
            self.is_migrated.store(true, Ordering::Relaxed);
        }
        let keys: Vec<&CursorKey> = request.keys.iter().collect();
        let change = begin(&mut client, place).await?;
        rows::ensure_leases(&change, &keys, place).await?;
        let leases = read_leases(&change, &keys, true, place).await?;
        let stored = read_records(&change, &keys, false, place).await?;
        // All of them, also behind one that is held: each is watched from the first look on.
        let still: BTreeSet<&CursorKey> = leases
            .iter()
            .filter(|(key, lease)| self.suspects.stands_still(key, &lease.row))
            .map(|(key, _)| key)
            .collect();
        let (mut fences, mut adopted) = (BTreeMap::new(), BTreeMap::new());
        for (key, stored) in keys.iter().zip(stored) {
            let record = stored.and_then(|row| row.record.ok());
            let mut taken_under = 0;
            if let Some(lease) = leases.get(*key) {
                // Taken before by this very call, whose answer was lost.
                let is_ours = lease.row.session == *session;
                let evidence = self.evidence(&change, lease, still.contains(key)).await?;
                check_free(key, Some(&lease.row), request.take_over || is_ours, |_| {
                    Ok(evidence)
                })?;
                taken_under = lease.row.fence;
            }
            let saved_under = record.as_ref().and_then(|record| record.fence).unwrap_or(0);
            fences.insert((*key).clone(), taken_under.max(saved_under) + 1);
            adopted.extend(
                record
                    .filter(Record::is_foreign)
                    .map(|record| ((*key).clone(), record)),
            );
        }
        let taking = rows::Taking {
            request,
            session,
            server_life: &alive.server_life,
            fences: &fences,
        };
        taking.write(&change, place).await?;
        commit(change, place).await?;
        Ok((fences, adopted))
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

/// Locks the leases of keys, each of which must be the one shown.
async fn lock_shown<'k>(
    change: &Transaction<'_>,
    lease: &Lease,
    keys: impl IntoIterator<Item = &'k CursorKey>,
    place: &str,
) -> Result<(), Error> {
    let keys: Vec<&CursorKey> = keys.into_iter().collect();
    let mut leases = read_leases(change, &keys, true, place).await?;
    for key in keys {
        check_shown(key, leases.remove(key).map(|stored| stored.row), lease)?;
    }
    Ok(())
}

async fn save(
    change: &Transaction<'_>,
    lease: &Lease,
    cursors: &BTreeMap<CursorKey, Cursor>,
    place: &str,
) -> Result<(), Error> {
    let keys: Vec<&CursorKey> = cursors.keys().collect();
    // One after the other: a record read before its lease is locked may be another's by then.
    lock_shown(change, lease, keys.iter().copied(), place).await?;
    let stored = read_records(change, &keys, false, place).await?;
    let adopted = &lease.proof::<Proof>()?.adopted;
    let mut wires = Vec::with_capacity(cursors.len());
    for ((key, cursor), stored) in cursors.iter().zip(stored) {
        let stored = stored.map(|row| row.record).transpose()?;
        check_not_foreign(key, stored.as_ref(), adopted)?;
        let now = || utc_text(Utc::now());
        let next = Wire::following(stored.as_ref(), key, cursor, lease, now)?;
        wires.extend(next.map(|wire| (key, wire)));
    }
    if wires.is_empty() {
        return Ok(());
    }
    let written = rows::write_records(change, lease.session(), &wires, place).await?;
    match wires.first() {
        Some((key, _)) if written != wires.len() as u64 => Err(lost(
            key,
            "another writer changed its row in the same moment",
        )),
        _ => Ok(()),
    }
}
