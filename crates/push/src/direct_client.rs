//! The default client: one HTTP/1.1 connection a lane, written and read without a layer between.
//!
//! A lane posts the same few lines again and again and reads an answer of one packet. A
//! general client spends more on that than the kernel does: it hands the request and the
//! answer from one task's queue to another's, keeps headers in maps, polls the connection
//! once for each of them. Here an exchange is a vectored write of the head, rendered once but
//! for its length, and of the event's own bytes; then reads until the answer is whole.
//!
//! The future of a post owns the connection until then, so whatever ends it early (a fault,
//! the timeout, a stop) closes the connection with it.
//!
//! Before each post the kept connection is looked at once: one that the gate has closed
//! meanwhile, or that says something unasked, is replaced before anything is sent. If the
//! close is still under way, the post fails on it; the fault says so
//! ([`PushFault::is_stale`]), and the event is pushed again at once.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use durable::TokioClock;
use model::Clock;
use rustls::ClientConfig;

use super::client::{Answer, ClientError, ClientOptions, PushClient, PushLane};
use super::connector::Connector;
use super::deadline::Deadline;
use super::endpoint::{PushEndpoint, PushToken};
use super::exchange::{Connection, Exchanged};
use super::fault::{FaultKind, PushFault};
use super::wire::{TcpConnector, system_trust};

/// A client with one HTTP/1.1 connection a lane, http or https: the fast one.
///
/// It reaches network and time through a [`Connector`] and a [`Clock`] alone: those of the machine
/// ([`DirectClient::new`]), or the caller's ([`DirectClient::over`]). It uses no proxy.
pub struct DirectClient<N = TcpConnector, C = TokioClock> {
    target: Arc<Target<N, C>>,
}

impl<N, C> Clone for DirectClient<N, C> {
    fn clone(&self) -> Self {
        let target = Arc::clone(&self.target);
        Self { target }
    }
}

/// What every request has in common.
struct Target<N, C> {
    connector: N,
    clock: C,
    /// The head of a request up to its length.
    head: Vec<u8>,
    token: Option<PushToken>,
    timeout: Duration,
}

impl DirectClient {
    /// A client of `endpoint` that, for https, trusts the system's certificate authorities.
    ///
    /// # Errors
    /// [`ClientError`] if https is wanted and cannot be had.
    pub fn new(endpoint: &PushEndpoint, options: ClientOptions) -> Result<Self, ClientError> {
        let connector = TcpConnector::new(endpoint, options.timeout, system_trust)?;
        Self::over(connector, TokioClock, endpoint, options)
    }

    /// A client of `endpoint` with the caller's TLS settings.
    ///
    /// # Errors
    /// [`ClientError`] if the endpoint's host can have no certificate.
    pub fn with_tls(
        endpoint: &PushEndpoint,
        options: ClientOptions,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, ClientError> {
        let connector = TcpConnector::new(endpoint, options.timeout, || Ok(tls))?;
        Self::over(connector, TokioClock, endpoint, options)
    }
}

impl<N: Connector, C: Clock> DirectClient<N, C> {
    /// A client of `endpoint` over the streams of `connector`, whose timeouts go by `clock`.
    ///
    /// # Errors
    /// [`ClientError`] if the endpoint's host cannot stand in a header.
    pub fn over(
        connector: N,
        clock: C,
        endpoint: &PushEndpoint,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let line = format!("POST {} HTTP/1.1\r\n", endpoint.target());
        Self::of_requests(line, connector, clock, endpoint, options)
    }

    /// A client whose requests begin with this line.
    fn of_requests(
        line: String,
        connector: N,
        clock: C,
        endpoint: &PushEndpoint,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let mut head = line.into_bytes();
        for (name, value) in &options.headers(endpoint)? {
            for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(piece);
            }
        }
        head.extend_from_slice(b"content-length: ");
        let target = Target {
            connector,
            clock,
            head,
            token: options.token,
            timeout: options.timeout,
        };
        Ok(Self {
            target: Arc::new(target),
        })
    }
}

