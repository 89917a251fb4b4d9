//! Where events are pushed to, and the token that is shown there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use thiserror::Error;
use url::{Host, Url};

/// The path of the ingestion gate's push endpoint below its base URL.
pub const PUSH_PATH: &str = "/v1/ingest/push";

/// Why a push endpoint or token was refused. It never shows the refused text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The text is not a URL with a host, or its host is not in ASCII.
    #[error(
        "the ingestion gate's URL cannot be read; give it as http://host:port or https://host, the \
         host in ASCII"
    )]
    Unreadable,
    /// The URL's scheme is neither http nor https.
    #[error("the ingestion gate's URL must start with http:// or https://")]
    SchemeUnsupported,
    /// The URL holds a user name or a password.
    #[error(
        "the ingestion gate's URL holds a user name or password; take it out and set the token \
         in the environment instead"
    )]
    Credentials,
    /// The URL holds a query or a fragment.
    #[error(
        "the ingestion gate's URL holds a query or a fragment; give scheme, host and path only"
    )]
    Query,
    /// The header's name is no HTTP header name, or is one that the client sets itself.
    #[error("the token's header name is no usable HTTP header name; X-IG-Api-Key is the usual one")]
    HeaderUnusable,
    /// The token is empty or holds characters that no header can carry.
    #[error("the token is empty or holds characters that an HTTP header cannot carry")]
    TokenUnusable,
}

/// The ingestion gate's push endpoint: scheme, host, port and path, never a secret.
///
/// ```
/// # use push::PushEndpoint;
/// let endpoint: PushEndpoint = "http://localhost:8081".parse()?;
/// assert_eq!(endpoint.to_string(), "http://localhost:8081/v1/ingest/push");
/// # Ok::<(), push::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushEndpoint {
    url: Url,
    target: PathAndQuery,
}

impl PushEndpoint {
    /// The push endpoint of the gate at `ig_ingest_url`; [`PUSH_PATH`] is appended unless the URL
    /// ends with it.
    ///
    /// # Errors
    /// [`EndpointError`] for what is not a bare http or https URL.
    pub fn parse(ig_ingest_url: &str) -> Result<Self, EndpointError> {
        let mut url = Url::parse(ig_ingest_url.trim()).map_err(|_| EndpointError::Unreadable)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointError::SchemeUnsupported);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::Query);
        }
        let base = url.path().trim_end_matches('/');
        let path = match base.strip_suffix(PUSH_PATH) {
            Some(_) => base.to_owned(),
            None => format!("{base}{PUSH_PATH}"),
        };
        url.set_path(&path);
        let target = url.path().parse().map_err(|_| EndpointError::Unreadable)?;
        Ok(Self { url, target })
    }

    /// The whole URL of the push endpoint.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Whether the URL is an https one, so that connections are encrypted.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether requests cross a network unencrypted: plain http to another machine.
    pub fn sends_in_clear_to_other_host(&self) -> bool {
        !self.is_https()
            && match self.url.host() {
                Some(Host::Ipv4(ip)) => !ip.is_loopback(),
                Some(Host::Ipv6(ip)) => !IpAddr::V6(ip).to_canonical().is_loopback(),
                Some(Host::Domain(name)) => {
                    let name = name.trim_end_matches('.');
                    name != "localhost" && !name.ends_with(".localhost")
                }
                None => true,
            }
    }

    /// The host's name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let host = self.url.host_str().unwrap_or_default();
        host.strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host)
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// What the `host` header says: the host, and the port if it is not the scheme's own.
    pub(crate) fn authority(&self) -> &str {
        self.url.authority()
    }

    #[cfg(feature = "reqwest")]
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The path where the gate tells its operators how it is.
    pub(crate) fn health_path(&self) -> String {
        let path = self.url.path();
        let base = path.strip_suffix(PUSH_PATH).unwrap_or(path);
        format!("{base}/v1/ops/health")
    }

    /// The request's target: the path alone.
    pub(crate) fn target(&self) -> Uri {
        self.target.clone().into()
    }
}

impl FromStr for PushEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for PushEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The token that the gate asks for, and the header that carries it.
///
/// `Debug` shows the header's name only.
#[derive(Clone)]
pub struct PushToken {
    header: HeaderName,
    value: HeaderValue,
}

impl PushToken {
    /// A token that every request sends in the header named `header`.
    ///
    /// # Errors
    /// [`EndpointError::HeaderUnusable`], [`EndpointError::TokenUnusable`].
    pub fn new(header: &str, token: &str) -> Result<Self, EndpointError> {
        let header: HeaderName = header.parse().map_err(|_| EndpointError::HeaderUnusable)?;
        // These frame or describe the request; a token in their place would break it.
        let framing = [
            header::HOST,
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::USER_AGENT,
        ];
        if framing.contains(&header) {
            return Err(EndpointError::HeaderUnusable);
        }
        if token.trim().is_empty() {
            return Err(EndpointError::TokenUnusable);
        }
        let mut value = HeaderValue::from_str(token).map_err(|_| EndpointError::TokenUnusable)?;
        value.set_sensitive(true);
        Ok(Self { header, value })
    }

