//! The machine's disk, which fails on demand.

use std::any::Any;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::disk::{Access, Disk, DiskFile, ListedFile, OsDisk};

/// The machine's disk. It fails writes while a fault is set, and notes what is asked of open files.
#[derive(Debug, Default, Clone)]
pub struct FailingDisk {
    /// Each change fails with this error; `None` lets all succeed.
    pub fault: Arc<Mutex<Option<ErrorKind>>>,
    /// So many syncs of a folder fail, and nothing else.
    pub failing_folder_syncs: Arc<Mutex<u32>>,
    /// The next append takes so many bytes, then fails as a full disk does.
    pub torn_after: Arc<Mutex<Option<usize>>>,
    /// So many syncs of an open file fail.
    pub failing_syncs: Arc<Mutex<u32>>,
    /// The appends and syncs of open files, in order.
    pub asked: Arc<Mutex<Vec<&'static str>>>,
}

impl FailingDisk {
    fn check(&self) -> io::Result<()> {
        match *self.fault.lock().unwrap() {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }
}

/// Whether one more of so many failures is due.
fn is_due(failing: &Mutex<u32>) -> bool {
    let mut failing = failing.lock().unwrap();
    let is_due = *failing > 0;
    *failing = failing.saturating_sub(1);
    is_due
}

impl Disk for FailingDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        OsDisk.read(path)
    }

    fn is_dir(&self, path: &Path) -> io::Result<bool> {
        OsDisk.is_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        OsDisk.create_dir(path)
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        OsDisk.write_synced(path, bytes)
    }

    fn create_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        OsDisk.create_synced(path, bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        OsDisk.open(path)
    }

    fn open_to_append(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        self.check()?;
        Ok(Box::new(FailingFile {
            disk: self.clone(),
            file: OsDisk.open_to_append(path, access)?,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        OsDisk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        OsDisk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        OsDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        if is_due(&self.failing_folder_syncs) {
            return Err(ErrorKind::Other.into());
        }
        OsDisk.sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        OsDisk.try_lock(path)
    }

    fn try_share(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        OsDisk.try_share(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<ListedFile>> {
        OsDisk.list(folder)
    }

    fn create_private_dir(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        OsDisk.create_private_dir(path)
    }
}

/// An open file of a [`FailingDisk`].
#[derive(Debug)]
struct FailingFile {
    disk: FailingDisk,
    file: Box<dyn DiskFile>,
}

impl FailingFile {
    fn ask(&self, what: &'static str) -> io::Result<()> {
        self.disk.asked.lock().unwrap().push(what);
        self.disk.check()
    }
}

impl DiskFile for FailingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_from(&self, start: u64) -> io::Result<Box<dyn Read + '_>> {
        self.file.read_from(start)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.ask("append")?;
        match self.disk.torn_after.lock().unwrap().take() {
            Some(taken) => {
                self.file.append(&bytes[..taken])?;
                Err(ErrorKind::StorageFull.into())
            }
            None => self.file.append(bytes),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.ask("sync")?;
        if is_due(&self.disk.failing_syncs) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.file.sync()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }

    fn is_deleted(&self) -> io::Result<bool> {
        self.file.is_deleted()
    }

    fn is_regular(&self) -> io::Result<bool> {
        self.file.is_regular()
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Self {
            disk: self.disk.clone(),
            file: self.file.another()?,
        }))
    }
}
