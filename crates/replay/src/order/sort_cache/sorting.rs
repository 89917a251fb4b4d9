//! Sorting parts into the cache, before the first event.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use model::Clock as _;
use oracle_store::Part;

use super::blocks::{BlockReader, RECORD_HEAD};
use super::runs::{BlockWriter, RunBuffer, RunMerge, Written, fan_in};
use super::sorted_part::{Lock, SortedPart, finish, write_description};
use super::{Description, Look, SORTED, SortCache};
use crate::crew::Crew;
use crate::ending::Ending;
use crate::order::PartId;
use crate::order::part_readers::{PartReaders, PartReading, ReaderCrew};
use crate::{Error, ReasonCode};
use durable::Access;

/// How long a part waits before it looks again whether another process has sorted it.
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(20);
/// Rows that are merged in one step: some milliseconds.
const MERGE_STEP: u64 = 8_192;
/// How often the log says how far the sort is.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// How often whoever watches is told how far the sort is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How many parts are sorted at once: as many as there are cores, up to four.
pub(crate) fn sorters() -> usize {
    crate::order::feed::decoding_threads()
}

/// Bytes of rows that one part sorts in memory at once, within a memory budget for the process.
pub(crate) fn run_bytes(memory_budget: u64) -> usize {
    (memory_budget / 16).clamp(1 << 20, 16 << 20) as usize
}

/// The rows of one part in file order, framed.
pub(crate) trait RowsToSort: Send + 'static {
    /// Adds the next rows to a buffer; `false` at the end of the part.
    ///
    /// # Errors
    /// What reading says; a row that cannot be framed is added as such.
    fn add_to(&mut self, buffer: &mut RunBuffer) -> Result<bool, Error>;
}

/// Called with the rows that were sorted and all that are to be.
pub(crate) type TellSorted = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// One part to sort.
pub(crate) struct ToSort {
    pub(crate) id: PartId,
    pub(crate) part: Part,
    /// How many rows are to be sorted, about.
    pub(crate) rows: u64,
    /// How many rows the sorted part must have, where that is known.
    pub(crate) exact_rows: Option<u64>,
    pub(crate) description: Description,
}

/// What all sorters of a run share.
struct Shared {
    cache: SortCache,
    ending: Ending,
    run_bytes: usize,
    /// Rows of all parts to sort.
    rows: u64,
    /// Rows read, and rows merged: each row counts in both.
    moved: AtomicU64,
    read: AtomicU64,
    read_bytes: AtomicU64,
    told: Mutex<Told>,
    tell: TellSorted,
}

struct Told {
    at: Instant,
    logged: Instant,
}

impl Shared {
    fn count(&self, rows: u64) {
        let moved = self.moved.fetch_add(rows, Ordering::Relaxed) + rows;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = self.ending.clock();
        // A row that was read and merged is sorted.
        let sorted = (moved / 2).min(self.rows);
        if clock.since(told.at) >= TELL_EVERY {
            told.at = clock.now();
            (self.tell)(sorted, self.rows);
        }
        if clock.since(told.logged) >= LOG_EVERY {
            told.logged = clock.now();
            tracing::info!(
                rows = sorted,
                of = self.rows,
                "sorting parts into the cache"
            );
        }
    }

    /// Refuses what cannot fit, as soon as the first rows tell how large rows are.
    fn check_size(&self) -> Result<(), Error> {
        let rows = self.read.load(Ordering::Relaxed).max(1);
        let bytes = self.read_bytes.load(Ordering::Relaxed);
        let needed = bytes as f64 / rows as f64 * self.rows as f64;
        // Later rows may be smaller; where they are not, the limit itself refuses them.
        if needed * 0.8 > self.cache.limit as f64 {
            return Err(self.cache.too_small(needed as u64));
        }
        Ok(())
    }
}

/// Makes the rows of a part.
pub(crate) type OpenToSort = Arc<dyn Fn(PartId) -> Box<dyn RowsToSort> + Send + Sync>;

