//! The stage: every task and worker of the simulated world, driven on one thread, one step after
//! the other, by the dice.
//!
//! ```text
//!   processes ──tasks──► ready ──► one, by the dice ──► polled ──► time passes a little
//!        └─────workers───────────► one step
//!   nobody can go on ──► time goes to the next alarm
//! ```
//!
//! A task belongs to a process. A process may crash (its tasks are dropped where they stand), lose
//! one task (as to a panic), be suspended (nothing of it goes on), or have its reads hang (its
//! workers take no step).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use replay::{Steps, Task};

use crate::clock::SimClock;
use crate::dice::Dice;

/// A process of the simulated world, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProcessId(pub(crate) u32);

/// Starts tasks on the stage, from wherever it is held.
#[derive(Clone, Default)]
pub(crate) struct Spawner(Arc<Mutex<Vec<(ProcessId, Task)>>>);

impl Spawner {
    /// Starts a task of a process.
    pub(crate) fn spawn(
        &self,
        process: ProcessId,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        locked(&self.0).push((process, Box::pin(task)));
    }
}

type Ready = Arc<Mutex<Vec<u64>>>;

struct Signal {
    task: u64,
    is_queued: AtomicBool,
    ready: Ready,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, AcqRel) {
            locked(&self.ready).push(self.task);
        }
    }
}

struct Running {
    process: ProcessId,
    /// Whether the code of production started it, and not the simulation.
    is_of_crew: bool,
    future: Task,
    signal: Arc<Signal>,
    waker: Waker,
}

#[derive(Default)]
struct Process {
    steps: Option<Steps>,
    suspended_until: Duration,
    hangs_until: Duration,
}

/// What a step of the stage came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Went {
    /// Something went on, or time did.
    On,
    /// Nothing can ever go on any more.
    Nowhere,
}

/// All that runs in a simulated world.
pub(crate) struct Stage {
    clock: SimClock,
    dice: Dice,
    spawner: Spawner,
    ready: Ready,
    tasks: BTreeMap<u64, Running>,
    processes: BTreeMap<ProcessId, Process>,
    started: u64,
    steps: u64,
}

impl Stage {
    /// An empty stage.
    pub(crate) fn new(clock: SimClock, dice: Dice) -> Self {
        Self {
            clock,
            dice,
            spawner: Spawner::default(),
            ready: Ready::default(),
            tasks: BTreeMap::new(),
            processes: BTreeMap::new(),
            started: 0,
            steps: 0,
        }
    }

    /// A handle that starts tasks.
    pub(crate) fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Steps taken so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Adds a process whose crew is stepped here.
    pub(crate) fn add(&mut self, process: ProcessId, steps: Steps) {
        self.processes.entry(process).or_default().steps = Some(steps);
    }

    /// Drops all tasks of a process where they stand, and its workers with their steps.
    pub(crate) fn crash(&mut self, process: ProcessId) {
        self.adopt();
        self.tasks.retain(|_, task| task.process != process);
        if let Some(crashed) = self.processes.remove(&process)
            && let Some(steps) = crashed.steps
        {
            steps.abandon();
        }
        // What the dropping itself started has nobody to go on for.
        locked(&self.spawner.0).retain(|(of, _)| *of != process);
    }

    /// Drops one task that the code of a process started, as a panic in it does; `false` if there is
    /// none.
    pub(crate) fn drop_a_task(&mut self, process: ProcessId) -> bool {
        self.adopt();
        let of_crew = |task: &Running| task.process == process && task.is_of_crew;
        let able: Vec<u64> = self
            .tasks
            .iter()
            .filter_map(|(id, task)| of_crew(task).then_some(*id))
            .collect();
        if able.is_empty() {
            return false;
        }
        let drawn = able[self.dice.below(able.len() as u64) as usize];
        self.tasks.remove(&drawn);
        true
    }

    /// Lets nothing of a process go on until then.
    pub(crate) fn suspend(&mut self, process: ProcessId, time: Duration) {
        let until = self.clock.elapsed() + time;
        self.processes.entry(process).or_default().suspended_until = until;
        self.clock.look_at(until);
    }

    /// Lets no worker of a process take a step until then: its reads and writes hang.
    pub(crate) fn hang(&mut self, process: ProcessId, time: Duration) {
        let until = self.clock.elapsed() + time;
        self.processes.entry(process).or_default().hangs_until = until;
        self.clock.look_at(until);
    }

    /// Takes one step.
    pub(crate) fn step(&mut self) -> Went {
        self.steps += 1;
        self.adopt();
        if self.dice.permille(150) && self.work() {
            return self.spent();
        }
        if let Some(task) = self.draw() {
            self.poll(task);
            return self.spent();
        }
        if self.work() {
            return self.spent();
        }
        if self.clock.to_next_alarm() {
            Went::On
        } else {
            Went::Nowhere
        }
    }

    /// A step took a moment.
    fn spent(&mut self) -> Went {
        let moment = self.dice.below(3_000);
        self.clock.pass(Duration::from_nanos(moment));
        Went::On
    }

    fn adopt(&mut self) {
        let spawned = std::mem::take(&mut *locked(&self.spawner.0));
        let mut started: Vec<_> = spawned
            .into_iter()
            .map(|(process, task)| (process, task, false))
            .collect();
        for (id, process) in &self.processes {
            if let Some(steps) = &process.steps {
                started.extend(steps.take_tasks().into_iter().map(|task| (*id, task, true)));
            }
        }
        for (process, future, is_of_crew) in started {
            self.started += 1;
            let signal = Arc::new(Signal {
                task: self.started,
                is_queued: AtomicBool::new(true),
                ready: Arc::clone(&self.ready),
            });
            let waker = Waker::from(Arc::clone(&signal));
            locked(&self.ready).push(self.started);
            let running = Running {
                process,
                is_of_crew,
                future,
                signal,
                waker,
            };
            self.tasks.insert(self.started, running);
        }
    }

    /// Takes a ready task whose process goes on.
    fn draw(&mut self) -> Option<u64> {
        let now = self.clock.elapsed();
        let mut ready = locked(&self.ready);
        ready.retain(|task| self.tasks.contains_key(task));
        let goes_on = |task: &u64| {
            let process = self.tasks.get(task).map(|task| task.process);
            let process = process.and_then(|process| self.processes.get(&process));
            process.is_none_or(|process| process.suspended_until <= now)
        };
        let able = ready.iter().filter(|task| goes_on(task)).count();
        if able == 0 {
            return None;
        }
        let drawn = self.dice.below(able as u64) as usize;
        let able = ready.iter().enumerate().filter(|(_, task)| goes_on(task));
        let (at, _) = able.into_iter().nth(drawn)?;
        Some(ready.remove(at))
    }

    fn poll(&mut self, id: u64) {
        let Some(mut task) = self.tasks.remove(&id) else {
            return;
        };
        task.signal.is_queued.store(false, Release);
        let mut context = Context::from_waker(&task.waker);
        if task.future.as_mut().poll(&mut context) == Poll::Pending {
            self.tasks.insert(id, task);
        }
    }

    /// Has a worker of a process take a step; `false` if none has anything to do.
    fn work(&mut self) -> bool {
        let now = self.clock.elapsed();
        let able: Vec<Steps> = self
            .processes
            .values()
            .filter(|process| process.suspended_until <= now && process.hangs_until <= now)
            .filter_map(|process| process.steps.clone())
            .collect();
        let first = self.dice.below(able.len() as u64) as usize;
        let turn = able.iter().cycle().skip(first).take(able.len());
        turn.into_iter().any(Steps::step)
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
