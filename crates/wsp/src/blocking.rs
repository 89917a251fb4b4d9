//! Reads of this machine's files, on threads that may block.
//!
//! A disk, or a share of another machine, may never answer. On a thread of its own such a read
//! hinders nobody: the stop is heard, and the process leaves the thread behind.

use crate::Error;

/// Does work that may block on a thread of its own. Dropping the future leaves the work alone.
///
/// # Errors
/// The work's; `STREAM_INTERNAL` if it panics.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let working = tokio::task::spawn_blocking(work);
    working
        .await
        .map_err(|panic| Error::died("Reading the files of this machine ended early", panic))?
}
