//! Why no answer came: every way in which a post can fail short of an answer.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The kind of a [`PushFault`]; a pusher retries all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Nothing listens at the address.
    ConnectRefused,
    /// There is no connection for another reason: no route, no free port, unreachable.
    Connect,
    /// The host's name has no address.
    Dns,
    /// The TLS handshake failed for another reason than the gate's certificate.
    Tls,
    /// The gate's certificate is not accepted; trying again does not help.
    Certificate,
    /// No whole answer came within the timeout.
    Timeout,
    /// The connection was reset.
    Reset,
    /// The connection was closed before an answer began.
    ClosedEarly,
    /// The answer's body was cut short.
    BodyTruncated,
    /// The answer is not HTTP/1.1.
    Protocol,
}

impl FaultKind {
    /// Whether it is certain that the gate has not seen the request.
    pub fn never_sent(self) -> bool {
        matches!(
            self,
            Self::ConnectRefused | Self::Connect | Self::Dns | Self::Tls | Self::Certificate
        )
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::ConnectRefused => "the ingestion gate refused the connection; is it running?",
            Self::Connect => "the ingestion gate could not be reached",
            Self::Dns => "the ingestion gate's host name could not be resolved",
            Self::Tls => "no TLS session could be agreed on with the ingestion gate",
            Self::Certificate => "the ingestion gate's certificate is not accepted",
            Self::Timeout => "the ingestion gate gave no whole answer in time",
            Self::Reset => "the connection to the ingestion gate was reset",
            Self::ClosedEarly => "the ingestion gate closed the connection without an answer",
            Self::BodyTruncated => "the ingestion gate's answer was cut short",
            Self::Protocol => "the ingestion gate's answer was not HTTP/1.1",
        }
    }
}

/// Why a post got no whole answer. Its text is for operators and shows no secret; its source is the
/// cause.
#[derive(Debug)]
pub struct PushFault {
    kind: FaultKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
    is_stale: bool,
}

impl PushFault {
    /// A fault of this kind, without a deeper cause.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            source: None,
            is_stale: false,
        }
    }

    /// A fault of this kind, because of `source`.
    pub fn because(kind: FaultKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        let kind = match kind {
            FaultKind::Tls if refuses_certificate(&*source) => FaultKind::Certificate,
            kind => kind,
        };
        Self {
            kind,
            source: Some(source),
            is_stale: false,
        }
    }

    /// The kind of the fault.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// Whether the gate closed a kept connection while the next request was on its way, before any
    /// byte of an answer. Such a fault says nothing about the gate or the event.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Marks the fault of a connection that earlier requests had used, if no byte of an answer
    /// came over it since.
    pub(crate) fn before_any_answer(mut self, over_reused: bool) -> Self {
        let is_closed = matches!(self.kind, FaultKind::Reset | FaultKind::ClosedEarly);
        self.is_stale = over_reused && is_closed;
        self
    }
}

impl From<FaultKind> for PushFault {
    fn from(kind: FaultKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for PushFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.sentence())
    }
}

impl StdError for PushFault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The innermost error of type `E` in the chain of `error`.
pub(crate) fn innermost<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    model::chain(error)
        .filter_map(|error| error.downcast_ref())
        .last()
}

/// Whether a TLS handshake failed on the other side's certificate.
fn refuses_certificate(error: &(dyn StdError + 'static)) -> bool {
    let tls = innermost::<rustls::Error>(error);
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

/// How far a request had come when its connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No answer had begun.
    Waiting,
    /// The answer's body was being read.
    Reading,
}

impl Stage {
    /// What the end of the connection means at this stage.
    pub(crate) fn cut_off(self) -> FaultKind {
        match self {
            Self::Waiting => FaultKind::ClosedEarly,
            Self::Reading => FaultKind::BodyTruncated,
        }
    }

    /// What an error of an open connection means at this stage.
    pub(crate) fn kind_of(self, error: &(dyn StdError + 'static)) -> FaultKind {
        if let Some(io) = innermost::<io::Error>(error) {
            return match io.kind() {
                io::ErrorKind::TimedOut => FaultKind::Timeout,
                io::ErrorKind::UnexpectedEof => self.cut_off(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => FaultKind::Protocol,
                _ => FaultKind::Reset,
            };
        }
        match innermost::<hyper::Error>(error) {
            Some(hyper) if hyper.is_parse() || hyper.is_user() => FaultKind::Protocol,
            Some(hyper) if hyper.is_timeout() => FaultKind::Timeout,
            _ => self.cut_off(),
        }
    }
}
