//! The one error of a stream: a code, what and where, and what to do.

use std::error::Error as StdError;

use model::{Class, Failure, Place, Refusal, with_causes};

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

    /// The error of the room below, or the stream's own.
    fn refusal(&self) -> &dyn Refusal {
        match self {
            Self::Gates(error) => error,
            Self::Replay(error) => error,
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

    fn is_retryable(&self) -> bool {
        self.refusal().is_retryable()
    }
}

#[cfg(test)]
mod tests {
    use envelope::EventTime;

    use super::*;

    #[test]
    fn the_errors_of_all_crates_are_refusals() {
        fn is_refusal<E: Refusal + Send + Sync + 'static>() {}
        is_refusal::<oracle_store::Error>();
        is_refusal::<gates::Error>();
        is_refusal::<gates::AttestError>();
        is_refusal::<envelope::Error>();
        is_refusal::<envelope::BadRow<Vec<EventTime>>>();
        is_refusal::<checkpoint::Error>();
        is_refusal::<push::NotAcknowledged>();
        is_refusal::<push::EndpointError>();
        is_refusal::<push::ClientError>();
        is_refusal::<push::HealthError>();
        is_refusal::<push::PushFault>();
        is_refusal::<replay::Error>();
        is_refusal::<Error>();
        is_refusal::<crate::StreamFailure>();
    }

    #[test]
    fn a_refusal_from_below_says_the_same_from_above() {
        let below = checkpoint::unavailable("save the cursor", "cursors/a", "Bring it back");
        let (text, place) = (below.to_string(), below.place().clone());
        let above: Box<dyn Refusal> = Box::new(Error::from(below));
        assert_eq!(above.code(), "CHECKPOINT_UNAVAILABLE");
        assert_eq!((above.to_string(), above.place()), (text, &place));
        assert_eq!(above.advice(), "Bring it back.");
        assert!(above.is_retryable());
    }
}
