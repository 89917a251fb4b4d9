//! Each sslmode against real servers: one that speaks TLS, one that does not.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::conformance::{assert_code, key};
use crate::test_server::{PostgresOptions, PostgresServer};
use crate::{CheckpointStore as _, ReasonCode};

/// A server whose certificate names `localhost` alone, and the authority that signed it.
struct TlsServer {
    server: PostgresServer,
    folder: TempDir,
}

impl TlsServer {
    fn start() -> Self {
        let (authority, other) = (authority(), authority());
        let server_key = KeyPair::generate().unwrap();
        let named = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = named.signed_by(&server_key, &authority).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.path().join("other.pem"), other.pem()).unwrap();
        std::fs::write(folder.path().join("empty.pem"), "").unwrap();
        let server = PostgresServer::start(&PostgresOptions {
            settings: vec!["ssl=on".to_owned()],
            tcp: true,
            // Over TCP, by database: `tls` wants TLS, `plain` wants none.
            hba: Some(
                "local all all trust\nhostssl tls all all trust\nhostnossl plain all all trust\n\
                 host postgres all all trust\n"
                    .to_owned(),
            ),
            files: vec![
                ("server.crt".to_owned(), certificate.pem()),
                ("server.key".to_owned(), server_key.serialize_pem()),
            ],
        });
        Self { server, folder }
    }

    /// Whether a load succeeds, or its code.
    async fn load(
        &self,
        host: &str,
        database: &str,
        sslmode: &str,
        root: Option<&str>,
    ) -> Result<(), ReasonCode> {
        let mut dsn = format!(
            "host={host} port={} user=postgres dbname={database} sslmode={sslmode}",
            self.server.port()
        );
        if let Some(root) = root {
            let path = self.folder.path().join(root);
            dsn = format!("{dsn} sslrootcert='{}'", path.display());
        }
        load(&dsn).await
    }
}

async fn load(dsn: &str) -> Result<(), ReasonCode> {
    let store = PostgresStore::new(dsn).map_err(|error| error.code())?;
    store
        .load(&key("tls", "o"))
        .await
        .map(|_| ())
        .map_err(|error| error.code())
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

const REFUSED: Result<(), ReasonCode> = Err(ReasonCode::ConfigInvalid);

#[tokio::test]
async fn each_sslmode_does_what_its_name_promises() {
    let tls = TlsServer::start();
    tls.server.execute("CREATE DATABASE tls").await;
    tls.server.execute("CREATE DATABASE plain").await;
    let (good, bad) = (Some("ca.pem"), Some("other.pem"));
    for (host, database, sslmode, root, expected) in [
        // Whether it speaks TLS at all.
        ("localhost", "tls", "disable", None, REFUSED),
        ("localhost", "plain", "disable", None, Ok(())),
        ("localhost", "tls", "allow", None, Ok(())),
        ("localhost", "plain", "allow", None, Ok(())),
        ("localhost", "tls", "prefer", None, Ok(())),
        ("localhost", "plain", "prefer", None, Ok(())),
        ("localhost", "tls", "require", None, Ok(())),
        ("localhost", "plain", "require", None, REFUSED),
        // Whom it trusts.
        ("localhost", "tls", "require", good, Ok(())),
        ("localhost", "tls", "require", bad, REFUSED),
        ("localhost", "tls", "verify-ca", good, Ok(())),
        ("localhost", "tls", "verify-ca", bad, REFUSED),
        ("localhost", "tls", "verify-ca", None, REFUSED),
        ("localhost", "tls", "verify-full", good, Ok(())),
        ("localhost", "tls", "verify-full", bad, REFUSED),
        // By what name.
        ("127.0.0.1", "tls", "require", None, Ok(())),
        ("127.0.0.1", "tls", "verify-ca", good, Ok(())),
        ("127.0.0.1", "tls", "verify-full", good, REFUSED),
        // Certificates that cannot be read.
        (
            "localhost",
            "tls",
            "verify-full",
            Some("nowhere.pem"),
            REFUSED,
        ),
        (
            "localhost",
            "tls",
            "verify-full",
            Some("empty.pem"),
            REFUSED,
        ),
    ] {
        let found = tls.load(host, database, sslmode, root).await;
        assert_eq!(found, expected, "{host} {database} {sslmode} {root:?}");
    }
}

#[tokio::test]
async fn a_new_authority_is_trusted_from_the_next_connection_on() {
    let tls = TlsServer::start();
    let trusted = tls.folder.path().join("trusted.pem");
    let trust = |name| std::fs::copy(tls.folder.path().join(name), &trusted).unwrap();
    trust("other.pem");
    let store = PostgresStore::new(&format!(
        "host=localhost port={} user=postgres dbname=postgres sslmode=verify-full sslrootcert='{}'",
        tls.server.port(),
        trusted.display()
    ))
    .unwrap();
    let refused = store.load(&key("tls", "o")).await;
    assert_code(refused, ReasonCode::ConfigInvalid);
    trust("ca.pem");
    store.load(&key("tls", "o")).await.unwrap();
    // Gone for a moment, as while it is replaced: what was trusted still is.
    std::fs::remove_file(&trusted).unwrap();
    store.lease_state(&key("tls", "o")).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_used_only_where_the_mode_lets_it() {
    let server = PostgresServer::start(&PostgresOptions {
        tcp: true,
        ..PostgresOptions::default()
    });
    let dsn = |sslmode: &str| {
        format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres sslmode={sslmode}",
            server.port()
        )
    };
    for sslmode in ["disable", "allow", "prefer"] {
        assert_eq!(load(&dsn(sslmode)).await, Ok(()), "{sslmode}");
    }
    assert_eq!(load(&dsn("require")).await, REFUSED);
}

#[tokio::test]
async fn a_refused_certificate_is_told_with_its_reason() {
    let tls = TlsServer::start();
    let root = tls.folder.path().join("other.pem");
    let dsn = format!(
        "host=localhost port={} user=postgres dbname=postgres sslmode=verify-full sslrootcert='{}'",
        tls.server.port(),
        root.display()
    );
    let store = PostgresStore::new(&dsn).unwrap();
    let error = assert_code(
        store.load(&key("tls", "o")).await,
        ReasonCode::ConfigInvalid,
    );
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}
