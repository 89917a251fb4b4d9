//! The checkpoint store of a simulated world: far away, slow, and sometimes without an answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use checkpoint::{
    CheckpointStore, Cursor, CursorKey, Error, HistoryEntry, Lease, LeaseRequest, LeaseState,
    MemoryStore, OrderPosition, Record, unavailable,
};
use envelope::EventTime;
use model::Clock as _;
use replay::Position;

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::laws::Laws;
use crate::stage::ProcessId;
use crate::world::SimWorld;

/// The troubles of the way to the store, shared by all processes.
#[derive(Debug)]
pub(crate) struct StoreWay {
    pub(crate) dice: Dice,
    pub(crate) latency: Duration,
    pub(crate) away_until: Duration,
    /// How many of a thousand requests get no answer; half of them are carried out.
    pub(crate) lost: u64,
}

/// The store as one process reaches it.
pub(crate) struct DistantStore {
    pub(crate) process: ProcessId,
    pub(crate) clock: SimClock,
    pub(crate) store: MemoryStore,
    pub(crate) way: Arc<Mutex<StoreWay>>,
    pub(crate) laws: Laws,
    pub(crate) world: Arc<SimWorld>,
}

impl fmt::Debug for DistantStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DistantStore")
    }
}

impl DistantStore {
    fn way(&self) -> MutexGuard<'_, StoreWay> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way there or back; `Err` if the request or its answer is lost on it.
    async fn travel(&self) -> Result<(), Error> {
        let (late, is_lost) = {
            let mut way = self.way();
            let (latency, lost) = (way.latency, way.lost);
            let late = way.dice.time(latency);
            let is_lost = way.dice.permille(lost) || self.clock.elapsed() < way.away_until;
            (late, is_lost)
        };
        self.clock.sleep(late).await;
        if is_lost {
            self.laws.may_renew_late(self.process);
            return Err(unavailable("reach the store", "memory", "Bring it back"));
        }
        Ok(())
    }

    fn saved(&self, cursors: &BTreeMap<CursorKey, Cursor>) {
        for (key, cursor) in cursors {
            let output = self.world.outputs.iter();
            let output = output.enumerate().find(|(_, of)| of.id == *key.output_id());
            let Some((output, _)) = output else { continue };
            if let Some(at) = position(&self.world, output, cursor) {
                self.laws.saved(self.process, output, at);
            }
        }
    }
}

/// Where a cursor stands in its output.
pub(crate) fn position(world: &SimWorld, output: usize, cursor: &Cursor) -> Option<Position> {
    let part = world.part_named(output, &cursor.last_part)?;
    let event = world.event_at(output, part, cursor.last_row_index)?;
    let time = match cursor.order {
        OrderPosition::EventTime { sort_time_ns } => EventTime::from_nanos(sort_time_ns)?,
        OrderPosition::AsWritten => world.events[event].position.time,
    };
    let row = cursor.last_row_index;
    Some(Position { part, row, time })
}

#[async_trait]
impl CheckpointStore for DistantStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn load(&self, key: &CursorKey) -> Result<Option<Record>, Error> {
        self.travel().await?;
        self.store.load(key).await
    }

    async fn lease_state(&self, key: &CursorKey) -> Result<Option<LeaseState>, Error> {
        self.travel().await?;
        self.store.lease_state(key).await
    }

    async fn history(&self, key: &CursorKey, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        self.travel().await?;
        self.store.history(key, limit).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, Error> {
        let began = self.clock.elapsed();
        self.travel().await?;
        let lease = self.store.acquire(request).await?;
        self.laws
            .note(&format!("process {} is leased", self.process.0));
        self.laws.leased(self.process, request.take_over);
        self.travel().await?;
        self.laws.renewed(self.process, began, lease.period());
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let began = self.clock.elapsed();
        self.laws.renews(self.process);
        self.travel().await?;
        self.store.renew(lease).await?;
        self.travel().await?;
        self.laws.renewed(self.process, began, lease.period());
        Ok(())
    }

    async fn save_many(
        &self,
        lease: &Lease,
        cursors: &BTreeMap<CursorKey, Cursor>,
    ) -> Result<(), Error> {
        self.travel().await?;
        self.store.save_many(lease, cursors).await?;
        self.saved(cursors);
        self.travel().await
    }

    async fn reset(&self, lease: &Lease, key: &CursorKey) -> Result<(), Error> {
        self.travel().await?;
        self.store.reset(lease, key).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.travel().await?;
        self.store.release(lease).await
    }
}
