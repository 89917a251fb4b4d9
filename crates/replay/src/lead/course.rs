//! What is streamed, and when it is due.

use std::sync::Arc;

use crate::lead::schedule::Schedule;
use crate::order::EventOrder;
use crate::place::NamePosition;
use crate::time::Start;

/// The events of a stream and their schedule.
pub struct Course {
    pub(crate) order: Box<dyn EventOrder>,
    pub(crate) places: Arc<dyn NamePosition>,
    pub(crate) schedule: Schedule,
    pub(crate) start: Start,
    pub(crate) max_events: Option<u64>,
}

impl Course {
    /// All events of `order`, due by `schedule`, which counts from `start`. `places` names their
    /// rows in error messages.
    pub fn new(
        order: Box<dyn EventOrder>,
        places: Arc<dyn NamePosition>,
        schedule: Schedule,
        start: Start,
    ) -> Self {
        Self {
            order,
            places,
            schedule,
            start,
            max_events: None,
        }
    }

    /// Stops after this many events; `None` streams them all.
    #[must_use]
    pub fn at_most(mut self, max_events: Option<u64>) -> Self {
        self.max_events = max_events;
        self
    }
}
