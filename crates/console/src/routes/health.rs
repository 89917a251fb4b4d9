//! Whether the console runs, and whether it can find streams.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::Shared;

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.streams.trouble() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, trouble + "\n"),
    }
}
