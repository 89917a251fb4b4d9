//! What can go wrong when a console is started.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The closed set of reasons this crate fails for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// The address cannot be listened at.
    ConsoleUnbound,
    /// The token that steers streams is missing, too short, or cannot be read.
    ConsoleTokenUnusable,
}

impl ReasonCode {
    /// Every code there is.
    pub const ALL: &'static [Self] = &[Self::ConsoleUnbound, Self::ConsoleTokenUnusable];

    /// The stable upper-snake form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsoleUnbound => "CONSOLE_UNBOUND",
            Self::ConsoleTokenUnusable => "CONSOLE_TOKEN_UNUSABLE",
        }
    }
}

/// A console that cannot start: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// See [`ReasonCode::ConsoleUnbound`].
    #[error(
        "the console cannot listen at {address}; name a free address of this machine with --listen"
    )]
    Unbound {
        /// Where it should have listened.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// See [`ReasonCode::ConsoleTokenUnusable`].
    #[error("the token is unusable: {0}")]
    TokenUnusable(String),
    /// See [`ReasonCode::ConsoleTokenUnusable`].
    #[error("the token cannot be read from {}; mend the file or its rights", path.display())]
    TokenUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// The stable code of this failure.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Unbound { .. } => ReasonCode::ConsoleUnbound,
            Self::TokenUnusable(_) | Self::TokenUnreadable { .. } => {
                ReasonCode::ConsoleTokenUnusable
            }
        }
    }
}
