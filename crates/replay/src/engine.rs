//! The engine: dispatcher, lanes and keeper, joined by bounded queues.
//!
//! ```text
//!  OS thread          OS threads               one task
//! ┌────────────┐ queue ┌────────┐  answers   ┌────────┐ save_many ┌───────┐
//! │ dispatcher ├──────►│ lane 1 ├───────────►│        ├──────────►│ store │
//! │ order, pace├──────►│   …    ├───────────►│ keeper │           └───────┘
//! │            ├──────►│ lane n ├───────────►│        │
//! └─────▲──────┘       └────────┘            └───┬────┘
//!       └───────── window opens ─────────────────┘
//! ```
//!
//! The engine knows neither files nor profiles: the [`EventOrder`](crate::order::EventOrder) of a
//! [`Course`] yields events, the [`PushClient`] of a [`Gateway`] makes lanes, and the
//! [`CheckpointStore`](checkpoint::CheckpointStore) of [`Cursors`] keeps them.

use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use durable::{SystemRandom, TokioClock};
use model::{Bug, Clock, SharedRandom};
use push::{PostLeave, PushClient, Pusher, Retries};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use crate::crew::Crew;
use crate::ending::{Cause, Ending};
use crate::gate_book::GateBook;
use crate::keep::cursors::Cursors;
use crate::keep::held_lease::UnderLease;
use crate::keep::keeper::{Keeper, KeeperLinks};
use crate::keep::kept::Kept;
use crate::lanes::Lanes;
use crate::lanes::gate_figures::{BusyLanes, read_gate};
use crate::lanes::gateway::Gateway;
use crate::lanes::lane::{Lane, LaneContext};
use crate::lanes::lane_threads::{LaneThreads, lane_threads};
use crate::lanes::stamp::EmissionStamp;
use crate::lead::course::Course;
use crate::lead::dispatch::{DISPATCHER_DIED, DispatchEnd, Dispatched, Dispatcher};
use crate::lead::pilot::Pilot;
use crate::lead::steering::{Helm, Shown};
use crate::quarantine::SetAside;
use crate::receipts::Receipts;
use crate::run::Run;
use crate::tell::journal::{Journal, SaveReason};
use crate::tell::meters::Meters;
use crate::tell::progress::Progress;
use crate::tell::state_changes::StateChangesSender;
use crate::timer_slack::sleep_sharply;
use crate::window::Window;

/// Turns of lane threads that the keeper has yet to hear: more than come while it rests.
const TURNS: usize = 256;

/// The whole way of one stream's events.
pub struct Engine<C, K = TokioClock> {
    course: Course,
    gateway: Gateway<C>,
    cursors: Cursors,
    clock: K,
    window: Arc<Window>,
    ending: Ending,
    helm: Helm,
    progress: watch::Sender<Progress>,
    quarantine: Option<SetAside>,
    gate_book: GateBook,
    receipts: Option<Receipts>,
    changes: Vec<StateChangesSender>,
    crew: Crew,
    random: SharedRandom,
}

impl<C: PushClient, K: Clock> Engine<C, K> {
    /// Streams the events of `course` through `gateway` and keeps their `cursors`. Unless told
    /// otherwise nobody steers, stops or watches the stream, and the first rejected event ends it.
    pub fn new(course: Course, gateway: Gateway<C>, cursors: Cursors, clock: K) -> Self {
        let window = Window::new(cursors.flush_every(), gateway.lanes().count.get());
        Self {
            course,
            gateway,
            cursors,
            clock,
            window: Arc::new(window),
            ending: Ending::default(),
            helm: Helm::unmanned(),
            progress: watch::Sender::default(),
            quarantine: None,
            gate_book: GateBook::default(),
            receipts: None,
            changes: Vec::new(),
            crew: Crew::default(),
            random: SharedRandom::new(SystemRandom::default()),
        }
    }

