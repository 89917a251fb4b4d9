//! The few things that are done to a disk, so that tests can put a disk under them that loses and
//! tears whatever was not synced.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::SystemTime;

use crate::os_lock::{OsLock, is_at};

/// Who may read a file that is opened to append to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A new file gets the rights that the process gives by default; an old one keeps its own.
    Default,
    /// Only the owner may read and write it, also where another made it.
    OwnerOnly,
}

/// The operations of a disk. Nothing is durable before its sync: a file's bytes by [`write_synced`](Self::write_synced),
/// [`create_synced`](Self::create_synced) or [`DiskFile::sync`], a name by
/// [`sync_dir`](Self::sync_dir) of the folder that holds it.
///
/// # Errors
/// All methods fail with what the file system says.
#[expect(
    clippy::missing_errors_doc,
    reason = "the trait says it once for all of them"
)]
pub trait Disk: Debug + Send + Sync {
    /// The bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Whether a path names a folder; `false` where it names nothing.
    fn is_dir(&self, path: &Path) -> io::Result<bool>;

    /// Makes one folder; no error if it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes or replaces a file, its bytes synced.
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file, its bytes synced; `AlreadyExists` where the name is taken.
    fn create_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Opens a file to read.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens or makes a file to append to. A file that is no regular one, such as a pipe, is
    /// opened to write only, so that it tells when its reader has left.
    fn open_to_append(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in the place of what had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name; `AlreadyExists` where the name is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock of a file; `None` while another holds it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;

    /// Takes the lock of a file beside others who share it, making the file if need be; `None` while
    /// somebody holds it alone. The file counts as used now.
    fn try_share(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.try_lock(path)
    }

    /// The files in a folder, in no order.
    fn list(&self, folder: &Path) -> io::Result<Vec<ListedFile>> {
        let _ = folder;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes one folder for its owner alone; no error if it exists.
    fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        self.create_dir(path)
    }

    /// Adds a line on a line of its own, even after one that a crash cut short. Gives the new
    /// length in bytes.
    fn append_line(&self, path: &Path, line: &str, sync: bool) -> io::Result<u64> {
        let file = self.open_to_append(path, Access::Default)?;
        let start = if file.ends_a_line()? { "" } else { "\n" };
        file.append(format!("{start}{line}\n").as_bytes())?;
        if sync {
            file.sync()?;
        }
        file.length()
    }
}

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// The file's name in the folder; a file whose name is no text is not listed.
    pub name: String,
    /// The length in bytes.
    pub length: u64,
    /// When it was last written or locked; `None` where the disk does not say.
    pub modified: Option<SystemTime>,
}

/// An open file of a [`Disk`].
///
/// # Errors
/// All methods fail with what the file system says.
#[expect(
    clippy::missing_errors_doc,
    reason = "the trait says it once for all of them"
)]
pub trait DiskFile: Debug + Send + Sync {
    /// The length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Reads from the byte `start` on.
    fn read_from(&self, start: u64) -> io::Result<Box<dyn Read + '_>>;

    /// Adds bytes at the end, by one write.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off what stands behind `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes the bytes durable.
    fn sync(&self) -> io::Result<()>;

    /// Takes the file's lock; `false` while another holds it.
    fn try_lock(&self) -> io::Result<bool>;

    /// Frees the file's lock.
    fn unlock(&self) -> io::Result<()>;

    /// Whether `path` still names this file; `false` where it names nothing.
    fn is_at(&self, path: &Path) -> io::Result<bool>;

    /// Whether no path names this file any more.
    fn is_deleted(&self) -> io::Result<bool>;

    /// Whether it is a regular file: no pipe and no device.
    fn is_regular(&self) -> io::Result<bool>;

    /// Another handle on the same open file.
    fn another(&self) -> io::Result<Box<dyn DiskFile>>;

    /// Whether the last byte ends a line; true of an empty file.
    fn ends_a_line(&self) -> io::Result<bool> {
        let Some(last) = self.length()?.checked_sub(1) else {
            return Ok(true);
        };
        let mut byte = [0];
        self.read_from(last)?.read_exact(&mut byte)?;
        Ok(byte == *b"\n")
    }
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

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

    fn create_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn open_to_append(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let is_irregular = path.metadata().is_ok_and(|found| !found.is_file());
        let mut options = OpenOptions::new();
        options.append(true).create(true).read(!is_irregular);
        #[cfg(unix)]
        if access == Access::OwnerOnly {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let file = options.open(path)?;
        if access == Access::OwnerOnly {
            keep_private(&file)?;
        }
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
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

    fn try_share(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let lock = OsLock::try_share(path)?;
        Ok(lock.map(|lock| Box::new(lock) as Box<dyn Any + Send + Sync>))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<ListedFile>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(ListedFile {
                    name,
                    length: metadata.len(),
                    modified: metadata.modified().ok(),
                });
            }
        }
        Ok(files)
    }

    fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
}

/// Takes others' rights away from a file that somebody else made.
#[cfg(unix)]
fn keep_private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode();
    if metadata.is_file() && mode & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_private(_file: &File) -> io::Result<()> {
    Ok(())
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_from(&self, start: u64) -> io::Result<Box<dyn Read + '_>> {
        let mut file = self;
        file.seek(SeekFrom::Start(start))?;
        Ok(Box::new(file))
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.write_all(bytes)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        match File::try_lock(self) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        File::unlock(self)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_at(self, path)
    }

    #[cfg(unix)]
    fn is_deleted(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt as _;
        Ok(self.metadata()?.nlink() == 0)
    }

    /// An open file cannot be removed here.
    #[cfg(not(unix))]
    fn is_deleted(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn is_regular(&self) -> io::Result<bool> {
        Ok(self.metadata()?.is_file())
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.try_clone()?))
    }
}
