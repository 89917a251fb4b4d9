//! May this plan go on from that cursor? Pure decisions, with the deliberate exceptions listed.

use crate::cursor::{Cursor, ForeignCursor, OrderMode, OrderPosition, RowSource, StoredCursor};
use crate::error::{
    Error, order_mismatch, part_missing, plan_mismatch, row_past_end, run_mismatch, source_mismatch,
};
use crate::key::CursorKey;

/// What a stream is about to do with one output: the terms that a cursor must fit.
#[derive(Clone, Copy, Debug)]
pub struct ResumePlan<'a> {
    /// The order that the stream sends rows in.
    pub order: OrderMode,
    /// What the stream reads rows from.
    pub source: RowSource,
    /// Digest of the output's plan, compared with the cursor's.
    pub plan_digest: &'a str,
    /// The platform run that rows will be sent under, compared with the cursor's.
    pub platform_run_id: &'a str,
    /// The engine run root in every spelling under which its parts may have been named: as
    /// resolved, and absolute.
    pub roots: &'a [&'a str],
    /// The base of stream views in every spelling under which their files may have been named.
    pub view_bases: &'a [&'a str],
    /// The time in nanoseconds since 1970 by which the row of a platform producer's view cursor
    /// is ordered; `None` where it was not looked up, as in `as_written` order.
    pub view_time_ns: Option<i128>,
    /// Whether the operator allows a cursor of another plan; off by default.
    pub allow_plan_change: bool,
    /// Whether the operator allows a cursor of another platform run; off by default.
    pub allow_run_change: bool,
}

/// The cursor to go on from, bound to this run and plan, and what was adopted on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The position, its part relative to the engine run root.
    pub cursor: Cursor,
    /// The differences that were accepted, for the audit; empty where the cursor fits.
    pub adopted: Vec<Adoption>,
}

/// A difference that was accepted, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// The cursor was written by the existing producer, which binds none to a run or plan.
    ExistingProducer,
    /// The cursor was written by the platform's newest producer, in a stream view; it binds none
    /// to a run or plan.
    ViewProducer,
    /// The plan changed, as allowed.
    PlanChanged {
        /// The plan digest the cursor was saved under.
        stored: String,
    },
    /// The platform run changed, as allowed.
    RunChanged {
        /// The platform run the cursor was saved under.
        stored: String,
    },
}

/// Decides whether the stream may resume from `stored`.
///
/// | stored | differs in | allowed | outcome |
/// |---|---|---|---|
/// | any | source | never | `CHECKPOINT_SOURCE_MISMATCH` |
/// | any | order | never | `CHECKPOINT_ORDER_MISMATCH` |
/// | ours | platform run | no | `CHECKPOINT_RUN_MISMATCH` |
/// | ours | platform run | yes | resumes, [`Adoption::RunChanged`] |
/// | ours | plan | no | `CHECKPOINT_PLAN_MISMATCH` |
/// | ours | plan | yes | resumes, [`Adoption::PlanChanged`] |
/// | the existing producer's | | | resumes in `as_written`, [`Adoption::ExistingProducer`] |
/// | the existing producer's, in a view | | | resumes in either order, which are one there, [`Adoption::ViewProducer`] |
/// | the existing producer's | part outside the roots | never | `CHECKPOINT_PART_MISSING` |
///
/// # Errors
/// As in the table.
pub fn resume_check(
    key: &CursorKey,
    stored: &StoredCursor,
    plan: &ResumePlan<'_>,
) -> Result<Resume, Error> {
    let source = source_of(stored, plan.view_bases);
    if source != plan.source {
        return Err(source_mismatch(key, source, plan.source));
    }
    let mode = stored.order().mode();
    let is_any_order = stored.is_foreign() && source == RowSource::View;
    if mode != plan.order && !is_any_order {
        return Err(order_mismatch(key, mode, plan.order));
    }
    match (stored, source) {
        (StoredCursor::Ours(cursor), _) => rebind(key, cursor, plan),
        (StoredCursor::Foreign(cursor), RowSource::Outputs) => adopt(key, cursor, plan),
        (StoredCursor::Foreign(cursor), RowSource::View) => adopt_in_view(key, cursor, plan),
    }
}

/// What the rows of a cursor are counted in: a platform producer's cursor is one in a view if its
/// file lies under one of the bases.
fn source_of(stored: &StoredCursor, view_bases: &[&str]) -> RowSource {
    match stored {
        StoredCursor::Ours(cursor) => cursor.source,
        StoredCursor::Foreign(cursor) => match part_under(&cursor.last_file, view_bases) {
            Some(_) => RowSource::View,
            None => RowSource::Outputs,
        },
    }
}

