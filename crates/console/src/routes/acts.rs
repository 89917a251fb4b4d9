//! Acts: what the page's buttons do.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Path, Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use wsp::control::Request;
use wsp::replay::{Act, OnBehalfOf};

use super::Shared;
use crate::hub::streams::StreamKey;

/// A request of the control socket is no longer.
const LONGEST: usize = 4_096;
/// Characters of the name that the page gives, so that the client's address has room beside it.
const NAME_CHARS: usize = 72;

/// Has a stream do what the body says, which is a line of the control socket. The audit says whom the
/// page named, and where it was.
pub(super) async fn act(
    State(shared): State<Arc<Shared>>,
    Path((run, stream)): Path<(String, String)>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: HttpRequest,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Err((status, why)) = shared.access.check_steering(&parts.headers) {
        return answer(status, &refused(why));
    }
    let Ok(body) = to_bytes(body, LONGEST).await else {
        let why = "an act is no longer than 4,096 bytes";
        return answer(StatusCode::PAYLOAD_TOO_LARGE, &refused(why));
    };
    let request = match Request::parse(&body).and_then(|request| of_client(request, client)) {
        Ok(request) => request,
        Err(why) => return answer(StatusCode::BAD_REQUEST, &refused(&why)),
    };
    let key = StreamKey { run, stream };
    match shared.streams.act(&key, request).await {
        None => answer(StatusCode::NOT_FOUND, &refused("there is no such stream")),
        Some(said) if said["applied"] == true => answer(StatusCode::OK, &said),
        Some(said) => answer(StatusCode::CONFLICT, &said),
    }
}

/// The act that a client asks for, which says who the client is.
fn of_client(request: Request, client: SocketAddr) -> Result<Request, String> {
    match request {
        // Copies of events are for the control socket: they are no answer to one request.
        Request::Act {
            act: Act::Tap(_), ..
        } => Err("`tap` is asked for by `wsp-cli control`".to_owned()),
        Request::Act { act, on_behalf_of } => {
            let name = on_behalf_of.map(|name| name.as_given().to_owned());
            let name = name.unwrap_or_default();
            if name.chars().count() > NAME_CHARS {
                return Err(format!("a name has at most {NAME_CHARS} characters"));
            }
            let space = if name.is_empty() { "" } else { " " };
            let who = OnBehalfOf::new(format!("{name}{space}(console, {client})"))?;
            Ok(Request::Act {
                act,
                on_behalf_of: Some(who),
            })
        }
        _ => Err("that is a look, and no act".to_owned()),
    }
}

fn refused(why: &str) -> Value {
    json!({"applied": false, "refused": why})
}

fn answer(status: StatusCode, said: &Value) -> Response {
    let headers = [(CONTENT_TYPE, "application/json")];
    (status, headers, said.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Request, String> {
        let client = "[::1]:50000".parse().unwrap();
        Request::parse(line.as_bytes()).and_then(|request| of_client(request, client))
    }

    #[test]
    fn an_act_says_who_asked_and_from_where_and_looks_are_none() {
        let who = |line: &str| match asked(line) {
            Ok(Request::Act { on_behalf_of, .. }) => on_behalf_of.unwrap().as_given().to_owned(),
            other => panic!("{other:?}"),
        };
        let named = r#"{"version":1,"act":"pause","on_behalf_of":"Ann"}"#;
        assert_eq!(who(named), "Ann (console, [::1]:50000)");
        assert_eq!(
            who(r#"{"version":1,"act":"stop"}"#),
            "(console, [::1]:50000)"
        );
        for line in [
            r#"{"version":1,"act":"status"}"#.to_owned(),
            r#"{"version":1,"act":"watch"}"#.to_owned(),
            r#"{"version":1,"act":"tap","events":3}"#.to_owned(),
            r#"{"version":1,"act":"fly"}"#.to_owned(),
            format!(
                r#"{{"version":1,"act":"pause","on_behalf_of":"{}"}}"#,
                "x".repeat(73)
            ),
        ] {
            assert!(asked(&line).is_err(), "{line}");
        }
    }
}
