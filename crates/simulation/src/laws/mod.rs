//! The laws of the product, checked while a simulated world runs: after each arrival at the gate,
//! each post and each save, and at the end.

mod aside;
mod leases;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::aside::Grounds;
use self::trace::Trace;
use crate::clock::SimClock;
use crate::disk::SimDisk;
use crate::stage::ProcessId;
use crate::world::{EventNumber, SimWorld};
use replay::{Ending, Position};

/// What became of an event, as the world outside sees it.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// The gate has taken it.
    taken: bool,
    /// The gate refused it, or failed on it: the next event of its key may leave while it is set
    /// aside.
    may_be_given_up: bool,
    /// The gate never takes it.
    is_poison: bool,
}

/// The watcher of all laws. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Laws(Arc<Mutex<Watched>>);

struct Watched {
    clock: SimClock,
    world: Arc<SimWorld>,
    disk: SimDisk,
    told: Vec<Told>,
    /// Events that the gate took in, repeats included.
    arrivals: u64,
    /// The last saved position of each output.
    saved: Vec<Option<Position>>,
    /// Who took the lease last.
    taker: Option<ProcessId>,
    /// From whom it was taken while they lived: they learn of it when they ask.
    overtaken: BTreeSet<ProcessId>,
    /// Whose lease somebody else has taken.
    dispossessed: BTreeSet<ProcessId>,
    /// Until when each process knows that it holds the lease.
    held_until: BTreeMap<ProcessId, Duration>,
    /// Who may come too late to the next renewal.
    renews_late: BTreeSet<ProcessId>,
    /// What ends each process.
    endings: BTreeMap<ProcessId, Ending>,
    /// Steps that are left to processes that are paused.
    paused: BTreeMap<ProcessId, u64>,
    /// Processes that are paused, and said that nothing of theirs is on its way.
    quiet: BTreeSet<ProcessId>,
    /// What each process has posted, with the time of the first post and the arrivals before it.
    posted: BTreeMap<ProcessId, BTreeMap<EventNumber, (Duration, u64)>>,
    grounds: Grounds,
    /// Posts of paced lives: process, when, and the event.
    paced: Vec<(ProcessId, Duration, EventNumber)>,
    /// What was taken by the gate when each process began.
    taken_before: BTreeSet<EventNumber>,
    repeated: BTreeSet<EventNumber>,
    repeats_allowed: usize,
    /// No event may be sent before its own time here, counted from the beginning of the world.
    not_before: BTreeMap<ProcessId, NotBefore>,
    steered: BTreeSet<ProcessId>,
    broken: Vec<String>,
    trace: Trace,
}

/// When events of a paced life are due at the earliest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotBefore {
    /// When the life's schedule was made.
    pub(crate) start: Duration,
    /// The event time, in nanoseconds, of the first event of the life; absent until it is sent.
    pub(crate) first: Option<i128>,
    /// Event seconds a second.
    pub(crate) speedup: f64,
}

