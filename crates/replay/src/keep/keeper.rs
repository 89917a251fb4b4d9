//! The keeper: hears every answer, moves the watermark, and makes it durable.
//!
//! ```text
//! lanes ──Answered──► keeper ──► watermark (pure) ──► save_many ──► store
//!                       │                                │
//!                       └─► meters, lateness, progress   └─► window opens, audit
//! ```
//!
//! One save is in flight at a time, and answers are taken while it is: with a slow
//! store the next save simply covers more events. A save is due when
//! `flush_every` events are done beyond the durable ones, or a second after the
//! last. It begins by as many events earlier as the last one took, twice over but at most
//! by half of `flush_every`, so that the window need not close while it is made. A store
//! that is away is tried again, with growing pauses, for up to `give_up_after`; the window
//! holds the stream meanwhile.
//!
//! While no save can come due soon the keeper rests for a moment after each hearing: it
//! then hears many turns of the lanes at once, where waking for each would cost more than
//! hearing it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkpoint::{Cursor, CursorKey, OrderMode, OrderPosition};
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Beat, Clock as _, SharedClock, with_causes};
use tokio::sync::mpsc;

use crate::ending::Cause;
use crate::keep::cursors::{Cursors, KeptOutput};
use crate::keep::lateness::{Lateness, LatenessReport};
use crate::keep::watermark::Watermark;
use crate::lanes::lane::{Answered, Fate, Rejection};
use crate::lanes::lane_threads::Answers;
use crate::place::Position;
use crate::quarantine::aside::{Aside, Pending, QuarantineReport, Settled};
use crate::quarantine::{RejectedEvent, SetAside};
use crate::run::Run;
use crate::tell::acts::Told;
use crate::tell::journal::{
    CursorSaved, GapCutNote, Happening, Journal, OutageNote, SaveReason, SteeredNote,
};
use crate::tell::state::StateCell;
use crate::{Error, ReasonCode};
use push::{Away, Decision, Outages, Trouble};

/// Turns of lane threads heard at once.
const TURNS: usize = 64;
/// The longest that done events stay unsaved.
const TICK: Duration = Duration::from_secs(1);
/// How long the keeper rests after a hearing.
const REST: Duration = Duration::from_millis(4);
/// More events than are done while it rests: it rests only if a save is that far off.
const REST_WORTH: u64 = 1_000;
/// How often progress is told.
const TELL: Duration = Duration::from_millis(250);
/// The first pause after a failed save; it doubles up to [`TICK`] times five.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A store without an answer for so long is told of.
const SILENCE: Duration = Duration::from_secs(5);

/// The counts of decisions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Decisions {
    /// `ADMIT`.
    pub admit: u64,
    /// `DUPLICATE`.
    pub duplicate: u64,
    /// `QUARANTINE`: the gate took it aside.
    pub quarantine: u64,
}

/// What the saves came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CheckpointCounts {
    /// Saves that succeeded, each of all outputs that moved.
    pub saves: u64,
    /// Tries that failed and were made again.
    pub retried: u64,
}

/// What the keeper kept.
#[derive(Debug)]
pub struct Kept<J> {
    /// What the gate decided.
    pub decisions: Decisions,
    /// Lateness at send and at acknowledgement.
    pub lateness: LatenessReport,
    /// Saves made.
    pub checkpoints: CheckpointCounts,
    /// Events whose answer never came before the drain was over.
    pub abandoned: u64,
    /// The last durable cursor of each output, if this run saved one.
    pub cursors: Vec<Option<Cursor>>,
    /// Whether a save failed for good.
    pub save_failed: bool,
    /// What was set aside, if anything was.
    pub quarantine: Option<QuarantineReport>,
    /// The journal, to be closed by the run.
    pub journal: J,
    /// How often gate and store were away.
    pub outages: OutagesReport,
    /// What was wrong with the gate at the end, if anything was.
    pub gate_away: Option<Away>,
}

/// How often what a stream needs was away, faults of less than a second left out.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct OutagesReport {
    /// The ingestion gate.
    pub ingestion_gate: Outages,
    /// The checkpoint store.
    pub checkpoint_store: Outages,
}

struct Saved {
    covers: u64,
    cursors: BTreeMap<CursorKey, Cursor>,
    retried: u64,
    result: Result<(), checkpoint::Error>,
}

/// What the keeper hears of besides answers.
pub(crate) struct KeeperLinks {
    /// What the dispatching thread is at.
    pub(crate) state: StateCell,
    /// Acts of steering and cut gaps, for the audit.
    pub(crate) acts: mpsc::UnboundedReceiver<Told>,
    /// What is wrong with the ingestion gate, if anything is.
    pub(crate) gate_trouble: Trouble,
}

