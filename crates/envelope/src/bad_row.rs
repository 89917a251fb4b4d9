//! What a pass over rows gives if one of them is bad.

use std::error::Error as StdError;
use std::fmt;

use model::{Class, Place, Refusal};

use crate::error::Error;

/// A bad row, and what was made of the rows before it.
///
/// It is the error of a `Result`, so that a caller decides what becomes of the bad row; the rows
/// before it may be used all the same, and do not depend on how rows are cut into batches.
#[derive(Debug)]
pub struct BadRow<T>(Box<(T, Error)>);

impl<T> BadRow<T> {
    pub(crate) fn new(before: T, error: Error) -> Self {
        Self(Box::new((before, error)))
    }

    /// What is wrong with the row: code, part, row and column.
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// What was made of the rows before it, and what is wrong with it.
    pub fn into_parts(self) -> (T, Error) {
        *self.0
    }
}

impl<T> From<BadRow<T>> for Error {
    fn from(bad: BadRow<T>) -> Self {
        bad.0.1
    }
}

impl<T> fmt::Display for BadRow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl<T: fmt::Debug> StdError for BadRow<T> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error().source()
    }
}

impl<T: fmt::Debug> Refusal for BadRow<T> {
    fn code(&self) -> &'static str {
        self.error().code().as_str()
    }

    fn class(&self) -> Class {
        self.error().code().class()
    }

    fn place(&self) -> &Place {
        self.error().place()
    }

    fn advice(&self) -> &str {
        self.error().advice()
    }

    fn is_retryable(&self) -> bool {
        self.error().is_retryable()
    }
}

/// `before`, unless there is an error.
pub(crate) fn unless_bad<T>(before: T, error: Option<Error>) -> Result<T, BadRow<T>> {
    match error {
        None => Ok(before),
        Some(error) => Err(BadRow::new(before, error)),
    }
}
