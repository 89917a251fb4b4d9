//! What a Postgres error means for a checkpoint.

use tokio_postgres::error::SqlState;

use crate::error::{Error, config_invalid, corrupt, unavailable};

/// The error as ours, with what to do about it.
///
/// | what the server said (class or state) | code |
/// |---|---|
/// | wrong password or user, no such database, privilege or object missing (28, 3D, 42) | `CHECKPOINT_CONFIG_INVALID` |
/// | its files are damaged (XX001, XX002) | `CHECKPOINT_CORRUPT` |
/// | anything else, or nothing at all | `CHECKPOINT_UNAVAILABLE` |
pub(super) fn failed(operation: &'static str, place: &str, source: tokio_postgres::Error) -> Error {
    let place = place.to_owned();
    let Some(answer) = source.as_db_error() else {
        if let Some(fault) = tls_fault(&source) {
            return config_invalid(place, fault).because(source);
        }
        return unavailable(
            operation,
            place,
            "No connection to the server: look after it and the network",
        )
        .because(source);
    };
    let state = answer.code();
    if *state == SqlState::DATA_CORRUPTED || *state == SqlState::INDEX_CORRUPTED {
        return corrupt(place, "the server says that its files are damaged").because(source);
    }
    if ["28", "3D", "42"]
        .iter()
        .any(|class| state.code().starts_with(class))
    {
        return config_invalid(
            place,
            format!("{} (SQLSTATE {})", answer.message(), state.code()),
        )
        .because(source);
    }
    let advice = if *state == SqlState::LOCK_NOT_AVAILABLE {
        "Another session keeps the table locked: end it"
    } else if *state == SqlState::QUERY_CANCELED {
        "The statement took too long: another session may keep the table locked, or the server is \
         overloaded"
    } else if state.code().starts_with("53") {
        "The server is out of disk, memory or connections: free some"
    } else {
        "Look after the server: its log says more"
    };
    unavailable(operation, place, advice).because(source)
}

/// Whether the server said that a table is not there.
pub(super) fn says_no_table(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(cause) = next {
        let answer = cause.downcast_ref::<tokio_postgres::Error>();
        if answer.and_then(tokio_postgres::Error::code) == Some(&SqlState::UNDEFINED_TABLE) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// Whether a connection failed because the server speaks no TLS.
pub(super) fn says_no_tls(error: &tokio_postgres::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        // The library gives this no type of its own.
        if error.to_string() == "server does not support TLS" {
            return true;
        }
        next = error.source();
    }
    false
}

/// What no retry will change: a server without TLS where it is demanded, or rustls's refusal of a
/// certificate.
fn tls_fault(error: &tokio_postgres::Error) -> Option<&'static str> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let refusal = cause.downcast_ref::<rustls::Error>().or_else(|| {
            let io = cause.downcast_ref::<std::io::Error>()?;
            io.get_ref()?.downcast_ref::<rustls::Error>()
        });
        if let Some(rustls::Error::InvalidCertificate(_)) = refusal {
            return Some("the server's certificate does not satisfy its sslmode");
        }
        next = cause.source();
    }
    says_no_tls(error).then_some("the server speaks no TLS, which its sslmode demands")
}
