//! The thread that renews a lease, so that no work of a stream keeps a renewal back.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use super::Renewal;

/// Drives a renewal to its end on a thread with a runtime of its own.
///
/// # Errors
/// What the system says where it gives no thread or no runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the renewal is given a thread; simulations drive it themselves"
)]
pub(super) fn drive(renewal: Renewal) -> io::Result<JoinHandle<()>> {
    let (began, has_begun) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("wsp-lease".to_owned())
        .spawn(move || {
            // Made here: a runtime that is dropped where its caller awaits is a panic.
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = match runtime.enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return began.send(Err(error)).unwrap_or_default(),
            };
            let _ = began.send(Ok(()));
            runtime.block_on(renewal);
            // A renewal that hangs holds nobody up.
            runtime.shutdown_background();
        })?;
    let died = |_| io::Error::other("it died as it began");
    has_begun.recv().map_err(died)??;
    Ok(thread)
}
