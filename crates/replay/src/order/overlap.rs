//! How many parts are open at once in event time, and what memory that takes.
//!
//! Known before the first event, from the time index alone, so that a world whose
//! parts all overlap is refused at the start and not by the system's memory at night.

use envelope::EventTime;

use oracle_store::ReadMemory;

use super::merge::AHEAD;
use super::sort_cache::{BLOCK_BYTES, sorters};
use super::{PartSpan, PartStart};
use crate::order::chunk_budget::chunk_bytes;
use crate::{Error, ReasonCode};

/// What a process takes that has no part open: code, lanes, buffers of the sockets.
const BASE_BYTES: u64 = 25 << 20;
/// What the allocator takes beyond the buffers, measured: a third of them.
const SLACK: u64 = 3;

/// The most that is open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Overlap {
    /// Parts with open rows.
    pub parts: usize,
    /// The largest number of parts that overlap in event time.
    pub largest: usize,
    /// Parts that are open at once, with those that are opened ahead.
    pub open: usize,
    /// Parts that are not in time order and are sorted into the sort cache.
    pub sorted: usize,
    /// The process's memory at its largest, estimated, in bytes.
    pub memory_bytes: u64,
}

impl Overlap {
    /// The overlap of some spans; a part sorts `run_bytes` of rows in memory at once.
    pub fn of(spans: &[PartSpan], run_bytes: usize) -> Self {
        let mut turns: Vec<(EventTime, bool, u64)> = spans
            .iter()
            .flat_map(|span| {
                let bytes = held_bytes(span);
                [
                    (span.first.time, false, bytes),
                    (span.last.time, true, bytes),
                ]
            })
            .collect();
        // Of one instant, openings before closings: all of these parts are open at it.
        turns.sort_unstable_by_key(|&(time, closes, _)| (time, closes));
        let (mut open, mut bytes) = (0, 0);
        let (mut largest, mut most_bytes) = (0, 0);
        for (_, closes, held) in turns {
            if closes {
                open -= 1;
                bytes -= held;
            } else {
                open += 1;
                bytes += held;
                largest = largest.max(open);
                most_bytes = most_bytes.max(bytes);
            }
        }
        let feeds = spans.len().min(largest + AHEAD);
        Self {
            parts: spans.len(),
            largest,
            open: feeds,
            sorted: spans.iter().filter(|span| is_sorted(span)).count(),
            memory_bytes: memory_bytes(most_bytes, feeds).max(sort_memory(spans, run_bytes)),
        }
    }

    /// The overlap of parts that are read one after the other, by what reading each takes:
    /// the next one is opened while the one before it is read.
    pub fn in_turn(read_bytes: &[u64]) -> Self {
        let pairs = (0..read_bytes.len()).map(|part| {
            let open = read_bytes.iter().skip(part).take(2);
            open.fold(0, |sum: u64, bytes| sum.saturating_add(*bytes))
        });
        let feeds = read_bytes.len().min(2);
        Self {
            parts: read_bytes.len(),
            largest: feeds.min(1),
            open: feeds,
            sorted: 0,
            memory_bytes: memory_bytes(pairs.max().unwrap_or(0), feeds),
        }
    }

    /// Leaves readers what of a memory budget is not taken by this estimate.
    pub fn expect_of(&self, memory: &ReadMemory) {
        memory.expect(within_slack(self.memory_bytes));
    }

    /// Refuses an estimate above the budget; `largest` is the part that takes the most.
    ///
    /// # Errors
    /// `MEMORY_BUDGET_EXCEEDED`.
    pub fn check(&self, memory_budget: u64, largest: Option<(&str, u64)>) -> Result<(), Error> {
        if self.memory_bytes <= memory_budget {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let reading = if self.largest > 1 {
            let (largest, parts, sorted) = (self.largest, self.parts, self.sorted);
            format!(
                "{largest} of {parts} parts overlap in event time ({sorted} must be sorted), and \
                 reading them side by side"
            )
        } else {
            "Reading the parts one after the other".to_owned()
        };
        let largest = largest.map_or_else(String::new, |(part, bytes)| {
            format!("; {part} alone takes {} MiB", mib(bytes))
        });
        Err(Error::new(
            ReasonCode::MemoryBudgetExceeded,
            format!(
                "{reading} takes about {} MiB, above the budget of {} MiB{largest}",
                mib(self.memory_bytes),
                mib(memory_budget),
            ),
            "Raise `wsp_order.memory_budget_mib`, stream fewer outputs, use `stream_order: \
             as_written`, or write the part with smaller pages.",
        ))
    }
}

/// Files that the process has open beside parts and lanes: logs, cursors, sockets, libraries.
const HANDLES_BESIDE: u64 = 64;

impl Overlap {
    /// The files that the process has open at once, about, with `lanes` connections.
    pub fn file_handles(&self, lanes: usize) -> u64 {
        // A sorted part keeps its file and its lock from the beginning to its end.
        (self.open + 2 * self.sorted + lanes) as u64 + HANDLES_BESIDE
    }

    /// Refuses more open parts than the process may have files open, beside `lanes` connections.
    ///
    /// # Errors
    /// `FILE_HANDLES_EXCEEDED`.
    pub fn check_handles(&self, lanes: usize, limit: Option<u64>) -> Result<(), Error> {
        let needed = self.file_handles(lanes);
        let Some(limit) = limit.filter(|limit| *limit < needed) else {
            return Ok(());
        };
        Err(Error::new(
            ReasonCode::FileHandlesExceeded,
            format!(
                "{} parts are open at once in event time; with {lanes} lanes that takes about \
                 {needed} open files, and the process may have {limit}",
                self.open
            ),
            "Raise the limit (`ulimit -n`), stream fewer outputs, or use \
             `stream_order: as_written`.",
        ))
    }
}

/// The memory of a process whose readers take so much.
fn memory_bytes(read_bytes: u64, feeds: usize) -> u64 {
    let buffers = read_bytes.saturating_add(2 * (feeds * chunk_bytes(feeds)) as u64);
    buffers
        .saturating_add(buffers / SLACK)
        .saturating_add(BASE_BYTES)
}

/// What a memory budget leaves for readers and their buffers.
fn within_slack(memory_bytes: u64) -> u64 {
    let buffers = memory_bytes.saturating_sub(BASE_BYTES);
    buffers - buffers / (SLACK + 1)
}

/// The memory that the readers of a world share under a budget for the whole process.
pub fn read_memory(memory_budget: u64) -> ReadMemory {
    ReadMemory::new(within_slack(memory_budget))
}

fn is_sorted(span: &PartSpan) -> bool {
    matches!(span.start, PartStart::Sorted { .. })
}

/// The memory of a process that sorts parts, before it merges them.
fn sort_memory(spans: &[PartSpan], run_bytes: usize) -> u64 {
    let sorted = spans.iter().filter(|span| is_sorted(span));
    let mut read_bytes: Vec<u64> = sorted.map(|span| span.read_bytes).collect();
    read_bytes.sort_unstable_by(|a, b| b.cmp(a));
    // Runs outgrow their bound by a batch, and their places grow by doubling.
    let run_bytes = run_bytes as u64 + run_bytes as u64 / 2;
    let largest = read_bytes.iter().take(sorters());
    memory_bytes(largest.map(|bytes| bytes + run_bytes).sum(), 0)
}

/// What an open part holds beside its chunks.
pub(super) fn held_bytes(span: &PartSpan) -> u64 {
    if is_sorted(span) {
        2 * BLOCK_BYTES as u64
    } else {
        span.read_bytes
    }
}
