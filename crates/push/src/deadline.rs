//! The timeout of a lane's posts.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use model::Clock;

use super::fault::{FaultKind, PushFault};

/// One alarm for all posts of a lane.
///
/// A post's deadline is never earlier than that of the post before, so an alarm that was set for
/// an earlier one stays as it is; when it goes off too early it is set anew. That happens at most
/// once a timeout: a post takes no lock and allocates nothing for its deadline.
pub(crate) struct Deadline<C> {
    clock: C,
    timeout: Duration,
    alarm: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<C: fmt::Debug> fmt::Debug for Deadline<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline")
            .field("clock", &self.clock)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<C: Clock> Deadline<C> {
    /// Gives each post this much time.
    pub(crate) fn new(timeout: Duration, clock: C) -> Self {
        Self {
            clock,
            timeout,
            alarm: None,
        }
    }

    /// The moment at which a post begins: its time counts from here.
    pub(crate) fn begin(&self) -> Instant {
        self.clock.now()
    }

    /// What `post` gives, unless it takes too long from its `begin` on. It is taken where it is pinned, since each
    /// move of it copies the whole future.
    pub(crate) async fn bound<T>(
        &mut self,
        began: Instant,
        mut post: Pin<&mut impl Future<Output = Result<T, PushFault>>>,
    ) -> Result<T, PushFault> {
        let deadline = began + self.timeout;
        poll_fn(|cx| match post.as_mut().poll(cx) {
            Poll::Pending => self
                .poll_passed(deadline, cx)
                .map(|()| Err(FaultKind::Timeout.into())),
            answered @ Poll::Ready(_) => answered,
        })
        .await
    }

    fn poll_passed(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let clock = &self.clock;
            let alarm = self.alarm.get_or_insert_with(|| {
                let left = deadline.saturating_duration_since(clock.now());
                let clock = clock.clone();
                Box::pin(async move { clock.sleep(left).await })
            });
            ready!(alarm.as_mut().poll(cx));
            self.alarm = None;
            if self.clock.now() >= deadline {
                return Poll::Ready(());
            }
        }
    }
}
