//! Pictures of all streams, as server-sent events.
//!
//! A picture is made when the connection has taken the one before: a slow reader misses some, and
//! holds nothing but its own connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::Shared;
use crate::hub::streams::Seen;

/// The longest time without a picture, so that ages are shown as they grow and connections that broke
/// are noticed.
const LONGEST: Duration = Duration::from_secs(1);

/// One reader of pictures.
struct Reader {
    shared: Arc<Shared>,
    seen: Seen,
    changes: watch::Receiver<u64>,
    ending: watch::Receiver<bool>,
    is_first: bool,
    _page: OwnedSemaphorePermit,
}

impl Reader {
    /// The next picture; `None` once the console ends.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if !self.is_first {
            tokio::select! {
                biased;
                _ = self.ending.wait_for(|is_ending| *is_ending) => return None,
                // Over in any case: whether it changed or not.
                _ = timeout(LONGEST, self.changes.changed()) => {}
            }
        }
        self.is_first = false;
        self.changes.mark_unchanged();
        let picture = self.shared.streams.picture(&mut self.seen);
        let mut value = serde_json::to_value(&picture).unwrap_or_default();
        value["may_steer"] = self.shared.access.may_steer().into();
        Some((Ok(Event::default().data(value.to_string())), self))
    }
}

pub(super) async fn events(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(page) = Arc::clone(&shared.pages).try_acquire_owned() else {
        let why = "as many pages are open as may be\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    let reader = Reader {
        changes: shared.streams.changes(),
        ending: shared.ending.clone(),
        shared,
        seen: Seen::default(),
        is_first: true,
        _page: page,
    };
    Sse::new(unfold(reader, Reader::next)).into_response()
}
