//! Whether lanes may begin to send: shut while the stream is paused.
//!
//! Events wait in the lanes' queues before they are sent. A pause must hold those back too:
//! after it, nothing leaves that was not in flight. While paused, a step lets lanes begin as
//! many events as it names, whichever lane holds them; each key keeps its order.
//!
//! Events are counted as lanes begin them. The count, and whether the stream is paused, are one
//! atomic: so a pause knows exactly which events it came too late for, and no lane begins another.

use std::sync::Arc;

use model::Bug;

use crate::ending::Ending;
use crate::sync::Notify;
use crate::sync::atomic::{AtomicU64, Ordering};

/// What lanes begin by: bit 0 says whether the stream is paused, the next 15 count pauses and
/// resumes, the others count events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gate(u64);

impl Gate {
    const PAUSED: u64 = 1;
    const ACT: u64 = 1 << 1;
    const EVENT: u64 = 1 << 16;
    const ACTS: u64 = Self::EVENT - Self::ACT;

    fn is_paused(self) -> bool {
        self.0 & Self::PAUSED != 0
    }

    /// The number of events that lanes began.
    fn begun(self) -> u64 {
        self.0 / Self::EVENT
    }

    fn with_one_more(self) -> Self {
        Self(self.0 + Self::EVENT)
    }

    /// The gate after an act: a lane that looked at the one before must look again.
    fn after_act(self, is_paused: bool) -> Self {
        let acts = (self.0 + Self::ACT) & Self::ACTS;
        let events = self.0 & !(Self::ACTS | Self::PAUSED);
        Self(events | acts | u64::from(is_paused))
    }
}

#[derive(Debug)]
struct Shared {
    /// A [`Gate`].
    gate: AtomicU64,
    /// While the stream is paused, lanes begin no event beyond this number of them.
    limit: AtomicU64,
    changed: Notify,
}

/// The shared switch between the pilot and the lanes of one stream. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    shared: Arc<Shared>,
}

