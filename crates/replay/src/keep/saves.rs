//! Saves of the cursors that moved: when one is due, one at a time, and what it made durable.
//!
//! A save is due when `flush_every` events are done beyond the durable ones. It starts
//! `min(2 × events done during the last save, flush_every / 2)` events early, so that the window
//! stays open while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use checkpoint::{Cursor, CursorKey, OrderMode, OrderPosition};
use envelope::EventTime;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Bug, DoneTally};

use crate::keep::cursors::{Cursors, KeptOutput};
use crate::keep::patience::patiently;
use crate::keep::watermark::Watermark;
use crate::place::Position;
use crate::run::Run;
use crate::tell::counters::CheckpointCounts;

/// More events than are done while the keeper rests: it rests only if a save is that far off.
const REST_WORTH: u64 = 1_000;

/// A save that has ended.
pub(crate) struct Saved {
    covers: u64,
    cursors: BTreeMap<CursorKey, Cursor>,
    retried: u64,
    result: Result<(), checkpoint::Error>,
}

/// The saves of one stream.
pub(crate) struct Saves {
    cursors: Cursors,
    durable: Vec<Option<Cursor>>,
    counts: CheckpointCounts,
    /// How many events before `flush_every` a save begins.
    lead: u64,
    /// A save failed for good: nothing more may be saved.
    broken: bool,
}

impl Saves {
    /// Nothing is saved yet.
    pub(crate) fn new(cursors: Cursors) -> Self {
        Self {
            durable: vec![None; cursors.outputs.len()],
            cursors,
            counts: CheckpointCounts::default(),
            lead: 0,
            broken: false,
        }
    }

    /// The cursors that are saved.
    pub(crate) fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// The last durable cursor of an output, if this run saved one.
    pub(crate) fn durable(&self, output: usize) -> Option<&Cursor> {
        self.durable[output].as_ref()
    }

    /// The event time of the output's last durable cursor, if this run saved one.
    pub(crate) fn durable_time(&self, output: usize) -> Option<EventTime> {
        let time = self.durable(output)?.last_ts_utc.as_deref()?;
        time.parse().ok()
    }

    /// Whether the output's last durable cursor covers all of its done prefix.
    pub(crate) fn is_durable(&self, output: usize, watermark: &Watermark) -> bool {
        watermark.reached(output).is_none_or(|position| {
            let tally = watermark.tally(output);
            let cursor = self.cursor(&self.cursors.outputs[output], position, tally);
            self.durable(output) == Some(&cursor)
        })
    }

    /// The last durable cursor of each output, if this run saved one.
    pub(crate) fn into_durable(self) -> Vec<Option<Cursor>> {
        self.durable
    }

    /// What the saves came to.
    pub(crate) fn counts(&self) -> CheckpointCounts {
        self.counts
    }

    /// Whether a save failed for good: nothing more may be saved.
    pub(crate) fn are_broken(&self) -> bool {
        self.broken
    }

    /// Whether a save is due while this many done events are not durable.
    pub(crate) fn is_due(&self, unsaved: u64, is_tick: bool) -> bool {
        let enough = self.cursors.flush_every - self.lead;
        !self.broken && (unsaved >= enough || (is_tick && unsaved > 0))
    }

    /// Whether no save can come due while the keeper rests.
    pub(crate) fn may_rest(&self, unsaved: u64) -> bool {
        unsaved + self.lead + REST_WORTH <= self.cursors.flush_every
    }

    /// Starts a save of every output that moved; `None` if none did, or nothing may be saved.
    pub(crate) fn start(
        &self,
        watermark: &Watermark,
        run: &Run,
    ) -> Option<BoxFuture<'static, Saved>> {
        let cursors = self.moved(watermark);
        if self.broken || cursors.is_empty() {
            return None;
        }
        let covers = watermark.done();
        let store = Arc::clone(&self.cursors.store);
        let lease = Arc::clone(&self.cursors.lease);
        let trouble = self.cursors.store_trouble.clone();
        let (give_up_after, stop_timeout) = (self.cursors.give_up_after, self.cursors.stop_timeout);
        let ending = run.ending().clone();
        let save = async move {
            let mut retried = 0;
            let saving = patiently(
                ending.clock(),
                &trouble,
                give_up_after,
                &mut retried,
                || store.save_many(&lease, &cursors),
            );
            let result = tokio::select! {
                biased;
                result = saving => result,
                () = ending.wound_down_for(stop_timeout) => {
                    Err(not_saved_in_time(&cursors, trouble.outages().last_cause))
                }
            };
            Saved {
                covers,
                cursors,
                retried,
                result,
            }
        };
        Some(save.boxed())
    }

    fn moved(&self, watermark: &Watermark) -> BTreeMap<CursorKey, Cursor> {
        let outputs = self.cursors.outputs.iter().enumerate();
        outputs
            .filter_map(|(index, output)| {
                let tally = watermark.tally(index);
                let cursor = self.cursor(output, watermark.reached(index)?, tally);
                let moved = self.durable[index].as_ref() != Some(&cursor);
                moved.then(|| (output.key().clone(), cursor))
            })
            .collect()
    }

    fn cursor(&self, output: &KeptOutput, position: Position, tally: DoneTally) -> Cursor {
        Cursor {
            last_part: output.part(position.part).to_owned(),
            last_file: output.location(position.part).to_owned(),
            source: output.source(),
            last_row_index: position.row,
            last_ts_utc: Some(position.time.to_string()),
            order: match self.cursors.order {
                OrderMode::AsWritten => OrderPosition::AsWritten,
                OrderMode::EventTime => OrderPosition::EventTime {
                    sort_time_ns: position.time.nanos(),
                },
            },
            platform_run_id: self.cursors.platform_run_id.clone(),
            plan_digest: output.plan_digest().to_owned(),
            done: output.done_before().map(|mut done| {
                done.add(tally);
                done
            }),
        }
    }

    /// Takes a save that has ended, by when `done` events are done. Gives the events that cursors
    /// cover now, and the outputs whose cursors moved.
    ///
    /// # Errors
    /// Why nothing can be saved any more.
    pub(crate) fn settle(
        &mut self,
        saved: Saved,
        done: u64,
    ) -> Result<(u64, Vec<usize>), checkpoint::Error> {
        self.counts.retried += saved.retried;
        let mut saved = saved;
        if Bug::LostSaveIsSaved.is_planted() && saved.retried > 0 {
            saved.covers += 2;
        }
        if let Err(error) = saved.result {
            self.broken = true;
            return Err(error);
        }
        self.counts.saves += 1;
        self.lead = (2 * (done - saved.covers)).min(self.cursors.flush_every / 2);
        let mut moved = Vec::new();
        for (index, output) in self.cursors.outputs.iter().enumerate() {
            if let Some(cursor) = saved.cursors.get(output.key()) {
                self.durable[index] = Some(cursor.clone());
                moved.push(index);
            }
        }
        Ok((saved.covers, moved))
    }
}

/// `cause` is what was wrong with the store at last, if anything is known to be.
fn not_saved_in_time(
    cursors: &BTreeMap<CursorKey, Cursor>,
    cause: Option<String>,
) -> checkpoint::Error {
    let first = cursors.keys().next();
    let failure = checkpoint::unavailable(
        "save within `save_timeout_s` of the stop",
        first.map(ToString::to_string).unwrap_or_default(),
        "A rerun repeats what is not saved; bring the store back first",
    );
    match cause {
        Some(cause) => failure.because(cause),
        None => failure,
    }
}
