//! The time index: when the rows of each part come.
//!
//! The event-time order opens a part when its first row is due, and for that it must
//! know when that is. Footer statistics cannot say: they are absent from JSON lines,
//! and texts of mixed forms do not sort as the times they mean. So a part's whole
//! time column is read before its first row enters the merge, once: what it said is
//! kept in a cache beside the run's other files ([`TimeIndexCache`]), and a later run
//! reads only the parts that it does not know.
//!
//! A time column alone is decoded many times faster than rows are framed, on all
//! cores: reading it for a whole world costs about a hundredth of streaming the world.

mod cache;
mod part_times;

use std::mem;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use envelope::EventTime;
use oracle_store::{ColumnReader, Part, ReadOptions, WorldStore, footer, read_column};

pub use cache::TimeIndexCache;
use part_times::TimeScan;
pub use part_times::{Disorder, PartTimes, SEEK_ROWS, TimeRow};

use model::Clock as _;

use super::part_readers::{PartReaders, PartReading, ReaderCrew};
use crate::crew::Crew;
use crate::ending::Ending;
use crate::{Error, ReasonCode};

/// Rows of a time column decoded at once.
const BATCH_ROWS: usize = 8_192;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Says when the rows of a world's parts come.
#[derive(Debug)]
pub struct TimeIndex {
    store: WorldStore,
    cache: TimeIndexCache,
    readers: usize,
    crew: Crew,
}

impl TimeIndex {
    /// An index over the parts of a store, read by so many threads.
    pub fn new(store: WorldStore, cache: TimeIndexCache, readers: usize) -> Self {
        Self {
            store,
            cache,
            readers,
            crew: Crew::default(),
        }
    }

    /// The store of the parts.
    pub fn store(&self) -> &WorldStore {
        &self.store
    }

    /// The same index, which keeps nothing for later runs.
    #[must_use]
    pub fn without_keeping(self) -> Self {
        Self {
            cache: self.cache.without_keeping(),
            ..self
        }
    }

    /// Has the workers of `crew` read; without it, threads of the system do.
    #[must_use]
    pub fn by_crew(mut self, crew: Crew) -> Self {
        self.crew = crew;
        self
    }

    /// When the rows of each part come: what is known is looked up, the rest is read, and
    /// kept for later runs. Blocks.
    ///
    /// # Errors
    /// `MISSING_EVENT_TIME`, `EVENT_TIME_INVALID`, `ORACLE_READ_FAILED` of the first part,
    /// in the order given, whose times cannot be read; `STOPPED` once the stream winds down.
    pub fn learn(
        &mut self,
        parts: &[&Part],
        ending: &Ending,
    ) -> Result<Vec<Arc<PartTimes>>, Error> {
        let mut learning = self.begin(parts, ending)?;
        loop {
            match learning.poll(self, parts) {
                Poll::Ready(learnt) => return learnt,
                Poll::Pending => learning.wait(),
            }
        }
    }

    /// Begins to learn when the rows of each part come.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread.
    pub(crate) fn begin(&self, parts: &[&Part], ending: &Ending) -> Result<Learning, Error> {
        let unknown = parts.iter().copied();
        let unknown = unknown.filter(|part| self.cache.get(part).is_none());
        let unknown: Vec<Part> = unknown.cloned().collect();
        let readers = if unknown.is_empty() {
            None
        } else {
            tracing::info!(
                parts = unknown.len(),
                known = parts.len() - unknown.len(),
                "reading time columns"
            );
            let by = ReaderCrew {
                crew: &self.crew,
                name: "wsp-times",
                what: "time columns",
                readers: self.readers,
            };
            let (store, until) = (self.store.clone(), ending.clone());
            let begin = move |part: &Part| TimesReading::new(&store, part, &until);
            Some(PartReaders::start(&by, unknown.clone(), ending, begin)?)
        };
        Ok(Learning {
            unknown,
            readers,
            learnt: Vec::new(),
            failure: None,
            told: ending.clock().now(),
            ending: ending.clone(),
        })
    }
}

/// What is learnt of parts, while it is.
#[derive(Debug)]
pub(crate) struct Learning {
    unknown: Vec<Part>,
    /// Absent where all parts are known.
    readers: Option<PartReaders<Result<PartTimes, Error>>>,
    learnt: Vec<(Part, Arc<PartTimes>)>,
    /// The place in the list of the first part that cannot be read, and why.
    failure: Option<(usize, Error)>,
    told: Instant,
    ending: Ending,
}

