//! Whether lanes may begin to send: shut while the stream is paused.
//!
//! Events wait in the lanes' queues before they are sent. A pause must hold those back too:
//! after it, nothing leaves that was not in flight. While paused, a step lets lanes begin as
//! many events as it names, whichever lane holds them; each key keeps its order.
//!
//! Events are counted as lanes begin them, and a pause is a limit of that count. So it is known
//! which count of done events means that all that was let leave is done.

use std::sync::Arc;

use model::Bug;
use tokio::sync::Notify;

use crate::ending::Ending;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The limit of a stream that is not paused.
const NO_LIMIT: u64 = u64::MAX;

#[derive(Debug)]
struct Shared {
    /// The number of events that lanes began.
    begun: AtomicU64,
    /// Lanes begin no event beyond this number of them.
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
            begun: AtomicU64::new(0),
            limit: AtomicU64::new(NO_LIMIT),
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
        let begun = self.begun();
        if !Bug::PauseLeavesLanesOpen.is_planted() {
            self.pause_at(begun);
        }
        begun
    }

    /// Lets lanes begin `events` events of the whole stream, and no other.
    pub(crate) fn pause_at(&self, events: u64) {
        self.shared.limit.store(events, Ordering::Release);
    }

    /// Lets lanes begin events as they come.
    pub(crate) fn resume(&self) {
        self.shared.limit.store(NO_LIMIT, Ordering::Release);
        self.shared.changed.notify_waiters();
    }

    /// Lets lanes begin this many events more while paused. Gives the number of events of the whole
    /// stream that they may begin.
    pub(crate) fn step(&self, events: u64) -> u64 {
        let events = events + u64::from(Bug::StepOneMore.is_planted());
        // A lane that saw no limit just before a pause may have begun one beyond it.
        let limit = self.shared.limit.load(Ordering::Acquire).max(self.begun());
        let limit = limit.saturating_add(events);
        self.shared.limit.store(limit, Ordering::Release);
        self.shared.changed.notify_waiters();
        limit
    }

    /// Counts an event that is done without a post, such as one that is too large.
    pub(crate) fn passed_unposted(&self) {
        self.shared.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// The number of events that lanes began.
    fn begun(&self) -> u64 {
        self.shared.begun.load(Ordering::Acquire)
    }

    /// Whether all is done that lanes began, where they are held back and `done` events are done.
    pub(crate) fn is_quiet(&self, done: u64) -> bool {
        self.shared.limit.load(Ordering::Acquire) == NO_LIMIT || done >= self.begun()
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
        self.begun() < self.shared.limit.load(Ordering::Acquire)
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
        let Shared { begun, limit, .. } = &*self.shared;
        if limit.load(Ordering::Acquire) == NO_LIMIT {
            begun.fetch_add(1, Ordering::AcqRel);
            return true;
        }
        let begin = |begun: u64| (begun < limit.load(Ordering::Acquire)).then(|| begun + 1);
        begun
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, begin)
            .is_ok()
    }
}

/// Every order in which lanes and the pilot may meet at the switch.
#[cfg(all(test, feature = "loom"))]
mod models {
    use loom::thread;

    use super::*;

    #[test]
    fn two_lanes_begin_no_more_events_than_there_are_steps() {
        loom::model(|| {
            let sending = Sending::default();
            sending.pause();
            let lanes: Vec<_> = (0..2)
                .map(|_| {
                    let sending = sending.clone();
                    thread::spawn(move || u64::from(sending.begins()))
                })
                .collect();
            sending.step(1);
            let begun: u64 = lanes.into_iter().map(|lane| lane.join().unwrap()).sum();
            assert!(begun <= 1, "{begun} begun by one step");
            // The step is used, or waits: it is never lost.
            assert_eq!(begun + u64::from(sending.begins()), 1);
        });
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
