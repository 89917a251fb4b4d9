//! Whose requests are answered: by the host that they name, their origin, and their token.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::options::{ConsoleOptions, Token};

/// What browsers say of where a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What browsers say of what a request is for.
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// A request that is refused: the status, and a sentence.
pub(crate) type Refusal = (StatusCode, &'static str);

/// Who may look, and who may steer.
#[derive(Debug)]
pub(crate) struct Access {
    hosts: Vec<String>,
    control: Option<Token>,
}

impl Access {
    /// The access to a console that listens at `address`.
    pub(crate) fn new(options: &ConsoleOptions, address: SocketAddr) -> Self {
        let mut hosts = vec!["localhost".to_owned()];
        for ip in ["127.0.0.1", "::1"] {
            hosts.extend(ip.parse().ok().map(host_of));
        }
        // A wildcard is no host that anybody names.
        if !address.ip().is_unspecified() {
            hosts.push(host_of(address.ip()));
        }
        let named = options.allowed_hosts.iter();
        hosts.extend(named.map(|host| host.to_ascii_lowercase()));
        Self {
            hosts,
            control: options.control.clone(),
        }
    }

    /// Whether streams may be steered at all.
    pub(crate) fn may_steer(&self) -> bool {
        self.control.is_some()
    }

    /// Whether a request may be answered: it is for this host, and from no other origin's page.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut named = headers.get_all(HOST).iter();
        let host = named.next().and_then(|host| host.to_str().ok());
        let is_own = |host: &str| self.hosts.iter().any(|own| own == host);
        if named.next().is_some() || !host.is_some_and(|host| is_own(&without_port(host))) {
            let why = "this host is not the console's; --allow-host names one more";
            return Err((StatusCode::MISDIRECTED_REQUEST, why));
        }
        let elsewhere = (StatusCode::FORBIDDEN, "a page of another origin asks");
        if let Some(origin) = headers.get(ORIGIN) {
            let origin = origin.to_str().map_err(|_| elsewhere)?;
            let rest = origin.strip_prefix("http://");
            let rest = rest.or_else(|| origin.strip_prefix("https://"));
            // Of the same host, with its port: another port of this machine is another origin.
            if rest.is_none() || rest != host {
                return Err(elsewhere);
            }
        }
        // A link elsewhere may lead here: the page that has it reads nothing of what comes.
        let is_link = headers
            .get(FETCH_MODE)
            .is_some_and(|mode| mode == "navigate");
        match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) if is_link => Ok(()),
            Some(_) => Err(elsewhere),
        }
    }

    /// Whether a request may steer: it bears the token, and is one that a form of another page cannot
    /// send.
    pub(crate) fn check_steering(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.control else {
            let why = "this console only reads; --allow-control lets it steer";
            return Err((StatusCode::FORBIDDEN, why));
        };
        let given = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        if !given.is_some_and(|given| token.is(given)) {
            return Err((StatusCode::UNAUTHORIZED, "the token is missing, or another"));
        }
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next());
        if kind.map(str::trim) != Some("application/json") {
            let why = "an act is application/json";
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        Ok(())
    }
}

/// An address as a URL names it as a host.
fn host_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The host of a `Host` header, in lower case and without a dot at its end.
fn without_port(host: &str) -> String {
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.find(']').map_or(host, |end| &host[..end + 2]),
        None => host.split(':').next().unwrap_or_default(),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(control: bool) -> Access {
        let address = "10.1.2.3:9464".parse().unwrap();
        let mut options = ConsoleOptions::at(address);
        options.allowed_hosts.push("Console.Example".to_owned());
        options.control = control.then(|| Token::new("0123456789abcdef").unwrap());
        Access::new(&options, address)
    }

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_requests_for_its_own_hosts_are_answered() {
        let access = access(false);
        for host in [
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "127.0.0.1:9464",
            "[::1]:9464",
            "[::1]",
            "10.1.2.3",
            "console.example:80",
        ] {
            assert_eq!(access.check(&headers(&[(HOST, host)])), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.2",
            "[::2]",
            "[::1",
        ] {
            assert!(access.check(&headers(&[(HOST, host)])).is_err(), "{host}");
        }
        assert!(access.check(&headers(&[])).is_err());
        assert!(
            access
                .check(&headers(&[(HOST, "localhost"), (HOST, "x")]))
                .is_err()
        );
    }

    #[test]
    fn pages_of_other_origins_are_not_answered() {
        let access = access(false);
        let from = |origin| headers(&[(HOST, "localhost:9464"), (ORIGIN, origin)]);
        assert_eq!(access.check(&from("http://localhost:9464")), Ok(()));
        assert_eq!(access.check(&from("https://localhost:9464")), Ok(()));
        for origin in [
            "null",
            "http://localhost",
            "http://localhost:9465",
            "http://127.0.0.1:9464",
            "http://evil.example",
            "file://localhost:9464",
            "localhost:9464",
        ] {
            assert!(access.check(&from(origin)).is_err(), "{origin}");
        }
        let site = |site| headers(&[(HOST, "localhost"), (FETCH_SITE, site)]);
        assert_eq!(access.check(&site("same-origin")), Ok(()));
        assert_eq!(access.check(&site("none")), Ok(()));
        assert!(access.check(&site("cross-site")).is_err());
        assert!(access.check(&site("same-site")).is_err());
        let mut link = site("cross-site");
        link.append(FETCH_MODE, HeaderValue::from_static("navigate"));
        assert_eq!(access.check(&link), Ok(()));
    }

    #[test]
    fn streams_are_steered_with_the_token_and_by_json_alone() {
        let json = (CONTENT_TYPE, "application/json; charset=utf-8");
        let bearer = (AUTHORIZATION, "Bearer 0123456789abcdef");
        let status = |access: &Access, pairs: &[_]| {
            let refused = access.check_steering(&headers(pairs));
            refused.map_err(|(status, _)| status.as_u16())
        };
        let steering = access(true);
        assert_eq!(status(&steering, &[json.clone(), bearer.clone()]), Ok(()));
        assert_eq!(status(&steering, std::slice::from_ref(&json)), Err(401));
        let other = (AUTHORIZATION, "Bearer 0123456789abcdeX");
        assert_eq!(status(&steering, &[json.clone(), other]), Err(401));
        let basic = (AUTHORIZATION, "Basic 0123456789abcdef");
        assert_eq!(status(&steering, &[json.clone(), basic]), Err(401));
        let form = (CONTENT_TYPE, "text/plain");
        assert_eq!(status(&steering, &[form, bearer.clone()]), Err(415));
        assert_eq!(status(&access(false), &[json, bearer]), Err(403));
    }
}
