//! How the platform's two gates word the same things: the local gate and the managed edge.
//!
//! | what | `local` | `managed` |
//! |---|---|---|
//! | admitted, known already | 200 with `decision`, `receipt`, `receipt_ref` | 202, the same with `body_size_bytes`, `correlation_echo` |
//! | quarantined | 200 | 400 |
//! | a repeat of an event in flight or in doubt | 400 `{"error": "PUBLISH_…_RETRY"}` | 503 `{"error": "retry_required", "reason": "PUBLISH_…_RETRY"}` |
//! | unhealthy | 400 `{"error": "IG_UNHEALTHY"}` | 503 `{"error": "ingress_publish_failed", "reason": "IG_UNHEALTHY:…"}` |
//! | failed on this event | 500 `{"error": "INTERNAL_ERROR"}` | 503 `{"error": "ingress_publish_failed", "reason": …}` |
//! | no token | 401 `{"error": "UNAUTHORIZED"}` | 401 `{"error": "unauthorized", "reason": "missing_api_key"}` |
//! | rate limit | 429 `{"error": "RATE_LIMITED"}` | 429 |
//! | too large | 413 | 413 `{"error": "payload_too_large"}` |

use std::str::FromStr;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::answer::{self, Answer};

/// Which of the platform's gates a stand-in gate speaks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The gate of a developer's machine.
    Local,
    /// The managed edge.
    Managed,
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "managed" => Ok(Self::Managed),
            _ => Err(format!("`{text}` is neither local nor managed")),
        }
    }
}

/// Why a post gets no decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoDecision {
    /// The first post of the event is on its way to the bus.
    InFlight,
    /// Nobody knows whether the event is on the bus.
    Ambiguous,
    /// The gate takes nothing.
    Unhealthy,
    /// The gate failed on this event.
    Exception,
    /// The token is missing or wrong.
    Unauthorized,
    /// Too many posts.
    RateLimited,
    /// The body is too large.
    TooLarge,
    /// The body is no JSON.
    NotJson,
}

/// The fields that the managed edge repeats.
const ECHOED: [&str; 5] = [
    "platform_run_id",
    "scenario_run_id",
    "event_id",
    "event_type",
    "trace_id",
];

impl Dialect {
    /// A decision with its receipt.
    pub(super) fn decided(
        self,
        decision: &str,
        receipt: Value,
        receipt_ref: &str,
        post: &Posted,
    ) -> Answer {
        let mut body = json!({
            "decision": decision,
            "receipt": receipt,
            "receipt_ref": receipt_ref,
        });
        let status = match (self, decision) {
            (Self::Local, _) => StatusCode::OK,
            (Self::Managed, "QUARANTINE") => StatusCode::BAD_REQUEST,
            (Self::Managed, _) => StatusCode::ACCEPTED,
        };
        self.add_echo(&mut body, post);
        answer::json(status, body.to_string())
    }

    /// An answer without a decision.
    pub(super) fn undecided(self, why: NoDecision, post: &Posted) -> Answer {
        let (status, error, reason) = match (self, why) {
            (Self::Local, NoDecision::InFlight) => (400, "PUBLISH_IN_FLIGHT_RETRY", None),
            (Self::Local, NoDecision::Ambiguous) => (400, "PUBLISH_AMBIGUOUS_RETRY", None),
            (Self::Local, NoDecision::Unhealthy) => (400, "IG_UNHEALTHY", None),
            (Self::Local, NoDecision::Exception) => (500, "INTERNAL_ERROR", None),
            (Self::Local, NoDecision::Unauthorized) => (401, "UNAUTHORIZED", None),
            (_, NoDecision::RateLimited) => (429, "RATE_LIMITED", None),
            (_, NoDecision::TooLarge) => (413, "payload_too_large", None),
            (_, NoDecision::NotJson) => return not_json(),
            (Self::Managed, NoDecision::InFlight) => {
                (503, "retry_required", Some("PUBLISH_IN_FLIGHT_RETRY"))
            }
            (Self::Managed, NoDecision::Ambiguous) => {
                (503, "retry_required", Some("PUBLISH_AMBIGUOUS_RETRY"))
            }
            (Self::Managed, NoDecision::Unhealthy) => (
                503,
                "ingress_publish_failed",
                Some("IG_UNHEALTHY:BUS_UNHEALTHY"),
            ),
            (Self::Managed, NoDecision::Exception) => {
                (503, "ingress_publish_failed", Some("KeyError"))
            }
            (Self::Managed, NoDecision::Unauthorized) => {
                (401, "unauthorized", Some("missing_api_key"))
            }
        };
        let mut body = json!({ "error": error });
        if let Some(reason) = reason {
            body["reason"] = reason.into();
        }
        if status == 503 {
            self.add_echo(&mut body, post);
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        answer::json(status, body.to_string())
    }

    fn add_echo(self, body: &mut Value, post: &Posted) {
        if self == Self::Managed {
            body["body_size_bytes"] = post.bytes.into();
            let echoed = ECHOED.map(|name| (name.to_owned(), post.field(name)));
            body["correlation_echo"] = Value::Object(Map::from_iter(echoed));
        }
    }
}

fn not_json() -> Answer {
    let page = "<!doctype html>\n<title>400 Bad Request</title>\n<h1>Bad Request</h1>\n";
    let mut answer = answer::json(StatusCode::BAD_REQUEST, page);
    let html = http::HeaderValue::from_static("text/html; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, html);
    answer
}

/// A post as the platform's gates look at it.
#[derive(Debug, Default)]
pub(super) struct Posted {
    /// The envelope; null if the body is no JSON.
    pub(super) envelope: Value,
    /// The length of the body.
    pub(super) bytes: usize,
}

impl Posted {
    pub(super) fn of(body: &[u8]) -> Self {
        Self {
            envelope: serde_json::from_slice(body).unwrap_or_default(),
            bytes: body.len(),
        }
    }

    /// A field of the envelope, null if it has none.
    pub(super) fn field(&self, name: &str) -> Value {
        self.envelope.get(name).cloned().unwrap_or_default()
    }

    /// The text of a field, empty if it has none.
    pub(super) fn text(&self, name: &str) -> &str {
        let field = self.envelope.get(name).and_then(Value::as_str);
        field.unwrap_or_default()
    }
}
