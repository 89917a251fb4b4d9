//! Places that a profile or flag names: checked to be paths, before anything is made there.
//!
//! Nothing here is a shell. `~/x` and `$VAR/x` would become folders named `~` and `$VAR`,
//! and a URL a folder named `s3:`, so each is refused with what to write instead.

use std::path::Path;

use super::secret::holds_secret_word;
use super::{CheckpointBackend, OutputList, Profile};
use crate::{Error, ReasonCode};

/// What a key may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A path on this machine; the text says what to do for any other place.
    Local(&'static str),
    /// A path on this machine, or `s3://bucket/prefix`.
    LocalOrS3,
}

const WRITE_A_PATH: &str = "Write a path on this machine.";

impl Profile {
    /// Refuses every place that is no path: of the profile's keys, and of flags that stand for
    /// them.
    ///
    /// # Errors
    /// `PROFILE_INVALID` with the key, and what to write instead.
    pub(crate) fn check_places(&self) -> Result<(), Error> {
        let list_ref = |list: &Option<OutputList>| match list {
            Some(OutputList::Ref(path)) => Some(path.clone()),
            _ => None,
        };
        let checkpoint = match self.checkpoint.backend {
            CheckpointBackend::File | CheckpointBackend::Sqlite => Some(Place::Local(
                "Write a path on this machine; `backend: object` takes s3://bucket/prefix.",
            )),
            CheckpointBackend::Object => Some(Place::LocalOrS3),
            CheckpointBackend::Postgres => None,
        };
        if let Some(place) = checkpoint {
            check("wiring.wsp_checkpoint.root", &self.checkpoint.root, place)?;
        }
        let text = |path: &Path| path.display().to_string();
        let local = Place::Local(WRITE_A_PATH);
        for (key, named, place) in [
            (
                "wiring.wsp_audit.root",
                Some(text(&self.runs_root)),
                Place::LocalOrS3,
            ),
            (
                "wiring.wsp_order.time_index",
                self.time_index.as_deref().map(text),
                local,
            ),
            (
                "wiring.wsp_order.sort_cache",
                self.sort_cache.as_deref().map(text),
                local,
            ),
        ] {
            if let Some(named) = named {
                check(key, &named, place)?;
            }
        }
        for (key, named, place) in [
            (
                "wiring.engine_catalogue_path",
                self.catalogue_path.clone(),
                local,
            ),
            ("wiring.gate_map_path", self.gate_map_path.clone(), local),
            (
                "wiring.wsp_producer.allowlist_ref",
                self.producer.allowlist_ref.clone(),
                local,
            ),
            (
                "policy.traffic_output_ids_ref",
                list_ref(&self.traffic),
                local,
            ),
            (
                "policy.context_output_ids_ref",
                list_ref(&self.context),
                local,
            ),
            (
                "policy.context_output_ids_baseline_ref",
                list_ref(&self.baseline_context),
                local,
            ),
            (
                "wiring.oracle_root",
                self.oracle_root.clone(),
                Place::LocalOrS3,
            ),
            (
                "wiring.oracle_stream_view_root",
                self.stream_view_root.clone(),
                Place::LocalOrS3,
            ),
            (
                "wiring.oracle_engine_run_root",
                self.engine_run_root.clone(),
                Place::LocalOrS3,
            ),
        ] {
            // What is only read, and blank, is missing: the command that needs it says so.
            if let Some(named) = named.filter(|named| !named.trim().is_empty()) {
                check(key, &named, place)?;
            }
        }
        Ok(())
    }
}

fn check(key: &str, named: &str, place: Place) -> Result<(), Error> {
    if holds_credentials(named) {
        return Err(Error::new(
            ReasonCode::ProfileInvalid,
            format!(
                "The profile's `{key}`, or the flag for it, holds a user and a password, and a place is needed"
            ),
            "Write the place alone: credentials come from the environment.",
        ));
    }
    let refuse = |problem: &str, fix: &str| {
        Err(Error::new(
            ReasonCode::ProfileInvalid,
            format!(
                "The profile's `{key}`, or the flag for it, is `{}`, {problem}",
                named.escape_debug()
            ),
            fix,
        ))
    };
    if named.trim().is_empty() {
        return refuse("which names no place", WRITE_A_PATH);
    }
    if named.contains(char::is_control) {
        return refuse("which holds a line break or the like", WRITE_A_PATH);
    }
    let path = match (place, named.strip_prefix("s3://")) {
        (Place::LocalOrS3, Some(rest)) => rest,
        (Place::Local(fix), _) if is_url(named) => {
            return refuse("a URL, and a local path is needed", fix);
        }
        (Place::LocalOrS3, None) if is_url(named) => {
            let fix = "Write a path on this machine, or s3://bucket/prefix.";
            return refuse("a URL of an unknown kind", fix);
        }
        _ => named,
    };
    if path.starts_with('~') {
        let fix =
            "Write ${HOME}/… in a profile, or the whole path; for a folder that is named so, ./~….";
        return refuse("and `~` is not expanded", fix);
    }
    if path.split('/').any(starts_a_variable) {
        let fix = "Write ${VAR} with braces in the profile; in a flag, let the shell expand it.";
        return refuse("which holds a variable that is not expanded", fix);
    }
    Ok(())
}

