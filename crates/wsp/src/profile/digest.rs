//! The digest of a profile: whether two runs had the same settings, without what they were.
//!
//! It is SHA-256 over a line `path=value` of each single value of `policy` and `wiring` that is
//! not absent, variables expanded, in the order of the paths. A value that may be a secret counts as
//! `***`: one whose key names a token, password, secret, credential, key or connection string. Of a
//! URL with a user, and of a text with a password, so much counts that is none.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::Hex64;

use super::secret::{holds_secret_word, without_credentials};

/// What a key that holds a secret has in its name.
const SECRET_NAMES: [&str; 6] = [
    "token",
    "password",
    "secret",
    "credential",
    "dsn",
    "api_key",
];
/// What counts in place of a secret.
const STRUCK_OUT: &str = "***";

/// The digest of the values at these paths.
pub(super) fn digest_of(settings: &BTreeMap<String, String>) -> Hex64 {
    Hex64::sha256_of(text_of(settings))
}

fn text_of(settings: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (path, value) in settings {
        let key = path
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let is_secret = SECRET_NAMES.iter().any(|name| key.contains(name));
        let counted = if is_secret || holds_secret_word(value) {
            STRUCK_OUT.to_owned()
        } else {
            without_credentials(value.clone())
        };
        // A text takes every line.
        let _ = writeln!(text, "{path}={counted}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::profile::Profile;

    fn digest(text: &str, token: &str) -> Hex64 {
        let env = |name: &str| (name == "TOKEN").then(|| token.to_owned());
        Profile::parse(text, Path::new("p.yaml"), &env)
            .unwrap()
            .digest
            .unwrap()
    }

    const PROFILE: &str = "
policy: {posture: local, stream_speedup: 600, traffic_output_ids: [a, b]}
wiring:
  ig_ingest_url: http://gate:8081
  security: {wsp_auth_token: '${TOKEN}'}
  wsp_checkpoint: {backend: postgres, dsn: 'host=h password=${TOKEN}'}
";

    #[test]
    fn settings_make_another_digest_and_secrets_do_not() {
        let same = digest(PROFILE, "one");
        assert_eq!(digest(PROFILE, "two"), same);
        let commented = format!("# The same.\nother_component: 5\n{PROFILE}");
        assert_eq!(digest(&commented, "one"), same);
        for (from, to) in [("600", "601"), ("[a, b]", "[b, a]"), ("gate:", "door:")] {
            assert_ne!(digest(&PROFILE.replace(from, to), "one"), same, "{to}");
        }
    }

    #[test]
    fn no_secret_is_in_what_is_digested() {
        let settings = [
            ("wiring.security.wsp_auth_token", "hunter2"),
            ("wiring.wsp_checkpoint.dsn", "postgres://u:hunter2@h/d"),
            ("wiring.ig_ingest_url", "http://u:hunter2@h/d"),
            ("wiring.object_store.endpoint", "http://h/?password=hunter2"),
            ("wiring.object_store.secret_access_key", "hunter2"),
        ];
        let settings = settings.map(|(path, value)| (path.to_owned(), value.to_owned()));
        let text = text_of(&settings.into());
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text.lines().count(), 5);
    }
}
