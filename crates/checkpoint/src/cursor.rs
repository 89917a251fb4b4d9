//! Cursor algebra: which rows a cursor says are done, and when one cursor may follow another.
//!
//! Everything here is a pure function of its inputs.
//!
//! # Is this row done?
//!
//! Parts compare by name (bytes), rows by index, times by whole nanoseconds. With the cursor at
//! part `b`, row 5, time `T`:
//!
//! | row | `as_written` | `event_time` |
//! |---|---|---|
//! | part `a`, any row, time < T | done | done |
//! | part `a`, any row, time = T | done | done |
//! | part `a`, any row, time > T | done | **open** |
//! | part `b`, row ≤ 5, time = T | done | done |
//! | part `b`, row ≤ 5, time > T | done | **open** |
//! | part `b`, row > 5, time < T | open | **done** |
//! | part `b`, row > 5, time = T | open | open |
//! | part `c`, any row, time < T | open | **done** |
//! | part `c`, any row, time = T | open | open |
//!
//! So in both orders a resume gives the exact suffix of the output: the rows after the cursor in
//! the order that it was saved in.
//!
//! # May this cursor follow that one?
//!
//! | stored | offered | |
//! |---|---|---|
//! | none | any | yes |
//! | same order | same position | yes (a repeated save is no error) |
//! | same order | later position | yes |
//! | same order | earlier position | `CHECKPOINT_REGRESSION` |
//! | other order | any | `CHECKPOINT_ORDER_MISMATCH` |
//! | the existing producer's, in a view | not earlier in its file | yes, in either order |

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, order_mismatch, regression};
use crate::key::CursorKey;

/// The order in which an output's rows are sent, and so what its cursor means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderMode {
    /// Parts in name order, rows in file order.
    AsWritten,
    /// All rows by (event time, part name, row).
    EventTime,
}

impl OrderMode {
    /// The name of the order in profiles and records: `as_written` or `event_time`.
    pub const fn as_str(self) -> &'static str {
        match self {
            OrderMode::AsWritten => "as_written",
            OrderMode::EventTime => "event_time",
        }
    }
}

impl fmt::Display for OrderMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OrderMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "as_written" => Ok(OrderMode::AsWritten),
            "event_time" => Ok(OrderMode::EventTime),
            _ => Err(()),
        }
    }
}

/// What a position is compared by: the order mode, with the sort time where that order needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderPosition {
    /// In `as_written` order: positions compare by part and row alone.
    AsWritten,
    /// In `event_time` order: positions compare by event time, then by part and row.
    EventTime {
        /// The row's event time in nanoseconds since 1970-01-01T00:00:00Z.
        sort_time_ns: i128,
    },
}

impl OrderPosition {
    /// The order mode, without a time.
    pub const fn mode(self) -> OrderMode {
        match self {
            OrderPosition::AsWritten => OrderMode::AsWritten,
            OrderPosition::EventTime { .. } => OrderMode::EventTime,
        }
    }
}

/// What the rows of an output are read from, and so what their positions mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowSource {
    /// The output's own parts.
    Outputs,
    /// The platform's stream view of the output.
    View,
}

impl RowSource {
    /// The name of the source in records and reports: `outputs` or `view`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outputs => "outputs",
            Self::View => "view",
        }
    }
}

impl FromStr for RowSource {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "outputs" => Ok(Self::Outputs),
            "view" => Ok(Self::View),
            _ => Err(()),
        }
    }
}

impl fmt::Display for RowSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far one output is known to be done: the last row of its done prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The part of the last done row: relative to the engine run root, or to the base of the
    /// stream views for a view's file. It alone decides where a resume goes on.
    pub last_part: String,
    /// The place of that part as text, as the platform's producers spell and compare it; written
    /// for them, never read back.
    pub last_file: String,
    /// What the rows are read from.
    pub source: RowSource,
    /// The index of the last done row in its part, from 0, at most `i64::MAX`.
    pub last_row_index: u64,
    /// The event time of the last done row in envelope form, shown and never compared; `None` where
    /// the row has none.
    pub last_ts_utc: Option<String>,
    /// The order that the done prefix is counted in, with the sort time where it needs one.
    pub order: OrderPosition,
    /// The platform run that the rows were sent under.
    pub platform_run_id: String,
    /// Digest of the plan; resume refuses a cursor that was saved under another.
    pub plan_digest: String,
}

impl Cursor {
    /// Whether a row is in the done prefix. `time_ns` is its event time in nanoseconds since 1970,
    /// which counts in `event_time` order only.
    pub fn is_done(&self, part: &str, row: u64, time_ns: i128) -> bool {
        let place = (part, row);
        let last = (self.last_part.as_str(), self.last_row_index);
        match self.order {
            OrderPosition::AsWritten => place <= last,
            OrderPosition::EventTime { sort_time_ns } => (time_ns, place) <= (sort_time_ns, last),
        }
    }

