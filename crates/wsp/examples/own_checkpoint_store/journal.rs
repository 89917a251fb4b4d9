//! A store of cursors in one journal file.
//!
//! What a lease, a cursor and a line of history are, and which of them may follow which, the
//! `checkpoint` crate decides; the store only keeps slots. Its own part is this: what becomes of
//! the slots of one edit is one line of the journal, written and synced before anybody sees it; a
//! line that a crash cut short is nothing; and the journal is locked, so that no second process
//! writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use checkpoint::slots::{
    Act, Change, Life, Needs, Observer, SessionId, Slot, Slots, StoredSlot, decide_all,
};
use checkpoint::{CursorKey, Error, LeaseRequest, PackKey, unavailable};
use durable::{Access, OsDisk, RunLog};

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
    /// What the journal says of each key, and what lives as long as the lease that this process
    /// took of it.
    keys: BTreeMap<CursorKey, (StoredSlot, Weak<()>)>,
}

/// A slot as a line of the journal has it, behind its pack key and output id.
type Entry = (String, String, StoredSlot);

impl JournalStore {
    /// Opens a journal, or begins one; leases expire by the clock of `observer`.
    pub(crate) fn open(
        path: PathBuf,
        observer: Observer,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut journal = RunLog::open(Arc::new(OsDisk), path.clone(), Access::Default)?;
        if !journal.try_lock()? {
            return Err("another process has the journal".into());
        }
        let mut keys = BTreeMap::new();
        let read = journal.catch_up(|_, line| {
            let entries: Vec<Entry> = serde_json::from_slice(line).map_err(|e| e.to_string())?;
            for (pack_key, output_id, slot) in entries {
                let pack_key = PackKey::parse(&pack_key).map_err(|e| e.to_string())?;
                let key = CursorKey::new(pack_key, output_id).map_err(|e| e.to_string())?;
                keys.insert(key, (slot, Weak::new()));
            }
            Ok(())
        });
        read.map_err(|fault| format!("{fault:?}"))?;
        // A line that a crash cut short was never acknowledged.
        journal.cut_torn()?;
        Ok(Self {
            path: path.into(),
            state: Arc::new(Mutex::new(State { journal, keys })),
            observer,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, state: &State, key: &CursorKey) -> Slot {
        state
            .keys
            .get(key)
            .map_or_else(Slot::default, |(kept, holder)| {
                let is_alive = holder.strong_count() > 0;
                let life = if is_alive { Life::Living } else { Life::Ended };
                kept.slot(key, &self.location(), life)
            })
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
        let kept = state.keys.get(key).map(|(kept, _)| kept.lines());
        Ok(kept.unwrap_or_default())
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
        let slots = keys
            .into_iter()
            .map(|key| (key.clone(), self.slot(&state, &key)));
        let (mut changed, mut entries, mut told) = (Vec::new(), Vec::<Entry>::new(), Vec::new());
        for (key, change, said) in decide_all(slots, &decide)? {
            let (mut kept, mut holder) = state.keys.get(&key).cloned().unwrap_or_default();
            if act == Act::Take {
                holder = Arc::downgrade(proof);
            }
            if kept.apply(change) {
                let (pack_key, output_id) = (key.pack_key(), key.output_id());
                entries.push((pack_key.to_string(), output_id.to_string(), kept.clone()));
                changed.push((key, (kept, holder)));
            }
            told.push(said);
        }
        if !changed.is_empty() {
            // Written and synced first, and only then let it happen.
            let line = serde_json::to_string(&entries).unwrap_or_default() + "\n";
            let written = state.journal.append_synced(line.as_bytes());
            let advice = "Look after the disk and the folder";
            let failed =
                |error| unavailable(act.operation(), self.location(), advice).because(error);
            written.map_err(failed)?;
            state.keys.extend(changed);
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
    use model::SharedClock;

    use super::*;

    struct InAJournal {
        store: JournalStore,
        clock: ManualClock,
        folder: tempfile::TempDir,
    }

    fn journal() -> InAJournal {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
        let path = folder.path().join("journal");
        let store = JournalStore::open(path, clock.observer()).unwrap();
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

        fn clock(&self) -> SharedClock {
            SharedClock::new(self.clock.clone())
        }

        fn is_transactional(&self) -> bool {
            true
        }

        async fn damage(&self, key: &CursorKey, damage: Damage) {
            let mut state = self.store.state();
            damage.spoil_slot(&mut state.keys.get_mut(key).unwrap().0);
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
            let store = JournalStore::open(path.clone(), clock.observer()).unwrap();
            let row = if end == whole.len() { 2 } else { 1 };
            assert_eq!(position(&store, &key).await, Some(("a".to_owned(), row)));
            let state = store.lease_state(&key).await.unwrap().unwrap();
            assert_eq!(state.fence, if end < taken { 1 } else { 2 });
        }
    }
}
