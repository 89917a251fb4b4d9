//! Lanes: the fixed set of lines to the ingestion gate.
//!
//! ```text
//!            hand_over(key)             one request in flight
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

pub mod lane;
pub mod lane_threads;
pub mod sending;

use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender, TrySendError, bounded};
use bytes::Bytes;

use crate::keep::watermark::Position;
use crate::lead::schedule::WallNs;
use crate::profile::LaneOrdering;

/// Events that may wait before each lane. Keys fall on lanes by chance, so some queues are
/// full while others run dry: the deeper they are, the rarer is a lane without work.
const QUEUE: usize = 256;
/// How long the dispatcher sleeps before it looks at a full queue again.
const FULL_PAUSE: Duration = Duration::from_micros(500);

/// An event on its way to a lane.
#[derive(Debug)]
pub struct HandedOver {
    /// The output's place in the list.
    pub output: usize,
    /// The event's number in its output, in the order of handing over.
    pub sequence: u64,
    /// Where it stands in its output.
    pub position: Position,
    /// When it was due; absent in an unpaced stream.
    pub due: Option<WallNs>,
    /// The envelope.
    pub body: Bytes,
}

/// The dispatcher's ends of the lanes' queues.
#[derive(Debug)]
pub struct Lanes {
    queues: Vec<Sender<HandedOver>>,
}

/// The lanes' ends.
pub type LaneQueue = Receiver<HandedOver>;

impl Lanes {
    /// The queues of `count` lanes, and the end that each lane takes from.
    pub fn new(count: usize, ordering: LaneOrdering) -> (Self, Vec<LaneQueue>) {
        let count = count.max(1);
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
        (Self { queues }, ends)
    }

    /// Queues an event on the lane of its key, waiting for a place, and calls `meanwhile` as
    /// long as there is none. False if the lanes are gone, which is how they tell that the
    /// stream winds down.
    pub fn hand_over(
        &self,
        ordering_key: u64,
        mut event: HandedOver,
        mut meanwhile: impl FnMut(),
    ) -> bool {
        let lane = (ordering_key % self.queues.len() as u64) as usize;
        loop {
            match self.queues[lane].try_send(event) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(back)) => event = back,
            }
            meanwhile();
            thread::sleep(FULL_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use envelope::EventTime;

    use super::*;

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
            body: Bytes::new(),
        }
    }

    #[test]
    fn one_key_goes_by_one_lane_in_order() {
        let (lanes, ends) = Lanes::new(4, LaneOrdering::Key);
        for sequence in 0..8 {
            assert!(lanes.hand_over(6, event(sequence), || ()));
        }
        let taken: Vec<_> = std::iter::from_fn(|| ends[2].try_recv().ok()).collect();
        assert_eq!(
            taken.iter().map(|e| e.sequence).collect::<Vec<_>>(),
            (0..8).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_lane_that_is_gone_says_so_instead_of_blocking() {
        let (lanes, ends) = Lanes::new(1, LaneOrdering::Strict);
        drop(ends);
        assert!(!lanes.hand_over(0, event(0), || ()));
    }
}
