//! Steering: what an operator, or a program, may ask of a running stream.
//!
//! ```text
//!  Steering (clones anywhere) ──orders──► Helm (dispatching thread) ──acts──► keeper ──► audit
//!        ▲                                   │
//!        └──────── answer, with a snapshot ──┘
//! ```
//!
//! Orders are obeyed by the thread that hands events over, between two of them or while
//! it waits for anything but the next row; so an act lies between two events, exactly,
//! and its answer means that it is done. Events that were handed over before a pause and that
//! no lane has begun to send wait in the lanes; requests in flight get their answers.
//!
//! | act | while it runs | while it is paused |
//! |---|---|---|
//! | pause | stands still from now on | nothing changes |
//! | resume | nothing changes | goes on; the schedule moves by the pause |
//! | pace | goes on at the new pace from now | the same, once it is resumed |
//! | step | refused | the next events leave at once, and the schedule is then where they were due |
//! | stop | winds down | winds down |

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use envelope::EventTime;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::keep::meters::{Meters, Reading};
use crate::lead::pace::Pace;
use crate::run::ending::{Cause, Ending};
use crate::run::progress::Progress;

/// Orders that may wait at once; one who sends more waits to send.
const WAITING_ORDERS: usize = 16;

/// What the dispatching thread is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The evidence is looked at, or the first row is on its way.
    #[default]
    Starting,
    /// The schedule begins later.
    WaitingForStart,
    /// Events leave when they are due.
    Running,
    /// Events wait for saves or for the ingestion gate.
    HeldBack,
    /// The ingestion gate takes no event; the stream tries on.
    GateAway,
    /// The checkpoint store takes no cursor; the stream tries on.
    StoreAway,
    /// Somebody paused it.
    Paused,
    /// No new event leaves any more.
    Ending,
}

impl State {
    const ALL: [Self; 8] = [
        Self::Starting,
        Self::WaitingForStart,
        Self::Running,
        Self::HeldBack,
        Self::GateAway,
        Self::StoreAway,
        Self::Paused,
        Self::Ending,
    ];

    /// As reports and the progress line say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::WaitingForStart => "waiting_for_start",
            Self::Running => "running",
            Self::HeldBack => "held_back",
            Self::GateAway => "gate_away",
            Self::StoreAway => "store_away",
            Self::Paused => "paused",
            Self::Ending => "ending",
        }
    }
}

/// The state, as the dispatching thread tells it and anybody reads it.
#[derive(Debug, Clone, Default)]
pub(crate) struct StateCell(Arc<AtomicU8>);

impl StateCell {
    pub(crate) fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Release);
    }

    pub(crate) fn get(&self) -> State {
        State::ALL[usize::from(self.0.load(Ordering::Acquire))]
    }
}

/// What may be asked of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Let no event leave until further notice.
    Pause,
    /// Go on.
    Resume,
    /// Go on at another pace.
    SetPace(Pace),
    /// Let so many events leave now, while paused.
    Step(u64),
    /// Wind down, as on a signal.
    Stop,
}

impl Act {
    /// As audit and control socket say it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::SetPace(_) => "pace",
            Self::Step(_) => "step",
            Self::Stop => "stop",
        }
    }
}

/// Why an act was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Only a paused stream can be stepped.
    #[error("the stream is not paused: pause it, then step")]
    NotPaused,
    /// Nothing can be steered any more.
    #[error("the stream has ended, or is ending")]
    Ended,
}

/// An act that was asked for, for the audit.
#[derive(Debug, Clone)]
pub struct Steered {
    /// What was asked.
    pub act: Act,
    /// Who asked.
    pub by: String,
    /// Why it was not done, if it was not.
    pub refused: Option<Refused>,
    /// What the stream was at afterwards.
    pub state: State,
    /// The pace before.
    pub pace_before: Pace,
    /// The pace afterwards.
    pub pace: Pace,
    /// Events handed over until then.
    pub handed_over: u64,
}

