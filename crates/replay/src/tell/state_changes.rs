//! Every change of a stream's state, in order and none left out, beside the sampled progress.
//!
//! A change is an act, the start of the schedule, an outage of a second or more, or the end. They
//! are rare: a receiver that reads nothing holds some hundred bytes for each. That events are held
//! back for a moment by the window or by a busy gate is no change here: it comes and goes with
//! every save.

use std::time::SystemTime;

use envelope::EventTime;
use tokio::sync::mpsc;

use crate::tell::state::State;

/// One change of a stream's state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// When the change was noticed, by the stream's clock.
    pub at: SystemTime,
    /// The state before.
    pub from: State,
    /// The state from now on.
    pub to: State,
    /// What is wrong with the gate or the store that is away; `None` for other states.
    pub why: Option<String>,
    /// Events acknowledged until then.
    pub acknowledged: u64,
    /// The event time of the last acknowledged event; `None` before the first.
    pub event_time: Option<EventTime>,
}

/// Receives every change of a stream's state.
#[derive(Debug)]
pub struct StateChanges(mpsc::UnboundedReceiver<StateChange>);

/// The stream's end of [`StateChanges`].
#[derive(Debug, Clone)]
pub struct StateChangesSender(mpsc::UnboundedSender<StateChange>);

impl StateChanges {
    /// A channel for the changes of one stream, whose first state is [`State::Starting`].
    pub fn channel() -> (StateChangesSender, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (StateChangesSender(sender), Self(receiver))
    }

    /// The next change; `None` once the stream has ended and all its changes were received.
    pub async fn next(&mut self) -> Option<StateChange> {
        self.0.recv().await
    }

    /// The next change, if one waits.
    pub fn try_next(&mut self) -> Option<StateChange> {
        self.0.try_recv().ok()
    }
}

impl StateChangesSender {
    pub(crate) fn send(&self, change: StateChange) {
        // A receiver that is gone wants no changes.
        let _ = self.0.send(change);
    }
}
