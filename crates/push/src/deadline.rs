//! The timeout of a lane's posts.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::fault::{FaultKind, PushFault};

/// One timer for all posts of a lane: moving its deadline further off takes no lock.
#[derive(Debug)]
pub(crate) struct Deadline {
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Each post has this much time.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            timer: None,
        }
    }

    /// What `post` gives, unless it takes too long. It is taken where it is pinned, since each
    /// move of it copies the whole future.
    pub(crate) async fn bound<T>(
        &mut self,
        mut post: Pin<&mut impl Future<Output = Result<T, PushFault>>>,
    ) -> Result<T, PushFault> {
        let deadline = Instant::now() + self.timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        timer.as_mut().reset(deadline);
        poll_fn(|cx| match post.as_mut().poll(cx) {
            Poll::Pending => timer
                .as_mut()
                .poll(cx)
                .map(|()| Err(FaultKind::Timeout.into())),
            answered @ Poll::Ready(_) => answered,
        })
        .await
    }
}
