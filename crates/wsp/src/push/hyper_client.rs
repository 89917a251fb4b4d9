//! The hyper client: one hyper connection a lane, driven by the lane itself.
//!
//! A connection has no task of its own. The lane polls it together with what waits on
//! it, so an exchange costs no hand-over between tasks; and since
//! the future of a post owns the connection until the answer is whole, whatever ends that future
//! early (a fault, the timeout, a stop) closes the connection with it.
//!
//! Before each post the kept connection is polled once: one that the gate has closed meanwhile
//! is seen then and replaced before anything is sent. If the close is still under way, the post
//! fails on it, and the retry policy decides.
//!
//! The header map goes round: filled for a request, it comes back as the storage of the answer's
//! headers.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;

use super::client::{Answer, BodyBuffer, ClientError, ClientOptions, PushClient, PushLane};
use super::deadline::Deadline;
use super::endpoint::{PushEndpoint, PushToken};
use super::fault::{FaultKind, PushFault, Stage};
use super::wire::{Dialer, Wire, system_trust};

/// Posts by `hyper::client::conn::http1`, http or https.
#[derive(Clone)]
pub struct HyperClient {
    target: Arc<Target>,
}

impl HyperClient {
    /// A client of `endpoint`; for https it trusts whom the system trusts.
    ///
    /// # Errors
    /// [`ClientError`] if https is wanted and cannot be had.
    pub fn new(endpoint: &PushEndpoint, options: ClientOptions) -> Result<Self, ClientError> {
        Self::build(endpoint, options, system_trust)
    }

    /// The same with TLS settings of your own.
    ///
    /// # Errors
    /// [`ClientError`] if the endpoint's host can have no certificate.
    pub fn with_tls(
        endpoint: &PushEndpoint,
        options: ClientOptions,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, ClientError> {
        Self::build(endpoint, options, || Ok(tls))
    }

    fn build(
        endpoint: &PushEndpoint,
        options: ClientOptions,
        trust: impl FnOnce() -> Result<Arc<ClientConfig>, ClientError>,
    ) -> Result<Self, ClientError> {
        let target = Target {
            dialer: Dialer::new(endpoint, options.timeout, trust)?,
            uri: endpoint.target(),
            headers: options.headers(endpoint)?,
            token: options.token,
            timeout: options.timeout,
        };
        Ok(Self {
            target: Arc::new(target),
        })
    }
}

impl PushClient for HyperClient {
    type Lane = HyperLane;

    fn lane(&self) -> HyperLane {
        let target = Arc::clone(&self.target);
        HyperLane {
            deadline: Deadline::new(target.timeout),
            exchanger: Exchanger {
                target,
                kept: None,
                spare: HeaderMap::new(),
            },
        }
    }
}

/// What every request has in common, rendered once.
struct Target {
    dialer: Dialer,
    uri: Uri,
    headers: HeaderMap,
    token: Option<PushToken>,
    timeout: Duration,
}

/// One lane of a [`HyperClient`].
pub struct HyperLane {
    deadline: Deadline,
    exchanger: Exchanger,
}

impl PushLane for HyperLane {
    async fn post(&mut self, body: Bytes) -> Result<Answer, PushFault> {
        self.deadline.bound(self.exchanger.exchange(body)).await
    }
}

struct Exchanger {
    target: Arc<Target>,
    kept: Option<Connection>,
    spare: HeaderMap,
}

impl Exchanger {
    /// One request and its answer. Owns the connection meanwhile; only a whole answer returns it.
    async fn exchange(&mut self, body: Bytes) -> Result<Answer, PushFault> {
        let mut connection = match self.still_open().await {
            Some(connection) => connection,
            None => Connection::open(&self.target.dialer).await?,
        };
        let request = self.request(body);
        let answering = connection.sender.send_request(request);
        let response = connection.driver.run(Stage::Waiting, answering).await?;
        let (mut parts, body) = response.into_parts();
        let body = connection.read(body).await?;
        let status = parts.status.as_u16();
        let answer = Answer::received(status, &parts.headers, body, self.target.token.as_ref());
        parts.headers.clear();
        self.spare = parts.headers;
        if !answer.overlong {
            self.kept = Some(connection);
        }
        Ok(answer)
    }

    /// The connection of the last answer, unless it has been closed.
    async fn still_open(&mut self) -> Option<Connection> {
        let mut connection = self.kept.take()?;
        let Connection { sender, driver } = &mut connection;
        let ready = driver.run(Stage::Waiting, sender.ready()).await;
        (ready.is_ok() && driver.0.is_some()).then_some(connection)
    }

    fn request(&mut self, body: Bytes) -> Request<Full<Bytes>> {
        let mut headers = mem::take(&mut self.spare);
        for (name, value) in &self.target.headers {
            headers.insert(name, value.clone());
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.uri.clone();
        *request.headers_mut() = headers;
        request
    }
}

/// An open connection: where requests go in, and the work that carries them.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// hyper's side of the connection; `None` once it has ended.
struct Driver(Option<http1::Connection<TokioIo<Wire>, Full<Bytes>>>);

impl Connection {
    async fn open(dialer: &Dialer) -> Result<Self, PushFault> {
        let wire = dialer.dial().await?;
        let opened = http1::handshake(TokioIo::new(wire)).await;
        let (sender, driver) =
            opened.map_err(|error| PushFault::because(FaultKind::Protocol, error))?;
        Ok(Self {
            sender,
            driver: Driver(Some(driver)),
        })
    }

    async fn read(&mut self, mut body: Incoming) -> Result<BodyBuffer, PushFault> {
        let mut buffer = BodyBuffer::default();
        while !body.is_end_stream() {
            // A trailer is no data; the end is no frame.
            let frame = async { body.frame().await.transpose() };
            let Some(frame) = self.driver.run(Stage::Reading, frame).await? else {
                break;
            };
            if let Ok(piece) = frame.into_data()
                && !buffer.push(piece)
            {
                break;
            }
        }
        Ok(buffer)
    }
}

impl Driver {
    /// Works on the connection until `waiting`, which depends on it, is done.
    async fn run<T>(
        &mut self,
        stage: Stage,
        waiting: impl Future<Output = hyper::Result<T>>,
    ) -> Result<T, PushFault> {
        let mut waiting = pin!(waiting);
        let fault = |error: hyper::Error| PushFault::because(stage.kind_of(&error), error);
        poll_fn(|cx| {
            let mut ended = None;
            if let Some(connection) = &mut self.0
                && let Poll::Ready(result) = Pin::new(connection).poll(cx)
            {
                self.0 = None;
                ended = Some(result);
            }
            match (waiting.as_mut().poll(cx), ended) {
                (Poll::Ready(result), _) => Poll::Ready(result.map_err(fault)),
                (Poll::Pending, Some(Err(error))) => Poll::Ready(Err(fault(error))),
                (Poll::Pending, _) if self.0.is_none() => Poll::Ready(Err(stage.cut_off().into())),
                (Poll::Pending, _) => Poll::Pending,
            }
        })
        .await
    }
}
