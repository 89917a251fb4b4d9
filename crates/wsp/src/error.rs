//! The one error of a stream: a code, what and where, and what to do.

use std::error::Error as StdError;

use model::{Class, Failure, with_causes};

use crate::ReasonCode;

/// Why a stream was refused or ended.
///
/// The rooms below keep their own errors, with their own fields (file, row,
/// key); here they are carried whole. [`Error::code`] is the stable part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The evidence does not say that these outputs may be read.
    #[error(transparent)]
    Gates(#[from] gates::Error),
    /// The streaming core, or what it reads and keeps, failed.
    #[error(transparent)]
    Replay(#[from] replay::Error),
    /// The stream's own refusals.
    #[error(transparent)]
    Stream(#[from] Fault),
}

/// A refusal or failure of the stream's own.
pub type Fault = Failure<ReasonCode>;

impl From<gates::AttestError> for Error {
    fn from(refusal: gates::AttestError) -> Self {
        Self::Gates(refusal.into())
    }
}

impl From<oracle_store::Error> for Error {
    fn from(error: oracle_store::Error) -> Self {
        Self::Replay(error.into())
    }
}

impl From<envelope::Error> for Error {
    fn from(error: envelope::Error) -> Self {
        Self::Replay(error.into())
    }
}

impl From<checkpoint::Error> for Error {
    fn from(error: checkpoint::Error) -> Self {
        Self::Replay(error.into())
    }
}

impl Error {
    /// A fault of the stream's own: the code, what happened and where (a
    /// sentence without its final stop), and what to do about it (a sentence).
    pub fn new(
        code: impl Into<ReasonCode>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Stream(Fault::new(code.into(), what).advise(fix))
    }

    /// The same with the cause kept in the chain.
    pub fn caused(
        code: impl Into<ReasonCode>,
        what: impl Into<String>,
        fix: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::Stream(Fault::new(code.into(), what).advise(fix).because(source))
    }

    /// A thread or task of the stream ended where it must not.
    pub(crate) fn died(what: &str, source: impl StdError + Send + Sync + 'static) -> Self {
        replay::Error::died(what, source).into()
    }

    /// The stable reason code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Gates(error) => error.code().as_str(),
            Self::Replay(error) => error.code(),
            Self::Stream(fault) => fault.code().as_str(),
        }
    }

    /// What the reason code says about the command: [`Class::exit_status`] is its exit status.
    pub fn class(&self) -> Class {
        match self {
            Self::Gates(error) => error.code().class(),
            Self::Replay(error) => error.class(),
            Self::Stream(fault) => fault.code().class(),
        }
    }

    /// The message with its causes, outermost first, for people.
    pub fn detail(&self) -> String {
        with_causes(self)
    }
}