impl Learning {
    /// The times of `parts`, once all are known; `Pending` while some are being read. Never waits.
    /// Readers take parts in their order, so whatever stands before the first failure has been
    /// read. They are waited for only while the stream goes on: a read may hang.
    pub(crate) fn poll(
        &mut self,
        index: &mut TimeIndex,
        parts: &[&Part],
    ) -> Poll<Result<Vec<Arc<PartTimes>>, Error>> {
        while let Some(readers) = &mut self.readers {
            match readers.poll() {
                Poll::Ready(Some((place, times))) => self.take(place, times),
                Poll::Ready(None) => self.readers = None,
                Poll::Pending if self.ending.is_winding_down() => {
                    self.failure = Some((0, stopped()));
                    self.readers = None;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.unknown.is_empty() {
            // Also what was learnt before a failure: the next run need not read it again.
            let learnt = mem::take(&mut self.learnt);
            let learnt = learnt.iter().map(|(part, times)| (part, Arc::clone(times)));
            index.cache.keep(learnt);
        }
        if let Some((_, failure)) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        let times: Option<Vec<_>> = parts.iter().map(|part| index.cache.get(part)).collect();
        Poll::Ready(times.ok_or_else(|| {
            let what = "The time index lost a part that it had just read";
            Error::new(
                ReasonCode::StreamInternal,
                what,
                "Report this; nothing was sent.",
            )
        }))
    }

    /// Blocks until there is something to poll, or for a moment.
    pub(crate) fn wait(&mut self) {
        if let Some(readers) = &mut self.readers {
            readers.wait();
        }
    }

    fn take(&mut self, place: usize, times: Result<PartTimes, Error>) {
        match times {
            Ok(times) => {
                let part = self.unknown[place].clone();
                self.learnt.push((part, Arc::new(times)));
            }
            Err(error) => {
                let first = self.failure.as_ref().map(|(first, _)| *first);
                if first.is_none_or(|first| place < first) {
                    self.failure = Some((place, error));
                }
            }
        }
        let clock = self.ending.clock();
        if clock.since(self.told) >= TELL_EVERY {
            let (read, of) = (self.learnt.len(), self.unknown.len());
            tracing::info!(read, of, "reading time columns");
            self.told = clock.now();
        }
    }
}

/// The time that one row of a part is ordered by; `None` if the part has no such row. Blocks.
///
/// # Errors
/// `MISSING_EVENT_TIME`, `EVENT_TIME_INVALID`, `ORACLE_READ_FAILED`.
pub fn time_of_row(store: &WorldStore, part: &Part, row: u64) -> Result<Option<EventTime>, Error> {
    if footer(store, part)?.rows.is_some_and(|rows| row >= rows) {
        return Ok(None);
    }
    let options = ReadOptions {
        from_row: row,
        batch_rows: 1,
    };
    let name = part.time_column();
    let Some(column) = read_column(store, part, name, &options)?.next() else {
        return Ok(None);
    };
    let (first_row, values) = column?;
    let times = envelope::event_times(part.path(), first_row, name, &values);
    let times = times.map_err(|bad| Error::Envelope(bad.into()))?;
    Ok(ordering_times(part, times).first().copied())
}

/// The times that the rows of a part are ordered by, of their event times.
pub(crate) fn ordering_times(part: &Part, mut times: Vec<EventTime>) -> Vec<EventTime> {
    if part.is_view() {
        for time in &mut times {
            *time = time.in_whole_micros();
        }
    }
    times
}

fn stopped() -> Error {
    let what = "The stream was stopped while it read time columns";
    Error::new(ReasonCode::Stopped, what, "A rerun goes on.")
}

/// Reads the whole time column of a part. Blocks.
pub(crate) fn read_times(
    store: &WorldStore,
    part: &Part,
    ending: &Ending,
) -> Result<PartTimes, Error> {
    let mut reading = TimesReading::new(store, part, ending);
    loop {
        if let Poll::Ready(times) = reading.step() {
            return times;
        }
    }
}

/// The time column of one part, read a batch of rows a step.
struct TimesReading {
    store: WorldStore,
    part: Part,
    ending: Ending,
    /// Present once the part is open.
    open: Option<(ColumnReader, TimeScan)>,
}

impl TimesReading {
    fn new(store: &WorldStore, part: &Part, ending: &Ending) -> Self {
        Self {
            store: store.clone(),
            part: part.clone(),
            ending: ending.clone(),
            open: None,
        }
    }

    /// Reads the next batch; `false` at the end of the column.
    fn read_on(&mut self) -> Result<bool, Error> {
        let (columns, scan) = match &mut self.open {
            Some(open) => open,
            none => {
                let options = ReadOptions {
                    from_row: 0,
                    batch_rows: BATCH_ROWS,
                };
                let columns =
                    read_column(&self.store, &self.part, self.part.time_column(), &options)?;
                let scan = TimeScan::new(columns.read_bytes().unwrap_or_default());
                none.insert((columns, scan))
            }
        };
        let Some(column) = columns.next() else {
            return Ok(false);
        };
        if self.ending.is_winding_down() {
            return Err(stopped());
        }
        let (first_row, values) = column?;
        let name = self.part.time_column();
        let times = envelope::event_times(self.part.path(), first_row, name, &values);
        let times = times.map_err(|bad| Error::Envelope(bad.into()))?;
        scan.push(&ordering_times(&self.part, times));
        Ok(true)
    }
}

impl PartReading for TimesReading {
    type Read = Result<PartTimes, Error>;

    fn step(&mut self) -> Poll<Self::Read> {
        match self.read_on() {
            Ok(true) => Poll::Pending,
            Ok(false) => {
                let scan = self.open.take().map(|(_, scan)| scan);
                Poll::Ready(Ok(scan.unwrap_or_else(|| TimeScan::new(0)).finish()))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn is_last(read: &Self::Read) -> bool {
        read.is_err()
    }
}
