//! Lanes: the fixed set of lines to the ingestion gate.
//!
//! ```text
//!              offer(key)               one request in flight
//! dispatcher ───────────────► queue ──► lane task ──► gate
//!                             (short)       │
//!                                           └── Answered ──► keeper
//! ```
//!
//! With `ordering: key` all events of one ordering key go by the same lane and so
//! arrive in order; the number of lanes is fixed for a run, since changing it
//! would move keys between lanes. With `none` all lanes take from one queue.
//!
//! A queue hides the way from the dispatcher to the lane. When one is full the
//! dispatcher sleeps for a moment instead of waiting to be woken: a lane that had to
//! wake it after every event would cost two switches of threads an event, more than
//! the whole rest of the way. The queue is deep enough not to run dry meanwhile.
//!
//! Queues are bounded by events. Large ones are bounded by their bytes besides, from here
//! until the last copy of one is gone, over all lanes together: a queue of events of 16 MiB
//! would be all the memory there is.

pub(crate) mod lane_threads;
pub(crate) mod lane;
pub(crate) mod stamp;
pub(crate) mod gate_figures;
pub(crate) mod gateway;

use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender, TrySendError, bounded};
use bytes::Bytes;
use envelope::EventId;
use model::Bug;
use serde::{Deserialize, Serialize};

use crate::place::Position;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::WallNs;

/// Which events keep their order on the way to the ingestion gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneOrdering {
    /// Events of one ordering key arrive in order.
    Key,
    /// All events arrive in order: one lane.
    Strict,
    /// Any free lane takes the next event.
    None,
}

/// How many of the lanes may have a request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// All lanes, always.
    Fixed,
    /// Fewer on 429, 503 and rising latency; more when it goes well.
    Adaptive,
}

/// The number of lanes of a stream, and so of requests in flight at once: 1 to [`LaneCount::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneCount(u16);

impl LaneCount {
    /// One lane.
    pub const ONE: Self = Self(1);
    /// The most lanes that a stream may have.
    pub const MAX: usize = 4_096;

    /// A number of lanes; `None` for 0 and for more than [`LaneCount::MAX`].
    pub fn new(lanes: usize) -> Option<Self> {
        let is_usable = (1..=Self::MAX).contains(&lanes);
        is_usable.then_some(Self(lanes as u16))
    }

    /// The number.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// How events are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneSettings {
    /// Requests in flight at once.
    pub count: LaneCount,
    /// Which events keep their order.
    pub ordering: LaneOrdering,
    /// How many of the lanes may have a request in flight.
    pub concurrency: Concurrency,
    /// How long a stop waits for the answers of requests in flight.
    pub drain_timeout: Duration,
    /// Bytes of large events that all lanes may hold together.
    pub in_flight_bytes: u64,
    /// Names of `error` in the gate's answers by which it says that it is away, beside the
    /// known ones.
    pub transient_errors: Vec<String>,
    /// An envelope with more bytes is refused before it is sent; at least 1.
    pub max_event_bytes: usize,
    /// Whether each envelope says in `emitted_at_utc` when its event set out: once, so that retries
    /// repeat the same bytes.
    pub stamps_emission: bool,
}

/// Events that may wait before each lane. Keys fall on lanes by chance, so some queues are
/// full while others run dry: the deeper they are, the rarer is a lane without work.
const QUEUE: usize = 256;
/// How long the dispatcher sleeps before it looks at a full queue again.
pub(crate) const FULL_PAUSE: Duration = Duration::from_micros(500);

/// Events below this size are not counted by their bytes: full queues of them are small.
const LARGE_EVENT_BYTES: usize = 4 << 10;

