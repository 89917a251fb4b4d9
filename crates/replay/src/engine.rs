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
//! The engine knows neither files nor profiles: an [`EventOrder`] yields events, a
//! [`PushClient`] makes lanes, a [`CheckpointStore`] keeps cursors.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use checkpoint::{CheckpointStore, Lease, LeaseWatch, OrderMode};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use durable::TokioClock;
use model::Clock;

use crate::ending::{Cause, Ending};
use crate::keep::held_lease::UnderLease;
use crate::keep::keeper::{Keeper, Keeping, Kept, KeptOutput, Troubles};
use crate::keep::window::Window;
use crate::lanes::lane::Lane;
use crate::lanes::lane_threads::LaneThreads;
use crate::lanes::sending::Sending;
use crate::lanes::{Concurrency, LaneSettings, Lanes};
use crate::lead::dispatch::{DISPATCHER_DIED, DispatchEnd, Dispatched, Dispatcher};
use crate::lead::pilot::{Pilot, Piloting};
use crate::lead::schedule::Schedule;
use crate::lead::steering::Helm;
use crate::order::EventOrder;
use crate::place::NamePosition;
use crate::quarantine::SetAside;
use crate::tell::journal::{Journal, SaveReason};
use crate::tell::meters::Meters;
use crate::tell::progress::Progress;
use crate::time::Start;
use crate::timer_slack::sleep_sharply;
use push::{ConcurrencyLimit, GateWatch, PostLeave, PushClient, Pusher, RetryPolicy, Trouble};

/// Threads that drive the lanes, at most.
const MOST_LANE_THREADS: usize = 4;
/// Turns of lane threads that the keeper has yet to hear: more than come while it rests.
const TURNS: usize = 256;

/// What the engine runs on.
pub struct Engine<C, K = TokioClock> {
    /// Where events come from.
    pub order: Box<dyn EventOrder>,
    /// When they are due.
    pub schedule: Schedule,
    /// The moment that the schedule counts from.
    pub start: Start,
    /// What time it is.
    pub clock: K,
    /// Who steers.
    pub helm: Helm,
    /// At most so many.
    pub max_events: Option<u64>,
    /// What makes lanes.
    pub client: C,
    /// Where they lead, for errors.
    pub endpoint: String,
    /// How events are pushed.
    pub push: LaneSettings,
    /// How failed pushes are retried.
    pub retry: RetryPolicy,
    /// Where rejected events are set aside; without it, the first one ends the stream.
    pub quarantine: Option<SetAside>,
    /// Names rows for errors.
    pub places: Arc<dyn NamePosition>,
    /// Where cursors are kept.
    pub store: Arc<dyn CheckpointStore>,
    /// The right to keep them.
    pub lease: Arc<Lease>,
    /// Tells whether the lease is held, before each post; `None` posts without asking.
    pub lease_watch: Option<LeaseWatch>,
    /// The outputs, in list order.
    pub outputs: Vec<KeptOutput>,
    /// What a cursor means.
    pub order_mode: OrderMode,
    /// The run that cursors are bound to.
    pub platform_run_id: String,
    /// Events between saves.
    pub flush_every: u64,
    /// How long the checkpoint store may be away.
    pub give_up_after: Duration,
    /// What is known of a store that is away.
    pub store_trouble: Trouble,
    /// How long after the stream began to wind down a save is given up.
    pub stop_timeout: Duration,
    /// How far handing over may run ahead of what is durable.
    pub window: Arc<Window>,
    /// How the stream ends.
    pub ending: Ending,
    /// Told about every second.
    pub progress: watch::Sender<Progress>,
}

