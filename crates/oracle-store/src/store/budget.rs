//! One budget of bytes for everything that is read ahead of need.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// What the windows of all open parts of a world may hold together: 32 MiB.
pub(crate) const READ_BUDGET_BYTES: u64 = 32 << 20;

/// The bounds of one window. Below the lower one a request costs more than it brings.
const WINDOW_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 20;

/// Bytes that readers share.
///
/// No reader ever waits for the budget, so none can wait for another: a reader that finds
/// nothing free takes just what it needs now, and the budget is overdrawn by at most
/// that, one page a reader. Only reading ahead is given up.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    total: u64,
    free: AtomicI64,
    lanes: AtomicUsize,
}

/// Bytes taken from a budget; given back on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<ByteBudget>,
    bytes: u64,
}

/// Lanes that share a budget; given back on drop.
#[derive(Debug)]
pub(crate) struct LaneCount {
    budget: Arc<ByteBudget>,
    lanes: usize,
}

impl ByteBudget {
    pub(crate) fn new(total: u64) -> Arc<Self> {
        let free = AtomicI64::new(total as i64);
        Arc::new(Self {
            total,
            free,
            lanes: AtomicUsize::new(0),
        })
    }

    /// Announces lanes, so that windows are sized for all of them.
    pub(crate) fn add_lanes(self: &Arc<Self>, lanes: usize) -> LaneCount {
        self.lanes.fetch_add(lanes, Ordering::Relaxed);
        LaneCount {
            budget: Arc::clone(self),
            lanes,
        }
    }

    /// The size of a window now: each lane has one in use and one on its way.
    pub(crate) fn window_bytes(&self) -> u64 {
        let lanes = self.lanes.load(Ordering::Relaxed).max(1) as u64;
        (self.total / (2 * lanes)).clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end())
    }

    /// Takes bytes if that many are free.
    pub(crate) fn try_reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                (free >= bytes as i64).then(|| free - bytes as i64)
            })
            .is_ok()
            .then(|| Reservation {
                budget: Arc::clone(self),
                bytes,
            })
    }

    /// Takes `most` bytes if they are free, else just what is needed now.
    pub(crate) fn reserve(self: &Arc<Self>, needed: u64, most: u64) -> Reservation {
        self.try_reserve(most.max(needed)).unwrap_or_else(|| {
            self.free.fetch_sub(needed as i64, Ordering::Relaxed);
            Reservation {
                budget: Arc::clone(self),
                bytes: needed,
            }
        })
    }
}

impl Reservation {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget
            .free
            .fetch_add(self.bytes as i64, Ordering::Relaxed);
    }
}

impl Drop for LaneCount {
    fn drop(&mut self) {
        self.budget.lanes.fetch_sub(self.lanes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ahead_ends_with_the_budget_and_need_does_not() {
        let budget = ByteBudget::new(100);
        let ahead = budget.try_reserve(80).unwrap();
        assert!(budget.try_reserve(30).is_none());
        let needed = budget.reserve(30, 60);
        assert_eq!(
            needed.bytes(),
            30,
            "overdrawn by what is needed and no more"
        );
        assert!(budget.try_reserve(1).is_none());
        drop(ahead);
        drop(needed);
        assert_eq!(budget.reserve(10, 60).bytes(), 60);
        assert_eq!(
            budget.try_reserve(100).unwrap().bytes(),
            100,
            "all is given back"
        );
    }

    #[test]
    fn windows_shrink_as_lanes_grow() {
        let budget = ByteBudget::new(READ_BUDGET_BYTES);
        assert_eq!(budget.window_bytes(), 1 << 20);
        let lanes = budget.add_lanes(64);
        assert_eq!(budget.window_bytes(), 256 << 10);
        let more = budget.add_lanes(100_000);
        assert_eq!(budget.window_bytes(), 64 << 10);
        drop((lanes, more));
        assert_eq!(budget.window_bytes(), 1 << 20);
    }
}
