//! What the time column of one part says: when its rows come, and where to seek.

use envelope::EventTime;
use oracle_store::Part;

use crate::{Error, ReasonCode};

/// Rows between two seek points: decoding this many costs about a millisecond.
pub const SEEK_ROWS: u64 = 4_096;

/// A row of a part by its place in time: rows of one part leave in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeRow {
    /// The row's event time.
    pub time: EventTime,
    /// The row in the part, from 0.
    pub row: u64,
}

/// Why a part is not in time order: a row that comes before an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disorder {
    /// The first row that comes before an earlier one.
    pub row: TimeRow,
    /// The latest of the rows before that row.
    pub after: TimeRow,
}

impl Disorder {
    /// The error that refuses the part; `fix` says what to do.
    pub fn error(&self, part: &Part, fix: &str) -> Error {
        let Self { row, after } = self;
        Error::new(
            ReasonCode::EventTimeDisorder,
            format!(
                "Row {} of {} (output {}) is at {}, before row {} at {}: the part is not in time \
                 order",
                row.row,
                part.path(),
                part.output_id(),
                row.time,
                after.row,
                after.time,
            ),
            fix,
        )
    }
}

/// When the rows of one part come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartTimes {
    pub(super) rows: u64,
    /// The first and the last row in time; none in an empty part.
    pub(super) ends: Option<(TimeRow, TimeRow)>,
    pub(super) disorder: Option<Disorder>,
    /// The time of every [`SEEK_ROWS`]th row but the first, while the part is in order.
    pub(super) seek: Vec<EventTime>,
    pub(super) read_bytes: u64,
    /// Of the times of all rows, in file order.
    pub(super) fingerprint: Fingerprint,
}

/// A number that another column of times hardly has. It finds out that something changed; it
/// is no match for who chooses the times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) u64);

