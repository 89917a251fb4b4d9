//! The laws of answers: what may be set aside, and what is posted no more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Laws;
use crate::answers::Says;
use crate::stage::ProcessId;
use crate::world::EventNumber;

/// How long an event must be in doubt, or asked to slow down, before it is set aside for that.
const PATIENCE: Duration = Duration::from_secs(30);
/// A poison event that has been posted for so long, while so many others passed, is set aside.
const BLOCKED_FOR: Duration = Duration::from_mins(5);
const OTHERS_PASSED: u64 = 200;

/// What answers gave rise to.
#[derive(Debug, Default)]
pub(super) struct Grounds {
    /// Events that the gate refused a process, or that something failed on.
    faulted: BTreeSet<(ProcessId, EventNumber)>,
    /// Since when, and how often, a process was told of an event to ask again.
    waits: BTreeMap<(ProcessId, EventNumber), (Duration, u32)>,
    /// Events whose last answer a process has.
    settled: BTreeSet<(ProcessId, EventNumber)>,
    /// When the gate last took an event that is not poison for less than taken.
    last_unwell: Duration,
    /// All that the gate ever said.
    said: BTreeSet<Says>,
}

impl Grounds {
    pub(super) fn is_settled(&self, process: ProcessId, event: EventNumber) -> bool {
        self.settled.contains(&(process, event))
    }
}

impl Laws {
    /// The gate answered a process about an event.
    pub(crate) fn answered(&self, process: ProcessId, event: EventNumber, says: Says) {
        let mut watched = self.watched();
        let now = watched.clock.elapsed();
        let grounds = &mut watched.grounds;
        grounds.said.insert(says);
        match says {
            Says::Failed | Says::Senseless | Says::Refused => {
                grounds.faulted.insert((process, event));
            }
            Says::InDoubt | Says::SlowDown => {
                grounds.waits.entry((process, event)).or_insert((now, 0)).1 += 1;
            }
            Says::Taken | Says::Away | Says::SenderRefused => {}
        }
        if says != Says::Taken && !watched.told[event].is_poison {
            watched.grounds.last_unwell = now;
        }
    }

    /// The last answer about an event is on its way to a process.
    pub(crate) fn has_final_answer(&self, process: ProcessId, event: EventNumber) {
        self.watched().grounds.settled.insert((process, event));
    }

    /// Answers may be lost, and whatever is on its way may be taken to fail: connections are cut, or
    /// a process is suspended.
    pub(crate) fn answers_may_be_lost(&self) {
        let mut watched = self.watched();
        watched.grounds.settled.clear();
        let posted = watched.posted.iter();
        let posted = posted.flat_map(|(by, events)| events.keys().map(|event| (*by, *event)));
        let open: Vec<_> = posted
            .filter(|(_, event)| !watched.told[*event].taken)
            .collect();
        for (process, event) in open {
            watched.told[event].may_be_given_up = true;
            watched.grounds.faulted.insert((process, event));
        }
    }

    /// Whether the gate ever said that.
    pub(crate) fn was_said(&self, says: Says) -> bool {
        self.watched().grounds.said.contains(&says)
    }

    /// A process sets an event aside: there must be a reason.
    pub(crate) fn sets_aside(&self, process: ProcessId, event: EventNumber, max_attempts: u32) {
        let watched = self.watched();
        let now = watched.clock.elapsed();
        let is_faulted = watched.grounds.faulted.contains(&(process, event));
        let waits = watched.grounds.waits.get(&(process, event)).copied();
        drop(watched);
        self.note(&format!("process {} sets {event} aside", process.0));
        if is_faulted {
            return;
        }
        let Some((since, answers)) = waits else {
            self.broken(format!("event {event} was set aside without a reason"));
            return;
        };
        let asked_for = now.saturating_sub(since);
        if asked_for < PATIENCE || answers < max_attempts {
            self.broken(format!(
                "event {event} was set aside after {asked_for:?} and {answers} answers to ask again"
            ));
        }
    }

    /// Whether a poison event has blocked its process where it should have been set aside.
    pub(crate) fn blocks(&self, process: ProcessId, event: EventNumber) -> bool {
        let watched = self.watched();
        let now = watched.clock.elapsed();
        let first = watched.posted.get(&process);
        let first = first.and_then(|posted| posted.get(&event)).copied();
        let Some((since, before)) = first else {
            return false;
        };
        since > watched.grounds.last_unwell
            && now > since + BLOCKED_FOR
            && watched.arrivals - before > OTHERS_PASSED
            && !watched.is_done(event)
    }
}
