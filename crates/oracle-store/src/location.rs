//! Where a world lies: a local folder or a prefix in a bucket, always named,
//! never searched for.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ReasonCode};

/// A place that holds objects by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder on this machine.
    Local(PathBuf),
    /// A bucket, and a prefix in it without slashes at its ends (empty: the whole bucket).
    S3 {
        /// The bucket.
        bucket: String,
        /// The key prefix.
        prefix: String,
    },
}

impl Location {
    /// Takes `s3://bucket/prefix`, or a path that is made absolute against `working_dir`.
    ///
    /// # Errors
    /// `ENGINE_ROOT_MISSING` for an empty text, an unknown scheme, or a bucket or
    /// prefix that cannot be one.
    pub fn parse(text: &str, working_dir: &Path) -> Result<Self, Error> {
        let refuse = |what: &str| Error::new(ReasonCode::EngineRootMissing, what).object(text);
        if text.is_empty() {
            return Err(Error::new(
                ReasonCode::EngineRootMissing,
                "No engine run root is named",
            ));
        }
        let authority = text.split_once("://").map(|(_, rest)| rest);
        if authority.is_some_and(|rest| rest.split('/').next().unwrap_or(rest).contains(['@', ':']))
        {
            // Not repeated: it may hold credentials.
            let what = "A user, a password or a port stands before the path of a location";
            return Err(Error::new(ReasonCode::EngineRootMissing, what));
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            if text.contains("://") {
                return Err(refuse("Only local folders and s3:// prefixes hold worlds"));
            }
            return Ok(Self::Local(working_dir.join(text)));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        if bucket.is_empty() {
            return Err(refuse("There is no bucket in"));
        }
        if !prefix.is_empty() && object_store::path::Path::parse(prefix).is_err()
            || prefix.starts_with('/')
        {
            return Err(refuse(
                "There is an empty, relative or unprintable folder name in",
            ));
        }
        Ok(Self::S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// The full name of the object at `key`, for people: a path or `s3://bucket/key`.
    pub fn full_name(&self, key: &str) -> String {
        match self {
            Self::Local(folder) => folder.join(key).display().to_string(),
            Self::S3 { bucket, prefix } if prefix.is_empty() => format!("s3://{bucket}/{key}"),
            Self::S3 { bucket, prefix } => format!("s3://{bucket}/{prefix}/{key}"),
        }
    }
}

/// The named root of one engine run: the text that identifies it, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRunRoot {
    text: String,
    location: Location,
}

impl EngineRunRoot {
    /// The root as it was resolved, without a trailing `/`; not canonicalised, so that
    /// what is keyed by it does not depend on the machine.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the root lies.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// A root that is taken by its text alone, relative to `working_dir` if it is relative.
    ///
    /// # Errors
    /// `ENGINE_ROOT_MISSING` if the text is no location.
    pub fn named(text: &str, working_dir: &Path) -> Result<Self, Error> {
        resolve_engine_run_root(text, None, working_dir)
    }

    /// The place of an object as the platform's producers spell it: the text of the root and the
    /// key, joined as Python's `pathlib` joins them (`a//./b` is `a/b`, `..` stays); in a bucket,
    /// as named.
    pub fn platform_location(&self, key: &str) -> String {
        match self.location {
            Location::S3 { .. } => format!("{}/{key}", self.text.trim_end_matches('/')),
            Location::Local(_) => pathlib_text(&format!("{}/{key}", self.text)),
        }
    }
}

/// A path as Python's `str(PurePosixPath(text))` spells it.
fn pathlib_text(text: &str) -> String {
    // POSIX leaves the meaning of exactly two slashes to the system, so pathlib keeps them.
    let root = match text.len() - text.trim_start_matches('/').len() {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let folders = text
        .split('/')
        .filter(|folder| !folder.is_empty() && *folder != ".");
    let path = root.to_owned() + &folders.collect::<Vec<_>>().join("/");
    if path.is_empty() {
        ".".to_owned()
    } else {
        path
    }
}

impl fmt::Display for EngineRunRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Resolves a named engine run root against the oracle root.
///
/// `s3://` and absolute roots stand as they are. A relative one is used as it is
/// when it already starts with the oracle root or exists from `working_dir`; else
/// it is joined to the oracle root, once.
///
/// # Errors
/// `ENGINE_ROOT_MISSING` if the root is empty or no location at all.
pub fn resolve_engine_run_root(
    root: &str,
    oracle_root: Option<&str>,
    working_dir: &Path,
) -> Result<EngineRunRoot, Error> {
    let root = without_trailing_slash(root);
    let oracle_root = oracle_root
        .map(without_trailing_slash)
        .filter(|oracle| !oracle.is_empty());
    let text = match oracle_root {
        Some(oracle_root)
            if !root.is_empty()
                && !root.contains("://")
                && !Path::new(root).is_absolute()
                && !starts_with_folders(root, oracle_root)
                && !working_dir.join(root).exists() =>
        {
            format!("{oracle_root}/{root}")
        }
        _ => root.to_owned(),
    };
    let location = Location::parse(&text, working_dir)?;
    Ok(EngineRunRoot { text, location })
}

fn without_trailing_slash(text: &str) -> &str {
    let stripped = text.trim_end_matches('/');
    match stripped {
        "" if !text.is_empty() => "/",
        "s3:" => text,
        _ => stripped,
    }
}

/// Compares folder by folder, so that `runs/a` does not start with `runs/aa`'s root.
fn starts_with_folders(path: &str, prefix: &str) -> bool {
    let folders = |text| {
        Path::new(text)
            .components()
            .filter(|c| *c != Component::CurDir)
            .collect::<Vec<_>>()
    };
    folders(path).starts_with(&folders(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(root: &str, oracle_root: Option<&str>, working_dir: &Path) -> String {
        resolve_engine_run_root(root, oracle_root, working_dir)
            .unwrap()
            .as_str()
            .to_owned()
    }

    #[test]
    fn a_relative_root_is_joined_to_the_oracle_root_exactly_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            resolve("run-1", Some("runs/oracle"), dir.path()),
            "runs/oracle/run-1"
        );
        assert_eq!(
            resolve("runs/oracle/run-1", Some("runs/oracle/"), dir.path()),
            "runs/oracle/run-1"
        );
        assert_eq!(
            resolve("./runs/oracle/run-1", Some("runs/oracle"), dir.path()),
            "./runs/oracle/run-1"
        );
        assert_eq!(
            resolve("runs/oracle2/run-1", Some("runs/oracle"), dir.path()),
            "runs/oracle/runs/oracle2/run-1"
        );
        assert_eq!(
            resolve("run-1", Some("s3://worlds/oracle/"), dir.path()),
            "s3://worlds/oracle/run-1"
        );
        assert_eq!(resolve("run-1", None, dir.path()), "run-1");
        assert_eq!(resolve("run-1", Some(""), dir.path()), "run-1");
    }

    #[test]
    fn a_relative_root_that_exists_from_the_working_directory_stands() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run-1")).unwrap();
        let root = resolve_engine_run_root("run-1/", Some("runs/oracle"), dir.path()).unwrap();
        assert_eq!(root.as_str(), "run-1");
        assert_eq!(root.location(), &Location::Local(dir.path().join("run-1")));
    }

    #[test]
    fn named_places_stand_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            resolve("/w/run-1//", Some("runs/oracle"), dir.path()),
            "/w/run-1"
        );
        assert_eq!(
            resolve("s3://b/w/run-1/", Some("runs/oracle"), dir.path()),
            "s3://b/w/run-1"
        );
        assert_eq!(resolve("/", Some("runs/oracle"), dir.path()), "/");
    }

