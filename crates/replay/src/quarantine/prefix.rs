//! What a quarantine file holds at one moment: the part that a redrive works on.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use durable::LinesRead;
use envelope::PlatformRunId;
use oracle_store::refuse_special_file;
use tokio::sync::mpsc;

use super::QuarantinedEvent;
use super::fault::{faulty, unreadable};
use super::open_events::OpenEvents;
use crate::Error;

/// Events read ahead of the one that is being pushed.
pub(super) const AHEAD: usize = 16;

/// An event that waits for a redrive, and its last line in the file.
pub struct Waiting {
    /// The event that waits.
    pub event: QuarantinedEvent,
    /// The number of the event's last line in the quarantine file, counted from 1.
    pub line: u64,
}

/// The whole lines that a quarantine file had when it was read. Other producers may append lines
/// at the same time.
pub struct Prefix {
    path: PathBuf,
    file: File,
    read: LinesRead,
    /// The events that wait; the caller reads the redriven file into it.
    pub events: OpenEvents,
    /// The platform run that the first event names; `None` where it names none.
    pub run: Option<PlatformRunId>,
}

impl Prefix {
    /// Reads a quarantine file and checks every line.
    ///
    /// # Errors
    /// `QUARANTINE_UNREADABLE` if it is not there or damaged, with file and line.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let opened = refuse_special_file(path).and_then(|()| File::open(path));
        let opened = opened.and_then(|file| {
            if file.metadata()?.is_file() {
                Ok(file)
            } else {
                Err(io::Error::other("it is no file"))
            }
        });
        let file = opened.map_err(|error| unreadable(path, error))?;
        let (mut read, mut events, mut run) = (LinesRead::default(), OpenEvents::default(), None);
        let all = read.catch_up(&file, |number, line| {
            let event = QuarantinedEvent::parse(line)?;
            events.quarantined(event.row_id(), number);
            if number == 1 {
                run = event.platform_run_id;
            }
            Ok(())
        });
        all.map_err(|fault| faulty(path, fault))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            read,
            events,
            run,
        })
    }

    /// The number of whole lines.
    pub fn lines(&self) -> u64 {
        self.read.lines
    }

    /// Every event that waits, once, in the order of their last lines; read on a thread of its
    /// own, a few events ahead.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread.
    pub fn feed(self) -> Result<mpsc::Receiver<Result<Waiting, Error>>, Error> {
        let (events, feed) = mpsc::channel(AHEAD);
        let reading = durable::spawn_blocking(move || {
            let mut read = LinesRead::default();
            let all = read.catch_up(&self.file, |line, text| {
                let event = QuarantinedEvent::parse(text)?;
                if self.events.waiting_line(&event.row_id()) == Some(line) {
                    let sent = events.blocking_send(Ok(Waiting { event, line }));
                    sent.map_err(|_| "nobody reads on".to_owned())?;
                }
                Ok(())
            });
            if let Err(fault) = all {
                // Nobody listens once the redrive has ended.
                let _ = events.blocking_send(Err(faulty(&self.path, fault)));
            }
        });
        reading.map_err(|source| Error::no_thread("The quarantine cannot be read", source))?;
        Ok(feed)
    }
}
