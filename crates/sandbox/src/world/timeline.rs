//! When each row of an output happens.
//!
//! Every row has a *rank*: its place in the event-time order of its output. Parts
//! slide over the span: with an overlap of k a part is cut into k chunks, its
//! first chunk lies beside the last chunk of the part k − 1 before it, and the
//! rows of chunks that lie beside each other take turns.
//!
//! ```text
//! overlap 1   p0 ████████            overlap 2   p0 ████████
//!             p1         ████████                p1     ████████
//!             p2                 ████████        p2         ████████
//! ```
//!
//! Ranks are distinct and grow within a part, so times, keys and values can all be
//! functions of the rank alone, whoever computes them.

use std::ops::Range;

use super::options::{Disorder, OutputOptions, WorldOptions};
use crate::mix::mix_pair;

/// The ranks and times of one output's rows.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    start_ns: i64,
    span_ns: u64,
    parts: usize,
    rows_per_part: u64,
    overlap: usize,
    chunk_rows: u64,
    /// Rank of the first row of each stage; one more entry for the end.
    stage_offsets: Vec<u64>,
    ties: u64,
    disorder: Option<Disorder>,
    salt: u64,
}

impl Timeline {
    pub(crate) fn new(world: &WorldOptions, output: &OutputOptions) -> Self {
        let overlap = output.overlap.clamp(1, output.parts.max(1));
        let chunk_rows = output.rows_per_part.div_ceil(overlap as u64);
        let mut timeline = Self {
            start_ns: world.start_utc().timestamp_nanos_opt().unwrap_or(0),
            span_ns: u64::try_from(world.span.as_nanos()).unwrap_or(u64::MAX),
            parts: output.parts,
            rows_per_part: output.rows_per_part,
            overlap,
            chunk_rows,
            stage_offsets: vec![0],
            ties: output.ties.max(1),
            disorder: output.disorder,
            salt: output.salt(world.seed),
        };
        let mut offset = 0;
        for stage in 0..output.parts + overlap - 1 {
            offset += chunk_rows * timeline.active_parts(stage).len() as u64;
            timeline.stage_offsets.push(offset);
        }
        timeline
    }

    /// The parts that have a chunk in this stage.
    fn active_parts(&self, stage: usize) -> Range<usize> {
        (stage + 1).saturating_sub(self.overlap)..(stage + 1).min(self.parts)
    }

    /// The rank of the row at a place in a file.
    pub(crate) fn rank(&self, part: usize, file_row: u64) -> u64 {
        let row = self.time_order_row(part, file_row);
        let stage = part + (row / self.chunk_rows) as usize;
        let active = self.active_parts(stage);
        self.stage_offsets[stage]
            + row % self.chunk_rows * active.len() as u64
            + (part - active.start) as u64
    }

    /// Which row, counted in time order, stands at a place in the file.
    fn time_order_row(&self, part: usize, file_row: u64) -> u64 {
        let Some(disorder) = self.disorder else {
            return file_row;
        };
        if !(part + 1).is_multiple_of(disorder.every_nth_part.max(1)) {
            return file_row;
        }
        let window_start = file_row - file_row % disorder.window_rows.max(1);
        let length = disorder
            .window_rows
            .max(1)
            .min(self.rows_per_part - window_start);
        window_start + shuffled(file_row - window_start, length)
    }

    /// Event time of a rank, in nanoseconds since 1970; never falls with the rank.
    pub(crate) fn time_ns(&self, rank: u64) -> i64 {
        let total = self.stage_offsets.last().copied().unwrap_or(0).max(1);
        let tied = rank - rank % self.ties;
        let offset = (u128::from(self.span_ns) * u128::from(tied) / u128::from(total)) as u64;
        let step = self.span_ns / total;
        let jitter = if step > 1 {
            mix_pair(self.salt, tied) % step
        } else {
            0
        };
        self.start_ns.saturating_add((offset + jitter) as i64)
    }
}

/// A fixed permutation of `0..length`: a step that shares no factor with the length.
fn shuffled(index: u64, length: u64) -> u64 {
    let mut step = (length as f64 * 0.618) as u64 | 1;
    while greatest_common_divisor(step, length) != 1 {
        step += 2;
    }
    ((u128::from(index) * u128::from(step) + u128::from(length / 3)) % u128::from(length)) as u64
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{OutputOptions, WorldOptions};

    fn timeline(edit: impl FnOnce(&mut OutputOptions)) -> Timeline {
        let mut output = OutputOptions {
            parts: 7,
            rows_per_part: 101,
            ..OutputOptions::new("any")
        };
        edit(&mut output);
        Timeline::new(&WorldOptions::sample(), &output)
    }

    fn times(timeline: &Timeline, part: usize) -> Vec<i64> {
        (0..101)
            .map(|row| timeline.time_ns(timeline.rank(part, row)))
            .collect()
    }

    #[test]
    fn ranks_are_distinct_for_every_overlap() {
        for overlap in 1..=7 {
            let timeline = timeline(|output| output.overlap = overlap);
            let ranks: std::collections::BTreeSet<u64> = (0..7)
                .flat_map(|part| (0..101).map(move |row| (part, row)))
                .map(|(part, row)| timeline.rank(part, row))
                .collect();
            assert_eq!(ranks.len(), 7 * 101, "overlap {overlap}");
        }
    }

    #[test]
    fn as_many_parts_cover_a_moment_as_were_asked_for() {
        for overlap in 1..=7 {
            let timeline = timeline(|output| output.overlap = overlap);
            let spans: Vec<(i64, i64)> = (0..7)
                .map(|part| {
                    let times = times(&timeline, part);
                    assert!(times.is_sorted(), "part {part} of overlap {overlap}");
                    (times[0], times[100])
                })
                .collect();
            let most = spans
                .iter()
                .map(|(start, _)| {
                    spans
                        .iter()
                        .filter(|s| s.0 <= *start && *start <= s.1)
                        .count()
                })
                .max();
            assert_eq!(most, Some(overlap));
        }
    }

    #[test]
    fn only_the_parts_asked_for_are_out_of_order_and_they_lose_no_row() {
        let disorder = Disorder {
            every_nth_part: 3,
            window_rows: 10,
        };
        let straight = timeline(|_| {});
        let shuffled = timeline(|output| output.disorder = Some(disorder));
        for part in 0..7 {
            let mut found = times(&shuffled, part);
            assert_eq!(found.is_sorted(), part != 2 && part != 5, "part {part}");
            found.sort_unstable();
            assert_eq!(found, times(&straight, part));
        }
    }

    #[test]
    fn ties_share_a_time_and_the_rest_do_not() {
        let timeline = timeline(|output| output.ties = 4);
        let mut times: Vec<i64> = (0..707).map(|rank| timeline.time_ns(rank)).collect();
        assert!(times.is_sorted());
        times.dedup();
        assert_eq!(times.len(), 707_usize.div_ceil(4));
    }
}
