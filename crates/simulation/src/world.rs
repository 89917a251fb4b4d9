//! The recorded world of a simulation: outputs, parts and rows, and the order in which they must
//! leave, worked out without the code that is tested.

use std::collections::BTreeMap;
use std::sync::Arc;

use envelope::{EventTime, FrameSpec, Framer, PinValues, Pins};
use model::OutputId;
use replay::{
    Chunk, ChunkSource, FeedPool, NamePosition, OpenPart, PartFeed, PartId, PartSpan, PartStart,
    Position, RowNumbers, TimeRow, first_open,
};

use crate::dice::Dice;

/// The platform run that all producers of a simulation belong to.
pub(crate) const PLATFORM_RUN: &str = "platform_20260128T090000Z";

/// The number of an event, in the order in which events must leave.
pub(crate) type EventNumber = usize;

/// A recorded world.
#[derive(Debug)]
pub(crate) struct SimWorld {
    pub(crate) outputs: Vec<SimOutput>,
    /// All events in the order in which they must leave.
    pub(crate) events: Vec<SimEvent>,
    by_id: BTreeMap<[u8; 64], EventNumber>,
    by_place: BTreeMap<(usize, u32, u64), EventNumber>,
    pub(crate) by_time: bool,
}

#[derive(Debug)]
pub(crate) struct SimOutput {
    pub(crate) id: OutputId,
    pub(crate) parts: Vec<Arc<SimPart>>,
    spec: FrameSpec,
}

#[derive(Debug)]
pub(crate) struct SimPart {
    pub(crate) name: String,
    rows: Vec<SimRow>,
}

#[derive(Debug, Clone)]
struct SimRow {
    time: EventTime,
    key: u64,
    line: String,
}

/// One event as the model knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SimEvent {
    pub(crate) output: usize,
    pub(crate) position: Position,
    /// The number of the event of the same key before it.
    pub(crate) before: Option<EventNumber>,
}

/// 2026-01-01T00:00:00Z in nanoseconds.
const FIRST_TIME: i128 = 1_767_225_600_000_000_000;

impl SimWorld {
    /// A world of up to `most` events. Event times lie within an hour; ties are many.
    pub(crate) fn new(dice: &mut Dice, most: u64) -> Self {
        let by_time = dice.permille(600);
        let keys = dice.between(1, 12);
        let output_count = dice.between(1, 3);
        let pins = Pins::new(PinValues {
            manifest_fingerprint: "0".repeat(64),
            parameter_hash: "1".repeat(64),
            seed: 7,
            scenario_id: "baseline".to_owned(),
            run_id: "2".repeat(32),
            platform_run_id: PLATFORM_RUN.to_owned(),
            producer: "svc:world_stream_producer".to_owned(),
            ..PinValues::default()
        });
        let pins = pins.expect("pins that fit");
        let part_counts: Vec<u64> = (0..output_count).map(|_| dice.between(1, 4)).collect();
        let parts: u64 = part_counts.iter().sum();
        let mut serial = 0;
        let outputs = (0..output_count).zip(part_counts).map(|(number, count)| {
            let id = OutputId::from(format!("s{number}_output"));
            let parts = (0..count).map(|part| {
                let rows = dice.between(0, (most / parts).max(1));
                Arc::new(SimPart::new(dice, part, rows, keys, &mut serial))
            });
            SimOutput {
                parts: parts.collect(),
                spec: FrameSpec::new(id.clone(), ["flow_id", "serial"], pins.clone()),
                id,
            }
        });
        let outputs: Vec<_> = outputs.collect();
        let mut world = Self {
            outputs,
            events: Vec::new(),
            by_id: BTreeMap::new(),
            by_place: BTreeMap::new(),
            by_time,
        };
        world.put_in_order();
        world
    }

