//! Steering: what an operator, or a program, may ask of a running stream.
//!
//! ```text
//!  Steering (clones anywhere) ──orders──► Helm (dispatching thread) ──acts──► keeper ──► audit
//!        ▲                                   │
//!        └──────── answer, with a snapshot ──┘
//! ```
//!
//! Orders are obeyed by the thread that hands events over, between two of them or while
//! it waits; so an act lies between two events, exactly,
//! and its answer means that it is done. Events that were handed over before a pause and that
//! no lane has begun to send wait in the lanes; requests in flight get their answers.
//!
//! | act | while it runs | while it is paused |
//! |---|---|---|
//! | pause | stands still from now on | nothing changes |
//! | resume | nothing changes | goes on; the schedule moves by the pause |
//! | pace | goes on at the new pace from now | the same, once it is resumed |
//! | step | refused | the next events leave at once, and the schedule is then where they were due |
//! | resume at a wall time | refused | goes on then, exactly: streams that are told the same go on together |
//! | pause after | pauses behind so many more events | the same; steps count too |
//! | pause at an event time | pauses when its schedule comes to that time: events before it leave, none at it or after it | the same, once it is resumed |
//! | tap | nothing changes; copies of the next events go to whoever asked | the same |
//! | stop | winds down | winds down |
//!
//! Of parts as they were written, whose events are in no order of time, a pause at an event time
//! is before the first event of that time or later that comes; earlier ones behind it wait too.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::ending::{Cause, Ending};
use crate::pace::Pace;
use crate::run::Run;
use crate::sending::Sending;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::tap::{EndOfTaps, TapSettings, Tapped, Taps};
use crate::tell::acts::{Act, Asker, Refused};
use crate::tell::done_bell::DoneBell;
use crate::tell::meters::{Meters, Reading};
use crate::tell::progress::Progress;
use crate::tell::state::{State, StateCell};

/// Orders that may wait at once; one who sends more waits to send.
const WAITING_ORDERS: usize = 16;

/// What of a stream that has begun is shown to whoever steers it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) meters: Arc<Meters>,
    pub(crate) sending: Sending,
    pub(crate) taps: Taps,
}

impl Shown {
    pub(crate) fn of(run: &Run) -> Self {
        Self {
            meters: Arc::clone(run.meters()),
            sending: run.sending().clone(),
            taps: run.taps().clone(),
        }
    }
}

/// What an act came to: a snapshot from behind it, and the number of events of the whole stream
/// that are done once all that it let leave are.
#[derive(Debug)]
pub(crate) struct Obeyed {
    pub(crate) progress: Progress,
    pub(crate) goal: u64,
}

/// One order on its way.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) act: Act,
    pub(crate) by: Asker,
    pub(crate) answer: oneshot::Sender<Result<Obeyed, Refused>>,
}

/// The handle that a stream is steered by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Steering {
    orders: mpsc::Sender<Order>,
    waiting: Arc<AtomicBool>,
    state: StateCell,
    shown: Arc<OnceLock<Shown>>,
    bell: DoneBell,
    ending: Ending,
}

impl Steering {
    /// A handle to steer a stream by, and the dispatching thread's end of it. A stop winds `ending`
    /// down.
    pub fn new(ending: Ending) -> (Self, Helm) {
        let (orders, taken) = mpsc::channel(WAITING_ORDERS);
        let steering = Self {
            orders,
            waiting: Arc::default(),
            state: StateCell::default(),
            shown: Arc::default(),
            bell: DoneBell::default(),
            ending,
        };
        let helm = Helm {
            first: None,
            orders: taken,
            waiting: Arc::clone(&steering.waiting),
            state: steering.state.clone(),
            shown: Arc::clone(&steering.shown),
            bell: steering.bell.clone(),
        };
        (steering, helm)
    }

    /// The state of the stream.
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// The meters of all outputs together, as they are now; absent before the stream begins.
    pub fn meters(&self) -> Option<Reading> {
        self.shown.get().map(|shown| shown.meters.read_all())
    }