/// Asks the gate of `endpoint` how it is, at the path of its operators beside the push endpoint;
/// nothing is pushed.
///
/// # Errors
/// [`HealthError`] if no client can be made, or no whole answer came.
pub async fn ask_health(
    endpoint: &PushEndpoint,
    options: ClientOptions,
) -> Result<Answer, HealthError> {
    let connector = TcpConnector::new(endpoint, options.timeout, system_trust)?;
    let line = format!("GET {} HTTP/1.1\r\n", endpoint.health_path());
    let client = DirectClient::of_requests(line, connector, TokioClock, endpoint, options)?;
    Ok(client.lane().post(Bytes::new()).await?)
}

/// Why nothing is known of the gate's health.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// No client could be made for the endpoint.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No whole answer came.
    #[error(transparent)]
    Fault(#[from] PushFault),
}

impl<N: Connector, C: Clock> PushClient for DirectClient<N, C> {
    type Lane = DirectLane<N, C>;

    fn lane(&self) -> DirectLane<N, C> {
        DirectLane {
            deadline: Deadline::new(self.target.timeout, self.target.clock.clone()),
            began: None,
            exchanger: Exchanger {
                target: Arc::clone(&self.target),
                head: self.target.head.clone(),
                kept: None,
            },
        }
    }
}

/// One lane of a [`DirectClient`].
pub struct DirectLane<N: Connector = TcpConnector, C = TokioClock> {
    deadline: Deadline<C>,
    /// When the post began that is ready to be made; absent before that.
    began: Option<Instant>,
    exchanger: Exchanger<N, C>,
}

impl<N: Connector, C: Clock> PushLane for DirectLane<N, C> {
    async fn ready(&mut self) -> Result<(), PushFault> {
        let began = self.deadline.begin();
        let connecting = pin!(self.exchanger.connect());
        self.deadline.bound(began, connecting).await?;
        self.began = Some(began);
        Ok(())
    }

    async fn post(&mut self, body: Bytes) -> Result<Answer, PushFault> {
        if self.began.is_none() {
            self.ready().await?;
        }
        let began = self.began.take().unwrap_or_else(|| self.deadline.begin());
        let exchange = pin!(self.exchanger.exchange(&body));
        self.deadline.bound(began, exchange).await
    }
}

struct Exchanger<N: Connector, C> {
    target: Arc<Target<N, C>>,
    /// The target's, then the rest of the last request's.
    head: Vec<u8>,
    kept: Option<Connection<N::Stream>>,
}

impl<N: Connector, C: Clock> Exchanger<N, C> {
    /// Sees that there is an open connection.
    async fn connect(&mut self) -> Result<(), PushFault> {
        let connection = match self.still_open().await {
            Some(kept) => kept,
            None => Connection::new(self.target.connector.connect().await?),
        };
        self.kept = Some(connection);
        Ok(())
    }

    /// One request and its answer. Owns the connection meanwhile; only a whole answer returns it.
    async fn exchange(&mut self, body: &[u8]) -> Result<Answer, PushFault> {
        let Some(connection) = self.kept.take() else {
            return Err(PushFault::new(FaultKind::Connect));
        };
        self.head.truncate(self.target.head.len());
        let mut length = itoa::Buffer::new();
        let length = length.format(body.len());
        self.head.extend_from_slice(length.as_bytes());
        self.head.extend_from_slice(b"\r\n\r\n");
        let exchanged = connection.exchange(&self.head, body).await?;
        self.kept = exchanged.connection;
        let Exchanged { head, body, .. } = exchanged;
        let token = self.target.token.as_ref();
        Ok(Answer::from_parts(
            head.status,
            head.retry_after,
            head.location,
            body,
            token,
        ))
    }

    /// The connection of the last answer, if it can be used.
    async fn still_open(&mut self) -> Option<Connection<N::Stream>> {
        let mut kept = self.kept.take()?;
        kept.is_silent().await.then_some(kept)
    }
}
