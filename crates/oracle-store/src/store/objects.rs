//! What can be asked of a world by key: heads, whole objects, listings, streams, digests.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use sha2::{Digest, Sha256};

use super::pinned_object::PinnedObject;
use super::windows::RemotePart;
use super::{Backend, Entry, Level, Object, WorldStore};
use crate::error::Error;
use crate::part::{Pin, STREAM_VIEW_BASE};
use model::Hex64;

/// Forwards a call to whichever backend holds the world.
macro_rules! on_backend {
    ($store:expr, $backend:ident => $call:expr) => {
        match &$store.inner.backend {
            Backend::Disk($backend) => $call,
            Backend::Bucket($backend) => $call,
        }
    };
}

impl WorldStore {
    /// The pin of an object, if it exists.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub async fn head_if_exists(&self, key: &str) -> Result<Option<Pin>, Error> {
        self.check(key)?;
        let (home, key) = self.home(key);
        on_backend!(home, backend => backend.head(key).await)
    }

    /// The pin of an object.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED` (also if there is no such object).
    pub async fn head(&self, key: &str) -> Result<Pin, Error> {
        self.head_if_exists(key)
            .await?
            .ok_or_else(|| self.missing(key))
    }

    /// Whether an object exists.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.head_if_exists(key).await?.is_some())
    }

    /// A small object, whole, if it exists.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED` (also above 64 MiB).
    pub async fn get_if_exists(&self, key: &str) -> Result<Option<Object>, Error> {
        self.check(key)?;
        let (home, key) = self.home(key);
        on_backend!(home, backend => backend.get(key).await)
    }

    /// A small object, whole.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED` (also if there is no such object).
    pub async fn get(&self, key: &str) -> Result<Object, Error> {
        self.get_if_exists(key)
            .await?
            .ok_or_else(|| self.missing(key))
    }

    /// The objects directly inside a folder, in byte order of their keys. A folder that
    /// does not exist is empty.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub async fn list_direct(&self, folder: &str) -> Result<Vec<Entry>, Error> {
        Ok(self.list_level(folder).await?.objects)
    }

    /// The objects and folders directly inside a folder, each in byte order, by one
    /// listing. A folder that does not exist is empty.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub async fn list_level(&self, folder: &str) -> Result<Level, Error> {
        let folder = self.check_folder(folder)?;
        let (home, in_home) = self.home(folder);
        let Level {
            mut objects,
            mut folders,
        } = on_backend!(home, backend => backend.list_level(in_home).await)?;
        folders.sort_unstable();
        if in_home.len() < folder.len() {
            for object in &mut objects {
                object.path = format!("{STREAM_VIEW_BASE}/{}", object.path);
            }
        }
        Ok(Level {
            objects: in_key_order(objects),
            folders,
        })
    }

    /// The names of the folders directly inside a folder, in byte order.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub async fn list_folders(&self, folder: &str) -> Result<Vec<String>, Error> {
        let folder = self.check_folder(folder)?;
        let mut names = on_backend!(self, backend => backend.list_folders(folder).await)?;
        names.sort_unstable();
        Ok(names)
    }

    /// Every object under a folder (the empty one: the whole root), recursively, in byte
    /// order of their keys.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub async fn list_under(&self, folder: &str) -> Result<Vec<Entry>, Error> {
        Ok(self.list_tree(folder).await?.objects)
    }

    /// Every object and folder under a folder (the empty one: the whole root), recursively,
    /// each by its key, in byte order. A folder may be empty.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub async fn list_tree(&self, folder: &str) -> Result<Level, Error> {
        let folder = self.check_folder(folder)?;
        let Level {
            objects,
            mut folders,
        } = on_backend!(self, backend => backend.list_tree(folder).await)?;
        folders.sort_unstable();
        Ok(Level {
            objects: in_key_order(objects),
            folders,
        })
    }

    /// The object's bytes in order, in chunks of at most 1 MiB, in constant memory.
    ///
    /// Ends with `ORACLE_READ_FAILED` as soon as the object is not the pinned one.
    pub fn stream(&self, key: &str, pin: &Pin) -> BoxStream<'static, Result<Bytes, Error>> {
        if let Err(error) = self.check(key) {
            return futures::stream::once(async { Err(error) }).boxed();
        }
        let (home, key) = self.home(key);
        on_backend!(home, backend => backend.stream(key, pin))
    }

    /// The sha256 of an object's bytes, in constant memory.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub async fn sha256(&self, key: &str, pin: &Pin) -> Result<Hex64, Error> {
        self.hash_into(Sha256::new(), key, pin)
            .await
            .map(|hasher| Hex64::of_digest(hasher.finalize().into()))
    }

    /// Adds an object's bytes to a digest, in constant memory.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub(crate) async fn hash_into(
        &self,
        mut hasher: Sha256,
        key: &str,
        pin: &Pin,
    ) -> Result<Sha256, Error> {
        self.check(key)?;
        let (home, key) = self.home(key);
        match &home.inner.backend {
            Backend::Disk(disk) => disk.hash_into(hasher, key, pin).await,
            Backend::Bucket(bucket) => {
                let mut chunks = bucket.stream(key, pin);
                while let Some(chunk) = chunks.next().await {
                    hasher.update(chunk?);
                }
                Ok(hasher)
            }
        }
    }

    /// Creates an object, durably, unless there is one; says whether it did. Only the
    /// packer writes, and only directly under the root.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes) -> Result<bool, Error> {
        self.check(key)?;
        on_backend!(self, backend => backend.create(key, bytes).await)
    }

    /// Opens an object for ranged reads from plain threads; it must be the pinned one.
    pub(crate) fn open_pinned(&self, key: &str, pin: &Pin) -> Result<PinnedObject, Error> {
        self.check(key)?;
        let (home, key) = self.home(key);
        Ok(match &home.inner.backend {
            Backend::Disk(disk) => PinnedObject::File(Arc::new(disk.open_pinned(key, pin)?)),
            Backend::Bucket(bucket) => {
                PinnedObject::Remote(Arc::new(RemotePart::new(bucket.clone(), key, pin)))
            }
        })
    }
}

fn in_key_order(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    entries
}
