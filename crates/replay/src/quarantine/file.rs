//! The quarantine file of a platform run: `<runs root>/<platform_run_id>/wsp/quarantine.ndjson`.
//!
//! Appended to by every producer of the run, whatever its outputs. A batch is appended under
//! the file's OS lock: lines of others are read first, what a crash left of a last line is cut
//! off, then the batch is written and synced. A batch that cannot be written whole is cut
//! off again. Only its owner may read the file: it holds payloads.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use durable::{Access, Disk, FileId, Home, LinesRead, OsDisk, RunLog};
use oracle_store::Hex64;

use super::fault::{faulty, refuse_pipe, unwritable};
use super::open_events::OpenEvents;
use super::redriven::{self, redriven_beside};
use super::{Quarantine, QuarantinedEvent, RejectedEvent};
use crate::Error;

/// How long another producer may hold the lock; it needs it for one write and one sync.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// An open quarantine file.
pub struct QuarantineFile {
    disk: Arc<dyn Disk>,
    log: RunLog,
    redriven_read: LinesRead,
    events: OpenEvents,
    /// The folder with which the file may be made again after it was deleted.
    home: Option<Home>,
    /// The folder that held the file when it was opened.
    folder: Option<FileId>,
}

impl QuarantineFile {
    /// Opens or makes the quarantine file, its folders included, and reads the events that wait in
    /// it.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE`; `QUARANTINE_UNREADABLE` with file and line.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_on(Arc::new(OsDisk), path.into())
    }

    /// Opens or makes the quarantine file on a disk, as [`QuarantineFile::open`] does.
    ///
    /// # Errors
    /// As [`QuarantineFile::open`].
    pub fn open_on(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self, Error> {
        let opened = refuse_pipe(&path)
            .and_then(|()| RunLog::open(Arc::clone(&disk), path.clone(), Access::OwnerOnly));
        let mut quarantine = Self {
            disk,
            log: opened.map_err(|error| unwritable(&path, error))?,
            redriven_read: LinesRead::default(),
            events: OpenEvents::default(),
            home: None,
            folder: None,
        };
        quarantine.locked(Self::catch_up)?;
        Ok(quarantine)
    }

    /// Has a file in which nothing waits made again, where it is deleted with the folder of a home.
    /// A file that alone is moved away or deleted is not made again.
    #[must_use]
    pub fn made_again_with(self, home: Option<Home>) -> Self {
        let folder = self.folder_now();
        Self {
            home,
            folder,
            ..self
        }
    }

    fn folder_now(&self) -> Option<FileId> {
        let folder = self.log.path().parent()?;
        FileId::of(folder).unwrap_or_default()
    }

    /// Opens another file in the place of one that was deleted, if that may be; whether it did.
    fn is_made_again(&mut self) -> Result<bool, Error> {
        let home = self.home.as_ref().filter(|home| home.may_be_made_again());
        let is_deleted = self.folder_now() != self.folder && self.log.check_in_place().is_err();
        if home.is_none() || self.events.waiting() > 0 || !is_deleted {
            return Ok(false);
        }
        let (disk, path) = (Arc::clone(&self.disk), self.log.path().to_owned());
        *self = Self::open_on(disk, path)?.made_again_with(self.home.take());
        Ok(true)
    }

    /// Does something with the file while no other producer does.
    fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let locked = self.log.lock(LOCK_PATIENCE);
        locked.map_err(|error| self.unwritable(error))?;
        let done = work(self);
        self.log.unlock();
        done
    }

    fn unwritable(&self, source: io::Error) -> Error {
        unwritable(self.log.path(), source)
    }

    /// Reads what others appended, and cuts what a crash left of a last line.
    fn catch_up(&mut self) -> Result<(), Error> {
        let events = &mut self.events;
        let read = self.log.catch_up(|number, line| {
            events.quarantined(QuarantinedEvent::parse(line)?.row_id(), number);
            Ok(())
        });
        let path = self.log.path();
        let torn = read.map_err(|fault| faulty(path, fault))?;
        if torn > 0 {
            tracing::warn!(
                path = %path.display(), bytes = torn,
                "a crash cut the last line of the quarantine short; it is taken off, and its event comes again"
            );
            let cut = self.log.cut_torn();
            cut.map_err(|error| unwritable(path, error))?;
        }
        let redriven = redriven_beside(path);
        redriven::read_into(&*self.disk, &redriven, &mut self.redriven_read, events)
    }

    fn append(&mut self, events: &[RejectedEvent]) -> Result<(), Error> {
        self.catch_up()?;
        let (ids, bytes) = self.lines(events)?;
        let before = self.log.lines();
        let written = self.log.append_synced(&bytes);
        written.map_err(|error| self.unwritable(error))?;
        for (id, line) in ids.into_iter().zip(before + 1..) {
            self.events.quarantined(id, line);
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
                self.unwritable(io::Error::other(format!("{place}: {why}")))
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
        match self.locked(|this| this.append(events)) {
            Err(_) if self.is_made_again()? => self.locked(|this| this.append(events)),
            done => done,
        }
    }

    fn check_in_place(&self) -> Result<(), Error> {
        if self.events.waiting() == 0 {
            return Ok(());
        }
        self.log
            .check_in_place()
            .map_err(|error| self.unwritable(error))
    }

    fn waiting(&self) -> u64 {
        self.events.waiting()
    }

    fn place(&self) -> String {
        self.log.path().display().to_string()
    }
}

#[cfg(test)]
mod tests;
