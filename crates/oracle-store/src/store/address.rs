//! How buckets are addressed.

use crate::error::{Error, ReasonCode};
use crate::location::Location;

/// How buckets are addressed. Never credentials: those come by the AWS environment
/// chain (keys, web identity, container or instance role).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectStoreConfig {
    /// `http://` or `https://` and a host; none for AWS itself (or `AWS_ENDPOINT_URL`).
    /// Only an endpoint that says `http` is talked to without TLS.
    pub endpoint: Option<String>,
    /// The region; else `AWS_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket is named in the path (the default) or in the host.
    pub path_style: Option<bool>,
}

/// `OBJECT_STORE_INVALID`: a location that cannot be addressed.
pub(super) fn invalid(location: &Location) -> Error {
    Error::new(
        ReasonCode::ObjectStoreInvalid,
        "The object store cannot be addressed",
    )
    .object(location.full_name(""))
}
