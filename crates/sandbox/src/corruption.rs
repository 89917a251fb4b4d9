//! Named corruptions of a world, each with the reason code it must lead to.

use crate::{Error, World};

/// The least demanding way of looking at a world that sees a corruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeenBy {
    /// Any run, even in local posture with presence checks, before its first push.
    AnyRun,
    /// Strict posture, before the first push.
    StrictPosture,
    /// `gate_verification: digest`, before the first push.
    DigestVerification,
    /// `data_verification: size` (or `sha256`), before the first push.
    SizeVerification,
    /// `data_verification: sha256`, before the part's first row.
    Sha256Verification,
    /// Any run that reaches the row, in either order; rows before it may be pushed.
    Streaming,
}

/// One thing wrong with a world. Data faults strike the first part of the first
/// output; where a row is meant, the one in the middle of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Corruption {
    /// A gate's `_passed.flag` is gone: `GATE_PASS_MISSING`.
    FlagMissing,
}

impl Corruption {
    /// Every corruption.
    pub const ALL: &'static [Self] = &[Self::FlagMissing];

    /// The reason code that a run over the corrupted world must end with.
    pub fn reason_code(self) -> &'static str {
        match self {
            Self::FlagMissing => "GATE_PASS_MISSING",
        }
    }

    /// Who must see it.
    pub fn seen_by(self) -> SeenBy {
        match self {
            Self::FlagMissing => SeenBy::AnyRun,
        }
    }

    /// Corrupts the world on disk.
    ///
    /// # Errors
    /// `SANDBOX_IO`; `SANDBOX_OPTIONS_INVALID` where the world lacks what is to be
    /// corrupted (a seal, say).
    pub fn apply(self, _world: &World) -> Result<(), Error> {
        todo!()
    }
}
