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

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use oracle_store::{Part, ReadOptions, WorldStore, read_column};

pub use cache::TimeIndexCache;
pub use part_times::{Disorder, PartTimes, SEEK_ROWS, TimeRow, TimeScan};

use model::{Clock as _, SharedClock};

use crate::ending::Ending;
use crate::{Error, ReasonCode};

/// The column that holds the event time.
pub(crate) const TIME_COLUMN: &str = "ts_utc";
/// Rows of a time column decoded at once.
const BATCH_ROWS: usize = 8_192;
/// How often a caller that waits for times looks whether the stream winds down.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Says when the rows of a world's parts come.
#[derive(Debug)]
pub struct TimeIndex {
    store: WorldStore,
    cache: TimeIndexCache,
    readers: usize,
}

impl TimeIndex {
    /// An index over the parts of a store, read by so many threads.
    pub fn new(store: WorldStore, cache: TimeIndexCache, readers: usize) -> Self {
        Self {
            store,
            cache,
            readers,
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
        let unknown: Vec<&Part> = parts
            .iter()
            .copied()
            .filter(|part| self.cache.get(part).is_none())
            .collect();
        if !unknown.is_empty() {
            tracing::info!(
                parts = unknown.len(),
                known = parts.len() - unknown.len(),
                "reading time columns"
            );
            let reading = self.read(&unknown, ending)?;
            // Also what was learnt before a failure: the next run need not read it again.
            self.cache.keep(reading.learnt);
            if let Some((_, failure)) = reading.failure {
                return Err(failure);
            }
        }
        let times: Option<Vec<_>> = parts.iter().map(|part| self.cache.get(part)).collect();
        times.ok_or_else(|| {
            let what = "The time index lost a part that it had just read";
            Error::new(
                ReasonCode::StreamInternal,
                what,
                "Report this; nothing was sent.",
            )
        })
    }

    /// Reads time columns until the last, or until one cannot be read. Threads take parts in
    /// their order, so whatever stands before the first failure has been read. They are waited
    /// for only while the stream goes on: a read of theirs may hang.
    fn read<'a>(&self, parts: &[&'a Part], ending: &Ending) -> Result<Reading<'a>, Error> {
        let (read, answers) = mpsc::channel();
        let shared = Arc::new(Unread {
            store: self.store.clone(),
            parts: parts.iter().map(|&part| part.clone()).collect(),
            next: AtomicUsize::new(0),
            ending: ending.clone(),
        });
        for reader in 0..self.readers.clamp(1, parts.len().max(1)) {
            let (unread, read) = (Arc::clone(&shared), read.clone());
            let thread = thread::Builder::new().name(format!("wsp-times-{reader}"));
            match thread.spawn(move || unread.read_on(&read)) {
                Ok(_) => {}
                Err(error) if reader == 0 => {
                    let what = "The system gave no thread to read time columns on";
                    return Err(Error::no_thread(what, error));
                }
                Err(error) => {
                    tracing::warn!(%error, "time columns are read by fewer threads");
                    break;
                }
            }
        }
        drop(read);
        let mut reading = Reading::new(ending.clock());
        loop {
            match answers.recv_timeout(LOOK_AROUND) {
                Ok((place, times)) => reading.take(place, parts[place], times, parts.len()),
                Err(RecvTimeoutError::Disconnected) => return Ok(reading),
                Err(RecvTimeoutError::Timeout) if ending.is_winding_down() => {
                    reading.failure = Some((0, stopped()));
                    return Ok(reading);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// Parts whose time columns are read by several threads.
struct Unread {
    store: WorldStore,
    parts: Vec<Part>,
    next: AtomicUsize,
    ending: Ending,
}

impl Unread {
    /// Reads one part after the other, until none is left, one fails, or nobody waits.
    fn read_on(&self, read: &Sender<(usize, Result<PartTimes, Error>)>) {
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = self.parts.get(place) else {
                return;
            };
            let times = read_times(&self.store, part, &self.ending);
            if times.is_err() {
                self.next.store(self.parts.len(), Ordering::Relaxed);
            }
            if read.send((place, times)).is_err() {
                return;
            }
        }
    }
}

/// What several threads have read so far.
struct Reading<'a> {
    learnt: Vec<(&'a Part, Arc<PartTimes>)>,
    /// The place in the list of the first part that cannot be read, and why.
    failure: Option<(usize, Error)>,
    told: Instant,
    clock: SharedClock,
}

impl<'a> Reading<'a> {
    fn new(clock: &SharedClock) -> Self {
        Self {
            learnt: Vec::new(),
            failure: None,
            told: clock.now(),
            clock: clock.clone(),
        }
    }

    fn take(&mut self, place: usize, part: &'a Part, times: Result<PartTimes, Error>, of: usize) {
        match times {
            Ok(times) => self.learnt.push((part, Arc::new(times))),
            Err(error)
                if self
                    .failure
                    .as_ref()
                    .is_none_or(|(first, _)| place < *first) =>
            {
                self.failure = Some((place, error));
            }
            Err(_) => {}
        }
        if self.clock.since(self.told) >= TELL_EVERY {
            tracing::info!(read = self.learnt.len(), of, "reading time columns");
            self.told = self.clock.now();
        }
    }
}

fn stopped() -> Error {
    let what = "The stream was stopped while it read time columns";
    Error::new(ReasonCode::Stopped, what, "A rerun goes on.")
}

/// Reads the whole time column of a part.
pub(crate) fn read_times(
    store: &WorldStore,
    part: &Part,
    ending: &Ending,
) -> Result<PartTimes, Error> {
    let options = ReadOptions {
        from_row: 0,
        batch_rows: BATCH_ROWS,
    };
    let columns = read_column(store, part, TIME_COLUMN, &options)?;
    let mut scan = TimeScan::new(columns.read_bytes().unwrap_or_default());
    for column in columns {
        if ending.is_winding_down() {
            return Err(stopped());
        }
        let (first_row, values) = column?;
        let times = envelope::event_times(part.path(), first_row, &values);
        scan.push(&times.map_err(|bad| Error::Envelope(bad.into()))?);
    }
    Ok(scan.finish())
}
