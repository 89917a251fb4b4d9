//! The one error of a stream: a code, what and where, and what to do.

use std::error::Error as StdError;
use std::sync::Arc;

use crate::ReasonCode;

/// What to do about a thread that ended where it must not.
const LOOK_FOR_A_PANIC: &str = "Look for a panic above this line and report it; a rerun resumes.";

/// Why a stream was refused or ended.
///
/// The rooms below keep their own errors, with their own fields (file, row,
/// key); here they are carried whole. [`Error::code`] is the stable part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The world could not be located, proven or read.
    #[error(transparent)]
    Oracle(oracle_store::Error),
    /// The evidence does not say that these outputs may be read.
    #[error(transparent)]
    Gates(gates::Error),
    /// A row could not be framed.
    #[error(transparent)]
    Envelope(envelope::Error),
    /// The place in the stream could not be kept.
    #[error(transparent)]
    Checkpoint(checkpoint::Error),
    /// Another producer has the lease; told by the thread that renews it.
    #[error(transparent)]
    Lease(Arc<checkpoint::Error>),
    /// The stream's own refusals.
    #[error(transparent)]
    Stream(Fault),
}

/// A refusal or failure of the stream's own.
#[derive(Debug, thiserror::Error)]
#[error("{what} {fix}")]
pub struct Fault {
    code: ReasonCode,
    what: String,
    fix: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A fault of the stream's own: the code, what happened and where (a
    /// sentence), and what to do about it (a sentence).
    pub fn new(code: ReasonCode, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Stream(Fault {
            code,
            what: what.into(),
            fix: fix.into(),
            source: None,
        })
    }

    /// The same with the cause kept in the chain.
    pub fn caused(
        code: ReasonCode,
        what: impl Into<String>,
        fix: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::Stream(Fault {
            code,
            what: what.into(),
            fix: fix.into(),
            source: Some(Box::new(source)),
        })
    }

    /// A thread or task of the stream ended where it must not.
    pub(crate) fn died(what: &str, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::caused(ReasonCode::StreamInternal, what, LOOK_FOR_A_PANIC, source)
    }

    /// The same where nothing tells why.
    pub(crate) fn ended_early(what: &str) -> Self {
        Self::new(ReasonCode::StreamInternal, what, LOOK_FOR_A_PANIC)
    }

    /// The system starts no more threads.
    pub(crate) fn no_thread(what: &str, source: std::io::Error) -> Self {
        let fix = "Look at the system's limits; a rerun resumes.";
        Self::caused(ReasonCode::StreamInternal, what, fix, source)
    }

    /// The stable reason code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Oracle(error) => error.code().as_str(),
            Self::Gates(error) => error.code().as_str(),
            Self::Envelope(error) => error.code().as_str(),
            Self::Checkpoint(error) => error.code().as_str(),
            Self::Lease(error) => error.code().as_str(),
            Self::Stream(fault) => fault.code.as_str(),
        }
    }

    /// Whether the arguments or the profile are at fault, and nothing else was
    /// looked at yet (exit status 2).
    pub fn is_usage(&self) -> bool {
        let code = self.code();
        code.starts_with("PROFILE_") || code == ReasonCode::ResetNotConfirmed.as_str()
    }

    /// The message with its causes, outermost first, for people.
    pub fn detail(&self) -> String {
        let mut text = self.to_string();
        let mut joint = " Cause: ";
        let mut cause = self.source();
        while let Some(source) = cause {
            let next = source.to_string();
            if !text.contains(&next) {
                text.push_str(joint);
                text.push_str(&next);
                joint = ": ";
            }
            cause = source.source();
        }
        text
    }
}
