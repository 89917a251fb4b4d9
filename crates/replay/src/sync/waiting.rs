//! How threads of a model wait for futures.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Drives a future on the calling thread of a model.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    // Not by `park`: loom 0.7 takes an unpark for the end of whatever else the thread waits for.
    struct Woken(loom::sync::Notify);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.notify();
        }
    }

    let woken = Arc::new(Woken(loom::sync::Notify::new()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        woken.0.wait();
    }
}
