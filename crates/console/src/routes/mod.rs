//! What the console answers to.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the live page |
//! | `GET /events` | pictures of all streams, as server-sent events |
//! | `POST /api/streams/RUN/STREAM/act` | what a stream says to an act: a request of the control socket, with the token |
//! | `GET /metrics` | the metrics of all streams |
//! | `GET /healthz` | 200 as long as the console runs |
//! | `GET /ready` | 200 if streams can be found, 503 with the reason if not |

mod acts;
mod events;
mod health;
mod scrape;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::page::Page;
pub(crate) use state::Shared;

/// All routes over what they share.
pub(crate) fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/events", get(events::events))
        .route("/api/streams/{run}/{stream}/act", post(acts::act))
        .route("/metrics", get(scrape::metrics))
        .route("/healthz", get(health::healthz))
        .route("/ready", get(health::ready))
        .layer(from_fn_with_state(Arc::clone(&shared), guard))
        .with_state(shared)
}

/// Answers no request of another host or origin, and marks every answer as not to be kept or guessed at.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match shared.access.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err((status, why)) => (status, format!("{why}\n")).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn page() -> impl IntoResponse {
    let page = Page::get();
    (page.headers(), page.html())
}
