//! Whether a stream view is in order, as its builder says: by whole microseconds, from its first
//! file's first row to its last file's last.
//!
//! A view that is not is refused, whatever `wsp_order.on_disorder` says: its cursors count its
//! rows as they stand, for the platform's producers too.

use std::sync::Arc;

use oracle_store::Part;

use super::time_index::{Disorder, PartTimes, TimeRow};
use crate::Error;

const FIX: &str =
    "Build the view anew, or stream the outputs themselves (`stream_source: outputs`).";

/// Checks the parts of one output, in name order, by their times. Parts that are no view's may
/// be in any order.
///
/// # Errors
/// `EVENT_TIME_DISORDER`.
pub fn check_view_order(parts: &[Part], times: &[Arc<PartTimes>]) -> Result<(), Error> {
    let mut before: Option<TimeRow> = None;
    for (part, times) in parts.iter().zip(times) {
        if !part.is_view() {
            continue;
        }
        let across = before.zip(times.first());
        let across = across.filter(|(after, row)| row.time < after.time);
        let across = across.map(|(after, row)| Disorder { row, after });
        if let Some(disorder) = times.disorder().copied().or(across) {
            return Err(disorder.error(part, FIX));
        }
        before = times.last().or(before);
    }
    Ok(())
}
