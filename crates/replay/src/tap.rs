//! Taps: copies of what becomes of the next events, for whoever asks.
//!
//! ```text
//! lane: begins an event ── claims a place of each open tap ──► sends it ──► puts what came of it
//!                                                                               │ (never waits)
//!                                                            reader ◄── a short queue of the tap
//! ```
//!
//! A tap of N events has N places. Lanes claim them as they begin events, so that it copies the
//! next N and no other; which lane begins first is not defined. Where nobody taps, that is one
//! read of an atomic an event. A reader that is slow loses copies, which are counted, and never
//! holds a lane up. Copies of envelopes are bounded: see [`MOST_ENVELOPE_BYTES`].

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use envelope::EventTime;
use tokio::sync::mpsc;

use crate::place::Position;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// The most events of one tap.
pub const MOST_TAPPED_EVENTS: u64 = 100_000;
/// Taps that may be open at once.
const MOST_TAPS: usize = 4;
/// Copies that wait for the reader of a tap.
const WAITING: usize = 256;
/// A longer envelope is not copied: all that wait are at most 64 MiB.
const MOST_ENVELOPE_BYTES: usize = 64 << 10;

/// What a tap copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TapSettings {
    /// The number of events, 1 to [`MOST_TAPPED_EVENTS`].
    pub events: u64,
    /// Whether envelopes are copied too.
    pub with_envelopes: bool,
}

impl TapSettings {
    /// A tap of the next `events` events.
    ///
    /// # Errors
    /// A sentence, for no event and for more than [`MOST_TAPPED_EVENTS`].
    pub fn new(events: u64, with_envelopes: bool) -> Result<Self, String> {
        if (1..=MOST_TAPPED_EVENTS).contains(&events) {
            return Ok(Self {
                events,
                with_envelopes,
            });
        }
        Err(format!(
            "a tap copies 1 to {MOST_TAPPED_EVENTS} events, and not {events}"
        ))
    }
}

/// A copy of what became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TappedEvent {
    /// The id of the event; empty if its envelope does not begin with one.
    pub event_id: String,
    /// The place of the event's output in the list.
    pub output: usize,
    /// Where the event stands in its output, for people.
    pub place: String,
    /// The event time.
    pub event_time: EventTime,
    /// When the event was due; `None` in an unpaced stream.
    pub due: Option<SystemTime>,
    /// When its first post began; `None` where it was not acknowledged.
    pub sent: Option<SystemTime>,
    /// When the acknowledgement was whole; `None` where it was not acknowledged.
    pub answered: Option<SystemTime>,
    /// The gate's decision, or what became of the event instead, such as `REJECTED`.
    pub outcome: &'static str,
    /// The length of the envelope in bytes.
    pub envelope_bytes: usize,
    /// The envelope; `None` where it was not asked for, and where it is longer than 64 KiB.
    pub envelope: Option<Bytes>,
}

/// The reader's end of a tap. To drop it closes the tap.
#[derive(Debug)]
pub struct Tapped {
    events: mpsc::Receiver<TappedEvent>,
    dropped: Arc<AtomicU64>,
    taps: Taps,
}

impl Tapped {
    /// The next copy; `None` once all were received or dropped, or the stream has ended.
    pub async fn next(&mut self) -> Option<TappedEvent> {
        self.events.recv().await
    }

    /// Copies that were lost since this reader was slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Acquire)
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        let mut state = self.taps.lock();
        state.readers -= 1;
        state
            .open
            .retain(|open| !Arc::ptr_eq(&open.line.dropped, &self.dropped));
        self.taps.show(&state);
    }
}

/// One tap, kept by its places and by events that have claimed one: its reader is done with the last.
#[derive(Debug)]
struct Line {
    with_envelopes: bool,
    copies: mpsc::Sender<TappedEvent>,
    dropped: Arc<AtomicU64>,
}

/// A tap with the places that no lane has claimed.
#[derive(Debug)]
struct Open {
    line: Arc<Line>,
    left: u64,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Open>,
    readers: usize,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    /// The number of taps with places, which lanes look at before they take the lock.
    open: AtomicU64,
    state: Mutex<State>,
}

/// The taps of one stream. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taps(Arc<Shared>);

