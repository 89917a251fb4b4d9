//! What can go wrong, as a closed set of reason codes.
//!
//! An [`Error`] says what happened, where (file, table or object, and the key) and what to do.
//! Its source stays in the chain and is not repeated in `Display`.

use crate::cursor::OrderMode;
use crate::key::CursorKey;
use crate::lease::Holder;

/// The cause below an [`Error`].
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

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

/// A checkpoint operation that failed. `place` is the full name of the file, table row or object.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the message says they are")]
pub enum Error {
    /// `CHECKPOINT_CORRUPT`
    #[error(
        "the checkpoint record at {place} is damaged: {fault}. Restore it from a copy, or give up its position with `checkpoint reset`"
    )]
    Corrupt {
        place: String,
        fault: String,
        source: Option<Source>,
    },
    /// `CHECKPOINT_VERSION_UNSUPPORTED`
    #[error(
        "the checkpoint at {place} has format version {found}, and this program knows up to {known}. Use the release that wrote it"
    )]
    VersionUnsupported {
        place: String,
        found: String,
        known: u32,
    },
    /// `CHECKPOINT_UNAVAILABLE`
    #[error("cannot {operation} at {place}. {advice}")]
    Unavailable {
        operation: &'static str,
        place: String,
        advice: &'static str,
        source: Option<Source>,
    },
    /// `CHECKPOINT_CONFIG_INVALID`
    #[error("the checkpoint store {place} cannot be used: {fault}. Correct `wsp_checkpoint`")]
    ConfigInvalid {
        place: String,
        fault: String,
        source: Option<Source>,
    },
    /// `CHECKPOINT_KEY_INVALID`
    #[error("{what} {value:?} cannot be a checkpoint key: {fault}. Correct it where it is named")]
    KeyInvalid {
        what: &'static str,
        value: String,
        fault: &'static str,
    },
    /// `CHECKPOINT_KEY_MISMATCH`
    #[error(
        "{place} should hold the cursor of {key} but holds that of {found}. Rename one of the two outputs, or move the record to its own place"
    )]
    KeyMismatch {
        place: String,
        key: CursorKey,
        found: String,
    },
    /// `CHECKPOINT_REGRESSION`
    #[error(
        "the cursor of {key} stands at {stored} and would move back to {offered}. Nothing was saved; `checkpoint reset` gives up a position on purpose"
    )]
    Regression {
        key: CursorKey,
        stored: String,
        offered: String,
    },
    /// `CHECKPOINT_PLAN_MISMATCH`
    #[error(
        "the cursor of {key} was saved under plan {stored} and this plan is {offered}: the world, parts, order or window differ. Stream what it was saved for, reset it, or allow the change of plan"
    )]
    PlanMismatch {
        key: CursorKey,
        stored: String,
        offered: String,
    },
    /// `CHECKPOINT_RUN_MISMATCH`
    #[error(
        "the cursor of {key} belongs to {stored} and this is {offered}: the gate dedupes per platform run. Resume {stored}, use `scope: platform_run`, or allow the change of run"
    )]
    RunMismatch {
        key: CursorKey,
        stored: String,
        offered: String,
    },
    /// `CHECKPOINT_ORDER_MISMATCH`
    #[error(
        "the cursor of {key} was saved in order {stored} and cannot be used in order {offered}. Stream in {stored}, or reset the cursor"
    )]
    OrderMismatch {
        key: CursorKey,
        stored: OrderMode,
        offered: OrderMode,
    },
    /// `CHECKPOINT_PART_MISSING`
    #[error(
        "the cursor of {key} stands in {part}, which is not one of the output's parts. Bring the part back, or reset the cursor"
    )]
    PartMissing { key: CursorKey, part: String },
    /// `CHECKPOINT_ROW_PAST_END`
    #[error(
        "the cursor of {key} stands at row {row} of {part}, which has {rows} rows. Bring the part back as it was, or reset the cursor"
    )]
    RowPastEnd {
        key: CursorKey,
        part: String,
        row: u64,
        rows: u64,
    },
    /// `LEASE_HELD`
    #[error(
        "the lease of {key} is held by {holder}. Stop that producer, wait for it, or take over"
    )]
    LeaseHeld { key: CursorKey, holder: Box<Holder> },
    /// `LEASE_LOST`
    #[error("the lease of {key} is lost: {fault}. This producer must stop; nothing was saved")]
    LeaseLost { key: CursorKey, fault: String },
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Error::Corrupt { .. } => ReasonCode::Corrupt,
            Error::VersionUnsupported { .. } => ReasonCode::VersionUnsupported,
            Error::Unavailable { .. } => ReasonCode::Unavailable,
            Error::ConfigInvalid { .. } => ReasonCode::ConfigInvalid,
            Error::KeyInvalid { .. } => ReasonCode::KeyInvalid,
            Error::KeyMismatch { .. } => ReasonCode::KeyMismatch,
            Error::Regression { .. } => ReasonCode::Regression,
            Error::PlanMismatch { .. } => ReasonCode::PlanMismatch,
            Error::RunMismatch { .. } => ReasonCode::RunMismatch,
            Error::OrderMismatch { .. } => ReasonCode::OrderMismatch,
            Error::PartMissing { .. } => ReasonCode::PartMissing,
            Error::RowPastEnd { .. } => ReasonCode::RowPastEnd,
            Error::LeaseHeld { .. } => ReasonCode::LeaseHeld,
            Error::LeaseLost { .. } => ReasonCode::LeaseLost,
        }
    }

    /// Whether the same call may succeed later: only [`ReasonCode::Unavailable`]. A held lease is
    /// waited for by [`acquire_or_wait`](crate::acquire_or_wait) alone.
    pub fn is_retryable(&self) -> bool {
        self.code() == ReasonCode::Unavailable
    }
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
