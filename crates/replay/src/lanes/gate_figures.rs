//! What the lanes know together, for whoever counts: retries, and how many of them are busy.
//!
//! Each lane has a flag of its own, on a cache line of its own: to set it costs an event nothing
//! that could be measured, and nobody waits for anybody.

use std::sync::Arc;

use model::Clock;
use push::{GateWatch, Retries};

use crate::sync::atomic::{AtomicBool, Ordering};

/// A reading of what the lanes know together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateFigures {
    /// Posts that were made again, by cause.
    pub(crate) retries: Retries,
    /// Lanes that are busy with an event, at most as many as are allowed.
    pub(crate) permits_in_use: u64,
    /// Requests that may be in flight.
    pub(crate) permits_allowed: u64,
}

/// Reads what the lanes know together.
pub(crate) type ReadGate = Box<dyn Fn() -> GateFigures + Send + Sync>;

/// Reads what `watch` and the flags of `lanes` say.
pub(crate) fn read_gate<K: Clock>(watch: &Arc<GateWatch<K>>, lanes: BusyLanes) -> ReadGate {
    let watch = Arc::clone(watch);
    Box::new(move || {
        let all = lanes.0.len() as u64;
        let allowed = watch.concurrency().map_or(all, u64::from);
        GateFigures {
            retries: watch.retries().read(),
            // A lane that waits for a permit is busy, and has none.
            permits_in_use: lanes.busy().min(allowed),
            permits_allowed: allowed,
        }
    })
}

/// The flags of all lanes.
#[derive(Debug, Default)]
pub(crate) struct BusyLanes(Vec<BusyLane>);

impl BusyLanes {
    /// The flag of one more lane.
    pub(crate) fn add(&mut self) -> BusyLane {
        let lane = BusyLane::default();
        self.0.push(lane.clone());
        lane
    }

    fn busy(&self) -> u64 {
        let busy = self
            .0
            .iter()
            .filter(|lane| lane.0.0.load(Ordering::Relaxed));
        busy.count() as u64
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Flag(AtomicBool);

/// Whether one lane is busy with an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct BusyLane(Arc<Flag>);

impl BusyLane {
    /// Says whether the lane is busy with an event from now on.
    pub(crate) fn set(&self, is_busy: bool) {
        self.0.0.store(is_busy, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use durable::TokioClock;
    use push::{ConcurrencyLimit, RetryPolicy};

    use super::*;

    #[test]
    fn lanes_in_use_are_those_that_are_busy_and_no_more_than_may_be() {
        let mut lanes = BusyLanes::default();
        let flags: Vec<_> = (0..4).map(|_| lanes.add()).collect();
        let limit = ConcurrencyLimit::adaptive(3);
        let watch = GateWatch::with_clock(RetryPolicy::default(), limit, TokioClock);
        let read = read_gate(&Arc::new(watch), lanes);
        let seen = || (read().permits_in_use, read().permits_allowed);
        assert_eq!(seen(), (0, 3));
        flags[1].set(true);
        flags[3].set(true);
        assert_eq!(seen(), (2, 3));
        for flag in &flags {
            flag.set(true);
        }
        assert_eq!(seen(), (3, 3));
        for flag in &flags {
            flag.set(false);
        }
        assert_eq!(seen(), (0, 3));
    }
}
