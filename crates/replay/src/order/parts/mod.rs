//! Parts as feeds: each opened, decoded and framed on a worker's thread.

mod time_sorted;
mod file_order;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use arrow_array::RecordBatch;
use envelope::{BadRow, EventTime, FrameSpec, FramedBatch, Framer, ShardFilter};
use model::Shard;
use oracle_store::{
    HeldMemory, KeepRows, Part, ReadGrant, ReadMemory, ReadOptions, RowBatch, RowNumbers,
    RowReader, Rows, open_rows, open_wanted_rows,
};

use crate::Error;
use crate::crew::Crew;
use crate::ending::Ending;
use crate::order::chunk_budget::{ChunkBudget, ChunkShare};
use crate::order::done_before::DoneBefore;
use crate::order::feed::{FeedPool, PartFeed};
use crate::order::part_proofs::PartProofs;
use crate::order::sort_cache::{
    Description, RowsToSort, SortCache, SortPhase, SortedPart, TellSorted, ToSort, run_bytes,
};
use crate::order::time_index::ordering_times;
use crate::order::{OpenPart, PartId, PartSpan, PartStart};
use crate::place::NamePosition;
use crate::place::Position;

use file_order::FileOrder;
use time_sorted::{RowsOfPart, TimeSorted};

/// The most rows decoded at once: a column's values stay in cache, and the cost of a
/// batch is small beside them.
const BATCH_ROWS: usize = 1_024;
/// A framed event, about, before the first one is seen.
const EVENT_BYTES: usize = 1 << 10;

/// What it takes to read and frame one output.
#[derive(Debug)]
pub struct OutputSource {
    /// The grant to read the output's rows.
    pub grant: ReadGrant,
    /// How the output's rows are framed.
    pub spec: FrameSpec,
    /// The output's parts in name order.
    pub parts: Vec<Part>,
}

/// Proves a part to be what evidence says, before its first row is used. Called by the threads
/// that decode, which may block.
pub trait ProvePart: Send + Sync + std::fmt::Debug {
    /// Checks one part.
    ///
    /// # Errors
    /// `DATA_MISMATCH`, `ORACLE_READ_FAILED`.
    fn prove(&self, part: &Part) -> Result<(), Error>;
}

/// All parts of a stream, cleared to be read.
#[derive(Debug)]
pub struct ClearedParts {
    outputs: Vec<OutputSource>,
    data: Arc<dyn ProvePart>,
    memory: ReadMemory,
    proofs: PartProofs,
    shard: Shard,
    /// Whether a part is hashed when it is opened, and until when.
    hashing: Option<Ending>,
}

impl ClearedParts {
    /// The parts of some outputs, in list order, each under its grant; readers share `memory`.
    pub fn new(
        outputs: Vec<OutputSource>,
        data: Arc<dyn ProvePart>,
        memory: ReadMemory,
        proofs: PartProofs,
    ) -> Self {
        Self {
            outputs,
            data,
            memory,
            proofs,
            shard: Shard::WHOLE,
            hashing: None,
        }
    }

    /// The same parts, of which only the rows of a shard are read.
    #[must_use]
    pub fn of_shard(mut self, shard: Shard) -> Self {
        self.shard = shard;
        self
    }

    /// The same parts, each hashed when it is opened: for a run that knows nothing of them
    /// beforehand.
    #[must_use]
    pub fn hashed(mut self, ending: &Ending) -> Self {
        self.hashing = Some(ending.clone());
        self
    }

    fn part(&self, id: PartId) -> (&OutputSource, &Part) {
        let output = &self.outputs[id.output];
        (output, &output.parts[id.part as usize])
    }
}

impl NamePosition for ClearedParts {
    fn name(&self, output: usize, position: &Position) -> String {
        let output = &self.outputs[output];
        format!(
            "row {} of {} (output {})",
            position.row,
            output.parts[position.part as usize].path(),
            output.spec.output_id
        )
    }
}

