//! The leases of a run: renewed from their taking until they are given back, and asked about
//! immediately before each post.

use std::sync::Arc;
use std::time::Duration;

use checkpoint::{
    CheckpointStore, CursorKey, Holder, Lease, LeaseKeeper, LeaseRequest, LeaseStatus, LeaseWatch,
};
use model::{Beat, Bug, Clock as _, SharedClock};

use crate::crew::Crew;
use crate::ending::{Cause, Ending};
use crate::sending::Sending;
use crate::window::Window;
use crate::{Error, ReasonCode};
use push::{Leave, PostLeave, Posted};

/// How often a stream looks at its lease besides.
const LOOK: Duration = Duration::from_millis(100);

/// Leases that this run holds, and the thread that renews them.
///
/// Dropping it without [`give_back`](Self::give_back) is what a crash does.
#[derive(Debug)]
pub struct HeldLease {
    // The first to go: no renewal comes after.
    keeper: LeaseKeeper,
    store: Arc<dyn CheckpointStore>,
    lease: Arc<Lease>,
    clock: SharedClock,
}

impl HeldLease {
    /// Takes leases, waiting up to one period for a living holder, and renews them from then on;
    /// they expire by `clock`, which must go on while the machine sleeps.
    /// The renewal is a thread's, or a task of a `crew` that is stepped.
    /// After a stop no further try is made, and one that is under way is waited for no longer
    /// than `patience`; what it takes is given back.
    ///
    /// # Errors
    /// As [`LeaseKeeper::acquire`]; `STOPPED` after a stop.
    pub async fn take(
        store: &Arc<dyn CheckpointStore>,
        wanted: &LeaseRequest,
        clock: &SharedClock,
        ending: &Ending,
        patience: Duration,
        crew: &Crew,
    ) -> Result<Self, Error> {
        let on_held = |key: &CursorKey, holder: &Holder| {
            tracing::warn!(%key, %holder, "another producer holds the lease; waiting up to one lease period");
        };
        let (clock, give_up) = (clock.clone(), ending.winding_down());
        let taking = async {
            let Some(steps) = crew.steps() else {
                return LeaseKeeper::acquire(store, wanted, clock, on_held, give_up).await;
            };
            let taking =
                LeaseKeeper::acquire_undriven(store, wanted, clock, on_held, give_up).await;
            taking.map(|(lease, keeper, renewal)| {
                steps.spawn(renewal);
                (lease, keeper)
            })
        };
        let taken = tokio::select! {
            biased;
            taken = taking => taken,
            () = ending.wound_down_for(patience) => return Err(stopped()),
        };
        match taken {
            Ok((lease, keeper)) => {
                let held = Self {
                    keeper,
                    store: Arc::clone(store),
                    lease,
                    clock: ending.clock().clone(),
                };
                if ending.is_winding_down() {
                    held.give_back(patience).await;
                    return Err(stopped());
                }
                Ok(held)
            }
            Err(error)
                if error.code() == checkpoint::ReasonCode::LeaseHeld
                    && ending.is_winding_down() =>
            {
                Err(stopped())
            }
            Err(error) => Err(Error::Checkpoint(error)),
        }
    }

    /// The lease to show with every save.
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// The store that they were taken from.
    pub fn store(&self) -> &dyn CheckpointStore {
        &*self.store
    }

    /// A handle that tells whether the lease is held.
    pub fn watch(&self) -> LeaseWatch {
        self.keeper.watch()
    }

    /// Gives the leases back. What the store does not take back within `patience` expires.
    pub async fn give_back(self, patience: Duration) {
        let Self {
            keeper,
            store,
            lease,
            clock,
        } = self;
        drop(keeper);
        tokio::select! {
            biased;
            released = store.release(&lease) => if let Err(error) = released {
                tracing::warn!(%error, "the leases were not given back; they expire");
            },
            () = clock.sleep(patience) => {
                tracing::warn!("the leases were not given back in time; they expire");
            }
        }
    }
}

/// The run was stopped before its first event.
pub fn stopped() -> Error {
    Error::new(
        ReasonCode::Stopped,
        "The run was stopped before its first event",
        "A rerun begins where this one would have.",
    )
}

/// Leave to post while the lease is held. An event that was never posted is handed back once the
/// stream winds down.
#[derive(Debug)]
pub(crate) struct UnderLease {
    /// Absent where nothing renews the lease, and so nothing tells.
    pub(crate) lease: Option<LeaseWatch>,
    pub(crate) ending: Ending,
    /// Holds back events that were never posted while the stream is paused.
    pub(crate) sending: Sending,
}

impl PostLeave for UnderLease {
    fn is_over(&self, posted: Posted) -> bool {
        let is_over = posted != Posted::MaybeSent && self.ending.is_winding_down();
        is_over && !Bug::QueuedEventsLeaveAfterAStop.is_planted()
    }

    fn ask(&self, posted: Posted) -> Leave {
        if self.is_over(posted) {
            return Leave::Never;
        }
        match &self.lease {
            Some(lease) if !lease.is_held() && !Bug::LeaseNotAsked.is_planted() => Leave::Later,
            // Last of all, since it may take a step.
            _ if posted == Posted::Never && !self.sending.begins() => Leave::Later,
            _ => Leave::Now,
        }
    }
}

/// Holds the dispatcher back while the lease is overdue, and ends the stream once the lease is
/// lost, or renewed no more.
pub async fn watch_lease(lease: LeaseWatch, window: Arc<Window>, ending: Ending) {
    let mut look = Beat::new(ending.clock(), LOOK);
    loop {
        look.wait().await;
        look.is_due();
        let error = match lease.status() {
            LeaseStatus::Held => {
                window.hold(false);
                continue;
            }
            LeaseStatus::Overdue => {
                window.hold(true);
                continue;
            }
            LeaseStatus::Lost(error) => Error::Lease(error),
            LeaseStatus::Unkept => {
                Error::ended_early("The thread that renews the lease ended too early")
            }
        };
        window.hold(true);
        return ending.wind_down(Cause::Failed(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_stop_only_what_was_posted_before_may_be_posted_again() {
        let ending = Ending::default();
        let leave = UnderLease {
            lease: None,
            ending: ending.clone(),
            sending: Sending::default(),
        };
        assert_eq!(
            [leave.ask(Posted::Never), leave.ask(Posted::MaybeSent)],
            [Leave::Now; 2]
        );
        ending.wind_down(Cause::Asked);
        assert_eq!(leave.ask(Posted::Never), Leave::Never);
        assert_eq!(leave.ask(Posted::NotSent), Leave::Never);
        assert_eq!(leave.ask(Posted::MaybeSent), Leave::Now);
    }

    #[test]
    fn a_pause_holds_back_what_was_never_posted_and_no_other() {
        let leave = UnderLease {
            lease: None,
            ending: Ending::default(),
            sending: Sending::default(),
        };
        leave.sending.pause();
        assert_eq!(leave.ask(Posted::Never), Leave::Later);
        assert_eq!(leave.ask(Posted::MaybeSent), Leave::Now);
        // It has its step already.
        assert_eq!(leave.ask(Posted::NotSent), Leave::Now);
        leave.sending.step(1);
        assert_eq!(
            [leave.ask(Posted::Never), leave.ask(Posted::Never)],
            [Leave::Now, Leave::Later]
        );
    }
}
