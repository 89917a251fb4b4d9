//! Credentials: held, sent, never shown.

use url::Url;

/// A value that no log, error, audit line or report may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a credential.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The credential itself, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether the literal text of a DSN carries a password, as a URL
/// (`postgres://user:pass@host/db`, `?password=`) or as keywords
/// (`host=h password=p`).
pub(super) fn dsn_has_password(raw: &str) -> bool {
    if let Ok(url) = Url::parse(raw)
        && url.has_host()
    {
        return url.password().is_some()
            || url
                .query_pairs()
                .any(|(key, _)| key.eq_ignore_ascii_case("password"));
    }
    raw.to_ascii_lowercase()
        .match_indices("password")
        .any(|(at, word)| raw[at + word.len()..].trim_start().starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_seen_in_every_form_of_a_dsn() {
        assert!(dsn_has_password("postgres://wsp:hunter2@db/wsp"));
        assert!(dsn_has_password("postgres://db/wsp?password=hunter2"));
        assert!(dsn_has_password("host=db user=wsp Password = hunter2"));
        assert!(!dsn_has_password("postgres://wsp@db/wsp"));
        assert!(!dsn_has_password("host=db user=wsp"));
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert!(!format!("{:?}", Secret::new("hunter2".into())).contains("hunter2"));
    }
}
