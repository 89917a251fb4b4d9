//! tokio's `Notify` over a lock of loom's.
//!
//! Whoever is notified sees all that was done before: tokio's own promises that too, but loom does
//! not know of it, and would let the notified thread read what was there before.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use loom::sync::Mutex;

#[derive(Debug, Default)]
struct State {
    calls: u64,
    has_permit: bool,
    waiting: Vec<Waker>,
}

/// Wakes tasks, as [`tokio::sync::Notify`] does.
#[derive(Debug)]
pub(crate) struct Notify(Mutex<State>);

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::default()))
    }

    /// Wakes all that wait, and all whose waits were made and not yet polled.
    pub(crate) fn notify_waiters(&self) {
        let waiting = {
            let mut state = self.0.lock().unwrap();
            state.calls += 1;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Wakes one that waits, or the next that will.
    pub(crate) fn notify_one(&self) {
        let waiting = {
            let mut state = self.0.lock().unwrap();
            state.has_permit = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        let calls = self.0.lock().unwrap().calls;
        Notified {
            notify: self,
            calls,
        }
    }
}

/// A wait for a [`Notify`].
pub(crate) struct Notified<'n> {
    notify: &'n Notify,
    calls: u64,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.notify.0.lock().unwrap();
        if state.calls != self.calls || std::mem::take(&mut state.has_permit) {
            return Poll::Ready(());
        }
        state.waiting.push(context.waker().clone());
        Poll::Pending
    }
}
