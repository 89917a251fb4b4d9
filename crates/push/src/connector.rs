//! The contract between a client and the network: byte streams to the gate.
//!
//! Everything above it (requests, answers, retries, timeouts) is driven by streams and a clock
//! alone, so that a simulation replaces both and runs it on one thread.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

use super::fault::PushFault;

/// Opens byte streams to one gate. [`TcpConnector`](super::TcpConnector) is the network's own.
///
/// What every implementation promises:
/// - `connect` gives a stream of its own each time, ready for an HTTP/1.1 request: names are
///   resolved and TLS is agreed on.
/// - Nothing of HTTP is read or written by it.
/// - Dropping the future of `connect`, or the stream, closes the connection.
///
/// The deadline of a post covers `connect`; an implementation has none of its own to keep.
pub trait Connector: Send + Sync + 'static {
    /// An open connection. Its traits are the language of polls only: they need no runtime.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens a connection.
    ///
    /// # Errors
    /// [`PushFault`] of a kind that says that the gate has not seen a request
    /// ([`FaultKind::never_sent`](super::FaultKind::never_sent)), or a timeout.
    fn connect(&self) -> impl Future<Output = Result<Self::Stream, PushFault>> + Send;
}
