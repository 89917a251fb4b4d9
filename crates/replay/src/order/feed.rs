//! Feeds: parts decoded and framed ahead of the order, by a bounded amount.
//!
//! ```text
//!   order ──open──► FeedPool ──task──► worker ─┐ decodes and frames one chunk
//!     ▲                ▲                       │
//!     └── PartFeed ◄───┼──────── chunk ◄───────┘
//!    poll_chunk() ─────┘ hands the task back: one chunk ahead, never more
//! ```
//!
//! A chunk is some consecutive events of one part, framed into one buffer. Each
//! open feed holds at most the chunk being consumed and one more, so memory is
//! (open feeds) × 2 × (chunk size), whatever the ingestion gate does. A task runs
//! on one worker at a time and travels with its chunk, so a part needs no lock.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::task::Poll;
use std::thread;

use envelope::FramedBatch;
use oracle_store::{HeldMemory, RowNumbers};

use crate::crew::{Crew, Step, Worker};
use crate::ending::Ending;
use crate::order::done_before::DoneBefore;
use crate::{Error, ReasonCode};

/// How many threads decode and frame on this machine: one a core, 2 to 4. Fewer would leave a
/// part waiting behind another's read; more only wait for the one thread that dispatches.
pub fn decoding_threads() -> usize {
    thread::available_parallelism()
        .map_or(2, NonZero::get)
        .clamp(2, 4)
}

/// Some events of one part, in the order in which they leave.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The envelopes of the events.
    pub framed: FramedBatch,
    /// The rows of the events in their part.
    pub rows: RowNumbers,
    /// Why the part ends after these events; `None` if it goes on.
    pub failure: Option<Error>,
    /// Memory held for the envelopes of large rows; `None` without large rows.
    pub held: Option<HeldMemory>,
}

impl Chunk {
    /// The row of the event at `index`.
    pub fn row(&self, index: usize) -> u64 {
        self.rows.row(index)
    }

    /// A chunk without events: the part ends with `failure`.
    pub fn failed(failure: Error) -> Self {
        Self {
            failure: Some(failure),
            ..Self::default()
        }
    }
}

/// Makes the chunks of one part, one a step of whichever worker has it.
pub trait ChunkSource: Send {
    /// The next chunk; `None` at the end of the part. A chunk with a failure is
    /// the last one.
    fn next_chunk(&mut self) -> Option<Chunk>;
}

/// What a worker answers: a chunk and the task to go on with, or the part's end.
type Made = Option<(Chunk, Task)>;

struct Task {
    source: Box<dyn ChunkSource>,
    made: SyncSender<Made>,
}

/// The workers that decode and frame.
#[derive(Debug)]
pub struct FeedPool {
    tasks: Sender<Task>,
    ending: Ending,
}

impl FeedPool {
    /// Starts `workers` threads; they end when the pool and all its feeds are gone. Once the
    /// stream winds down nobody waits for a read of theirs, which may hang.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread.
    pub fn start(workers: usize, ending: &Ending) -> Result<Self, Error> {
        Self::of_crew(&Crew::default(), workers, ending)
    }

    /// A pool whose `workers` belong to a crew.
    ///
    /// # Errors
    /// As [`FeedPool::start`].
    pub fn of_crew(crew: &Crew, workers: usize, ending: &Ending) -> Result<Self, Error> {
        let (tasks, queue) = channel::<Task>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..workers.max(1) {
            let worker = FeedWorker {
                queue: Arc::clone(&queue),
                next: None,
                ending: ending.clone(),
            };
            crew.start(format!("wsp-feed-{number}"), worker)
                .map_err(|source| {
                    Error::no_thread("The system gave no thread to decode on", source)
                })?;
        }
        Ok(Self {
            tasks,
            ending: ending.clone(),
        })
    }

    /// What ends the stream.
    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Opens a feed and starts on its first chunk.
    pub fn open(&self, source: Box<dyn ChunkSource>) -> PartFeed {
        let (made, answers) = sync_channel(1);
        // A pool without workers drops the task, and `poll_chunk` says so.
        let _ = self.tasks.send(Task { source, made });
        PartFeed {
            tasks: self.tasks.clone(),
            answers,
            ending: self.ending.clone(),
            done_before: None,
        }
    }
}

/// Makes one chunk a step, of whichever part waits for one.
struct FeedWorker {
    queue: Arc<Mutex<Receiver<Task>>>,
    /// Taken while it rested.
    next: Option<Task>,
    ending: Ending,
}

impl FeedWorker {
    fn take(&mut self) -> Result<Task, TryRecvError> {
        if let Some(task) = self.next.take() {
            return Ok(task);
        }
        match self.queue.try_lock() {
            Ok(queue) => queue.try_recv(),
            Err(TryLockError::Poisoned(queue)) => queue.into_inner().try_recv(),
            // Another worker waits there already.
            Err(TryLockError::WouldBlock) => Err(TryRecvError::Empty),
        }
    }
}

impl Worker for FeedWorker {
    fn step(&mut self) -> Step {
        let mut task = match self.take() {
            Ok(task) => task,
            Err(TryRecvError::Empty) => return Step::Idle,
            Err(TryRecvError::Disconnected) => return Step::Ended,
        };
        let made = task.made.clone();
        let chunk = task.source.next_chunk();
        // Nobody listens once the stream has stopped.
        let _ = made.send(chunk.map(|chunk| (chunk, task)));
        self.ending.wake_dispatcher();
        Step::Worked
    }