/// The running keeper.
pub(crate) struct Keeper<J> {
    run: Run,
    cursors: Cursors,
    journal: J,
    links: KeeperLinks,
    watermark: Watermark,
    decisions: Decisions,
    lateness: Lateness,
    counts: CheckpointCounts,
    abandoned: u64,
    durable: Vec<Option<Cursor>>,
    noted: Vec<Option<Instant>>,
    last_time: Option<Position>,
    /// By how many events before `flush_every` a save begins.
    lead: u64,
    aside: Aside,
    /// A save failed for good: nothing more may be saved.
    broken: bool,
    /// Whether the journal knows of the gate's outage, and of the store's.
    outage_told: [bool; 2],
}

impl<J: Journal> Keeper<J> {
    /// A keeper that has heard nothing. `quarantine` is where rejected events are set aside;
    /// `None` where none are handed in.
    pub(crate) fn new(
        run: Run,
        cursors: Cursors,
        quarantine: Option<SetAside>,
        journal: J,
        links: KeeperLinks,
    ) -> Self {
        let outputs = cursors.outputs.len();
        Self {
            aside: Aside::new(quarantine, run.ending().clock().clone()),
            run,
            cursors,
            journal,
            links,
            watermark: Watermark::new(outputs),
            decisions: Decisions::default(),
            lateness: Lateness::default(),
            counts: CheckpointCounts::default(),
            abandoned: 0,
            durable: vec![None; outputs],
            noted: vec![None; outputs],
            last_time: None,
            lead: 0,
            broken: false,
            outage_told: [false; 2],
        }
    }

    /// Hears answers, and saves, until all lanes are gone.
    pub(crate) async fn hear_all(&mut self, mut answers: mpsc::Receiver<Answers>) {
        let clock = self.clock();
        let mut tick = Beat::new(&clock, TICK);
        let mut tell = Beat::new(&clock, TELL);
        let mut saving: Option<BoxFuture<'static, Saved>> = None;
        let mut turns = Vec::with_capacity(TURNS);
        let mut resting: Option<BoxFuture<'static, ()>> = None;
        let mut setting_aside: Option<BoxFuture<'static, Settled>> = None;
        let mut is_tick = false;
        loop {
            // In this order: what comes seldom before what never ends. Beats are looked at after
            // whatever came, so that nothing starves them.
            tokio::select! {
                biased;
                saved = poll_option(&mut saving) => {
                    saving = None;
                    self.saved(saved, SaveReason::PeriodicFlush);
                }
                settled = poll_option(&mut setting_aside) => {
                    setting_aside = None;
                    self.set_aside(settled);
                }
                Some(steered) = self.links.acts.recv() => self.note_told(&steered),
                () = poll_option(&mut resting) => resting = None,
                heard = answers.recv_many(&mut turns, TURNS), if resting.is_none() => {
                    if heard == 0 {
                        break;
                    }
                    turns.drain(..).flatten().for_each(|answer| self.hear(answer));
                    // With more to hear it would fall behind.
                    if heard < TURNS && self.may_rest() {
                        let clock = clock.clone();
                        resting = Some(async move { clock.sleep(REST).await }.boxed());
                    }
                }
                () = tell.wait() => {}
            }
            is_tick |= tick.is_due();
            if tell.is_due() {
                self.tell_progress();
            }
            if setting_aside.is_none() {
                setting_aside = self.aside.start();
            }
            if saving.is_none() && self.save_is_due(is_tick) {
                is_tick = false;
                saving = self.save();
            }
        }
        while let Some(working) = setting_aside.take().or_else(|| self.aside.start()) {
            tokio::select! {
                biased;
                settled = working => self.set_aside(settled),
                () = self.run.ending().wound_down_for(self.cursors.stop_timeout) => {
                    self.run.ending().wind_down(Cause::Failed(not_set_aside_in_time()));
                    break;
                }
            }
        }
        if let Some(saving) = saving {
            self.saved(saving.await, SaveReason::PeriodicFlush);
        }
    }

    /// Saves what is left.
    pub(crate) async fn finish(mut self, reason: SaveReason) -> Kept<J> {
        if !self.broken
            && let Some(saving) = self.save()
        {
            self.saved(saving.await, reason);
        }
        while let Ok(steered) = self.links.acts.try_recv() {
            self.note_told(&steered);
        }
        self.note_quarantine(true);
        self.tell_progress();
        Kept {
            quarantine: self.aside.report(),
            outages: OutagesReport {
                ingestion_gate: self.links.gate_trouble.outages(),
                checkpoint_store: self.cursors.store_trouble.outages(),
            },
            gate_away: self.links.gate_trouble.current(),
            decisions: self.decisions,
            lateness: self.lateness.report(),
            checkpoints: self.counts,
            abandoned: self.abandoned,
            cursors: self.durable,
            save_failed: self.broken,
            journal: self.journal,
        }
    }

