//! Runs disk work where it may block.

use crate::error::{Error, unavailable};

/// Runs `work` on a blocking thread. It runs to its end even if the caller goes away.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(unavailable(
                "run a checkpoint operation",
                "this process",
                "Its runtime is shutting down",
            )
            .because(error)),
        },
    }
}