/// An event on its way to a lane.
#[derive(Debug)]
pub(crate) struct HandedOver {
    /// The output's place in the list.
    pub(crate) output: usize,
    /// The event's number in its output, in the order of handing over.
    pub(crate) sequence: u64,
    /// Where it stands in its output.
    pub(crate) position: Position,
    /// The event's identity.
    pub(crate) id: EventId,
    /// When it was due; absent in an unpaced stream.
    pub(crate) due: Option<WallNs>,
    /// The envelope.
    pub(crate) body: Bytes,
}

/// The dispatcher's ends of the lanes' queues.
#[derive(Debug)]
pub(crate) struct Lanes {
    queues: Vec<Sender<HandedOver>>,
    large: Arc<LargeEvents>,
}

/// The bytes of large events that lanes hold together.
#[derive(Debug)]
struct LargeEvents {
    most: u64,
    held: AtomicU64,
}

/// A large event, which counts until it is dropped.
struct Counted {
    body: Bytes,
    events: Arc<LargeEvents>,
}

impl LargeEvents {
    /// Counts an event, if there is room for it. There always is for one.
    fn try_count(self: &Arc<Self>, body: &Bytes) -> Option<Bytes> {
        let bytes = body.len() as u64;
        let counted = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held == 0 || held + bytes <= self.most).then_some(held + bytes)
            });
        counted.ok().map(|_| {
            Bytes::from_owner(Counted {
                body: body.clone(),
                events: Arc::clone(self),
            })
        })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let bytes = self.body.len() as u64;
        self.events.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The lanes' ends.
pub(crate) type LaneQueue = Receiver<HandedOver>;

impl Lanes {
    /// The queues of the lanes that `settings` name, and the end that each lane takes from.
    pub(crate) fn new(settings: &LaneSettings) -> (Self, Vec<LaneQueue>) {
        let (count, ordering) = (settings.count.get(), settings.ordering);
        let (queues, ends) = match ordering {
            LaneOrdering::Key => (0..count).map(|_| bounded(QUEUE)).unzip(),
            LaneOrdering::Strict => {
                let (queue, end) = bounded(QUEUE);
                (vec![queue], vec![end])
            }
            LaneOrdering::None => {
                let (queue, end) = bounded(QUEUE * count);
                (vec![queue], vec![end; count])
            }
        };
        let large = Arc::new(LargeEvents {
            most: settings.in_flight_bytes,
            held: AtomicU64::new(0),
        });
        (Self { queues, large }, ends)
    }

    /// The number of events that no lane has begun yet.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.iter().map(Sender::len).sum()
    }

    /// Puts an event into the queue of its key's lane, if there is a place for it and, for a
    /// large one, room for its bytes. Never waits.
    pub(crate) fn offer(&self, ordering_key: u64, mut event: HandedOver) -> Offered {
        let number = if Bug::KeysChangeLanes.is_planted() {
            event.sequence
        } else {
            // The low half decides the shard: of one shard it is the same for all keys.
            ordering_key >> 32
        };
        let queue = &self.queues[(number % self.queues.len() as u64) as usize];
        if event.body.len() >= LARGE_EVENT_BYTES {
            if queue.is_closed() {
                return Offered::Gone;
            }
            // Nobody else fills the queue: once its bytes count, the event has its place.
            if queue.is_full() {
                return Offered::Full(event);
            }
            match self.large.try_count(&event.body) {
                Some(counted) => event.body = counted,
                None => return Offered::Full(event),
            }
        }
        match queue.try_send(event) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(back)) => Offered::Full(back),
            Err(TrySendError::Closed(_)) => Offered::Gone,
        }
    }
}

/// What became of an event that was offered to its lane.
#[derive(Debug)]
pub(crate) enum Offered {
    /// The lane has it.
    Taken,
    /// There is no place for it yet: offer it again after a moment.
    Full(HandedOver),
    /// The lanes are gone: the stream winds down.
    Gone,
}

#[cfg(test)]
mod tests {
    use envelope::EventTime;

    use super::*;

    const MOST: u64 = 1 << 20;

