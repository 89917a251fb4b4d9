//! The network: plain TCP, or TLS over it. An adapter, which a simulation replaces by a
//! [`Connector`] of its own.

#![allow(
    clippy::disallowed_methods,
    reason = "the machine's network, whose waits go by the runtime's timer"
)]

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use durable::in_runtime;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::ClientError;
use super::connector::Connector;
use super::endpoint::PushEndpoint;
use super::fault::{FaultKind, PushFault};

/// Opens TCP connections to one endpoint, with TLS over them where it is an https one.
#[derive(Clone)]
pub struct TcpConnector {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

impl TcpConnector {
    /// A connector to `endpoint`; `trust` is asked only for https.
    pub(crate) fn new(
        endpoint: &PushEndpoint,
        timeout: Duration,
        trust: impl FnOnce() -> Result<Arc<ClientConfig>, ClientError>,
    ) -> Result<Self, ClientError> {
        let host = endpoint.host().to_owned();
        let tls = if endpoint.is_https() {
            let name = ServerName::try_from(host.clone()).map_err(|source| ClientError {
                source: source.into(),
            })?;
            Some((TlsConnector::from(trust()?), name))
        } else {
            None
        };
        Ok(Self {
            host,
            port: endpoint.port(),
            tls,
            timeout,
        })
    }

    /// Tries the host's addresses in turn, each for its share of the timeout: one that swallows
    /// packets does not use up the time of the others.
    async fn dial(&self) -> Result<TcpStream, PushFault> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let addresses = found.map_err(|error| PushFault::because(FaultKind::Dns, error))?;
        let addresses: Vec<_> = addresses.collect();
        let share = self.timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut fault = PushFault::new(FaultKind::Dns);
        for address in addresses {
            fault = match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    PushFault::because(FaultKind::ConnectRefused, error)
                }
                Ok(Err(error)) => PushFault::because(FaultKind::Connect, error),
                Err(_) => PushFault::new(FaultKind::Timeout),
            };
        }
        Err(fault)
    }
}

impl Connector for TcpConnector {
    type Stream = Wire;

    async fn connect(&self) -> Result<Wire, PushFault> {
        in_runtime(self.connected()).await
    }
}

impl TcpConnector {
    async fn connected(&self) -> Result<Wire, PushFault> {
        let tcp = self.dial().await?;
        // A body is one write; waiting for more would only delay it.
        tcp.set_nodelay(true)
            .map_err(|error| PushFault::because(FaultKind::Connect, error))?;
        let Some((connector, name)) = &self.tls else {
            return Ok(Wire::Plain(tcp));
        };
        // Half of the timeout: a gate that speaks no TLS may wait for more of the handshake, and
        // the fault should say at what the time went by.
        let handshake = connector.connect(name.clone(), tcp);
        let tls = match tokio::time::timeout(self.timeout / 2, handshake).await {
            Ok(tls) => tls,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the TLS handshake did not end in time; does it speak TLS?",
            )),
        };
        let tls = tls.map_err(|error| PushFault::because(FaultKind::Tls, error))?;
        Ok(Wire::Tls(Box::new(tls)))
    }
}

/// TLS that trusts whom the system trusts.
pub(crate) fn system_trust() -> Result<Arc<ClientConfig>, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let source = match found.errors.into_iter().next() {
            Some(error) => error.into(),
            None => "the system trusts no certificate authority".into(),
        };
        return Err(ClientError { source });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| ClientError {
            source: source.into(),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// An open connection of a [`TcpConnector`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Wire {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Tls(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    /// Vectored: head and body leave in one call without being copied together first.
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, slices),
        }
    }
}
