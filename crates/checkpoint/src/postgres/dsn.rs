//! The DSN: parsed once, printed without its password.
//!
//! `tokio-postgres` reads a libpq connection string, but knows neither `sslmode=allow`,
//! `verify-ca`, `verify-full` nor `sslrootcert`: those two parameters are cut out of the text here,
//! and it judges all else. `PGPASSWORD` stands in for a password that the DSN leaves out.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// How much of the server's identity is demanded, as libpq means it.
///
/// | mode | TLS | chain verified | host name verified |
/// |---|---|---|---|
/// | `disable` | never | | |
/// | `allow` | if the server refuses plain | no | no |
/// | `prefer` (default) | if the server can; else plain | no | no |
/// | `require` | always | only if `sslrootcert` is given | no |
/// | `verify-ca` | always | yes | no |
/// | `verify-full` | always | yes | yes |
///
/// A Unix socket never speaks TLS, whatever the mode, as with libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl FromStr for SslMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "disable" => SslMode::Disable,
            "allow" => SslMode::Allow,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => return Err(()),
        })
    }
}

/// Where the server is and how far it is trusted. Prints no password.
#[derive(Clone)]
pub(super) struct Dsn {
    pub(super) config: Config,
    pub(super) ssl_mode: SslMode,
    /// PEM file of the authorities to trust; the system's where absent.
    pub(super) ssl_root_cert: Option<PathBuf>,
}

impl Dsn {
    /// Parses `postgres://…` or `key=value …`. The fault never quotes the DSN: it may hold a
    /// password.
    pub(super) fn parse(dsn: &str) -> Result<Self, &'static str> {
        let is_url = dsn.starts_with("postgres://") || dsn.starts_with("postgresql://");
        let (rest, ours) = if is_url {
            split_url(dsn)
        } else {
            split_pairs(dsn)
        };
        let mut config: Config = rest
            .parse()
            .map_err(|_| "its DSN is no `postgres://` URL and no list of key=value pairs")?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("its DSN names no host");
        }
        if let (None, Ok(password)) = (config.get_password(), std::env::var("PGPASSWORD")) {
            config.password(password);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        config.tcp_user_timeout(Duration::from_secs(15));
        // A peer that is gone without a word is noticed in half a minute, not in two hours.
        config.keepalives_idle(Duration::from_secs(10));
        config.keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("wsp checkpoint");
        }
        let is_unix = config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)))
            && config.get_hostaddrs().is_empty();
        let ssl_mode = match ours.ssl_mode.as_deref().map(str::parse) {
            Some(Err(())) => {
                return Err(
                    "its sslmode is none of disable, allow, prefer, require, verify-ca, verify-full",
                );
            }
            _ if is_unix => SslMode::Disable,
            Some(Ok(SslMode::Require)) if ours.ssl_root_cert.is_some() => SslMode::VerifyCa,
            Some(Ok(mode)) => mode,
            None => SslMode::Prefer,
        };
        Ok(Self {
            config,
            ssl_mode,
            ssl_root_cert: ours.ssl_root_cert.map(PathBuf::from),
        })
    }
}

impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        for (n, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(folder) => write!(f, "{comma}{}", folder.display())?,
            }
        }
        if let Some(port) = self
            .config
            .get_ports()
            .first()
            .filter(|port| **port != 5432)
        {
            write!(f, ":{port}")?;
        }
        let database = self.config.get_dbname().or_else(|| self.config.get_user());
        write!(f, "/{}", database.unwrap_or_default())
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dsn({self}, {:?})", self.ssl_mode)
    }
}

/// The parameters that are read here.
#[derive(Default)]
struct Ours {
    ssl_mode: Option<String>,
    ssl_root_cert: Option<String>,
}

impl Ours {
    /// Keeps the parameter if it is one of these.
    fn take(&mut self, name: &str, value: &str) -> bool {
        match name {
            "sslmode" => self.ssl_mode = Some(value.to_owned()),
            "sslrootcert" => self.ssl_root_cert = Some(value.to_owned()),
            _ => return false,
        }
        true
    }
}

/// Takes what is read here out of a list of `key=value`; the rest stays as it stands, for the
/// parser of `tokio-postgres` to judge.
fn split_pairs(dsn: &str) -> (String, Ours) {
    let (mut ours, mut kept, mut left) = (Ours::default(), String::new(), dsn);
    while let Some((name, value, length)) = first_pair(left) {
        let (pair, further) = left.split_at(length);
        if !ours.take(name.trim(), &value) {
            kept.push_str(pair);
        }
        left = further;
    }
    kept.push_str(left);
    (kept, ours)
}

