//! The window: how far handing over may run ahead of what is durable.
//!
//! After a crash, what was handed over and not covered by a saved cursor may be
//! pushed again. So no new event is handed to a lane while
//! `handed over − durable ≥ flush_every + lanes`; that difference is the most
//! that a crash can repeat.

use model::Bug;

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
        let size = if Bug::WiderWindow.is_planted() {
            2 * self.size
        } else {
            self.size
        };
        let has_room = handed_over - self.durable.load(Ordering::Acquire) < size;
        // Last: room that is made after the window was shut is not had.
        has_room && !self.held.load(Ordering::Acquire)
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

/// Every order in which the keeper and the dispatching thread may meet at the window.
#[cfg(all(test, feature = "loom"))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn a_dispatcher_that_parks_without_room_is_woken_by_the_save_that_makes_room() {
        loom::model(|| {
            let window = Arc::new(Window::new(1, 1));
            let dispatcher = thread::current();
            let keeper = {
                let window = Arc::clone(&window);
                thread::spawn(move || {
                    for events in 1..=2 {
                        window.set_durable(events);
                        dispatcher.unpark();
                    }
                })
            };
            // Three events handed over: the fourth needs two of them durable.
            while !window.has_room(3) {
                thread::park();
            }
            assert_eq!(window.durable(), 2);
            keeper.join().unwrap();
        });
    }

    #[test]
    fn a_window_that_is_held_has_no_room_for_whoever_knows_of_it() {
        loom::model(|| {
            let window = Arc::new(Window::new(1, 1));
            let watcher = {
                let window = Arc::clone(&window);
                thread::spawn(move || {
                    window.hold(true);
                    window.set_durable(2);
                })
            };
            // The room that the save makes is not to be had before the hold is seen.
            assert!(!window.has_room(2));
            watcher.join().unwrap();
            assert!(!window.has_room(2));
        });
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
