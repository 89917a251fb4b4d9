//! The one design of errors: a closed code, what happened, where, what to do, and the cause.
//!
//! Each crate has a closed list of codes ([`reason_codes!`](crate::reason_codes)) and an error
//! that is a [`Failure`] of it. A code carries its [`Class`], which decides the exit status of
//! a command, and the sentence that says what an operator does about it.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::io;

/// What a reason code says about a command. It decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The arguments or the profile are wrong, and nothing else was read yet.
    Usage,
    /// Evidence, a rule or a limit forbids the request; trying again does not help.
    Refused,
    /// Something outside did not work: storage, network, the gate, the system.
    Failed,
    /// The caller ended the operation.
    Stopped,
}

impl Class {
    /// The exit status of a command that ends for a reason of this class: 2 for usage, 3 for
    /// a stop, else 1.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Refused | Self::Failed => 1,
            Self::Stopped => 3,
        }
    }
}

/// A closed list of stable reason codes; made by [`reason_codes!`](crate::reason_codes).
pub trait Code: Copy + Debug + Display + Eq + Hash + Send + Sync + 'static {
    /// The stable text, upper snake case, for example `ENGINE_ROOT_MISSING`.
    fn as_str(self) -> &'static str;

    /// What the code says about a command.
    fn class(self) -> Class;

    /// What an operator does about it: one sentence with its final stop.
    fn advice(self) -> &'static str;
}

/// Makes a closed list of reason codes: an enum with its texts, classes and advice.
///
/// A list may carry the codes of a crate below it, which keep their own texts:
///
/// ```
/// model::reason_codes! {
///     /// Why a drawer stays shut.
///     pub enum DrawerCode {
///         /// The drawer is locked.
///         Locked => "DRAWER_LOCKED", Refused, "Bring the key.";
///     }
/// }
/// model::reason_codes! {
///     /// Why nothing was filed.
///     pub enum FilingCode {
///         /// There is no paper.
///         PaperMissing => "PAPER_MISSING", Usage, "Name a paper.";
///     }
///     + /// The drawer's own code.
///     Drawer(DrawerCode)
/// }
/// assert_eq!(FilingCode::Drawer(DrawerCode::Locked).as_str(), "DRAWER_LOCKED");
/// assert_eq!(FilingCode::PaperMissing.class().exit_status(), 2);
/// assert_eq!(FilingCode::ALL.len(), 1);
/// ```
#[macro_export]
macro_rules! reason_codes {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$doc:meta])+ $variant:ident => $text:literal, $class:ident, $advice:literal;)+
        }
        $(+ $(#[$carried_doc:meta])+ $carried:ident($lower:ty))*
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        $vis enum $name {
            $($(#[$doc])+ $variant,)+
            $($(#[$carried_doc])+ $carried($lower),)*
        }

        impl $name {
            /// Every code of this list, in the order in which they are checked; carried
            /// ones are in the list of their own crate.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable text, upper snake case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    $(Self::$carried(code) => code.as_str(),)*
                }
            }

            /// What the code says about a command; decides its exit status.
            pub const fn class(self) -> $crate::Class {
                match self {
                    $(Self::$variant => $crate::Class::$class,)+
                    $(Self::$carried(code) => code.class(),)*
                }
            }

            /// What an operator does about it: one sentence with its final stop.
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$variant => $advice,)+
                    $(Self::$carried(code) => code.advice(),)*
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::Code for $name {
            fn as_str(self) -> &'static str {
                self.as_str()
            }

            fn class(self) -> $crate::Class {
                self.class()
            }

            fn advice(self) -> &'static str {
                self.advice()
            }
        }
    };
}

/// The cause below a [`Failure`]: kept in the chain, not repeated in its text.
pub type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// Where something happened: an object by its full name, a row, a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    object: Option<String>,
    row: Option<u64>,
    field: Option<String>,
}

impl Place {
    /// No place: no object, row or field is known.
    pub const UNKNOWN: &'static Self = &Self {
        object: None,
        row: None,
        field: None,
    };

    /// The place of a field, column, key or parameter alone.
    pub fn of_field(field: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::default()
        }
    }

    /// The full name of the object (a local path, `s3://bucket/key`, a table or a key); `None` if
    /// none is concerned.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The row, counted from 0 within its part; `None` if no row is concerned.
    pub fn row(&self) -> Option<u64> {
        self.row
    }

    /// The field, column or key; `None` if none is concerned.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