    fn put_in_order(&mut self) {
        let mut events = Vec::new();
        for (output, of) in self.outputs.iter().enumerate() {
            for (part, of) in (0..).zip(&of.parts) {
                for (row, of) in (0..).zip(&of.rows) {
                    let time = of.time;
                    let position = Position { part, row, time };
                    events.push((output, position, of.key));
                }
            }
        }
        if self.by_time {
            events.sort_by_key(|(output, at, _)| (at.time, *output, at.part, at.row));
        }
        let mut last_of_key = BTreeMap::new();
        for (number, (output, position, key)) in events.into_iter().enumerate() {
            self.by_place
                .insert((output, position.part, position.row), number);
            let before = last_of_key.insert(key, number);
            self.events.push(SimEvent {
                output,
                position,
                before,
            });
        }
        for (output, of) in self.outputs.iter().enumerate() {
            for (part, rows) in (0..).zip(&of.parts) {
                let framed = of.frame(rows, 0, rows.rows.len());
                for row in 0..framed.framed.len() {
                    let number = self.by_place[&(output, part, row as u64)];
                    self.by_id.insert(framed.framed.event_id(row).hex(), number);
                }
            }
        }
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The event with this id.
    pub(crate) fn event_of(&self, id: &[u8]) -> Option<EventNumber> {
        self.by_id.get(<&[u8; 64]>::try_from(id).ok()?).copied()
    }

    /// The part of an output with this name.
    pub(crate) fn part_named(&self, output: usize, name: &str) -> Option<u32> {
        let mut parts = (0..).zip(&self.outputs[output].parts);
        parts.find_map(|(number, part)| (part.name == name).then_some(number))
    }

    /// The events of an output up to a position, in the order of the stream: those that a cursor
    /// there says are done.
    pub(crate) fn done_through(&self, output: usize, at: Position) -> Vec<EventNumber> {
        let by_time = self.by_time;
        let is_done = |event: &SimEvent| {
            let here = event.position;
            if by_time {
                (here.time, here.part, here.row) <= (at.time, at.part, at.row)
            } else {
                (here.part, here.row) <= (at.part, at.row)
            }
        };
        let events = self.events.iter().enumerate();
        let events = events.filter(|(_, event)| event.output == output && is_done(event));
        events.map(|(number, _)| number).collect()
    }

    /// The event at a place.
    pub(crate) fn event_at(&self, output: usize, part: u32, row: u64) -> Option<EventNumber> {
        self.by_place.get(&(output, part, row)).copied()
    }

    /// The open rows of each part, in event time, behind what is done.
    pub(crate) fn spans(&self, done: &[Option<Position>]) -> Vec<PartSpan> {
        let mut spans = Vec::new();
        for (output, of) in self.outputs.iter().enumerate() {
            for (part, rows) in (0..).zip(&of.parts) {
                let at = |row: usize| TimeRow {
                    time: rows.rows[row].time,
                    row: row as u64,
                };
                let Some(last) = rows.rows.len().checked_sub(1).map(at) else {
                    continue;
                };
                let from = first_open(part, done[output], None).filter(|from| *from > at(0));
                let first = from.unwrap_or(at(0));
                if last < first {
                    continue;
                }
                let start = match from {
                    Some(from) => PartStart::Time { seek_row: 0, from },
                    None => PartStart::Row(0),
                };
                spans.push(PartSpan {
                    part: PartId { output, part },
                    first,
                    last,
                    start,
                    rows: rows.rows.len() as u64,
                    read_bytes: 0,
                });
            }
        }
        spans
    }

    /// The parts from which rows are open as they were written, each with its first open row.
    pub(crate) fn open_parts(&self, done: &[Option<Position>]) -> Vec<(PartId, u64)> {
        let mut open = Vec::new();
        for (output, of) in self.outputs.iter().enumerate() {
            for part in 0..of.parts.len() as u32 {
                let from = match done[output] {
                    Some(at) if part < at.part => continue,
                    Some(at) if part == at.part => at.row + 1,
                    _ => 0,
                };
                open.push((PartId { output, part }, from));
            }
        }
        open
    }
}

impl NamePosition for SimWorld {
    fn name(&self, output: usize, position: &Position) -> String {
        let part = &self.outputs[output].parts[position.part as usize].name;
        format!("row {} of {part}", position.row)
    }
}

impl SimPart {
    fn new(dice: &mut Dice, part: u64, rows: u64, keys: u64, serial: &mut u64) -> Self {
        // Rows of a part are in order of time, with ties.
        let mut time = FIRST_TIME + i128::from(dice.below(600)) * 1_000_000_000;
        let rows = (0..rows).map(|_| {
            if dice.permille(700) {
                time += i128::from(dice.below(20_000_000)) * 1_000;
            }
            *serial += 1;
            let key = dice.below(keys);
            let at = EventTime::from_nanos(time).expect("a time of this century");
            SimRow {
                time: at,
                key,
                line: format!(r#"{{"flow_id":{key},"serial":{serial},"ts_utc":"{at}"}}"#),
            }
        });
        Self {
            rows: rows.collect(),
            name: format!("data/part-{part:05}.parquet"),
        }
    }
}

impl SimOutput {
    fn frame(&self, part: &SimPart, from: usize, to: usize) -> Chunk {
        let mut framer = Framer::new(&self.spec).expect("a spec that fits");
        let lines = part.rows[from..to].iter().map(|row| row.line.as_bytes());
        let framed = framer.frame_json_lines(&part.name, from as u64, lines);
        Chunk {
            framed: framed.expect("rows that fit"),
            rows: RowNumbers::from(from as u64),
            ..Chunk::default()
        }
    }
}

/// Opens the parts of a world as feeds.
pub(crate) struct SimParts {
    pub(crate) world: Arc<SimWorld>,
    pub(crate) pool: FeedPool,
    pub(crate) chunk_rows: usize,
}

impl OpenPart for SimParts {
    fn open(&self, part: PartId, start: PartStart) -> PartFeed {
        let rows = &self.world.outputs[part.output].parts[part.part as usize].rows;
        let next = match start {
            PartStart::Row(row) => row as usize,
            PartStart::Time { from, .. } => {
                let at = (0..).zip(rows).map(|(row, of)| (row, of.time));
                at.take_while(|&(row, time)| TimeRow { time, row } < from)
                    .count()
            }
            PartStart::Sorted { .. } => unreachable!("every part is in order"),
        };
        self.pool.open(Box::new(SimRows {
            world: Arc::clone(&self.world),
            part,
            next,
            chunk_rows: self.chunk_rows,
        }))
    }
}

struct SimRows {
    world: Arc<SimWorld>,
    part: PartId,
    next: usize,
    chunk_rows: usize,
}

impl ChunkSource for SimRows {
    fn next_chunk(&mut self) -> Option<Chunk> {
        let output = &self.world.outputs[self.part.output];
        let part = &output.parts[self.part.part as usize];
        let from = self.next;
        if from >= part.rows.len() {
            return None;
        }
        self.next = (from + self.chunk_rows).min(part.rows.len());
        Some(output.frame(part, from, self.next))
    }
}
