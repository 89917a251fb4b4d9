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
//! last (`saves`). A store that is away is tried again, with growing pauses, for up to
//! `give_up_after` (`patience`); the window holds the stream meanwhile.
//!
//! While no save can come due soon the keeper rests for a moment after each hearing: it
//! then hears many turns of the lanes at once, where waking for each would cost more than
//! hearing it.

use std::time::{Duration, Instant};

use checkpoint::OrderMode;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Beat, Bug, Clock as _, SharedClock};
use tokio::sync::mpsc;

use crate::ending::Cause;
use crate::gate_book::GateBook;
use crate::keep::cursors::Cursors;
use crate::keep::figures::{Beside, Figures, Moments};
use crate::keep::kept::Kept;
use crate::keep::saves::{Saved, Saves};
use crate::keep::watermark::{DoneEvent, Watermark};
use crate::lanes::gate_figures::ReadGate;
use crate::lanes::lane::{Answered, Fate, Rejection, ToldAnswer};
use crate::lanes::lane_threads::Answers;
use crate::place::Position;
use crate::quarantine::aside::{Aside, Pending, Settled};
use crate::quarantine::{RejectedEvent, SetAside};
use crate::receipts::Receipts;
use crate::run::Run;
use crate::tell::acts::Told;
use crate::tell::borders::{AtBorder, BorderTimes, border};
use crate::tell::counters::{Counters, OutagesReport};
use crate::tell::done_bell::DoneBell;
use crate::tell::journal::{
    CursorSaved, GapCutNote, Happening, Journal, OutageNote, RemadeCursor, SaveReason, SteeredNote,
    StoreRemadeNote,
};
use crate::tell::meters::Reading;
use crate::tell::progress::{OutputProgress, ReachedRow};
use crate::tell::state::{State, StateCell};
use crate::tell::state_changes::{StateChange, StateChangesSender};
use crate::{Error, ReasonCode};
use push::{Decision, Trouble};

/// Turns of lane threads heard at once.
const TURNS: usize = 64;
/// The longest that done events stay unsaved.
const TICK: Duration = Duration::from_secs(1);
/// How long the keeper rests after a hearing.
const REST: Duration = Duration::from_millis(4);
/// How often progress is told.
const TELL: Duration = Duration::from_millis(250);

/// What the keeper hears of besides answers.
pub(crate) struct KeeperLinks {
    /// What the dispatching thread is at.
    pub(crate) state: StateCell,
    /// Acts of steering and cut gaps, for the audit.
    pub(crate) acts: mpsc::UnboundedReceiver<Told>,
    /// What is wrong with the ingestion gate, if anything is.
    pub(crate) gate_trouble: Trouble,
    /// Wakes callers that wait for events to be done.
    pub(crate) bell: DoneBell,
    /// Who is told of every change of the stream's state.
    pub(crate) changes: Vec<StateChangesSender>,
}

/// The running keeper.
pub(crate) struct Keeper<J> {
    run: Run,
    saves: Saves,
    journal: J,
    links: KeeperLinks,
    watermark: Watermark,
    figures: Figures,
    gate_book: GateBook,
    receipts: Option<Receipts>,
    abandoned: u64,
    noted: Vec<Option<Instant>>,
    /// Whether the durable cursor of an output moved since the journal was told of it.
    unnoted: Vec<bool>,
    last_time: Option<Position>,
    aside: Aside,
    /// Whether the journal knows of the gate's outage, and of the store's.
    outage_told: [bool; 2],
    /// What the dispatching thread said last that it is at.
    base: State,
    /// The state that changes were told of last.
    changed_to: State,
    /// Since when due events wait for saves.
    waits_for_store_since: Option<Instant>,
    /// How often the store was made again, as far as the journal knows.
    remade_told: u64,
}

impl<J: Journal> Keeper<J> {
    /// A keeper that has heard nothing. `quarantine` is where rejected events are set aside;
    /// `None` where none are handed in. `read_gate` reads retries and permits.
    pub(crate) fn new(
        run: Run,
        cursors: Cursors,
        quarantine: Option<SetAside>,
        journal: J,
        (links, read_gate): (KeeperLinks, ReadGate),
    ) -> Self {
        let outputs = cursors.outputs.len();
        let clock = run.ending().clock().clone();
        Self {
            figures: Figures::new(clock, outputs, read_gate),
            aside: Aside::new(quarantine, run.ending().clock().clone(), run.crew().clone()),
            run,
            saves: Saves::new(cursors),
            journal,
            links,
            watermark: Watermark::new(outputs),
            gate_book: GateBook::default(),
            receipts: None,
            abandoned: 0,
            noted: vec![None; outputs],
            unnoted: vec![false; outputs],
            last_time: None,
            outage_told: [false; 2],
            base: State::Starting,
            changed_to: State::Starting,
            waits_for_store_since: None,
            remade_told: 0,
        }
    }

