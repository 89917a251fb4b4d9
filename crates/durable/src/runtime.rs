//! A runtime for callers that have none: async code that needs tokio's timers, sockets and blocking
//! threads then runs under any executor.
//!
//! Where the caller polls within a tokio runtime of its own, that one is used, and nothing is
//! started. Else one runtime serves the whole process: a thread `durable-runtime`, started by the
//! first call that needs it, and at most [`BLOCKING_THREADS`] threads for work that blocks, each
//! kept for 10 s. The thread sleeps while nothing is due, and ends with the process.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

/// The most threads for work that blocks which the runtime of this crate has.
const BLOCKING_THREADS: usize = 8;
/// How long such a thread is kept without work.
const KEEP: Duration = Duration::from_secs(10);

/// The runtime of the caller; without one, that of this crate.
///
/// # Errors
/// Why the system gives no thread for it.
pub fn runtime() -> io::Result<Handle> {
    static OWN: OnceLock<Result<Handle, (io::ErrorKind, String)>> = OnceLock::new();
    if let Ok(callers) = Handle::try_current() {
        return Ok(callers);
    }
    let own = OWN.get_or_init(|| {
        start_runtime("durable-runtime", KEEP).map_err(|error| (error.kind(), error.to_string()))
    });
    own.clone()
        .map_err(|(kind, what)| io::Error::new(kind, what))
}

/// Starts a runtime that a thread of its own drives until the process ends; thread and runtime have
/// this name. It has at most 8 threads for work that blocks, and `keep` is how long each stays
/// without work.
///
/// # Errors
/// Why the system gives no thread for it: the workers of a runtime of several threads would panic.
pub fn start_runtime(name: &'static str, keep: Duration) -> io::Result<Handle> {
    let (tell, told) = mpsc::sync_channel(1);
    let drive = move || {
        let built = Builder::new_current_thread()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_keep_alive(keep)
            .thread_name(name)
            .enable_all()
            .build();
        match built {
            Ok(runtime) => {
                // Whoever started it waits for this.
                let _ = tell.send(Ok(runtime.handle().clone()));
                runtime.block_on(std::future::pending::<()>());
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(drive)?;
    told.recv()
        .unwrap_or_else(|ended| Err(io::Error::other(ended)))
}

/// Polls a future within a runtime, whoever polls it. It stays on the polling thread; only what it
/// spawns runs elsewhere.
///
/// # Panics
/// As the future does outside of a runtime, where the caller has none and the system gives no thread
/// for one.
pub async fn in_runtime<F: Future>(future: F) -> F::Output {
    if Handle::try_current().is_ok() {
        return future.await;
    }
    let Ok(own) = runtime() else {
        return future.await;
    };
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _entered = own.enter();
        future.as_mut().poll(cx)
    })
    .await
}

/// Starts work on a thread that may block, at once.
///
/// # Errors
/// As [`runtime`].
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Ok(runtime()?.spawn_blocking(work))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::time::Instant;

    use model::Clock;

    use super::*;
    use crate::{BootClock, TokioClock};

    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// An executor that knows nothing of tokio.
    fn block_on<F: Future>(future: F) -> F::Output {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            thread::park();
        }
    }

    #[test]
    fn clocks_sockets_and_work_that_blocks_go_under_another_executor() {
        let began = Instant::now();
        block_on(TokioClock.sleep(Duration::from_millis(2)));
        block_on(BootClock.sleep(Duration::from_millis(2)));
        assert!(began.elapsed() >= Duration::from_millis(4));
        let worked = block_on(spawn_blocking(|| 7).unwrap());
        assert_eq!(worked.unwrap(), 7);
        let spawned = in_runtime(async { tokio::spawn(async { 8 }).await.unwrap() });
        assert_eq!(block_on(spawned), 8);
    }

    #[tokio::test]
    async fn the_runtime_of_the_caller_is_used_where_there_is_one() {
        let id = || Handle::current().id();
        let within = in_runtime(async { id() });
        assert_eq!(within.await, id());
        assert_eq!(runtime().unwrap().id(), id());
    }
}
