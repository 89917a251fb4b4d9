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

use model::Bug;

use crate::place::Position;

#[derive(Debug, Default)]
struct OutputProgress {
    /// The sequence number of `beyond`'s front: all before it are done.
    next: u64,
    /// Done or not, from `next` on.
    beyond: VecDeque<Option<Position>>,
    reached: Option<Position>,
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
    pub(crate) fn mark_done(&mut self, output: usize, sequence: u64, position: Position) {
        let progress = &mut self.outputs[output];
        let Some(place) = sequence.checked_sub(progress.next) else {
            return;
        };
        let place = place as usize;
        if place >= progress.beyond.len() {
            progress.beyond.resize(place + 1, None);
        }
        progress.beyond[place] = Some(position);
        if Bug::CursorPassesOne.is_planted() && place == 1 {
            progress.beyond[0] = Some(position);
        }
        while let Some(Some(reached)) = progress.beyond.front().copied() {
            progress.beyond.pop_front();
            progress.next += 1;
            progress.reached = Some(reached);
            self.done += 1;
        }
    }

    /// The last event of the output's done prefix.
    pub(crate) fn reached(&self, output: usize) -> Option<Position> {
        self.outputs[output].reached
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

    #[test]
    fn a_gap_holds_the_watermark_back() {
        let mut watermark = Watermark::new(2);
        watermark.mark_done(0, 1, row(1));
        watermark.mark_done(1, 0, row(9));
        assert_eq!(watermark.reached(0), None);
        assert_eq!(watermark.reached(1), Some(row(9)));
        watermark.mark_done(0, 0, row(0));
        assert_eq!(watermark.reached(0), Some(row(1)));
        assert_eq!(watermark.done(), 3);
    }

    #[test]
    fn marking_twice_counts_once() {
        let mut watermark = Watermark::new(1);
        watermark.mark_done(0, 0, row(0));
        watermark.mark_done(0, 0, row(0));
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
                watermark.mark_done(output, sequence, row(sequence));
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
