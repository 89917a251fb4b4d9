//! Cursors in memory: for tests and dry runs. Clones share one state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;

use crate::error::Error;
use crate::key::CursorKey;
use crate::lease::{LeaseRecord, LeaseRequest, SessionId};
use crate::slots::{
    Act, Change, Life, Needs, Observer, RecordChange, Slot, Slots, StoredRecord, decide_all,
};

/// Lines of history kept a key.
const HISTORY_LINES: usize = 1000;

/// A store of cursors in memory, for tests and dry runs. Clones share one state.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    keys: Arc<Mutex<BTreeMap<CursorKey, Kept>>>,
    observer: Observer,
}

#[derive(Debug, Default)]
struct Kept {
    record: Option<String>,
    lease: Option<LeaseRecord>,
    holder: Weak<Alive>,
    history: VecDeque<String>,
}

/// What a lease of a [`MemoryStore`] proves: it lives as long as the lease does.
#[derive(Debug)]
pub struct Alive(());

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Observer::default())
    }
}

impl MemoryStore {
    /// An empty store, which goes by the clock and the chance of `observer`.
    pub fn new(observer: Observer) -> Self {
        Self {
            keys: Arc::default(),
            observer,
        }
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<CursorKey, Kept>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn slot(&self, key: &CursorKey) -> Slot {
        let life = match self.holder.strong_count() {
            0 => Life::Ended,
            _ => Life::Living,
        };
        let record = self.record.as_ref();
        let record = record.map(|text| StoredRecord::parse(text, key, &format!("memory:{key}")));
        Slot::new(self.lease.clone(), life, record)
    }

    fn remember(&mut self, line: String) {
        self.history.push_back(line);
        if self.history.len() > HISTORY_LINES {
            self.history.pop_front();
        }
    }

    fn apply(&mut self, change: Change) {
        self.lease = change.lease.or(self.lease.take());
        match change.record {
            RecordChange::Keep => {}
            RecordChange::Save(record) => {
                let record = record.to_json();
                self.remember(record.clone());
                self.record = Some(record);
            }
            RecordChange::Remove(line) => {
                self.remember(line);
                self.record = None;
            }
        }
    }
}

#[async_trait]
impl Slots for MemoryStore {
    type Proof = Alive;

    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn observer(&self) -> &Observer {
        &self.observer
    }

    async fn read(&self, key: &CursorKey, _needs: Needs) -> Result<Slot, Error> {
        let keys = self.keys();
        Ok(keys
            .get(key)
            .map_or_else(Slot::default, |kept| kept.slot(key)))
    }

    async fn lines(&self, key: &CursorKey, _limit: usize) -> Result<Vec<String>, Error> {
        let keys = self.keys();
        let lines = keys.get(key).map(|kept| kept.history.iter().rev());
        Ok(lines.into_iter().flatten().cloned().collect())
    }

    async fn begin(&self, _: &SessionId, _: &LeaseRequest) -> Result<Alive, Error> {
        Ok(Alive(()))
    }

    async fn edit<T, F>(
        &self,
        act: Act,
        proof: &Arc<Alive>,
        keys: Vec<CursorKey>,
        decide: F,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static,
    {
        let mut kept = self.keys();
        let slots = keys.into_iter().map(|key| {
            let slot = kept
                .get(&key)
                .map_or_else(Slot::default, |kept| kept.slot(&key));
            (key, slot)
        });
        let decided = decide_all(slots, &decide)?;
        let write = |(key, change, told)| {
            let kept = kept.entry(key).or_default();
            if act == Act::Take {
                kept.holder = Arc::downgrade(proof);
            }
            kept.apply(change);
            told
        };
        Ok(decided.into_iter().map(write).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use model::SharedClock;

    use super::*;
    use crate::CheckpointStore;
    use crate::conformance::{Backend, Damage, ManualClock};
    use crate::every_promise;

    pub(crate) struct InMemory(MemoryStore, ManualClock);

    pub(crate) fn memory() -> InMemory {
        let clock = ManualClock::default();
        InMemory(MemoryStore::new(clock.observer()), clock)
    }

    #[async_trait]
    impl Backend for InMemory {
        async fn open(&self) -> Arc<dyn CheckpointStore> {
            Arc::new(self.0.clone())
        }

        fn clock(&self) -> SharedClock {
            SharedClock::new(self.1.clone())
        }

        fn is_transactional(&self) -> bool {
            true
        }

        async fn damage(&self, key: &CursorKey, damage: Damage) {
            let mut keys = self.0.keys();
            let record = keys.get_mut(key).unwrap().record.as_mut().unwrap();
            *record = damage.spoil(record);
        }
    }

    every_promise!(memory);
}
