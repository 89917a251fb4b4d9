//! Event time from the plan to the merge: learn the parts' times, see what is open and
//! how much of it at once, then merge.

use std::num::NonZero;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::thread;

use oracle_store::{Location, Part, WorldStore};
use serde::{Deserialize, Serialize};

use super::merge::Merge;
use super::overlap::held_bytes;
use super::row_times::{TimesInOrder, rows_before};
use super::sort_cache::run_bytes;
use super::{
    DoneThrough, Event, EventOrder, OpenPart, Overlap, PartId, PartSpan, PartStart, TellOpenRows,
    TimeWindow, check_view_order, first_open, open_spans,
};
use crate::crew::Crew;
use crate::ending::Ending;
use crate::order::part_proofs::PartProofs;
use crate::order::time_index::{Learning, PartTimes, TimeIndex};
use crate::place::NamePosition;
use crate::{Error, ReasonCode};

/// Threads that read footers and time columns out of a bucket.
const BUCKET_READERS: usize = 8;

/// How many threads look into the parts of a world before its first event.
pub fn readers_of(store: &WorldStore) -> usize {
    match store.root().location() {
        Location::Local(_) => thread::available_parallelism().map_or(2, NonZero::get),
        // Each mostly waits for the bucket.
        Location::S3 { .. } => BUCKET_READERS,
    }
}

/// What becomes of a part that is not in time order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisorder {
    /// The part is sorted into the sort cache.
    Sort,
    /// The part is refused with `EVENT_TIME_DISORDER`.
    Refuse,
}

/// How disorder and memory are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderSettings {
    /// What becomes of a part that is not in time order.
    pub on_disorder: OnDisorder,
    /// Bytes that the sort cache may take on its disk.
    pub sort_cache: u64,
    /// Bytes that the stream's buffers may take, by estimate.
    pub memory_budget: u64,
}

/// What the process may have of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessRoom {
    /// Files that may be open at once; `None` without a limit.
    pub file_handles: Option<u64>,
    /// Bytes of address space for a run's memory, beside what every command needs; `None`
    /// without a limit.
    pub address_space: Option<u64>,
}

impl ProcessRoom {
    /// Refuses memory that needs more address space than there is.
    fn check(&self, memory_bytes: u64) -> Result<(), Error> {
        match self.address_space {
            Some(room) if room < memory_bytes => Err(Error::new(
                ReasonCode::ProcessLimitExceeded,
                format!(
                    "The process may have {} MiB of address space for this run, which needs about {}",
                    room >> 20,
                    memory_bytes.div_ceil(1 << 20)
                ),
                "Raise the limit (`ulimit -v`).",
            )),
            _ => Ok(()),
        }
    }
}

/// What an event-time run reads: by default all rows of its parts, without a limit of the process.
#[derive(Debug)]
pub struct EventTimeSource {
    parts: Vec<Vec<Part>>,
    done: Vec<DoneThrough>,
    window: TimeWindow,
    settings: OrderSettings,
    index: TimeIndex,
    proofs: PartProofs,
    lanes: Option<usize>,
    room: ProcessRoom,
    /// Present while times are being learnt.
    learning: Option<Learning>,
}

impl EventTimeSource {
    /// Reads `parts`: of each output, in list order, its parts in name order. `index` knows, or
    /// learns, when rows come, and `proofs` keeps what it learns.
    pub fn new(
        parts: Vec<Vec<Part>>,
        settings: OrderSettings,
        index: TimeIndex,
        proofs: PartProofs,
    ) -> Self {
        Self {
            done: vec![None; parts.len()],
            parts,
            window: TimeWindow::default(),
            settings,
            index,
            proofs,
            lanes: None,
            room: ProcessRoom::default(),
            learning: None,
        }
    }

    /// Goes on behind what is done of each output, in list order.
    #[must_use]
    pub fn behind(mut self, done: Vec<DoneThrough>) -> Self {
        self.done = done;
        self
    }

    /// Reads only what lies in a stretch of event time.
    #[must_use]
    pub fn within(mut self, window: TimeWindow) -> Self {
        self.window = window;
        self
    }

    /// Counts this many connections beside the open parts, where these are files of this machine;
    /// `None` for parts in a bucket.
    #[must_use]
    pub fn beside_lanes(mut self, lanes: Option<usize>) -> Self {
        self.lanes = lanes;
        self
    }

