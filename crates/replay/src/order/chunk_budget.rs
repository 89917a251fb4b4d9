//! How large chunks may be: the open feeds share one budget of bytes.
//!
//! Each open feed holds the chunk being consumed and the one made ahead. So that
//! (open feeds) × 2 × (chunk bytes) stays within the budget however many parts overlap
//! in time, a feed asks for its share before every chunk, and the share shrinks as
//! feeds open. Chunk sizes change nothing but memory and speed.

use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of framed events that all open feeds may hold together.
const BUDGET: usize = 6 << 20;
/// No gain in larger chunks: their cost by the event is that of their events.
const LARGEST: usize = 256 << 10;
/// Smaller ones would cost more than their events do.
const SMALLEST: usize = 16 << 10;

/// The bytes of one chunk while so many feeds are open.
pub(crate) const fn chunk_bytes(open_feeds: usize) -> usize {
    let share = BUDGET / 2 / if open_feeds == 0 { 1 } else { open_feeds };
    if share > LARGEST {
        LARGEST
    } else if share < SMALLEST {
        SMALLEST
    } else {
        share
    }
}

/// Counts the open feeds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ChunkBudget {
    open_feeds: Arc<AtomicUsize>,
}

impl ChunkBudget {
    /// The share of one more feed, until it is dropped.
    pub fn share(&self) -> ChunkShare {
        self.open_feeds.fetch_add(1, Ordering::Relaxed);
        ChunkShare {
            budget: self.clone(),
        }
    }
}

/// What one open feed may hold.
#[derive(Debug)]
pub struct ChunkShare {
    budget: ChunkBudget,
}

impl ChunkShare {
    /// The bytes of the feed's next chunk.
    pub fn bytes(&self) -> usize {
        chunk_bytes(self.budget.open_feeds.load(Ordering::Relaxed))
    }
}

impl Drop for ChunkShare {
    fn drop(&mut self) {
        self.budget.open_feeds.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_shrink_as_feeds_open_and_grow_back_as_they_close() {
        let budget = ChunkBudget::default();
        let first = budget.share();
        assert_eq!(first.bytes(), LARGEST);
        let others: Vec<_> = (0..99).map(|_| budget.share()).collect();
        assert_eq!(first.bytes(), BUDGET / 200);
        drop(others);
        assert_eq!(first.bytes(), LARGEST);
    }

    #[test]
    fn two_chunks_of_each_feed_fit_the_budget_until_chunks_are_as_small_as_can_be() {
        for feeds in 1..=BUDGET / 2 / SMALLEST {
            assert!(2 * feeds * chunk_bytes(feeds) <= BUDGET, "{feeds} feeds");
        }
    }
}
