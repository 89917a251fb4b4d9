//! Parts looked into before the first event, by several readers side by side.
//!
//! Readers take parts in their order and say what they read as soon as they have it, so the
//! dispatching thread goes on when the last one has ended. It never waits for one: a read may
//! hang, and a stop must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::task::Poll;
use std::time::Duration;

use oracle_store::Part;

use crate::Error;
use crate::crew::{Crew, Step, Worker};
use crate::ending::Ending;

/// How often a caller that blocks looks whether the stream winds down.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// One part being read, in steps.
pub(super) trait PartReading: Send + 'static {
    /// What is read of a part.
    type Read: Send + 'static;

    /// Reads on: what was read, or `Pending` where there is more to read.
    fn step(&mut self) -> Poll<Self::Read>;

    /// Whether no further part need be read.
    fn is_last(read: &Self::Read) -> bool;
}

/// Who reads, and in whose name.
pub(super) struct ReaderCrew<'a> {
    pub(super) crew: &'a Crew,
    /// The beginning of the threads' names.
    pub(super) name: &'static str,
    /// What is read, for messages.
    pub(super) what: &'static str,
    /// At most so many; at least one.
    pub(super) readers: usize,
}

/// What several readers read of parts: a part's place in the list, and what was read of it.
#[derive(Debug)]
pub(super) struct PartReaders<T> {
    answers: Receiver<(usize, T)>,
    /// Taken by a caller that blocked.
    next: Option<(usize, T)>,
}

impl<T: Send + 'static> PartReaders<T> {
    /// Has `parts` read; `begin` opens one.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives not one thread.
    pub(super) fn start<R: PartReading<Read = T>>(
        by: &ReaderCrew<'_>,
        parts: Vec<Part>,
        ending: &Ending,
        begin: impl Fn(&Part) -> R + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let (read, answers) = mpsc::channel();
        let readers = by.readers.clamp(1, parts.len().max(1));
        let next = AtomicUsize::new(0);
        let unread = Arc::new(Unread { parts, next, begin });
        for reader in 0..readers {
            let worker = Reader {
                unread: Arc::clone(&unread),
                current: None,
                read: Some(read.clone()),
                ending: ending.clone(),
            };
            match by.crew.start(format!("{}-{reader}", by.name), worker) {
                Ok(()) => {}
                Err(error) if reader == 0 => {
                    let what = format!("The system gave no thread to read {} on", by.what);
                    return Err(Error::no_thread(&what, error));
                }
                Err(error) => {
                    tracing::warn!(%error, "{} are read by fewer threads", by.what);
                    break;
                }
            }
        }
        let next = None;
        Ok(Self { answers, next })
    }

    /// What was read next; `None` once all readers have ended. Never waits.
    pub(super) fn poll(&mut self) -> Poll<Option<(usize, T)>> {
        if let Some(read) = self.next.take() {
            return Poll::Ready(Some(read));
        }
        match self.answers.try_recv() {
            Ok(read) => Poll::Ready(Some(read)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
        }
    }

    /// Blocks until there is something to poll, or for a moment.
    pub(super) fn wait(&mut self) {
        match self.answers.recv_timeout(LOOK_AROUND) {
            Ok(read) => self.next = Some(read),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// Parts that readers take one after the other.
struct Unread<F> {
    parts: Vec<Part>,
    next: AtomicUsize,
    begin: F,
}

/// Reads one part after the other, until none is left, one is the last, or nobody waits.
struct Reader<R: PartReading, F> {
    unread: Arc<Unread<F>>,
    current: Option<(usize, R)>,
    /// Present until the reader ends.
    read: Option<Sender<(usize, R::Read)>>,
    ending: Ending,
}

impl<R: PartReading, F: Fn(&Part) -> R + Send + Sync + 'static> Worker for Reader<R, F> {
    fn step(&mut self) -> Step {
        let (place, reading) = match &mut self.current {
            Some((place, reading)) => (*place, reading),
            none => {
                let place = self.unread.next.fetch_add(1, Ordering::Relaxed);
                let Some(part) = self.unread.parts.get(place) else {
                    return Step::Ended;
                };
                (
                    place,
                    &mut none.insert((place, (self.unread.begin)(part))).1,
                )
            }
        };
        let Poll::Ready(read) = reading.step() else {
            return Step::Worked;
        };
        self.current = None;
        if R::is_last(&read) {
            self.unread
                .next
                .store(self.unread.parts.len(), Ordering::Relaxed);
        }
        match &self.read {
            Some(answers) if answers.send((place, read)).is_ok() => {
                self.ending.wake_dispatcher();
                Step::Worked
            }
            _ => Step::Ended,
        }
    }
}

impl<R: PartReading, F> Drop for Reader<R, F> {
    fn drop(&mut self) {
        // First, so that who is woken sees that this reader has ended.
        self.read = None;
        self.ending.wake_dispatcher();
    }
}
