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
    pub(crate) bounds: Bounds,
}

/// How many events a stream hands over at most; by default all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Over all outputs; `None` for all events.
    pub events: Option<u64>,
    /// Of each output, as this run hands them over; `None` for all events.
    pub events_per_output: Option<u64>,
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
            bounds: Bounds::default(),
        }
    }

    /// Hands over no more than this.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }
}
