//! A folder that may be made again after somebody deleted it.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Which file or folder a path names: its device, its number there, and when it was made, where the
/// file system says: numbers of deleted ones are given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    number: u64,
    made: Option<SystemTime>,
}

impl FileId {
    /// What a path names; `None` where it names nothing, or the system has no such numbers.
    ///
    /// # Errors
    /// What the file system says.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(found) => Ok(Self::of_metadata(&found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    #[cfg(unix)]
    #[expect(clippy::unnecessary_wraps, reason = "other systems have none")]
    fn of_metadata(found: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        Some(Self {
            device: found.dev(),
            number: found.ino(),
            made: found.created().ok(),
        })
    }

    #[cfg(not(unix))]
    fn of_metadata(_found: &Metadata) -> Option<Self> {
        None
    }
}

/// A folder, and the one above it as it was: whoever deletes the folder leaves that alone, where a
/// volume that went away takes it along.
#[derive(Debug, Clone)]
pub struct Home {
    folder: PathBuf,
    parent: PathBuf,
    parent_id: FileId,
}

impl Home {
    /// Notes where a folder lies; `None` where it is not there, or is a volume of its own.
    ///
    /// # Errors
    /// What the file system says.
    pub fn of(folder: &Path) -> io::Result<Option<Self>> {
        let parent = match folder.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Ok(None),
        };
        let ids = FileId::of(folder)?.zip(FileId::of(parent)?);
        Ok(ids
            .filter(|(own, above)| own.device == above.device)
            .map(|(_, parent_id)| Self {
                folder: folder.to_owned(),
                parent: parent.to_owned(),
                parent_id,
            }))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the folder may be made again, if it is not there: the one above it is the same, and
    /// no volume lies in its place.
    pub fn may_be_made_again(&self) -> bool {
        let is_same = FileId::of(&self.parent).is_ok_and(|id| id == Some(self.parent_id));
        let own = FileId::of(&self.folder);
        is_same && own.is_ok_and(|id| id.is_none_or(|id| id.device == self.parent_id.device))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_be_made_again_only_where_the_one_above_it_is_the_same() {
        let root = tempfile::tempdir().unwrap();
        let (above, folder) = (root.path().join("runs"), root.path().join("runs/platform"));
        std::fs::create_dir_all(&folder).unwrap();
        let home = Home::of(&folder).unwrap().unwrap();
        std::fs::remove_dir(&folder).unwrap();
        assert!(home.may_be_made_again());
        assert!(Home::of(&folder).unwrap().is_none(), "it is not there");
        std::fs::rename(&above, root.path().join("away")).unwrap();
        assert!(!home.may_be_made_again());
        std::fs::create_dir(&above).unwrap();
        assert!(!home.may_be_made_again(), "another folder of that name");
    }
}
