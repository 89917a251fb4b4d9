//! What was done of a stream while it was divided into other shards.
//!
//! A stream of N shards that goes on as M has N cursors that no shard of the new division can take
//! over: an event is done iff the cursor of its old shard says so. The old cursors stay as they
//! were, and each new shard passes over the events of its own that are done by them. So nothing is
//! repeated, and nothing lost. A stream that was divided again and again has several divisions
//! behind it, and an event is done iff one of them says so.

use checkpoint::OrderMode;
use envelope::{EventId, shard_number};
use model::ShardBy;

use super::PartId;
use super::span::DoneThrough;
use crate::order::time_index::TimeRow;

/// The cursors of one division into shards, as they were when the stream was divided again.
#[derive(Debug, Clone)]
pub struct Division {
    /// What decided which shard an event was of.
    pub by: ShardBy,
    /// How far each shard had done each output: by shard, then by the output's place in the list.
    /// At least one shard.
    pub done: Vec<Vec<DoneThrough>>,
}

/// All divisions that a stream had before.
#[derive(Debug, Clone)]
pub struct DoneBefore {
    order: OrderMode,
    divisions: Vec<Division>,
}

impl DoneBefore {
    /// What the divisions did of a stream in an order; a division without shards did nothing.
    pub fn new(order: OrderMode, mut divisions: Vec<Division>) -> Self {
        divisions.retain(|division| !division.done.is_empty());
        Self { order, divisions }
    }

    /// Whether an event is done.
    pub fn is_done(&self, part: PartId, at: TimeRow, key_hash: u64, id: &EventId) -> bool {
        self.divisions.iter().any(|division| {
            let number = shard_number(division.by, key_hash, id);
            let shard = (number % division.done.len() as u64) as usize;
            let done = division.done[shard].get(part.output).copied().flatten();
            let place = (part.part, at.row);
            done.is_some_and(|done| match self.order {
                OrderMode::AsWritten => place <= (done.part, done.row),
                OrderMode::EventTime => (at.time, place) <= (done.time, (done.part, done.row)),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use envelope::EventTime;

    use super::*;
    use crate::place::Position;

    fn at(nanos: i128, row: u64) -> TimeRow {
        TimeRow {
            time: EventTime::from_nanos(nanos).unwrap(),
            row,
        }
    }

    #[test]
    fn an_event_is_done_iff_the_cursor_of_its_own_shard_has_passed_it() {
        let through = |time, row| {
            let TimeRow { time, row } = at(time, row);
            vec![Some(Position { part: 1, row, time })]
        };
        let division = Division {
            by: ShardBy::Key,
            done: vec![through(100, 7), vec![None], through(50, 3)],
        };
        let id = EventId::from_bytes([0; 32]);
        let part = |part| PartId { output: 0, part };
        let in_time = DoneBefore::new(OrderMode::EventTime, vec![division.clone()]);
        for (key, part_number, row, expected) in [
            (0, 1, at(100, 7), true),
            (3, 1, at(100, 8), false),
            (0, 0, at(100, 99), true),
            (0, 2, at(100, 0), false),
            (2, 1, at(99, 0), false),
            (1, 0, at(0, 0), false),
        ] {
            let done = in_time.is_done(part(part_number), row, key, &id);
            assert_eq!(done, expected, "{key} {part_number} {row:?}");
        }
        let as_written = DoneBefore::new(OrderMode::AsWritten, vec![division]);
        assert!(as_written.is_done(part(1), at(999, 7), 0, &id));
        assert!(!as_written.is_done(part(1), at(0, 8), 0, &id));
        let other = PartId { output: 1, part: 0 };
        assert!(!as_written.is_done(other, at(0, 0), 0, &id));
    }
}