    /// The first open row of a part in `as_written` order; `None` if the whole part is done.
    /// In `event_time` order any row may be open, so it is always row 0.
    pub fn first_open_row(&self, part: &str) -> Option<u64> {
        match (self.order, part.cmp(self.last_part.as_str())) {
            (OrderPosition::EventTime { .. }, _) | (_, std::cmp::Ordering::Greater) => Some(0),
            (_, std::cmp::Ordering::Equal) => Some(self.last_row_index + 1),
            (_, std::cmp::Ordering::Less) => None,
        }
    }

    /// Checks that `self` may be saved over `stored`: same order, not an earlier position.
    ///
    /// # Errors
    /// `CHECKPOINT_ORDER_MISMATCH`, `CHECKPOINT_REGRESSION`.
    pub fn check_follows(&self, key: &CursorKey, stored: &StoredCursor) -> Result<(), Error> {
        // A platform producer's position in a view means the same in both orders.
        let is_any_order = stored.is_foreign() && self.source == RowSource::View;
        if stored.order().mode() != self.order.mode() && !is_any_order {
            return Err(order_mismatch(
                key,
                stored.order().mode(),
                self.order.mode(),
            ));
        }
        let (file, row) = (stored.part_text(), stored.last_row_index());
        let offered = (self.last_part.as_str(), self.last_row_index);
        let backwards = match (stored, self.order, stored.order()) {
            // It may name its part from another root, so two of its part names do not compare;
            // adoption has checked which part it is.
            (StoredCursor::Foreign(_), ..) => is_same_part(file, offered.0) && offered.1 < row,
            (
                StoredCursor::Ours(_),
                OrderPosition::EventTime { sort_time_ns: new },
                OrderPosition::EventTime { sort_time_ns: old },
            ) => (new, offered) < (old, (file, row)),
            (StoredCursor::Ours(_), ..) => offered < (file, row),
        };
        if backwards {
            return Err(regression(
                key,
                &format!("row {row} of {file}"),
                &format!("row {} of {}", offered.1, offered.0),
            ));
        }
        Ok(())
    }
}

fn is_same_part(foreign: &str, ours: &str) -> bool {
    foreign
        .strip_suffix(ours)
        .is_some_and(|root| root.is_empty() || root.ends_with('/'))
}

/// A cursor that the existing producer wrote: it knows no order, run or plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignCursor {
    /// The row's part as that producer named it: the place of the part, or of the view's file.
    pub last_file: String,
    /// The row in that part, from 0.
    pub last_row_index: u64,
    /// The row's event time as that producer wrote it.
    pub last_ts_utc: Option<String>,
}

/// The cursor that a store holds for a key, by who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredCursor {
    /// A cursor that this crate wrote.
    Ours(Cursor),
    /// A cursor that a producer of the platform wrote, in an output's parts as they stand or in
    /// its stream view; [`resume_check`](crate::resume_check) says which, and adopts it.
    Foreign(ForeignCursor),
}

impl StoredCursor {
    /// The part of the last done row: of ours its name, of the existing producer's its place as
    /// that producer spelled it.
    pub fn part_text(&self) -> &str {
        match self {
            StoredCursor::Ours(c) => &c.last_part,
            StoredCursor::Foreign(c) => &c.last_file,
        }
    }

    /// The place of the last done row's part, as the platform's producers compare it.
    pub fn last_file(&self) -> &str {
        match self {
            StoredCursor::Ours(c) => &c.last_file,
            StoredCursor::Foreign(c) => &c.last_file,
        }
    }

    /// The index of the last done row in its part, from 0.
    pub fn last_row_index(&self) -> u64 {
        match self {
            StoredCursor::Ours(c) => c.last_row_index,
            StoredCursor::Foreign(c) => c.last_row_index,
        }
    }

    /// The event time of the last done row, as its writer spelled it; `None` where there is none.
    pub fn last_ts_utc(&self) -> Option<&str> {
        match self {
            StoredCursor::Ours(c) => c.last_ts_utc.as_deref(),
            StoredCursor::Foreign(c) => c.last_ts_utc.as_deref(),
        }
    }

    /// The order that the position is counted in; `as_written` for the existing producer's.
    pub fn order(&self) -> OrderPosition {
        match self {
            StoredCursor::Ours(c) => c.order,
            StoredCursor::Foreign(_) => OrderPosition::AsWritten,
        }
    }

    /// Whether a producer of the platform wrote it.
    pub fn is_foreign(&self) -> bool {
        matches!(self, StoredCursor::Foreign(_))
    }

