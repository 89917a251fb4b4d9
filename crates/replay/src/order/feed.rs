//! Feeds: parts decoded and framed ahead of the order, by a bounded amount.
//!
//! ```text
//!   order ──open──► FeedPool ──task──► worker ─┐ decodes and frames one chunk
//!     ▲                ▲                       │
//!     └── PartFeed ◄───┼──────── chunk ◄───────┘
//!    next_chunk() ─────┘ hands the task back: one chunk ahead, never more
//! ```
//!
//! A chunk is some consecutive events of one part, framed into one buffer. Each
//! open feed holds at most the chunk being consumed and one more, so memory is
//! (open feeds) × 2 × (chunk size), whatever the ingestion gate does. A task runs
//! on one worker at a time and travels with its chunk, so a part needs no lock.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use envelope::FramedBatch;
use oracle_store::HeldMemory;

use crate::ending::Ending;
use crate::{Error, ReasonCode};

/// How often a caller that waits for a chunk looks whether the stream winds down.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// Which row of the part each event of a chunk is.
#[derive(Debug)]
pub enum RowNumbers {
    /// Consecutive rows from this one on.
    From(u64),
    /// One row number an event, for a part that was sorted.
    Listed(Vec<u64>),
}

impl Default for RowNumbers {
    fn default() -> Self {
        Self::From(0)
    }
}

/// Some events of one part, in the order in which they leave.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The envelopes.
    pub framed: FramedBatch,
    /// Their rows.
    pub rows: RowNumbers,
    /// Why the part ends after these events, if it may not go on.
    pub failure: Option<Error>,
    /// Memory for the envelopes of large rows.
    pub held: Option<HeldMemory>,
}

impl Chunk {
    /// The row of the event at `index`.
    pub fn row(&self, index: usize) -> u64 {
        match &self.rows {
            RowNumbers::From(first) => first + index as u64,
            RowNumbers::Listed(rows) => rows[index],
        }
    }

    /// No events, and why.
    pub fn failed(failure: Error) -> Self {
        Self {
            failure: Some(failure),
            ..Self::default()
        }
    }
}

/// Makes the chunks of one part, on a worker's thread.
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

/// The worker threads that decode and frame.
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
        let (tasks, queue) = channel::<Task>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..workers.max(1) {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("wsp-feed-{number}"))
                .spawn(move || work(&queue))
                .map_err(|source| {
                    Error::no_thread("The system gave no thread to decode on", source)
                })?;
        }
        Ok(Self {
            tasks,
            ending: ending.clone(),
        })
    }

    /// Opens a feed and starts on its first chunk.
    pub fn open(&self, source: Box<dyn ChunkSource>) -> PartFeed {
        let (made, answers) = sync_channel(1);
        // A pool without workers drops the task, and `next_chunk` says so.
        let _ = self.tasks.send(Task { source, made });
        PartFeed {
            tasks: self.tasks.clone(),
            answers,
            ending: self.ending.clone(),
        }
    }
}

fn work(queue: &Mutex<Receiver<Task>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut task) = next else { return };
        let made = task.made.clone();
        let chunk = task.source.next_chunk();
        // Nobody listens once the stream has stopped.
        let _ = made.send(chunk.map(|chunk| (chunk, task)));
    }
}

/// One part, a chunk at a time.
#[derive(Debug)]
pub struct PartFeed {
    tasks: Sender<Task>,
    answers: Receiver<Made>,
    ending: Ending,
}

impl PartFeed {
    /// Waits for the next chunk and has the one after it made; `None` at the end
    /// of the part, and for good after it or after a chunk with a failure. Fails with `STOPPED`
    /// if the stream winds down while the chunk is being made.
    pub fn next_chunk(&mut self) -> Option<Chunk> {
        let made = loop {
            match self.answers.recv_timeout(LOOK_AROUND) {
                Err(RecvTimeoutError::Timeout) if self.ending.is_winding_down() => {
                    return Some(Chunk::failed(Error::new(
                        ReasonCode::Stopped,
                        "The stream was stopped while it waited for rows",
                        "A rerun goes on.",
                    )));
                }
                Err(RecvTimeoutError::Timeout) => {}
                made => break made,
            }
        };
        match made {
            Ok(Some((chunk, task))) => {
                if chunk.failure.is_none() {
                    let _ = self.tasks.send(task);
                } else {
                    let _ = task.made.send(None);
                }
                Some(chunk)
            }
            Ok(None) => None,
            // The worker died on this part: its end must not look like the part's end.
            Err(_) => Some(Chunk::failed(Error::new(
                ReasonCode::StreamInternal,
                "A decoding thread ended in the middle of a part",
                "Look for a panic above this line and report it; a rerun resumes.",
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "the test goes by the machine's clock"
    )]

    use super::*;

    struct Counted(u64);

    impl ChunkSource for Counted {
        fn next_chunk(&mut self) -> Option<Chunk> {
            self.0 = self.0.checked_sub(1)?;
            assert_ne!(self.0, 77, "as asked");
            let framed = FramedBatch::default();
            Some(Chunk {
                framed,
                rows: RowNumbers::From(self.0),
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
                assert_eq!(feed.next_chunk().unwrap().row(0), expected);
            }
        }
        assert!(feeds.iter_mut().all(|feed| feed.next_chunk().is_none()));
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
        let waiting = thread::spawn(move || feed.next_chunk().unwrap().failure.unwrap());
        thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        ending.wind_down(crate::ending::Cause::Asked);
        assert_eq!(waiting.join().unwrap().code(), "STOPPED");
    }

    #[test]
    fn a_worker_that_dies_is_a_failure_and_not_the_end_of_the_part() {
        let pool = FeedPool::start(1, &Ending::default()).unwrap();
        let mut feed = pool.open(Box::new(Counted(79)));
        assert!(feed.next_chunk().unwrap().failure.is_none());
        let failure = feed.next_chunk().unwrap().failure.unwrap();
        assert_eq!(failure.code(), "STREAM_INTERNAL");
    }
}