    /// Refuses what does not fit into what the process may have.
    #[must_use]
    pub fn in_room(mut self, room: ProcessRoom) -> Self {
        self.room = room;
        self
    }

    /// Has the workers of `crew` read time columns; without it, threads of the system do.
    #[must_use]
    pub fn by_crew(mut self, crew: Crew) -> Self {
        self.index = self.index.by_crew(crew);
        self
    }

    /// The same source, whose index keeps nothing for later runs.
    #[must_use]
    pub fn without_keeping(mut self) -> Self {
        self.index = self.index.without_keeping();
        self
    }

    /// Learns the times of all parts, and sees which are open. Blocks.
    ///
    /// # Errors
    /// Those of [`TimeIndex::learn`].
    pub fn survey(&mut self, ending: &Ending) -> Result<Survey, Error> {
        loop {
            match self.poll_survey(ending) {
                Poll::Ready(survey) => return survey,
                Poll::Pending => {
                    if let Some(learning) = &mut self.learning {
                        learning.wait();
                    }
                }
            }
        }
    }

    /// Goes on with the survey; `Pending` while time columns are being read. Never waits.
    fn poll_survey(&mut self, ending: &Ending) -> Poll<Result<Survey, Error>> {
        let all: Vec<&Part> = self.parts.iter().flatten().collect();
        let learning = match &mut self.learning {
            Some(learning) => learning,
            none => none.insert(self.index.begin(&all, ending)?),
        };
        let times = ready!(learning.poll(&mut self.index, &all));
        self.learning = None;
        let times = times?;
        for (part, times) in all.iter().zip(&times) {
            self.proofs.know(part, times);
        }
        let mut times = times.into_iter();
        let times: Vec<Vec<_>> = self
            .parts
            .iter()
            .map(|parts| times.by_ref().take(parts.len()).collect())
            .collect();
        for (parts, times) in self.parts.iter().zip(&times) {
            check_view_order(parts, times)?;
        }
        let spans = open_spans(&times, &self.done, self.window);
        let overlap = Overlap::of(&spans, run_bytes(self.settings.memory_budget));
        Poll::Ready(Ok(Survey {
            spans,
            overlap,
            times,
        }))
    }

    /// The times of the open rows, in the order in which they leave.
    pub fn open_times(&self, survey: &Survey) -> TimesInOrder {
        let store = self.index.store().clone();
        TimesInOrder::in_event_time(store, &self.parts, &survey.spans, self.window.to)
    }

    /// How many rows of each output are done, in list order: a run skips them. Reads the time
    /// columns of the parts that are partly done. Blocks.
    ///
    /// # Errors
    /// `MISSING_EVENT_TIME`, `EVENT_TIME_INVALID`, `ORACLE_READ_FAILED`.
    pub fn done_rows(&self, survey: &Survey) -> Result<Vec<u64>, Error> {
        let store = self.index.store();
        let outputs = self.parts.iter().zip(&survey.times).zip(&self.done);
        let outputs = outputs.map(|((parts, times), done)| {
            let parts = (0..).zip(parts.iter().zip(times));
            let before = parts.map(|(number, (part, times))| {
                first_open(number, *done, None)
                    .map_or(Ok(0), |open| rows_before(store, part, times, open))
            });
            before.sum()
        });
        outputs.collect()
    }

    /// Refuses what may not be streamed.
    ///
    /// # Errors
    /// `EVENT_TIME_DISORDER` for a part that is not in time order and may not be sorted;
    /// `FILE_HANDLES_EXCEEDED`; `MEMORY_BUDGET_EXCEEDED`; `PROCESS_LIMIT_EXCEEDED`.
    pub fn check(&self, survey: &Survey) -> Result<(), Error> {
        if self.settings.on_disorder == OnDisorder::Refuse {
            for PartSpan { part, start, .. } in &survey.spans {
                if let PartStart::Sorted { disorder, .. } = start {
                    let part = &self.parts[part.output][part.part as usize];
                    let fix = "Set `wsp_order.on_disorder: sort`, or `stream_order: as_written`.";
                    return Err(disorder.error(part, fix));
                }
            }
        }
        if let Some(lanes) = self.lanes {
            survey
                .overlap
                .check_handles(lanes, self.room.file_handles)?;
        }
        let spans = survey.spans.iter();
        let largest = spans.max_by_key(|span| held_bytes(span));
        let largest = largest.map(|span| {
            let part = &self.parts[span.part.output][span.part.part as usize];
            (part.path(), held_bytes(span))
        });
        survey.overlap.check(self.settings.memory_budget, largest)?;
        self.room.check(survey.overlap.memory_bytes)
    }
}

