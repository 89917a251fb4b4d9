//! A store of cursors in one journal file.
//!
//! What a lease, a cursor and a line of history are, and which of them may follow which, the
//! `checkpoint` crate decides; the store only keeps slots. Its own part is this: a change is
//! written to the journal and synced before anybody sees it, a line that a crash cut short is
//! nothing, and the journal is locked, so that no second process writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use checkpoint::lease::{LeaseRecord, LeaseRequest, SessionId};
use checkpoint::protocol::{
    Act, Change, Life, Needs, Observer, RecordChange, Slot, Slots, StoredRecord, decide_all,
};
use checkpoint::{Clock, CursorKey, Error, PackKey, unavailable};
use durable::{Access, OsDisk, RunLog};
use serde::{Deserialize, Serialize};

/// Cursors in one journal file. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct JournalStore {
    path: Arc<Path>,
    state: Arc<Mutex<State>>,
    observer: Observer,
}

#[derive(Debug)]
struct State {
    /// Locked for as long as the store is open.
    journal: RunLog,
    keys: BTreeMap<CursorKey, Kept>,
}

/// What the journal says of a key.
#[derive(Debug, Default)]
struct Kept {
    lease: Option<LeaseRecord>,
    /// Gone with the lease; never there for one that another process took.
    holder: Weak<()>,
    record: Option<String>,
    history: Vec<String>,
}

/// What happened to a key. One line of the journal holds those of one edit: they come about
/// together.
#[derive(Serialize, Deserialize)]
enum Event {
    Lease(LeaseRecord),
    Record(String),
    Reset(String),
}

type Entry = (String, String, Event);

impl Kept {
    fn slot(&self, key: &CursorKey, place: &str) -> Slot {
        let life = match self.holder.strong_count() {
            0 => Life::Ended,
            _ => Life::Living,
        };
        let record = self.record.as_ref();
        let record = record.map(|text| StoredRecord::parse(text, key, place));
        Slot::new(self.lease.clone(), life, record)
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Lease(lease) => self.lease = Some(lease),
            Event::Record(record) => {
                self.history.push(record.clone());
                self.record = Some(record);
            }
            Event::Reset(line) => {
                self.history.push(line);
                self.record = None;
            }
        }
    }
}

impl JournalStore {
    /// Opens a journal, or begins one.
    pub(crate) fn open(
        path: PathBuf,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut journal = RunLog::open(Arc::new(OsDisk), path.clone(), Access::Default)?;
        if !journal.try_lock()? {
            return Err("another process has the journal".into());
        }
        let mut keys = BTreeMap::<CursorKey, Kept>::new();
        let read = journal.catch_up(|_, line| {
            let entries: Vec<Entry> = serde_json::from_slice(line).map_err(|e| e.to_string())?;
            for (pack_key, output_id, event) in entries {
                let pack_key = PackKey::parse(&pack_key).map_err(|e| e.to_string())?;
                let key = CursorKey::new(pack_key, output_id).map_err(|e| e.to_string())?;
                keys.entry(key).or_default().apply(event);
            }
            Ok(())
        });
        read.map_err(|fault| format!("{fault:?}"))?;
        // A line that a crash cut short was never acknowledged.
        journal.cut_torn()?;
        Ok(Self {
            path: path.into(),
            state: Arc::new(Mutex::new(State { journal, keys })),
            observer: Observer::new(clock),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, state: &State, key: &CursorKey) -> Slot {
        let kept = state.keys.get(key);
        kept.map_or_else(Slot::default, |kept| kept.slot(key, &self.location()))
    }
}

#[async_trait::async_trait]
impl Slots for JournalStore {
    type Proof = ();

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn observer(&self) -> &Observer {
        &self.observer
    }

    async fn read(&self, key: &CursorKey, _: Needs) -> Result<Slot, Error> {
        Ok(self.slot(&self.state(), key))
    }

    async fn lines(&self, key: &CursorKey, _: usize) -> Result<Vec<String>, Error> {
        let state = self.state();
        let kept = state.keys.get(key).map(|kept| kept.history.iter().rev());
        Ok(kept.into_iter().flatten().cloned().collect())
    }

    async fn begin(&self, _: &SessionId, _: &LeaseRequest) -> Result<(), Error> {
        Ok(())
    }

    async fn edit<T, F>(
        &self,
        act: Act,
        proof: &Arc<()>,
        keys: Vec<CursorKey>,
        decide: F,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static,
    {
        let mut state = self.state();
        let slots = keys.into_iter().map(|key| {
            let slot = self.slot(&state, &key);
            (key, slot)
        });
        let (mut events, mut told) = (Vec::new(), Vec::new());
        for (key, change, said) in decide_all(slots, &decide)? {
            events.extend(change.lease.map(|lease| (key.clone(), Event::Lease(lease))));
            match change.record {
                RecordChange::Keep => {}
                RecordChange::Save(record) => events.push((key, Event::Record(record.to_json()))),
                RecordChange::Remove(line) => events.push((key, Event::Reset(line))),
            }
            told.push(said);
        }
        if events.is_empty() {
            return Ok(told);
        }
        // Written and synced first, and only then let it happen.
        let entries: Vec<_> = events
            .iter()
            .map(|(key, event)| (key.pack_key().as_str(), key.output_id().as_str(), event))
            .collect();
        let line = format!("{}\n", serde_json::to_string(&entries).unwrap_or_default());
        let written = state.journal.append_synced(line.as_bytes());
        let advice = "Look after the disk and the folder";
        let failed = |error| unavailable(act.operation(), self.location(), advice).because(error);
        written.map_err(failed)?;
        for (key, event) in events {
            let kept = state.keys.entry(key).or_default();
            if act == Act::Take {
                kept.holder = Arc::downgrade(proof);
            }
            kept.apply(event);
        }
        Ok(told)
    }
}

/// The promises of `checkpoint`, kept by this store too.
#[cfg(test)]
mod tests {
    use std::fs;

    use checkpoint::conformance::{
        Backend, Damage, ManualClock, cursor, key, open_leased, position, save,
    };
    use checkpoint::{CheckpointStore, Holder, every_promise};

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
            let record = state.keys.get_mut(key).unwrap().record.as_mut().unwrap();
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
