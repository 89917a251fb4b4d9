//! How a stream ends before its last event: one cause, two steps.
//!
//! *Winding down*: nothing more is handed over, and nothing more is sent: events that no
//! lane has begun to send come back, and requests in flight wait for their answers. *Cut*: the drain's time is over, or
//! somebody asked twice; requests in flight are given up too. A lost lease cuts at once: nothing
//! may be sent under it, and no answer can be saved. The first failure is the
//! cause, also if a stop was asked for before it; later failures are consequences.

use std::sync::{Arc, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use durable::TokioClock;
use model::{Bug, Clock as _, SharedClock};

use crate::Error;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, Notify};
use push::Stop;

/// Why a stream ends early.
#[derive(Debug)]
pub enum Cause {
    /// A signal, or the caller, asked for a stop.
    Asked,
    /// A part of the stream failed.
    Failed(Error),
}

#[derive(Debug)]
struct Shared {
    clock: SharedClock,
    winding_down: AtomicBool,
    /// When it began to wind down.
    since: OnceLock<Instant>,
    cause: Mutex<Option<Cause>>,
    changed: Notify,
    dispatcher: OnceLock<Dispatching>,
    cut: Stop,
}

/// Who hands events over, and is woken to look again at what it waits for.
#[derive(Debug)]
enum Dispatching {
    Thread(Thread),
    Task(Arc<Notify>),
}

/// The shared switch of one stream: [`wind_down`](Self::wind_down) sends nothing more and waits for
/// answers, [`cut`](Self::cut) gives requests in flight up too. Cheap to clone; the default one goes by the machine's clock.
#[derive(Debug, Clone)]
pub struct Ending {
    shared: Arc<Shared>,
}

impl Default for Ending {
    fn default() -> Self {
        Self::by(SharedClock::new(TokioClock))
    }
}

