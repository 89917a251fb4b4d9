//! A store of cursors in one journal file.
//!
//! What a lease, a cursor and a line of history are, and which of them may follow which, the
//! `checkpoint` crate decides; the store only keeps them. Its own part is this: an act is
//! written to the journal and synced before anybody sees it, a line that a crash cut short is
//! nothing, and the journal is locked, so that no second process writes it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Error as IoError, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use checkpoint::lease::{Evidence, LeaseRecord, Observations, SessionId, check_free, check_shown};
use checkpoint::record::{next_record, reset_line};
use checkpoint::{
    CheckpointStore, Clock, Cursor, CursorKey, Error, HistoryEntry, Lease, LeaseRequest,
    LeaseState, PackKey, Record, utc_text,
};
use serde::{Deserialize, Serialize};

/// Cursors in one journal file. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct JournalStore {
    path: Arc<Path>,
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct State {
    /// Locked for as long as the store is open.
    journal: File,
    slots: BTreeMap<CursorKey, Slot>,
    observed: Observations,
}

/// What the journal says of a key.
#[derive(Clone, Debug, Default)]
struct Slot {
    lease: Option<LeaseRecord>,
    /// Gone with the lease; never there for one that another process took.
    holder: Weak<()>,
    record: Option<String>,
    history: Vec<String>,
}

/// One line of the journal holds all changes of one act: they come about together.
#[derive(Serialize, Deserialize)]
struct Change {
    pack_key: String,
    output_id: String,
    act: Act,
}

#[derive(Clone, Serialize, Deserialize)]
enum Act {
    Lease(LeaseRecord),
    Record(String),
    Reset(String),
}

impl Slot {
    fn apply(&mut self, act: Act) {
        match act {
            Act::Lease(lease) => self.lease = Some(lease),
            Act::Record(record) => {
                self.history.push(record.clone());
                self.record = Some(record);
            }
            Act::Reset(line) => {
                self.history.push(line);
                self.record = None;
            }
        }
    }

    fn parse(&self, key: &CursorKey, place: &str) -> Result<Option<Record>, Error> {
        let record = self.record.as_deref();
        record
            .map(|record| Record::parse(record.as_bytes(), key, place))
            .transpose()
    }
}

