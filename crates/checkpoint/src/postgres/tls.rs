//! TLS by rustls, with each `sslmode` doing what its name promises.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dsn::SslMode;
use model::Cause;

/// What is verified of the server's certificate.
#[derive(Debug)]
enum Trust {
    /// Nothing: the link is encrypted, to whomever.
    Anyone,
    /// That one of these authorities signed it, whatever its name.
    Signed(Arc<RootCertStore>),
}

/// A verifier for the modes that verify less than rustls does by itself.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Trust::Signed(authorities) = &self.trust {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(certificate)?,
                authorities,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Why no TLS can be had: what could not be read, and what was below it.
pub(super) struct NoTrust {
    pub(super) fault: String,
    pub(super) source: Option<Cause>,
}

/// Makes the TLS client for a mode.
pub(super) fn connector(mode: SslMode, root_cert: Option<&Path>) -> Result<Connector, NoTrust> {
    let provider = Arc::new(ring::default_provider());
    let broken = |source: Cause| NoTrust {
        fault: "its TLS settings do not fit together".to_owned(),
        source: Some(source),
    };
    let unverified = |trust| {
        Arc::new(Verifier {
            trust,
            provider: Arc::clone(&provider),
        }) as Arc<dyn ServerCertVerifier>
    };
    let verifier = match mode {
        SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require => {
            unverified(Trust::Anyone)
        }
        SslMode::VerifyCa => unverified(Trust::Signed(authorities(root_cert)?)),
        SslMode::VerifyFull => WebPkiServerVerifier::builder_with_provider(
            authorities(root_cert)?,
            Arc::clone(&provider),
        )
        .build()
        .map_err(|error| broken(error.into()))?,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(error.into()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Connector(Arc::new(config)))
}

fn authorities(root_cert: Option<&Path>) -> Result<Arc<RootCertStore>, NoTrust> {
    let mut store = RootCertStore::empty();
    let Some(path) = root_cert else {
        let native = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(native.certs);
        if store.is_empty() {
            return Err(NoTrust {
                fault: "this system trusts no certificate authority; name one with `sslrootcert`"
                    .to_owned(),
                source: native.errors.into_iter().next().map(Into::into),
            });
        }
        return Ok(Arc::new(store));
    };
    let unreadable = |source: Cause| NoTrust {
        fault: format!(
            "sslrootcert {} holds no readable certificate",
            path.display()
        ),
        source: Some(source),
    };
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unreadable(e.into()))? {
        let certificate = certificate.map_err(|error| unreadable(error.into()))?;
        store
            .add(certificate)
            .map_err(|error| unreadable(error.into()))?;
    }
    if store.is_empty() {
        return Err(unreadable("no certificate in it".into()));
    }
    Ok(Arc::new(store))
}

/// Makes TLS connections for `tokio-postgres`.
#[derive(Clone)]
pub(super) struct Connector(Arc<ClientConfig>);

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Handshake;
    type Error = Infallible;

    /// Asked even where no TLS will be spoken, as on a Unix socket, whose host has no name.
    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Infallible> {
        Ok(Handshake {
            name: ServerName::try_from(host).map(|name| name.to_owned()).ok(),
            connector: TlsConnector::from(Arc::clone(&self.0)),
        })
    }
}

/// One handshake to come.
pub(super) struct Handshake {
    /// What the certificate must name; none is as good as a wrong one.
    name: Option<ServerName<'static>>,
    connector: TlsConnector,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let no_name = || io::Error::other("the host's name is no DNS name or IP address");
            let name = self.name.ok_or_else(no_name)?;
            let stream = self.connector.connect(name, stream).await?;
            Ok(Stream(stream))
        })
    }
}

/// An encrypted connection.
pub(super) struct Stream<S>(TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Stream<S> {
    /// None: SCRAM works without it, and `verify-full` proves the server.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
