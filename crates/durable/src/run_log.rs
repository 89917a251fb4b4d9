//! An append-only file of lines that several processes share.
//!
//! ```text
//! open ─► lock ─► catch_up (what others appended) ─► cut_torn ─► append_synced ─► unlock
//! ```
//!
//! Invariants:
//! - A batch of lines is written whole and synced, or cut off again: whoever catches up after a
//!   crash finds what the crash left of a last line, and cuts it.
//! - What is appended under another name than the log's is an error: nobody would find it.
//! - The name of the file, and those of the folders above it, are synced before the first line.
//!
//! A log that other programs append to without its lock ends a torn line instead
//! ([`end_torn_line`](RunLog::end_torn_line)), and cuts nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use model::Bug;

use crate::disk::{Access, Disk, DiskFile};
use crate::lines::{LinesRead, LogFault};
use crate::os_lock::blame;
use crate::synced::make_folders;

/// The pause between two tries to lock the file.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The folders above a log whose names are synced again, though they exist: that of the run, and
/// the one in it.
const FOLDERS_SYNCED_AGAIN: usize = 2;

/// An open log: an append-only file of lines that several processes share.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    read: LinesRead,
}

impl RunLog {
    /// Opens or makes the file, its folders included, and syncs their names.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf, access: Access) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        make_folders(&*disk, folder, FOLDERS_SYNCED_AGAIN)?;
        let file = disk.open_to_append(&path, access)?;
        if file.is_regular()? {
            let folder = Some(folder).filter(|folder| !folder.as_os_str().is_empty());
            disk.sync_dir(folder.unwrap_or(Path::new(".")))?;
        }
        Ok(Self {
            path,
            file,
            read: LinesRead::default(),
        })
    }

    /// Another handle on the same open file, which shares its lock.
    ///
    /// # Errors
    /// What the system says.
    pub fn another(&self) -> io::Result<Self> {
        Ok(Self {
            path: self.path.clone(),
            file: self.file.another()?,
            read: self.read,
        })
    }

    /// The path that the log was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many whole lines were read and appended by this handle.
    pub fn lines(&self) -> u64 {
        self.read.lines
    }

    /// Locks the file; `false` while another holds the lock.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    /// Locks the file, waiting for another process for at most `patience`.
    ///
    /// # Errors
    /// `TimedOut`, naming the process that holds the lock where the system tells; what the
    /// system says.
    pub fn lock(&self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        while !self.file.try_lock()? {
            if Instant::now() >= deadline {
                let holder = blame(&[&self.path]);
                let text = holder.unwrap_or_else(|| "another process keeps it locked".to_owned());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            thread::sleep(LOCK_PAUSE);
        }
        Ok(())
    }

    /// Frees the lock. One that cannot be freed is freed when the file is closed.
    pub fn unlock(&self) {
        let _ = self.file.unlock();
    }

    /// Shows every whole line that was appended since the last call, with its number (from 1), and
    /// answers how many bytes stand behind the last. Under the lock, those are what a crash left
    /// of a line: [`cut_torn`](Self::cut_torn) takes them off.
    ///
    /// # Errors
    /// As [`LinesRead::catch_up`].
    pub fn catch_up(
        &mut self,
        see: impl FnMut(u64, &[u8]) -> Result<(), String>,
    ) -> Result<u64, LogFault> {
        self.read.catch_up(&*self.file, see)
    }

    /// Cuts off what stands behind the last whole line, and syncs. The lock must be held, and all
    /// lines be read.
    ///
    /// # Errors
    /// What the file system says.
    pub fn cut_torn(&self) -> io::Result<()> {
        self.file.truncate(self.read.bytes)?;
        self.file.sync()
    }

    /// Appends whole lines by one write, syncs them, and checks that the path still names the
    /// file. No lines are synced too: those of another process may not be. The lock must be held,
    /// and all lines be read.
    ///
    /// # Errors
    /// What the file system says; then none of the batch is in the file, or whoever opens it next
    /// cuts what is not whole.
    pub fn append_synced(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self
            .file
            .append(lines)
            .and_then(|()| self.sync())
            .and_then(|()| self.check_in_place());
        if let Err(error) = written {
            let _ = self.file.truncate(self.read.bytes);
            return Err(error);
        }
        self.read.bytes += lines.len() as u64;
        self.read.lines += lines.split_inclusive(|byte| *byte == b'\n').count() as u64;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if Bug::NoLineSync.is_planted() {
            return Ok(());
        }
        self.file.sync()
    }

    /// Refuses a file that was moved or deleted: what is written there is lost.
    ///
    /// # Errors
    /// `NotFound`; what the file system says.
    pub fn check_in_place(&self) -> io::Result<()> {
        if self.file.is_at(&self.path)? {
            return Ok(());
        }
        let text = "the file was moved away, deleted or replaced";
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }

    /// Ends a last line that a crash cut short, so that the next record has a line of its own: for
    /// a log that others append to without its lock.
    ///
    /// # Errors
    /// What the file system says.
    pub fn end_torn_line(&self) -> io::Result<()> {
        if self.file.is_regular()? && !self.file.ends_a_line()? {
            self.file.append(b"\n")?;
        }
        Ok(())
    }

    /// Appends one line by one write, whole or not at all even beside another writer, without the
    /// lock; and makes it durable if `sync`, with all lines before it.
    ///
    /// # Errors
    /// `NotFound` if the file was deleted; what the file system says.
    pub fn append_shared(&self, line: &[u8], sync: bool) -> io::Result<()> {
        if self.file.is_deleted()? {
            // What is written to a deleted file nobody will read.
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was deleted"));
        }
        self.file.append(line)?;
        if sync && self.file.is_regular()? {
            self.file.sync()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;
    use crate::simulated::{Careless, CrashDisk};

    fn log_on(disk: &Arc<CrashDisk>) -> RunLog {
        let mut log = RunLog::open(disk.clone(), "/run/log".into(), Access::Default).unwrap();
        if log.catch_up(|_, _| Ok(())).unwrap() > 0 {
            log.cut_torn().unwrap();
        }
        log
    }

    fn lines_of(disk: &CrashDisk) -> usize {
        let text = disk.read(Path::new("/run/log")).unwrap_or_default();
        text.split(|byte| *byte == b'\n').count() - 1
    }

    /// Batches of two lines each, the first of `open_before` crashing processes unsynced.
    fn write(careless: Careless) -> Arc<CrashDisk> {
        let disk = Arc::new(CrashDisk::new(careless));
        let mut log = log_on(&disk);
        for batch in 1..=2 {
            log.append_synced(b"one\ntwo\n").unwrap();
            disk.promise(batch);
        }
        disk
    }

    /// The first crash that loses a batch that was promised, or after which a line is not whole.
    fn fault(disk: &CrashDisk) -> Option<String> {
        let mut fault = None;
        disk.each_crash(|promised, crashed| {
            let disk = Arc::new(crashed);
            let mut log = log_on(&disk);
            let found = lines_of(&disk);
            log.append_synced(b"three\n").unwrap();
            let text = disk.read(Path::new("/run/log")).unwrap();
            let text = String::from_utf8(text).unwrap();
            let whole = |line: &str| ["one", "two", "three"].contains(&line);
            if found < 2 * promised || !text.lines().all(whole) {
                fault = Some(format!("{found} lines after promise {promised}: {text:?}"));
            }
            fault.is_none()
        });
        fault
    }

    #[test]
    fn every_crash_leaves_the_batches_that_were_appended_and_no_torn_line() {
        assert_eq!(fault(&write(Careless::Not)), None);
    }

    #[test]
    fn a_log_that_left_out_a_sync_would_be_found_out() {
        for careless in [Careless::AboutBytes, Careless::AboutNames] {
            assert!(fault(&write(careless)).is_some(), "{careless:?}");
        }
    }

    #[test]
    fn a_lock_that_is_never_given_back_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let open = || RunLog::open(Arc::new(OsDisk), path.clone(), Access::Default).unwrap();
        let (holder, log) = (open(), open());
        holder.lock(Duration::ZERO).unwrap();
        let error = log.lock(Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(holder);
        log.lock(Duration::from_millis(20)).unwrap();
    }
}
