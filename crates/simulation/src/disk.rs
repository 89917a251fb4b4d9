//! The disk of the producers' machine: what was not synced may be lost with its power.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use durable::Disk as _;
use durable::simulated::{Careless, CrashDisk};
use replay::QuarantinedEvent;

use crate::dice::Dice;
use crate::world::{EventNumber, SimWorld};

/// The quarantine of the platform run.
pub(crate) fn quarantine_path() -> PathBuf {
    PathBuf::from("/run/wsp/quarantine.ndjson")
}

/// A disk that loses power. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Arc<CrashDisk>>>);

impl SimDisk {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Arc::new(CrashDisk::new(
            Careless::Not,
        )))))
    }

    /// The disk as it is now.
    pub(crate) fn now(&self) -> Arc<CrashDisk> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the power away: of what was not synced, the dice decide what is left.
    pub(crate) fn lose_power(&self, dice: &mut Dice) {
        let crashed = self
            .now()
            .crashed(|fates| dice.below(fates as u64) as usize);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(crashed);
    }

    /// Whether an event would be found set aside if all that is not synced were lost.
    pub(crate) fn is_set_aside(&self, world: &SimWorld, event: EventNumber) -> bool {
        // The second fate of each step that is not safe is that it is lost.
        let crashed = self.now().crashed(|_| 1);
        set_aside(&crashed, &quarantine_path(), world).contains(&event)
    }
}

/// The events that a quarantine file holds.
fn set_aside(disk: &CrashDisk, path: &Path, world: &SimWorld) -> Vec<EventNumber> {
    let Ok(bytes) = disk.read(path) else {
        return Vec::new();
    };
    let lines = bytes.split(|byte| *byte == b'\n');
    let events = lines.filter_map(|line| QuarantinedEvent::parse(line).ok());
    events
        .filter_map(|event| world.event_of(event.event_id.to_string().as_bytes()))
        .collect()
}