/// Opens the parts of a plan as feeds of a pool.
pub struct PartOpener {
    parts: Arc<ClearedParts>,
    pool: FeedPool,
    budget: ChunkBudget,
    cache: SortCache,
    run_bytes: usize,
    crew: Crew,
    tell: TellSorted,
    sorting: Mutex<Option<SortPhase>>,
    sorted: Mutex<HashMap<PartId, SortedPart>>,
    done_before: Option<Arc<DoneBefore>>,
}

impl PartOpener {
    /// Opens `parts` as feeds of `pool`. Parts that are not in time order are sorted into `cache`,
    /// in a share of `memory_budget` bytes.
    pub fn new(
        parts: Arc<ClearedParts>,
        pool: FeedPool,
        cache: SortCache,
        memory_budget: u64,
    ) -> Self {
        Self {
            parts,
            pool,
            budget: ChunkBudget::default(),
            cache,
            run_bytes: run_bytes(memory_budget),
            crew: Crew::default(),
            tell: Arc::new(|_, _| {}),
            sorting: Mutex::default(),
            sorted: Mutex::default(),
            done_before: None,
        }
    }

    /// Passes over events that were done under another division into shards.
    #[must_use]
    pub fn behind(mut self, done_before: Option<DoneBefore>) -> Self {
        self.done_before = done_before.map(Arc::new);
        self
    }

    /// Has the workers of `crew` sort; without it, threads of the system do.
    #[must_use]
    pub fn by_crew(mut self, crew: Crew) -> Self {
        self.crew = crew;
        self
    }

    /// Sorts so many bytes of rows of a part in memory at once, whatever memory there is.
    #[must_use]
    pub fn sorting_at_once(mut self, run_bytes: usize) -> Self {
        self.run_bytes = run_bytes;
        self
    }

    /// Calls `tell` while parts are sorted, a few times a second, with the rows that are and all
    /// that are to be.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.tell = Arc::new(tell);
        self
    }

    fn to_sort(&self, id: PartId, rows: u64) -> ToSort {
        let (output, part) = self.parts.part(id);
        let identity = output.spec.identity_digest();
        let shard = self.parts.shard;
        let description = Description::new(self.parts.proofs.location(), part, &identity);
        ToSort {
            id,
            part: part.clone(),
            // How many rows a shard has is known when they are read.
            rows: rows.div_ceil(u64::from(shard.count())),
            exact_rows: shard.is_whole().then_some(rows),
            description: description.of_shard(shard),
        }
    }

    fn begin_sorting(&self, spans: &[PartSpan]) -> Result<SortPhase, Error> {
        let parts = spans.iter().filter_map(|span| match span.start {
            PartStart::Sorted { .. } => Some(self.to_sort(span.part, span.rows)),
            _ => None,
        });
        let (cleared, budget) = (Arc::clone(&self.parts), self.budget.clone());
        let ending = self.pool.ending().clone();
        let open = move |part| {
            let rows = OpenRows {
                parts: Arc::clone(&cleared),
                part,
                share: budget.share(),
                ending: ending.clone(),
                budget: budget.clone(),
            };
            Box::new(RowsOfPart::new(rows)) as Box<dyn RowsToSort>
        };
        let by = (&self.crew, self.pool.ending());
        let tell = Arc::clone(&self.tell);
        SortPhase::begin(
            &self.cache,
            parts.collect(),
            Arc::new(open),
            self.run_bytes,
            by,
            tell,
        )
    }
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenPart for PartOpener {
    fn open(&self, part: PartId, start: PartStart) -> PartFeed {
        let rows = OpenRows {
            parts: Arc::clone(&self.parts),
            part,
            share: self.budget.share(),
            ending: self.pool.ending().clone(),
            budget: self.budget.clone(),
        };
        let feed = self.pool.open(match start {
            PartStart::Row(row) => Box::new(FileOrder::new(rows, row, None)),
            PartStart::Time { seek_row, from } => {
                Box::new(FileOrder::new(rows, seek_row, Some(from)))
            }
            PartStart::Sorted {
                from,
                rows: rows_of_part,
                ..
            } => {
                let sorted = locked(&self.sorted).remove(&part);
                let to_sort = self.to_sort(part, rows_of_part);
                let cache = (self.cache.clone(), self.run_bytes);
                Box::new(TimeSorted::new(rows, from, cache, to_sort, sorted))
            }
        });
        feed.behind(self.done_before.clone())
    }

    fn poll_sorted(&self, spans: &[PartSpan]) -> Poll<Result<(), Error>> {
        let mut sorting = locked(&self.sorting);
        let phase = match &mut *sorting {
            Some(phase) => phase,
            none => none.insert(self.begin_sorting(spans)?),
        };
        *locked(&self.sorted) = ready!(phase.poll())?;
        Poll::Ready(Ok(()))
    }
}

