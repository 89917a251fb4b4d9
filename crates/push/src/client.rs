//! The contract between the stream and whatever carries an envelope to the gate.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use thiserror::Error;

use super::endpoint::{PushEndpoint, PushToken};
use super::fault::PushFault;
use super::retry_after::RetryAfter;

/// The most bytes of an answer's body that a client keeps; a gate's answer is a line of JSON.
pub const ANSWER_LIMIT: usize = 64 * 1024;

/// Who we say we are.
const USER_AGENT: &str = concat!("wsp/", env!("CARGO_PKG_VERSION"));

/// Makes lanes to one push endpoint. A lane connects only when it posts.
pub trait PushClient: Send + Sync {
    /// The type of this client's lanes.
    type Lane: PushLane + 'static;

    /// Makes a lane that is not connected yet.
    fn lane(&self) -> Self::Lane;
}

/// Sends requests to the gate, one after the other. A [`Pusher`](super::Pusher) owns and calls it.
///
/// What every implementation promises, and the conformance suite tests:
/// - **One request in flight.** `post` takes the lane mutably; it resolves when
///   the answer is whole or known to be lost.
/// - **One connection at most**, opened by the first post that needs it, kept
///   for the next, and opened anew when the gate or a fault has closed it.
///   (`reqwest` keeps a pool: a lane there may hold one more for a moment.)
/// - **Each post is sent once.** A lane never repeats a request that may have
///   reached the gate; that is the retry policy's business, which counts it.
/// - **An answer is an answer**, whatever its status: redirects are not
///   followed, nothing is retried, 1xx are passed over.
/// - **A body cut short is a fault**, never an answer.
/// - **The timeout** covers everything from the connection to the last byte.
/// - **Bounded.** Of a body, at most [`ANSWER_LIMIT`] bytes are kept.
/// - **Dropping** the future of a post gives up its connection: a late answer
///   is never taken for that of the next request.
/// - The body is sent as it is, with `content-type: application/json`, the
///   token in its header, and without being copied.
pub trait PushLane: Send {
    /// Does what comes before the first byte of a post and may take long, such as connecting. A
    /// pusher asks for leave to post after it, so that nothing is posted under a lease that ran out
    /// meanwhile. By default nothing comes before it: such a lane may connect within its posts.
    ///
    /// # Errors
    /// [`PushFault`] of a post that cannot be made; the gate has not seen it.
    fn ready(&mut self) -> impl Future<Output = Result<(), PushFault>> + Send {
        std::future::ready(Ok(()))
    }

    /// Sends `body` and waits for the whole answer.
    ///
    /// # Errors
    /// [`PushFault`] when no whole answer came. Whether the gate has the event is then unknown,
    /// unless [`FaultKind::never_sent`](super::FaultKind::never_sent).
    fn post(&mut self, body: Bytes) -> impl Future<Output = Result<Answer, PushFault>> + Send;
}

/// The settings of a client besides its endpoint.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The longest time from the begin of a post, connecting included, to the last byte of its
    /// answer; 30 seconds by default.
    pub timeout: Duration,
    /// The token of every request; `None`, the default, sends none.
    pub token: Option<PushToken>,
}

impl Default for ClientOptions {
    /// A timeout of 30 seconds and no token.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            token: None,
        }
    }
}

impl ClientOptions {
    /// The headers of every request to `endpoint`, but for its length.
    pub(crate) fn headers(&self, endpoint: &PushEndpoint) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(endpoint.authority()).map_err(|source| ClientError {
            source: source.into(),
        })?;
        headers.insert(header::HOST, host);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        // Compressed answers are not read.
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(token) = &self.token {
            token.show_in(&mut headers);
        }
        Ok(headers)
    }
}

/// A whole answer of the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// HTTP status, 101 to 999.
    pub status: u16,
    /// The `retry-after` header; `None` if there is none that can be read.
    pub retry_after: Option<RetryAfter>,
    /// The body, at most [`ANSWER_LIMIT`] bytes of it, the token struck out.
    pub body: Bytes,
    /// Whether the body was longer than [`ANSWER_LIMIT`], so that `body` is its beginning only.
    pub overlong: bool,
    /// The `location` header of a redirect; `None` for other answers.
    pub location: Option<Bytes>,
}

impl Answer {
    /// An answer with this status and body, and without the headers that clients look at.
    ///
    /// ```
    /// let answer = push::Answer::new(200, r#"{"decision":"ADMIT"}"#);
    /// assert!(answer.retry_after.is_none() && !answer.overlong);
    /// ```
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            retry_after: None,
            body: body.into(),
            overlong: false,
            location: None,
        }
    }

    /// The answer that a client has received, the token struck out.
    #[cfg(feature = "reqwest")]
    pub(crate) fn received(
        status: u16,
        headers: &HeaderMap,
        body: BodyBuffer,
        token: Option<&PushToken>,
    ) -> Self {
        let retry_after = headers.get(header::RETRY_AFTER).map(HeaderValue::as_bytes);
        let retry_after = retry_after.and_then(RetryAfter::parse);
        let location = headers.get(header::LOCATION).map(HeaderValue::as_bytes);
        let location = location.filter(|_| (300..=399).contains(&status));
        let location = location.map(Bytes::copy_from_slice);
        Self::from_parts(status, retry_after, location, body, token)
    }

    /// The same out of its parts.
    pub(crate) fn from_parts(
        status: u16,
        retry_after: Option<RetryAfter>,
        location: Option<Bytes>,
        body: BodyBuffer,
        token: Option<&PushToken>,
    ) -> Self {
        let overlong = body.overlong;
        let body = body.finish();
        let location = match (location, token) {
            (Some(location), Some(token)) => Some(token.strike_out(location)),
            (location, _) => location,
        };
        Self {
            status,
            retry_after,
            body: match token {
                Some(token) => token.strike_out(body),
                None => body,
            },
            overlong,
            location,
        }
    }
}

/// Collects a body up to [`ANSWER_LIMIT`]. One that comes in one piece is not copied.
#[derive(Debug, Default)]
pub(crate) struct BodyBuffer {
    first: Bytes,
    more: BytesMut,
    overlong: bool,
}

impl BodyBuffer {
    /// Takes the next piece. False once the limit is passed: the rest is not wanted.
    pub(crate) fn push(&mut self, mut piece: Bytes) -> bool {
        let room = ANSWER_LIMIT - self.first.len().max(self.more.len());
        self.overlong = piece.len() > room;
        piece.truncate(room);
        if self.first.is_empty() {
            self.first = piece;
        } else {
            if self.more.is_empty() {
                self.more.extend_from_slice(&self.first);
            }
            self.more.extend_from_slice(&piece);
        }
        !self.overlong
    }

    /// The same of a piece that lies elsewhere.
    pub(crate) fn push_copy(&mut self, piece: &[u8]) -> bool {
        // No more is copied than shows that it is too much.
        let enough = piece.len().min(ANSWER_LIMIT + 1);
        self.push(Bytes::copy_from_slice(&piece[..enough]))
    }

    /// Whether the limit is passed.
    pub(crate) fn is_overlong(&self) -> bool {
        self.overlong
    }

    /// What was kept.
    pub(crate) fn finish(self) -> Bytes {
        if self.more.is_empty() {
            self.first
        } else {
            self.more.freeze()
        }
    }
}

/// Why a client could not be made. Its source says what the system or the host's name lacks.
#[derive(Debug, Error)]
#[error("no TLS client can be set up for the ingestion gate; check the system's certificates")]
pub struct ClientError {
    #[source]
    pub(crate) source: Box<dyn StdError + Send + Sync>,
}