    /// Judges what the gate quarantines by a book.
    pub(crate) fn judging_by(mut self, book: GateBook) -> Self {
        self.gate_book = book;
        self
    }

    /// Writes a line of each acknowledged event; `None` writes none.
    pub(crate) fn writing(mut self, receipts: Option<Receipts>) -> Self {
        self.receipts = receipts;
        self
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
                    self.links.bell.ring();
                    // With more to hear it would fall behind.
                    if heard < TURNS && self.saves.may_rest(self.unsaved()) {
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
            if saving.is_none() && self.saves.is_due(self.unsaved(), is_tick) {
                is_tick = false;
                saving = self.start_save();
            }
        }
        while let Some(working) = setting_aside.take().or_else(|| self.aside.start()) {
            tokio::select! {
                biased;
                settled = working => self.set_aside(settled),
                () = self.run.ending().wound_down_for(self.saves.cursors().stop_timeout) => {
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
        if let Some(saving) = self.start_save() {
            self.saved(saving.await, reason);
        }
        for output in 0..self.unnoted.len() {
            if self.unnoted[output] {
                self.note_cursor(output, reason);
            }
        }
        while let Ok(steered) = self.links.acts.try_recv() {
            self.note_told(&steered);
        }
        self.note_quarantine(true);
        self.note_gate_quarantine(true);
        self.tell_progress();
        self.check_aside();
        self.sync_receipts();
        let decisions = self.figures.decisions();
        let verdict = self.gate_book.close(decisions);
        let outages = self.outages();
        let closed = self.figures.close(&self.saves.cursors().outputs);
        Kept {
            quarantine: self.aside.report(),
            outages,
            gate_away: self.links.gate_trouble.current(),
            decisions,
            decisions_of: closed.decisions_of,
            refused: closed.refused,
            gate_quarantined: self.gate_book.report(),
            verdict,
            lateness: closed.lateness,
            lateness_logs: closed.lateness_logs,
            timeline: closed.timeline,
            checkpoints: self.saves.counts(),
            abandoned: self.abandoned,
            save_failed: self.saves.are_broken(),
            cursors: self.saves.into_durable(),
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
            id,
            due,
            fate,
        } = answer;
        let done = DoneEvent {
            position,
            id,
            is_set_aside: false,
        };
        match fate {
            Fate::Acknowledged {
                decision,
                sent,
                answered,
                told,
            } => {
                let moments = due.map(|due| Moments {
                    due,
                    sent,
                    answered,
                });
                self.figures.acknowledged(output, decision, moments);
                if let Some(told) = told {
                    self.told_of(output, position, decision, &told);
                }
                if self.gate_book.is_judged_all() && decision == Decision::Admit {
                    self.gate_book.admitted();
                }
                self.run.meters().acknowledged(output);
                self.watermark.mark_done(output, sequence, done);
                self.last_time = Some(position);
            }
            Fate::Rejected(rejection) => {
                if Bug::SetAsideTooEarly.is_planted() {
                    self.watermark.mark_done(output, sequence, done);
                }
                self.figures.refused();
                let event = self.rejected(output, position, *rejection);
                self.aside.take(Pending {
                    output,
                    sequence,
                    position,
                    id,
                    event,
                });
            }
            Fate::HandedBack if Bug::HandedBackIsDone.is_planted() => {
                self.watermark.mark_done(output, sequence, done);
            }
            Fate::HandedBack => self.run.meters().handed_back(output),
            Fate::Abandoned => {
                self.abandoned += 1;
                if Bug::AbandonedIsDone.is_planted() {
                    self.watermark.mark_done(output, sequence, done);
                }
            }
            Fate::Refused => self.figures.refused(),
            Fate::Failed => {}
        }
    }

    /// Takes down what the gate said of an event: its receipt, and whether it was quarantined.
    fn told_of(
        &mut self,
        output: usize,
        position: Position,
        decision: Decision,
        told: &ToldAnswer,
    ) {
        let kept = &self.saves.cursors().outputs[output];
        if let Some(receipts) = &mut self.receipts {
            receipts.write(
                kept.key().output_id(),
                decision,
                &told.event_id,
                &told.details,
            );
        }
        if decision != Decision::Quarantine {
            return;
        }
        let place = (kept.part(position.part), position.row);
        let output_id = kept.key().output_id();
        let (id, details) = (&told.event_id, &told.details);
        let noted = self.gate_book.note(output_id, place, id, details);
        let judged = noted.and_then(|()| self.gate_book.judge(self.figures.decisions()));
        if let Err(error) = judged {
            self.run.ending().wind_down(Cause::Failed(error));
        }
        self.note_gate_quarantine(false);
    }

    fn note_gate_quarantine(&mut self, end: bool) {
        let now = self.clock().now();
        for note in self.gate_book.tell(now, end) {
            self.note(Happening::GateQuarantined(note));
        }
    }

    /// Starts a save, if one is due, of events whose receipts are written.
    fn start_save(&mut self) -> Option<BoxFuture<'static, Saved>> {
        if let Some(receipts) = &mut self.receipts
            && let Err(error) = receipts.flush()
        {
            self.run.ending().wind_down(Cause::Failed(error));
            return None;
        }
        if Bug::WindowOpensEarly.is_planted() {
            self.run.window().set_durable(self.watermark.done());
        }
        self.saves.start(&self.watermark, &self.run)
    }

    fn sync_receipts(&mut self) {
        if let Some(receipts) = &mut self.receipts
            && let Err(error) = receipts.sync()
        {
            self.run.ending().wind_down(Cause::Failed(error));
        }
    }

    fn rejected(&self, output: usize, position: Position, why: Rejection) -> RejectedEvent {
        let output = &self.saves.cursors().outputs[output];
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
            if !Bug::SetAsideUncounted.is_planted() {
                self.run.meters().quarantined(event.output);
            }
            let done = DoneEvent {
                position: event.position,
                id: event.id,
                is_set_aside: true,
            };
            self.watermark.mark_done(event.output, event.sequence, done);
            self.last_time = Some(event.position);
        }
        self.links.bell.ring();
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

    /// Done events that no saved cursor covers.
    fn unsaved(&self) -> u64 {
        self.watermark.done() - self.run.window().durable()
    }

    fn saved(&mut self, saved: Saved, reason: SaveReason) {
        match self.saves.settle(saved, self.watermark.done()) {
            Ok((covers, moved)) => {
                self.run.window().set_durable(covers);
                self.run.ending().wake_dispatcher();
                for output in moved {
                    self.note_saved(output, reason);
                }
            }
            Err(error) => self
                .run
                .ending()
                .wind_down(Cause::Failed(Error::Checkpoint(error))),
        }
    }

    /// At most one line a second and output, except for the last cursor of each: a save that came
    /// too soon after the one before is noted at the end.
    fn note_saved(&mut self, index: usize, reason: SaveReason) {
        let now = self.clock().now();
        let recent = self.noted[index].is_some_and(|at| now.saturating_duration_since(at) < TICK);
        if reason == SaveReason::PeriodicFlush && recent {
            self.unnoted[index] = true;
            return;
        }
        self.noted[index] = Some(now);
        self.note_cursor(index, reason);
    }

    fn note_cursor(&mut self, index: usize, reason: SaveReason) {
        self.unnoted[index] = false;
        let key = self.saves.cursors().outputs[index].key().clone();
        if let Some(cursor) = self.saves.durable(index) {
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
        let of_store = (
            "checkpoint_store",
            self.saves.cursors().store_trouble.clone(),
            1,
        );
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

    /// Notes that somebody deleted the store, and that it was made again.
    fn note_remade(&mut self) {
        let store = &self.saves.cursors().store;
        let times = store.times_remade();
        if times == self.remade_told {
            return;
        }
        let checkpoint_store = store.place();
        self.remade_told = times;
        let outputs = self.saves.cursors().outputs.iter().enumerate();
        let cursors = outputs.filter_map(|(index, output)| {
            let cursor = self.saves.durable(index)?;
            Some(RemadeCursor {
                output_id: output.key().output_id().clone(),
                cursor: cursor.into(),
            })
        });
        let note = StoreRemadeNote {
            checkpoint_store,
            times,
            cursors: cursors.collect(),
        };
        self.note(Happening::StoreRemade(note));
        self.check_aside();
    }

    /// Ends the stream where events that were set aside are gone: no cursor brings them back.
    fn check_aside(&self) {
        if let Err(error) = self.aside.check_in_place() {
            self.run.ending().wind_down(Cause::Failed(error));
        }
    }

    fn note_told(&mut self, told: &Told) {
        let event_time = self.last_time.map(|position| position.time);
        self.note(match told {
            Told::Steered(steered) => Happening::Steered(SteeredNote::new(steered, event_time)),
            Told::GapCut(cut) => Happening::GapCut(GapCutNote::new(cut, event_time)),
            Told::State(state) => {
                self.base = *state;
                self.figures.turned(*state);
                self.tell_change();
                return;
            }
        });
    }

    /// Tells of the stream's state, if it is another one.
    fn tell_change(&mut self) {
        let gate_away = self.links.gate_trouble.current();
        let store_away = self.saves.cursors().store_trouble.current();
        let from = self.changed_to;
        let to = self
            .base
            .while_away(gate_away.is_some(), store_away.is_some());
        if to == from {
            return;
        }
        self.changed_to = to;
        let away = match to {
            State::GateAway => gate_away,
            State::StoreAway => store_away,
            _ => None,
        };
        let change = StateChange {
            at: self.clock().wall(),
            from,
            to,
            why: away.map(|away| away.cause),
            acknowledged: self.run.meters().read_all().acknowledged,
            event_time: self.last_time.map(|position| position.time),
        };
        for changes in &self.links.changes {
            changes.send(change.clone());
        }
    }

    /// The event times of all borders.
    fn border_times(&self) -> BorderTimes {
        let before = self.run.progress().borrow().event_times;
        let cursors = self.saves.cursors();
        let outputs = 0..cursors.outputs.len();
        let in_flight = |output| self.run.meters().reading(output).in_flight > 0;
        let acknowledged = outputs.clone().map(|output| AtBorder {
            is_behind: in_flight(output),
            reached: self.watermark.reached(output).map(|position| position.time),
        });
        let durable = outputs.map(|output| AtBorder {
            is_behind: in_flight(output) || !self.saves.is_durable(output, &self.watermark),
            reached: self.saves.durable_time(output),
        });
        let border = |outputs: Vec<AtBorder>, before| match cursors.order {
            // Times go on and on; an output that rests may hold an old one.
            OrderMode::EventTime => border(&outputs, before).max(before),
            OrderMode::AsWritten => border(&outputs, before),
        };
        BorderTimes {
            handed_over: self.run.meters().handed_over_time(),
            acknowledged: border(acknowledged.collect(), before.acknowledged),
            durable: border(durable.collect(), before.durable),
        }
    }

    /// How long due events have waited for saves; `None` while they do not.
    fn waiting_for_store(&mut self, meters: Reading) -> Option<Duration> {
        let handed_over = meters.read - meters.buffered;
        let waits = self.links.state.get() == State::HeldBack
            && !self.run.window().has_room(handed_over)
            // Else it is the gate that is waited for.
            && self.unsaved() > meters.in_flight;
        let now = self.clock().now();
        let since = self.waits_for_store_since.filter(|_| waits);
        self.waits_for_store_since = waits.then(|| since.unwrap_or(now));
        let since = self.waits_for_store_since?;
        Some(now.saturating_duration_since(since))
    }

    fn output_progress(&self) -> Vec<OutputProgress> {
        let outputs = self.saves.cursors().outputs.iter().enumerate();
        let progress = outputs.map(|(index, output)| OutputProgress {
            output_id: output.key().output_id().clone(),
            emitted: self.run.meters().reading(index).acknowledged,
            reached: self.watermark.reached(index).map(|position| ReachedRow {
                file: output.location(position.part).to_owned(),
                row: position.row,
                time: position.time,
            }),
        });
        progress.collect()
    }

    fn outages(&self) -> OutagesReport {
        OutagesReport {
            ingestion_gate: self.links.gate_trouble.outages(),
            checkpoint_store: self.saves.cursors().store_trouble.outages(),
        }
    }

    /// Reads all counts, and records them in the timeline.
    fn count(&mut self) -> Counters {
        let outages = self.outages();
        self.figures.tell(Beside {
            meters: self.run.meters(),
            outputs: &self.saves.cursors().outputs,
            checkpoints: self.saves.counts(),
            outages,
        })
    }

    fn tell_progress(&mut self) {
        self.note_outages();
        self.tell_change();
        self.note_remade();
        let meters = self.run.meters().read_all();
        let event_times = self.border_times();
        let waiting_for_store = self.waiting_for_store(meters);
        let of_store = &self.saves.cursors().store_trouble;
        let last_failure = self.links.gate_trouble.last_failure();
        let last_failure = last_failure.or_else(|| of_store.last_failure());
        let state = self.links.state.get();
        let gate_away = self.links.gate_trouble.current();
        let store_away = self.saves.cursors().store_trouble.current();
        let gate_quarantined = self.gate_book.report();
        let outputs = self.output_progress();
        let counters = self.count();
        self.run.progress().send_modify(|progress| {
            progress.gate_away = gate_away;
            progress.store_away = store_away;
            progress.gate_quarantined = gate_quarantined;
            progress.outputs = outputs;
            progress.counters = counters;
            progress.state = progress.shown(state);
            progress.meters = meters;
            progress.event_times = event_times;
            progress.waiting_for_store = waiting_for_store;
            progress.last_failure = last_failure;
            progress.event_time = self.last_time.map(|position| position.time);
            progress.lateness_ms = self.figures.latest_lateness_ms();
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

/// Resolves with what the future gives; never, if there is none.
async fn poll_option<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