    fn clock(&self) -> SharedClock {
        self.run.ending().clock().clone()
    }

    fn hear(&mut self, answer: Answered) {
        let Answered {
            output,
            sequence,
            position,
            due,
            fate,
        } = answer;
        match fate {
            Fate::Acknowledged {
                decision,
                sent,
                answered,
            } => {
                *match decision {
                    Decision::Admit => &mut self.decisions.admit,
                    Decision::Duplicate => &mut self.decisions.duplicate,
                    Decision::Quarantine => &mut self.decisions.quarantine,
                } += 1;
                if let Some(due) = due {
                    self.lateness.record(due, sent, answered);
                }
                self.run.meters().acknowledged(output);
                self.watermark.mark_done(output, sequence, position);
                self.last_time = Some(position);
            }
            Fate::Rejected(rejection) => {
                let event = self.rejected(output, position, *rejection);
                self.aside.take(Pending {
                    output,
                    sequence,
                    position,
                    event,
                });
            }
            Fate::HandedBack => self.run.meters().handed_back(output),
            Fate::Abandoned => self.abandoned += 1,
            Fate::Failed => {}
        }
    }

    fn rejected(&self, output: usize, position: Position, why: Rejection) -> RejectedEvent {
        let output = &self.cursors.outputs[output];
        RejectedEvent {
            key: output.key().clone(),
            file: output.part(position.part).to_owned(),
            row: position.row,
            time: position.time,
            reason: why.reason,
            refusal: why.refusal,
            attempts: why.attempts,
            envelope: why.envelope,
        }
    }

    /// Marks done what is durably set aside by now.
    fn set_aside(&mut self, settled: Settled) {
        let (done, error) = self.aside.settle(settled);
        for event in done {
            self.run.meters().quarantined(event.output);
            self.watermark
                .mark_done(event.output, event.sequence, event.position);
            self.last_time = Some(event.position);
        }
        if let Some(error) = error {
            self.run.ending().wind_down(Cause::Failed(error));
        }
        self.note_quarantine(false);
    }

    fn note_quarantine(&mut self, end: bool) {
        if let Some(note) = self.aside.tell(end) {
            self.note(Happening::EventsQuarantined(note));
        }
    }

    fn save_is_due(&self, is_tick: bool) -> bool {
        let unsaved = self.watermark.done() - self.run.window().durable();
        let enough = self.cursors.flush_every - self.lead;
        !self.broken && (unsaved >= enough || (is_tick && unsaved > 0))
    }

    /// Whether no save can come due while the keeper rests.
    fn may_rest(&self) -> bool {
        let unsaved = self.watermark.done() - self.run.window().durable();
        unsaved + self.lead + REST_WORTH <= self.cursors.flush_every
    }

