//! The few things that the file backend does to a disk, so that tests can put a disk under it that
//! loses and tears whatever was not synced.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::os_lock::OsLock;

/// A disk. Nothing is durable before its sync: a file's bytes by `write_synced` or `append_line`
/// with `sync`, its name by `sync_dir` of the folder that holds it.
pub(crate) trait Disk: Debug + Send + Sync {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    fn is_dir(&self, path: &Path) -> io::Result<bool>;

    /// Makes one folder; no error if it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes or replaces a file, its bytes synced.
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Adds a line on a line of its own, even after one that a crash cut short. Gives the new
    /// length in bytes.
    fn append_line(&self, path: &Path, line: &str, sync: bool) -> io::Result<u64>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock of a file; `None` while another holds it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
}

/// The machine's disk.
#[derive(Debug)]
pub(crate) struct OsDisk;

impl Disk for OsDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn is_dir(&self, path: &Path) -> io::Result<bool> {
        match path.metadata() {
            Ok(metadata) => Ok(metadata.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn append_line(&self, path: &Path, line: &str, sync: bool) -> io::Result<u64> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)?;
        let length = file.metadata()?.len();
        let mut last = *b"\n";
        if length > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let start = if last == *b"\n" { "" } else { "\n" };
        let bytes = format!("{start}{line}\n");
        file.write_all(bytes.as_bytes())?;
        if sync {
            file.sync_all()?;
        }
        Ok(length + bytes.len() as u64)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let lock = OsLock::try_take(path)?;
        Ok(lock.map(|lock| Box::new(lock) as Box<dyn Any + Send + Sync>))
    }
}
