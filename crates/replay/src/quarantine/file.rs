//! The quarantine file of a platform run: `<runs root>/<platform_run_id>/wsp/quarantine.ndjson`.
//!
//! Appended to by every producer of the run, whatever its outputs. A batch is appended under
//! the file's OS lock: lines of others are read first, what a crash left of a last line is cut
//! off, then the batch is written and synced. A batch that cannot be written whole is cut
//! off again. Only its owner may read the file: it holds payloads.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use oracle_store::Hex64;

use super::lines::{LinesRead, redriven_beside, unreadable};
use super::open_events::OpenEvents;
use super::redriven;
use super::{Quarantine, QuarantinedEvent, RejectedEvent};
use crate::{Error, ReasonCode};

/// How long another producer may hold the lock; it needs it for one write and one sync.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// What makes lines durable, so that tests can have it fail.
trait Disk: Send {
    fn append(&mut self, file: &File, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self, file: &File) -> io::Result<()>;
}

struct OsDisk;

impl Disk for OsDisk {
    fn append(&mut self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// An open quarantine file.
pub struct QuarantineFile {
    path: PathBuf,
    file: File,
    disk: Box<dyn Disk>,
    read: LinesRead,
    redriven_read: LinesRead,
    events: OpenEvents,
}

impl QuarantineFile {
    /// Opens or makes the file, its folders included, and reads what waits there.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE`; `QUARANTINE_UNREADABLE` with file and line.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let file = open_synced(&path).map_err(|error| unwritable(&path, error))?;
        let mut quarantine = Self {
            path,
            file,
            disk: Box::new(OsDisk),
            read: LinesRead::default(),
            redriven_read: LinesRead::default(),
            events: OpenEvents::default(),
        };
        quarantine.locked(Self::catch_up)?;
        Ok(quarantine)
    }

    /// Does something with the file while no other producer does.
    fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        lock(&self.file, LOCK_PATIENCE).map_err(|error| unwritable(&self.path, error))?;
        let done = work(self);
        // What cannot be unlocked is freed when the file is closed.
        let _ = self.file.unlock();
        done
    }

    /// Reads what others appended, and cuts what a crash left of a last line.
    fn catch_up(&mut self) -> Result<(), Error> {
        let events = &mut self.events;
        let torn = self.read.catch_up(&self.file, &self.path, |number, line| {
            events.quarantined(QuarantinedEvent::parse(line)?.row_id(), number);
            Ok(())
        })?;
        if torn > 0 {
            tracing::warn!(
                path = %self.path.display(), bytes = torn,
                "a crash cut the last line of the quarantine short; it is taken off, and its event comes again"
            );
            let cut = self.file.set_len(self.read.bytes);
            cut.and_then(|()| self.disk.sync(&self.file))
                .map_err(|error| unwritable(&self.path, error))?;
        }
        redriven::read_into(
            &redriven_beside(&self.path),
            &mut self.redriven_read,
            events,
        )
    }

    fn append(&mut self, events: &[RejectedEvent]) -> Result<(), Error> {
        self.catch_up()?;
        let (ids, bytes) = self.lines(events)?;
        let written = self
            .disk
            .append(&self.file, &bytes)
            .and_then(|()| self.disk.sync(&self.file))
            .and_then(|()| still_named(&self.file, &self.path));
        if let Err(error) = written {
            // Where this fails too, whoever opens the file next cuts what is not whole.
            let _ = self.file.set_len(self.read.bytes);
            return Err(unwritable(&self.path, error));
        }
        self.read.bytes += bytes.len() as u64;
        for id in ids {
            self.read.lines += 1;
            self.events.quarantined(id, self.read.lines);
        }
        Ok(())
    }

    /// The lines of the events that do not wait here already.
    fn lines(&self, events: &[RejectedEvent]) -> Result<(Vec<Hex64>, Vec<u8>), Error> {
        let (mut ids, mut bytes) = (Vec::new(), Vec::new());
        let now = Utc::now();
        for event in events {
            let (id, line) = event.to_line(now).map_err(|why| {
                let place = format!("row {} of {}", event.row, event.file);
                unwritable(&self.path, io::Error::other(format!("{place}: {why}")))
            })?;
            if self.events.waiting_line(&id).is_none() && !ids.contains(&id) {
                bytes.extend_from_slice(&line);
                bytes.push(b'\n');
                ids.push(id);
            }
        }
        Ok((ids, bytes))
    }
}

impl Quarantine for QuarantineFile {
    fn set_aside(&mut self, events: &[RejectedEvent]) -> Result<(), Error> {
        self.locked(|this| this.append(events))
    }

    fn waiting(&self) -> u64 {
        self.events.waiting()
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// Opens or makes a file that only its owner may read, its name and those of its folders synced.
pub(super) fn open_synced(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_synced(folder)?;
    // Whoever made the run's folder may not have synced its name.
    for above in folder.ancestors().skip(1).take(2) {
        if above != Path::new("") {
            File::open(above)?.sync_all()?;
        }
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    refuse_pipe(path)?;
    let file = options.open(path)?;
    keep_private(&file)?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Refuses a pipe, which might never open.
fn refuse_pipe(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if path.metadata().is_ok_and(|found| {
        let kind = found.file_type();
        std::os::unix::fs::FileTypeExt::is_fifo(&kind)
    }) {
        let what = "it is a pipe, and a file is needed";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}

/// Makes a folder with its parents, and syncs the name of each that was made.
fn make_synced(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    make_synced(parent)?;
    match DirBuilder::new().create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
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

#[expect(
    clippy::disallowed_methods,
    reason = "it blocks a thread of its own until another process lets go"
)]
fn lock(file: &File, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process keeps it locked",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Refuses a file that was moved or deleted meanwhile: what is written there is lost.
#[cfg(unix)]
pub(super) fn still_named(file: &File, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let (opened, named) = (file.metadata()?, path.metadata()?);
    if (opened.dev(), opened.ino()) == (named.dev(), named.ino()) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "another file stands in its place",
    ))
}

#[cfg(not(unix))]
pub(super) fn still_named(_file: &File, path: &Path) -> io::Result<()> {
    path.metadata().map(drop)
}

/// A quarantine file that cannot be written.
pub(super) fn unwritable(path: &Path, source: io::Error) -> Error {
    let full = source.kind() == io::ErrorKind::StorageFull;
    Error::caused(
        ReasonCode::QuarantineUnwritable,
        format!(
            "The quarantine file {} cannot be written{}.",
            path.display(),
            if full { ": the disk is full" } else { "" }
        ),
        "Mend it; no cursor has passed an event that is not in it, and a rerun resumes.",
        source,
    )
}

/// Opens a file to read, where it is there.
pub(super) fn open_to_read(path: &Path) -> Result<Option<File>, Error> {
    match refuse_pipe(path).and_then(|()| File::open(path)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, error)),
    }
}

#[cfg(test)]
mod tests;