    /// Starts a save of every output that moved.
    fn save(&self) -> Option<BoxFuture<'static, Saved>> {
        let cursors = self.moved_cursors();
        if cursors.is_empty() {
            return None;
        }
        let covers = self.watermark.done();
        let store = Arc::clone(&self.cursors.store);
        let lease = Arc::clone(&self.cursors.lease);
        let ending = self.run.ending().clone();
        let (give_up_after, stop_timeout) = (self.cursors.give_up_after, self.cursors.stop_timeout);
        let trouble = self.cursors.store_trouble.clone();
        Some(
            async move {
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
            }
            .boxed(),
        )
    }

    fn moved_cursors(&self) -> BTreeMap<CursorKey, Cursor> {
        let outputs = self.cursors.outputs.iter().enumerate();
        outputs
            .filter_map(|(index, output)| {
                let cursor = self.cursor(output, self.watermark.reached(index)?);
                let moved = self.durable[index].as_ref() != Some(&cursor);
                moved.then(|| (output.key().clone(), cursor))
            })
            .collect()
    }

    fn cursor(&self, output: &KeptOutput, position: Position) -> Cursor {
        Cursor {
            last_file: output.part(position.part).to_owned(),
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
        }
    }

    fn saved(&mut self, saved: Saved, reason: SaveReason) {
        self.counts.retried += saved.retried;
        if let Err(error) = saved.result {
            self.broken = true;
            self.run
                .ending()
                .wind_down(Cause::Failed(Error::Checkpoint(error)));
            return;
        }
        self.counts.saves += 1;
        let done_meanwhile = self.watermark.done() - saved.covers;
        self.lead = (2 * done_meanwhile).min(self.cursors.flush_every / 2);
        self.run.window().set_durable(saved.covers);
        self.run.ending().wake_dispatcher();
        for index in 0..self.cursors.outputs.len() {
            if let Some(cursor) = saved.cursors.get(self.cursors.outputs[index].key()) {
                self.durable[index] = Some(cursor.clone());
                self.note_saved(index, reason);
            }
        }
    }

    /// At most one line a second and output, except for the last save.
    fn note_saved(&mut self, index: usize, reason: SaveReason) {
        let now = self.clock().now();
        let recent = self.noted[index].is_some_and(|at| now.saturating_duration_since(at) < TICK);
        if reason == SaveReason::PeriodicFlush && recent {
            return;
        }
        self.noted[index] = Some(now);
        let key = self.cursors.outputs[index].key().clone();
        if let Some(cursor) = &self.durable[index] {
            let saved = CursorSaved::new(&key, cursor, reason);
            self.note(Happening::CursorSaved(saved));
        }
    }

    fn note(&mut self, happening: Happening) {
        if let Err(error) = self.journal.note(&happening) {
            self.run.ending().wind_down(Cause::Failed(error));
        }
    }

    /// Notes, once each, that the gate or the store is away, and that it is back.
    fn note_outages(&mut self) {
        let of_gate = ("ingestion_gate", self.links.gate_trouble.clone(), 0);
        let of_store = ("checkpoint_store", self.cursors.store_trouble.clone(), 1);
        for (what, trouble, told) in [of_gate, of_store] {
            let away = trouble.current();
            let note = |cause| OutageNote { what, cause };
            let happening = match (away, self.outage_told[told]) {
                (Some(away), false) => Happening::OutageBegan(note(Some(away.cause))),
                (None, true) => Happening::OutageEnded(note(None)),
                _ => continue,
            };
            self.outage_told[told] = matches!(happening, Happening::OutageBegan(_));
            self.note(happening);
        }
    }

    fn note_told(&mut self, told: &Told) {
        let event_time = self.last_time.map(|position| position.time);
        self.note(match told {
            Told::Steered(steered) => Happening::Steered(SteeredNote::new(steered, event_time)),
            Told::GapCut(cut) => Happening::GapCut(GapCutNote::new(cut, event_time)),
        });
    }

    fn tell_progress(&mut self) {
        self.note_outages();
        let meters = self.run.meters().read_all();
        let state = self.links.state.get();
        let gate_away = self.links.gate_trouble.current();
        let store_away = self.cursors.store_trouble.current();
        self.run.progress().send_modify(|progress| {
            progress.gate_away = gate_away;
            progress.store_away = store_away;
            progress.state = progress.shown(state);
            progress.meters = meters;
            progress.event_time = self.last_time.map(|position| position.time);
            progress.lateness_ms = self.lateness.latest_ms();
            progress.durable = self.run.window().durable();
        });
    }
}

fn not_set_aside_in_time() -> Error {
    Error::new(
        ReasonCode::QuarantineUnwritable,
        "The quarantine did not take rejected events within the time that a stop may take",
        "Look at the disk that it is on; no cursor has passed those events, and a rerun resumes.",
    )
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

/// Asks a store, again and again while it is away, for up to `give_up_after`; `retried` counts.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, checkpoint::Error>>>(
    clock: &SharedClock,
    trouble: &Trouble,
    give_up_after: Duration,
    retried: &mut u64,
    ask: impl Fn() -> F,
) -> Result<T, checkpoint::Error> {
    let mut pause = FIRST_PAUSE;
    let mut away_since = None;
    loop {
        let began = clock.now();
        let settled = tell_of_silence(clock, trouble, away_since.unwrap_or(began), ask()).await;
        match settled {
            Err(error) if error.is_retryable() => {
                // A try may take its time: the store is away from the beginning of the first one.
                let away_for = clock.since(*away_since.get_or_insert(began));
                trouble.failed(away_for, with_causes(&error));
                if away_for >= give_up_after {
                    return Err(error);
                }
                let pause_left = give_up_after.saturating_sub(away_for);
                clock.sleep(pause.min(pause_left)).await;
                pause = (pause * 2).min(5 * TICK);
                *retried += 1;
            }
            settled => {
                trouble.is_over();
                return settled;
            }
        }
    }
}

/// Waits for an answer, and tells of a store that gives none for a while.
async fn tell_of_silence<T>(
    clock: &SharedClock,
    trouble: &Trouble,
    since: Instant,
    answer: impl Future<Output = T>,
) -> T {
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = clock.sleep(SILENCE) => {
                trouble.failed(clock.since(since), "it gives no answer".to_owned());
            }
        }
    }
}

/// Resolves with what the future gives; never, if there is none.
async fn poll_option<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
