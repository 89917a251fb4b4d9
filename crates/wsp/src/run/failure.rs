//! A run that failed, as an error: what ended it, and the report so far.

use std::error::Error as StdError;
use std::fmt;

use model::{Class, Place, Refusal};

use crate::Error;
use crate::run::report::StreamReport;

/// A stream that was refused or failed: its error, and its report up to then.
///
/// It shows its error and has its error's cause as [`source`](StdError::source).
/// [`StreamFailure::error`] is the typed error itself.
#[derive(Debug)]
pub struct StreamFailure(Box<(StreamReport, Error)>);

impl StreamFailure {
    pub(crate) fn new(report: StreamReport, error: Error) -> Self {
        Self(Box::new((report.failed(&error), error)))
    }

    /// What the run did until it failed; its status is `FAILED`.
    pub fn report(&self) -> &StreamReport {
        &self.0.0
    }

    /// What ended the run.
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// The report alone, for a caller that treats all endings alike:
    /// `stream.run().await.unwrap_or_else(StreamFailure::into_report)`.
    pub fn into_report(self) -> StreamReport {
        self.0.0
    }
}

impl fmt::Display for StreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl StdError for StreamFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error().source()
    }
}

impl Refusal for StreamFailure {
    fn code(&self) -> &'static str {
        self.error().code()
    }

    fn class(&self) -> Class {
        self.error().class()
    }

    fn place(&self) -> &Place {
        self.error().place()
    }

    fn advice(&self) -> &str {
        self.error().advice()
    }

    /// Whether another run of the same request may go on from here although nobody mends anything.
    fn is_retryable(&self) -> bool {
        self.error().is_retryable()
    }
}
