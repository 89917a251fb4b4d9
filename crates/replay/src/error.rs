//! The one error of the streaming core: a code, what and where, and what to do.

use std::error::Error as StdError;
use std::sync::Arc;

use model::{Class, Failure, Place, Refusal, with_causes};

use crate::ReasonCode;

/// What to do about a thread that ended where it must not.
const LOOK_FOR_A_PANIC: &str = "Look for a panic above this line and report it; a rerun resumes.";

/// Why a stream ended early.
///
/// The rooms below keep their own errors, with their own fields (file, row,
/// key); here they are carried whole. [`Error::code`] is the stable part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The world could not be located, proven or read.
    #[error(transparent)]
    Oracle(oracle_store::Error),
    /// A row could not be framed.
    #[error(transparent)]
    Envelope(#[from] envelope::Error),
    /// The place in the stream could not be kept.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// Another producer has the lease; told by the thread that renews it.
    #[error(transparent)]
    Lease(Arc<checkpoint::Error>),
    /// The core's own failures.
    #[error(transparent)]
    Stream(#[from] Fault),
}

/// A failure of the streaming core's own.
pub type Fault = Failure<ReasonCode>;

impl From<oracle_store::Error> for Error {
    fn from(error: oracle_store::Error) -> Self {
        Self::Oracle(match error.code() {
            // Only here is it known by what name the budget is raised.
            oracle_store::ReasonCode::MemoryBudgetExceeded => {
                error.advise(ReasonCode::MemoryBudgetExceeded.advice())
            }
            _ => error,
        })
    }
}

impl Error {
    /// A fault of the stream's own: the code, what happened and where (a
    /// sentence without its final stop), and what to do about it (a sentence).
    pub fn new(code: ReasonCode, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Stream(Fault::new(code, what).advise(fix))
    }

    /// A fault of the stream's own with its cause kept in the chain: the code, what happened and
    /// where, and what to do about it.
    pub fn caused(
        code: ReasonCode,
        what: impl Into<String>,
        fix: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::Stream(Fault::new(code, what).advise(fix).because(source))
    }

    /// A thread or task of the stream ended where it must not.
    pub fn died(what: &str, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::caused(ReasonCode::StreamInternal, what, LOOK_FOR_A_PANIC, source)
    }

    /// A thread or task of the stream ended where it must not, for a reason that is not known.
    pub fn ended_early(what: &str) -> Self {
        Self::new(ReasonCode::StreamInternal, what, LOOK_FOR_A_PANIC)
    }

    /// The system starts no more threads.
    pub fn no_thread(what: &str, source: std::io::Error) -> Self {
        let fix = "Look at the system's limits; a rerun resumes.";
        Self::caused(ReasonCode::StreamInternal, what, fix, source)
    }

    /// The error of the room below, or the core's own.
    fn refusal(&self) -> &dyn Refusal {
        match self {
            Self::Oracle(error) => error,
            Self::Envelope(error) => error,
            Self::Checkpoint(error) => error,
            Self::Lease(error) => &**error,
            Self::Stream(fault) => fault,
        }
    }

    /// The stable reason code.
    pub fn code(&self) -> &'static str {
        self.refusal().code()
    }

    /// What the reason code says about the command: [`Class::exit_status`] is its exit status.
    pub fn class(&self) -> Class {
        self.refusal().class()
    }

    /// The message with its causes, outermost first, for people.
    pub fn detail(&self) -> String {
        with_causes(self)
    }
}

impl Refusal for Error {
    fn code(&self) -> &'static str {
        self.refusal().code()
    }

    fn class(&self) -> Class {
        self.refusal().class()
    }

    fn place(&self) -> &Place {
        self.refusal().place()
    }

    fn advice(&self) -> &str {
        self.refusal().advice()
    }

    /// True where the storage or the checkpoint store failed in passing, and for
    /// `IG_PUSH_RETRY_EXHAUSTED` and `SORT_CACHE_DAMAGED`, which a rerun mends or outlasts.
    fn is_retryable(&self) -> bool {
        let of_own = |fault: &Fault| {
            matches!(
                fault.code(),
                ReasonCode::IgPushRetryExhausted | ReasonCode::SortCacheDamaged
            )
        };
        matches!(self, Self::Stream(fault) if of_own(fault)) || self.refusal().is_retryable()
    }
}