/// What a run of the engine came to.
#[derive(Debug)]
pub struct Ran<J> {
    /// What was handed over.
    pub dispatched: Dispatched,
    /// What was kept.
    pub kept: Kept<J>,
    /// What was counted.
    pub meters: Arc<Meters>,
    /// Posts made again, by cause.
    pub retries: Vec<(&'static str, u64)>,
    /// From the first event to the last save.
    pub elapsed: Duration,
}

impl<C: PushClient, K: Clock> Engine<C, K> {
    /// Streams until the end, on the calling task's runtime and threads of its own. To drop
    /// the future is a crash: the threads give up what they hold and end.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread. Whatever else ends the stream, a thread
    /// that dies included, is in [`Ran`] and in the [`Ending`].
    pub async fn run<J: Journal>(self, journal: J) -> Result<Ran<J>, Error> {
        let mut crash = Crash(Some(self.ending.clone()));
        let (start, began) = (self.start, self.start.at(self.clock.now()));
        let meters = Arc::new(Meters::new(self.outputs.len()));
        let watch = Arc::new(self.gate_watch());
        let window = self.window;
        let push = &self.push;
        let (lanes, queues) = Lanes::new(push.count, push.ordering, push.in_flight_bytes);
        let (answers, heard) = mpsc::channel(TURNS);

        let endpoint: Arc<str> = self.endpoint.into();
        let sending = Sending::default();
        let leave: Arc<dyn PostLeave> = Arc::new(UnderLease {
            lease: self.lease_watch,
            ending: self.ending.clone(),
            sending: sending.clone(),
        });
        let made = LaneThreads::start(
            lane_threads(),
            queues,
            &answers,
            &self.ending,
            |queue, answers| Lane {
                queue,
                pusher: Pusher::new(self.client.lane(), Arc::clone(&watch), self.ending.cut())
                    .asking(Arc::clone(&leave)),
                answers,
                ending: self.ending.clone(),
                sending: sending.clone(),
                start,
                endpoint: Arc::clone(&endpoint),
                places: Arc::clone(&self.places),
                quarantines: self.quarantine.is_some(),
            },
        );
        let threads = made?;
        drop(answers);

        let (acts, told) = mpsc::unbounded_channel();
        let state = self.helm.state().clone();
        self.helm.show(Arc::clone(&meters));
        let pilot = Pilot::new(Piloting {
            schedule: self.schedule,
            window: Arc::clone(&window),
            ending: self.ending.clone(),
            sending: sending.clone(),
            helm: self.helm,
            acts,
            meters: Arc::clone(&meters),
            progress: self.progress.clone(),
            clock: self.clock.clone(),
            start,
        });
        let dispatched = spawn_dispatcher(Dispatcher {
            order: self.order,
            pilot,
            lanes,
            meters: Arc::clone(&meters),
            ending: self.ending.clone(),
            max_events: self.max_events,
            start,
        })?;
        let drain = tokio::spawn(cut_after(self.ending.clone(), self.push.drain_timeout));
        let mut keeper = Keeper::new(Keeping {
            store: self.store,
            lease: self.lease,
            outputs: self.outputs,
            order: self.order_mode,
            platform_run_id: self.platform_run_id,
            flush_every: self.flush_every,
            give_up_after: self.give_up_after,
            stop_timeout: self.stop_timeout,
            window,
            meters: Arc::clone(&meters),
            ending: self.ending.clone(),
            quarantine: self.quarantine,
            journal,
            progress: self.progress,
            state,
            acts: told,
            troubles: Troubles {
                gate: watch.trouble().clone(),
                store: self.store_trouble,
            },
        });
        // The dispatcher's end closes the lanes' queues, and the lanes' end the keeper's.
        keeper.hear_all(heard).await;
        drain.abort();
        threads.join().await;
        // What was acknowledged is saved all the same.
        let dispatched = dispatched.await.unwrap_or_else(|_| Dispatched::died());
        let kept = keeper
            .finish(save_reason(&dispatched.end, &self.ending))
            .await;
        crash.0 = None;
        Ok(Ran {
            dispatched,
            kept,
            meters,
            retries: watch.retries().by_cause(),
            elapsed: Duration::from_nanos(start.at(self.clock.now()).abs_diff(began)),
        })
    }

    fn gate_watch(&self) -> GateWatch<K> {
        let limit = concurrency_limit(&self.push);
        GateWatch::with_clock(self.retry, limit, self.clock.clone())
            .with_transient_errors(self.push.transient_errors.clone())
            .with_max_event_bytes(self.push.max_event_bytes)
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

fn concurrency_limit(push: &LaneSettings) -> ConcurrencyLimit {
    match push.concurrency {
        Concurrency::Fixed => ConcurrencyLimit::fixed(),
        Concurrency::Adaptive => ConcurrencyLimit::adaptive(push.count as u32),
    }
}

/// One a core; more than a few would only make smaller turns.
fn lane_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.min(MOST_LANE_THREADS)
}

fn spawn_dispatcher<K: Clock>(
    dispatcher: Dispatcher<K>,
) -> Result<oneshot::Receiver<Dispatched>, Error> {
    let (done, ended) = oneshot::channel();
    let guard = dispatcher.ending.guard(DISPATCHER_DIED);
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

/// Gives up requests in flight when a drain has taken its time.
pub async fn cut_after(ending: Ending, drain_timeout: Duration) {
    ending.wound_down_for(drain_timeout).await;
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
