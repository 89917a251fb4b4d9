//! The engine: dispatcher, lanes and keeper, joined by bounded queues.
//!
//! ```text
//!  OS thread          tokio tasks              one task
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

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use checkpoint::{CheckpointStore, Lease, OrderMode};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::audit::AuditLog;
use crate::dispatch::{DispatchEnd, Dispatched, Dispatcher, Start};
use crate::ending::Ending;
use crate::keeper::{Keeper, Keeping, Kept, KeptOutput, SaveReason};
use crate::lane::{Lane, NamePosition};
use crate::lanes::Lanes;
use crate::meters::Meters;
use crate::order::EventOrder;
use crate::profile::{Concurrency, PushSettings};
use crate::progress::Progress;
use crate::push::{ConcurrencyLimit, GateWatch, PushClient, Pusher, RetryCause, RetryPolicy};
use crate::quarantine::SetAside;
use crate::schedule::Schedule;
use crate::window::Window;
use crate::{Error, ReasonCode};

/// What the engine runs on.
pub struct Engine<C> {
    /// Where events come from.
    pub order: Box<dyn EventOrder>,
    /// When they are due.
    pub schedule: Schedule,
    /// At most so many.
    pub max_events: Option<u64>,
    /// What makes lanes.
    pub client: C,
    /// Where they lead, for errors.
    pub endpoint: String,
    /// How events are pushed.
    pub push: PushSettings,
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
    /// How far handing over may run ahead of what is durable.
    pub window: Arc<Window>,
    /// How the stream ends.
    pub ending: Ending,
    /// Told about every second.
    pub progress: watch::Sender<Progress>,
}

/// What a run of the engine came to.
#[derive(Debug)]
pub struct Ran {
    /// What was handed over.
    pub dispatched: Dispatched,
    /// What was kept.
    pub kept: Kept,
    /// What was counted.
    pub meters: Arc<Meters>,
    /// Posts made again, by cause.
    pub retries: Vec<(&'static str, u64)>,
    /// From the first event to the last save.
    pub elapsed: Duration,
}

impl<C: PushClient> Engine<C> {
    /// Streams until the end, on the calling task's runtime and threads of its own.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread, or one dies. Whatever else
    /// ends the stream is in [`Ran`] and in the [`Ending`].
    pub async fn run(self, audit: AuditLog) -> Result<Ran, Error> {
        let start = Start::now();
        let meters = Arc::new(Meters::new(self.outputs.len()));
        let window = self.window;
        let (lanes, queues) = Lanes::new(self.push.lanes, self.push.ordering);
        let (answers, heard) = mpsc::channel(4 * self.push.lanes.max(64));

        let limit = match self.push.concurrency {
            Concurrency::Fixed => ConcurrencyLimit::fixed(),
            Concurrency::Adaptive => ConcurrencyLimit::adaptive(self.push.lanes as u32),
        };
        let watch = Arc::new(GateWatch::new(self.retry, limit));
        let endpoint: Arc<str> = self.endpoint.into();
        let mut tasks = JoinSet::new();
        for queue in queues {
            let lane = Lane {
                queue,
                pusher: Pusher::new(self.client.lane(), Arc::clone(&watch), self.ending.cut()),
                answers: answers.clone(),
                ending: self.ending.clone(),
                start,
                endpoint: Arc::clone(&endpoint),
                places: Arc::clone(&self.places),
                quarantines: self.quarantine.is_some(),
            };
            tasks.spawn(lane.run());
        }
        drop(answers);

        let dispatched = spawn_dispatcher(Dispatcher {
            order: self.order,
            schedule: self.schedule,
            lanes,
            window: Arc::clone(&window),
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
            window,
            meters: Arc::clone(&meters),
            ending: self.ending.clone(),
            quarantine: self.quarantine,
            audit,
            progress: self.progress,
        });
        // The dispatcher's end closes the lanes' queues, and the lanes' end the keeper's.
        keeper.hear_all(heard).await;
        drain.abort();
        while let Some(lane) = tasks.join_next().await {
            lane.map_err(|source| internal("A lane ended in the middle of an event.", source))?;
        }
        let dispatched = dispatched
            .await
            .map_err(|source| internal("The dispatching thread ended too early.", source))?;
        let kept = keeper
            .finish(save_reason(&dispatched.end, &self.ending))
            .await;
        let causes = RetryCause::ALL.iter();
        let retries = causes
            .map(|cause| (cause.as_str(), watch.retries().get(*cause)))
            .collect();
        Ok(Ran {
            dispatched,
            kept,
            meters,
            retries,
            elapsed: Duration::from_nanos(start.elapsed()),
        })
    }
}

fn spawn_dispatcher(dispatcher: Dispatcher) -> Result<oneshot::Receiver<Dispatched>, Error> {
    let (done, ended) = oneshot::channel();
    thread::Builder::new()
        .name("wsp-dispatch".to_owned())
        .spawn(move || {
            // Nobody listens once the engine was dropped.
            let _ = done.send(dispatcher.run());
        })
        .map_err(|source| internal("The system gave no thread to dispatch on.", source))?;
    Ok(ended)
}

/// Gives up requests in flight when a drain has taken its time.
pub(crate) async fn cut_after(ending: Ending, drain_timeout: Duration) {
    ending.winding_down().await;
    tokio::time::sleep(drain_timeout).await;
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

fn internal(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    let fix = "Look for a panic above this line and report it; a rerun resumes.";
    Error::caused(ReasonCode::StreamInternal, what, fix, source)
}