impl Steered {
    /// As the audit says it; `event_time` is that of the last acknowledgement.
    pub fn details(&self, event_time: Option<EventTime>) -> Value {
        let mut details = json!({
            "act": self.act.as_str(),
            "by": self.by,
            "applied": self.refused.is_none(),
            "refused": self.refused.map(|refused| refused.to_string()),
            "state": self.state,
            "pace_before": self.pace_before,
            "pace": self.pace,
            "handed_over": self.handed_over,
            "event_time": event_time.map(|time| time.to_string()),
        });
        if let Act::Step(events) = self.act {
            details["events"] = events.into();
        }
        details
    }
}

/// A wait for the next event that `max_gap` made shorter, for the audit.
#[derive(Debug, Clone, Copy)]
pub struct CutGap {
    /// The event time of the event that is waited for.
    pub next: EventTime,
    /// By how much that event and all after it are due earlier.
    pub earlier: Duration,
    /// Events handed over until then.
    pub handed_over: u64,
}

impl CutGap {
    /// As the audit says it; `event_time` is that of the last acknowledgement.
    pub fn details(&self, event_time: Option<EventTime>) -> Value {
        json!({
            "next_event_time": self.next.to_string(),
            "earlier_s": self.earlier.as_secs_f64(),
            "handed_over": self.handed_over,
            "event_time": event_time.map(|time| time.to_string()),
        })
    }
}

/// What the dispatching thread tells the keeper, for the audit.
#[derive(Debug, Clone)]
pub enum Told {
    /// Somebody steered the stream, or tried to.
    Steered(Steered),
    /// A gap was longer than `max_gap`.
    GapCut(CutGap),
}

/// The meters of a stream that has begun, for whoever asks in between two snapshots.
#[derive(Debug, Clone, Default)]
struct MetersCell(Arc<OnceLock<Arc<Meters>>>);

/// One order on its way.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) act: Act,
    pub(crate) by: String,
    pub(crate) answer: oneshot::Sender<Result<Progress, Refused>>,
}

/// The handle that a stream is steered by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Steering {
    orders: mpsc::Sender<Order>,
    waiting: Arc<AtomicBool>,
    state: StateCell,
    meters: MetersCell,
    ending: Ending,
}

impl Steering {
    /// A handle, and the dispatching thread's end of it.
    pub fn new(ending: Ending) -> (Self, Helm) {
        let (orders, taken) = mpsc::channel(WAITING_ORDERS);
        let steering = Self {
            orders,
            waiting: Arc::default(),
            state: StateCell::default(),
            meters: MetersCell::default(),
            ending,
        };
        let helm = Helm {
            orders: taken,
            waiting: Arc::clone(&steering.waiting),
            state: steering.state.clone(),
            meters: steering.meters.clone(),
        };
        (steering, helm)
    }

    /// What the stream is at.
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// The meters of all outputs together, as they are now; absent before the stream begins.
    pub fn meters(&self) -> Option<Reading> {
        self.meters.0.get().map(|meters| meters.read_all())
    }

    /// Has an act done, and resolves with a snapshot from behind it. `by` is who asks,
    /// for the audit.
    ///
    /// Before the first event an act waits for it: a stream may be started paused.
    ///
    /// # Errors
    /// [`Refused`] if it is not to be done.
    pub async fn act(&self, act: Act, by: impl Into<String>) -> Result<Progress, Refused> {
        let is_stop = act == Act::Stop;
        let (answer, answered) = oneshot::channel();
        let by = by.into();
        let order = Order { act, by, answer };
        // In the queue before the stream winds down, or the thread may take no more orders by then.
        let unsent = match self.orders.try_send(order) {
            Ok(()) => None,
            Err(TrySendError::Full(order) | TrySendError::Closed(order)) => Some(order),
        };
        if is_stop {
            // At once, whatever the thread is waiting for and however many orders are.
            self.ending.wind_down(Cause::Asked);
        }
        if let Some(order) = unsent {
            let sent = self.orders.send(order).await;
            sent.map_err(|_| Refused::Ended)?;
        }
        self.waiting.store(true, Ordering::Release);
        self.ending.wake_dispatcher();
        answered.await.unwrap_or(Err(Refused::Ended))
    }

