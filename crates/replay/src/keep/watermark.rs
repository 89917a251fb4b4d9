//! How far each output is done: the end of its contiguous done prefix.
//!
//! Answers come in any order, since lanes run side by side. Every event of an
//! output carries the output's own sequence number, counted from 0 in the order
//! of handing over. A [`Watermark`] holds, for each output, the numbers that are
//! done beyond the first gap, and moves over a number only when all before it are
//! done:
//!
//! | handed over | done | watermark at |
//! |---|---|---|
//! | 0 1 2 3 | | none |
//! | 0 1 2 3 | 1 3 | none |
//! | 0 1 2 3 | 0 1 3 | 1 |
//! | 0 1 2 3 | 0 1 2 3 | 3 |
//!
//! Pure: no clock, no store. The window of the stream bounds how many numbers can
//! stand beyond a gap, and so the memory held here.

use std::collections::VecDeque;

use envelope::EventId;
use model::{Bug, DoneTally};

use crate::place::Position;

/// An event that is done, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DoneEvent {
    /// Where it stands in its output.
    pub(crate) position: Position,
    /// The event's identity.
    pub(crate) id: EventId,
    /// Whether it was set aside; else the gate acknowledged it.
    pub(crate) is_set_aside: bool,
}

#[derive(Debug, Default)]
struct OutputProgress {
    /// The sequence number of `beyond`'s front: all before it are done.
    next: u64,
    /// Done or not, from `next` on.
    beyond: VecDeque<Option<DoneEvent>>,
    reached: Option<Position>,
    /// What became of all events of the prefix.
    tally: DoneTally,
}

/// The done prefixes of all outputs of a stream.
#[derive(Debug)]
pub(crate) struct Watermark {
    outputs: Vec<OutputProgress>,
    done: u64,
}

impl Watermark {
    /// Nothing done yet.
    pub(crate) fn new(outputs: usize) -> Self {
        Self {
            outputs: (0..outputs).map(|_| OutputProgress::default()).collect(),
            done: 0,
        }
    }

    /// Marks one event of an output as acknowledged or durably quarantined.
    /// A second mark of the same event changes nothing.
    pub(crate) fn mark_done(&mut self, output: usize, sequence: u64, event: DoneEvent) {
        let progress = &mut self.outputs[output];
        let Some(place) = sequence.checked_sub(progress.next) else {
            return;
        };
        let place = place as usize;
        if place >= progress.beyond.len() {
            progress.beyond.resize(place + 1, None);
        }
        progress.beyond[place] = Some(event);
        if Bug::CursorPassesOne.is_planted() && place == 1 {
            progress.beyond[0] = Some(event);
        }
        while let Some(Some(event)) = progress.beyond.front().copied() {
            progress.beyond.pop_front();
            progress.next += 1;
            progress.reached = Some(event.position);
            let tally = &mut progress.tally;
            let tally = if event.is_set_aside {
                &mut tally.quarantined
            } else {
                &mut tally.acknowledged
            };
            tally.count(event.id.as_bytes());
            self.done += 1;
        }
    }

    /// The last event of the output's done prefix.
    pub(crate) fn reached(&self, output: usize) -> Option<Position> {
        self.outputs[output].reached
    }

    /// What became of the events of the output's done prefix.
    pub(crate) fn tally(&self, output: usize) -> DoneTally {
        self.outputs[output].tally
    }

    /// How many events of the output the prefix holds.
    #[cfg(test)]
    pub(crate) fn done_of(&self, output: usize) -> u64 {
        self.outputs[output].next
    }

    /// How many events all prefixes hold together.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use envelope::EventTime;

    use super::*;

    fn row(row: u64) -> Position {
        Position {
            part: 0,
            row,
            time: EventTime::from_nanos(i128::from(row)).unwrap(),
        }
    }

    fn done_event(number: u64) -> DoneEvent {
        let mut id = [0; 32];
        id[24..].copy_from_slice(&number.to_be_bytes());
        DoneEvent {
            position: row(number),
            id: EventId::from_bytes(id),
            is_set_aside: number.is_multiple_of(3),
        }
    }

    #[test]
    fn the_tally_is_that_of_the_prefix_and_tells_what_was_set_aside() {
        let mut watermark = Watermark::new(1);
        for number in [4, 1, 3, 0, 0] {
            watermark.mark_done(0, number, done_event(number));
        }
        let tally = watermark.tally(0);
        assert_eq!(
            (tally.acknowledged.events, tally.quarantined.events),
            (1, 1)
        );
        assert_eq!(tally.all().ids_sum.to_string(), format!("{:064x}", 1));
        watermark.mark_done(0, 2, done_event(2));
        let tally = watermark.tally(0);
        assert_eq!(
            (tally.acknowledged.events, tally.quarantined.events),
            (3, 2)
        );
        assert_eq!(
            tally.acknowledged.ids_sum.to_string(),
            format!("{:064x}", 1 + 2 + 4)
        );
    }

    #[test]
    fn a_gap_holds_the_watermark_back() {
        let mut watermark = Watermark::new(2);
        watermark.mark_done(0, 1, done_event(1));
        watermark.mark_done(1, 0, done_event(9));
        assert_eq!(watermark.reached(0), None);
        assert_eq!(watermark.reached(1), Some(row(9)));
        watermark.mark_done(0, 0, done_event(0));
        assert_eq!(watermark.reached(0), Some(row(1)));
        assert_eq!(watermark.done(), 3);
    }

    #[test]
    fn marking_twice_counts_once() {
        let mut watermark = Watermark::new(1);
        watermark.mark_done(0, 0, done_event(0));
        watermark.mark_done(0, 0, done_event(0));
        assert_eq!(watermark.done(), 1);
    }

    proptest! {
        /// Law: a cursor moves only past a contiguous prefix of done events.
        #[test]
        fn the_watermark_never_passes_an_event_that_is_not_done(
            order in Just((0u64..200).collect::<Vec<_>>()).prop_shuffle(),
            outputs in 1usize..4,
        ) {
            let mut watermark = Watermark::new(outputs);
            let mut done = vec![std::collections::BTreeSet::new(); outputs];
            for number in order {
                let output = number as usize % outputs;
                let sequence = number / outputs as u64;
                watermark.mark_done(output, sequence, done_event(sequence));
                done[output].insert(sequence);
                for (output, done) in done.iter().enumerate() {
                    let prefix = (0..200).take_while(|n| done.contains(n)).count() as u64;
                    prop_assert_eq!(watermark.done_of(output), prefix);
                    prop_assert_eq!(watermark.reached(output), prefix.checked_sub(1).map(row));
                }
            }
        }
    }
}
