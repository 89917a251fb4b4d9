//! How many rows a part has, and which event times they span.

use model::EventTime;

use super::event_times::read_event_times;
use super::{ReadOptions, SCAN_ROWS};
use crate::error::Error;
use crate::grant::ReadGrant;
use crate::part::Part;
use crate::store::WorldStore;

/// The rows of a part, and the event times that they span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartSpan {
    /// The number of rows.
    pub rows: u64,
    /// The earliest event time of any row, wherever in the part it is; `None` if no row has one.
    pub first: Option<EventTime>,
    /// The latest event time of any row, wherever in the part it is; `None` if no row has one.
    pub last: Option<EventTime>,
    /// The number of rows whose event time is null or cannot be read.
    pub rows_without_time: u64,
}

/// What a part is read from: a store, or a grant, which carries its store.
pub trait SourceOfParts {
    /// The store of the world that the part is of.
    fn world_store(&self) -> &WorldStore;
}

impl SourceOfParts for WorldStore {
    fn world_store(&self) -> &WorldStore {
        self
    }
}

impl SourceOfParts for ReadGrant {
    fn world_store(&self) -> &WorldStore {
        self.store()
    }
}

/// Reads how many rows a part has and which event times they span. It reads the part's
/// [time column](Part::time_column) and nothing else, so it needs no grant; a part need be neither
/// in time order nor have statistics, and statistics that lie mislead nobody. Blocks.
///
/// # Errors
/// `ORACLE_READ_FAILED` if the part is unreadable, damaged, or not the one that was located.
pub fn part_span(source: &impl SourceOfParts, part: &Part) -> Result<PartSpan, Error> {
    let options = ReadOptions {
        batch_rows: SCAN_ROWS,
        ..ReadOptions::default()
    };
    let mut span = PartSpan::default();
    for batch in read_event_times(source.world_store(), part, &options)? {
        for time in batch?.1 {
            span.rows += 1;
            let Some(time) = time else {
                span.rows_without_time += 1;
                continue;
            };
            span.first = Some(span.first.map_or(time, |first| first.min(time)));
            span.last = span.last.max(Some(time));
        }
    }
    Ok(span)
}
