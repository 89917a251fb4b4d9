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
    blocking_as("Reading the files of this machine ended early", work).await
}

/// The same; `what` says what ended early if the work panics.
///
/// # Errors
/// As [`blocking`].
pub(crate) async fn blocking_as<T, E>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Error>
where
    T: Send + 'static,
    E: Into<Error> + Send + 'static,
{
    let working = durable::spawn_blocking(work);
    let working = working.map_err(|source| replay::Error::no_thread(what, source))?;
    working
        .await
        .map_err(|panic| Error::died(what, panic))?
        .map_err(Into::into)
}