/// The same of a URL.
fn split_url(dsn: &str) -> (String, Ours) {
    let mut ours = Ours::default();
    let Some((base, query)) = dsn.split_once('?') else {
        return (dsn.to_owned(), ours);
    };
    let is_kept = |pair: &&str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        !ours.take(name, &percent_decode_str(value).decode_utf8_lossy())
    };
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    let mark = if kept.is_empty() { "" } else { "?" };
    (format!("{base}{mark}{}", kept.join("&")), ours)
}

/// The name and the value of the first pair, and where it ends. A value may be in single quotes,
/// and a backslash keeps the character behind it from ending it.
fn first_pair(text: &str) -> Option<(&str, String, usize)> {
    let (name, rest) = text.split_once('=')?;
    let rest = rest.trim_start();
    let (is_quoted, start) = (rest.starts_with('\''), text.len() - rest.len());
    let (mut value, mut is_kept) = (String::new(), false);
    for (at, c) in rest.char_indices().skip(usize::from(is_quoted)) {
        match c {
            _ if is_kept => value.push(c),
            '\\' => {}
            '\'' if is_quoted => return Some((name, value, start + at + 1)),
            c if c.is_whitespace() && !is_quoted => return Some((name, value, start + at)),
            c => value.push(c),
        }
        is_kept = c == '\\' && !is_kept;
    }
    Some((name, value, text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sslmode_is_taken_out_of_both_forms() {
        for (text, mode) in [
            ("disable", SslMode::Disable),
            ("allow", SslMode::Allow),
            ("prefer", SslMode::Prefer),
            ("require", SslMode::Require),
            ("verify-ca", SslMode::VerifyCa),
            ("verify-full", SslMode::VerifyFull),
        ] {
            let url = Dsn::parse(&format!(
                "postgres://u@h/d?sslmode={text}&connect_timeout=3"
            ));
            let pairs = Dsn::parse(&format!("host=h user = u sslmode={text} dbname='d'"));
            for dsn in [url.unwrap(), pairs.unwrap()] {
                assert_eq!(dsn.ssl_mode, mode);
                assert_eq!(dsn.to_string(), "postgres://u@h/d");
            }
        }
        assert_eq!(Dsn::parse("host=h").unwrap().ssl_mode, SslMode::Prefer);
        assert!(Dsn::parse("host=h sslmode=verify").is_err());
    }

    #[test]
    fn a_value_in_quotes_hides_what_looks_like_a_parameter() {
        let dsn =
            r"user='a sslmode=disable' password='it\'s \\' sslmode = require host='h' dbname=a\ b";
        let dsn = Dsn::parse(dsn).unwrap();
        assert_eq!(dsn.ssl_mode, SslMode::Require);
        assert_eq!(dsn.config.get_user(), Some("a sslmode=disable"));
        assert_eq!(dsn.config.get_password(), Some(&br"it's \"[..]));
        assert_eq!(dsn.config.get_dbname(), Some("a b"));
    }

    #[test]
    fn require_with_an_authority_verifies_it_as_libpq_does() {
        let dsn =
            Dsn::parse("postgres://h/d?sslmode=require&sslrootcert=%2Fetc%2Fa%20b.pem").unwrap();
        assert_eq!(dsn.ssl_mode, SslMode::VerifyCa);
        assert_eq!(dsn.ssl_root_cert.unwrap().to_str(), Some("/etc/a b.pem"));
    }

    #[test]
    fn a_unix_socket_speaks_no_tls() {
        let dsn = Dsn::parse("host=/run/postgresql sslmode=verify-full").unwrap();
        assert_eq!(dsn.ssl_mode, SslMode::Disable);
    }

    #[test]
    fn no_output_holds_the_password() {
        for dsn in [
            "postgres://u:s3cret@h:5433/d?sslmode=require",
            r"host=h user=u password='s3cret \' x' dbname=d port=5433",
        ] {
            let dsn = Dsn::parse(dsn).unwrap();
            assert!(dsn.config.get_password().is_some());
            let shown = format!("{dsn} {dsn:?} {:?}", dsn.config);
            assert!(!shown.contains("s3cret"), "{shown}");
            assert_eq!(dsn.to_string(), "postgres://u@h:5433/d");
        }
        for wrong in [
            "postgres://u:s3cret@h:port/d",
            "password=s3cret x",
            "password='s3cret",
            "",
        ] {
            let fault = Dsn::parse(wrong).unwrap_err();
            assert!(!fault.contains("s3cret"), "{fault}");
        }
    }
}
