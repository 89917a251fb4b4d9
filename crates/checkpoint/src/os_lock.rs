//! OS locks on files that are never renamed: free at once when their holder dies.

use std::fs::{File, FileTimes, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// A held lock. Dropping it frees it; so does the death of the process.
#[derive(Debug)]
pub(crate) struct OsLock {
    file: File,
}

impl OsLock {
    /// Takes the lock alone, making the file if need be; `None` while another holds it. The file
    /// counts as used now, so that no cleaner of old files removes it under its holder.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(path)?;
            match file.try_lock() {
                // A lock on a file that was meanwhile removed keeps nobody out.
                Ok(()) if is_at(&file, path)? => {
                    let lock = Self { file };
                    // Its age matters to cleaners alone.
                    let _ = lock.touch();
                    return Ok(Some(lock));
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Whether `path` still names the file that is locked.
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_at(&self.file, path)
    }

    /// Sets the file's times to now.
    pub(crate) fn touch(&self) -> io::Result<()> {
        let now = SystemTime::now();
        let times = FileTimes::new().set_accessed(now).set_modified(now);
        self.file.set_times(times)
    }

    /// Whether somebody holds the lock alone; `None` if there is no such file. Asking does not
    /// disturb others who ask.
    pub(crate) fn is_held(path: &Path) -> io::Result<Option<bool>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(false)),
            Err(TryLockError::WouldBlock) => Ok(Some(true)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Whether `file` is still what `path` names.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let opened = file.metadata()?;
    match path.metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether `path` still exists: an open file cannot be removed here.
#[cfg(not(unix))]
pub(crate) fn is_at(_file: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}
