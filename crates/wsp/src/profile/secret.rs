//! Credentials: held, sent, never shown, and never written into a profile.
//!
//! A credential may be literal in part: beside a variable (`hunter2${N}`), in another
//! place of the same value (`postgres://u:hunter2@${HOST}`), or as the default of a
//! variable (`${TOKEN:-hunter2}`). So a value is looked at twice: with every variable
//! set, and with every variable that has a default unset.

use oracle_store::Posture;
use url::form_urlencoded;

use super::expand::{FROM_ENVIRONMENT, Template};
use crate::{Error, ReasonCode};

/// Words that stand before a token in a header and are no secret.
const AUTH_SCHEMES: &[&str] = &["bearer", "basic", "token", "apikey", "api-key"];
/// Parameters of a URL or keywords of a connection string that hold a secret.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "sslpassword",
    "token",
    "access_token",
    "api_key",
    "apikey",
    "secret",
    "secret_key",
    "secret_access_key",
    "aws_secret_access_key",
];

/// A credential. Its `Debug` does not show it, and nothing else may.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a credential.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The credential itself, for the call that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What becomes of credentials that the file holds itself: refused in strict posture, warned of
/// in local.
#[derive(Debug)]
pub(super) struct Literals {
    posture: Posture,
    /// What is unwise and allowed, for the log.
    pub(super) warnings: Vec<String>,
}

impl Literals {
    pub(super) fn new(posture: Posture) -> Self {
        let warnings = Vec::new();
        Self { posture, warnings }
    }

    /// Judges a credential that a key holds as a literal.
    ///
    /// # Errors
    /// `PROFILE_SECRET_LITERAL` in strict posture.
    pub(super) fn found(&mut self, key: &str) -> Result<(), Error> {
        if self.posture == Posture::Strict {
            return Err(Error::new(
                ReasonCode::ProfileSecretLiteral,
                format!("The profile's `{key}` holds a credential as a literal"),
                "Name an environment variable instead: ${VAR}.",
            ));
        }
        self.warnings.push(format!(
            "`{key}` holds a credential as a literal; name a ${{VAR}} instead"
        ));
        Ok(())
    }
}

/// Whether any of a token is literal text; the scheme before it (`Bearer ${TOKEN}`) is none of it.
pub(super) fn token_is_literal(template: &Template) -> bool {
    both_ways(template, |text| {
        let token = match text.trim_start().split_once(' ') {
            Some((scheme, token)) if is_one_of(AUTH_SCHEMES, scheme) => token,
            _ => text,
        };
        is_literal(token)
    })
}

/// Whether a URL or connection string holds a password that is literal in any part of it.
///
/// A password is in a URL's user info (`postgres://user:password@host/db`) or parameters
/// (`?password=`), or is a keyword (`host=h password=p`).
pub(super) fn holds_literal_password(template: &Template) -> bool {
    both_ways(template, |text| {
        user_info_is_literal(text) || parameter_is_literal(text) || keyword_is_literal(text)
    })
}

/// Whether a check holds with every variable set, with every default in its place, or of a
/// default alone.
fn both_ways(template: &Template, check: impl Fn(&str) -> bool + Copy) -> bool {
    [false, true]
        .into_iter()
        .any(|defaults| check(&template.unexpanded(defaults)))
        || template.defaults().any(|default| both_ways(default, check))
}

/// Says whether a text gives a value to a word that stands for a secret, as a parameter of a URL
/// or as a keyword of a connection string.
pub(super) fn holds_secret_word(text: &str) -> bool {
    parameter_is_literal(text) || keyword_is_literal(text)
}

/// A text without what stands before the host of a URL: user and password, if they do.
pub(super) fn without_credentials(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://…{}", &rest[user.len()..]),
        None => text,
    }
}