impl Laws {
    pub(crate) fn new(
        clock: &SimClock,
        world: &Arc<SimWorld>,
        disk: &SimDisk,
        keeps_trace: bool,
    ) -> Self {
        Self(Arc::new(Mutex::new(Watched {
            clock: clock.clone(),
            told: vec![Told::default(); world.len()],
            arrivals: 0,
            saved: vec![None; world.outputs.len()],
            world: Arc::clone(world),
            disk: disk.clone(),
            taker: None,
            overtaken: BTreeSet::new(),
            dispossessed: BTreeSet::new(),
            held_until: BTreeMap::new(),
            renews_late: BTreeSet::new(),
            endings: BTreeMap::new(),
            quiet: BTreeSet::new(),
            grounds: Grounds::default(),
            paused: BTreeMap::new(),
            posted: BTreeMap::new(),
            paced: Vec::new(),
            taken_before: BTreeSet::new(),
            repeated: BTreeSet::new(),
            repeats_allowed: usize::MAX,
            not_before: BTreeMap::new(),
            steered: BTreeSet::new(),
            broken: Vec::new(),
            trace: Trace {
                keeps_lines: keeps_trace,
                ..Trace::default()
            },
        })))
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down what happens.
    pub(crate) fn note(&self, line: &str) {
        let mut watched = self.watched();
        let at = watched.clock.elapsed();
        watched.trace.note(at, line);
    }

    /// Says that a law is broken.
    pub(crate) fn broken(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(&format!("BROKEN {what}"));
        self.watched().broken.push(what);
    }

    /// The laws that were broken.
    pub(crate) fn verdict(&self) -> Vec<String> {
        self.watched().broken.clone()
    }

    /// Whether any law is broken.
    pub(crate) fn is_broken(&self) -> bool {
        !self.watched().broken.is_empty()
    }

    pub(crate) fn take_trace(&self) -> Trace {
        std::mem::take(&mut self.watched().trace)
    }

    /// A process begins to stream: so many events at most may it repeat.
    pub(crate) fn life_begins(
        &self,
        process: ProcessId,
        ending: &Ending,
        allowed: usize,
        not_before: Option<NotBefore>,
    ) {
        let mut watched = self.watched();
        let taken = watched.told.iter().enumerate();
        let taken = taken
            .filter(|(_, told)| told.taken)
            .map(|(number, _)| number);
        watched.taken_before = taken.collect();
        watched.repeated.clear();
        watched.repeats_allowed = allowed;
        watched.endings.insert(process, ending.clone());
        watched
            .not_before
            .extend(not_before.map(|not_before| (process, not_before)));
    }

    /// Somebody moved the schedule of a process.
    pub(crate) fn steered(&self, process: ProcessId) {
        self.watched().steered.insert(process);
    }

    /// The gate did not take an event, so events of its key need not wait for it: it may be given
    /// up.
    pub(crate) fn may_be_given_up(&self, event: EventNumber) {
        self.watched().told[event].may_be_given_up = true;
    }

    /// An event is such that the gate never takes it.
    pub(crate) fn is_poison(&self, event: EventNumber) {
        let told = &mut self.watched().told[event];
        told.is_poison = true;
        told.may_be_given_up = true;
    }

    /// A process begins to post an event.
    pub(crate) fn posted(&self, process: ProcessId, event: Option<EventNumber>) {
        let mut watched = self.watched();
        let now = watched.clock.elapsed();
        let told = event.map_or_else(
            || "?".to_owned(),
            |event| {
                let of = watched.world.events[event];
                let at = of.position;
                format!("{event} (output {}, {}:{})", of.output, at.part, at.row)
            },
        );
        watched
            .trace
            .note(now, &format!("process {} posts {told}", process.0));
        if let Some(holder) = watched.taker
            && holder != process
            && !watched.overtaken.contains(&process)
        {
            watched.broken.push(format!(
                "process {} posted event {told} while process {} had the lease",
                process.0, holder.0
            ));
        }
        let Some(event) = event else { return };
        let arrivals = watched.arrivals;
        let posted = watched.posted.entry(process).or_default();
        let is_first = !posted.contains_key(&event);
        posted.entry(event).or_insert((now, arrivals));
        watched.check_post(process, event, now, is_first);
        if is_first && let Some(steps) = watched.paused.get_mut(&process) {
            if *steps == 0 {
                let what = format!(
                    "event {event} was posted while process {} was paused",
                    process.0
                );
                watched.broken.push(what);
                return;
            }
            *steps -= 1;
        }
        watched.paced.push((process, now, event));
        let time = watched.world.events[event].position.time.nanos();
        if watched.steered.contains(&process) {
            return;
        }
        if let Some(not_before) = watched.not_before.get_mut(&process) {
            let first = *not_before.first.get_or_insert(time);
            let ahead = (time - first) as f64 / not_before.speedup;
            let due = not_before.start + Duration::from_nanos(ahead.max(0.0) as u64);
            // A double holds these times to a fraction of a nanosecond, rounded down here.
            if now + Duration::from_nanos(1) < due {
                watched.broken.push(format!(
                    "event {event} was posted {:?} before it was due",
                    due.saturating_sub(now)
                ));
            }
        }
    }

    /// The gate has taken an event in.
    pub(crate) fn arrived(&self, event: EventNumber) {
        let mut watched = self.watched();
        watched.arrivals += 1;
        let is_first = !watched.told[event].taken;
        watched.told[event].taken = true;
        let before = watched.world.events[event].before;
        if is_first
            && let Some(before) = before
            && !watched.told[before].may_be_given_up
            && !watched.is_done(before)
        {
            watched.broken.push(format!(
                "event {event} arrived before event {before} of the same key"
            ));
        }
        if watched.taken_before.contains(&event) {
            watched.repeated.insert(event);
            let (repeated, allowed) = (watched.repeated.len(), watched.repeats_allowed);
            if repeated > allowed {
                watched.broken.push(format!(
                    "{repeated} events were repeated, and {allowed} are allowed"
                ));
            }
        }
    }

    /// A process is paused from now on; if it `is_quiet`, it says that nothing of it is on its way.
    pub(crate) fn paused(&self, process: ProcessId, is_quiet: bool) {
        let mut watched = self.watched();
        watched.paused.entry(process).or_insert(0);
        if is_quiet {
            watched.quiet.insert(process);
        }
    }

    /// A process was asked to let some events leave; `None` for all.
    pub(crate) fn goes_on(&self, process: ProcessId, steps: Option<u64>) {
        let mut watched = self.watched();
        watched.quiet.remove(&process);
        match (steps, watched.paused.get_mut(&process)) {
            (None, _) => {
                watched.paused.remove(&process);
            }
            (Some(steps), Some(left)) => *left += steps,
            (Some(_), None) => {}
        }
    }

    /// What a process posted since it was steered last was due, exactly, by the schedule that it
    /// reports: event times count from `origin`, and that was due at `anchor`.
    pub(crate) fn check_schedule(
        &self,
        process: ProcessId,
        (anchor, origin): (Duration, i128),
        speedup: u64,
    ) {
        let mut watched = self.watched();
        let steered = watched.steered.contains(&process);
        if steered || speedup == 0 {
            return;
        }
        let world = Arc::clone(&watched.world);
        let early = watched.paced.iter().find_map(|&(by, at, event)| {
            let ahead = world.events[event].position.time.nanos() - origin;
            let due = anchor.as_nanos() as i128 + ahead / i128::from(speedup);
            (by == process && (at.as_nanos() as i128) < due).then_some((event, due, at))
        });
        if let Some((event, due, at)) = early {
            watched.broken.push(format!(
                "event {event} was posted at {} ns and was due at {due}",
                at.as_nanos()
            ));
        }
    }

    /// The stream said that it is whole.
    pub(crate) fn is_whole(&self) {
        let mut watched = self.watched();
        let missing: Vec<_> = (0..watched.told.len())
            .filter(|event| !watched.is_done(*event))
            .take(5)
            .collect();
        if !missing.is_empty() {
            watched
                .broken
                .push(format!("the stream ended, and {missing:?} are missing"));
        }
        let short: Vec<_> = (0..watched.world.outputs.len())
            .filter(|output| {
                let all = watched.world.events.iter();
                let all = all.filter(|event| event.output == *output).count();
                let done = watched.saved[*output];
                let done = done.map_or(0, |at| watched.world.done_through(*output, at).len());
                done != all
            })
            .collect();
        if !short.is_empty() {
            watched.broken.push(format!(
                "the stream ended, and the cursors of {short:?} did not"
            ));
        }
    }

    /// Events that reached the gate, repeats included.
    pub(crate) fn arrivals(&self) -> u64 {
        self.watched().arrivals
    }
}

impl Watched {
    /// What holds of each post, whatever the pace.
    fn check_post(
        &mut self,
        process: ProcessId,
        event: EventNumber,
        now: Duration,
        is_first: bool,
    ) {
        let by = process.0;
        let held_until = self.held_until.get(&process);
        if let Some(until) = held_until.filter(|until| **until < now) {
            let late = now.saturating_sub(*until);
            self.broken.push(format!(
                "process {by} posted event {event} {late:?} after its lease was over"
            ));
        }
        let ending = self.endings.get(&process);
        if is_first && ending.is_some_and(Ending::is_winding_down) {
            self.broken.push(format!(
                "process {by} posted event {event} for the first time and was winding down"
            ));
        }
        if self.quiet.contains(&process) {
            self.broken.push(format!(
                "process {by} posted event {event} and had said that nothing was on its way"
            ));
        }
        if self.grounds.is_settled(process, event) {
            self.broken.push(format!(
                "process {by} posted event {event} again after its final answer"
            ));
        }
    }

    /// Whether an event is taken, or would be found set aside after any crash.
    fn is_done(&self, event: EventNumber) -> bool {
        self.told[event].taken || self.disk.is_set_aside(&self.world, event)
    }
}
