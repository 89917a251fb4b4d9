//! Small worlds in memory: parts of rows with nothing but a time and a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampNanosecondArray};
use envelope::{EventTime, FrameSpec, Framer, PinValues, Pins};
use proptest::sample::Index;
use replay::NamePosition;
use replay::Position;
use replay::{Chunk, ChunkSource, FeedPool, PartFeed, RowNumbers};
use replay::{
    DoneThrough, Event, EventOrder, Merge, OpenPart, PartId, PartSpan, PartStart, TimeWindow,
    open_spans,
};
use replay::{PartTimes, TimeRow};

/// The times of each row, in nanoseconds, of each part of each output.
pub(crate) type World = Vec<Vec<Vec<i64>>>;

/// A row's place in the stream: the derived order is the stream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) time: i64,
    pub(crate) output: usize,
    pub(crate) part: u32,
    pub(crate) row: u64,
}

impl Place {
    pub(crate) fn of(event: &Event) -> Self {
        let Position { part, row, time } = event.position;
        Self {
            time: time.nanos() as i64,
            output: event.output,
            part,
            row,
        }
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            part: self.part,
            row: self.row,
            time: at(self.time),
        }
    }

    /// Whether the row is in the prefix of its output that ends with this position.
    pub(crate) fn is_done(&self, done: DoneThrough) -> bool {
        let key = |part, row, time: EventTime| (time, part, row);
        done.is_some_and(|done| {
            key(self.part, self.row, at(self.time)) <= key(done.part, done.row, done.time)
        })
    }

    fn number(&self) -> i64 {
        number(
            PartId {
                output: self.output,
                part: self.part,
            },
            self.row,
        )
    }
}

pub(crate) fn at(nanos: i64) -> EventTime {
    EventTime::from_nanos(i128::from(nanos)).unwrap()
}

/// A number that names a row in its world.
pub(crate) fn number(part: PartId, row: u64) -> i64 {
    (part.output as i64 * 100_000 + i64::from(part.part)) * 1_000_000 + row as i64
}

/// All rows of a world in the order in which they must leave.
pub(crate) fn sorted(world: &World) -> Vec<Place> {
    let mut places = Vec::new();
    for (output, parts) in world.iter().enumerate() {
        for (part, times) in (0..).zip(parts) {
            let rows = (0..).zip(times);
            places.extend(rows.map(|(row, &time)| Place {
                time,
                output,
                part,
                row,
            }));
        }
    }
    places.sort_unstable();
    places
}

/// Some position of each output: a row of it, or none.
pub(crate) fn done_of(world: &World, picks: &[Index]) -> Vec<DoneThrough> {
    let outputs = (0..world.len()).zip(picks);
    outputs
        .map(|(output, pick)| {
            let rows: Vec<_> = sorted(world)
                .into_iter()
                .filter(|place| place.output == output)
                .collect();
            pick.index(rows.len() + 1)
                .checked_sub(1)
                .map(|row| rows[row].position())
        })
        .collect()
}

/// Nothing is done of any output.
pub(crate) fn untouched(world: &World) -> Vec<DoneThrough> {
    vec![None; world.len()]
}

/// What an index of the world says.
pub(crate) fn times_of(world: &World) -> Vec<Vec<Arc<PartTimes>>> {
    let part = |times: &Vec<i64>| Arc::new(times.iter().copied().map(at).collect());
    world
        .iter()
        .map(|parts| parts.iter().map(part).collect())
        .collect()
}

/// How a world is read, which must not matter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) chunk_rows: usize,
    pub(crate) workers: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            chunk_rows: 7,
            workers: 2,
        }
    }
}

/// Counts the sources that are open, and the most that ever were.
#[derive(Debug, Default)]
pub(crate) struct OpenCount {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl OpenCount {
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

/// Opens the parts of a world.
pub(crate) struct WorldParts {
    world: Arc<World>,
    reading: Reading,
    pool: FeedPool,
    /// Rows that cannot be framed.
    bad: Vec<(PartId, u64)>,
    open: Arc<OpenCount>,
}

impl WorldParts {
    pub(crate) fn new(world: &World, reading: Reading) -> Self {
        Self {
            world: Arc::new(world.clone()),
            reading,
            pool: FeedPool::start(reading.workers, &replay::Ending::default()).unwrap(),
            bad: Vec::new(),
            open: Arc::default(),
        }
    }

    pub(crate) fn with_bad_row(mut self, part: PartId, row: u64) -> Self {
        self.bad.push((part, row));
        self
    }

