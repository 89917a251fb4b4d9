//! What can go wrong, as a closed set of reason codes.
//!
//! An [`Error`] says what happened, where (file, table or object, and the key) and what to do.
//! Its cause stays in the chain and is not repeated in `Display`. One function a code makes it.

use std::fmt;

use model::Failure;

model::reason_codes! {
    /// The stable machine code of an [`Error`].
    pub enum ReasonCode {
        /// A record is torn, edited or not ours to understand.
        Corrupt => "CHECKPOINT_CORRUPT", Failed,
            "Look at `checkpoint show` and the history beside it; `checkpoint reset` starts over deliberately.";
        /// A record was written by a newer format.
        VersionUnsupported => "CHECKPOINT_VERSION_UNSUPPORTED", Refused,
            "Use the release that wrote it, or a newer one.";
        /// The store is away, full, or its folder is gone. Worth waiting for.
        Unavailable => "CHECKPOINT_UNAVAILABLE", Failed,
            "Bring it back: a stream waits up to `give_up_after_s`, then a rerun resumes.";
        /// The store cannot work as configured: waiting does not help.
        ConfigInvalid => "CHECKPOINT_CONFIG_INVALID", Refused,
            "Mend `wsp_checkpoint`; the message says what.";
        /// A pack key or output id that no store can hold.
        KeyInvalid => "CHECKPOINT_KEY_INVALID", Refused,
            "Mend the id.";
        /// The place of one key holds the record of another.
        KeyMismatch => "CHECKPOINT_KEY_MISMATCH", Refused,
            "Somebody moved files: put them back.";
        /// A save would move a cursor backwards.
        Regression => "CHECKPOINT_REGRESSION", Refused,
            "Look for a second producer; `checkpoint reset` goes back deliberately.";
        /// The stored cursor belongs to another plan.
        PlanMismatch => "CHECKPOINT_PLAN_MISMATCH", Refused,
            "Find out what changed; `--allow-plan-change` resumes deliberately.";
        /// The stored cursor belongs to another platform run.
        RunMismatch => "CHECKPOINT_RUN_MISMATCH", Refused,
            "Name that run, use `scope: platform_run`, or `--allow-run-change` deliberately.";
        /// The stored cursor belongs to another stream order.
        OrderMismatch => "CHECKPOINT_ORDER_MISMATCH", Refused,
            "Stream in the order of the cursor, or reset it.";
        /// The stored cursor counts the rows of another source: outputs, or stream views.
        SourceMismatch => "CHECKPOINT_SOURCE_MISMATCH", Refused,
            "Stream from the source of the cursor (`stream_source`), or reset it.";
        /// The stream is divided into other shards than these.
        ShardsMismatch => "CHECKPOINT_SHARDS_MISMATCH", Refused,
            "Stream in the shards that the cursors are of, or divide anew with `checkpoint reshard --to N`.";
        /// The table of cursors was dropped, while the other tables of the store stand.
        TableMissing => "CHECKPOINT_TABLE_MISSING", Refused,
            "Restore it, or give all of its cursors up with `checkpoint reset --yes`.";
        /// Two places hold different cursors of one output, and nothing says which counts.
        Ambiguous => "CHECKPOINT_AMBIGUOUS", Refused,
            "Find out which producer went on last, and move the other cursor away.";
        /// The cursor's part is not among the output's parts.
        PartMissing => "CHECKPOINT_PART_MISSING", Refused,
            "Restore the world, or reset the cursor deliberately.";
        /// The cursor's row lies past the end of its part.
        RowPastEnd => "CHECKPOINT_ROW_PAST_END", Refused,
            "Restore the world, or reset the cursor deliberately.";
        /// Another producer holds the lease.
        LeaseHeld => "LEASE_HELD", Refused,
            "Stop it, or take over deliberately with `--take-over`.";
        /// The lease was taken by another, released, or never held.
        LeaseLost => "LEASE_LOST", Failed,
            "Find out who took it; nothing is lost.";
    }
}

