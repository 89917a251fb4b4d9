//! Events a second through feeds and merge alone: chunks are framed beforehand.
//!
//! `cargo bench -p replay --bench merge`
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampNanosecondArray};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use envelope::{EventTime, FrameSpec, Framer, PinValues, Pins};
use replay::{
    Chunk, ChunkSource, EventOrder, FeedPool, Merge, NamePosition, OpenPart, PartFeed, PartId,
    PartStart, PartTimes, Position, RowNumbers, TimeWindow, open_spans,
};

const EVENTS: usize = 200_000;
/// As many as fit a chunk while 64 parts overlap.
const CHUNK_ROWS: usize = 180;

fn main() {
    divan::main();
}

/// Parts that overlap from end to end, one event of each in turn.
#[divan::bench(args = [1, 5, 64, 500], sample_count = 10)]
fn overlapping(bencher: Bencher<'_, '_>, parts: usize) {
    merge(bencher, parts, |part, row| row * parts + part);
}

/// Parts one after the other, of which no two overlap.
#[divan::bench(args = [64, 500], sample_count = 10)]
fn consecutive(bencher: Bencher<'_, '_>, parts: usize) {
    merge(bencher, parts, |part, row| part * (EVENTS / parts) + row);
}

fn merge(
    bencher: Bencher<'_, '_>,
    parts: usize,
    time: impl Fn(usize, usize) -> usize + Copy + Sync,
) {
    bencher
        .counter(ItemsCount::new(EVENTS / parts * parts))
        .with_inputs(|| made(parts, time))
        .bench_values(|mut merge| {
            while let Some(event) = merge.next().unwrap() {
                black_box(event);
            }
        });
}

fn made(parts: usize, time: impl Fn(usize, usize) -> usize + Copy) -> Merge {
    let rows = EVENTS / parts;
    let times: Vec<Vec<i64>> = (0..parts)
        .map(|part| (0..rows).map(|row| time(part, row) as i64).collect())
        .collect();
    let index = times.iter().map(|times| {
        let at = |nanos: &i64| EventTime::from_nanos(i128::from(*nanos)).unwrap();
        Arc::new(times.iter().map(at).collect::<PartTimes>())
    });
    let spans = open_spans(&[index.collect()], &[None], TimeWindow::default());
    let framed = (0..)
        .zip(&times)
        .map(|(part, times)| (part, Framed(chunks(times))));
    let open = Parts {
        framed: Mutex::new(framed.collect()),
        pool: FeedPool::start(2, &replay::Ending::default()).unwrap(),
    };
    Merge::new(&spans, None, Box::new(open), Arc::new(Nameless))
}

fn chunks(times: &[i64]) -> Vec<Chunk> {
    let pins = PinValues {
        manifest_fingerprint: "0".repeat(64),
        parameter_hash: "1".repeat(64),
        seed: 7,
        scenario_id: "s".to_owned(),
        run_id: "2".repeat(32),
        platform_run_id: "platform_20260128T090000Z".to_owned(),
        producer: "p".to_owned(),
        ..PinValues::default()
    };
    let spec = FrameSpec::new("o", ["number"], Pins::new(pins).unwrap());
    let mut framer = Framer::new(&spec).unwrap();
    let mut chunks: Vec<Chunk> = (0..times.len())
        .step_by(CHUNK_ROWS)
        .map(|first| {
            let times = &times[first..times.len().min(first + CHUNK_ROWS)];
            let numbers: ArrayRef = Arc::new(Int64Array::from(times.to_vec()));
            let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(times.to_vec()));
            let batch = RecordBatch::try_from_iter([("ts_utc", times), ("number", numbers)]);
            let framed = framer.frame("part", first as u64, &batch.unwrap());
            Chunk {
                framed: framed.unwrap(),
                rows: RowNumbers::from(first as u64),
                failure: None,
                held: None,
            }
        })
        .collect();
    chunks.reverse();
    chunks
}

struct Parts {
    framed: Mutex<HashMap<u32, Framed>>,
    pool: FeedPool,
}

impl OpenPart for Parts {
    fn open(&self, part: PartId, _: PartStart) -> PartFeed {
        self.pool.open(Box::new(
            self.framed.lock().unwrap().remove(&part.part).unwrap(),
        ))
    }
}

/// Chunks, the last one first.
struct Framed(Vec<Chunk>);

impl ChunkSource for Framed {
    fn next_chunk(&mut self) -> Option<Chunk> {
        self.0.pop()
    }
}

struct Nameless;

impl NamePosition for Nameless {
    fn name(&self, _: usize, _: &Position) -> String {
        String::new()
    }
}