impl Fingerprint {
    /// Takes the time of the next row: a turn and a multiplication, as compilers hash names.
    fn take(&mut self, time: EventTime) {
        let nanos = time.nanos();
        for half in [nanos as u64, (nanos >> 64) as u64] {
            let mixed = self.0.rotate_left(5) ^ half;
            self.0 = mixed.wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
}

impl PartTimes {
    /// How many rows the part has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The first row in time; none in an empty part.
    pub fn first(&self) -> Option<TimeRow> {
        self.ends.map(|(first, _)| first)
    }

    /// The last row in time; none in an empty part.
    pub fn last(&self) -> Option<TimeRow> {
        self.ends.map(|(_, last)| last)
    }

    /// Where the part leaves its order, if it does.
    pub fn disorder(&self) -> Option<&Disorder> {
        self.disorder.as_ref()
    }

    /// What reading the part holds at once, about, in bytes.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// A row of a part in order, such that every row before it comes before `from`,
    /// and at most [`SEEK_ROWS`] rows from it on do.
    pub fn seek_row(&self, from: TimeRow) -> u64 {
        let points = (SEEK_ROWS..).step_by(SEEK_ROWS as usize);
        let points = points
            .zip(&self.seek)
            .map(|(row, &time)| TimeRow { time, row });
        // Not a binary search: a thousand points are compared in a microsecond.
        points
            .take_while(|point| *point <= from)
            .last()
            .map_or(0, |point| point.row)
    }
}

impl PartTimes {
    /// About how many rows come before `from` in time: exact at the ends and at the seek points,
    /// in proportion to the time between them.
    pub fn rows_before(&self, from: TimeRow) -> u64 {
        let Some((first, last)) = self.ends else {
            return 0;
        };
        if from <= first {
            return 0;
        }
        if from > last {
            return self.rows;
        }
        // Rows of a part in order come in the order of their numbers.
        let (mut low, mut high) = ((0, first.time), (self.rows - 1, last.time));
        if self.disorder.is_none() {
            let row = self.seek_row(from);
            let point = |row: u64| self.seek.get((row / SEEK_ROWS) as usize).copied();
            if let Some(time) = row.checked_sub(SEEK_ROWS).and_then(point) {
                low = (row, time);
            }
            if let Some(time) = point(row) {
                high = (row + SEEK_ROWS, time);
            }
        }
        let span = (high.1.nanos() - low.1.nanos()).max(1) as f64;
        let passed = (from.time.nanos() - low.1.nanos()) as f64 / span;
        low.0 + ((high.0 - low.0) as f64 * passed.clamp(0.0, 1.0)) as u64
    }
}

/// Reads a time column from its first row to its last.
#[derive(Debug)]
pub(crate) struct TimeScan {
    times: PartTimes,
}

impl TimeScan {
    /// Nothing read yet of a part whose reading holds so many bytes at once.
    pub(crate) fn new(read_bytes: u64) -> Self {
        let times = PartTimes {
            rows: 0,
            ends: None,
            disorder: None,
            seek: Vec::new(),
            read_bytes,
            fingerprint: Fingerprint::default(),
        };
        Self { times }
    }

    /// Takes the times of the next rows.
    pub(crate) fn push(&mut self, times: &[EventTime]) {
        let seen = &mut self.times;
        for &time in times {
            let at = TimeRow {
                time,
                row: seen.rows,
            };
            seen.fingerprint.take(time);
            match &mut seen.ends {
                None => seen.ends = Some((at, at)),
                Some((_, last)) if last.time <= time => *last = at,
                Some((first, last)) => {
                    seen.disorder.get_or_insert(Disorder {
                        row: at,
                        after: *last,
                    });
                    *first = at.min(*first);
                }
            }
            if at.row > 0 && at.row.is_multiple_of(SEEK_ROWS) && seen.disorder.is_none() {
                seen.seek.push(time);
            }
            seen.rows += 1;
        }
    }

    /// What the column says.
    pub(crate) fn finish(mut self) -> PartTimes {
        if self.times.disorder.is_some() {
            self.times.seek = Vec::new();
        }
        self.times
    }
}

impl FromIterator<EventTime> for PartTimes {
    fn from_iter<I: IntoIterator<Item = EventTime>>(times: I) -> Self {
        let mut scan = TimeScan::new(0);
        times.into_iter().for_each(|time| scan.push(&[time]));
        scan.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(nanos: i64) -> EventTime {
        EventTime::from_nanos(i128::from(nanos)).unwrap()
    }

    fn times_of(nanos: &[i64]) -> PartTimes {
        nanos.iter().copied().map(at).collect()
    }

    #[test]
    fn an_empty_part_has_no_first_row() {
        assert_eq!(times_of(&[]).first(), None);
        assert_eq!(times_of(&[]).last(), None);
    }

    #[test]
    fn rows_before_a_time_are_told_within_two_seek_points() {
        let nanos: Vec<i64> = (0..20_000).map(|row| row * row / 1_000).collect();
        let mut disordered = nanos.clone();
        disordered.swap(0, 19_999);
        for (times, off) in [
            (times_of(&nanos), SEEK_ROWS / 3),
            (times_of(&disordered), 6_000),
        ] {
            for row in (0..20_000u64).step_by(77) {
                let from = TimeRow {
                    time: at(nanos[row as usize]),
                    row,
                };
                let told = times.rows_before(from);
                assert!(told.abs_diff(row) <= off, "{told} for {row}");
            }
            let (first, last) = (times.first().unwrap(), times.last().unwrap());
            assert_eq!(times.rows_before(first), 0);
            let behind = TimeRow {
                row: u64::MAX,
                ..last
            };
            assert_eq!(times.rows_before(behind), 20_000);
        }
    }

    #[test]
    fn the_first_disorder_is_named_with_the_latest_row_before_it() {
        let times = times_of(&[5, 9, 7, 2, 2]);
        let disorder = times.disorder().unwrap();
        assert_eq!((disorder.row.row, disorder.row.time), (2, at(7)));
        assert_eq!((disorder.after.row, disorder.after.time), (1, at(9)));
        assert_eq!(
            times.first(),
            Some(TimeRow {
                time: at(2),
                row: 3
            })
        );
        assert_eq!(
            times.last(),
            Some(TimeRow {
                time: at(9),
                row: 1
            })
        );
    }

    proptest! {
        #[test]
        fn a_seek_row_leaves_nothing_open_before_it_and_little_done_after_it(
            mut nanos in prop::collection::vec(0i64..40, 1..20_000),
            time in 0i64..41,
            row in 0u64..20_000,
        ) {
            nanos.sort_unstable();
            let from = TimeRow { time: at(time), row };
            let seek_row = times_of(&nanos).seek_row(from);
            let rows = (0..).zip(&nanos).map(|(row, &time)| TimeRow { time: at(time), row });
            let first_open = rows.take_while(|row| *row < from).count() as u64;
            prop_assert!(seek_row <= first_open && first_open - seek_row <= SEEK_ROWS);
        }

        #[test]
        fn ends_are_those_of_a_sort(nanos in prop::collection::vec(0i64..9, 1..40)) {
            let times = times_of(&nanos);
            let rows = (0..).zip(&nanos).map(|(row, &time)| TimeRow { time: at(time), row });
            let mut sorted: Vec<_> = rows.collect();
            sorted.sort_unstable();
            prop_assert_eq!(times.first(), sorted.first().copied());
            prop_assert_eq!(times.last(), sorted.last().copied());
            prop_assert_eq!(times.disorder().is_none(), nanos.is_sorted());
        }
    }
}
