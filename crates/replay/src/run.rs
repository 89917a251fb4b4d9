//! What all parts of one running stream share: one context in place of many parameters.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::crew::Crew;
use crate::ending::Ending;
use crate::sending::Sending;
use crate::tap::Taps;
use crate::tell::meters::Meters;
use crate::tell::progress::Progress;
use crate::time::{Start, WallNs};
use crate::window::Window;

/// The shared switches and counters of one running stream. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    start: Start,
    ending: Ending,
    sending: Sending,
    taps: Taps,
    window: Arc<Window>,
    meters: Arc<Meters>,
    progress: watch::Sender<Progress>,
    crew: Crew,
}

impl Run {
    /// The context of a stream over `outputs` outputs that has handed nothing over.
    pub(crate) fn new(
        start: Start,
        ending: Ending,
        window: Arc<Window>,
        outputs: usize,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self {
            start,
            ending,
            sending: Sending::default(),
            taps: Taps::default(),
            window,
            meters: Arc::new(Meters::new(outputs)),
            progress,
            crew: Crew::default(),
        }
    }

    /// The same stream, whose work that may block is done by `crew`.
    pub(crate) fn by_crew(mut self, crew: Crew) -> Self {
        self.crew = crew;
        self
    }

    /// Who does the work that may block.
    pub(crate) fn crew(&self) -> &Crew {
        &self.crew
    }

    /// The moment that wall times are counted from.
    pub(crate) fn start(&self) -> Start {
        self.start
    }

    /// When an instant lies, in nanoseconds since the start.
    pub(crate) fn at(&self, instant: Instant) -> WallNs {
        self.start.at(instant)
    }

    /// The switch that ends the stream early.
    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    /// The switch that holds the lanes back while the stream is paused.
    pub(crate) fn sending(&self) -> &Sending {
        &self.sending
    }

    /// Who has copies made of what becomes of the next events.
    pub(crate) fn taps(&self) -> &Taps {
        &self.taps
    }

    /// How far handing over may run ahead of what is durable.
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// The counters of the stream's events.
    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// The snapshot that watchers of the stream see.
    pub(crate) fn progress(&self) -> &watch::Sender<Progress> {
        &self.progress
    }
}