    pub(crate) fn open_count(&self) -> Arc<OpenCount> {
        Arc::clone(&self.open)
    }
}

impl OpenPart for WorldParts {
    fn open(&self, part: PartId, start: PartStart) -> PartFeed {
        let times = &self.world[part.output][part.part as usize];
        let rows = (0..).zip(times).map(|(row, &time)| TimeRow {
            time: at(time),
            row,
        });
        let mut rows: Vec<TimeRow> = rows.collect();
        let from = match start {
            PartStart::Row(row) => {
                rows.drain(..row as usize);
                None
            }
            PartStart::Time { seek_row, from } => {
                let skipped: Vec<_> = rows.drain(..seek_row as usize).collect();
                assert!(
                    skipped.iter().all(|row| *row < from),
                    "an open row was passed over"
                );
                Some(from)
            }
            PartStart::Sorted { from, .. } => {
                rows.sort_unstable();
                from
            }
        };
        if let Some(from) = from {
            let done = rows.iter().take_while(|row| **row < from).count();
            rows.drain(..done);
        }
        let open = Arc::clone(&self.open);
        let now = open.now.fetch_add(1, Ordering::Relaxed) + 1;
        open.most.fetch_max(now, Ordering::Relaxed);
        let bad = self
            .bad
            .iter()
            .filter(|(of, _)| *of == part)
            .map(|(_, row)| *row)
            .collect();
        let framer = framer();
        self.pool.open(Box::new(PartSource {
            part,
            rows,
            next: 0,
            bad,
            framer,
            chunk_rows: self.reading.chunk_rows,
            open,
        }))
    }
}

struct PartSource {
    part: PartId,
    rows: Vec<TimeRow>,
    next: usize,
    bad: Vec<u64>,
    framer: Framer,
    chunk_rows: usize,
    open: Arc<OpenCount>,
}

impl Drop for PartSource {
    fn drop(&mut self) {
        self.open.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ChunkSource for PartSource {
    fn next_chunk(&mut self) -> Option<Chunk> {
        let rows = self.rows[self.next..].chunks(self.chunk_rows).next()?;
        self.next += rows.len();
        let times = rows.iter().map(|row| row.time.nanos() as i64);
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter_values(times));
        let numbers = rows
            .iter()
            .map(|row| (!self.bad.contains(&row.row)).then(|| number(self.part, row.row)));
        let numbers: ArrayRef = Arc::new(numbers.collect::<Int64Array>());
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("ts_utc", times, true),
            ("number", numbers, true),
        ]);
        let (framed, failure) = match self.framer.frame("part", 0, &batch.unwrap()) {
            Ok(framed) => (framed, None),
            Err(bad) => {
                let (framed, error) = bad.into_parts();
                (framed, Some(replay::Error::from(error)))
            }
        };
        Some(Chunk {
            framed,
            rows: RowNumbers::listed(rows.iter().map(|row| row.row).collect::<Vec<_>>()),
            failure,
            held: None,
        })
    }
}

fn framer() -> Framer {
    let pins = Pins::new(PinValues {
        manifest_fingerprint: "0".repeat(64),
        parameter_hash: "1".repeat(64),
        seed: 7,
        scenario_id: "s".to_owned(),
        run_id: "2".repeat(32),
        platform_run_id: "platform_20260128T090000Z".to_owned(),
        producer: "p".to_owned(),
        ..PinValues::default()
    });
    let spec = FrameSpec::new("o", ["number"], pins.unwrap());
    Framer::new(&spec).unwrap()
}

/// Names rows by their numbers.
pub(crate) struct Names;

impl NamePosition for Names {
    fn name(&self, output: usize, position: &Position) -> String {
        format!(
            "row {} of part {} of output {output}",
            position.row, position.part
        )
    }
}

/// What an order yields until its end, and how it ended.
pub(crate) fn drain(order: &mut dyn EventOrder) -> (Vec<Place>, Option<replay::Error>) {
    let mut places = Vec::new();
    loop {
        match order.next() {
            Ok(Some(event)) => {
                let place = Place::of(&event);
                let end = format!("\"number\":{}}}}}", place.number());
                assert!(
                    event.body.ends_with(end.as_bytes()),
                    "the body is another row's"
                );
                places.push(place);
            }
            Ok(None) => return (places, None),
            Err(error) => return (places, Some(error)),
        }
    }
}

/// The spans of a world, behind what is done and in a window.
pub(crate) fn spans(world: &World, done: &[DoneThrough], window: TimeWindow) -> Vec<PartSpan> {
    open_spans(&times_of(world), done, window)
}

pub(crate) fn merge(
    world: &World,
    reading: Reading,
    done: &[DoneThrough],
    window: TimeWindow,
) -> Merge {
    let spans = spans(world, done, window);
    Merge::new(
        &spans,
        window.to,
        Box::new(WorldParts::new(world, reading)),
        Arc::new(Names),
    )
}
