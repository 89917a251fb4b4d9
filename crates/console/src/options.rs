//! What a console shows, and to whom.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::Error;

/// What a console shows, and to whom.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsoleOptions {
    /// The address to listen at; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The runs roots whose streams are shown.
    pub runs_roots: Vec<PathBuf>,
    /// Control sockets of streams that are shown besides.
    pub sockets: Vec<PathBuf>,
    /// Host names that the console may be called by, beside its address, loopback and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// What steers streams; `None` only reads.
    pub control: Option<Token>,
}

impl ConsoleOptions {
    /// A console at an address that shows nothing and only reads.
    pub fn at(listen: SocketAddr) -> Self {
        Self {
            listen,
            runs_roots: Vec::new(),
            sockets: Vec::new(),
            allowed_hosts: Vec::new(),
            control: None,
        }
    }
}

/// The secret that lets its bearer steer streams. Only its digest is kept, and never shown.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
}

impl Token {
    /// The fewest characters of a token.
    pub const FEWEST_CHARS: usize = 16;

    /// A token from text; space around it does not count.
    ///
    /// # Errors
    /// `CONSOLE_TOKEN_UNUSABLE` for one that is short, or holds what no header can carry.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() < Self::FEWEST_CHARS {
            let fewest = Self::FEWEST_CHARS;
            return Err(Error::TokenUnusable(format!(
                "it has fewer than {fewest} characters; make one with `openssl rand -hex 16`"
            )));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let why = "it holds other characters than visible ASCII ones";
            return Err(Error::TokenUnusable(why.to_owned()));
        }
        Ok(Self {
            digest: Sha256::digest(text).into(),
        })
    }

    /// A token from a file.
    ///
    /// # Errors
    /// `CONSOLE_TOKEN_UNUSABLE` if the file cannot be read, and as [`Token::new`].
    pub fn of_file(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::TokenUnreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::new(&text)
    }

    /// Whether `given` is the token. The time that it takes tells nothing of where they differ.
    pub(crate) fn is(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        let pairs = self.digest.iter().zip(&given);
        let difference = pairs.fold(0, |difference, (own, theirs)| difference | (own ^ theirs));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_nothing_else_and_never_shown() {
        let token = Token::new(" 0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef"));
        for other in [
            "",
            "0123456789abcdeF",
            "0123456789abcdef0",
            " 0123456789abcdef",
        ] {
            assert!(!token.is(other), "{other}");
        }
        assert!(!format!("{token:?}").contains("0123"));
        assert!(Token::new("short").is_err());
        assert!(Token::new("0123456789 abcdef").is_err());
        assert!(Token::of_file("no-such-file".as_ref()).is_err());
    }
}
