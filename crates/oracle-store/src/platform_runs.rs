//! Oracle first, and outside: an engine world is never one of the platform's own runs.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ReasonCode};
use crate::location::{EngineRunRoot, Location};

/// The folders under which the platform keeps its runs, wherever they are.
const PLATFORM_RUNS: [&str; 2] = ["runs", "fraud-platform"];

/// Refuses an engine run root that lies under the platform's runs root, holds it, or
/// has the folders `runs/fraud-platform` in its path, after resolving symlinks.
///
/// A runs root inside the engine run root is refused too: what the platform writes
/// would change the world.
///
/// # Errors
/// `ENGINE_ROOT_IN_PLATFORM_RUNS`.
pub fn refuse_platform_runs(root: &EngineRunRoot, runs_root: &Path) -> Result<(), Error> {
    let refused = match root.location() {
        Location::S3 { prefix, .. } => has_platform_folders(prefix.split('/').map(OsStr::new)),
        Location::Local(folder) => {
            let (world, runs) = (resolved(folder), resolved(runs_root));
            world.starts_with(&runs)
                || runs.starts_with(&world)
                || has_platform_folders(folders_of(folder))
                || has_platform_folders(folders_of(&world))
        }
    };
    if refused {
        return Err(Error::new(
            ReasonCode::EngineRootInPlatformRuns,
            "The engine run root and the platform's runs overlap",
        )
        .object(root.as_str()));
    }
    Ok(())
}

fn folders_of(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

fn has_platform_folders<'a>(folders: impl Iterator<Item = &'a OsStr>) -> bool {
    let folders: Vec<_> = folders.collect();
    folders.windows(2).any(|pair| pair == PLATFORM_RUNS)
}

/// The path without symlinks and `..`, as far as it exists; the rest by its names.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut known = path.as_path();
    loop {
        if let Ok(real) = known.canonicalize() {
            let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
            return rest.components().fold(real, |mut at, component| {
                match component {
                    Component::ParentDir => {
                        at.pop();
                    }
                    other => at.push(other),
                }
                at
            });
        }
        match known.parent() {
            Some(parent) => known = parent,
            None => return path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::resolve_engine_run_root;

    fn refused(root: &str, runs_root: &Path) -> bool {
        let root = resolve_engine_run_root(root, None, Path::new("/nowhere")).unwrap();
        match refuse_platform_runs(&root, runs_root) {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.code(), ReasonCode::EngineRootInPlatformRuns);
                true
            }
        }
    }

    #[test]
    fn a_world_under_the_runs_root_is_refused_also_through_a_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("state");
        let world = runs.join("world");
        std::fs::create_dir_all(&world).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::os::unix::fs::symlink(&world, dir.path().join("innocent")).unwrap();

        let path = |name: &str| dir.path().join(name).display().to_string();
        assert!(refused(&path("state/world"), &runs));
        assert!(refused(&path("state"), &runs));
        assert!(refused(&path("innocent"), &runs));
        assert!(refused(&path("outside/../state/world"), &runs));
        assert!(!refused(&path("outside"), &runs));
        assert!(!refused(&path("state2"), &runs), "names are compared whole");
    }

    #[test]
    fn a_runs_root_inside_the_world_is_refused_even_before_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let world = dir.path().display().to_string();
        assert!(refused(&world, &dir.path().join("not/yet")));
    }

    #[test]
    fn the_platforms_own_folders_are_refused_anywhere() {
        let elsewhere = Path::new("/elsewhere");
        assert!(refused("/data/runs/fraud-platform/world", elsewhere));
        assert!(refused(
            "s3://bucket/x/runs/fraud-platform/world",
            elsewhere
        ));
        assert!(!refused(
            "s3://bucket/x/runs/fraud-platform-2/world",
            elsewhere
        ));
        assert!(!refused("/data/runs/other/fraud-platform", elsewhere));
    }
}
