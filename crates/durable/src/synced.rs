//! Folders, replaced files and files that are written once, their names synced.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use model::Bug;

use crate::disk::Disk;

/// Makes a folder with its parents, and syncs the name of each that was made.
///
/// The names of the lowest `again` folders are synced also where they exist: a process that made
/// one may have ended before it synced it.
///
/// # Errors
/// What the file system says.
pub fn make_folders(disk: &dyn Disk, folder: &Path, again: usize) -> io::Result<()> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    let is_there = disk.is_dir(folder)?;
    if is_there && again == 0 {
        return Ok(());
    }
    let Some(parent) = parent_of(folder) else {
        return Ok(());
    };
    make_folders(disk, parent, again.saturating_sub(1))?;
    if !is_there {
        disk.create_dir(folder)?;
    }
    if Bug::NoFolderSync.is_planted() {
        return Ok(());
    }
    match disk.sync_dir(parent) {
        // A folder that may not be read is not one that a process of this user made folders in.
        Err(error) if is_there && error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// The folder that holds a path; none holds the root.
fn parent_of(path: &Path) -> Option<&Path> {
    match path.parent() {
        // A relative path of one component has the parent "".
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        parent => parent,
    }
}

/// Puts bytes in the place of a file: after a crash the old ones are there or the new ones.
///
/// # Errors
/// What the file system says; the file then holds the old bytes or the new ones.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    disk.write_synced(&temporary, bytes)?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(parent_of(path).unwrap_or(path))
}

/// Makes a file unless its name is taken; true if it was made. After a crash it is there whole or
/// not at all, though a file with the name `staging` may be left beside it.
///
/// # Errors
/// What the file system says.
pub fn create_once(disk: &dyn Disk, path: &Path, bytes: &[u8], staging: &Path) -> io::Result<bool> {
    let written =
        disk.create_synced(staging, bytes)
            .and_then(|()| match disk.link(staging, path) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            });
    let removed = disk.remove(staging);
    let is_made = written?;
    removed?;
    // Also where another made it: its name may not be synced yet.
    disk.sync_dir(parent_of(path).unwrap_or(path))?;
    Ok(is_made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::{Careless, CrashDisk};

    const FOLDER: &str = "/runs/one/wsp";

    /// The first crash after which something that was promised is not there.
    fn lost(disk: &CrashDisk, is_there: impl Fn(&CrashDisk) -> bool) -> Option<usize> {
        let (mut count, mut first) = (0, None);
        disk.each_crash(|promised, crashed| {
            count += 1;
            if promised > 0 && !is_there(&crashed) {
                first = Some(count);
            }
            first.is_none()
        });
        first
    }

    #[test]
    fn folders_outlast_every_crash_once_they_are_made() {
        let is_there = |disk: &CrashDisk| disk.is_dir(Path::new(FOLDER)).unwrap();
        for careless in [Careless::Not, Careless::AboutNames] {
            let disk = CrashDisk::new(careless);
            make_folders(&disk, Path::new(FOLDER), 0).unwrap();
            disk.promise(1);
            assert_eq!(lost(&disk, is_there).is_some(), careless != Careless::Not);
        }
    }

    #[test]
    fn folders_that_a_process_made_and_did_not_live_to_sync_are_synced_again() {
        let is_there = |disk: &CrashDisk| disk.is_dir(Path::new(FOLDER)).unwrap();
        for again in [0, 3] {
            let disk = CrashDisk::new(Careless::Not);
            for folder in ["/runs", "/runs/one", FOLDER] {
                disk.create_dir(Path::new(folder)).unwrap();
            }
            make_folders(&disk, Path::new(FOLDER), again).unwrap();
            disk.promise(1);
            assert_eq!(lost(&disk, is_there).is_some(), again == 0);
        }
    }

    #[test]
    fn a_file_written_once_is_whole_or_absent_after_every_crash() {
        let path = Path::new("/once");
        for careless in [Careless::Not, Careless::AboutNames, Careless::AboutBytes] {
            let disk = CrashDisk::new(careless);
            assert!(create_once(&disk, path, b"whole", Path::new("/.once")).unwrap());
            disk.promise(1);
            assert!(!create_once(&disk, path, b"other", Path::new("/.once")).unwrap());
            let mut torn = false;
            disk.each_crash(|_, crashed| {
                torn |= crashed.read(path).is_ok_and(|bytes| bytes != b"whole");
                !torn
            });
            let gone = lost(&disk, |disk| disk.read(path).is_ok()).is_some();
            let found = (torn, gone);
            match careless {
                Careless::Not => assert_eq!(found, (false, false)),
                Careless::AboutNames => assert_eq!(found, (false, true)),
                Careless::AboutBytes => assert_eq!(found, (true, false)),
            }
        }
    }
}
