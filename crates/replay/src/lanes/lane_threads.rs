//! Lane threads: a few threads that drive all lanes, each lane on one of them for good.
//!
//! ```text
//!               lane thread 1
//!  queues ──► ┌───────────────────┐
//!  of lanes   │ lanes 1, 3, 5 …   │  answers of
//!  1, 3, 5 …  │    └─► courier ───┼──► one turn ──► keeper
//!             └───────────────────┘        ▲
//!  of lanes   ┌───────────────────┐        │
//!  2, 4, 6 …► │ lanes 2, 4, 6 …   ├────────┘
//!             └───────────────────┘
//! ```
//!
//! A runtime that moves tasks between threads wakes a thread for each move, and with posts
//! that take tens of microseconds that is what most of the time goes to. Here each thread
//! has a runtime of its own: it waits for all its connections at once, serves those that are
//! ready one after the other, and waits again. That is one *turn*.
//!
//! What the lanes of a thread say in one turn its courier carries to the keeper in one piece,
//! so the keeper wakes once a turn and not once an event. The courier runs as soon as the
//! lanes of the turn have: no answer waits for a later one.
//!
//! A lane, a courier or a thread that dies ends the stream at once: the events that it held are
//! never answered, and who waits for them would wait for ever.
//!
//! All runtimes go on until the last lane has ended, since a client's pool may have a lane
//! use a connection that another lane's thread drives.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::Error;
use crate::crew::{Crew, Steps};
use crate::ending::{Cause, Ending};
use crate::lanes::LaneQueue;
use crate::lanes::lane::{Answered, Lane};
use model::Clock;
use push::PushLane;

/// Answers that a courier carries at once.
const LOAD: usize = 64;
/// Answers that the lanes of a thread may have ready.
const READY: usize = 256;

/// Lane threads, at most.
const MOST_THREADS: usize = 8;
/// Threads that are worth a core however few lanes each has.
const FIRST_THREADS: usize = 4;
/// Lanes of each thread beyond the first: with fewer, turns would only be smaller.
const WORTH_A_THREAD: usize = 8;

/// How many threads drive this many lanes: one a core, as far as they are worth it.
pub(crate) fn lane_threads(lanes: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    threads_of(lanes, cores)
}

fn threads_of(lanes: usize, cores: usize) -> usize {
    let worth = (lanes / WORTH_A_THREAD).max(FIRST_THREADS);
    cores.min(worth).min(MOST_THREADS)
}

/// What the keeper hears at once.
pub(crate) type Answers = Vec<Answered>;

/// The threads at work.
#[derive(Debug)]
pub(crate) struct LaneThreads {
    ended: Vec<oneshot::Receiver<()>>,
    /// Dropped once all lanes have ended.
    all_ended: watch::Sender<()>,
}

impl LaneThreads {
    /// Drives a lane of each queue, on at most `threads` threads, or as tasks of a `crew` that is
    /// stepped. `lane` makes one of its
    /// queue and of where it tells its answers; the `keeper` hears them. What dies winds the
    /// stream down by `ending`.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread, or a client makes no lane.
    pub(crate) fn start<L: PushLane + 'static, C: Clock>(
        threads: usize,
        crew: &Crew,
        queues: Vec<LaneQueue>,
        keeper: &mpsc::Sender<Answers>,
        ending: &Ending,
        mut lane: impl FnMut(LaneQueue, mpsc::Sender<Answered>) -> Lane<L, C>,
    ) -> Result<Self, Error> {
        let threads = threads.clamp(1, queues.len());
        let share = |_| Share::new(keeper.clone(), ending.clone());
        let mut shares: Vec<_> = (0..threads).map(share).collect();
        for (queue, number) in queues.into_iter().zip((0..threads).cycle()) {
            let share = &mut shares[number];
            // A client of the caller's own may panic.
            let made = catch_unwind(AssertUnwindSafe(|| lane(queue, share.answers.clone())));
            let made = made.map_err(|_| Error::ended_early("The push client makes no lane"))?;
            share.lanes.push(made);
        }
        let all_ended = watch::Sender::new(());
        let ended = shares
            .into_iter()
            .enumerate()
            .map(|(number, share)| match crew.steps() {
                Some(steps) => Ok(share.start_as_tasks(steps)),
                None => share.start(number, all_ended.subscribe()),
            });
        Ok(Self {
            ended: ended.collect::<Result<_, _>>()?,
            all_ended,
        })
    }

    /// Waits until all lanes have ended; whatever ended one too early has wound the stream down.
    pub(crate) async fn join(self) {
        for ended in self.ended {
            // A thread that died says nothing more.
            let _ = ended.await;
        }
        drop(self.all_ended);
    }
}

