//! Oracle first, and outside: an engine world is never one of the platform's own runs.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ReasonCode};
use crate::location::{EngineRunRoot, Location};
use crate::manifest::PACK_MANIFEST;
use crate::receipt::RUN_RECEIPT;

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
pub fn refuse_platform_runs(root: &EngineRunRoot, runs_root: &Location) -> Result<(), Error> {
    let has_their_name = match root.location() {
        Location::S3 { prefix, .. } => has_platform_folders(prefix.split('/').map(OsStr::new)),
        Location::Local(folder) => {
            has_platform_folders(folders_of(folder))
                || has_platform_folders(folders_of(&resolved(folder)))
        }
    };
    let refused = has_their_name
        || lies_in(root.location(), runs_root)
        || lies_in(runs_root, root.location());
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

/// Whether a place is the engine run root or lies in it, after resolving symlinks; what does
/// not exist yet counts by its name, also behind a symlink to it.
pub fn lies_in_world(root: &EngineRunRoot, place: &Location) -> bool {
    lies_in(root.location(), place)
}

/// Whether a place is the other one or lies in it.
fn lies_in(root: &Location, place: &Location) -> bool {
    match (root, place) {
        (Location::Local(world), Location::Local(place)) => {
            resolved(place).starts_with(resolved(world))
        }
        (
            Location::S3 { bucket, prefix },
            Location::S3 {
                bucket: other,
                prefix: place,
            },
        ) => {
            let place = place.strip_prefix(prefix.as_str());
            bucket == other
                && place.is_some_and(|rest| {
                    prefix.is_empty() || rest.is_empty() || rest.starts_with('/')
                })
        }
        _ => false,
    }
}

/// The world that a path on this machine lies in, after resolving symlinks: the nearest folder
/// above it that holds a run receipt or a pack manifest.
pub fn world_around(place: &Path) -> Option<PathBuf> {
    let place = resolved(place);
    let is_world = |folder: &&Path| {
        let holds = |name: &str| folder.join(name).symlink_metadata().is_ok();
        holds(RUN_RECEIPT) || holds(PACK_MANIFEST)
    };
    place.ancestors().skip(1).find(is_world).map(Path::to_owned)
}

/// Symlinks followed in one path before it is taken as it stands, as the kernel does.
const MAX_SYMLINKS: u32 = 40;

/// The path without symlinks and `..`; what does not exist counts by its name, so that a
/// symlink to what is not made yet is resolved too.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut open: Vec<OsString> = reversed_parts(&path);
    let (mut at, mut symlinks) = (PathBuf::new(), 0);
    while let Some(part) = open.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match next.read_link() {
            Ok(target) if symlinks < MAX_SYMLINKS => {
                symlinks += 1;
                open.extend(reversed_parts(&target));
            }
            _ => at = next,
        }
    }
    at
}

/// The components of a path, the last one first. A root replaces what it is joined to.
fn reversed_parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().map(|part| part.as_os_str().to_owned());
    let mut parts: Vec<_> = parts.filter(|part| part != ".").collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::resolve_engine_run_root;

    fn refused(root: &str, runs_root: &Path) -> bool {
        let root = resolve_engine_run_root(root, None, Path::new("/nowhere")).unwrap();
        match refuse_platform_runs(&root, &Location::Local(runs_root.to_owned())) {
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

    #[test]
    fn a_place_lies_in_the_world_also_through_symlinks_and_before_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let world = dir.path().join("world");
        std::fs::create_dir_all(world.join("data")).unwrap();
        let link = |target: &Path, name: &str| {
            std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
        };
        link(&world, "innocent");
        link(&world.join("not/yet"), "dangling");
        link(Path::new("world/data"), "relative");
        let root = resolve_engine_run_root(&world.display().to_string(), None, dir.path()).unwrap();
        let lies_in = |name: &str| lies_in_world(&root, &Location::Local(dir.path().join(name)));
        for inside in [
            "world",
            "world/cp",
            "world/not/yet/cp",
            "innocent/cp",
            "dangling",
            "dangling/cp",
            "relative/../cp",
            "elsewhere/../world/cp",
        ] {
            assert!(lies_in(inside), "{inside}");
        }
        for outside in ["cp", "world2/cp", "world/../cp", "innocent/../cp"] {
            assert!(!lies_in(outside), "{outside}");
        }
    }

    #[test]
    fn the_world_around_a_place_is_found_through_symlinks_too() {
        let dir = tempfile::tempdir().unwrap();
        let world = dir.path().canonicalize().unwrap().join("world");
        std::fs::create_dir_all(world.join("data/deep")).unwrap();
        std::fs::write(world.join(RUN_RECEIPT), "{}").unwrap();
        std::os::unix::fs::symlink(world.join("data"), dir.path().join("innocent")).unwrap();
        for inside in ["world/q", "world/data/deep/q", "innocent/not-yet/q"] {
            let found = world_around(&dir.path().join(inside));
            assert_eq!(found.as_ref(), Some(&world), "{inside}");
        }
        for outside in ["q", "world", "world/../q"] {
            assert_eq!(world_around(&dir.path().join(outside)), None, "{outside}");
        }
    }

    #[test]
    fn a_prefix_lies_in_a_world_of_its_bucket_only() {
        let parse = |text| Location::parse(text, Path::new("/")).unwrap();
        let lies_in = |root: &str, place| {
            let root = resolve_engine_run_root(root, None, Path::new("/")).unwrap();
            lies_in_world(&root, &parse(place))
        };
        assert!(lies_in("s3://b/w", "s3://b/w/cp"));
        assert!(lies_in("s3://b/w", "s3://b/w"));
        assert!(lies_in("s3://b", "s3://b/cp"));
        assert!(!lies_in("s3://b/w", "s3://b/w2"));
        assert!(!lies_in("s3://b/w", "s3://c/w/cp"));
        assert!(!lies_in("s3://b/w", "/b/w"));
    }
}