    #[test]
    fn what_is_no_location_is_refused() {
        for text in [
            "",
            "s3://",
            "s3:///x",
            "s3://b//x",
            "s3://b/x/../y",
            "gs://b/x",
            "file:///x",
        ] {
            let error = resolve_engine_run_root(text, Some("runs"), Path::new("/w")).unwrap_err();
            assert_eq!(
                error.code(),
                ReasonCode::EngineRootMissing,
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_location_with_credentials_is_refused_and_not_repeated() {
        for text in [
            "s3://AK:hunter2@b/x",
            "s3://hunter2@b",
            "s3://AK:hunter2/x@b",
            "gs://a:hunter2@b",
        ] {
            let error = Location::parse(text, Path::new("/w")).unwrap_err();
            assert_eq!(error.code(), ReasonCode::EngineRootMissing);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    /// The right side is what `str(pathlib.PurePosixPath(root) / key)` gives.
    #[test]
    fn the_platform_spells_a_place_as_pathlib_does() {
        let key = "data/part-0.parquet";
        for (root, spelt) in [
            ("runs/w1", "runs/w1/data/part-0.parquet"),
            ("runs/w1//", "runs/w1/data/part-0.parquet"),
            ("./runs//w1", "runs/w1/data/part-0.parquet"),
            ("runs/./w1", "runs/w1/data/part-0.parquet"),
            ("../runs/x/../w1", "../runs/x/../w1/data/part-0.parquet"),
            (".", "data/part-0.parquet"),
            ("/w1", "/w1/data/part-0.parquet"),
            ("//w1", "//w1/data/part-0.parquet"),
            ("///w1", "/w1/data/part-0.parquet"),
            ("s3://b/p", "s3://b/p/data/part-0.parquet"),
            ("s3://b/p/", "s3://b/p/data/part-0.parquet"),
            ("s3://b", "s3://b/data/part-0.parquet"),
        ] {
            let root = EngineRunRoot::named(root, Path::new("/w")).unwrap();
            assert_eq!(root.platform_location(key), spelt);
        }
    }

    #[test]
    fn full_names_hold_bucket_and_key() {
        let at = |text| Location::parse(text, Path::new("/w")).unwrap();
        assert_eq!(at("s3://b/p/q").full_name("a=1/x y"), "s3://b/p/q/a=1/x y");
        assert_eq!(at("s3://b").full_name("a"), "s3://b/a");
        assert_eq!(at("run").full_name("a"), "/w/run/a");
    }
}
