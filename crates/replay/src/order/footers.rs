//! The footers of the parts that are read as written, looked at before the first event.
//!
//! They say what reading takes: a part whose pages or rows cannot fit the memory budget is
//! refused before anything is pushed. They say how many rows are open, too. A footer that
//! cannot be read is passed over here: the stream says so when it gets there, behind every
//! row that comes before it.

use std::task::{Poll, ready};

use oracle_store::{Part, PartFooter, WorldStore, footer};

use super::event_time::readers_of;
use super::part_readers::{PartReaders, PartReading, ReaderCrew};
use super::time_column::check_time_column;
use super::{Overlap, TellOpenRows};
use crate::crew::Crew;
use crate::ending::Ending;
use crate::{Error, ReasonCode};

/// What is looked at before an as-written run begins.
pub struct FooterSurvey {
    store: WorldStore,
    parts: Vec<(Part, u64)>,
    memory_budget: u64,
    ending: Ending,
    learnt: TellOpenRows,
    crew: Crew,
    /// Present once the look has begun.
    reading: Option<PartReaders<Result<Option<PartFooter>, Error>>>,
    /// The place of the first part without event times, and why.
    timeless: Option<(usize, Error)>,
    /// What was read of each part; `None` for what was not, or cannot be.
    footers: Vec<Option<PartFooter>>,
}

impl FooterSurvey {
    /// A look at the footers of `parts`, in the order in which they are read, each with its first
    /// open row. The process may take `memory_budget` bytes; `learnt` is called with the number of
    /// open rows; `ending` ends the look.
    pub fn new(
        store: WorldStore,
        parts: Vec<(Part, u64)>,
        memory_budget: u64,
        ending: Ending,
        learnt: TellOpenRows,
    ) -> Self {
        Self {
            crew: Crew::default(),
            reading: None,
            timeless: None,
            footers: vec![None; parts.len()],
            store,
            parts,
            memory_budget,
            ending,
            learnt,
        }
    }

    /// Has the workers of `crew` read; without it, threads of the system do.
    #[must_use]
    pub fn by_crew(mut self, crew: Crew) -> Self {
        self.crew = crew;
        self
    }

    /// Goes on with the look; `Pending` while footers are being read. Never waits.
    ///
    /// # Errors
    /// `MEMORY_BUDGET_EXCEEDED`; `STOPPED` once the stream winds down.
    pub fn poll(&mut self) -> Poll<Result<(), Error>> {
        ready!(self.read()?);
        Poll::Ready(self.judge())
    }

    /// Takes the footers that were read; ready once all were. They are waited for only while the
    /// stream goes on: a read may hang.
    fn read(&mut self) -> Poll<Result<(), Error>> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => none.insert(Self::start(
                &self.store,
                &self.parts,
                &self.crew,
                &self.ending,
            )?),
        };
        loop {
            match reading.poll() {
                Poll::Ready(Some((place, Ok(footer)))) => self.footers[place] = footer,
                Poll::Ready(Some((place, Err(error)))) => {
                    let first = self.timeless.as_ref().map(|(first, _)| *first);
                    if first.is_none_or(|first| place < first) {
                        self.timeless = Some((place, error));
                    }
                }
                Poll::Ready(None) => {
                    return Poll::Ready(
                        self.timeless.take().map_or(Ok(()), |(_, error)| Err(error)),
                    );
                }
                Poll::Pending if self.ending.is_winding_down() => {
                    let what = "The stream was stopped while it read footers";
                    let stopped = Error::new(ReasonCode::Stopped, what, "A rerun goes on.");
                    return Poll::Ready(Err(stopped));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn start(
        store: &WorldStore,
        parts: &[(Part, u64)],
        crew: &Crew,
        ending: &Ending,
    ) -> Result<PartReaders<Result<Option<PartFooter>, Error>>, Error> {
        let by = ReaderCrew {
            crew,
            name: "wsp-footers",
            what: "footers",
            readers: readers_of(store),
        };
        let parts = parts.iter().map(|(part, _)| part.clone()).collect();
        let store = store.clone();
        PartReaders::start(&by, parts, ending, move |part| FooterReading {
            store: store.clone(),
            part: part.clone(),
        })
    }

    /// Refuses what does not fit, and says how many rows are open.
    fn judge(&self) -> Result<(), Error> {
        let read_bytes = self.footers.iter().map(|footer| {
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
        let open = self.parts.iter().zip(&self.footers);
        let open = open.map(|((_, from_row), footer)| {
            let rows = footer.as_ref()?.rows?;
            rows.checked_sub(*from_row)
        });
        if let Some(open_rows) = open.sum() {
            (self.learnt)(open_rows);
        }
        Ok(())
    }
}

/// One footer, read in one step; `None` if it cannot be read.
struct FooterReading {
    store: WorldStore,
    part: Part,
}

impl PartReading for FooterReading {
    type Read = Result<Option<PartFooter>, Error>;

    fn step(&mut self) -> Poll<Self::Read> {
        let Ok(mut footer) = footer(&self.store, &self.part) else {
            return Poll::Ready(Ok(None));
        };
        let checked = check_time_column(&self.store, &self.part, &footer);
        // The columns are not kept: there may be many parts of many columns.
        footer.schema = None;
        Poll::Ready(checked.map(|()| Some(footer)))
    }

    fn is_last(read: &Self::Read) -> bool {
        read.is_err()
    }
}