/// The parts with open rows, and how many of them are open at once.
#[derive(Debug)]
pub struct Survey {
    spans: Vec<PartSpan>,
    overlap: Overlap,
    /// When the rows of all parts come, of each output in list order.
    times: Vec<Vec<Arc<PartTimes>>>,
}

impl Survey {
    /// The parts that are not in time order, each with its rows.
    pub fn unsorted(&self) -> impl Iterator<Item = (PartId, u64)> {
        let spans = self.spans.iter();
        spans.filter_map(|span| match span.start {
            PartStart::Sorted { rows, .. } => Some((span.part, rows)),
            _ => None,
        })
    }

    /// The rows of each output, in list order.
    pub fn rows(&self) -> impl Iterator<Item = u64> {
        let outputs = self.times.iter();
        outputs.map(|parts| parts.iter().map(|times| times.rows()).sum())
    }

    /// The parts with open rows.
    pub fn open_parts(&self) -> impl Iterator<Item = PartId> {
        self.spans.iter().map(|span| span.part)
    }

    /// How many parts are open at once, and what that takes.
    pub fn overlap(&self) -> &Overlap {
        &self.overlap
    }
}

/// All events of a plan in event time.
///
/// Times are learnt, and parts sorted, from when the first event is asked for: that may take a
/// while, in which leases are renewed and the stream can be stopped.
pub struct EventTimeOrder {
    begin: Option<Begin>,
    merge: Option<Merge>,
}

struct Begin {
    /// Present once times are learnt, while parts are sorted.
    survey: Option<Survey>,
    source: EventTimeSource,
    open: Box<dyn OpenPart>,
    places: Arc<dyn NamePosition>,
    ending: Ending,
    learnt: TellOpenRows,
}

impl EventTimeOrder {
    /// Nothing learnt yet. `learnt` is told how many rows are open, once that is known.
    pub fn new(
        source: EventTimeSource,
        open: Box<dyn OpenPart>,
        places: Arc<dyn NamePosition>,
        ending: Ending,
        learnt: TellOpenRows,
    ) -> Self {
        Self {
            begin: Some(Begin {
                survey: None,
                source,
                open,
                places,
                ending,
                learnt,
            }),
            merge: None,
        }
    }
}

impl Begin {
    /// Goes on until the merge may begin; `Pending` while times are learnt or parts are sorted.
    fn poll(&mut self) -> Poll<Result<Survey, Error>> {
        if self.survey.is_none() {
            let survey = ready!(self.source.poll_survey(&self.ending))?;
            self.source.check(&survey)?;
            self.survey = Some(survey);
        }
        let spans = self.survey.as_ref().map_or(&[][..], |survey| &survey.spans);
        ready!(self.open.poll_sorted(spans))?;
        Poll::Ready(
            self.survey
                .take()
                .ok_or_else(|| Error::ended_early("A survey was lost")),
        )
    }

    fn merge(self, survey: Survey) -> Merge {
        survey.overlap.expect_of(self.source.index.store().memory());
        let open_rows = survey.spans.iter().map(PartSpan::open_rows).sum();
        (self.learnt)(open_rows);
        let Overlap {
            parts,
            largest,
            sorted,
            ..
        } = survey.overlap;
        tracing::info!(
            parts,
            overlapping = largest,
            sorted,
            "merging in event time"
        );
        Merge::new(&survey.spans, self.source.window.to, self.open, self.places)
    }
}

impl EventOrder for EventTimeOrder {
    fn poll(&mut self) -> Poll<Result<Option<Event>, Error>> {
        if let Some(begin) = &mut self.begin {
            let survey = ready!(begin.poll())?;
            if let Some(begin) = self.begin.take() {
                self.merge = Some(begin.merge(survey));
            }
        }
        match &mut self.merge {
            Some(merge) => merge.poll(),
            None => Poll::Ready(Ok(None)),
        }
    }

    fn leave_out(&mut self, output: usize) {
        // There is a merge: an output is left out for what it yielded.
        if let Some(merge) = &mut self.merge {
            merge.leave_out(output);
        }
    }
}
