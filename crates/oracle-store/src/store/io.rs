//! The crate's own small runtime: every HTTP connection and every blocking disk read
//! lives on it, so that the store works the same from any executor and from plain
//! threads, and a connection never outlives the runtime that drives it.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, ReasonCode};

/// Disk reads that may run at once; more would only queue in the kernel.
const BLOCKING_THREADS: usize = 8;

/// The handle of the one IO runtime, started when it is first needed.
///
/// # Errors
/// `ORACLE_READ_FAILED` if the machine has no thread left for it.
pub(crate) fn handle() -> Result<&'static Handle, Error> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("oracle-store-io")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())
    });
    runtime.as_ref().map(Runtime::handle).map_err(|source| {
        Error::new(
            ReasonCode::OracleReadFailed,
            "The threads that read the store cannot start",
        )
        .because(source.as_str())
    })
}

/// Runs blocking disk work off the caller's executor.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    handle()?.spawn_blocking(work).await.map_err(broken)?
}

/// A task that ended without an answer: it panicked, or the process is ending.
pub(crate) fn broken(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ReasonCode::OracleReadFailed,
        "A read of the store was broken off",
    )
    .because(source)
}