    /// Has an act done, and resolves with a snapshot from behind it. `by` is who asks,
    /// for the audit.
    ///
    /// Before the stream begins, an act waits until it does.
    ///
    /// # Errors
    /// [`Refused`] if it is not to be done.
    pub async fn act(&self, act: Act, by: impl Into<Asker>) -> Result<Progress, Refused> {
        Ok(self.obeyed(act, by.into()).await?.progress)
    }

    /// Has an act done, and resolves once every event that it lets leave is acknowledged or set
    /// aside, with a snapshot from then: behind a pause, nothing is on its way; behind a step or
    /// [`Act::PauseAfter`], so many more events are done. Of [`Act::PauseAt`] nobody knows how many
    /// events it lets leave: it resolves as other acts do, at once. `by` is who asks, for the audit.
    ///
    /// It waits for as long as the gate needs. To drop the future takes nothing back.
    ///
    /// # Errors
    /// [`Refused`] if the act is not to be done; [`Refused::Ended`] too if the stream ends before
    /// so many events are done.
    pub async fn act_until_acknowledged(
        &self,
        act: Act,
        by: impl Into<Asker>,
    ) -> Result<Progress, Refused> {
        let Obeyed { mut progress, goal } = self.obeyed(act, by.into()).await?;
        let shown = self.shown.get().ok_or(Refused::Ended)?;
        let is_done = || {
            let read = shown.meters.read_all();
            let done = read.acknowledged + read.quarantined;
            // Where somebody else lets more leave meanwhile, nobody knows which events are done.
            done > goal || (done == goal && shown.sending.is_quiet(done))
        };
        if !self.bell.until(is_done).await {
            return Err(Refused::Ended);
        }
        progress.meters = shown.meters.read_all();
        progress.state = self.state();
        Ok(progress)
    }

    async fn obeyed(&self, act: Act, by: Asker) -> Result<Obeyed, Refused> {
        let is_stop = act == Act::Stop;
        let (answer, answered) = oneshot::channel();
        let order = Order { act, by, answer };
        // In the queue before the stream winds down, or the thread may take no more orders by then.
        let unsent = self.put(order);
        if is_stop {
            // At once, whatever the thread is waiting for and however many orders are.
            self.ending.wind_down(Cause::Asked);
        }
        if let Some(order) = unsent {
            let sent = self.orders.send(order).await;
            sent.map_err(|_| Refused::Ended)?;
        }
        self.ring();
        answered.await.unwrap_or(Err(Refused::Ended))
    }

    /// Puts an order into the queue; gives it back where there is no place for it now.
    fn put(&self, order: Order) -> Option<Order> {
        match self.orders.try_send(order) {
            Ok(()) => None,
            Err(TrySendError::Full(order) | TrySendError::Closed(order)) => Some(order),
        }
    }

    /// Tells the dispatching thread that an order waits.
    fn ring(&self) {
        set(&self.waiting);
        self.ending.wake_dispatcher();
    }

    /// Pauses the stream: [`Act::Pause`]. `by` is who asks, for the audit.
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub async fn pause(&self, by: &str) -> Result<Progress, Refused> {
        self.act(Act::Pause, by).await
    }

    /// Resumes the stream: [`Act::Resume`]. `by` is who asks, for the audit.
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub async fn resume(&self, by: &str) -> Result<Progress, Refused> {
        self.act(Act::Resume, by).await
    }

    /// Changes the pace: [`Act::SetPace`]. `by` is who asks, for the audit.
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub async fn set_pace(&self, pace: impl Into<Pace>, by: &str) -> Result<Progress, Refused> {
        self.act(Act::SetPace(pace.into()), by).await
    }

    /// Lets `events` events leave while paused: [`Act::Step`]. `by` is who asks, for the audit.
    ///
    /// # Errors
    /// [`Refused::NotPaused`], [`Refused::Ended`].
    pub async fn step(&self, events: u64, by: &str) -> Result<Progress, Refused> {
        self.act(Act::Step(events), by).await
    }

    /// Lets `events` events leave while paused, and resolves once they are acknowledged or set
    /// aside. `by` is who asks, for the audit.
    ///
    /// # Errors
    /// As [`Steering::act_until_acknowledged`].
    pub async fn step_until_acknowledged(
        &self,
        events: u64,
        by: &str,
    ) -> Result<Progress, Refused> {
        self.act_until_acknowledged(Act::Step(events), by).await
    }