/// All parts that must be sorted before the first event.
pub(crate) struct SortPhase {
    readers: Option<PartReaders<Result<SortedPart, Error>>>,
    ids: Vec<PartId>,
    sorted: HashMap<PartId, SortedPart>,
    failure: Option<Error>,
    ending: Ending,
}

impl SortPhase {
    /// Opens what is sorted already, and begins to sort the rest.
    ///
    /// # Errors
    /// `SORT_CACHE_TOO_SMALL`, `SORT_CACHE_UNWRITABLE`; `STREAM_INTERNAL` if the system gives no
    /// thread.
    pub(crate) fn begin(
        cache: &SortCache,
        parts: Vec<ToSort>,
        open: OpenToSort,
        run_bytes: usize,
        (crew, ending): (&Crew, &Ending),
        tell: TellSorted,
    ) -> Result<Self, Error> {
        let mut phase = Self {
            readers: None,
            ids: Vec::new(),
            sorted: HashMap::new(),
            failure: None,
            ending: ending.clone(),
        };
        if parts.is_empty() {
            return Ok(phase);
        }
        cache.make_folder()?;
        let mut unsorted = Vec::new();
        for part in parts {
            // Before any is sorted: what is opened is not evicted for what is not.
            match cache.look(&part.description.digest(), part.exact_rows)? {
                Look::Found(sorted) => {
                    phase.sorted.insert(part.id, sorted);
                }
                Look::Absent | Look::Busy => unsorted.push(part),
            }
        }
        let rows: u64 = unsorted.iter().map(|part| part.rows).sum();
        tracing::info!(
            parts = unsorted.len(),
            rows,
            known = phase.sorted.len(),
            folder = %cache.folder.display(),
            "sorting parts that are not in time order"
        );
        if unsorted.is_empty() {
            return Ok(phase);
        }
        if rows.saturating_mul(RECORD_HEAD as u64) > cache.limit {
            return Err(cache.too_small(rows.saturating_mul(RECORD_HEAD as u64)));
        }
        let now = ending.clock().now();
        let shared = Arc::new(Shared {
            cache: cache.clone(),
            ending: ending.clone(),
            run_bytes,
            rows,
            moved: AtomicU64::new(0),
            read: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            told: Mutex::new(Told {
                at: now,
                logged: now,
            }),
            tell,
        });
        phase.ids = unsorted.iter().map(|part| part.id).collect();
        let by = ReaderCrew {
            crew,
            name: "wsp-sort",
            what: "parts to sort",
            readers: sorters(),
        };
        let files = unsorted.iter().map(|part| part.part.clone()).collect();
        let unsorted: HashMap<String, ToSort> = unsorted
            .into_iter()
            .map(|part| (part.part.path().to_owned(), part))
            .collect();
        let begin = move |part: &Part| {
            let part = &unsorted[part.path()];
            PartSorting::new(&shared, part, open(part.id))
        };
        phase.readers = Some(PartReaders::start(&by, files, ending, begin)?);
        Ok(phase)
    }

