//! Object-store handles, made in this one place.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

use super::address::{ObjectStoreConfig, invalid};
#[cfg(feature = "s3")]
use super::s3::s3;
use crate::error::Error;
#[cfg(not(feature = "s3"))]
use crate::error::ReasonCode;
use crate::location::Location;

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
            let prefix = Path::parse(prefix).map_err(|e| invalid(location).because(e))?;
            Ok((s3(location, bucket, config, 5)?, prefix))
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
    s3(location, bucket, config, 0)
}

/// Without the feature `s3` nothing is known of buckets.
#[cfg(not(feature = "s3"))]
fn s3(
    location: &Location,
    _bucket: &str,
    _config: &ObjectStoreConfig,
    _max_retries: usize,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let what = "The location is in a bucket, and this program was built without S3";
    Err(Error::new(ReasonCode::ObjectStoreInvalid, what)
        .object(location.full_name(""))
        .advise("Name a folder, or build with the feature `s3` of the crate `oracle-store`."))
}