impl JournalStore {
    /// Opens a journal, or begins one.
    pub(crate) fn open(
        path: PathBuf,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut journal = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)?;
        journal.try_lock()?;
        if let Some(folder) = path.parent() {
            // Or a crash might lose the name of a new journal.
            File::open(folder)?.sync_all()?;
        }
        let (mut slots, mut whole) = (BTreeMap::<_, Slot>::new(), 0);
        let mut lines = BufReader::new(&journal);
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            let Some(text) = line.strip_suffix('\n') else {
                break;
            };
            for Change {
                pack_key,
                output_id,
                act,
            } in serde_json::from_str::<Vec<Change>>(text)?
            {
                let key = CursorKey::new(PackKey::parse(&pack_key)?, &output_id)?;
                slots.entry(key).or_default().apply(act);
            }
            whole += line.len() as u64;
        }
        // A line that a crash cut short was never acknowledged.
        journal.set_len(whole)?;
        journal.seek(SeekFrom::Start(whole))?;
        let observed = Observations::default();
        Ok(Self {
            path: path.into(),
            state: Arc::new(Mutex::new(State {
                journal,
                slots,
                observed,
            })),
            clock,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> String {
        utc_text(self.clock.utc_now())
    }

    fn failed(&self, source: IoError) -> Error {
        Error::Unavailable {
            operation: "write the journal",
            place: self.place(),
            advice: "Look after the disk and the folder",
            source: Some(Box::new(source)),
        }
    }
}

impl State {
    fn slot(&self, key: &CursorKey) -> Slot {
        self.slots.get(key).cloned().unwrap_or_default()
    }

    /// Writes what is to happen, syncs it, and only then lets it happen.
    fn commit(&mut self, acts: Vec<(CursorKey, Act)>) -> Result<(), IoError> {
        if acts.is_empty() {
            return Ok(());
        }
        let changes = acts.iter().map(|(key, act)| Change {
            pack_key: key.pack_key().as_str().to_owned(),
            output_id: key.output_id().to_string(),
            act: act.clone(),
        });
        let mut line = serde_json::to_vec(&changes.collect::<Vec<_>>())?;
        line.push(b'\n');
        let end = self.journal.stream_position()?;
        let written = self
            .journal
            .write_all(&line)
            .and_then(|()| self.journal.sync_data());
        if let Err(error) = written {
            // What was written in part must not stand before the next line.
            self.journal.set_len(end)?;
            self.journal.seek(SeekFrom::Start(end))?;
            return Err(error);
        }
        for (key, act) in acts {
            self.slots.entry(key).or_default().apply(act);
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl CheckpointStore for JournalStore {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        self.state().slot(key).parse(key, &self.place())
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        let slot = self.state().slot(key);
        let alive = Some(slot.holder.strong_count() > 0);
        Ok(slot.lease.and_then(|lease| lease.to_state(alive)))
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let slot = self.state().slot(key);
        let lines = slot.history.iter().rev();
        Ok(lines
            .filter_map(|line| HistoryEntry::parse(line, key))
            .take(limit)
            .collect())
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        let mut free = Ok(());
        // Each is looked at before one in the way is told of: all periods begin to pass.
        for key in &request.keys {
            let Slot { lease, holder, .. } = state.slot(key);
            let this = check_free(key, lease.as_ref(), request.take_over, |lease| {
                Ok(if holder.strong_count() == 0 {
                    Evidence::Dead
                } else if state.observed.is_expired(key, lease, lease.renewals, now) {
                    Evidence::Expired
                } else {
                    Evidence::Current
                })
            });
            free = free.and(this);
        }
        free?;
        let (session, holder) = (SessionId::new(), Arc::new(()));
        let (mut fences, mut acts) = (BTreeMap::new(), Vec::new());
        for key in &request.keys {
            let fence = state.slot(key).lease.map_or(0, |lease| lease.fence) + 1;
            let lease = LeaseRecord::taken(request, &session, fence, self.now());
            fences.insert(key.clone(), fence);
            acts.push((key.clone(), Act::Lease(lease)));
        }
        state.commit(acts).map_err(|error| self.failed(error))?;
        for key in &request.keys {
            state.slots.entry(key.clone()).or_default().holder = Arc::downgrade(&holder);
            state.observed.forget(key);
        }
        Ok(Lease::granted(session, fences, request.period, holder))
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let mut state = self.state();
        let mut acts = Vec::new();
        for key in lease.keys() {
            let mut stored = check_shown(key, state.slot(key).lease, lease)?;
            stored.renew(self.now());
            acts.push((key.clone(), Act::Lease(stored)));
        }
        state.commit(acts).map_err(|error| self.failed(error))
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        let mut state = self.state();
        let mut acts = Vec::new();
        for (key, cursor) in cursors {
            let slot = state.slot(key);
            let stored = slot.parse(key, &self.place());
            check_shown(key, slot.lease, lease)?;
            let next = next_record(stored?.as_ref(), key, cursor, lease, || self.now())?;
            acts.extend(next.map(|record| (key.clone(), Act::Record(record))));
        }
        state.commit(acts).map_err(|error| self.failed(error))
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        let mut state = self.state();
        let slot = state.slot(key);
        check_shown(key, slot.lease, lease)?;
        let given_up = slot.record.map(|record| {
            let line = reset_line(self.now(), record.as_bytes());
            (key.clone(), Act::Reset(line))
        });
        let acts = given_up.into_iter().collect();
        state.commit(acts).map_err(|error| self.failed(error))
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let mut state = self.state();
        let mut acts = Vec::new();
        for key in lease.keys() {
            if let Some(mut stored) = state.slot(key).lease
                && stored.release(lease)
            {
                acts.push((key.clone(), Act::Lease(stored)));
            }
        }
        state.commit(acts).map_err(|error| self.failed(error))
    }
}

/// The promises of `checkpoint`, kept by this store too.
#[cfg(test)]
mod tests {
    use std::fs;

    use checkpoint::conformance::{
        Backend, Damage, ManualClock, cursor, key, open_leased, position, save,
    };
    use checkpoint::{Holder, every_promise};

    use super::*;

    struct InAJournal {
        store: JournalStore,
        clock: Arc<ManualClock>,
        folder: tempfile::TempDir,
    }

    fn journal() -> InAJournal {
        let (folder, clock) = (
            tempfile::tempdir().unwrap(),
            Arc::new(ManualClock::default()),
        );
        let path = folder.path().join("journal");
        let store = JournalStore::open(path, clock.clone()).unwrap();
        InAJournal {
            store,
            clock,
            folder,
        }
    }

    #[async_trait::async_trait]
    impl Backend for InAJournal {
        async fn open(&self) -> Arc<dyn CheckpointStore> {
            Arc::new(self.store.clone())
        }

        fn clock(&self) -> Arc<dyn Clock> {
            self.clock.clone()
        }

        fn is_transactional(&self) -> bool {
            true
        }

        async fn damage(&self, key: &CursorKey, damage: Damage) {
            let mut state = self.store.state();
            let record = state.slots.get_mut(key).unwrap().record.as_mut().unwrap();
            *record = damage.spoil(record);
        }
    }

    every_promise!(journal);

    /// Every cut of the last line is a crash: the cursor is the old one or the new one.
    #[tokio::test]
    async fn a_journal_cut_short_has_the_cursor_before() {
        let key = key("cut", "o");
        let InAJournal {
            store,
            clock,
            folder,
        } = {
            let backend = journal();
            let (store, lease) = open_leased(&backend, &key).await;
            save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
            backend
        };
        let path = folder.path().join("journal");
        let before = fs::read(&path).unwrap().len();
        let lease = store
            .acquire(&LeaseRequest::new(
                [key.clone()],
                Holder::this_process("two"),
            ))
            .await
            .unwrap();
        let taken = fs::read(&path).unwrap().len();
        save(&store, &lease, &key, cursor("a", 2)).await.unwrap();
        let whole = fs::read(&path).unwrap();
        drop(store);
        for end in before..=whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let store = JournalStore::open(path.clone(), clock.clone()).unwrap();
            let row = if end == whole.len() { 2 } else { 1 };
            assert_eq!(position(&store, &key).await, Some(("a".to_owned(), row)));
            let state = store.lease_state(&key).await.unwrap().unwrap();
            assert_eq!(state.fence, if end < taken { 1 } else { 2 });
        }
    }
}
