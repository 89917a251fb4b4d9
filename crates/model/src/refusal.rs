//! What every error of the workspace says, whatever its type: one trait, and its answers as a value.

use std::error::Error as StdError;

use crate::failure::{Class, Code, Failure, Place, with_causes};

/// An error that says under a stable code what was refused or failed, where, and what to do.
///
/// Every error with a reason code implements it. The cause is in [`source`](StdError::source). A caller matches
/// on [`code`](Refusal::code), shows the error, and tries again where
/// [`is_retryable`](Refusal::is_retryable) says so:
///
/// ```
/// use model::{Class, Refusal};
///
/// fn answer(refusal: &dyn Refusal) -> (u16, String) {
///     let status = match refusal.class() {
///         Class::Usage => 400,
///         Class::Refused => 409,
///         Class::Failed | Class::Stopped => 503,
///     };
///     (status, format!("{}: {refusal}", refusal.code()))
/// }
/// # model::reason_codes! {
/// #     /// Why a drawer stays shut.
/// #     pub enum DrawerCode {
/// #         /// The drawer is locked.
/// #         Locked => "DRAWER_LOCKED", Refused, "Bring the key.";
/// #     }
/// # }
/// let failure = model::Failure::new(DrawerCode::Locked, "The drawer does not open");
/// assert_eq!(answer(&failure).1, "DRAWER_LOCKED: The drawer does not open. Bring the key.");
/// ```
pub trait Refusal: StdError {
    /// The stable reason code, upper snake case, for example `ENGINE_ROOT_MISSING`.
    fn code(&self) -> &'static str;

    /// What the code says about the request: [`Class::exit_status`] is the exit status of a
    /// command.
    fn class(&self) -> Class;

    /// The object, row and field concerned; all are `None` where no place is known.
    fn place(&self) -> &Place;

    /// The field, column, key or parameter concerned; `None` where none is.
    fn field(&self) -> Option<&str> {
        self.place().field()
    }

    /// What an operator does about it: one sentence with its final stop.
    fn advice(&self) -> &str;

    /// Whether the same call may succeed later although nobody mends anything.
    fn is_retryable(&self) -> bool;
}

impl<C: Code> Refusal for Failure<C> {
    fn code(&self) -> &'static str {
        self.code().as_str()
    }

    fn class(&self) -> Class {
        self.code().class()
    }

    fn place(&self) -> &Place {
        self.place()
    }

    fn advice(&self) -> &str {
        self.advice()
    }

    fn is_retryable(&self) -> bool {
        self.is_retryable()
    }
}

/// What a [`Refusal`] says, as a value that can be cloned, compared and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalRecord {
    /// The stable reason code.
    pub code: &'static str,
    /// What the code says about the request.
    pub class: Class,
    /// The object, row and field concerned, as far as they are known.
    pub place: Place,
    /// The message with its causes, outermost first, for people.
    pub detail: String,
    /// What an operator does about it: one sentence with its final stop.
    pub advice: String,
    /// Whether the same call may succeed later although nobody mends anything.
    pub is_retryable: bool,
}

impl RefusalRecord {
    /// The record of an error.
    pub fn of<E: Refusal + 'static>(refusal: &E) -> Self {
        Self {
            code: refusal.code(),
            class: refusal.class(),
            place: refusal.place().clone(),
            detail: with_causes(refusal),
            advice: refusal.advice().to_owned(),
            is_retryable: refusal.is_retryable(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        unreachable_pub,
        reason = "the lists are made as other crates make them"
    )]

    use std::io;

    use super::*;

    crate::reason_codes! {
        /// Codes of this test.
        pub enum TestCode {
            /// A file is gone.
            Gone => "GONE", Failed, "Bring it back.";
        }
    }

    #[test]
    fn a_failure_says_all_that_a_refusal_says_and_a_record_keeps_it() {
        let failure = Failure::new(TestCode::Gone, "It is gone")
            .object("a")
            .row(3)
            .field("ts_utc")
            .retryable(true)
            .because(io::Error::other("the disk"));
        let refusal: &dyn Refusal = &failure;
        assert_eq!((refusal.code(), refusal.class()), ("GONE", Class::Failed));
        assert_eq!(refusal.place().object(), Some("a"));
        assert_eq!(refusal.field(), Some("ts_utc"));
        assert_eq!(refusal.advice(), "Bring it back.");
        assert!(refusal.is_retryable() && refusal.source().is_some());
        let record = RefusalRecord::of(&failure);
        assert_eq!(record.place, *refusal.place());
        assert_eq!(
            record.detail,
            "It is gone: a, row 3, field `ts_utc`. Bring it back. Cause: the disk"
        );
        assert!(record.is_retryable);
        assert_eq!(TestCode::ALL, [failure.code()]);
    }
}