impl Default for Sending {
    fn default() -> Self {
        let shared = Shared {
            gate: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            changed: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Sending {
    /// Lets no lane begin another event, and takes back steps that no lane has used. Gives the
    /// number of events that lanes began.
    pub(crate) fn pause(&self) -> u64 {
        if Bug::PauseLeavesLanesOpen.is_planted() {
            return self.gate().begun();
        }
        // Before the gate: a lane that sees the pause sees this limit.
        self.shared.limit.store(0, Ordering::Release);
        self.act(true).begun()
    }

    /// Lets lanes begin `events` events of the whole stream, and no other.
    pub(crate) fn pause_at(&self, events: u64) {
        self.shared.limit.store(events, Ordering::Release);
        self.act(true);
    }

    /// Lets lanes begin events as they come.
    pub(crate) fn resume(&self) {
        self.act(false);
        self.shared.changed.notify_waiters();
    }

    /// Lets lanes begin this many events more while paused. Gives the number of events of the whole
    /// stream that they may begin.
    pub(crate) fn step(&self, events: u64) -> u64 {
        let events = events + u64::from(Bug::StepOneMore.is_planted());
        // Steps that no lane has used are still to be had.
        let limit = self.shared.limit.load(Ordering::Acquire);
        let limit = limit.max(self.gate().begun()).saturating_add(events);
        self.shared.limit.store(limit, Ordering::Release);
        self.shared.changed.notify_waiters();
        limit
    }

    /// Counts an event that is done without a post, such as one that is too large.
    pub(crate) fn passed_unposted(&self) {
        self.shared.gate.fetch_add(Gate::EVENT, Ordering::AcqRel);
    }

    /// Pauses or resumes; gives the gate as it is from then on.
    fn act(&self, is_paused: bool) -> Gate {
        let mut before = self.gate();
        loop {
            let after = before.after_act(is_paused);
            match self.exchange(before, after) {
                Ok(()) => return after,
                Err(now) => before = now,
            }
        }
    }

    fn gate(&self) -> Gate {
        Gate(self.shared.gate.load(Ordering::Acquire))
    }

    /// Has the gate be `after` if it is `before`; else gives what it is.
    fn exchange(&self, before: Gate, after: Gate) -> Result<(), Gate> {
        let gate = &self.shared.gate;
        let exchanged =
            gate.compare_exchange_weak(before.0, after.0, Ordering::AcqRel, Ordering::Acquire);
        exchanged.map(drop).map_err(Gate)
    }

    /// Whether all is done that lanes began, where they are held back and `done` events are done.
    pub(crate) fn is_quiet(&self, done: u64) -> bool {
        let gate = self.gate();
        !gate.is_paused() || done >= gate.begun()
    }

    /// Waits until a lane may have an event to begin; `false` if the stream winds down first. While
    /// nothing is paused that is two reads of atomics. The lane asks [`begins`](Self::begins) when
    /// it comes to posting: it may have to wait for other things first.
    pub(crate) async fn may_begin(&self, ending: &Ending) -> bool {
        loop {
            if ending.is_winding_down() {
                return false;
            }
            if self.is_open() {
                return true;
            }
            self.reopened(ending).await;
        }
    }

    fn is_open(&self) -> bool {
        self.lets_one_begin(self.gate())
    }

    fn lets_one_begin(&self, gate: Gate) -> bool {
        // In this order: the limit that is read is the one that the gate was shut with, or newer.
        !gate.is_paused() || gate.begun() < self.shared.limit.load(Ordering::Acquire)
    }

    /// Waits while lanes are held back, but no longer than until the stream winds down.
    async fn reopened(&self, ending: &Ending) {
        let changed = self.shared.changed.notified();
        // Looked at again: what changed before is not told any more.
        if !self.is_open() {
            tokio::select! {
                biased;
                () = ending.winding_down() => {}
                () = changed => {}
            }
        }
    }

    /// Whether a lane may post an event for the first time now; while paused, that takes a step.
    pub(crate) fn begins(&self) -> bool {
        let mut gate = self.gate();
        while self.lets_one_begin(gate) {
            match self.exchange(gate, gate.with_one_more()) {
                Ok(()) => return true,
                Err(now) => gate = now,
            }
        }
        false
    }
}

/// Every order in which lanes and the pilot may meet at the switch.
#[cfg(all(test, feature = "loom"))]
mod models {
    use loom::thread::{self, JoinHandle};

    use super::*;
    use crate::ending::Cause;
    use crate::sync::waiting::block_on;

    /// Lanes that try to begin one event each, and give how many they began.
    fn lanes(sending: &Sending, count: usize) -> Vec<JoinHandle<u64>> {
        let lane = |_| {
            let sending = sending.clone();
            thread::spawn(move || u64::from(sending.begins()))
        };
        (0..count).map(lane).collect()
    }

    fn begun_by(lanes: Vec<JoinHandle<u64>>) -> u64 {
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    }

    #[test]
    fn two_lanes_begin_no_more_events_than_there_are_steps() {
        loom::model(|| {
            let sending = Sending::default();
            sending.pause();
            let lanes = lanes(&sending, 2);
            sending.step(1);
            let begun = begun_by(lanes);
            assert!(begun <= 1, "{begun} begun by one step");
            // The step is used, or waits: it is never lost.
            assert_eq!(begun + u64::from(sending.begins()), 1);
        });
    }

    #[test]
    fn a_pause_knows_of_every_event_that_a_lane_began_and_no_lane_begins_another() {
        loom::model(|| {
            let sending = Sending::default();
            let lanes = lanes(&sending, 2);
            let known = sending.pause();
            assert_eq!(begun_by(lanes), known);
            assert!(!sending.begins());
        });
    }

    #[test]
    fn a_pause_takes_steps_back_that_no_lane_has_used_and_knows_of_the_others() {
        loom::model(|| {
            let sending = Sending::default();
            sending.pause();
            sending.step(2);
            let lanes = lanes(&sending, 2);
            let known = sending.pause();
            assert_eq!(begun_by(lanes), known);
            assert!(!sending.begins());
        });
    }

    #[test]
    fn a_resume_between_two_pauses_lets_begin_what_the_second_knows_of() {
        loom::model(|| {
            let sending = Sending::default();
            sending.pause();
            let lanes = lanes(&sending, 2);
            sending.resume();
            let known = sending.pause();
            assert_eq!(begun_by(lanes), known);
            assert_eq!(sending.step(1), known + 1);
            assert!(sending.begins() && !sending.begins());
        });
    }

    /// A lane that is held back, and what `act` of another thread lets it do.
    fn held_back(act: impl Fn(&Sending, &Ending) + Clone + Send + Sync + 'static, begins: bool) {
        loom::model(move || {
            let (sending, ending) = (Sending::default(), Ending::default());
            sending.pause();
            let lane = {
                let (sending, ending) = (sending.clone(), ending.clone());
                thread::spawn(move || block_on(sending.may_begin(&ending)))
            };
            act(&sending, &ending);
            // If the lane is not woken, this never ends, and loom says so.
            assert_eq!(lane.join().unwrap(), begins);
        });
    }

    #[test]
    fn a_lane_that_is_held_back_is_woken_by_a_resume() {
        held_back(|sending, _| sending.resume(), true);
    }

    #[test]
    fn a_lane_that_is_held_back_is_woken_by_a_step() {
        held_back(
            |sending, _| {
                sending.step(1);
            },
            true,
        );
    }

    #[test]
    fn a_lane_that_is_held_back_is_woken_by_a_stop() {
        held_back(|_, ending| ending.wind_down(Cause::Asked), false);
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "the test goes by the machine's clock"
    )]

    use std::time::Duration;

    use super::*;
    use crate::ending::Cause;

    async fn is_held(sending: &Sending, ending: &Ending) -> bool {
        let soon = Duration::from_millis(20);
        tokio::time::timeout(soon, sending.may_begin(ending))
            .await
            .is_err()
    }

    #[tokio::test]
    async fn a_pause_holds_lanes_back_and_steps_let_so_many_events_pass() {
        let (sending, ending) = (Sending::default(), Ending::default());
        assert!(sending.may_begin(&ending).await);
        sending.pause();
        assert!(is_held(&sending, &ending).await);
        sending.step(2);
        for _ in 0..2 {
            assert!(sending.may_begin(&ending).await && sending.begins());
        }
        assert!(is_held(&sending, &ending).await && !sending.begins());
        sending.step(1);
        sending.pause();
        assert!(is_held(&sending, &ending).await, "a pause ends the steps");
        assert!(!sending.begins());
        sending.resume();
        assert!(sending.may_begin(&ending).await && sending.begins());
    }

    #[test]
    fn it_is_known_how_many_events_are_done_once_all_that_may_leave_are() {
        let sending = Sending::default();
        for _ in 0..3 {
            assert!(sending.begins());
        }
        assert_eq!(sending.pause(), 3);
        assert!(!sending.is_quiet(2) && sending.is_quiet(3));
        assert_eq!(sending.step(2), 5);
        assert!(sending.begins() && sending.begins() && !sending.begins());
        assert!(!sending.is_quiet(4) && sending.is_quiet(5));
        sending.pause_at(6);
        assert!(sending.begins() && !sending.begins());
    }

    #[tokio::test]
    async fn once_the_stream_winds_down_no_lane_begins_another_event() {
        let (sending, ending) = (Sending::default(), Ending::default());
        ending.wind_down(Cause::Asked);
        assert!(!sending.may_begin(&ending).await);
        sending.step(1);
        assert!(!sending.may_begin(&ending).await);
    }

    #[tokio::test]
    async fn a_lane_that_is_held_back_learns_of_a_resume_and_of_a_stop() {
        for is_stop in [false, true] {
            let (sending, ending) = (Sending::default(), Ending::default());
            sending.pause();
            let waiting = tokio::spawn({
                let (sending, ending) = (sending.clone(), ending.clone());
                async move { sending.may_begin(&ending).await }
            });
            tokio::task::yield_now().await;
            if is_stop {
                ending.wind_down(Cause::Asked);
            } else {
                sending.resume();
            }
            assert_eq!(waiting.await.unwrap(), !is_stop);
        }
    }
}