fn rebind(key: &CursorKey, stored: &Cursor, plan: &ResumePlan<'_>) -> Result<Resume, Error> {
    let mut adopted = Vec::new();
    if stored.platform_run_id != plan.platform_run_id {
        if !plan.allow_run_change {
            return Err(run_mismatch(
                key,
                &stored.platform_run_id,
                plan.platform_run_id,
            ));
        }
        adopted.push(Adoption::RunChanged {
            stored: stored.platform_run_id.clone(),
        });
    }
    if stored.plan_digest != plan.plan_digest {
        if !plan.allow_plan_change {
            return Err(plan_mismatch(key, &stored.plan_digest, plan.plan_digest));
        }
        adopted.push(Adoption::PlanChanged {
            stored: stored.plan_digest.clone(),
        });
    }
    let mut cursor = stored.clone();
    plan.platform_run_id.clone_into(&mut cursor.platform_run_id);
    plan.plan_digest.clone_into(&mut cursor.plan_digest);
    Ok(Resume { cursor, adopted })
}

fn adopt(key: &CursorKey, stored: &ForeignCursor, plan: &ResumePlan<'_>) -> Result<Resume, Error> {
    let last_file = relative_part(&stored.last_file, plan.roots)
        .ok_or_else(|| part_missing(key, &stored.last_file))?;
    Ok(Resume {
        cursor: adopted(stored, last_file, OrderPosition::AsWritten, plan),
        adopted: vec![Adoption::ExistingProducer],
    })
}

fn adopt_in_view(
    key: &CursorKey,
    stored: &ForeignCursor,
    plan: &ResumePlan<'_>,
) -> Result<Resume, Error> {
    let missing = || part_missing(key, &stored.last_file);
    let last_part = part_under(&stored.last_file, plan.view_bases).ok_or_else(missing)?;
    let order = match plan.order {
        OrderMode::AsWritten => OrderPosition::AsWritten,
        OrderMode::EventTime => OrderPosition::EventTime {
            sort_time_ns: plan.view_time_ns.ok_or_else(missing)?,
        },
    };
    Ok(Resume {
        cursor: adopted(stored, last_part, order, plan),
        adopted: vec![Adoption::ViewProducer],
    })
}

/// A platform producer's position as a cursor of this run and plan.
fn adopted(
    stored: &ForeignCursor,
    last_part: &str,
    order: OrderPosition,
    plan: &ResumePlan<'_>,
) -> Cursor {
    Cursor {
        last_part: last_part.to_owned(),
        last_file: stored.last_file.clone(),
        source: plan.source,
        last_row_index: stored.last_row_index,
        last_ts_utc: stored.last_ts_utc.clone(),
        order,
        platform_run_id: plan.platform_run_id.to_owned(),
        plan_digest: plan.plan_digest.to_owned(),
        done: None,
    }
}

/// The part relative to the engine run root: as it is if relative, else what follows one of the
/// roots; `None` if it is absolute and lies under none of them.
pub fn relative_part<'a>(last_file: &'a str, roots: &[&str]) -> Option<&'a str> {
    let is_absolute = last_file.starts_with('/') || last_file.contains("://");
    part_under(last_file, roots).or_else(|| (!is_absolute).then_some(last_file))
}

/// What follows one of the roots in a text; `None` if it lies under none of them.
pub fn part_under<'a>(last_file: &'a str, roots: &[&str]) -> Option<&'a str> {
    let under = |root: &&str| {
        last_file
            .strip_prefix(root.trim_end_matches('/'))?
            .strip_prefix('/')
    };
    let named = roots.iter().filter(|root| !root.is_empty());
    named.into_iter().find_map(under)
}

/// Checks the cursor's place in the output's parts; `rows` is the row count of the part that the
/// cursor names, `None` if the output has no such part.
///
/// # Errors
/// `CHECKPOINT_PART_MISSING`, `CHECKPOINT_ROW_PAST_END`.
pub fn position_check(key: &CursorKey, cursor: &Cursor, rows: Option<u64>) -> Result<(), Error> {
    match rows {
        None => Err(part_missing(key, &cursor.last_part)),
        Some(rows) if cursor.last_row_index >= rows => Err(row_past_end(
            key,
            &cursor.last_part,
            cursor.last_row_index,
            rows,
        )),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