/// What became of a lane that is gone.
const LANE_DIED: &str = "A lane ended in the middle of an event";

/// The lanes of one thread.
struct Share<L, C> {
    lanes: Vec<Lane<L, C>>,
    answers: mpsc::Sender<Answered>,
    courier: Courier,
    ending: Ending,
}

impl<L: PushLane + 'static, C: Clock> Share<L, C> {
    fn new(keeper: mpsc::Sender<Answers>, ending: Ending) -> Self {
        let (answers, said) = mpsc::channel(READY);
        Self {
            lanes: Vec::new(),
            answers,
            courier: Courier { said, keeper },
            ending,
        }
    }

    fn start(
        self,
        number: usize,
        all_ended: watch::Receiver<()>,
    ) -> Result<oneshot::Receiver<()>, Error> {
        let no_thread = |source| Error::no_thread("The system gave no thread to push on", source);
        let (end, ended) = oneshot::channel();
        let work = move || {
            let guard = self.ending.guard("A thread that pushes ended too early");
            // Made here: a runtime that is dropped where its caller awaits is a panic.
            match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(self.run(end, all_ended)),
                Err(source) => self.ending.wind_down(Cause::Failed(no_thread(source))),
            }
            guard.done();
        };
        thread::Builder::new()
            .name(format!("wsp-lanes-{number}"))
            .spawn(work)
            .map_err(no_thread)?;
        Ok(ended)
    }

    /// Has whoever steps the crew drive each lane, and the courier, as a task.
    fn start_as_tasks(self, steps: &Steps) -> oneshot::Receiver<()> {
        let (end, ended) = oneshot::channel();
        for lane in self.lanes {
            let guard = self.ending.guard(LANE_DIED);
            steps.spawn(async move {
                lane.run().await;
                guard.done();
            });
        }
        // Ends when the last lane has let go of its own.
        drop(self.answers);
        let courier = self.courier;
        let guard = self.ending.guard(LANE_DIED);
        steps.spawn(async move {
            courier.run().await;
            guard.done();
            // Nobody listens once the engine was dropped.
            let _ = end.send(());
        });
        ended
    }

    async fn run(self, end: oneshot::Sender<()>, mut all_ended: watch::Receiver<()>) {
        let mut tasks = JoinSet::new();
        self.lanes.into_iter().for_each(|lane| {
            tasks.spawn(lane.run());
        });
        // Ends when the last lane has let go of its own.
        drop(self.answers);
        tasks.spawn(self.courier.run());
        while let Some(task) = tasks.join_next().await {
            if let Err(source) = task {
                self.ending
                    .wind_down(Cause::Failed(Error::died(LANE_DIED, source)));
            }
        }
        // Nobody listens once the engine was dropped.
        let _ = end.send(());
        let _ = all_ended.changed().await;
    }
}

/// Carries what the lanes of its thread say.
struct Courier {
    said: mpsc::Receiver<Answered>,
    keeper: mpsc::Sender<Answers>,
}

impl Courier {
    async fn run(mut self) {
        loop {
            let mut answers = Vec::with_capacity(LOAD);
            if self.said.recv_many(&mut answers, LOAD).await == 0 {
                return;
            }
            if self.keeper.send(answers).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_follow_the_cores_and_the_lanes() {
        for (lanes, cores, threads) in [
            (1, 1, 1),
            (64, 2, 2),
            (8, 16, 4),
            (48, 16, 6),
            (4_096, 64, 8),
        ] {
            assert_eq!(
                threads_of(lanes, cores),
                threads,
                "{lanes} lanes, {cores} cores"
            );
        }
    }
}