    fn settings(count: usize, ordering: LaneOrdering) -> LaneSettings {
        LaneSettings {
            count: LaneCount::new(count).unwrap(),
            ordering,
            concurrency: Concurrency::Fixed,
            drain_timeout: Duration::ZERO,
            in_flight_bytes: MOST,
            transient_errors: Vec::new(),
            max_event_bytes: 1,
            stamps_emission: false,
        }
    }

    #[test]
    fn a_stream_has_at_least_one_lane_and_at_most_4096() {
        for (lanes, is_usable) in [(0, false), (1, true), (4_096, true), (4_097, false)] {
            assert_eq!(LaneCount::new(lanes).is_some(), is_usable, "{lanes}");
        }
    }

    fn event(sequence: u64) -> HandedOver {
        let position = Position {
            part: 0,
            row: sequence,
            time: EventTime::from_nanos(0).unwrap(),
        };
        HandedOver {
            output: 0,
            sequence,
            position,
            due: None,
            id: EventId::from_bytes([0; 32]),
            body: Bytes::new(),
        }
    }

    fn is_taken(lanes: &Lanes, key: u64, event: HandedOver) -> bool {
        matches!(lanes.offer(key, event), Offered::Taken)
    }

    #[test]
    fn one_key_goes_by_one_lane_in_order() {
        let (lanes, ends) = Lanes::new(&settings(4, LaneOrdering::Key));
        for sequence in 0..8 {
            assert!(is_taken(&lanes, 6 << 32, event(sequence)));
        }
        let taken: Vec<_> = std::iter::from_fn(|| ends[2].try_recv().ok()).collect();
        assert_eq!(
            taken.iter().map(|e| e.sequence).collect::<Vec<_>>(),
            (0..8).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_lane_that_is_gone_says_so_instead_of_blocking() {
        let (lanes, ends) = Lanes::new(&settings(1, LaneOrdering::Strict));
        drop(ends);
        assert!(matches!(lanes.offer(0, event(0)), Offered::Gone));
    }

    fn large_event(sequence: u64, bytes: usize) -> HandedOver {
        HandedOver {
            body: vec![7; bytes].into(),
            ..event(sequence)
        }
    }

    #[test]
    fn large_events_wait_until_others_are_gone() {
        let (lanes, ends) = Lanes::new(&settings(4, LaneOrdering::Key));
        let (third, whole) = (300 << 10, 2 << 20);
        for sequence in 0..3 {
            assert!(is_taken(
                &lanes,
                sequence << 32,
                large_event(sequence, third)
            ));
        }
        // Small ones do not count.
        assert!(is_taken(&lanes, 3 << 32, large_event(3, 100)));
        let mut waiting = large_event(4, whole);
        let mut no_room = || match lanes.offer(0, large_event(4, whole)) {
            Offered::Full(back) => waiting = back,
            other => panic!("{other:?}"),
        };
        for end in &ends[..3] {
            no_room();
            let event = end.try_recv().unwrap();
            assert_eq!(event.body, vec![7; third]);
            // A copy, as the quarantine keeps one, counts like the event.
            let copy = event.body.clone();
            drop(event);
            no_room();
            drop(copy);
        }
        assert!(is_taken(&lanes, 0, waiting));
        let event = ends[0].try_recv().unwrap();
        assert_eq!((event.sequence, event.body.len()), (4, whole));
        assert_eq!(lanes.large.held.load(Ordering::Relaxed), whole as u64);
        drop(event);
        assert_eq!(lanes.large.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_large_event_does_not_wait_for_lanes_that_are_gone() {
        let (lanes, ends) = Lanes::new(&settings(1, LaneOrdering::Strict));
        assert!(is_taken(&lanes, 0, large_event(0, 1 << 20)));
        let held = ends[0].try_recv().unwrap();
        drop(ends);
        let offered = lanes.offer(0, large_event(1, 1 << 20));
        assert!(matches!(offered, Offered::Gone));
        drop(held);
    }
}