    /// [`Act::Pause`].
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub async fn pause(&self, by: &str) -> Result<Progress, Refused> {
        self.act(Act::Pause, by).await
    }

    /// [`Act::Resume`].
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub async fn resume(&self, by: &str) -> Result<Progress, Refused> {
        self.act(Act::Resume, by).await
    }

    /// [`Act::SetPace`].
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub async fn set_pace(&self, pace: impl Into<Pace>, by: &str) -> Result<Progress, Refused> {
        self.act(Act::SetPace(pace.into()), by).await
    }

    /// [`Act::Step`].
    ///
    /// # Errors
    /// [`Refused::NotPaused`], [`Refused::Ended`].
    pub async fn step(&self, events: u64, by: &str) -> Result<Progress, Refused> {
        self.act(Act::Step(events), by).await
    }

    /// [`Act::Stop`].
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub async fn stop(&self, by: &str) -> Result<Progress, Refused> {
        self.act(Act::Stop, by).await
    }
}

/// The dispatching thread's end: orders come in, the state goes out.
#[derive(Debug)]
pub struct Helm {
    orders: mpsc::Receiver<Order>,
    waiting: Arc<AtomicBool>,
    state: StateCell,
    meters: MetersCell,
}

impl Helm {
    /// A helm that nobody steers.
    pub fn unmanned() -> Self {
        Steering::new(Ending::default()).1
    }

    /// The next order, if there is one. Where there is none, that is one read of an atomic.
    pub(crate) fn next_order(&mut self) -> Option<Order> {
        if !self.waiting.load(Ordering::Acquire) {
            return None;
        }
        if let Ok(order) = self.orders.try_recv() {
            return Some(order);
        }
        self.waiting.store(false, Ordering::Release);
        // One that came between the two.
        let order = self.orders.try_recv().ok()?;
        self.waiting.store(true, Ordering::Release);
        Some(order)
    }

    /// Takes no more orders; those that wait are still to be had.
    pub(crate) fn close(&mut self) {
        self.orders.close();
        self.waiting.store(true, Ordering::Release);
    }

    /// Shows the stream's meters to whoever holds the handle.
    pub(crate) fn show(&self, meters: Arc<Meters>) {
        // A helm has one stream.
        let _ = self.meters.0.set(meters);
    }

    pub(crate) fn state(&self) -> &StateCell {
        &self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_is_answered_by_the_helm() {
        let (steering, mut helm) = Steering::new(Ending::default());
        assert!(helm.next_order().is_none());
        let asked = tokio::spawn(async move { steering.step(3, "me").await });
        let order = loop {
            match helm.next_order() {
                Some(order) => break order,
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!((order.act, order.by.as_str()), (Act::Step(3), "me"));
        order.answer.send(Err(Refused::NotPaused)).unwrap();
        assert_eq!(asked.await.unwrap().unwrap_err(), Refused::NotPaused);
        assert!(helm.next_order().is_none());
    }

    #[tokio::test]
    async fn a_stream_that_has_ended_refuses_every_act() {
        let (steering, helm) = Steering::new(Ending::default());
        drop(helm);
        assert_eq!(steering.pause("me").await.unwrap_err(), Refused::Ended);
    }

    #[tokio::test]
    async fn a_stop_winds_down_whether_it_is_heard_or_not() {
        let ending = Ending::default();
        let (steering, helm) = Steering::new(ending.clone());
        drop(helm);
        assert_eq!(steering.stop("me").await.unwrap_err(), Refused::Ended);
        assert!(ending.is_winding_down());
    }
}