/// A checkpoint operation that failed: its code, what happened, the full name of the file, table
/// row or object, and what to do.
///
/// Only `CHECKPOINT_UNAVAILABLE` is retryable: the same call may succeed later. A held lease is
/// waited for by [`acquire_or_wait`](crate::acquire_or_wait) alone, and names its holder
/// ([`Held::of`](crate::Held::of)).
pub type Error = Failure<ReasonCode>;

/// `CHECKPOINT_UNAVAILABLE`: the store at `place` cannot do what was asked (`operation`, such as
/// "save the cursor"). `advice` is one sentence without its final stop.
pub fn unavailable(operation: &str, place: impl Into<String>, advice: &str) -> Error {
    Error::new(ReasonCode::Unavailable, format!("Cannot {operation}"))
        .object(place)
        .advise(format!("{advice}."))
        .retryable(true)
}

/// `LEASE_LOST`
pub(crate) fn lost(key: &impl fmt::Display, fault: impl fmt::Display) -> Error {
    let what = format!("The lease of {key} is lost: {fault}");
    Error::new(ReasonCode::LeaseLost, what).advise("This producer must stop; nothing was saved.")
}

/// `CHECKPOINT_CORRUPT`
pub(crate) fn corrupt(place: impl Into<String>, fault: impl fmt::Display) -> Error {
    let what = format!("The checkpoint record is damaged ({fault})");
    Error::new(ReasonCode::Corrupt, what)
        .object(place)
        .advise("Restore it from a copy, or give up its position with `checkpoint reset`.")
}

/// `CHECKPOINT_VERSION_UNSUPPORTED`
pub(crate) fn unsupported(place: impl Into<String>, found: impl fmt::Display, known: u32) -> Error {
    let what =
        format!("The checkpoint has format version {found}, and this program knows up to {known}");
    Error::new(ReasonCode::VersionUnsupported, what).object(place)
}

/// `CHECKPOINT_CONFIG_INVALID`
pub(crate) fn config_invalid(place: impl Into<String>, fault: impl fmt::Display) -> Error {
    let what = format!("The checkpoint store cannot be used ({fault})");
    Error::new(ReasonCode::ConfigInvalid, what)
        .object(place)
        .advise("Correct `wsp_checkpoint`.")
}

/// `CHECKPOINT_KEY_INVALID`
pub(crate) fn key_invalid(what: &str, value: &str, fault: &str) -> Error {
    let what = format!("The {what} {value:?} cannot be a checkpoint key: {fault}");
    Error::new(ReasonCode::KeyInvalid, what).advise("Correct it where it is named.")
}

/// `CHECKPOINT_KEY_MISMATCH`
pub(crate) fn key_mismatch(
    place: impl Into<String>,
    key: &impl fmt::Display,
    found: impl fmt::Display,
) -> Error {
    let what = format!("The place of the cursor of {key} holds that of {found}");
    Error::new(ReasonCode::KeyMismatch, what)
        .object(place)
        .advise("Rename one of the two outputs, or move the record to its own place.")
}

/// `CHECKPOINT_REGRESSION`
pub(crate) fn regression(key: &impl fmt::Display, stored: &str, offered: &str) -> Error {
    let what = format!("The cursor of {key} stands at {stored} and would move back to {offered}");
    Error::new(ReasonCode::Regression, what)
        .advise("Nothing was saved; `checkpoint reset` gives up a position on purpose.")
}

/// `CHECKPOINT_PLAN_MISMATCH`
pub(crate) fn plan_mismatch(key: &impl fmt::Display, stored: &str, offered: &str) -> Error {
    let what = format!(
        "The cursor of {key} was saved under plan {stored} and this plan is {offered}: the world, parts, order or window differ"
    );
    Error::new(ReasonCode::PlanMismatch, what)
        .advise("Stream what it was saved for, reset it, or allow the change of plan.")
}

