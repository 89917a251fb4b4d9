//! OS locks on files that are never renamed: free at once when their holder dies.

use std::collections::BTreeSet;
use std::fs::{File, FileTimes, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// An OS lock on a file, held. Dropping it frees the lock; so does the death of the process.
#[derive(Debug)]
pub struct OsLock {
    file: File,
}

impl OsLock {
    /// Takes the lock alone, making the file if need be; `None` while another holds it. The file
    /// counts as used now, so that no cleaner of old files removes it under its holder.
    ///
    /// # Errors
    /// What the file system says.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        Self::take_by(path, File::try_lock)
    }

    /// Takes the lock beside others who share it, making the file if need be; `None` while somebody
    /// holds it alone. The file counts as used now.
    ///
    /// # Errors
    /// What the file system says.
    pub fn try_share(path: &Path) -> io::Result<Option<Self>> {
        Self::take_by(path, File::try_lock_shared)
    }

    fn take_by(
        path: &Path,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(path)?;
            match lock(&file) {
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
    ///
    /// # Errors
    /// What the file system says.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_at(&self.file, path)
    }

    /// Sets the times of the locked file to the present, so that no cleaner of old files removes it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn touch(&self) -> io::Result<()> {
        let now = SystemTime::now();
        let times = FileTimes::new().set_accessed(now).set_modified(now);
        self.file.set_times(times)
    }

    /// Whether somebody holds the lock alone; `None` if there is no such file. Asking does not
    /// disturb others who ask.
    ///
    /// # Errors
    /// What the file system says.
    pub fn is_held(path: &Path) -> io::Result<Option<bool>> {
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

/// The processes that hold a lock on one of some files, as a sentence that says what to do about
/// them; `None` where the system does not tell.
pub fn blame(paths: &[&Path]) -> Option<String> {
    let own = std::process::id();
    let pids: BTreeSet<u32> = holders(paths)
        .into_iter()
        .filter(|pid| *pid != own)
        .collect();
    let (first, more) = (pids.first()?, pids.len() - 1);
    let others = if more > 0 {
        format!(" (and {more} more)")
    } else {
        String::new()
    };
    Some(if is_stopped(*first) {
        format!(
            "Process {first}{others} keeps it locked and is stopped: continue it (`kill -CONT \
             {first}`) or end it (`kill -KILL {first}`)"
        )
    } else {
        format!("Process {first}{others} keeps it locked: if it hangs, end it")
    })
}

/// The processes that hold a lock on one of some files, as the kernel lists them.
#[cfg(target_os = "linux")]
fn holders(paths: &[&Path]) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let files: Vec<_> = paths
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|file| (device(file.dev()), file.ino()))
        .collect();
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let held = locks.lines().filter_map(lock_of);
    held.filter(|(_, file)| files.contains(file))
        .map(|(pid, _)| pid)
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn holders(_: &[&Path]) -> Vec<u32> {
    Vec::new()
}

/// A file as the kernel names it: major and minor number of its device, and its inode there.
#[cfg(any(target_os = "linux", test))]
type Inode = ((u64, u64), u64);

/// Process and file of a line of `/proc/locks`, like
/// `1: FLOCK  ADVISORY  WRITE 4711 fd:01:786493 0 EOF`; none of one that waits for a lock.
#[cfg(any(target_os = "linux", test))]
fn lock_of(line: &str) -> Option<(u32, Inode)> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? == "->" {
        return None;
    }
    let pid = words.nth(2)?.parse().ok()?;
    let mut file = words.next()?.split(':');
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let device = (hex(file.next()?)?, hex(file.next()?)?);
    Some((pid, (device, file.next()?.parse().ok()?)))
}

/// Major and minor number of a Linux device.
#[cfg(any(target_os = "linux", test))]
fn device(dev: u64) -> (u64, u64) {
    let major = ((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff);
    let minor = (dev & 0xff) | ((dev >> 12) & !0xff);
    (major, minor)
}

/// Whether a process is stopped, by SIGSTOP or a debugger.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which may hold anything.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| state.starts_with(['T', 't']))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_list_names_process_and_file() {
        let flock = "1: FLOCK  ADVISORY  WRITE 4711 fd:01:786493 0 EOF";
        assert_eq!(lock_of(flock), Some((4711, ((0xfd, 1), 786_493))));
        let waiting = "1: -> FLOCK  ADVISORY  WRITE 4712 fd:01:786493 0 EOF";
        for other in [waiting, "", "1:", "2: POSIX ADVISORY READ -1 00:2e:9 0 0"] {
            assert_eq!(lock_of(other), None, "{other}");
        }
        assert_eq!(device(0xfd01), (0xfd, 1));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_holds_a_lock_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let lock = OsLock::try_take(&path).unwrap().unwrap();
        assert_eq!(holders(&[&path]), [std::process::id()]);
        assert_eq!(blame(&[&path]), None, "nobody else does");
        drop(lock);
        assert_eq!(holders(&[&path]), [0; 0]);
    }
}