    /// Pauses the stream once `events` more events were handed over: [`Act::PauseAfter`]. It
    /// resolves at once; [`Steering::act_until_acknowledged`] waits for the events. `by` is who
    /// asks, for the audit.
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub async fn pause_after(&self, events: u64, by: &str) -> Result<Progress, Refused> {
        self.act(Act::PauseAfter(events), by).await
    }

    /// Copies what becomes of the next events: [`Act::Tap`]. `by` is who asks, for the audit.
    ///
    /// # Errors
    /// [`Refused::TooManyTaps`], [`Refused::Ended`].
    pub async fn tap(
        &self,
        settings: TapSettings,
        by: impl Into<Asker>,
    ) -> Result<(Tapped, Progress), Refused> {
        // In the audit first: whoever looks is written down, whatever becomes of it.
        let progress = self.act(Act::Tap(settings), by).await?;
        let shown = self.shown.get().ok_or(Refused::Ended)?;
        let tapped = shown.taps.open(settings);
        Ok((tapped.ok_or(Refused::TooManyTaps)?, progress))
    }

    /// Stops the stream: [`Act::Stop`], at once, also before it begins. `Ok` says that it winds down;
    /// it has stopped when its `run` resolves. [`Refused::Ended`] is no failure: it winds down, or
    /// has ended. `by` is who asks, for the audit.
    ///
    /// # Errors
    /// [`Refused::Ended`].
    pub async fn stop(&self, by: &str) -> Result<Progress, Refused> {
        self.act(Act::Stop, by).await
    }
}

/// Sets the flag that says that orders wait. Not by a store: that would hide from whoever clears the
/// flag what others put in before they set it.
fn set(waiting: &AtomicBool) {
    waiting.swap(true, Ordering::AcqRel);
}

/// The dispatching thread's end of [`Steering`]: orders come in, the state goes out.
#[derive(Debug)]
pub struct Helm {
    /// An order that comes before all others.
    first: Option<Order>,
    orders: mpsc::Receiver<Order>,
    waiting: Arc<AtomicBool>,
    state: StateCell,
    shown: Arc<OnceLock<Shown>>,
    bell: DoneBell,
}

impl Helm {
    /// A helm without a handle: nobody steers the stream.
    pub fn unmanned() -> Self {
        Steering::new(Ending::default()).1
    }

    /// Has the stream be paused before its first event, until a resume or steps. `by` is who asks,
    /// for the audit.
    pub fn start_paused(&mut self, by: impl Into<Asker>) {
        self.first = Some(Order {
            act: Act::Pause,
            by: by.into(),
            // Nobody waits: the stream has not begun.
            answer: oneshot::channel().0,
        });
        set(&self.waiting);
    }

    /// The next order, if there is one. Where there is none, that is one read of an atomic.
    pub(crate) fn next_order(&mut self) -> Option<Order> {
        if !self.waiting.load(Ordering::Acquire) {
            return None;
        }
        if let Some(order) = self.first.take().or_else(|| self.orders.try_recv().ok()) {
            return Some(order);
        }
        // In one step, so that what is put in by all who set it is seen below: a store might take
        // effect after that look, and leave the order waiting for ever.
        self.waiting.swap(false, Ordering::AcqRel);
        // One that came between the two.
        let order = self.orders.try_recv().ok()?;
        set(&self.waiting);
        Some(order)
    }

    /// Takes no more orders; those that wait are still to be had.
    pub(crate) fn close(&mut self) {
        self.orders.close();
        set(&self.waiting);
    }

    /// Shows a stream that has begun to whoever holds the handle. Its taps end with the guard.
    pub(crate) fn show(&self, shown: Shown) -> EndOfTaps {
        let end = shown.taps.until_dropped();
        // A helm has one stream.
        let _ = self.shown.set(shown);
        end
    }

    /// What wakes callers that wait for events to be done.
    pub(crate) fn bell(&self) -> &DoneBell {
        &self.bell
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
        assert_eq!((order.act, order.by.by.as_str()), (Act::Step(3), "me"));
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