/// `CHECKPOINT_RUN_MISMATCH`
pub(crate) fn run_mismatch(key: &impl fmt::Display, stored: &str, offered: &str) -> Error {
    let what = format!(
        "The cursor of {key} belongs to {stored} and this is {offered}: the gate dedupes per platform run"
    );
    Error::new(ReasonCode::RunMismatch, what).advise(format!(
        "Resume {stored}, use `scope: platform_run`, or allow the change of run."
    ))
}

/// `CHECKPOINT_ORDER_MISMATCH`
pub(crate) fn order_mismatch(
    key: &impl fmt::Display,
    stored: impl fmt::Display,
    offered: impl fmt::Display,
) -> Error {
    let what = format!(
        "The cursor of {key} was saved in order {stored} and cannot be used in order {offered}"
    );
    Error::new(ReasonCode::OrderMismatch, what)
        .advise(format!("Stream in {stored}, or reset the cursor."))
}

/// `CHECKPOINT_SOURCE_MISMATCH`
pub(crate) fn source_mismatch(
    key: &impl fmt::Display,
    stored: impl fmt::Display,
    offered: impl fmt::Display,
) -> Error {
    let what = format!(
        "The cursor of {key} counts rows of {stored} and cannot be used for those of {offered}"
    );
    Error::new(ReasonCode::SourceMismatch, what).advise(format!(
        "Stream with `stream_source: {stored}`, or reset the cursor."
    ))
}

/// `CHECKPOINT_SHARDS_MISMATCH`
pub(crate) fn shards_mismatch(
    key: &impl fmt::Display,
    stored: &str,
    offered: model::Shard,
) -> Error {
    let what = format!(
        "The cursors of pack {key:.12}… are of {stored}, and this is shard {offered} by {}",
        offered.by()
    );
    Error::new(ReasonCode::ShardsMismatch, what)
}

/// `CHECKPOINT_TABLE_MISSING`
#[cfg(feature = "postgres")]
pub(crate) fn table_missing(place: &str) -> Error {
    let what =
        "The table wsp_checkpoint was dropped, and the tables beside it say that it held cursors";
    Error::new(ReasonCode::TableMissing, what)
        .object(place)
        .advise("Restore it from a backup, or give up the cursors of all worlds that it held with `checkpoint reset --yes`.")
}

/// `CHECKPOINT_AMBIGUOUS`: two places hold different cursors of a key. Each is named with its
/// position.
pub fn ambiguous(key: &impl fmt::Display, one: &str, other: &str) -> Error {
    let what = format!("Two different cursors of {key} are stored: {one}, and {other}");
    Error::new(ReasonCode::Ambiguous, what)
}

/// `CHECKPOINT_PART_MISSING`
pub(crate) fn part_missing(key: &impl fmt::Display, part: &str) -> Error {
    let what =
        format!("The cursor of {key} stands in {part}, which is not one of the output's parts");
    Error::new(ReasonCode::PartMissing, what).advise("Bring the part back, or reset the cursor.")
}

/// `CHECKPOINT_ROW_PAST_END`
pub(crate) fn row_past_end(key: &impl fmt::Display, part: &str, row: u64, rows: u64) -> Error {
    let what = format!("The cursor of {key} stands at row {row} of {part}, which has {rows} rows");
    Error::new(ReasonCode::RowPastEnd, what)
        .advise("Bring the part back as it was, or reset the cursor.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_upper_snake_and_distinct() {
        let mut spelt: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        let is_upper_snake = |c: char| c.is_ascii_uppercase() || c == '_';
        assert!(spelt.iter().all(|code| code.chars().all(is_upper_snake)));
        spelt.sort_unstable();
        spelt.dedup();
        assert_eq!(spelt.len(), ReasonCode::ALL.len());
    }
}
