//! The machine's disk, which fails on demand.

use std::any::Any;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Mutex;

use crate::file::disk::{Disk, OsDisk};

/// Fails writes with an error while one is set.
#[derive(Debug, Default)]
pub(super) struct FailingDisk {
    pub(super) fault: Mutex<Option<ErrorKind>>,
    /// So many syncs of a folder fail, and nothing else.
    pub(super) failing_folder_syncs: Mutex<u32>,
}

impl FailingDisk {
    fn check(&self) -> io::Result<()> {
        match *self.fault.lock().unwrap() {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }
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

    fn append_line(&self, path: &Path, line: &str, sync: bool) -> io::Result<u64> {
        self.check()?;
        OsDisk.append_line(path, line, sync)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        OsDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        let mut failing = self.failing_folder_syncs.lock().unwrap();
        if *failing > 0 {
            *failing -= 1;
            return Err(ErrorKind::Other.into());
        }
        OsDisk.sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        OsDisk.try_lock(path)
    }
}
