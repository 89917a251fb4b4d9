//! The keeper's side of the quarantine: one batch at a time, the limit, what is told.
//!
//! Rejected events gather while a batch is being made durable, so that one sync covers many.
//! No batch takes more than there is room for: what is beyond the limit when that is reached
//! is not done, and comes again.

use std::mem;
use std::time::{Duration, Instant};

use envelope::EventId;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Quarantine, RejectReason, RejectedEvent, SetAside, limit_reached};
use crate::Error;
use crate::crew::Crew;
use crate::place::Position;
use model::{Clock as _, OutputId, SharedClock};

/// At most one audit line in this time.
const TELL: Duration = Duration::from_secs(1);

/// What a run set aside, for its report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantineReport {
    /// The place of the quarantine, shown to operators.
    pub place: String,
    /// Events that this run set aside.
    pub events: u64,
    /// Events that wait in the quarantine for a redrive, those of earlier runs included.
    pub waiting: u64,
}

/// Rejected events that are durably set aside.
#[derive(Debug, Clone, Serialize)]
pub struct QuarantinedNote {
    /// The place of the quarantine, shown to operators.
    pub place: String,
    /// Events set aside since the last note.
    pub events: u64,
    /// Events that wait in the quarantine, those of earlier runs included.
    pub waiting: u64,
    /// The last event set aside.
    pub last: Option<QuarantinedEventNote>,
}

/// One rejected event.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct QuarantinedEventNote {
    /// The output of the event.
    pub output_id: OutputId,
    /// The part of the event's row, relative to the engine run root.
    pub file: String,
    /// The event's row in its part, counted from 0.
    pub row: u64,
    /// Why the event was rejected.
    pub reason: RejectReason,
    /// The HTTP status that the gate answered with; 0 without an answer.
    pub status: u16,
    /// The beginning of the answer's body, or how the connection failed.
    pub body_excerpt: String,
}

/// A rejected event, and what the watermark needs to know of it.
pub(crate) struct Pending {
    pub(crate) output: usize,
    pub(crate) sequence: u64,
    pub(crate) position: Position,
    pub(crate) id: EventId,
    pub(crate) event: RejectedEvent,
}

/// A batch after its thread.
pub(crate) struct Settled {
    quarantine: Option<Box<dyn Quarantine>>,
    batch: Vec<Pending>,
    result: Result<(), Error>,
}

/// The keeper's rejected events.
pub(crate) struct Aside {
    crew: Crew,
    clock: SharedClock,
    /// Absent while a batch is at work, and in a stream that sets nothing aside.
    quarantine: Option<Box<dyn Quarantine>>,
    at_most: u64,
    pending: Vec<Pending>,
    events: u64,
    untold: u64,
    told_at: Option<Instant>,
    last: Option<QuarantinedEventNote>,
    /// Full, or it failed: nothing more is set aside.
    closed: bool,
}

impl Aside {
    pub(crate) fn new(set_aside: Option<SetAside>, clock: SharedClock, crew: Crew) -> Self {
        let (quarantine, at_most) = match set_aside {
            Some(SetAside {
                quarantine,
                at_most,
            }) => (Some(quarantine), at_most),
            None => (None, 0),
        };
        Self {
            crew,
            clock,
            closed: quarantine.is_none(),
            quarantine,
            at_most,
            pending: Vec::new(),
            events: 0,
            untold: 0,
            told_at: None,
            last: None,
        }
    }

    /// Takes a rejected event in; one that there is no place for is left to the next run.
    pub(crate) fn take(&mut self, event: Pending) {
        if !self.closed {
            self.pending.push(event);
        }
    }

