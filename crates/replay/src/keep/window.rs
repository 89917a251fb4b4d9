//! The window: how far handing over may run ahead of what is durable.
//!
//! After a crash, what was handed over and not covered by a saved cursor may be
//! pushed again. So no new event is handed to a lane while
//! `handed over − durable ≥ flush_every + lanes`; that difference is the most
//! that a crash can repeat.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts what is durable; the dispatcher keeps what it handed over.
#[derive(Debug)]
pub struct Window {
    size: u64,
    durable: AtomicU64,
    held: AtomicBool,
}

impl Window {
    /// A window of `flush_every + lanes` events.
    pub fn new(flush_every: u64, lanes: usize) -> Self {
        Self {
            size: flush_every.saturating_add(lanes as u64),
            durable: AtomicU64::new(0),
            held: AtomicBool::new(false),
        }
    }

    /// Whether one more event may follow the `handed_over` ones.
    pub fn has_room(&self, handed_over: u64) -> bool {
        !self.held.load(Ordering::Acquire)
            && handed_over - self.durable.load(Ordering::Acquire) < self.size
    }

    /// Shuts the window, or opens it again: while a lease is overdue, another
    /// producer may hold it by now.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    /// Tells how many events saved cursors cover by now.
    pub fn set_durable(&self, events: u64) {
        self.durable.store(events, Ordering::Release);
    }

    /// How many events saved cursors cover.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handing_over_waits_for_what_is_durable() {
        let window = Window::new(10, 2);
        assert!(window.has_room(11));
        assert!(!window.has_room(12));
        window.set_durable(10);
        assert!(window.has_room(21));
        assert!(!window.has_room(22));
    }
}