impl Ending {
    /// A switch whose times are read from `clock`.
    pub fn by(clock: SharedClock) -> Self {
        let shared = Shared {
            clock,
            winding_down: AtomicBool::new(false),
            since: OnceLock::new(),
            cause: Mutex::new(None),
            changed: Notify::new(),
            dispatcher: OnceLock::new(),
            cut: Stop::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The clock that the switch reads times from.
    pub fn clock(&self) -> &SharedClock {
        &self.shared.clock
    }

    /// Winds the stream down. The first failure is kept as the cause.
    pub fn wind_down(&self, cause: Cause) {
        let lease_lost = checkpoint::ReasonCode::LeaseLost.as_str();
        let is_lease_lost = matches!(&cause, Cause::Failed(error) if error.code() == lease_lost);
        {
            let mut first = self
                .shared
                .cause
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match *first {
                None if !self.is_winding_down() => *first = Some(cause),
                // The report must not say that a run stopped in good order which did not.
                Some(Cause::Asked) => *first = Some(cause),
                _ => {}
            }
            self.shared.since.get_or_init(|| self.shared.clock.now());
            self.shared.winding_down.store(true, Ordering::Release);
        }
        if is_lease_lost {
            self.shared.cut.throw();
        }
        self.shared.changed.notify_waiters();
        self.wake_dispatcher();
    }

    /// Ends the stream with `STREAM_INTERNAL` and `what` if the returned guard is dropped before
    /// its work is [`done`](WorkGuard::done): a thread that panics drops what it holds.
    pub fn guard(&self, what: &'static str) -> WorkGuard {
        WorkGuard {
            ending: Some(self.clone()),
            what,
        }
    }

    /// Whether the stream winds down.
    pub fn is_winding_down(&self) -> bool {
        self.shared.winding_down.load(Ordering::Acquire)
    }

    /// Resolves once the stream winds down.
    pub async fn winding_down(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if self.is_winding_down() {
                return;
            }
            changed.await;
        }
    }

    /// Resolves once `time` has passed since the stream began to wind down.
    pub async fn wound_down_for(&self, time: Duration) {
        self.winding_down().await;
        self.clock().sleep(self.left_of(time)).await;
    }

    /// What `work` gives; `None` once the stream has wound down for `limit`, or for `grace` since
    /// this was asked, whichever is later.
    pub async fn unless_overdue<T>(
        &self,
        limit: Duration,
        grace: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let overdue = async {
            self.winding_down().await;
            self.clock().sleep(self.left_of(limit).max(grace)).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = overdue => None,
        }
    }

    /// The rest of a `time` that runs from when the stream began to wind down; all of it before that.
    pub fn left_of(&self, time: Duration) -> Duration {
        let since = self.shared.since.get();
        let passed = since.map_or(Duration::ZERO, |since| self.clock().since(*since));
        time.saturating_sub(passed)
    }

    /// The switch that gives up requests in flight.
    pub fn cut(&self) -> &Stop {
        &self.shared.cut
    }

    /// Takes the cause, once the stream has ended.
    pub fn take_cause(&self) -> Option<Cause> {
        self.shared
            .cause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Makes the calling thread the one that [`Ending::wake_dispatcher`] wakes.
    pub fn register_dispatcher(&self) {
        let thread = Dispatching::Thread(std::thread::current());
        let _ = self.shared.dispatcher.set(thread);
    }

    /// The same for a task that hands events over: [`Ending::wake_dispatcher`] notifies it.
    pub(crate) fn register_dispatching_task(&self) -> Arc<Notify> {
        let woken = Arc::new(Notify::new());
        let task = Dispatching::Task(Arc::clone(&woken));
        let _ = self.shared.dispatcher.set(task);
        woken
    }

    /// Has the dispatching thread look again at what it waits for.
    pub fn wake_dispatcher(&self) {
        match self.shared.dispatcher.get() {
            Some(Dispatching::Thread(thread)) => thread.unpark(),
            Some(Dispatching::Task(woken)) => woken.notify_one(),
            None => {}
        }
    }
}

/// Ends the stream if the thread that holds it dies before its work is done.
#[must_use]
pub struct WorkGuard {
    /// Absent once the work is done.
    ending: Option<Ending>,
    what: &'static str,
}

impl WorkGuard {
    /// Marks the work as done: dropping the guard no longer ends the stream.
    pub fn done(mut self) {
        self.ending = None;
    }
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        if Bug::DeathGoesUnnoticed.is_planted() {
            return;
        }
        if let Some(ending) = self.ending.take() {
            ending.wind_down(Cause::Failed(Error::ended_early(self.what)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReasonCode;

    #[tokio::test]
    async fn the_first_cause_wins_and_wakes_whoever_waits() {
        let ending = Ending::default();
        let waiting = tokio::spawn({
            let ending = ending.clone();
            async move { ending.winding_down().await }
        });
        ending.wind_down(Cause::Failed(Error::new(
            ReasonCode::IgPushRejected,
            "a",
            "b",
        )));
        ending.wind_down(Cause::Asked);
        waiting.await.unwrap();
        assert!(matches!(ending.take_cause(), Some(Cause::Failed(_))));
    }

    #[test]
    fn a_lost_lease_cuts_requests_in_flight_off_and_no_other_cause_does() {
        let lost = || {
            let code = checkpoint::ReasonCode::LeaseLost;
            let lost = checkpoint::Error::new(code, "Another took it");
            Cause::Failed(Error::Checkpoint(lost))
        };
        let other = || Cause::Failed(Error::new(ReasonCode::IgPushRejected, "a", "b"));
        for (first, second, cuts) in [
            (lost as fn() -> Cause, other as fn() -> Cause, true),
            (other, lost, true),
            (other, other, false),
            (|| Cause::Asked, other, false),
            (|| Cause::Asked, lost, true),
        ] {
            let ending = Ending::default();
            ending.wind_down(first());
            ending.wind_down(second());
            assert_eq!(ending.cut().is_thrown(), cuts);
        }
    }

    #[test]
    fn a_failure_after_a_stop_is_the_cause_and_a_stop_after_a_failure_is_not() {
        let failed = |what| Cause::Failed(Error::new(ReasonCode::IgPushRejected, what, "b"));
        let ending = Ending::default();
        ending.wind_down(Cause::Asked);
        ending.wind_down(failed("first"));
        ending.wind_down(failed("second"));
        ending.wind_down(Cause::Asked);
        match ending.take_cause() {
            Some(Cause::Failed(error)) => assert!(error.detail().contains("first")),
            other => panic!("{other:?}"),
        }
    }
}
