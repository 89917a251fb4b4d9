//! Runs disk work where it may block.

use crate::error::{Error, unavailable};

/// Starts `work` on a thread that may block, at once, and gives its outcome. It runs to its end
/// even if the caller goes away.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where work is handed to a thread that may block"
)]
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> impl Future<Output = Result<T, Error>> + Send {
    let working = tokio::task::spawn_blocking(work);
    async {
        match working.await {
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
}
