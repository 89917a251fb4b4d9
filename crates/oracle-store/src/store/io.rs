//! The crate's own small runtime: every HTTP connection and every blocking disk read
//! lives on it, so that the store works the same from any executor and from plain
//! threads, and a connection never outlives the runtime that drives it.

use std::io;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use durable::start_runtime;
use tokio::runtime::Handle;

use crate::error::{Error, ReasonCode};

/// How long an idle thread is kept: for good, since the system may give no other later.
const KEEP: Duration = Duration::from_hours(24 * 365);

/// The handle of the one IO runtime, started when it is first needed.
///
/// # Errors
/// `ORACLE_READ_FAILED` if the machine has no thread left for it.
pub(crate) fn handle() -> Result<&'static Handle, Error> {
    static RUNTIME: OnceLock<Result<Handle, String>> = OnceLock::new();
    let handle = RUNTIME
        .get_or_init(|| start_runtime("oracle-store-io", KEEP).map_err(|error| error.to_string()));
    handle.as_ref().map_err(|source| {
        Error::new(
            ReasonCode::OracleReadFailed,
            "The threads that read the store cannot start",
        )
        .because(source.as_str())
    })
}

/// Starts work on a thread that may block or compute; the future answers with what it gave.
pub(crate) fn start_work<T, W>(
    work: W,
) -> impl Future<Output = Result<T, Error>> + Send + 'static + use<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let started = handle().map(|handle| handle.spawn_blocking(work));
    async move { started?.await.map_err(broken) }
}

/// Runs blocking disk work off the caller's executor.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    start_work(work).await?
}

/// Has work done on the IO runtime, and blocks the calling thread until it is done.
pub(crate) fn wait_for<T: Send + 'static>(
    work: impl Future<Output = object_store::Result<T>> + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = mpsc::sync_channel(1);
    handle().map_err(io::Error::other)?.spawn(async move {
        // Whoever waits for it stays.
        let _ = tell.send(work.await);
    });
    told.recv()
        .map_err(io::Error::other)?
        .map_err(io::Error::other)
}

/// A task that ended without an answer: it panicked, or the process is ending.
pub(crate) fn broken(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ReasonCode::OracleReadFailed,
        "A read of the store was broken off",
    )
    .because(source)
}