/// Why something was refused or failed.
///
/// `Display` is one or two plain sentences: what happened, where, and what to do. The cause
/// is in [`source`](StdError::source) and is not repeated.
///
/// ```
/// # model::reason_codes! {
/// #     /// Why a drawer stays shut.
/// #     pub enum DrawerCode {
/// #         /// The drawer is locked.
/// #         Locked => "DRAWER_LOCKED", Refused, "Bring the key.";
/// #     }
/// # }
/// use model::Failure;
///
/// let failure = Failure::new(DrawerCode::Locked, "The drawer does not open").object("desk/2");
/// assert_eq!(failure.to_string(), "The drawer does not open: desk/2. Bring the key.");
/// assert_eq!(failure.code(), DrawerCode::Locked);
/// ```
#[derive(Debug)]
pub struct Failure<C>(Box<Fields<C>>);

#[derive(Debug)]
struct Fields<C> {
    code: C,
    what: String,
    place: Place,
    advice: Option<String>,
    retryable: bool,
    source: Option<Cause>,
}

impl<C: Code> Failure<C> {
    /// A failure with its code and what happened: a sentence without its final stop.
    pub fn new(code: C, what: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            code,
            what: what.into(),
            place: Place::default(),
            advice: None,
            retryable: false,
            source: None,
        }))
    }

    /// Names the object by its full name: a local path, `s3://bucket/key`, a table or a key.
    #[must_use]
    pub fn object(mut self, full_name: impl Into<String>) -> Self {
        self.0.place.object = Some(full_name.into());
        self
    }

    /// Names the row, counted from 0 within its part.
    #[must_use]
    pub fn row(mut self, row: u64) -> Self {
        self.0.place.row = Some(row);
        self
    }

    /// Names the field, column or key.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.place.field = Some(field.into());
        self
    }

    /// Says what to do in place of the code's own advice: one sentence with its final stop.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Sets the cause, which [`source`](StdError::source) gives and `Display` does not repeat.
    #[must_use]
    pub fn because(mut self, source: impl Into<Cause>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether the same operation may succeed when it is tried again; `false` unless said.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// The closed, stable reason.
    pub fn code(&self) -> C {
        self.0.code
    }

    /// What happened, without the place and without a final stop.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// The object, row and field concerned, as far as they are known.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// The full name of the object concerned, if there is one.
    pub fn object_name(&self) -> Option<&str> {
        self.0.place.object()
    }

    /// The row concerned, counted from 0 within its part.
    pub fn row_index(&self) -> Option<u64> {
        self.0.place.row
    }

    /// What an operator does about it: one sentence with its final stop.
    pub fn advice(&self) -> &str {
        match &self.0.advice {
            Some(advice) => advice,
            None => self.0.code.advice(),
        }
    }

    /// Whether the same operation may succeed when it is tried again.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The same failure under another code: one that carries this one.
    pub fn map_code<D: Code>(self, code: impl FnOnce(C) -> D) -> Failure<D> {
        let Fields {
            code: own,
            what,
            place,
            advice,
            retryable,
            source,
        } = *self.0;
        Failure(Box::new(Fields {
            code: code(own),
            what,
            place,
            advice,
            retryable,
            source,
        }))
    }
}

impl<C: Code> Display for Failure<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { what, place, .. } = &*self.0;
        write!(f, "{what}{place}. {}", self.advice())
    }
}

impl Display for Place {
    /// `: object, row 3, field \`x\``, without what is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, ": {object}")?;
        }
        if let Some(row) = self.row {
            write!(f, ", row {row}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ", field `{field}`")?;
        }
        Ok(())
    }
}

impl<C: Code> StdError for Failure<C> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

/// A message with its causes, outermost first, for people: `A sentence. Cause: this: that`, or
/// `this: that` where the message is no sentence with a final stop.
///
/// A cause whose text stands in the message already is left out.
pub fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut joint = if text.ends_with('.') {
        " Cause: "
    } else {
        ": "
    };
    for cause in chain(error).skip(1) {
        let next = cause.to_string();
        if !text.contains(&next) {
            text.push_str(joint);
            text.push_str(&next);
            joint = ": ";
        }
    }
    text
}

/// An error and everything beneath it, the errors that IO errors wrap included, which their
/// `source` passes over.
pub fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped as _),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests;