    /// Ends the stream by a switch of the caller's.
    #[must_use]
    pub fn ended_by(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Obeys whoever holds the other end of `helm`.
    #[must_use]
    pub fn steered_by(mut self, helm: Helm) -> Self {
        self.helm = helm;
        self
    }

    /// Shows `progress` a snapshot a few times a second.
    #[must_use]
    pub fn shown_to(mut self, progress: watch::Sender<Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Tells each of `changes` of every change of the stream's state.
    #[must_use]
    pub fn telling(mut self, changes: Vec<StateChangesSender>) -> Self {
        self.changes = changes;
        self
    }

    /// Sets rejected events aside; with `None`, the first one ends the stream.
    #[must_use]
    pub fn with_quarantine(mut self, quarantine: Option<SetAside>) -> Self {
        self.quarantine = quarantine;
        self
    }

    /// Judges what the gate quarantines by `book`; without it such events pass and are counted.
    #[must_use]
    pub fn with_gate_book(mut self, book: GateBook) -> Self {
        self.gate_book = book;
        self
    }

    /// Writes a line of each acknowledged event to `receipts`; `None` writes none.
    #[must_use]
    pub fn with_receipts(mut self, receipts: Option<Receipts>) -> Self {
        self.receipts = receipts;
        self
    }

    /// Has the workers and tasks of `crew` do the work; without it, threads of the system do.
    #[must_use]
    pub fn by_crew(mut self, crew: Crew) -> Self {
        self.crew = crew;
        self
    }

    /// Takes the jitter of waits from the caller's source; from the system's by default.
    #[must_use]
    pub fn by_chance(mut self, random: SharedRandom) -> Self {
        self.random = random;
        self
    }

    /// How far handing over may run ahead of what is durable, for who looks after the lease.
    pub fn window(&self) -> Arc<Window> {
        Arc::clone(&self.window)
    }
}

/// What a run of the engine came to: what was handed over, kept and counted.
#[derive(Debug)]
pub struct Ran<J> {
    /// What was handed over.
    pub dispatched: Dispatched,
    /// What the gate answered, and what was saved.
    pub kept: Kept<J>,
    /// The counters of the stream's events.
    pub meters: Arc<Meters>,
    /// The number of posts that were made again, by cause.
    pub retries: Retries,
    /// The time from the start of the engine to the last save.
    pub elapsed: Duration,
}

impl<C: PushClient, K: Clock> Engine<C, K> {
    /// Streams until the end, under any executor, and on threads of its own, which end with it. To
    /// drop the future is a crash: the threads give up what they hold and end.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread. Whatever else ends the stream, a thread
    /// that dies included, is in [`Ran`] and in the [`Ending`].
    pub async fn run<J: Journal>(self, journal: J) -> Result<Ran<J>, Error> {
        let Self {
            course,
            gateway,
            cursors,
            clock,
            window,
            ending,
            helm,
            progress,
            quarantine,
            gate_book,
            receipts,
            changes,
            crew,
            random,
        } = self;
        // Whoever waits for events to be done waits no longer than the engine runs.
        let bell = helm.bell().clone();
        let _over = bell.until_dropped();
        let mut crash = Crash(Some(ending.clone()));
        let began = clock.now();
        let outputs = cursors.outputs().len();
        let run = Run::new(course.start, ending, window, outputs, progress).by_crew(crew);
        let settings = gateway.lanes();
        let (lanes, queues) = Lanes::new(settings);
        let watch = Arc::new(gateway.watch(clock.clone()));
        let (answers, heard) = mpsc::channel(TURNS);
        let context = LaneContext::new(
            run.clone(),
            gateway.endpoint(),
            course.places,
            quarantine.is_some(),
            gate_book.stops(),
        );
        let keeps_answers = receipts.is_some();
        let leave: Arc<dyn PostLeave> = Arc::new(UnderLease {
            lease: cursors.lease_watch().cloned(),
            ending: run.ending().clone(),
            sending: run.sending().clone(),
        });
        let mut busy = BusyLanes::default();
        let threads = LaneThreads::start(
            lane_threads(settings.count.get()),
            run.crew(),
            queues,
            &answers,
            run.ending(),
            |queue, answers| {
                let lane = gateway.client().lane();
                let pusher = Pusher::new(lane, Arc::clone(&watch), run.ending().cut());
                let pusher = pusher.asking(Arc::clone(&leave));
                let pusher = pusher.keeping_answers(keeps_answers);
                let pusher = pusher.with_random(random.clone());
                let stamp = settings
                    .stamps_emission
                    .then(|| EmissionStamp::new(clock.clone()));
                Lane::new(queue, pusher, answers, Arc::clone(&context))
                    .stamping(stamp)
                    .flagged(busy.add())
            },
        )?;
        drop(answers);

        let state = helm.state().clone();
        let _taps = helm.show(Shown::of(&run));
        let (pilot, acts) = Pilot::new(run.clone(), clock.clone(), course.schedule, lanes, helm);
        let dispatcher = Dispatcher::new(run.clone(), course.order, pilot, course.bounds);
        let dispatched = spawn_dispatcher(dispatcher, run.crew(), run.ending())?;
        let links = KeeperLinks {
            state,
            acts,
            gate_trouble: watch.trouble().clone(),
            bell,
            changes,
        };
        let links = (links, read_gate(&watch, busy));
        let mut keeper = Keeper::new(run.clone(), cursors, quarantine, journal, links)
            .judging_by(gate_book)
            .writing(receipts);
        // The dispatcher's end closes the lanes' queues, and the lanes' end the keeper's.
        let drain = cut_after(run.ending().clone(), settings.drain_timeout);
        {
            let (mut drain, mut hearing) = (pin!(drain), pin!(keeper.hear_all(heard)));
            tokio::select! {
                biased;
                () = &mut hearing => {}
                () = &mut drain => hearing.await,
            }
        }
        threads.join().await;
        // What was acknowledged is saved all the same.
        let dispatched = dispatched.await.unwrap_or_else(|_| Dispatched::died());
        let reason = save_reason(&dispatched.end, run.ending());
        let kept = keeper.finish(reason).await;
        crash.0 = None;
        Ok(Ran {
            dispatched,
            kept,
            meters: Arc::clone(run.meters()),
            retries: watch.retries().read(),
            elapsed: clock.now().saturating_duration_since(began),
        })
    }
}

/// Ends the threads of an engine that is dropped before its end.
struct Crash(Option<Ending>);

impl Drop for Crash {
    fn drop(&mut self) {
        if let Some(ending) = &self.0 {
            ending.wind_down(Cause::Asked);
            ending.cut().throw();
        }
    }
}

fn spawn_dispatcher<K: Clock>(
    dispatcher: Dispatcher<K>,
    crew: &Crew,
    ending: &Ending,
) -> Result<oneshot::Receiver<Dispatched>, Error> {
    let (done, ended) = oneshot::channel();
    let guard = ending.guard(DISPATCHER_DIED);
    if let Some(steps) = crew.steps() {
        steps.spawn(async move {
            let dispatched = dispatcher.run_as_task().await;
            guard.done();
            // Nobody listens once the engine was dropped.
            let _ = done.send(dispatched);
        });
        return Ok(ended);
    }
    thread::Builder::new()
        .name("wsp-dispatch".to_owned())
        .spawn(move || {
            sleep_sharply();
            let dispatched = dispatcher.run();
            guard.done();
            // Nobody listens once the engine was dropped.
            let _ = done.send(dispatched);
        })
        .map_err(|source| Error::no_thread("The system gave no thread to dispatch on", source))?;
    Ok(ended)
}

/// Gives up requests in flight once the stream has wound down for `drain_timeout`.
pub async fn cut_after(ending: Ending, drain_timeout: Duration) {
    ending.wound_down_for(drain_timeout).await;
    if Bug::DrainNeverEnds.is_planted() {
        return;
    }
    ending.cut().throw();
}

fn save_reason(end: &DispatchEnd, ending: &Ending) -> SaveReason {
    match end {
        _ if ending.is_winding_down() => SaveReason::Stopped,
        DispatchEnd::Complete => SaveReason::OutputComplete,
        DispatchEnd::MaxEvents => SaveReason::MaxEvents,
        DispatchEnd::WoundDown | DispatchEnd::Failed(_) => SaveReason::Stopped,
    }
}
