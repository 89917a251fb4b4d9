//! Who does the work that may block: threads of the system, or whoever steps it.
//!
//! Reading parts, and making rejected events durable, is written as workers that go on step by
//! step; handing over, lanes and the renewal of leases are futures. In production thin loops on
//! threads drive them; a single-threaded simulation holds [`Steps`] and decides itself who goes on
//! when, or never does, as a read that hangs.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::Error;

/// What one step of a worker came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It did something, and may have more to do.
    Worked,
    /// It had nothing to do.
    Idle,
    /// It has nothing to do for good.
    Ended,
}

/// Work in steps.
pub(crate) trait Worker: Send + 'static {
    /// Does a piece of the work. It may take long, but it waits for no other worker.
    fn step(&mut self) -> Step;

    /// Blocks the calling thread until an idle worker may have something to do.
    fn rest(&mut self) {
        thread::yield_now();
    }
}

/// Drives workers. Cheap to clone; the default one does by threads of the system.
#[derive(Debug, Clone, Default)]
pub struct Crew(Option<Steps>);

impl Crew {
    /// A crew whose workers go on only when they are stepped, on the thread that steps them.
    pub fn stepped() -> (Self, Steps) {
        let steps = Steps::default();
        (Self(Some(steps.clone())), steps)
    }

    /// Whoever steps this crew; `None` where threads of the system do the work.
    pub(crate) fn steps(&self) -> Option<&Steps> {
        self.0.as_ref()
    }

    /// Has a worker work until it ends, on a thread with this name.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(&self, name: String, mut worker: impl Worker) -> io::Result<()> {
        if let Some(steps) = &self.0 {
            steps.take_on(Box::new(worker));
            return Ok(());
        }
        let drive = move || {
            loop {
                match worker.step() {
                    Step::Worked => {}
                    Step::Idle => worker.rest(),
                    Step::Ended => return,
                }
            }
        };
        thread::Builder::new().name(name).spawn(drive).map(drop)
    }

    /// Has something done once, on a thread of the runtime that is for work that blocks. `died` says
    /// what ended where it panics.
    pub(crate) async fn once<T: Send + 'static>(
        &self,
        died: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let Some(steps) = &self.0 else {
            let started = durable::spawn_blocking(work);
            let started = started.map_err(|source| Error::no_thread(died, source))?;
            return started.await.map_err(|panic| Error::died(died, panic));
        };
        let (done, result) = oneshot::channel();
        steps.take_on(Box::new(Once(Some(move || {
            // Whoever asked may have gone.
            let _ = done.send(work());
        }))));
        result.await.map_err(|gone| Error::died(died, gone))
    }
}

/// A future that whoever steps a crew is to drive to its end.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The work of a crew that is stepped: its workers, in the order of their turns, and the futures
/// that nobody drives yet. Cheap to clone.
#[derive(Clone, Default)]
pub struct Steps(Arc<Undone>);

#[derive(Default)]
struct Undone {
    workers: Mutex<VecDeque<Box<dyn Worker>>>,
    tasks: Mutex<Vec<Task>>,
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Steps")
    }
}

impl Steps {
    /// Has the next worker that has something to do take a step; `false` if none has.
    pub fn step(&self) -> bool {
        let workers = self.workers().len();
        for _ in 0..workers {
            let Some(mut worker) = self.workers().pop_front() else {
                return false;
            };
            // Not under the lock: a step may take a worker on.
            let step = worker.step();
            if step != Step::Ended {
                self.take_on(worker);
            }
            if step == Step::Worked {
                return true;
            }
        }
        false
    }

    /// Takes the futures that were started since they were last taken, in the order of their
    /// starts: whoever takes them drives them.
    pub fn take_tasks(&self) -> Vec<Task> {
        std::mem::take(&mut *locked(&self.0.tasks))
    }

    /// Drops all workers and all futures that nobody drives yet, as a crash does.
    pub fn abandon(&self) {
        // Not under the locks: what is dropped may start something.
        let workers = std::mem::take(&mut *self.workers());
        let tasks = self.take_tasks();
        drop((workers, tasks));
    }

    /// Has whoever steps the crew drive a future.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        locked(&self.0.tasks).push(Box::pin(task));
    }

    fn take_on(&self, worker: Box<dyn Worker>) {
        self.workers().push_back(worker);
    }

    fn workers(&self) -> MutexGuard<'_, VecDeque<Box<dyn Worker>>> {
        locked(&self.0.workers)
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work of one step.
pub(crate) struct Once<F>(pub(crate) Option<F>);

impl<F: FnOnce() + Send + 'static> Worker for Once<F> {
    fn step(&mut self) -> Step {
        match self.0.take() {
            Some(work) => {
                work();
                Step::Worked
            }
            None => Step::Ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    #[tokio::test]
    async fn work_of_a_stepped_crew_is_done_by_steps_and_by_nothing_else() {
        let (crew, steps) = Crew::stepped();
        let done = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&done);
        let work = move || count.fetch_add(1, Relaxed);
        let asked = tokio::spawn(async move { crew.once("it died", work).await });
        tokio::task::yield_now().await;
        assert_eq!(done.load(Relaxed), 0);
        assert!(steps.step());
        assert_eq!(asked.await.unwrap().unwrap(), 0);
        assert!(!steps.step(), "nothing is left to do");
    }

    #[tokio::test]
    async fn work_that_panics_on_a_thread_is_an_error() {
        let work = || panic!("as asked");
        let error = Crew::default().once("It ended", work).await.unwrap_err();
        assert_eq!(error.code(), "STREAM_INTERNAL");
    }
}