fn is_one_of(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Whether a secret has a character that the environment does not give.
fn is_literal(secret: &str) -> bool {
    secret
        .chars()
        .any(|c| c != FROM_ENVIRONMENT && !c.is_whitespace())
}

/// Looks between the scheme (which may come from the environment) and the first `@`, as
/// Postgres clients do: a password may hold `/` and `?`.
fn user_info_is_literal(text: &str) -> bool {
    let rest = match text.split_once("://") {
        Some((_, rest)) => rest,
        None if text.starts_with(FROM_ENVIRONMENT) => text,
        None => return false,
    };
    let user_info = rest.split_once('@').map(|(user_info, _)| user_info);
    let password = user_info.and_then(|user_info| user_info.split_once(':'));
    password
        .is_some_and(|(user, password)| !user.contains(char::is_whitespace) && is_literal(password))
}

fn parameter_is_literal(text: &str) -> bool {
    text.split_once('?').is_some_and(|(_, parameters)| {
        form_urlencoded::parse(parameters.as_bytes())
            .any(|(name, value)| is_one_of(SECRET_WORDS, &name) && is_literal(&value))
    })
}

fn keyword_is_literal(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.match_indices("password").any(|(at, word)| {
        let value = text[at + word.len()..].trim_start().strip_prefix('=');
        value.is_some_and(|value| {
            let value = value.trim_start();
            let value = match value.strip_prefix('\'') {
                Some(quoted) => quoted.split('\'').next(),
                None => value.split([' ', '\t', '\n', '&']).next(),
            };
            is_literal(value.unwrap_or_default())
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn dsn(text: &str) -> bool {
        holds_literal_password(&Template::parse(text).unwrap())
    }

    fn token(text: &str) -> bool {
        token_is_literal(&Template::parse(text).unwrap())
    }

    #[test]
    fn a_password_is_seen_in_every_form_of_a_dsn() {
        for text in [
            "postgres://wsp:hunter2@db/wsp",
            "postgres://db/wsp?password=hunter2",
            "postgres://db/wsp?a=b&PassWord=hunter2",
            "postgres://db/wsp?pass%77ord=hunter2",
            "postgres://wsp:hun/ter?2@db/wsp",
            "host=db user=wsp Password = hunter2",
            "host=db password='hunter 2' user=wsp",
        ] {
            assert!(dsn(text), "{text}");
        }
        for text in [
            "postgres://wsp@db/wsp",
            "postgres://db:5432/wsp",
            "host=db user=wsp",
            "host=db password=''",
        ] {
            assert!(!dsn(text), "{text}");
        }
    }

    #[test]
    fn a_literal_password_is_seen_beside_a_variable_and_in_a_default() {
        for text in [
            "postgres://wsp:hunter2@${HOST:-127.0.0.1}:9/wsp",
            "postgres://${USER}:hunter2@${HOST}/wsp",
            "postgres://wsp:${PASSWORD:-hunter2}@db/wsp",
            "postgres://wsp:hunter${N}@db/wsp",
            "postgres://${CREDENTIALS:-wsp:hunter2}@db/wsp",
            "${SCHEME}wsp:hunter2@db/wsp",
            "${DSN:-postgres://wsp:hunter2@db/wsp}",
            "${DSN:-${OTHER:-postgres://wsp:hunter2@db/wsp}}",
            "${DSN:-host=db password=hunter2}",
            "postgres://${HOST}/wsp?password=hunter2",
            "host=${HOST} password=hunter2",
            "host=${HOST} password='${P:-hunter2}'",
        ] {
            assert!(dsn(text), "{text}");
        }
        for text in [
            "${DSN}",
            "${DSN:-${OTHER}}",
            "postgres://wsp:${PASSWORD}@db:${PORT:-5432}/wsp",
            "postgres://${USER:-wsp}:${PASSWORD:-${OTHER}}@${HOST:-db}/wsp",
            "postgres://${CREDENTIALS}@db/wsp",
            "postgres://db/wsp?password=${PASSWORD}&sslmode=require",
            "host=${HOST} password=${PASSWORD} user=wsp",
            "host=${HOST} password='${PASSWORD}' user=wsp",
        ] {
            assert!(!dsn(text), "{text}");
        }
    }

    #[test]
    fn any_text_of_a_token_is_a_literal_but_for_its_scheme() {
        for text in [
            "hunter2",
            "${TOKEN:-hunter2}",
            "hunter${N}",
            "${A:-${B:-hunter2}}",
            "Bearer hunter2",
            "Bearer ${TOKEN:-hunter2}",
        ] {
            assert!(token(text), "{text}");
        }
        for text in [
            "",
            "${TOKEN}",
            "${TOKEN:-}",
            "${TOKEN:-${OTHER}}",
            "Bearer ${TOKEN}",
        ] {
            assert!(!token(text), "{text}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert!(!format!("{:?}", Secret::new("hunter2".into())).contains("hunter2"));
    }

    #[test]
    fn a_url_is_shown_without_user_and_password() {
        for (text, expected) in [
            ("http://gate:8081/v1", "http://gate:8081/v1"),
            ("http://me:word@gate:8081/v1", "http://…@gate:8081/v1"),
            ("https://me:w@rd@gate", "https://…@gate"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("runs/a@b", "runs/a@b"),
        ] {
            assert_eq!(without_credentials(text.to_owned()), expected);
        }
    }
}
