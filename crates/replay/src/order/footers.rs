//! The footers of the parts that are read as written, looked at before the first event.
//!
//! They say what reading takes: a part whose pages or rows cannot fit the memory budget is
//! refused before anything is pushed. They say how many rows are open, too. A footer that
//! cannot be read is passed over here: the stream says so when it gets there, behind every
//! row that comes before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use oracle_store::{Part, PartFooter, WorldStore, footer};

use super::event_time::readers_of;
use super::{Overlap, TellOpenRows};
use crate::ending::Ending;
use crate::{Error, ReasonCode};

/// How often a caller that waits for footers looks whether the stream winds down.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// What is looked at before an as-written run begins.
pub struct FooterSurvey {
    /// The store of the parts.
    pub store: WorldStore,
    /// The parts in the order in which they are read, each with its first open row.
    pub parts: Vec<(Part, u64)>,
    /// What the process may take.
    pub memory_budget: u64,
    /// Ends the look at them, too.
    pub ending: Ending,
    /// Is told how many rows are open.
    pub learnt: TellOpenRows,
}

impl FooterSurvey {
    /// Reads all footers. Blocks.
    ///
    /// # Errors
    /// `MEMORY_BUDGET_EXCEEDED`; `STOPPED` once the stream winds down.
    pub fn run(self) -> Result<(), Error> {
        let footers = self.read()?;
        let read_bytes = footers.iter().map(|footer| {
            let footer = footer.as_ref();
            footer.map_or(0, |footer| footer.read_bytes)
        });
        let read_bytes: Vec<u64> = read_bytes.collect();
        let overlap = Overlap::in_turn(&read_bytes);
        let parts = self.parts.iter().zip(&read_bytes);
        let largest = parts.max_by_key(|(_, bytes)| **bytes);
        let largest = largest.map(|((part, _), bytes)| (part.path(), *bytes));
        overlap.check(self.memory_budget, largest)?;
        overlap.expect_of(self.store.memory());
        let open = self.parts.iter().zip(&footers);
        let open = open.map(|((_, from_row), footer)| {
            let rows = footer.as_ref()?.rows?;
            rows.checked_sub(*from_row)
        });
        if let Some(open_rows) = open.sum() {
            (self.learnt)(open_rows);
        }
        Ok(())
    }

    /// The footers of the parts, in their order. They are waited for only while the stream
    /// goes on: a read may hang.
    fn read(&self) -> Result<Vec<Option<PartFooter>>, Error> {
        let unread = Arc::new(Unread {
            store: self.store.clone(),
            parts: self.parts.iter().map(|(part, _)| part.clone()).collect(),
            next: AtomicUsize::new(0),
        });
        let (read, answers) = mpsc::channel();
        let readers = readers_of(&self.store).clamp(1, self.parts.len().max(1));
        for reader in 0..readers {
            let (unread, read) = (Arc::clone(&unread), read.clone());
            let thread = thread::Builder::new().name(format!("wsp-footers-{reader}"));
            match thread.spawn(move || unread.read_on(&read)) {
                Ok(_) => {}
                Err(error) if reader == 0 => {
                    let what = "The system gave no thread to read footers on";
                    return Err(Error::no_thread(what, error));
                }
                Err(error) => {
                    tracing::warn!(%error, "footers are read by fewer threads");
                    break;
                }
            }
        }
        drop(read);
        let mut footers: Vec<Option<PartFooter>> = vec![None; self.parts.len()];
        loop {
            match answers.recv_timeout(LOOK_AROUND) {
                Ok((place, footer)) => footers[place] = footer,
                Err(RecvTimeoutError::Disconnected) => return Ok(footers),
                Err(RecvTimeoutError::Timeout) if self.ending.is_winding_down() => {
                    let what = "The stream was stopped while it read footers";
                    return Err(Error::new(ReasonCode::Stopped, what, "A rerun goes on."));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// Parts whose footers are read by several threads.
struct Unread {
    store: WorldStore,
    parts: Vec<Part>,
    next: AtomicUsize,
}

impl Unread {
    /// Reads one footer after the other, until none is left or nobody waits.
    fn read_on(&self, read: &Sender<(usize, Option<PartFooter>)>) {
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = self.parts.get(place) else {
                return;
            };
            let footer = footer(&self.store, part).ok().map(|mut footer| {
                // The columns are not kept: there may be many parts of many columns.
                footer.schema = None;
                footer
            });
            if read.send((place, footer)).is_err() {
                return;
            }
        }
    }
}