    /// The sorted parts, once all are; `Pending` while some are being sorted. Never waits.
    ///
    /// # Errors
    /// Why a part cannot be sorted; `STOPPED` once the stream winds down.
    pub(crate) fn poll(&mut self) -> Poll<Result<HashMap<PartId, SortedPart>, Error>> {
        while let Some(readers) = &mut self.readers {
            match readers.poll() {
                Poll::Ready(Some((place, Ok(sorted)))) => {
                    self.sorted.insert(self.ids[place], sorted);
                }
                Poll::Ready(Some((_, Err(failure)))) => {
                    self.failure.get_or_insert(failure);
                }
                Poll::Ready(None) => self.readers = None,
                Poll::Pending if self.ending.is_winding_down() => {
                    self.failure.get_or_insert_with(stopped);
                    self.readers = None;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        Poll::Ready(Ok(std::mem::take(&mut self.sorted)))
    }
}

/// Sorts one part on the calling thread. Blocks.
pub(crate) fn sort_now(
    cache: &SortCache,
    part: &ToSort,
    rows: Box<dyn RowsToSort>,
    run_bytes: usize,
    ending: &Ending,
) -> Result<SortedPart, Error> {
    cache.make_folder()?;
    let now = ending.clock().now();
    let shared = Arc::new(Shared {
        cache: cache.clone(),
        ending: ending.clone(),
        run_bytes,
        rows: part.rows,
        moved: AtomicU64::new(0),
        read: AtomicU64::new(0),
        read_bytes: AtomicU64::new(0),
        told: Mutex::new(Told {
            at: now,
            logged: now,
        }),
        tell: Arc::new(|_, _| {}),
    });
    let mut sorting = PartSorting::new(&shared, part, rows);
    loop {
        if let Poll::Ready(sorted) = sorting.step() {
            return sorted;
        }
    }
}

fn stopped() -> Error {
    let what = "The stream was stopped while it sorted parts";
    Error::new(
        ReasonCode::Stopped,
        what,
        "A rerun sorts what is not sorted yet.",
    )
}

/// One part being sorted, in steps.
pub(crate) struct PartSorting {
    shared: Arc<Shared>,
    part: Part,
    rows: Option<u64>,
    description: Description,
    digest: String,
    source: Box<dyn RowsToSort>,
    stage: Stage,
}

enum Stage {
    /// Until it is sorted, or the lock is had.
    Looking,
    Reading(Building, RunBuffer),
    Merging(Building, Box<Merging>),
}

/// What a builder has on the disk; dropping it removes that.
struct Building {
    cache: SortCache,
    runs: Vec<Run>,
    /// All files that were begun.
    begun: Vec<PathBuf>,
    _lock: Lock,
}

struct Run {
    path: PathBuf,
    end: u64,
    largest: usize,
}

impl Drop for Building {
    fn drop(&mut self) {
        for path in &self.begun {
            // It may have been renamed or removed.
            let _ = self.cache.disk.remove(path);
        }
        self.cache.recount();
    }
}

struct Merging {
    merge: RunMerge,
    path: PathBuf,
    merged: usize,
    /// Where the rows of the final file begin; `None` for a run of runs.
    data: Option<u64>,
}

impl PartSorting {
    fn new(shared: &Arc<Shared>, part: &ToSort, source: Box<dyn RowsToSort>) -> Self {
        Self {
            shared: Arc::clone(shared),
            part: part.part.clone(),
            rows: part.exact_rows,
            description: part.description.clone(),
            digest: part.description.digest(),
            source,
            stage: Stage::Looking,
        }
    }

    fn look(&mut self) -> Result<Option<SortedPart>, Error> {
        let cache = &self.shared.cache;
        if let Look::Found(sorted) = cache.look(&self.digest, self.rows)? {
            return Ok(Some(sorted));
        }
        let lock = cache.disk.try_lock(&cache.lock_path(&self.digest));
        let lock = lock.map_err(|error| cache.unwritable("cannot be locked", error))?;
        let Some(lock) = lock else {
            // Another process sorts this part: it will be found when it is done.
            thread::park_timeout(WAIT_FOR_OTHERS);
            return Ok(None);
        };
        let path = cache.path(&self.digest, SORTED);
        let mut is_there = false;
        if let Ok(file) = cache.disk.open(&path) {
            is_there = SortedPart::open(&*cache.disk, &path, Box::new(()), self.rows).is_ok();
            drop(file);
        }
        if is_there {
            return Ok(None);
        }
        let swept = cache.sweep(&self.digest);
        swept.map_err(|error| cache.unwritable("cannot be cleared", error))?;
        let building = Building {
            cache: cache.clone(),
            runs: Vec::new(),
            begun: Vec::new(),
            _lock: lock,
        };
        self.stage = Stage::Reading(building, RunBuffer::default());
        Ok(None)
    }

    /// Goes on by one step; the sorted part once there is one.
    fn go_on(&mut self) -> Result<Option<SortedPart>, Error> {
        if self.shared.ending.is_winding_down() {
            return Err(stopped());
        }
        match std::mem::replace(&mut self.stage, Stage::Looking) {
            Stage::Looking => self.look(),
            Stage::Reading(building, buffer) => self.read(building, buffer),
            Stage::Merging(building, merging) => self.merge(building, merging),
        }
    }

    fn read(
        &mut self,
        mut building: Building,
        mut buffer: RunBuffer,
    ) -> Result<Option<SortedPart>, Error> {
        let before = (buffer.len() as u64, buffer.file_bytes());
        let goes_on = self.source.add_to(&mut buffer)?;
        let added = buffer.len() as u64 - before.0;
        let shared = &self.shared;
        shared.read.fetch_add(added, Ordering::Relaxed);
        let bytes = buffer.file_bytes() - before.1;
        shared.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        shared.count(added);
        if goes_on && buffer.bytes() < shared.run_bytes {
            self.stage = Stage::Reading(building, buffer);
            return Ok(None);
        }
        shared.check_size()?;
        if !goes_on && building.runs.is_empty() {
            // All of it fits: nothing is left to merge.
            let (mut blocks, path, data) = self.begin_final(&mut building)?;
            shared.cache.take(buffer.file_bytes())?;
            let rows = buffer.len() as u64;
            let cache = &shared.cache;
            let written = buffer
                .drain_into(&mut blocks)
                .and_then(|()| blocks.finish());
            let written = written.map_err(|error| cache.unwritable("cannot be written", error))?;
            shared.count(rows);
            return self.publish(&mut building, &path, &written, data);
        }
        if buffer.len() > 0 {
            self.write_run(&mut building, &mut buffer)?;
        }
        self.stage = if goes_on {
            Stage::Reading(building, buffer)
        } else {
            drop(buffer);
            let merging = self.begin_merge(&mut building)?;
            Stage::Merging(building, merging)
        };
        Ok(None)
    }

    fn begin_file(
        &self,
        building: &mut Building,
        kind: &str,
    ) -> Result<(BlockWriter, PathBuf), Error> {
        let cache = &self.shared.cache;
        let path = cache.path(&self.digest, kind);
        building.begun.push(path.clone());
        let file = cache.disk.open_to_append(&path, Access::OwnerOnly);
        let file = file.map_err(|error| cache.unwritable("cannot be written", error))?;
        Ok((BlockWriter::new(file, 0), path))
    }

    fn begin_final(&self, building: &mut Building) -> Result<(BlockWriter, PathBuf, u64), Error> {
        let cache = &self.shared.cache;
        let path = cache.path(&self.digest, "tmp");
        building.begun.push(path.clone());
        let file = cache.disk.open_to_append(&path, Access::OwnerOnly);
        let begun = file.and_then(|file| {
            let data = write_description(&*file, &self.description.text())?;
            Ok((BlockWriter::new(file, data), data))
        });
        let (blocks, data) = begun.map_err(|error| cache.unwritable("cannot be written", error))?;
        Ok((blocks, path, data))
    }

    fn write_run(&self, building: &mut Building, buffer: &mut RunBuffer) -> Result<(), Error> {
        let cache = &self.shared.cache;
        cache.take(buffer.file_bytes())?;
        let kind = format!("{}.run", building.begun.len());
        let (mut blocks, path) = self.begin_file(building, &kind)?;
        let written = buffer
            .drain_into(&mut blocks)
            .and_then(|()| blocks.finish());
        let written = written.map_err(|error| cache.unwritable("cannot be written", error))?;
        building.runs.push(Run {
            path,
            end: written.end,
            largest: written.largest,
        });
        Ok(())
    }

    /// Begins to merge as many runs as memory allows: all of them into the final file, or some into
    /// a run.
    fn begin_merge(&self, building: &mut Building) -> Result<Box<Merging>, Error> {
        let cache = &self.shared.cache;
        let merged = fan_in(building.runs.iter().map(|run| run.largest));
        let merged = merged.min(building.runs.len());
        cache.take(building.runs[..merged].iter().map(|run| run.end).sum())?;
        let (blocks, path, data) = if merged == building.runs.len() {
            let (blocks, path, data) = self.begin_final(building)?;
            (blocks, path, Some(data))
        } else {
            let kind = format!("{}.run", building.begun.len());
            let (blocks, path) = self.begin_file(building, &kind)?;
            (blocks, path, None)
        };
        let runs = building.runs[..merged].iter().map(|run| {
            let file = cache.disk.open(&run.path)?;
            Ok(BlockReader::new(file, 0, run.end))
        });
        let merge = runs
            .collect::<std::io::Result<Vec<_>>>()
            .and_then(|runs| RunMerge::new(runs, blocks));
        let merge = merge.map_err(|error| cache.unwritable("cannot be read", error))?;
        Ok(Box::new(Merging {
            merge,
            path,
            merged,
            data,
        }))
    }

    fn merge(
        &mut self,
        mut building: Building,
        mut merging: Box<Merging>,
    ) -> Result<Option<SortedPart>, Error> {
        let shared = Arc::clone(&self.shared);
        let moved = merging.merge.step(MERGE_STEP);
        let moved = moved.map_err(|error| shared.cache.unwritable("cannot be merged", error))?;
        if merging.data.is_some() {
            shared.count(moved);
        }
        if moved == MERGE_STEP {
            self.stage = Stage::Merging(building, merging);
            return Ok(None);
        }
        let Merging {
            merge,
            path,
            merged,
            data,
        } = *merging;
        let written = merge.blocks.finish();
        let written = written.map_err(|e| shared.cache.unwritable("cannot be written", e))?;
        if let Some(data) = data {
            return self.publish(&mut building, &path, &written, data);
        }
        for run in building.runs.drain(..merged) {
            let removed = shared.cache.disk.remove(&run.path);
            removed.map_err(|error| shared.cache.unwritable("cannot be cleared", error))?;
        }
        shared.cache.recount();
        building.runs.push(Run {
            path,
            end: written.end,
            largest: written.largest,
        });
        let merging = self.begin_merge(&mut building)?;
        self.stage = Stage::Merging(building, merging);
        Ok(None)
    }

    /// Gives the finished file its name, under the lock; the next step opens it as any reader does.
    fn publish(
        &self,
        building: &mut Building,
        path: &std::path::Path,
        written: &Written,
        data: u64,
    ) -> Result<Option<SortedPart>, Error> {
        let cache = &self.shared.cache;
        if let Some(rows) = self.rows.filter(|&rows| rows != written.rows) {
            // The part has changed behind its pin.
            return Err(Error::new(
                ReasonCode::EventTimeDisorder,
                format!(
                    "{} had {} rows when its times were read, and {} when it was sorted",
                    self.part.path(),
                    rows,
                    written.rows
                ),
                "Nothing may change a world while it is read: see what wrote to it.",
            ));
        }
        let disk = &cache.disk;
        let published = finish(written, data)
            .and_then(|()| disk.rename(path, &cache.path(&self.digest, SORTED)))
            .and_then(|()| disk.sync_dir(&cache.folder));
        published.map_err(|error| cache.unwritable("cannot be written", error))?;
        building.begun.retain(|begun| begun != path);
        Ok(None)
    }
}

impl PartReading for PartSorting {
    type Read = Result<SortedPart, Error>;

    fn step(&mut self) -> Poll<Self::Read> {
        match self.go_on() {
            Ok(None) => Poll::Pending,
            Ok(Some(sorted)) => Poll::Ready(Ok(sorted)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn is_last(read: &Self::Read) -> bool {
        read.is_err()
    }
}