    /// Starts to make the gathered events durable, unless a batch is at work.
    pub(crate) fn start(&mut self) -> Option<BoxFuture<'static, Settled>> {
        if self.pending.is_empty() {
            return None;
        }
        let mut quarantine = self.quarantine.take()?;
        let room = self.at_most.saturating_sub(quarantine.waiting());
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let rest = self.pending.split_off(room.min(self.pending.len()));
        // The rest has its turn if the batch did not fill the room: some of it may wait already.
        let batch = mem::replace(&mut self.pending, rest);
        let crew = self.crew.clone();
        let settled = async move {
            let died = "The quarantine ended in the middle of a batch";
            let working = crew.once(died, move || {
                let events: Vec<_> = batch.iter().map(|pending| pending.event.clone()).collect();
                let result = quarantine.set_aside(&events);
                (quarantine, batch, result)
            });
            match working.await {
                Ok((quarantine, batch, result)) => Settled {
                    quarantine: Some(quarantine),
                    batch,
                    result,
                },
                Err(died) => Settled {
                    quarantine: None,
                    batch: Vec::new(),
                    result: Err(died),
                },
            }
        };
        Some(settled.boxed())
    }

    /// What of a batch is done now, and why the stream must end, if it must.
    pub(crate) fn settle(&mut self, settled: Settled) -> (Vec<Pending>, Option<Error>) {
        let Settled {
            quarantine,
            batch,
            result,
        } = settled;
        let (batch, error) = match (result, &quarantine) {
            (Err(error), _) => (Vec::new(), Some(error)),
            (Ok(()), Some(quarantine)) if quarantine.waiting() >= self.at_most => {
                (batch, Some(limit_reached(&**quarantine, self.at_most)))
            }
            (Ok(()), _) => (batch, None),
        };
        self.quarantine = quarantine;
        if error.is_some() {
            self.closed = true;
            self.pending.clear();
        }
        self.events += batch.len() as u64;
        self.untold += batch.len() as u64;
        if let Some(pending) = batch.last() {
            self.last = Some(told(&pending.event));
        }
        (batch, error)
    }

    /// Whether what was set aside is still there.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE` where it was deleted.
    pub(crate) fn check_in_place(&self) -> Result<(), Error> {
        // One that is at work finds out itself.
        let quarantine = self.quarantine.as_ref();
        quarantine.map_or(Ok(()), |quarantine| quarantine.check_in_place())
    }

    /// What to note next, if it is time for one; at the `end` of a run, if anything is untold.
    pub(crate) fn tell(&mut self, end: bool) -> Option<QuarantinedNote> {
        let recent = self.told_at.is_some_and(|at| self.clock.since(at) < TELL);
        let quarantine = self.quarantine.as_ref()?;
        if self.untold == 0 || (recent && !end) {
            return None;
        }
        self.told_at = Some(self.clock.now());
        let last = self.last.take();
        tracing::warn!(
            events = self.untold,
            waiting = quarantine.waiting(),
            last = serde_json::to_string(&last).unwrap_or_default(),
            "rejected events were set aside in {}",
            quarantine.place(),
        );
        Some(QuarantinedNote {
            place: quarantine.place(),
            events: mem::take(&mut self.untold),
            waiting: quarantine.waiting(),
            last,
        })
    }

    /// What the run set aside; nothing if that is nothing.
    pub(crate) fn report(&self) -> Option<QuarantineReport> {
        let quarantine = self.quarantine.as_ref().filter(|_| self.events > 0)?;
        Some(QuarantineReport {
            place: quarantine.place(),
            events: self.events,
            waiting: quarantine.waiting(),
        })
    }
}

fn told(event: &RejectedEvent) -> QuarantinedEventNote {
    QuarantinedEventNote {
        output_id: event.key.output_id().clone(),
        file: event.file.clone(),
        row: event.row,
        reason: event.reason,
        status: event.refusal.status,
        body_excerpt: event.refusal.excerpt.clone(),
    }
}

#[cfg(test)]
mod tests {
    use envelope::EventTime;

    use super::super::record::tests::rejected;
    use super::*;

    /// A quarantine in which some events wait already, which another producer put there.
    struct Shared {
        waiting: u64,
        /// Of the events to come, so many wait already.
        known: u64,
    }

    impl Quarantine for Shared {
        fn set_aside(&mut self, events: &[RejectedEvent]) -> Result<(), Error> {
            let events = events.len() as u64;
            let known = self.known.min(events);
            self.known -= known;
            self.waiting += events - known;
            Ok(())
        }

        fn waiting(&self) -> u64 {
            self.waiting
        }

        fn place(&self) -> String {
            "shared".to_owned()
        }
    }

    /// How many of ten events are settled, and why no more.
    async fn settled_of_ten(shared: Shared, at_most: u64) -> (u64, Option<Error>) {
        let quarantine = Box::new(shared);
        let set_aside = SetAside {
            quarantine,
            at_most,
        };
        let clock = SharedClock::new(durable::TokioClock);
        let mut aside = Aside::new(Some(set_aside), clock, Crew::default());
        for row in 0..10 {
            aside.take(Pending {
                output: 0,
                sequence: row,
                position: Position {
                    part: 0,
                    row,
                    time: EventTime::from_nanos(0).unwrap(),
                },
                id: EventId::from_bytes([0; 32]),
                event: rejected('a'),
            });
        }
        let mut settled = 0;
        while let Some(working) = aside.start() {
            let (done, error) = aside.settle(working.await);
            settled += done.len() as u64;
            if error.is_some() {
                assert!(aside.start().is_none(), "nothing after the limit");
                return (settled, error);
            }
        }
        (settled, None)
    }

    #[tokio::test]
    async fn events_that_wait_already_take_no_room_and_none_is_forgotten() {
        let all_known = Shared {
            waiting: 8,
            known: 10,
        };
        let (settled, error) = settled_of_ten(all_known, 10).await;
        assert!(error.is_none());
        assert_eq!(settled, 10);
    }

    #[tokio::test]
    async fn the_limit_takes_the_event_that_reaches_it_and_not_one_more() {
        let half_known = Shared {
            waiting: 8,
            known: 5,
        };
        let (settled, error) = settled_of_ten(half_known, 10).await;
        assert_eq!(settled, 7, "five that wait already, and two");
        assert_eq!(error.unwrap().code(), "QUARANTINE_LIMIT");
    }
}
