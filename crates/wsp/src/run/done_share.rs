//! How much of an output a cursor covers, in percent of its rows: for people.
//!
//! In `as_written` it is counted from the parts' footers. In `event_time` it is taken from the
//! time index where that knows every part, and is exact to a few rows between two seek points.
//! Where neither tells (JSON lines without an index, parts that were never streamed) it is
//! unknown, and no part is read to find out.

use checkpoint::{OrderPosition, StoredCursor, relative_part};
use envelope::EventTime;
use futures::{StreamExt, TryStreamExt, stream};
use oracle_store::{Part, WorldStore};

use crate::run::resume::{root_spellings, row_count};
use replay::{Position, TimeIndexCache, first_open};

/// Footers read at once.
const FOOTERS: usize = 8;

/// The share of the rows of `parts` that a cursor covers, from 0 to 100, rounded down to a tenth;
/// `None` where it is unknown.
pub(crate) async fn percent(
    store: &WorldStore,
    parts: &[Part],
    cursor: &StoredCursor,
    index: &TimeIndexCache,
) -> Option<f64> {
    let roots = root_spellings(store);
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let last_part = relative_part(cursor.part_text(), &roots)?;
    let at = parts.iter().position(|part| part.name() == last_part)?;
    let row = cursor.last_row_index();
    let (done, of) = match cursor.order() {
        OrderPosition::AsWritten => as_written(store, parts, at, row).await?,
        OrderPosition::EventTime { sort_time_ns } => {
            let (part, time) = (at as u32, EventTime::from_nanos(sort_time_ns)?);
            event_time(parts, Position { part, row, time }, index)?
        }
    };
    (of > 0).then(|| (done.min(of) as f64 * 1_000.0 / of as f64).floor() / 10.0)
}

/// The rows done, and those there are.
async fn as_written(store: &WorldStore, parts: &[Part], at: usize, row: u64) -> Option<(u64, u64)> {
    let counts = parts
        .iter()
        .map(|part| row_count(store.clone(), part.clone()));
    let rows: Vec<Option<u64>> = stream::iter(counts)
        .buffered(FOOTERS)
        .try_collect()
        .await
        .ok()?;
    let rows: Vec<u64> = rows.into_iter().collect::<Option<_>>()?;
    let done = rows[..at].iter().sum::<u64>() + row + 1;
    Some((done, rows.iter().sum()))
}

/// The rows done, about, and those there are.
fn event_time(parts: &[Part], done: Position, index: &TimeIndexCache) -> Option<(u64, u64)> {
    let mut sums = (0, 0);
    for (number, part) in (0..).zip(parts) {
        let times = index.get(part)?;
        let rows = if number == done.part && times.disorder().is_none() {
            done.row + 1
        } else {
            times.rows_before(first_open(number, Some(done), None)?)
        };
        sums = (sums.0 + rows, sums.1 + times.rows());
    }
    Some(sums)
}
