//! The metrics of all streams, read from their counters when they are asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::metrics::exposition::Format;

pub(super) async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let accepted: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let format = Format::accepted_by(Some(&accepted.join(",")));
    let figures = shared.streams.figures().await;
    match format.encode(&figures) {
        Some(body) => {
            let headers = [(CONTENT_TYPE, format.content_type()), (VARY, "accept")];
            (headers, body).into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