/// What it takes to make chunks of one part.
struct OpenRows {
    parts: Arc<ClearedParts>,
    part: PartId,
    share: ChunkShare,
    ending: Ending,
    budget: ChunkBudget,
}

impl OpenRows {
    fn part(&self) -> &Part {
        self.parts.part(self.part).1
    }

    /// The same rows, to be read from the beginning.
    fn again(&self) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
            part: self.part,
            share: self.budget.share(),
            ending: self.ending.clone(),
            budget: self.budget.clone(),
        }
    }

    fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Sees that the grant is of the part's output, and proves the part to be what was packed.
    fn prove(&self) -> Result<(), Error> {
        let (output, part) = self.parts.part(self.part);
        output.grant.check(part)?;
        self.parts.data.prove(part)
    }

    /// Opens the shard's rows of the part from a row on, once the part is proven to be what was
    /// packed; `None` if the shard has no row of the output.
    fn open(&self, from_row: u64) -> Result<Option<RowReader>, Error> {
        let (output, part) = self.parts.part(self.part);
        self.parts.data.prove(part)?;
        if let Some(ending) = &self.parts.hashing {
            self.parts.proofs.hash(part, ending);
        }
        // No more than a chunk's: decoded rows that wait would take as much again.
        let batch_rows = (self.share.bytes() / EVENT_BYTES).min(BATCH_ROWS);
        let options = ReadOptions {
            from_row,
            batch_rows,
        };
        let shard = self.parts.shard;
        let reader = if shard.is_whole() {
            open_rows(&output.grant, part, &options)
        } else {
            let filter = ShardFilter::new(&output.spec, shard).map_err(Error::Envelope)?;
            if !filter.takes_any() {
                return Ok(None);
            }
            let keep = Box::new(OfShard(filter));
            open_wanted_rows(&output.grant, part, &options, keep)
        };
        reader.map(Some).map_err(Error::from)
    }

    /// Holds memory for the envelopes of rows that have so many bytes, decoded, if they take
    /// more than a chunk may have and the part's estimate has for one.
    fn hold(&self, row_bytes: usize, usual_bytes: u64) -> Result<Option<HeldMemory>, Error> {
        // An envelope is about as large as its row, and its buffer grows by doubling.
        let bytes = (row_bytes as u64 * 2).saturating_sub(usual_bytes);
        if bytes <= 2 * self.share.bytes() as u64 {
            return Ok(None);
        }
        let held = self.parts.memory.hold(bytes, || {
            format!("Framing a large row of {}", self.part().path())
        });
        held.map(Some).map_err(Error::from)
    }

    fn framer(&self) -> Result<Framer, Error> {
        Framer::new(&self.parts.part(self.part).0.spec).map_err(Error::Envelope)
    }
}

/// The rows of a shard.
#[derive(Debug)]
struct OfShard(ShardFilter);

impl KeepRows for OfShard {
    fn columns(&self) -> &[String] {
        self.0.columns()
    }