    pub(crate) fn show_in(&self, headers: &mut HeaderMap) {
        headers.insert(self.header.clone(), self.value.clone());
    }

    /// `body` with every mention of the token struck out: a gate may repeat what it was shown,
    /// and an answer's text ends up in errors, reports and the quarantine.
    pub(crate) fn strike_out(&self, body: Bytes) -> Bytes {
        let token = self.value.as_bytes();
        let first = |text: &[u8]| text.windows(token.len()).position(|window| window == token);
        if first(&body).is_none() {
            return body;
        }
        let mut rest: &[u8] = &body;
        let mut clean = Vec::with_capacity(body.len());
        while let Some(at) = first(rest) {
            clean.extend_from_slice(&rest[..at]);
            clean.extend_from_slice(b"***");
            rest = &rest[at + token.len()..];
        }
        clean.extend_from_slice(rest);
        clean.into()
    }
}

impl fmt::Debug for PushToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushToken")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> PushEndpoint {
        PushEndpoint::parse(url).unwrap()
    }

    #[test]
    fn the_push_path_is_appended_once() {
        for (url, expected) in [
            (
                "http://localhost:8081",
                "http://localhost:8081/v1/ingest/push",
            ),
            (
                "http://localhost:8081/",
                "http://localhost:8081/v1/ingest/push",
            ),
            (
                "https://xn--bcher-kva.example",
                "https://xn--bcher-kva.example/v1/ingest/push",
            ),
            (
                "https://ig.example/base/",
                "https://ig.example/base/v1/ingest/push",
            ),
            ("http://ig/v1/ingest/push", "http://ig/v1/ingest/push"),
            ("http://ig/v1/ingest/push/", "http://ig/v1/ingest/push"),
            (
                "http://ig/base/v1/ingest/push",
                "http://ig/base/v1/ingest/push",
            ),
            (" http://ig:80 ", "http://ig/v1/ingest/push"),
        ] {
            assert_eq!(endpoint(url).to_string(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_not_a_bare_http_url_is_refused_without_being_repeated() {
        for (url, expected) in [
            ("localhost:8081", EndpointError::SchemeUnsupported),
            ("s3://secret/x", EndpointError::SchemeUnsupported),
            ("secret", EndpointError::Unreadable),
            ("http://", EndpointError::Unreadable),
            ("http://b\u{fc}cher.secret", EndpointError::Unreadable),
            ("", EndpointError::Unreadable),
            ("http://secret@ig", EndpointError::Credentials),
            ("http://:secret@ig", EndpointError::Credentials),
            ("http://ig?key=secret", EndpointError::Query),
            ("http://ig#secret", EndpointError::Query),
        ] {
            let error = PushEndpoint::parse(url).unwrap_err();
            assert_eq!(error, expected, "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_plain_http_to_another_host_is_in_clear() {
        for (url, in_clear) in [
            ("http://localhost:8081", false),
            ("http://gate.localhost", false),
            ("http://127.0.0.9", false),
            ("http://[::1]:8081", false),
            ("http://[::ffff:127.0.0.1]", false),
            ("https://ig.example", false),
            ("http://ig.example", true),
            ("http://10.0.0.1", true),
            ("http://localhost.example", true),
            ("http://notlocalhost", true),
        ] {
            assert_eq!(
                endpoint(url).sends_in_clear_to_other_host(),
                in_clear,
                "{url}"
            );
        }
    }

    #[test]
    fn an_ipv6_host_is_dialled_without_brackets_and_named_with_them() {
        let endpoint = endpoint("http://[::1]:8081");
        assert_eq!((endpoint.host(), endpoint.port()), ("::1", 8081));
        assert_eq!(endpoint.authority(), "[::1]:8081");
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = PushToken::new("X-IG-Api-Key", "s3cr3t").unwrap();
        let mut headers = HeaderMap::new();
        token.show_in(&mut headers);
        assert_eq!(headers["x-ig-api-key"], "s3cr3t");
        assert!(!format!("{token:?} {headers:?}").contains("s3cr3t"));
        let body = token.strike_out(Bytes::from_static(b"bad key s3cr3t, not s3cr3t!"));
        assert_eq!(body, "bad key ***, not ***!");
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        for (header, token, expected) in [
            ("X IG", "t", EndpointError::HeaderUnusable),
            ("", "t", EndpointError::HeaderUnusable),
            ("Content-Length", "t", EndpointError::HeaderUnusable),
            ("X-IG-Api-Key", "", EndpointError::TokenUnusable),
            ("X-IG-Api-Key", " ", EndpointError::TokenUnusable),
            ("X-IG-Api-Key", "a\nb", EndpointError::TokenUnusable),
        ] {
            assert_eq!(PushToken::new(header, token).unwrap_err(), expected);
        }
    }
}
