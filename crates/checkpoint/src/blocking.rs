//! Runs disk work where it may block.

use crate::error::{Error, unavailable};

/// Starts `work` on a thread that may block, of the caller's runtime or else of
/// [`durable::runtime`], at once, and gives its outcome. It runs to its end
/// even if the caller goes away.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> impl Future<Output = Result<T, Error>> + Send {
    let working = durable::spawn_blocking(work);
    async {
        let working = working.map_err(|error| {
            broken_off("The system gives no thread: look at its limits").because(error)
        })?;
        match working.await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(broken_off("Its runtime is shutting down").because(error)),
            },
        }
    }
}

fn broken_off(advice: &str) -> Error {
    unavailable("run a checkpoint operation", "this process", advice)
}
