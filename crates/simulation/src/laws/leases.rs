//! The laws of leases and saves.

use std::sync::Arc;
use std::time::Duration;

use replay::Position;

use super::Laws;
use crate::stage::ProcessId;

impl Laws {
    /// A process holds the lease from now on.
    pub(crate) fn leased(&self, process: ProcessId, took_over: bool) {
        let mut watched = self.watched();
        let before = watched.taker.replace(process);
        watched.dispossessed.extend(before);
        watched.overtaken.extend(before.filter(|_| took_over));
    }

    /// A process knows that a renewal which began then has succeeded.
    pub(crate) fn renewed(&self, process: ProcessId, began: Duration, period: Duration) {
        let mut watched = self.watched();
        watched.held_until.insert(process, began + period);
        // An answer that came late, as after a suspension, leaves no time for the next.
        if watched.clock.elapsed() < began + period / 2 {
            watched.renews_late.remove(&process);
        }
    }

    /// A process may come too late to its next renewal: the store was away, or it was suspended.
    pub(crate) fn may_renew_late(&self, process: ProcessId) {
        self.watched().renews_late.insert(process);
    }

    /// A process begins to renew its lease.
    pub(crate) fn renews(&self, process: ProcessId) {
        let mut watched = self.watched();
        let now = watched.clock.elapsed();
        let is_over = watched.held_until.get(&process).is_some_and(|at| *at < now);
        if is_over && !watched.renews_late.contains(&process) {
            let by = process.0;
            let what = format!("process {by} let its lease run out before it renewed it");
            watched.broken.push(what);
        }
    }

    /// Whether somebody took the lease from a process, or after it.
    pub(crate) fn is_dispossessed(&self, process: ProcessId) -> bool {
        self.watched().dispossessed.contains(&process)
    }

    /// Whether somebody else took the lease last.
    pub(crate) fn another_holds(&self, process: ProcessId) -> bool {
        let taker = self.watched().taker;
        taker.is_some_and(|taker| taker != process)
    }

    /// A process says that it ended in good order, and that these are its durable cursors.
    pub(crate) fn says_saved(&self, process: ProcessId, said: &[Option<Position>]) {
        let watched = self.watched();
        if watched.taker != Some(process) {
            return;
        }
        let place = |at: &Position| (at.part, at.row);
        let differs = watched.saved.iter().zip(said).position(|(saved, said)| {
            said.is_some() && saved.as_ref().map(place) != said.as_ref().map(place)
        });
        drop(watched);
        if let Some(output) = differs {
            self.broken(format!(
                "process {} reports another cursor of output {output} than the store has",
                process.0
            ));
        }
    }

    /// A cursor is durable.
    pub(crate) fn saved(&self, process: ProcessId, output: usize, at: Position) {
        let mut watched = self.watched();
        if watched.taker.is_some_and(|taker| taker != process) {
            let what = format!(
                "process {} saved when another had taken its lease",
                process.0
            );
            watched.broken.push(what);
        }
        let world = Arc::clone(&watched.world);
        let done = world.done_through(output, at);
        let undone = done.iter().find(|event| !watched.is_done(**event));
        if let Some(undone) = undone {
            let what = format!(
                "the cursor of output {output} passed event {undone}, which is neither taken nor set aside"
            );
            watched.broken.push(what);
        }
        if let Some(before) = watched.saved[output]
            && world.done_through(output, before).len() > done.len()
        {
            watched
                .broken
                .push(format!("the cursor of output {output} went back"));
        }
        watched.saved[output] = Some(at);
        let now = watched.clock.elapsed();
        watched.trace.note(
            now,
            &format!("saved output {output} at {}:{}", at.part, at.row),
        );
    }
}
