//! The other client: reqwest, for what needs proxies, or trust and credentials of its own kind.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use durable::in_runtime;
use reqwest::redirect::Policy;

use super::client::{Answer, BodyBuffer, ClientError, ClientOptions, PushClient, PushLane};
use super::endpoint::{PushEndpoint, PushToken};
use super::fault::{FaultKind, PushFault, Stage, innermost};

/// A client that posts by `reqwest` over HTTP/1.1, for proxies and trust of other kinds.
///
/// All lanes share its pool, which holds as many connections as requests are in flight, and one
/// more for moments when a lane posts before the pool has its connection back.
#[derive(Debug, Clone)]
pub struct ReqwestClient {
    target: Arc<Target>,
}

#[derive(Debug)]
struct Target {
    client: reqwest::Client,
    url: url::Url,
    token: Option<PushToken>,
}

impl ReqwestClient {
    /// A client of `endpoint` that uses the proxies which the environment names and trusts the
    /// system's certificate authorities.
    ///
    /// # Errors
    /// [`ClientError`] if TLS or a proxy cannot be set up.
    pub fn new(endpoint: &PushEndpoint, options: ClientOptions) -> Result<Self, ClientError> {
        Self::with_builder(endpoint, options, reqwest::Client::builder())
    }

    /// A client of `endpoint` on top of `builder`, which may set proxies, roots and client
    /// certificates; settings that [`PushLane`] promises are overridden.
    ///
    /// # Errors
    /// [`ClientError`] if what the builder asks for cannot be set up.
    pub fn with_builder(
        endpoint: &PushEndpoint,
        options: ClientOptions,
        builder: reqwest::ClientBuilder,
    ) -> Result<Self, ClientError> {
        let client = builder
            .http1_only()
            .redirect(Policy::none())
            .timeout(options.timeout)
            .tcp_nodelay(true)
            .default_headers(options.headers(endpoint)?)
            .build()
            .map_err(|source| ClientError {
                source: source.without_url().into(),
            })?;
        let target = Target {
            client,
            url: endpoint.url().clone(),
            token: options.token,
        };
        Ok(Self {
            target: Arc::new(target),
        })
    }
}

impl PushClient for ReqwestClient {
    type Lane = ReqwestLane;

    fn lane(&self) -> ReqwestLane {
        ReqwestLane {
            target: Arc::clone(&self.target),
        }
    }
}

/// One lane of a [`ReqwestClient`].
#[derive(Debug)]
pub struct ReqwestLane {
    target: Arc<Target>,
}

impl PushLane for ReqwestLane {
    async fn post(&mut self, body: Bytes) -> Result<Answer, PushFault> {
        in_runtime(self.posted(body)).await
    }
}

impl ReqwestLane {
    async fn posted(&mut self, body: Bytes) -> Result<Answer, PushFault> {
        let Target { client, url, token } = &*self.target;
        let response = client.post(url.clone()).body(body).send().await;
        let mut response = response.map_err(|error| fault(error, Stage::Waiting))?;
        let mut body = BodyBuffer::default();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| fault(error, Stage::Reading))?
        {
            if !body.push(piece) {
                break;
            }
        }
        let status = response.status().as_u16();
        Ok(Answer::received(
            status,
            response.headers(),
            body,
            token.as_ref(),
        ))
    }
}

fn fault(error: reqwest::Error, stage: Stage) -> PushFault {
    let kind = if error.is_timeout() {
        FaultKind::Timeout
    } else if error.is_connect() {
        kind_of_connect(&error)
    } else {
        stage.kind_of(&error)
    };
    PushFault::because(kind, error.without_url())
}

fn kind_of_connect(error: &reqwest::Error) -> FaultKind {
    if innermost::<rustls::Error>(error).is_some() {
        return FaultKind::Tls;
    }
    match innermost::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => FaultKind::ConnectRefused,
        // The resolver's own error is private; its text is not.
        _ if model::chain(error).any(|error| error.to_string().contains("dns error")) => {
            FaultKind::Dns
        }
        _ => FaultKind::Connect,
    }
}
