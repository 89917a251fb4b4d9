//! A lane that pushes one event after the other, each until something final is known about it.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;

use durable::{SystemRandom, TokioClock};
use model::{Clock, Random};

use super::answer::{GateRefusal, NO_ANSWER};
use super::client::PushLane;
use super::drive::{Drive, Trial};
use super::gate_watch::GateWatch;
use super::leave::{PostLeave, always};
use super::outcome::PushOutcome;
use super::stop::{Ear, Stop};

/// Pushes events over one lane, retried as the policy of its [`GateWatch`] says. All pushers of a
/// run share the watch.
pub struct Pusher<L, C = TokioClock> {
    lane: L,
    watch: Arc<GateWatch<C>>,
    ear: Ear,
    random: Box<dyn Random>,
    one_by_one: bool,
    keeps_answers: bool,
    leave: Arc<dyn PostLeave>,
}

impl<L: fmt::Debug, C: fmt::Debug> fmt::Debug for Pusher<L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher")
            .field("lane", &self.lane)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

impl<L: PushLane, C: Clock> Pusher<L, C> {
    /// A pusher over `lane` whose pushes end when `stop` is thrown.
    pub fn new(lane: L, watch: Arc<GateWatch<C>>, stop: &Stop) -> Self {
        Self {
            lane,
            watch,
            ear: stop.ear(),
            random: Box::new(SystemRandom::default()),
            one_by_one: false,
            keeps_answers: false,
            leave: always(),
        }
    }

    /// Takes the jitter of waits from the caller's source; from the system's by default.
    #[must_use]
    pub fn with_random(mut self, random: impl Random + 'static) -> Self {
        self.random = Box::new(random);
        self
    }

    /// Asks `leave` immediately before each post, retries included; by default each may be made.
    #[must_use]
    pub fn asking(mut self, leave: Arc<dyn PostLeave>) -> Self {
        self.leave = leave;
        self
    }

    /// Gives an event up as [`PushOutcome::SingledOut`] once its fast attempts are over, or after
    /// 30 s of being asked to slow down, whether other events pass or not.
    ///
    /// It is for a caller that pushes one event after the other and compares their outcomes. An
    /// event whose connection is never made is not given up so: that is the gate's fault.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.one_by_one = true;
        self
    }

    /// Has each acknowledgement come with what its answer says; by default only a quarantine does.
    #[must_use]
    pub fn keeping_answers(mut self, keeps_answers: bool) -> Self {
        self.keeps_answers = keeps_answers;
        self
    }

    /// Pushes one envelope until something final is known.
    ///
    /// Dropping the future ends the push without an outcome; the gate may have the event then.
    pub async fn push(&mut self, body: Bytes) -> PushOutcome {
        if body.len() > self.watch.max_event_bytes {
            return self.too_large(body.len());
        }
        let mut trial = Trial::default();
        let drive = Drive {
            lane: &mut self.lane,
            watch: &self.watch,
            random: &mut *self.random,
            one_by_one: self.one_by_one,
            leave: &*self.leave,
            keeps_answers: self.keeps_answers,
            trial: &mut trial,
        };
        let outcome = {
            let driven = pin!(drive.run(body));
            self.ear.unless_stopped(driven).await
        };
        outcome.unwrap_or(PushOutcome::Cancelled {
            maybe_sent: trial.maybe_sent,
        })
    }
}

impl<L, C> Pusher<L, C> {
    #[cold]
    fn too_large(&self, bytes: usize) -> PushOutcome {
        let most = self.watch.max_event_bytes;
        PushOutcome::Rejected {
            refusal: GateRefusal {
                status: NO_ANSWER,
                excerpt: format!(
                    "not sent: the envelope has {bytes} bytes, and `wsp_push.max_event_bytes` is {most}"
                ),
                reason_codes: Vec::new(),
            },
            attempts: 0,
        }
    }
}

#[cfg(test)]
mod tests;
