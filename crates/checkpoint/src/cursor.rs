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

use model::DoneTally;

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
    /// What became of all events up to here, for a report over all shards; `None` where that is not
    /// known: an earlier release or a platform producer was there.
    pub done: Option<DoneTally>,
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
mod tests;
