//! Object-store handles, made in this one place.

use std::sync::Arc;
use std::time::Duration;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};

#[cfg(feature = "s3")]
use super::s3::s3;
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

/// An object store for a location, with its own retries, and the prefix within it.
/// For callers that keep objects of their own, such as checkpoints.
///
/// # Errors
/// `OBJECT_STORE_INVALID` if the location cannot be addressed.
pub fn object_store_at(
    location: &Location,
    config: &ObjectStoreConfig,
) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    match location {
        Location::Local(folder) => {
            let store = std::fs::create_dir_all(folder)
                .map_err(|source| invalid(location).because(source))
                .and_then(|()| {
                    LocalFileSystem::new_with_prefix(folder)
                        .map_err(|source| invalid(location).because(source))
                })?;
            Ok((Arc::new(store), Path::default()))
        }
        Location::S3 { bucket, prefix } => {
            let retry = RetryConfig {
                max_retries: 5,
                retry_timeout: Duration::from_secs(30),
                ..RetryConfig::default()
            };
            let prefix = Path::parse(prefix).map_err(|e| invalid(location).because(e))?;
            Ok((s3(location, bucket, config, retry)?, prefix))
        }
    }
}

/// The object store of a world in a bucket. Retries are this crate's own, above it.
pub(crate) fn for_reads(
    location: &Location,
    config: &ObjectStoreConfig,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let Location::S3 { bucket, .. } = location else {
        return Err(invalid(location));
    };
    s3(
        location,
        bucket,
        config,
        RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        },
    )
}

/// Without the feature `s3` nothing is known of buckets.
#[cfg(not(feature = "s3"))]
fn s3(
    location: &Location,
    _bucket: &str,
    _config: &ObjectStoreConfig,
    _retry: RetryConfig,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let what = "The location is in a bucket, and this program was built without S3";
    Err(Error::new(ReasonCode::ObjectStoreInvalid, what)
        .object(location.full_name(""))
        .advise("Name a folder, or build with the feature `s3` of the crate `oracle-store`."))
}

pub(super) fn invalid(location: &Location) -> Error {
    Error::new(
        ReasonCode::ObjectStoreInvalid,
        "The object store cannot be addressed",
    )
    .object(location.full_name(""))
}
