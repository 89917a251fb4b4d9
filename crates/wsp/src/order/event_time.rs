//! Event time from the plan to the merge: learn the parts' times, see what is open and
//! how much of it at once, then merge.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use checkpoint::PackKey;
use oracle_store::{Location, Part, WorldStore};
use tokio::sync::watch;

use super::merge::Merge;
use super::overlap::held_bytes;
use super::{
    DoneThrough, Event, EventOrder, OpenPart, Overlap, PartSpan, PartStart, TimeWindow, open_spans,
};
use crate::Error;
use crate::lanes::lane::NamePosition;
use crate::order::time_index::{TimeIndex, TimeIndexCache};
use crate::plan::Plan;
use crate::plan::part_proofs::PartProofs;
use crate::profile::{OnDisorder, OrderSettings};
use crate::run::ending::Ending;
use crate::run::process_limits::{check_room_for, file_handles};
use crate::run::progress::Progress;
use crate::run::request::StreamRequest;

/// Threads that read footers and time columns out of a bucket.
const BUCKET_READERS: usize = 8;

/// How many threads look into the parts of a world before its first event.
pub(super) fn readers_of(store: &WorldStore) -> usize {
    match store.root().location() {
        Location::Local(_) => thread::available_parallelism().map_or(2, NonZero::get),
        // Each mostly waits for the bucket.
        Location::S3 { .. } => BUCKET_READERS,
    }
}

/// What an event-time run reads.
#[derive(Debug)]
pub struct EventTimeSource {
    /// Of each output, in list order, its parts in name order.
    pub parts: Vec<Vec<Part>>,
    /// How far each output is done.
    pub done: Vec<DoneThrough>,
    /// What of it is streamed.
    pub window: TimeWindow,
    /// How disorder and memory are handled.
    pub settings: OrderSettings,
    /// Knows, or learns, when rows come.
    pub index: TimeIndex,
    /// Told of what is learnt.
    pub proofs: PartProofs,
    /// Connections that stand beside the open parts, if these are files of this machine.
    pub lanes: Option<usize>,
}

impl EventTimeSource {
    /// What a plan reads, behind what is done.
    pub fn new(
        request: &StreamRequest,
        plan: &Plan,
        done: Vec<DoneThrough>,
        window: TimeWindow,
    ) -> Self {
        let settings = request.profile.ordering.clone();
        let folder = index_folder(request, &plan.pack_key);
        let readers = readers_of(&plan.store);
        let cache = TimeIndexCache::load(&folder);
        Self {
            parts: plan
                .outputs
                .iter()
                .map(|output| output.locator.parts.clone())
                .collect(),
            done,
            window,
            settings,
            lanes: match plan.store.root().location() {
                Location::Local(_) => Some(request.profile.push.lanes),
                Location::S3 { .. } => None,
            },
            index: TimeIndex::new(plan.store.clone(), cache, readers),
            proofs: plan.proofs.clone(),
        }
    }

    /// Learns the times of all parts, and sees which are open. Blocks.
    ///
    /// # Errors
    /// Those of [`TimeIndex::learn`].
    pub fn survey(&mut self, ending: &Ending) -> Result<Survey, Error> {
        let all: Vec<&Part> = self.parts.iter().flatten().collect();
        let times = self.index.learn(&all, ending)?;
        for (part, times) in all.iter().zip(&times) {
            self.proofs.know(part, times);
        }
        let mut times = times.into_iter();
        let times: Vec<Vec<_>> = self
            .parts
            .iter()
            .map(|parts| times.by_ref().take(parts.len()).collect())
            .collect();
        let spans = open_spans(&times, &self.done, self.window);
        let overlap = Overlap::of(&spans, self.settings.sort_budget);
        Ok(Survey { spans, overlap })
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
            survey.overlap.check_handles(lanes, file_handles())?;
        }
        let sort_budget = self.settings.sort_budget;
        let spans = survey.spans.iter();
        let largest = spans.max_by_key(|span| held_bytes(span, sort_budget));
        let largest = largest.map(|span| {
            let part = &self.parts[span.part.output][span.part.part as usize];
            (part.path(), held_bytes(span, sort_budget))
        });
        survey.overlap.check(self.settings.memory_budget, largest)?;
        check_room_for(survey.overlap.memory_bytes)
    }
}

/// What is open, and how much of it at once.
#[derive(Debug)]
pub struct Survey {
    spans: Vec<PartSpan>,
    overlap: Overlap,
}

impl Survey {
    /// How many parts are open at once, and what that takes.
    pub fn overlap(&self) -> &Overlap {
        &self.overlap
    }
}

/// All events of a plan in event time.
///
/// Times are learnt when the first event is asked for, on the thread that asks: that may
/// take a while, in which leases are renewed and the stream can be stopped.
pub struct EventTimeOrder {
    begin: Option<Begin>,
    merge: Option<Merge>,
}

struct Begin {
    source: EventTimeSource,
    open: Box<dyn OpenPart>,
    places: Arc<dyn NamePosition>,
    ending: Ending,
    progress: watch::Sender<Progress>,
}

impl EventTimeOrder {
    /// Nothing learnt yet. `progress` is told how many rows are open, once that is known.
    pub fn new(
        source: EventTimeSource,
        open: Box<dyn OpenPart>,
        places: Arc<dyn NamePosition>,
        ending: Ending,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self {
            begin: Some(Begin {
                source,
                open,
                places,
                ending,
                progress,
            }),
            merge: None,
        }
    }
}

impl Begin {
    fn merge(mut self) -> Result<Merge, Error> {
        let survey = self.source.survey(&self.ending)?;
        self.source.check(&survey)?;
        survey.overlap.expect_of(self.source.index.store().memory());
        let open_rows = survey.spans.iter().map(PartSpan::open_rows).sum();
        self.progress
            .send_modify(|progress| progress.expect(open_rows));
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
        Ok(Merge::new(
            &survey.spans,
            self.source.window.to,
            self.open,
            self.places,
        ))
    }
}

impl EventOrder for EventTimeOrder {
    fn next(&mut self) -> Result<Option<Event>, Error> {
        if let Some(begin) = self.begin.take() {
            self.merge = Some(begin.merge()?);
        }
        match &mut self.merge {
            Some(merge) => merge.next(),
            None => Ok(None),
        }
    }
}

/// Where the times of a plan's parts are kept: in the folder that the profile names, else
/// under the runs root; one folder a pack.
pub(crate) fn index_folder(request: &StreamRequest, pack_key: &PackKey) -> PathBuf {
    request.time_index_root().join(pack_key.as_str())
}
