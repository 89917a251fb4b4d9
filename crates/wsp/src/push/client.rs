//! The contract between the stream and whatever carries an envelope to the gate.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use super::endpoint::PushToken;
use super::fault::PushFault;
use super::retry_after::RetryAfter;

/// Bytes of an answer's body that are kept; a gate's answer is a line of JSON.
pub const ANSWER_LIMIT: usize = 64 * 1024;

/// Makes lanes to one push endpoint. Cheap to ask; nothing is connected until a lane posts.
pub trait PushClient: Send + Sync {
    /// The lanes that this client makes.
    type Lane: PushLane + 'static;

    /// A new lane, unconnected.
    fn lane(&self) -> Self::Lane;
}

/// One line of requests to the gate. Called by [`Pusher`](super::Pusher), which owns it.
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
    /// Sends `body` and waits for the whole answer.
    ///
    /// # Errors
    /// [`PushFault`] when no whole answer came. Whether the gate has the event is then unknown,
    /// unless [`FaultKind::never_sent`](super::FaultKind::never_sent).
    fn post(&mut self, body: Bytes) -> impl Future<Output = Result<Answer, PushFault>> + Send;
}

/// What a client needs to know besides the endpoint.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Time from the connection to the last byte of an answer.
    pub timeout: Duration,
    /// The token to show, if the gate wants one.
    pub token: Option<PushToken>,
}

impl Default for ClientOptions {
    /// 30 seconds, no token.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            token: None,
        }
    }
}

/// A whole answer of the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status, 101 to 999.
    pub status: u16,
    /// The `retry-after` header, where there is a readable one.
    pub retry_after: Option<RetryAfter>,
    /// The body, at most [`ANSWER_LIMIT`] bytes of it, the token struck out.
    pub body: Bytes,
    /// The body was longer than [`ANSWER_LIMIT`]: `body` is its beginning.
    pub overlong: bool,
}

/// Why a client could not be made.
#[derive(Debug, Error)]
#[error("no TLS client can be set up for the ingestion gate; check the system's certificates")]
pub struct ClientError {
    #[source]
    pub(super) source: Box<dyn StdError + Send + Sync>,
}
