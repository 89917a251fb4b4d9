//! Answers, good and bad.

use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::RetryAfter;

/// By then, half an answer is on its way.
const FLUSHED_WITHIN: Duration = Duration::from_millis(20);

pub(super) type Answer = Response<AnswerBody>;

/// The body of an answer.
pub(super) enum AnswerBody {
    /// All of it at once.
    Whole(Bytes),
    /// Less than was announced, then the connection breaks. Not at once: what is still in a
    /// buffer then would never leave.
    Cut { half: Bytes, sleep: Pin<Box<Sleep>> },
    /// One byte at a time.
    Trickle {
        rest: Bytes,
        gap: Duration,
        sleep: Pin<Box<Sleep>>,
    },
}

/// Ends a connection without an answer, or in the middle of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is dropped on purpose")]
pub(super) enum Dropped {
    /// Closed.
    Closed,
    /// Reset: what the client has not read yet is lost too.
    Reset,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Cut { half, sleep } if half.is_empty() => {
                ready!(sleep.as_mut().poll(context));
                Poll::Ready(Some(Err(Dropped::Closed)))
            }
            Self::Whole(bytes) | Self::Cut { half: bytes, .. } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            Self::Trickle { rest, gap, sleep } => {
                if rest.is_empty() {
                    return Poll::Ready(None);
                }
                ready!(sleep.as_mut().poll(context));
                *sleep = Box::pin(tokio::time::sleep(*gap));
                Poll::Ready(Some(Ok(Frame::data(rest.split_to(1)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(rest) | Self::Trickle { rest, .. } if rest.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(rest) | Self::Trickle { rest, .. } => {
                SizeHint::with_exact(rest.len() as u64)
            }
            Self::Cut { .. } => SizeHint::default(),
        }
    }
}

/// An answer with a text.
pub(super) fn text(body: String, content_type: &'static str) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(body.into()));
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A JSON answer that says why a post was not taken.
pub(super) fn refusal(status: StatusCode, error: &str, detail: &str) -> Answer {
    json(
        status,
        serde_json::json!({ "error": error, "detail": detail }).to_string(),
    )
}

/// The answer of a fault: a status, perhaps a Retry-After, perhaps another body.
pub(super) fn status(code: u16, retry_after: Option<RetryAfter>, body: Option<&str>) -> Answer {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = match body {
        Some(body) => json(status, body.to_owned()),
        None => refusal(status, "FAULT", "the stand-in gate was told to answer so"),
    };
    if let Some(retry_after) = retry_after {
        let value = match retry_after {
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::DateIn(seconds) => {
                let at = SystemTime::now() + Duration::from_secs(seconds);
                let mut text = String::new();
                let date = chrono::DateTime::<chrono::Utc>::from(at);
                // Writing to a string cannot fail.
                let _: Result<(), _> = write!(text, "{}", date.format("%a, %d %b %Y %H:%M:%S GMT"));
                text
            }
        };
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(RETRY_AFTER, value);
        }
    }
    answer
}

/// A redirect that keeps the method.
pub(super) fn redirect(location: &str) -> Answer {
    let mut answer = status(307, None, None);
    if let Ok(location) = HeaderValue::from_str(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// The same answer, cut after half of its body.
pub(super) fn cut(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    let AnswerBody::Whole(body) = body else {
        return Response::from_parts(head, body);
    };
    head.headers
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half = body.slice(..body.len() / 2);
    let sleep = Box::pin(tokio::time::sleep(FLUSHED_WITHIN));
    Response::from_parts(head, AnswerBody::Cut { half, sleep })
}

/// The same answer, byte by byte.
pub(super) fn trickle(answer: Answer, gap: Duration) -> Answer {
    answer.map(|body| match body {
        AnswerBody::Whole(rest) => AnswerBody::Trickle {
            rest,
            gap,
            sleep: Box::pin(tokio::time::sleep(gap)),
        },
        other => other,
    })
}