/// Says whether a text looks like a URL or a DSN with credentials in it, so that it may not be
/// shown.
///
/// A password may hold `/`, `?` and `@`, and the scheme may be missing: what has a colon in its
/// first folder and an `@` behind it counts as a user and a password.
pub(super) fn holds_credentials(named: &str) -> bool {
    let rest = named.split_once("://").map(|(_, rest)| rest);
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    let has_user_and_password = rest
        .unwrap_or(named)
        .split_once(':')
        .is_some_and(|(user, password)| !user.contains(['/', '?', '#']) && password.contains('@'));
    authority.is_some_and(|authority| authority.contains('@'))
        || has_user_and_password
        || holds_secret_word(named)
}

/// The text for people, or what stands in for it where it looks like credentials.
pub(super) fn shown(text: &str) -> String {
    if holds_credentials(text) {
        "a text that holds a user and a password".to_owned()
    } else {
        format!("`{}`", text.escape_debug())
    }
}

/// Whether a path begins by a scheme: `s3://b/x`, `file:/x`, `sqlite:x.db`.
fn is_url(named: &str) -> bool {
    const SCHEMES: &[&str] = &["file", "s3", "sqlite"];
    let Some((scheme, rest)) = named.split_once(':') else {
        return false;
    };
    let mut letters = scheme.chars();
    let is_scheme = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let is_known = SCHEMES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme));
    // A single slash is a URL's, too: `C:/x` is none on this system.
    is_scheme && (is_known || rest.starts_with('/') || rest.is_empty())
}

/// Whether a folder's name begins by `$`, or holds what looks like a variable of the
/// environment: `$VAR`, `${VAR}`, `$(command)`.
fn starts_a_variable(name: &str) -> bool {
    name.starts_with('$')
        || name.match_indices('$').any(|(at, _)| {
            let next = name[at + 1..].chars().next();
            next.is_some_and(|c| c.is_ascii_uppercase() || "_{(".contains(c))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_or_a_url_would_mean_is_no_path() {
        for named in [
            "s3://bucket/x",
            "s3:/bucket",
            "S3://bucket",
            "s3:bucket",
            "file:///x",
            "file:x",
            "gs://b/x",
            "sqlite:cursors.db",
            "sqlite:///cursors.db",
            "~",
            "~/x",
            "~user/x",
            "$VAR/x",
            "/data/$VAR",
            "/data/wsp-$HOST/x",
            "$x/y",
            "${VAR}/x",
            "$(pwd)/x",
            "",
            "  ",
            "x\n",
        ] {
            assert!(check("k", named, Place::Local("")).is_err(), "{named:?}");
        }
        for named in [
            "x",
            "/x/y.db",
            "./~x",
            "../x",
            "a~",
            "a$b",
            "costs-5$",
            "a:b/c",
            "platform_2026:01",
        ] {
            assert!(check("k", named, Place::Local("")).is_ok(), "{named:?}");
        }
    }

    #[test]
    fn a_place_with_credentials_is_refused_and_not_shown_in_whatever_form_they_are() {
        for named in [
            "s3://AK:hunter2@bucket/x",
            "s3://hunter2@bucket/x",
            "s3://AK:hun/ter2@bucket/x",
            "s3:AK:hunter2@bucket",
            "AK:hunter2@bucket/x",
            "postgres://wsp:hun?ter2@h/wsp",
            "postgres://h/wsp?PassWord=hunter2",
            "https://h/x?access_token=hunter2",
            "host=h password = hunter2",
            "host=h sslpassword='hunter2'",
        ] {
            for place in [Place::Local(""), Place::LocalOrS3] {
                let error = check("k", named, place).unwrap_err();
                assert_eq!(error.code(), "PROFILE_INVALID");
                assert!(!format!("{error:?} {error}").contains("hun"), "{error}");
            }
            assert!(!shown(named).contains("hun"), "{named}");
        }
        for named in ["s3://bucket/a@b", "/x/user@host", "a:b/c", "passwords/x"] {
            assert!(!holds_credentials(named), "{named}");
        }
    }

    #[test]
    fn a_bucket_is_a_place_only_where_one_may_be_named() {
        assert!(check("k", "s3://bucket/x", Place::LocalOrS3).is_ok());
        for named in ["gs://bucket/x", "s3://bucket/$VAR", "~/x", "s3:/x"] {
            assert!(check("k", named, Place::LocalOrS3).is_err(), "{named}");
        }
    }
}