    fn rest(&mut self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.next = queue.recv().ok();
    }
}

/// One part, a chunk at a time.
#[derive(Debug)]
pub struct PartFeed {
    tasks: Sender<Task>,
    answers: Receiver<Made>,
    ending: Ending,
    done_before: Option<Arc<DoneBefore>>,
}

impl PartFeed {
    /// The same feed, whose events are passed over where they were done before.
    #[must_use]
    pub(crate) fn behind(mut self, done_before: Option<Arc<DoneBefore>>) -> Self {
        self.done_before = done_before;
        self
    }

    /// What was done of the stream under another division into shards.
    pub(crate) fn done_before(&self) -> Option<&DoneBefore> {
        self.done_before.as_deref()
    }

    /// Takes the next chunk and has the one after it made; `None` at the end of the part, and for
    /// good after it or after a chunk with a failure. `Pending` while the chunk is being made:
    /// whoever makes it wakes the dispatching thread. Once the stream winds down, a chunk that is
    /// not there fails with `STOPPED`. Never waits.
    pub fn poll_chunk(&mut self) -> Poll<Option<Chunk>> {
        Poll::Ready(match self.answers.try_recv() {
            Ok(Some((chunk, task))) => {
                if chunk.failure.is_none() {
                    let _ = self.tasks.send(task);
                } else {
                    let _ = task.made.send(None);
                }
                Some(chunk)
            }
            Ok(None) => None,
            Err(TryRecvError::Empty) if self.ending.is_winding_down() => {
                Some(Chunk::failed(Error::new(
                    ReasonCode::Stopped,
                    "The stream was stopped while it waited for rows",
                    "A rerun goes on.",
                )))
            }
            Err(TryRecvError::Empty) => return Poll::Pending,
            // The worker died on this part: its end must not look like the part's end.
            Err(TryRecvError::Disconnected) => Some(Chunk::failed(Error::new(
                ReasonCode::StreamInternal,
                "A decoding thread ended in the middle of a part",
                "Look for a panic above this line and report it; a rerun resumes.",
            ))),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "the test goes by the machine's clock"
    )]

    use std::time::Duration;

    use super::*;

    /// Waits for the next chunk of a feed.
    fn chunk_of(feed: &mut PartFeed) -> Option<Chunk> {
        loop {
            match feed.poll_chunk() {
                Poll::Ready(chunk) => return chunk,
                Poll::Pending => thread::sleep(Duration::from_micros(50)),
            }
        }
    }

    struct Counted(u64);

    impl ChunkSource for Counted {
        fn next_chunk(&mut self) -> Option<Chunk> {
            self.0 = self.0.checked_sub(1)?;
            assert_ne!(self.0, 77, "as asked");
            let framed = FramedBatch::default();
            Some(Chunk {
                framed,
                rows: RowNumbers::from(self.0),
                ..Chunk::default()
            })
        }
    }

    #[test]
    fn many_feeds_share_few_workers_and_each_keeps_its_order() {
        let pool = FeedPool::start(2, &Ending::default()).unwrap();
        let mut feeds: Vec<_> = (0..20).map(|_| pool.open(Box::new(Counted(50)))).collect();
        for expected in (0..50).rev() {
            for feed in &mut feeds {
                assert_eq!(chunk_of(feed).unwrap().row(0), expected);
            }
        }
        assert!(feeds.iter_mut().all(|feed| chunk_of(feed).is_none()));
    }

    struct Hanging;

    impl ChunkSource for Hanging {
        fn next_chunk(&mut self) -> Option<Chunk> {
            loop {
                thread::park();
            }
        }
    }

    #[test]
    fn a_read_that_hangs_does_not_outlast_a_stop() {
        let ending = Ending::default();
        let mut feed = FeedPool::start(1, &ending).unwrap().open(Box::new(Hanging));
        let waiting = thread::spawn(move || chunk_of(&mut feed).unwrap().failure.unwrap());
        thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        ending.wind_down(crate::ending::Cause::Asked);
        assert_eq!(waiting.join().unwrap().code(), "STOPPED");
    }

    #[test]
    fn a_worker_that_dies_is_a_failure_and_not_the_end_of_the_part() {
        let pool = FeedPool::start(1, &Ending::default()).unwrap();
        let mut feed = pool.open(Box::new(Counted(79)));
        assert!(chunk_of(&mut feed).unwrap().failure.is_none());
        let failure = chunk_of(&mut feed).unwrap().failure.unwrap();
        assert_eq!(failure.code(), "STREAM_INTERNAL");
    }

    #[test]
    fn chunks_of_a_stepped_pool_are_made_one_a_step_and_one_ahead() {
        let (crew, steps) = Crew::stepped();
        let pool = FeedPool::of_crew(&crew, 2, &Ending::default()).unwrap();
        let mut feed = pool.open(Box::new(Counted(3)));
        for row in (0..3).rev() {
            assert!(feed.poll_chunk().is_pending());
            assert!(steps.step());
            assert!(!steps.step(), "no more than one chunk ahead");
            let Poll::Ready(Some(chunk)) = feed.poll_chunk() else {
                panic!("a chunk was made")
            };
            assert_eq!(chunk.row(0), row);
        }
        assert!(steps.step());
        assert!(matches!(feed.poll_chunk(), Poll::Ready(None)));
    }
}
