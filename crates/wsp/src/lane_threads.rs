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
//! All runtimes go on until the last lane has ended, since a client's pool may have a lane
//! use a connection that another lane's thread drives.

use std::thread;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::Error;
use crate::clock::Clock;
use crate::lane::{Answered, Lane};
use crate::lanes::LaneQueue;
use crate::push::PushLane;

/// Answers that a courier carries at once.
const LOAD: usize = 64;
/// Answers that the lanes of a thread may have ready.
const READY: usize = 256;

/// What the keeper hears at once.
pub type Answers = Vec<Answered>;

/// The threads at work.
#[derive(Debug)]
pub struct LaneThreads {
    ended: Vec<oneshot::Receiver<Result<(), Error>>>,
    /// Dropped once all lanes have ended.
    all_ended: watch::Sender<()>,
}

impl LaneThreads {
    /// Drives a lane of each queue, on at most `threads` threads. `lane` makes one of its
    /// queue and of where it tells its answers; the `keeper` hears them.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread.
    pub fn start<L: PushLane + 'static, C: Clock>(
        threads: usize,
        queues: Vec<LaneQueue>,
        keeper: &mpsc::Sender<Answers>,
        mut lane: impl FnMut(LaneQueue, mpsc::Sender<Answered>) -> Lane<L, C>,
    ) -> Result<Self, Error> {
        let threads = threads.clamp(1, queues.len());
        let mut shares: Vec<_> = (0..threads).map(|_| Share::new(keeper.clone())).collect();
        for (queue, number) in queues.into_iter().zip((0..threads).cycle()) {
            let share = &mut shares[number];
            share.lanes.push(lane(queue, share.answers.clone()));
        }
        let all_ended = watch::Sender::new(());
        let ended = shares
            .into_iter()
            .enumerate()
            .map(|(number, share)| share.start(number, all_ended.subscribe()));
        Ok(Self {
            ended: ended.collect::<Result<_, _>>()?,
            all_ended,
        })
    }

    /// Waits until all lanes have ended.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if one died.
    pub async fn join(self) -> Result<(), Error> {
        for ended in self.ended {
            ended.await.map_err(died)??;
        }
        drop(self.all_ended);
        Ok(())
    }
}

/// The lanes of one thread.
struct Share<L, C> {
    lanes: Vec<Lane<L, C>>,
    answers: mpsc::Sender<Answered>,
    courier: Courier,
}

impl<L: PushLane + 'static, C: Clock> Share<L, C> {
    fn new(keeper: mpsc::Sender<Answers>) -> Self {
        let (answers, said) = mpsc::channel(READY);
        Self {
            lanes: Vec::new(),
            answers,
            courier: Courier { said, keeper },
        }
    }

    fn start(
        self,
        number: usize,
        all_ended: watch::Receiver<()>,
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let no_thread = |source| Error::no_thread("The system gave no thread to push on.", source);
        let (end, ended) = oneshot::channel();
        // Built on its own thread: a runtime may not be dropped on another one's, as it would be
        // if there were no thread for it.
        let drive = move || match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.run(end, all_ended)),
            Err(error) => {
                // Nobody listens once the engine was dropped.
                let _ = end.send(Err(no_thread(error)));
            }
        };
        thread::Builder::new()
            .name(format!("wsp-lanes-{number}"))
            .spawn(drive)
            .map_err(no_thread)?;
        Ok(ended)
    }

    async fn run(
        self,
        end: oneshot::Sender<Result<(), Error>>,
        mut all_ended: watch::Receiver<()>,
    ) {
        let mut tasks = JoinSet::new();
        self.lanes.into_iter().for_each(|lane| {
            tasks.spawn(lane.run());
        });
        // Ends when the last lane has let go of its own.
        drop(self.answers);
        tasks.spawn(self.courier.run());
        let mut result = Ok(());
        while let Some(task) = tasks.join_next().await {
            result = result.and(task.map_err(died));
        }
        // Nobody listens once the engine was dropped.
        let _ = end.send(result);
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

fn died(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::died("A lane ended in the middle of an event.", source)
}