/// Ends all taps of a stream when it is dropped.
#[must_use]
pub(crate) struct EndOfTaps(Taps);

impl Drop for EndOfTaps {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.has_ended = true;
        state.open.clear();
        self.0.show(&state);
    }
}

impl Taps {
    /// Opens a tap; `None` where as many are open as may be.
    pub(crate) fn open(&self, settings: TapSettings) -> Option<Tapped> {
        let (copies, events) = mpsc::channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut state = self.lock();
        if state.readers >= MOST_TAPS {
            return None;
        }
        state.readers += 1;
        if !state.has_ended {
            let line = Line {
                with_envelopes: settings.with_envelopes,
                copies,
                dropped: Arc::clone(&dropped),
            };
            state.open.push(Open {
                line: Arc::new(line),
                left: settings.events,
            });
        }
        self.show(&state);
        drop(state);
        let taps = self.clone();
        Some(Tapped {
            events,
            dropped,
            taps,
        })
    }

    /// Ends all taps once the guard is dropped.
    pub(crate) fn until_dropped(&self) -> EndOfTaps {
        EndOfTaps(self.clone())
    }

    fn show(&self, state: &State) {
        let open = state.open.len() as u64;
        self.0.open.store(open, Ordering::Release);
    }

    /// Claims a place of each open tap for an event that a lane begins; `None` where nobody taps.
    pub(crate) fn claim(&self, envelope: &Bytes) -> Option<Box<Claim>> {
        if self.0.open.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut lines = Vec::new();
        let mut state = self.lock();
        for open in &mut state.open {
            open.left = open.left.saturating_sub(1);
            lines.push(Arc::clone(&open.line));
        }
        state.open.retain(|open| open.left > 0);
        self.show(&state);
        drop(state);
        if lines.is_empty() {
            return None;
        }
        let is_wanted = lines.iter().any(|line| line.with_envelopes);
        // Bytes of its own: a slice would keep the memory of the whole batch.
        let copy = (is_wanted && envelope.len() <= MOST_ENVELOPE_BYTES)
            .then(|| Bytes::copy_from_slice(envelope));
        Some(Box::new(Claim {
            lines,
            envelope_bytes: envelope.len(),
            envelope: copy,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a lane knows of an event once something final is known.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) event_id: String,
    pub(crate) output: usize,
    pub(crate) position: Position,
    pub(crate) place: String,
    pub(crate) due: Option<SystemTime>,
    pub(crate) sent: Option<SystemTime>,
    pub(crate) answered: Option<SystemTime>,
    pub(crate) what: &'static str,
}

/// The places of one event at the taps that were open when it began.
#[derive(Debug)]
pub(crate) struct Claim {
    lines: Vec<Arc<Line>>,
    envelope_bytes: usize,
    envelope: Option<Bytes>,
}

impl Claim {
    /// Gives each tap its copy, or counts it as dropped where its reader is slow.
    pub(crate) fn settle(self, outcome: Outcome) {
        let copy = TappedEvent {
            event_id: outcome.event_id,
            output: outcome.output,
            place: outcome.place,
            event_time: outcome.position.time,
            due: outcome.due,
            sent: outcome.sent,
            answered: outcome.answered,
            outcome: outcome.what,
            envelope_bytes: self.envelope_bytes,
            envelope: None,
        };
        for line in &self.lines {
            let envelope = self.envelope.clone().filter(|_| line.with_envelopes);
            let copy = TappedEvent {
                envelope,
                ..copy.clone()
            };
            if line.copies.try_send(copy).is_err() {
                line.dropped.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

/// Every order in which lanes and whoever taps may meet.
#[cfg(all(test, feature = "loom"))]
mod models {
    use loom::thread;

    use super::*;

    fn claims(taps: &Taps) -> thread::JoinHandle<bool> {
        let taps = taps.clone();
        thread::spawn(move || taps.claim(&Bytes::new()).is_some())
    }

    #[test]
    fn two_lanes_claim_no_more_places_than_a_tap_has() {
        loom::model(|| {
            let taps = Taps::default();
            let settings = TapSettings::new(1, false).unwrap();
            let tapped = taps.open(settings).unwrap();
            let lanes = [claims(&taps), claims(&taps)];
            let claimed = lanes.map(|lane| lane.join().unwrap());
            assert_eq!(claimed.iter().filter(|has_one| **has_one).count(), 1);
            drop(tapped);
        });
    }

    #[test]
    fn a_tap_that_closes_beside_a_lane_leaves_none_open() {
        loom::model(|| {
            let taps = Taps::default();
            let settings = TapSettings::new(2, false).unwrap();
            let tapped = taps.open(settings).unwrap();
            let lane = claims(&taps);
            drop(tapped);
            lane.join().unwrap();
            assert!(taps.claim(&Bytes::new()).is_none());
        });
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    fn outcome(row: u64) -> Outcome {
        let (part, time) = (0, EventTime::EPOCH);
        Outcome {
            event_id: "e".repeat(64),
            output: 0,
            position: Position { part, row, time },
            place: format!("row {row}"),
            due: None,
            sent: None,
            answered: None,
            what: "ADMIT",
        }
    }

    /// Sends an event past the taps, as a lane does.
    fn send(taps: &Taps, row: u64, envelope: &Bytes) {
        if let Some(claim) = taps.claim(envelope) {
            claim.settle(outcome(row));
        }
    }

    #[tokio::test]
    async fn a_tap_copies_the_next_events_and_no_other_and_ends_by_itself() {
        let taps = Taps::default();
        let envelope = Bytes::from_static(b"{}");
        send(&taps, 0, &envelope);
        let mut tapped = taps.open(TapSettings::new(2, false).unwrap()).unwrap();
        for row in 1..5 {
            send(&taps, row, &envelope);
        }
        for row in 1..3 {
            let copy = tapped.next().await.unwrap();
            assert_eq!((copy.place, copy.envelope), (format!("row {row}"), None));
        }
        assert_eq!((tapped.next().await, tapped.dropped()), (None, 0));
    }

    #[tokio::test]
    async fn a_reader_that_is_slow_loses_copies_which_are_counted() {
        let taps = Taps::default();
        let most = WAITING as u64;
        let mut tapped = taps
            .open(TapSettings::new(most + 7, true).unwrap())
            .unwrap();
        let envelope = Bytes::from(vec![b'x'; MOST_ENVELOPE_BYTES]);
        for row in 0..2 * most {
            send(&taps, row, &envelope);
        }
        let mut copies = 0;
        while let Some(copy) = tapped.next().await {
            assert_eq!(copy.envelope.as_ref(), Some(&envelope));
            copies += 1;
        }
        assert_eq!((copies, tapped.dropped()), (most, 7));
    }

    #[tokio::test]
    async fn a_long_envelope_is_told_by_its_length() {
        let taps = Taps::default();
        let mut tapped = taps.open(TapSettings::new(1, true).unwrap()).unwrap();
        let length = MOST_ENVELOPE_BYTES + 1;
        send(&taps, 0, &Bytes::from(vec![b'x'; length]));
        let copy = tapped.next().await.unwrap();
        assert_eq!((copy.envelope, copy.envelope_bytes), (None, length));
    }

    #[tokio::test]
    async fn the_end_of_the_stream_ends_every_tap_and_none_opens_for_long() {
        let taps = Taps::default();
        let end = taps.until_dropped();
        let settings = TapSettings::new(9, false).unwrap();
        let mut open = taps.open(settings).unwrap();
        drop(end);
        assert_eq!(open.next().await, None);
        assert_eq!(taps.open(settings).unwrap().next().await, None);
    }

    #[test]
    fn taps_are_few_and_a_place_is_free_once_a_reader_goes() {
        let taps = Taps::default();
        let settings = TapSettings::new(1, false).unwrap();
        let mut open: Vec<_> = (0..MOST_TAPS)
            .map(|_| taps.open(settings).unwrap())
            .collect();
        // Its last place is taken, and its copy waits: it counts as open.
        send(&taps, 0, &Bytes::new());
        assert!(taps.open(settings).is_none());
        open.pop();
        assert!(taps.open(settings).is_some());
        assert!(TapSettings::new(0, false).is_err());
        assert!(TapSettings::new(MOST_TAPPED_EVENTS + 1, false).is_err());
    }
}