    /// The platform run that the rows were sent under; `None` for the existing producer's.
    pub fn platform_run_id(&self) -> Option<&str> {
        match self {
            StoredCursor::Ours(c) => Some(&c.platform_run_id),
            StoredCursor::Foreign(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;
    use crate::ReasonCode;
    use crate::conformance::{cursor, key};

    fn by_time(part: &str, row: u64, sort_time_ns: i128) -> Cursor {
        Cursor {
            order: OrderPosition::EventTime { sort_time_ns },
            ..cursor(part, row)
        }
    }

    /// The module's table, row by row: part, row, time, done as written, done by time.
    #[test]
    fn a_row_is_done_as_the_truth_table_says() {
        let t = 1_000;
        for (part, row, time, as_written, event_time) in [
            ("a", 9, t - 1, true, true),
            ("a", 9, t, true, true),
            ("a", 9, t + 1, true, false),
            ("b", 5, t, true, true),
            ("b", 4, t, true, true),
            ("b", 5, t + 1, true, false),
            ("b", 6, t - 1, false, true),
            ("b", 6, t, false, false),
            ("c", 0, t - 1, false, true),
            ("c", 0, t, false, false),
        ] {
            let row_of = format!("{part} {row} {time}");
            assert_eq!(
                cursor("b", 5).is_done(part, row, time),
                as_written,
                "{row_of}"
            );
            assert_eq!(
                by_time("b", 5, t).is_done(part, row, time),
                event_time,
                "{row_of}"
            );
        }
    }

    #[test]
    fn only_whole_parts_and_done_rows_are_passed_over() {
        let stored = cursor("b", 5);
        assert_eq!(stored.first_open_row("a"), None);
        assert_eq!(stored.first_open_row("b"), Some(6));
        assert_eq!(stored.first_open_row("c"), Some(0));
        for part in ["a", "b", "c"] {
            assert_eq!(by_time("b", 5, 0).first_open_row(part), Some(0));
        }
    }

    #[test]
    fn no_other_order_follows() {
        let key = key("order", "o");
        let stored = StoredCursor::Ours(by_time("a", 0, 0));
        let error = cursor("b", 1).check_follows(&key, &stored).unwrap_err();
        assert_eq!(error.code(), ReasonCode::OrderMismatch);
    }

    #[test]
    fn a_foreign_cursor_is_followed_by_no_earlier_row_of_its_part() {
        let key = key("foreign", "o");
        let stored = StoredCursor::Foreign(ForeignCursor {
            last_file: "/worlds/w1/data/part-1.parquet".to_owned(),
            last_row_index: 5,
            last_ts_utc: None,
        });
        let follows = |row| cursor("data/part-1.parquet", row).check_follows(&key, &stored);
        assert!(follows(5).is_ok());
        assert_eq!(follows(4).unwrap_err().code(), ReasonCode::Regression);
        assert!(
            cursor("ata/part-1.parquet", 0)
                .check_follows(&key, &stored)
                .is_ok()
        );
    }

    fn any_cursor() -> impl Strategy<Value = Cursor> {
        ("[ab/]{1,3}", 0..4_u64, proptest::option::of(-2..2_i128)).prop_map(|(part, row, time)| {
            time.map_or_else(|| cursor(&part, row), |time| by_time(&part, row, time))
        })
    }

    fn time_of(cursor: &Cursor) -> i128 {
        match cursor.order {
            OrderPosition::AsWritten => 0,
            OrderPosition::EventTime { sort_time_ns } => sort_time_ns,
        }
    }

    proptest! {
        /// What follows has everything done that was done before, and more unless it is equal.
        #[test]
        fn a_cursor_follows_another_exactly_if_it_has_that_row_done(
            old in any_cursor(), new in any_cursor()
        ) {
            let key = key("follows", "o");
            let outcome = new.check_follows(&key, &StoredCursor::Ours(old.clone()));
            let has_old_done = new.is_done(&old.last_part, old.last_row_index, time_of(&old));
            if new.order.mode() == old.order.mode() {
                prop_assert_eq!(outcome.is_ok(), has_old_done);
            } else {
                prop_assert_eq!(outcome.unwrap_err().code(), ReasonCode::OrderMismatch);
            }
        }

        /// In each order the done rows are a prefix: no open row comes before a done one.
        #[test]
        fn the_done_rows_are_a_prefix_of_the_order(
            stored in any_cursor(),
            rows in proptest::collection::vec(("[ab/]{1,3}", 0..4_u64, -2..2_i128), 0..20)
        ) {
            let mut rows = rows;
            rows.sort_by(|a, b| match stored.order {
                OrderPosition::AsWritten => (&a.0, a.1).cmp(&(&b.0, b.1)),
                OrderPosition::EventTime { .. } => (a.2, &a.0, a.1).cmp(&(b.2, &b.0, b.1)),
            });
            let done: Vec<bool> = rows.iter().map(|r| stored.is_done(&r.0, r.1, r.2)).collect();
            prop_assert!(done.is_sorted_by(|a, b| a.cmp(b) != Ordering::Less), "{:?}", done);
        }
    }
}
