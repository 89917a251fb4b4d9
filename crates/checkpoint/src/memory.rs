//! Cursors in memory: for tests and dry runs. Clones share one state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;

use crate::clock::{Clock, SystemClock, utc_text};
use crate::cursor::Cursor;
use crate::error::Error;
use crate::key::CursorKey;
use crate::lease::{
    Evidence, Lease, LeaseRecord, LeaseRequest, LeaseState, Observations, SessionId, check_free,
    check_shown,
};
use crate::record::{HistoryEntry, Record, next_record, reset_line};
use crate::store::CheckpointStore;

/// Lines of history kept a key.
const HISTORY_LINES: usize = 1000;

/// Cursors in memory.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct State {
    slots: BTreeMap<CursorKey, Slot>,
    observed: Observations,
}

#[derive(Debug, Default)]
struct Slot {
    record: Option<String>,
    lease: Option<LeaseRecord>,
    alive: Weak<Alive>,
    history: VecDeque<String>,
}

/// Lives as long as its lease does.
#[derive(Debug)]
struct Alive;

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock::default()))
    }
}

impl MemoryStore {
    /// An empty store; leases expire by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Arc::default(),
            clock,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_text(&self) -> String {
        utc_text(self.clock.utc_now())
    }
}

fn place(key: &CursorKey) -> String {
    format!("memory:{key}")
}

impl Slot {
    fn parse(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        let text = self.record.as_deref();
        text.map(|text| Record::parse(text.as_bytes(), key, &place(key)))
            .transpose()
    }

    fn remember(&mut self, line: String) {
        self.history.push_back(line);
        if self.history.len() > HISTORY_LINES {
            self.history.pop_front();
        }
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        let state = self.state();
        let slot = state.slots.get(key);
        slot.map_or(Ok(None), |slot| slot.parse(key))
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        let state = self.state();
        Ok(state.slots.get(key).and_then(|slot| {
            let alive = Some(slot.alive.strong_count() > 0);
            slot.lease.as_ref()?.to_state(alive)
        }))
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let state = self.state();
        let lines = state.slots.get(key).map(|slot| slot.history.iter().rev());
        Ok(lines
            .into_iter()
            .flatten()
            .filter_map(|line| HistoryEntry::parse(line, key))
            .take(limit)
            .collect())
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        let now = self.clock.monotonic();
        let mut guard = self.state();
        let State { slots, observed } = &mut *guard;
        let mut free = Ok(());
        // Every lease is looked at before one in the way is told of: all are watched for
        // their expiry from the first try on.
        for key in &request.keys {
            let slot = slots.entry(key.clone()).or_default();
            let this = check_free(key, slot.lease.as_ref(), request.take_over, |row| {
                Ok(if slot.alive.strong_count() == 0 {
                    Evidence::Dead
                } else if observed.is_expired(key, row, row.renewals, now) {
                    Evidence::Expired
                } else {
                    Evidence::Current
                })
            });
            free = free.and(this);
        }
        free?;
        let session = SessionId::new();
        let alive = Arc::new(Alive);
        let mut fences = BTreeMap::new();
        for key in &request.keys {
            let slot = slots.entry(key.clone()).or_default();
            let fence = slot.lease.as_ref().map_or(0, |row| row.fence) + 1;
            slot.lease = Some(LeaseRecord::taken(
                request,
                &session,
                fence,
                self.now_text(),
            ));
            slot.alive = Arc::downgrade(&alive);
            observed.forget(key);
            fences.insert(key.clone(), fence);
        }
        Ok(Lease::granted(session, fences, request.period, alive))
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let mut state = self.state();
        for key in lease.keys() {
            let slot = state.slots.entry(key.clone()).or_default();
            let mut row = check_shown(key, slot.lease.clone(), lease)?;
            row.renew(self.now_text());
            slot.lease = Some(row);
        }
        Ok(())
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        let mut state = self.state();
        let mut records = Vec::with_capacity(cursors.len());
        for (key, cursor) in cursors {
            let slot = state.slots.entry(key.clone()).or_default();
            check_shown(key, slot.lease.clone(), lease)?;
            let stored = slot.parse(key)?;
            let next = next_record(stored.as_ref(), key, cursor, lease, || self.now_text())?;
            records.extend(next.map(|record| (key, record)));
        }
        for (key, record) in records {
            let slot = state.slots.entry(key.clone()).or_default();
            slot.remember(record.clone());
            slot.record = Some(record);
        }
        Ok(())
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        let mut state = self.state();
        let slot = state.slots.entry(key.clone()).or_default();
        check_shown(key, slot.lease.clone(), lease)?;
        if let Some(record) = slot.record.take() {
            slot.remember(reset_line(self.now_text(), record.as_bytes()));
        }
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let mut state = self.state();
        for key in lease.keys() {
            if let Some(row) = state
                .slots
                .get_mut(key)
                .and_then(|slot| slot.lease.as_mut())
            {
                row.release(lease);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::conformance::{Backend, Damage, ManualClock};
    use crate::every_promise;

    pub(crate) struct InMemory(MemoryStore, Arc<ManualClock>);

    pub(crate) fn memory() -> InMemory {
        let clock = Arc::new(ManualClock::default());
        InMemory(MemoryStore::new(clock.clone()), clock)
    }

    #[async_trait]
    impl Backend for InMemory {
        async fn open(&self) -> Arc<dyn CheckpointStore> {
            Arc::new(self.0.clone())
        }

        fn clock(&self) -> Arc<dyn Clock> {
            self.1.clone()
        }

        fn is_transactional(&self) -> bool {
            true
        }

        async fn damage(&self, key: &CursorKey, damage: Damage) {
            let mut state = self.0.state();
            let record = state.slots.get_mut(key).unwrap().record.as_mut().unwrap();
            *record = damage.spoil(record);
        }
    }

    every_promise!(memory);
}
