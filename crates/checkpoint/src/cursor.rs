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

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
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
    /// The name that profiles and records use.
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
    /// Part and row say it all.
    AsWritten,
    /// Time first, in nanoseconds since 1970-01-01T00:00:00Z.
    EventTime {
        /// The row's event time at stored precision.
        sort_time_ns: i128,
    },
}

impl OrderPosition {
    /// The mode alone.
    pub const fn mode(self) -> OrderMode {
        match self {
            OrderPosition::AsWritten => OrderMode::AsWritten,
            OrderPosition::EventTime { .. } => OrderMode::EventTime,
        }
    }
}

/// How far one output is known to be done: the last row of its done prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The row's part, relative to the engine run root.
    pub last_file: String,
    /// The row in that part, from 0, at most `i64::MAX`.
    pub last_row_index: u64,
    /// The row's event time in envelope form, for people.
    pub last_ts_utc: Option<String>,
    /// The order the prefix is counted in.
    pub order: OrderPosition,
    /// The platform run the rows were sent under.
    pub platform_run_id: String,
    /// Digest of the plan the position is meaningful in.
    pub plan_digest: String,
}

impl Cursor {
    /// Whether the row is in the done prefix. `time_ns` is looked at in `event_time` only.
    pub fn is_done(&self, part: &str, row: u64, time_ns: i128) -> bool {
        let place = (part, row);
        let last = (self.last_file.as_str(), self.last_row_index);
        match self.order {
            OrderPosition::AsWritten => place <= last,
            OrderPosition::EventTime { sort_time_ns } => (time_ns, place) <= (sort_time_ns, last),
        }
    }

    /// The first open row of a part in `as_written` order; `None` if the whole part is done.
    /// In `event_time` order any row may be open, so it is always row 0.
    pub fn first_open_row(&self, part: &str) -> Option<u64> {
        match (self.order, part.cmp(self.last_file.as_str())) {
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
        if stored.order().mode() != self.order.mode() {
            return Err(Error::OrderMismatch {
                key: key.clone(),
                stored: stored.order().mode(),
                offered: self.order.mode(),
            });
        }
        let (file, row) = (stored.last_file(), stored.last_row_index());
        let offered = (self.last_file.as_str(), self.last_row_index);
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
            return Err(Error::Regression {
                key: key.clone(),
                stored: format!("row {row} of {file}"),
                offered: format!("row {} of {}", offered.1, offered.0),
            });
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
    /// The row's part as that producer named it: relative, or absolute under the root.
    pub last_file: String,
    /// The row in that part, from 0.
    pub last_row_index: u64,
    /// The row's event time as that producer wrote it.
    pub last_ts_utc: Option<String>,
}

/// What a store holds for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredCursor {
    /// Written by this crate.
    Ours(Cursor),
    /// Written by the existing producer; it means `as_written`. [`resume_check`](crate::resume_check) adopts it.
    Foreign(ForeignCursor),
}

impl StoredCursor {
    /// The part, as stored.
    pub fn last_file(&self) -> &str {
        match self {
            StoredCursor::Ours(c) => &c.last_file,
            StoredCursor::Foreign(c) => &c.last_file,
        }
    }

    /// The row in the part.
    pub fn last_row_index(&self) -> u64 {
        match self {
            StoredCursor::Ours(c) => c.last_row_index,
            StoredCursor::Foreign(c) => c.last_row_index,
        }
    }

    /// The event time, as stored.
    pub fn last_ts_utc(&self) -> Option<&str> {
        match self {
            StoredCursor::Ours(c) => c.last_ts_utc.as_deref(),
            StoredCursor::Foreign(c) => c.last_ts_utc.as_deref(),
        }
    }

    /// The order the position means.
    pub fn order(&self) -> OrderPosition {
        match self {
            StoredCursor::Ours(c) => c.order,
            StoredCursor::Foreign(_) => OrderPosition::AsWritten,
        }
    }

    /// The platform run, if this crate wrote it.
    pub fn platform_run_id(&self) -> Option<&str> {
        match self {
            StoredCursor::Ours(c) => Some(&c.platform_run_id),
            StoredCursor::Foreign(_) => None,
        }
    }
}