    fn rows(&mut self, batch: &RecordBatch, say: &mut dyn FnMut(bool)) {
        self.0.rows(batch, say);
    }

    fn line(&mut self, line: &[u8]) -> bool {
        self.0.line(line)
    }
}

/// How many rows to frame at once, so that a chunk has the bytes it may have.
#[derive(Debug)]
struct ChunkRows(usize);

impl Default for ChunkRows {
    /// Few: nobody knows yet how large an event is.
    fn default() -> Self {
        Self(16)
    }
}

impl ChunkRows {
    fn get(&self) -> usize {
        self.0
    }

    /// Learns from a chunk how many rows the next one may have.
    fn learn(&mut self, framed: &FramedBatch, share: &ChunkShare) {
        if let Some(bytes_a_row) = framed.body_bytes().checked_div(framed.len()) {
            self.0 = (share.bytes() / bytes_a_row.max(1)).max(1);
        }
    }
}

/// Columns whose sizes are looked at one by one; the rows of wider parts count on average.
const MEASURED_COLUMNS: usize = 256;

/// Batches below this size are not looked into for large rows.
const LARGE_BATCH_BYTES: usize = 1 << 20;

/// Whether a batch may have large rows.
fn is_large(rows: &Rows) -> bool {
    let bytes = match rows {
        Rows::Arrow(batch) => batch.get_array_memory_size(),
        Rows::JsonLines(lines) => lines.iter().map(<[u8]>::len).sum(),
    };
    bytes > LARGE_BATCH_BYTES
}

/// Bytes of some rows of a batch, decoded, about.
fn bytes_of(rows: &Rows, from: usize, count: usize) -> usize {
    match rows {
        Rows::Arrow(batch) if batch.num_columns() <= MEASURED_COLUMNS => {
            let columns = batch.columns().iter();
            let bytes = columns.map(|column| {
                let rows = column.slice(from, count).to_data();
                rows.get_slice_memory_size().unwrap_or_default()
            });
            bytes.sum()
        }
        Rows::Arrow(batch) => average_bytes(batch) * count,
        Rows::JsonLines(lines) => lines.iter().skip(from).take(count).map(<[u8]>::len).sum(),
    }
}

fn average_bytes(batch: &RecordBatch) -> usize {
    batch.get_array_memory_size() / batch.num_rows().max(1)
}

/// The times of rows, up to the first that cannot be read.
fn times_of(part: &Part, batch: &RowBatch) -> (Vec<EventTime>, Option<Error>) {
    let (name, path) = (part.time_column(), part.path());
    let (times, failure) = parted(match &batch.rows {
        Rows::Arrow(columns) => match columns.column_by_name(name) {
            Some(column) => envelope::event_times(path, 0, name, column),
            // It was there when the part's times were learnt; framing says that it is not.
            None => Ok(Vec::new()),
        },
        Rows::JsonLines(lines) => match lines.times() {
            Some(column) => envelope::event_times(path, 0, name, column),
            None => envelope::event_times_of_json_lines(path, 0, name, lines.iter()),
        },
    });
    let failure = failure.map(|failure| in_part(failure, &batch.numbers));
    (ordering_times(part, times), failure)
}

/// A failure of a row by its number in the part, where it names the row's place among others.
fn in_part(failure: Error, numbers: &RowNumbers) -> Error {
    match failure {
        Error::Envelope(failure) => Error::Envelope(match failure.row_index() {
            Some(place) => failure.row(numbers.row(place as usize)),
            None => failure,
        }),
        failure => failure,
    }
}

/// What was made of the rows before a bad one, and the failure of that one, if there is one.
fn parted<T>(rows: Result<T, BadRow<T>>) -> (T, Option<Error>) {
    match rows {
        Ok(rows) => (rows, None),
        Err(bad) => {
            let (before, error) = bad.into_parts();
            (before, Some(Error::Envelope(error)))
        }
    }
}
