//! Whether a lane may post at this moment: asked immediately before each post, retries included.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// How long a lane that may post later waits before it asks again.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(10);

/// Whether a lane may post an event now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leave {
    /// The lane may post.
    Now,
    /// The lane may not post now, and asks again in a moment.
    Later,
    /// The lane may not post any more: the push ends as
    /// [`Cancelled`](super::PushOutcome::Cancelled).
    Never,
}

/// What came of the posts of one event so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// No leave was given for a post of the event.
    Never,
    /// Leave was given, and no post has reached the gate.
    NotSent,
    /// The gate may have the event.
    MaybeSent,
}

/// Decides whether lanes may post. A [`Pusher`](super::Pusher) asks it on the way of every event,
/// so it takes no lock and does not wait.
pub trait PostLeave: Debug + Send + Sync {
    /// Whether an event may be posted now, after the posts of it that were made.
    fn ask(&self, posted: Posted) -> Leave;

    /// Whether no event will ever get leave again, so that a lane need not connect for it; `false`
    /// by default.
    fn is_over(&self, posted: Posted) -> bool {
        let _ = posted;
        false
    }
}

/// Leave to post whenever a lane asks.
#[derive(Debug)]
pub(crate) struct Always;

impl PostLeave for Always {
    fn ask(&self, _: Posted) -> Leave {
        Leave::Now
    }
}

/// Leave to post whenever a lane asks, for many pushers.
pub(crate) fn always() -> Arc<dyn PostLeave> {
    Arc::new(Always)
}
