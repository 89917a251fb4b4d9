//! Objects of a caller's own below a prefix of a bucket.

use std::sync::Arc;

use durable::Objects;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};

use super::address::ObjectStoreConfig;
use super::connect::object_store_at;
use super::io::wait_for;
use crate::error::Error;
use crate::location::Location;

/// The objects below a prefix of a bucket, written and read from any thread that may block: the
/// requests are made on this crate's own runtime. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BucketFolder {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    location: Location,
}

impl BucketFolder {
    /// The objects below a location. Reads and writes nothing yet.
    ///
    /// # Errors
    /// `OBJECT_STORE_INVALID` if the location cannot be addressed.
    pub fn open(location: Location, config: &ObjectStoreConfig) -> Result<Self, Error> {
        let (store, prefix) = object_store_at(&location, config)?;
        Ok(Self {
            store,
            prefix,
            location,
        })
    }

    fn path(&self, name: &str) -> std::io::Result<Path> {
        let name = Path::parse(name).map_err(std::io::Error::other)?;
        let parts = self.prefix.parts().chain(name.parts());
        Ok(parts.collect())
    }

    fn write(&self, name: &str, bytes: &[u8], mode: PutMode) -> std::io::Result<bool> {
        let (store, path, bytes) = (Arc::clone(&self.store), self.path(name)?, bytes.to_vec());
        let put = async move {
            let put = store.put_opts(&path, bytes.into(), PutOptions::from(mode));
            match put.await {
                Ok(_) => Ok(true),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        };
        wait_for(put)
    }
}

impl Objects for BucketFolder {
    fn place(&self, name: &str) -> String {
        let place = self.location.full_name(name);
        place.trim_end_matches('/').to_owned()
    }

    fn read(&self, name: &str) -> std::io::Result<Option<Vec<u8>>> {
        let (store, path) = (Arc::clone(&self.store), self.path(name)?);
        wait_for(async move {
            match store.get(&path).await {
                Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn create(&self, name: &str, bytes: &[u8]) -> std::io::Result<bool> {
        self.write(name, bytes, PutMode::Create)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        self.write(name, bytes, PutMode::Overwrite).map(drop)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        let (store, path) = (Arc::clone(&self.store), self.path(name)?);
        wait_for(async move {
            match store.delete(&path).await {
                Err(StoreError::NotFound { .. }) => Ok(()),
                removed => removed,
            }
        })
    }

    fn list(&self, folder: &str) -> std::io::Result<Vec<String>> {
        let (store, path) = (Arc::clone(&self.store), self.path(folder)?);
        let prefix = self.prefix.clone();
        let mut names: Vec<String> = wait_for(async move {
            let listed = store.list(Some(&path));
            let name = |object: object_store::ObjectMeta| {
                let below = object.location.prefix_match(&prefix);
                below.map(|parts| parts.collect::<Path>().to_string())
            };
            listed.map_ok(name).try_collect::<Vec<_>>().await
        })?
        .into_iter()
        .flatten()
        .collect();
        names.sort_unstable();
        Ok(names)
    }
}
